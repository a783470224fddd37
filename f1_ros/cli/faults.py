"""`f1-ros faults`: what can go wrong on purpose, in the live simulated system, and whether the robot stays safe."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from f1_ros.cli.engine import prepare_system
from f1_ros.cli.report import Report, Result
from f1_ros.cli.up import MAX_DOMAIN_ID
from f1_ros.errors import BringUpError
from f1_ros.robots.profile import load_profile

if TYPE_CHECKING:
    from f1_ros.faults.fault import Fault
    from f1_ros.faults.run import Results

PROFILE = "franka_fr3"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `faults` with its commands."""
    faults = subparsers.add_parser("faults", help="faults on purpose in the simulated system, and what the robot does")
    commands = faults.add_subparsers(metavar="COMMAND", required=True)
    listing = commands.add_parser("list", help="all faults: what, when noticed, what the robot does")
    listing.set_defaults(run=run_list)
    running = commands.add_parser("run", help="make faults in the live system; exit status 1 if one is not handled")
    running.add_argument("names", nargs="*", metavar="NAME", help="which; none: all")
    running.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    running.add_argument("--policy", default="f1_belt", metavar="DIR", help="policy directory (default models/f1_belt)")
    running.add_argument("--log-dir", type=Path, metavar="DIR", help="logs of the processes (default: in ~/.ros/log)")
    running.add_argument("--domain-id", type=int, metavar="N", help="ROS_DOMAIN_ID (default: one of the run's own)")
    running.set_defaults(run=run_faults)


def run_list(args: argparse.Namespace) -> int:
    """Print the catalogue."""
    from f1_ros.faults.catalogue import catalogue

    for fault in catalogue(load_profile(PROFILE)):
        print(f"{fault.name}: {fault.what}. Noticed within {fault.within_s:.1f} s ({fault.why}). {fault.action.value}.")
    return 0


def run_faults(args: argparse.Namespace) -> int:
    """Run faults; exit status 0 if each is handled as declared."""
    from f1_ros.faults import run
    from f1_ros.faults.catalogue import choose
    from f1_ros.faults.system import describe
    from f1_ros.supervisor import default_log_dir

    if args.domain_id is not None and not 0 <= args.domain_id <= MAX_DOMAIN_ID:
        raise BringUpError(f"--domain-id is {args.domain_id}.", remedy=f"Give 0 to {MAX_DOMAIN_ID}.")
    chosen = choose(args.names, load_profile(PROFILE))
    run.set_environment(args.domain_id)
    prepare_system(describe(args.policy))
    results = run.run_faults(
        chosen, args.policy, args.log_dir or default_log_dir("faults"), say=lambda line: print(line, flush=True)
    )
    return report(chosen, results).conclude(args.json)


def report(faults: Sequence[Fault], results: Results) -> Report:
    """Figures of a run: each fault's detection beside what it declares, and whether all of it is as declared."""
    from f1_ros.faults.fault import CONTROL_PERIODS, Action

    outcomes = {outcome.fault: outcome for outcome in results.outcomes}
    rows = []
    for fault in faults:
        goes_on = fault.action is Action.GOES_ON
        goal = "goes on" if goes_on else f"<= {fault.within_s:.2f}"
        outcome = outcomes[fault.name]
        rows.append(Result(fault.name, None if goes_on else outcome.noticed_s, "s to detection", goal, outcome.ok))
    periods = [outcome.periods for outcome in results.outcomes if outcome.periods is not None]
    worst = max(periods, default=None)
    handled = sum(outcome.ok for outcome in results.outcomes)
    healthy = results.healthy_missed / max(1, results.healthy_ticks)
    rows += [
        Result("detection_to_safe_action_max", worst, "control periods", f"<= {CONTROL_PERIODS}",
               worst is None or worst <= CONTROL_PERIODS),
        Result("faults_handled", handled, f"of {len(faults)}", f"{len(faults)}", handled == len(faults)),
        Result("systems_started", results.systems),
        Result("ticks_missed_while_all_is_well", healthy, "share"),
    ]  # fmt: skip
    details = [
        {**dataclasses.asdict(outcomes[fault.name]), "what": fault.what, "action": fault.action.name.lower(),
         "noticed_within_s": fault.within_s, "named_within_s": fault.named.within_s if fault.named else None}
        for fault in faults
    ]  # fmt: skip
    return Report("f1-ros faults run", rows, {"faults": details})
