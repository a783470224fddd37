"""`f1-ros sim`: record demonstrations in the belt world, evaluate policies there, look at it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group `sim` to the command line."""
    group = subparsers.add_parser("sim", help="the MuJoCo belt: record demonstrations, evaluate policies")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    record = commands.add_parser("record", help="record demonstrations of the scripted expert")
    record.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    record.add_argument("--episodes", type=int, required=True, metavar="N", help="demonstrations to keep")
    record.add_argument("--seed", type=int, default=1, help="seed of the recording (default 1)")
    record.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    record.add_argument("--config", type=Path, help="belt configuration (default: the packaged config/sim/belt.yaml)")
    record.set_defaults(run=_record)


def _record(args: argparse.Namespace) -> int:
    from f1_ros.sim.config import load_belt_config
    from f1_ros.sim.demonstrations import record

    def progress(done: int, total: int) -> None:
        print(f"\r{done} of {total} demonstrations", end="", file=sys.stderr, flush=True)

    steps = record(
        args.out,
        args.episodes,
        args.seed,
        workers=args.workers,
        config=load_belt_config(args.config),
        progress=progress,
    )
    print(file=sys.stderr)
    print(f"{args.out}: {args.episodes} demonstrations, {steps} steps")
    return 0
