"""The catalogue as a table for docs/faults.md."""

from __future__ import annotations

from f1_ros.faults.catalogue import catalogue
from f1_ros.faults.fault import Action, Fault
from f1_ros.robots.profile import RobotProfile


def markdown(profile: RobotProfile) -> str:
    """The table, one fault a row."""
    rows = [
        ["fault", "what goes wrong", "noticed within", "why then", "on `/diagnostics` within", "the robot"],
        ["---"] * 6,
        *(_row(fault) for fault in catalogue(profile)),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _row(fault: Fault) -> list[str]:
    what = f"{fault.what} ({fault.note})" if fault.note else fault.what
    named = f'{fault.named.within_s:.1f} s: `{fault.named.part}` "{fault.named.words}"' if fault.named else ""
    within = "" if fault.action is Action.GOES_ON else f"{fault.within_s:.1f} s"
    return [f"`{fault.name}`", what, within, fault.why, named, fault.action.name.replace("_", " ").lower()]
