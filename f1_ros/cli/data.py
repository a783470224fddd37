"""`f1-ros data`: look at datasets, check them, and compute their statistics."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

_SHOWN = 5  # findings of one kind in the text; a --json file has all


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group `data` to the command line."""
    group = subparsers.add_parser("data", help="LeRobot datasets: check, statistics, a picture")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    check = commands.add_parser("check", help="find what ruins a fine-tune; exits with 1 if there is an error")
    check.add_argument("dataset", type=Path, metavar="DIR", help="the dataset's folder")
    check.add_argument("--policy", type=Path, metavar="DIR", help="policy that is to be trained further on it")
    check.add_argument("--history", type=int, metavar="FRAMES", help="frames of history (default 9, or the policy's)")
    check.add_argument("--chunk", type=int, metavar="FRAMES", help="action chunk (default 16, or the policy's)")
    check.add_argument("--json", type=Path, metavar="FILE", help="write all findings")
    check.set_defaults(run=_check)

    stats = commands.add_parser("stats", help="mean, std, min, max, q01 and q99 of state and action")
    stats.add_argument("dataset", type=Path, metavar="DIR", help="the dataset's folder")
    stats.add_argument("--out", type=Path, metavar="FILE", help="write them as a policy's stats.json")
    stats.add_argument(
        "--mode",
        choices=("mean_std", "min_max", "quantile"),
        default="mean_std",
        help="how a policy with --out's statistics normalises (default mean_std)",
    )
    stats.add_argument("--write", action="store_true", help="write them into the dataset's own meta/stats.json")
    stats.add_argument("--json", type=Path, metavar="FILE", help="write the report")
    stats.set_defaults(run=_stats)

    show = commands.add_parser("show", help="frames and joint plots of episodes as a picture file")
    show.add_argument("dataset", type=Path, metavar="DIR", help="the dataset's folder")
    show.add_argument("--out", type=Path, required=True, metavar="FILE", help="picture to write, such as sheet.png")
    show.add_argument("--episodes", type=int, nargs="+", metavar="N", help="which ones (default: three, evenly spread)")
    show.add_argument("--frames", type=int, default=8, help="frames of each camera (default 8)")
    show.set_defaults(run=_show)


def _check(args: argparse.Namespace) -> int:
    from f1_ros.cli.report import Report, Result
    from f1_ros.data.check import check
    from f1_ros.data.findings import as_dict
    from f1_ros.data.lerobot import LeRobotDataset

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r{done} of {total} episodes", end=end, file=sys.stderr, flush=True)

    dataset = LeRobotDataset(args.dataset)
    findings = check(dataset, _needs(args), progress)
    shown: dict[str, int] = {}
    for finding in findings:
        shown[finding.code] = shown.get(finding.code, 0) + 1
        if shown[finding.code] <= _SHOWN:
            print(f"{finding.severity}: {finding.code}, {finding.where}: {finding.problem}\n    {finding.remedy}")
    for code, count in shown.items():
        if count > _SHOWN:
            print(f"and {count - _SHOWN} more of {code}; --json FILE has all.")
    errors = sum(finding.severity == "error" for finding in findings)
    report = Report(
        command=f"f1-ros data check {args.dataset}",
        results=[
            Result("episodes", len(dataset.episodes)),
            Result("frames", int(dataset.episodes.lengths.sum())),
            Result("errors", errors, goal="0", ok=errors == 0),
            Result("warnings", len(findings) - errors),
        ],
        details={"findings": [as_dict(finding) for finding in findings]},
    )
    return report.conclude(args.json)


def _needs(args: argparse.Namespace) -> Any:
    from f1_ros.data.check import Needs, read_statistics
    from f1_ros.engine.policy import STATS_FILE, load_spec

    values: dict[str, Any] = {}
    if args.policy is not None:
        spec = load_spec(args.policy)
        path = args.policy / STATS_FILE
        values = {"spec": spec, "history": -spec.history_offsets[0], "chunk": spec.chunk_size}
        values |= {"stats": read_statistics(path), "source": str(path)}
    given = {"history": args.history, "chunk": args.chunk}
    return Needs(**values | {key: value for key, value in given.items() if value is not None})


def _stats(args: argparse.Namespace) -> int:
    import json

    from f1_ros.cli.report import Report, Result
    from f1_ros.data.files import replace_file
    from f1_ros.data.lerobot import LeRobotDataset
    from f1_ros.data.stats import statistics, vector_keys, write_dataset_statistics

    dataset = LeRobotDataset(args.dataset)
    columns = ("mean", "std", "min", "max", "q01", "q99")
    entries: dict[str, Any] = {}
    for key in vector_keys(dataset):
        entry = entries[key] = statistics(dataset, key).entry(args.mode)
        names = dataset.feature(key).names
        print(f"{key}\n{'':24}" + "".join(f"{column:>12}" for column in columns))
        for d in range(len(entry["mean"])):
            name = names[d] if len(names) == len(entry["mean"]) else f"[{d}]"
            print(f"  {name:22}" + "".join(f"{entry[column][d]:12.5g}" for column in columns))
    if args.out is not None:
        replace_file(args.out, (json.dumps(entries, indent=1) + "\n").encode())
        print(f"written: {args.out}")
    if args.write:
        print(f"written: {write_dataset_statistics(dataset)}")
    report = Report(
        command=f"f1-ros data stats {args.dataset}",
        results=[
            Result("episodes", len(dataset.episodes)),
            Result("frames", int(dataset.episodes.lengths.sum())),
        ],
        details={"statistics": entries},
    )
    report.write(args.json)
    return report.exit_status


def _show(args: argparse.Namespace) -> int:
    import numpy as np

    from f1_ros.data.lerobot import LeRobotDataset
    from f1_ros.data.show import show

    dataset = LeRobotDataset(args.dataset)
    count = len(dataset.episodes)
    chosen = args.episodes or np.unique(np.linspace(0, count - 1, min(3, count)).astype(int)).tolist()
    show(dataset, chosen, args.frames, args.out)
    print(f"written: {args.out}")
    return 0
