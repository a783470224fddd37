"""`f1-ros robot conformance`: whether a robot, or its twin, does what its profile says."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from f1_ros.cli.report import Report, Result
from f1_ros.cli.up import MAX_DOMAIN_ID, discovery
from f1_ros.errors import BringUpError
from f1_ros.robots.conformance import ASKED, Check, Finding

ALWAYS = (Check.PROFILE, Check.PACKAGES, Check.TOPICS)
"""Checks without which the others mean nothing."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `robot conformance`."""
    parser = commands.add_parser(
        "conformance",
        help="try whether a robot, or its twin, does what its profile says",
        description="Start the simulated twin of a robot (or, with --real, use the robot itself) and try whether it "
        "does what the profile says: topics, order, units, limits, grippers, cameras, and every way to stop it. With "
        "--real a person confirms each motion; the robot moves at a tenth of its speed at most.",
    )
    parser.add_argument("profile", metavar="NAME", help="a name in config/robots, or a profile's YAML file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the findings here")
    parser.add_argument("--real", action="store_true", help="the robot itself; its drivers and cameras must run")
    parser.add_argument(
        "--check",
        action="append",
        choices=[check.value for check in Check],
        metavar="CHECK",
        help=f"make this check only, may be repeated: {', '.join(check.value for check in Check)}",
    )
    parser.add_argument(
        "--twin",
        default="",
        metavar="NAME",
        help="packaged profile whose twin is the robot (default: the profile's name)",
    )
    parser.add_argument("--log-dir", type=Path, metavar="DIR", help="logs of the processes (default: in ~/.ros/log)")
    parser.add_argument(
        "--domain-id", type=int, metavar="N", help="ROS_DOMAIN_ID (default: one of its own, or with --real the present)"
    )
    parser.add_argument("--network", action="store_true", help="with --real: the robot is on another machine")
    parser.set_defaults(run=run_conformance)


def run_conformance(args: argparse.Namespace) -> int:
    """Make the checks; exit status 0 if all have passed."""
    from f1_ros.faults.run import set_environment
    from f1_ros.nodes.conformance.rig import Nobody
    from f1_ros.nodes.conformance.run import run_conformance as make
    from f1_ros.nodes.conformance.system import subject
    from f1_ros.supervisor import default_log_dir

    if args.domain_id is not None and not 0 <= args.domain_id <= MAX_DOMAIN_ID:
        raise BringUpError(f"--domain-id is {args.domain_id}.", remedy=f"Give 0 to {MAX_DOMAIN_ID}.")
    if args.network and not args.real:
        raise BringUpError("--network is for a robot.", remedy="Add --real, or leave it out: a twin runs here.")
    logs = args.log_dir or default_log_dir("conformance")
    tried = subject(args.profile, args.twin, real=args.real, folder=logs)
    checks = frozenset(Check(name) for name in args.check) if args.check else frozenset(Check)
    person = Terminal(input, print, logs) if args.real else Nobody()
    if args.real:
        os.environ.update(discovery(args))
        print(f"{tried.profile.name} will be moved at {tried.profile.scale:g} of its limits. Keep a hand on the stop.")
    else:
        set_environment(args.domain_id)
    findings = make(tried, checks, person, logs, lambda finding: print(line(finding), flush=True))
    print()
    return report(args.profile, checks, findings).conclude(args.json)


def line(finding: Finding) -> str:
    """A finding in a line."""
    mistake = f" [{finding.mistake.value}]" if finding.mistake is not None else ""
    remedy = f" Remedy: {finding.remedy}" if finding.problem and finding.remedy else ""
    wrong = f": {finding.problem}.{mistake}{remedy}" if finding.problem else ""
    return f"{'ok  ' if finding.ok else 'FAIL'} {finding.check.value}: {finding.subject or 'all'}{wrong}"


def report(profile: str, checks: frozenset[Check], findings: Sequence[Finding]) -> Report:
    """Figures of all findings, and a verdict on each check."""
    rows = []
    verdicts: dict[str, Any] = {}
    made = [check for check in Check if check in (*checks, *ALWAYS, *(finding.check for finding in findings))]
    for check in made:
        found = [finding for finding in findings if finding.check is check]
        rows += [Result(f"{check.value}: {f.subject}", f.value, f.unit, f.goal or None, f.ok) for f in found]
        # A check without a finding was not made: the profile itself is wrong, or the system has ended.
        passed = bool(found) and all(finding.ok for finding in found)
        verdicts[check.value] = {"asks": ASKED[check], "passed": passed}
    passed_count = sum(verdict["passed"] for verdict in verdicts.values())
    rows.append(Result("checks_passed", passed_count, f"of {len(made)}", f"{len(made)}", passed_count == len(made)))
    details = [
        {**dataclasses.asdict(f), "check": f.check.value, "mistake": f.mistake and f.mistake.value, "ok": f.ok}
        for f in findings
    ]
    mistakes = sorted({f.mistake.value for f in findings if f.mistake is not None})
    return Report(
        f"f1-ros robot conformance {profile}",
        rows,
        {"checks": verdicts, "findings": details, "mistakes": mistakes},
    )


class Terminal:
    """A `Person` at a terminal.

    Args:
        read: asks a question and gives the answer.
        say: takes a line.
        folder: where pictures are put to be looked at.
    """

    def __init__(self, read: Callable[[str], str], say: Callable[[str], object], folder: Path) -> None:
        self._read, self._say, self._folder = read, say, folder

    def confirm(self, what: str) -> bool:
        """See `Person`. Only the whole word is a yes."""
        return self._ask(f"{what}. Is the way free? Type yes to go: ") == "yes"

    def saw(self, question: str) -> bool | None:
        """See `Person`."""
        return self._ask(f"{question} [y/n] ") in ("y", "yes")

    def shown(self, camera: str, picture: Any) -> bool | None:
        """See `Person`."""
        from PIL import Image

        path = self._folder / f"{camera}.png"
        Image.fromarray(picture).save(path)
        return self._ask(f"Look at {path}. Is it what camera '{camera}' sees? [y/n] ") in ("y", "yes")

    def _ask(self, question: str) -> str:
        try:
            return self._read(question).strip().lower()
        except EOFError as error:
            raise BringUpError(
                "Nobody answers: a robot is moved only while a person confirms it.",
                remedy="Run it at a terminal, beside the robot.",
            ) from error
