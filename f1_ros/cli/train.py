"""`f1-ros train`: make weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from f1_ros.errors import ConfigError
from f1_ros.paths import share_dir

PHASES = ("record", "tokenizer", "warm", "joint")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group's commands."""
    group = subparsers.add_parser("train", help="train a policy").add_subparsers(required=True, metavar="COMMAND")
    belt = group.add_parser("belt", help="the belt policy, from nothing; goes on where an earlier run stopped")
    belt.add_argument("--config", type=Path, help="training configuration (default: config/train/belt.yaml)")
    belt.add_argument("--out", type=Path, required=True, help="folder of the run; the policy ends up in OUT/policy")
    belt.add_argument("--phase", choices=PHASES, action="append", help="only this phase (may be repeated)")
    belt.set_defaults(run=run_belt)


def run_belt(args: argparse.Namespace) -> int:
    """Run the phases that are asked for, in order."""
    from f1_ros.train.belt import BeltRun

    config = args.config or share_dir() / "config" / "train" / "belt.yaml"
    if not config.is_file():
        raise ConfigError(f"--config {config} is no file.", remedy="Give a training configuration.")
    run = BeltRun(config, args.out)
    actions = {
        "record": run.record,
        "tokenizer": run.train_tokenizer,
        "warm": run.train_warm,
        "joint": run.train_joint,
    }
    for phase in PHASES:
        if args.phase is None or phase in args.phase:
            print(f"== {phase}", flush=True)
            actions[phase]()
    return 0
