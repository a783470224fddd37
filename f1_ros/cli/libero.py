"""`f1-ros libero`: evaluate a policy on LIBERO's tasks, in LIBERO's own simulator."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from f1_ros.libero.layout import STEP_LIMITS, VIEWS


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group `libero` to the command line."""
    group = subparsers.add_parser("libero", help="the LIBERO benchmark: evaluate policies (after `make libero`)")
    commands = group.add_subparsers(metavar="COMMAND", required=True)
    evaluate = commands.add_parser("eval", help="how often a policy solves the tasks of a suite")
    evaluate.add_argument("--policy", type=Path, required=True, metavar="DIR", help="policy directory")
    evaluate.add_argument("--suite", choices=tuple(STEP_LIMITS), required=True, help="suite of tasks")
    evaluate.add_argument("--task", type=int, nargs="+", default=[], metavar="K", help="tasks, from 0 (default: all)")
    evaluate.add_argument(
        "--episodes", type=int, default=50, metavar="N", help="episodes of each task, at most its 50 initial states"
    )
    evaluate.add_argument("--seed", type=int, default=7, metavar="S", help="seed of simulator and policy (default 7)")
    evaluate.add_argument(
        "--replan", type=int, metavar="STEPS", help="steps between inferences (default 5, or the chunk if shorter)"
    )
    evaluate.add_argument(
        "--max-steps", type=int, metavar="STEPS", help="an episode's steps (default: the suite's usual limit)"
    )
    evaluate.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="CAMERA=VIEW",
        help=f"which view the policy's camera is, if its name does not say: {' or '.join(VIEWS)}",
    )
    evaluate.add_argument(
        "--gripper",
        type=float,
        nargs=2,
        default=(0.0, 1.0),
        metavar=("CLOSED", "OPEN"),
        help="what the policy gives for a closed and an open gripper (default 0 1; LIBERO's own: 1 -1)",
    )
    evaluate.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the engine (default 1)")
    evaluate.add_argument("--goal", type=float, metavar="RATE", help="exit with 1 below this success rate (0 to 1)")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    evaluate.add_argument("--video", type=Path, metavar="FILE", help="write what the policy saw, as .mp4")
    evaluate.add_argument("--python", type=Path, metavar="FILE", help="Python with LIBERO (default: of `make libero`)")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace) -> int:
    import contextlib
    import dataclasses

    import numpy as np

    from f1_ros.cli.report import Report, Result
    from f1_ros.data.embodiment import Ends
    from f1_ros.errors import ConfigError
    from f1_ros.libero.evaluate import LiberoSettings, evaluate
    from f1_ros.libero.film import Film
    from f1_ros.sim.measures import wilson_interval

    if args.goal is not None and not 0.0 <= args.goal <= 1.0:
        raise ConfigError(f"--goal is {args.goal}.", remedy="Give a rate from 0 to 1.")
    closed, opened = args.gripper
    settings = LiberoSettings(
        policy=args.policy,
        suite=args.suite,
        tasks=tuple(args.task),
        episodes=args.episodes,
        seed=args.seed,
        replan=args.replan,
        max_steps=args.max_steps,
        cameras=_views(args.camera),
        gripper=Ends(closed=closed, open=opened),
        python=args.python,
        threads=args.threads,
    )

    def progress(done: int, succeeded: int) -> None:
        print(f"\r{done} episodes, {succeeded} succeeded", end="", file=sys.stderr, flush=True)

    with contextlib.ExitStack() as stack:
        film = stack.enter_context(Film(args.video)) if args.video else None
        found = evaluate(settings, film=film, progress=progress)
    print(file=sys.stderr)
    low, high = found.interval
    latencies = [ms for e in found.episodes for ms in e.latencies_ms]
    rate_ok = args.goal is None or found.success_rate >= args.goal
    goal = None if args.goal is None else f">= {args.goal:g}"
    results = [
        Result("success_rate", found.success_rate, goal=goal, ok=rate_ok),
        Result("wilson_low", low),
        Result("wilson_high", high),
        Result("episodes", len(found.episodes)),
        Result("step_limit", settings.step_limit),
        Result("clipped_share", float(np.mean([e.clipped_share for e in found.episodes]))),
        Result("model_latency_p50_ms", float(np.percentile(latencies, 50)), "ms"),
        Result("model_latency_p95_ms", float(np.percentile(latencies, 95)), "ms"),
        Result("reset_p50_s", float(np.median([e.reset_s for e in found.episodes])), "s"),
        Result("step_p50_ms", float(np.median([e.step_ms for e in found.episodes])), "ms"),
    ]
    rows = []
    for task in found.tasks:
        low, high = wilson_interval(task.successes, len(task.episodes))
        rows.append(
            {
                "task": task.number,
                "name": task.name,
                "language": task.language,
                "success_rate": task.successes / len(task.episodes),
                "wilson_low": low,
                "wilson_high": high,
                "runs": [
                    {k: v for k, v in dataclasses.asdict(e).items() if k != "latencies_ms"} for e in task.episodes
                ],
            }
        )
    report = Report(
        command=f"f1-ros libero eval --policy {args.policy} --suite {args.suite}",
        results=results,
        details={
            "tasks": rows,
            "simulator": found.versions,
            "settings": {**dataclasses.asdict(settings), "tasks": list(settings.tasks)},
        },
    )
    report.print_table()
    for task in found.tasks:
        print(f"task {task.number}: {task.successes} of {len(task.episodes)}: {task.language}")
    report.write(args.json)
    return report.exit_status


def _views(given: list[str]) -> dict[str, str]:
    from f1_ros.errors import ConfigError

    views = {}
    for item in given:
        camera, equals, view = item.partition("=")
        if not (camera and equals and view):
            raise ConfigError(f"--camera {item} is not CAMERA=VIEW.", remedy=f"Give a view of {', '.join(VIEWS)}.")
        views[camera] = view
    return views
