"""`f1-ros engine check` and `engine observations`: prove a compiled engine equal to PyTorch, and what it is run on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f1_ros.cli.report import Result
    from f1_ros.engine.gate_record import GateRecord
    from f1_ros.engine.recorded import Recorded

OBSERVATIONS = 36


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `check` and `observations` to the group `engine`."""
    check = commands.add_parser(
        "check",
        help="compare a compiled engine with PyTorch in float32, stage by stage; exit status 1 if it is out of bounds",
        description="Compare a compiled engine with PyTorch in float32 on recorded observations: stage by stage with "
        "the same inputs, and end to end with the same draws. The record is written into the engine's directory; "
        "without a passing one the policy node does not take the engine.",
    )
    check.add_argument(
        "engine", metavar="DIR", help="the engine's directory, or a name in config/engines: built at need"
    )
    check.add_argument("--policy", type=Path, required=True, metavar="DIR", help="policy directory")
    check.add_argument(
        "--data",
        type=Path,
        metavar="DATASET",
        help="a LeRobot dataset, or a file of `f1-ros engine observations` (default: the policy's check.npz)",
    )
    check.add_argument(
        "--observations", type=int, default=OBSERVATIONS, metavar="N", help=f"of a dataset (default {OBSERVATIONS})"
    )
    check.add_argument(
        "--profile", metavar="FILE", help="robot profile (default: the packaged one of the policy's robot)"
    )
    check.add_argument("--json", metavar="FILE", help="also write the report here")
    check.set_defaults(run=run_check)

    keep = commands.add_parser(
        "observations",
        help="keep observations of a dataset in a small file, to check engines on",
        description="Take observations of a LeRobot dataset, spread evenly over it, as the policy sees them.",
    )
    keep.add_argument("--policy", type=Path, required=True, metavar="DIR", help="policy directory")
    keep.add_argument("--data", type=Path, required=True, metavar="DATASET", help="LeRobot dataset")
    keep.add_argument("--count", type=int, default=OBSERVATIONS, metavar="N", help=f"how many (default {OBSERVATIONS})")
    keep.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: the policy's check.npz)")
    keep.set_defaults(run=run_observations)


def run_check(args: argparse.Namespace) -> int:
    """Check an engine; exit status 0 if it passes."""
    import dataclasses

    import torch

    from f1_ros.cli.report import Report
    from f1_ros.engine.checking import check_engine, shipped_observations
    from f1_ros.engine.config import choose_engine
    from f1_ros.engine.manifest import sha256
    from f1_ros.engine.opening import built_engine, cached_engine
    from f1_ros.engine.policy import load_policy_file
    from f1_ros.engine.recorded import load
    from f1_ros.robots.files import profile_path, read_profile

    torch.set_num_threads(1)  # one order of summation, whatever the machine
    choice = choose_engine(args.engine)
    if isinstance(choice, Path):
        folder, manifest = choice, built_engine(args.policy, choice)
    else:
        folder, manifest = cached_engine(args.policy, args.engine, lambda line: print(line, flush=True))
    if args.data is None:
        recorded, data = shipped_observations(args.policy)
    elif args.data.is_file():
        recorded, data = load(args.data, load_policy_file(args.policy).spec), sha256(args.data)
    else:
        recorded, data = _of_dataset(args.data, args.policy, args.observations), str(args.data)
    profile = None if args.profile is None else read_profile(profile_path(args.profile))

    def progress(done: int, total: int) -> None:
        print(f"\r{done} of {total} observations", end="", file=sys.stderr, flush=True)

    record = check_engine(args.policy, folder, manifest, recorded, data, profile=profile, progress=progress)
    print(file=sys.stderr)
    command = f"f1-ros engine check {args.engine} --policy {args.policy}"
    report = Report(command, _results(record), dataclasses.asdict(record))
    report.print_table()
    for name, problems in [(n, c.problems) for n, c in record.stages.items()] + [("end to end", record.whole.problems)]:
        for problem in problems:
            print(f"- {name}: {problem}")
    print(f"{folder}: {'passed' if record.passed else 'FAILED: ' + ', '.join(record.failed)}; on {record.device}")
    report.write(args.json)
    return report.exit_status


def run_observations(args: argparse.Namespace) -> int:
    """Keep observations of a dataset."""
    from f1_ros.engine.recorded import CHECK_FILE, save

    path = args.out or args.policy / CHECK_FILE
    recorded = _of_dataset(args.data, args.policy, args.count)
    save(path, recorded)
    print(f"{path}: {len(recorded)} observations, {path.stat().st_size / 1e6:.2f} MB")
    return 0


def _of_dataset(dataset: Path, policy: Path, count: int) -> list[Recorded]:
    from f1_ros.data.sources import DatasetConfig, mixture
    from f1_ros.engine.policy import load_policy_file
    from f1_ros.engine.recorded import from_samples
    from f1_ros.train.finetune import check_dataset, sample_spec

    spec = load_policy_file(policy).spec
    config = DatasetConfig(dataset, held_out=0.0)
    check_dataset(config, spec)
    return from_samples(mixture([config], sample_spec(spec, random_crop=False), "all"), spec, count)


def _results(record: GateRecord) -> list[Result]:
    """The figures: of each stage its worst output, and the whole."""
    from f1_ros.cli.report import Result

    results = []
    for name, stage in record.stages.items():
        bounds = record.bounds[stage.precision]
        outputs = stage.outputs.values()
        cosine, error = min(f.cosine for f in outputs), max(f.error for f in outputs)
        flips = max(f.flips for f in outputs)
        ok = not stage.problems
        asked = f"1 - cosine <= {1 - bounds.cosine:.1e}, error <= {bounds.error:g}, codes <= {bounds.flips:g}"
        figures = f"{max(0.0, 1 - cosine):.1e}, {error:.1e}, {flips:.3g}"
        results.append(Result(name, figures, stage.precision, asked, ok))
    whole, loosest = record.whole, max(record.bounds.values(), key=lambda bounds: bounds.codes)
    ok = whole.codes <= loosest.codes
    results.append(Result("foresight_codes_flipped", whole.codes, "share", f"<= {loosest.codes:g}", ok))
    for scale, share in enumerate(whole.codes_by_scale):
        results.append(Result(f"foresight_codes_flipped_scale_{scale}", share, "share"))
    for name, action in whole.actions.items():
        allow = action.bounds
        results.append(
            Result(f"{name}_p95", action.usual, "rad or m", f"<= {allow.usual:.3g}", action.usual <= allow.usual)
        )
        goal = None if allow.largest is None else f"<= {allow.largest:.3g}"
        ok = allow.largest is None or action.largest <= allow.largest
        results.append(Result(f"{name}_largest", action.largest, "rad or m", goal, ok))
    results.append(Result("observations", record.observations))
    return results
