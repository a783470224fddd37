"""`f1-ros train`: make weights.

f1-ros train CONFIG.yaml --out DIR     a training run that a configuration describes
f1-ros train belt --out DIR            the belt policy, from nothing
f1-ros train arms STUDY.yaml --out DIR policies that differ in one thing each
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from f1_ros.cli.report import Report, Result
from f1_ros.errors import ConfigError
from f1_ros.paths import share_dir

PHASES = ("record", "tokenizer", "video", "warm", "joint")
STUDY_PHASES = ("record", "warm", "tokenizer", "arms")
RUN = "run"
_SUFFIXES = (".yaml", ".yml", ".json")


class _Commands(dict[str, argparse.ArgumentParser]):
    """Commands by name; a configuration's path stands for `run` with that path."""

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or str(key).endswith(_SUFFIXES)

    def __missing__(self, key: str) -> argparse.ArgumentParser:
        return self[RUN]


class _CommandOrConfig(argparse._SubParsersAction):  # type: ignore[type-arg]
    """Takes a command's name or a configuration's path."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.choices = self._name_parser_map = _Commands()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group's commands."""
    group = subparsers.add_parser("train", help="train a policy").add_subparsers(
        required=True, metavar="CONFIG.yaml | COMMAND", dest="train_command", action=_CommandOrConfig
    )
    run = group.add_parser(RUN, help="a run that a configuration describes; CONFIG.yaml alone does the same")
    run.add_argument("config", nargs="?", type=Path, help="configuration, such as config/train/stage3_finetune.yaml")
    run.add_argument("--out", type=Path, help="folder of the run; the policy ends up in OUT/policy")
    run.add_argument(
        "--dataset", action="append", default=[], metavar="DIR", help="train on this LeRobot dataset instead"
    )
    run.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key, such as optimiser.steps=500"
    )
    run.add_argument("--print-config", action="store_true", help="show what would be done and the memory it takes")
    run.add_argument(
        "--resume-previous", action="store_true", help="go on from the checkpoint before the newest, which is damaged"
    )
    run.add_argument("--json", type=Path, metavar="FILE", help="write the last held-out figures")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    run.set_defaults(run=run_config)
    belt = group.add_parser("belt", help="the belt policy, from nothing; goes on where an earlier run stopped")
    belt.add_argument("--config", type=Path, help="training configuration (default: config/train/belt.yaml)")
    belt.add_argument("--out", type=Path, required=True, help="folder of the run; the policy ends up in OUT/policy")
    belt.add_argument("--phase", choices=PHASES, action="append", help="only this phase (may be repeated)")
    belt.add_argument("--device", default="cpu", help="where to train: cpu (default) or cuda")
    belt.set_defaults(run=run_belt)
    arms = group.add_parser("arms", help="policies that differ in one thing each; goes on where an earlier run stopped")
    arms.add_argument("config", type=Path, help="the study, such as config/train/ablation.yaml")
    arms.add_argument("--out", type=Path, required=True, help="folder of the study; policies end up in OUT/policies")
    arms.add_argument("--arm", action="append", metavar="NAME", help="only this arm (may be repeated)")
    arms.add_argument("--seed", action="append", type=int, help="only this training seed (may be repeated)")
    arms.add_argument("--phase", choices=STUDY_PHASES, action="append", help="only this phase (may be repeated)")
    arms.add_argument("--recording", action="append", metavar="NAME", help="record only this one (may be repeated)")
    arms.add_argument("--device", default="cpu", help="where to train: cpu (default) or cuda")
    arms.add_argument("--together", type=int, default=1, help="policies that share the device at a time (default 1)")
    arms.add_argument("--workers", type=int, help="processes that record (default: the study's)")
    arms.set_defaults(run=run_arms)


def run_config(args: argparse.Namespace) -> int:
    """Run what a configuration describes, or show it."""
    from f1_ros.train.describe import describe
    from f1_ros.train.load_config import load_train_config

    path = args.config if args.train_command == RUN else Path(args.train_command)
    if path is None:
        raise ConfigError("No configuration is given.", remedy="Name one, such as config/train/stage3_finetune.yaml.")
    config = load_train_config(path, args.set, args.dataset)
    if args.print_config:
        print(describe(config), end="")
        return 0
    if args.out is None:
        raise ConfigError("--out is missing.", remedy="Name the folder of the run, such as runs/mine.")
    from f1_ros.train.allocator import keep_freed_memory
    from f1_ros.train.finetune import FineTuneRun

    keep_freed_memory()
    policy = FineTuneRun(config, args.out, quiet=args.quiet).run(previous=args.resume_previous)
    if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
        print(f"policy written to {policy}", flush=True)
        _report(path, args.out).write(args.json)
    return 0


def _report(config: Path, out: Path) -> Report:
    """The figures of a run's last held-out evaluation."""
    from f1_ros.train.metrics import METRICS_FILE, read_metrics

    last = [row for row in read_metrics(out / METRICS_FILE) if row["kind"] == "held_out"][-1]
    figures = {name: value for name, value in last.items() if isinstance(value, float)}
    figures |= {f"action_error/{name}": v for name, v in last.get("action_error", {}).get("by_joint", {}).items()}
    results = [Result(name, value) for name, value in figures.items()]
    return Report(f"f1-ros train {config}", results, {"policy": out / "policy", "step": last["step"]})


def run_belt(args: argparse.Namespace) -> int:
    """Run the phases that are asked for, in order."""
    from f1_ros.train.allocator import keep_freed_memory
    from f1_ros.train.belt import BeltRun

    keep_freed_memory()
    config = args.config or share_dir() / "config" / "train" / "belt.yaml"
    if not config.is_file():
        raise ConfigError(f"--config {config} is no file.", remedy="Give a training configuration.")
    run = BeltRun(config, args.out, device=args.device)
    actions = {
        "record": run.record,
        "tokenizer": run.train_tokenizer,
        "video": run.train_video,
        "warm": run.train_warm,
        "joint": run.train_joint,
    }
    for phase in PHASES:
        if args.phase is None or phase in args.phase:
            print(f"== {phase}", flush=True)
            actions[phase]()
    return 0


def run_arms(args: argparse.Namespace) -> int:
    """Run the phases of a study that are asked for, in order."""
    from f1_ros.train.allocator import keep_freed_memory
    from f1_ros.train.arms import Study, load_study

    keep_freed_memory()
    study = Study(load_study(args.config), args.out, device=args.device, together=args.together)
    actions: dict[str, Callable[[], None]] = {
        "record": lambda: study.record(args.recording, workers=args.workers),
        "warm": lambda: study.train_warm(args.arm, args.seed),
        "tokenizer": study.train_tokenizer,
        "arms": lambda: study.run(args.arm, args.seed),
    }
    for phase in STUDY_PHASES:
        if args.phase is None or phase in args.phase:
            print(f"== {phase}", flush=True)
            actions[phase]()
    return 0
