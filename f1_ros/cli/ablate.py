"""`f1-ros sim ablate`: the arms of a study, evaluated and compared."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from f1_ros.cli.report import Report, Result


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the group `sim`."""
    ablate = commands.add_parser("ablate", help="evaluate the arms of a study; draw table and plot")
    ablate.add_argument("config", type=Path, help="the study, such as config/train/ablation.yaml")
    ablate.add_argument(
        "--runs",
        type=Path,
        metavar="DIR",
        help="folder that `f1-ros train arms` filled; --done-only does without, and then shows the last results",
    )
    ablate.add_argument("--seeds", type=int, metavar="N", help="the study's first N training seeds (default: all)")
    ablate.add_argument(
        "--episodes", type=int, default=100, metavar="N", help="episodes of a cell, if its condition has none (100)"
    )
    ablate.add_argument("--condition", action="append", metavar="NAME", help="only this one (may be repeated)")
    ablate.add_argument("--arm", action="append", metavar="NAME", help="only this one (may be repeated)")
    ablate.add_argument(
        "--out",
        type=Path,
        default=Path("bench/results/ablation"),
        metavar="DIR",
        help="where cells, table and plot are kept (default bench/results/ablation); finished cells are not done again",
    )
    ablate.add_argument("--done-only", action="store_true", help="table and plot of what is done; evaluate nothing")
    ablate.add_argument("--workers", type=int, help="processes (default 1; with --ray its CPUs)")
    ablate.add_argument("--ray", metavar="ADDRESS", help="work on a Ray cluster: auto, HOST:PORT, or local")
    ablate.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    ablate.set_defaults(run=_ablate)


def _ablate(args: argparse.Namespace) -> int:
    from f1_ros.errors import ConfigError
    from f1_ros.sim.ablate import CellResult, Cells, evaluate_cells, is_policy, make_cells
    from f1_ros.sim.ablate_report import markdown, plot, rows
    from f1_ros.train.arms import load_study, policy_folder

    study = load_study(args.config)
    seeds = study.seeds[: args.seeds]
    for what, chosen, there in (("condition", args.condition, study.conditions), ("arm", args.arm, study.arms)):
        unknown = [name for name in chosen or () if name not in there]
        if unknown:
            raise ConfigError(f"There is no {what} {', '.join(unknown)}.", remedy=f"Choose of: {', '.join(there)}.")
    if args.runs is None and not args.done_only:
        raise ConfigError("Nothing says where the policies are.", remedy="Give --runs DIR, or --done-only.")
    if not seeds or args.episodes < 1:
        raise ConfigError("There is nothing to evaluate.", remedy="Give --seeds and --episodes of 1 or more.")
    conditions = {
        name: dataclasses.replace(condition, arms=tuple(a for a in condition.arms if args.arm is None or a in args.arm))
        for name, condition in study.conditions.items()
        if args.condition is None or name in args.condition
    }

    def policy_of(arm: str, seed: int) -> Path:
        return policy_folder(args.runs or Path(), arm, seed)

    wanted, missing = make_cells(conditions, study.folder, policy_of, seeds, args.episodes)
    cells = Cells(args.out / "cells.jsonl")
    if args.done_only:
        wanted = [cell for cell in wanted if cells.find(cell) is not None]
        if not wanted:
            raise ConfigError(f"{cells.path} holds none of these cells.", remedy="Leave out --done-only.")
    else:
        for name in missing:
            print(f"left out, its policy is not there: {name}", file=sys.stderr)
        wanted = [cell for cell in wanted if cell.settings.policy is not None and is_policy(cell.settings.policy)]
        if not wanted:
            remedy = f"Train them: f1-ros train arms {args.config}."
            raise ConfigError(f"{args.runs} holds none of the study's policies.", remedy=remedy)

    def progress(done: CellResult) -> None:
        picked = f"{sum(done.picked)} of {len(done.picked)}"
        print(f"{done.condition}  {done.arm}-s{done.seed}  {picked}", file=sys.stderr, flush=True)

    evaluate_cells(wanted, cells, workers=args.workers, cluster=args.ray, progress=progress)
    results = [found for cell in wanted if (found := cells.find(cell)) is not None]
    table = rows(results)
    text = markdown(table)
    print(text)
    (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
    plot(
        results,
        args.out / "success.png",
        speed=study.plots.speed,
        delay=study.plots.delay,
        labels={name: (arm.series, arm.labels) for name, arm in study.arms.items() if arm.labels is not None},
        labels_condition=study.plots.labels,
    )
    Report(
        f"f1-ros sim ablate {args.config}",
        [Result(f"{row.condition}/{row.arm}", row.rate) for row in table],
        {"rows": [dataclasses.asdict(row) for row in table], "missing": missing},
    ).write(args.json)
    return 0
