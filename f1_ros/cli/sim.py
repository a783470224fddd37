"""`f1-ros sim`: record demonstrations in a simulated world, evaluate policies there."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from f1_ros.cli import ablate, compare
from f1_ros.cli.engine import add_choice, prepare
from f1_ros.engine.config import AUTO

if TYPE_CHECKING:
    from f1_ros.cli.report import Result
    from f1_ros.sim.evaluate import EvaluationSettings
    from f1_ros.sim.results import Evaluation


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group `sim` to the command line."""
    group = subparsers.add_parser("sim", help="the MuJoCo worlds: record demonstrations, evaluate policies")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    record = commands.add_parser("record", help="record demonstrations of the scripted expert")
    record.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    record.add_argument("--episodes", type=int, required=True, metavar="N", help="demonstrations to keep")
    record.add_argument("--seed", type=int, default=1, help="seed of the recording (default 1)")
    record.add_argument("--workers", type=int, help="processes (default 2; with --ray its CPUs)")
    record.add_argument(
        "--ray", metavar="ADDRESS", help="work on a Ray cluster: auto, HOST:PORT, or local (one that begins here)"
    )
    record.add_argument(
        "--config", type=Path, help="the world's configuration (default: the packaged config/sim/belt.yaml)"
    )
    record.add_argument(
        "--format",
        choices=("arrays", "lerobot"),
        default="arrays",
        help="arrays for `f1-ros train belt` (default), or a LeRobot dataset",
    )
    record.add_argument(
        "--tasks",
        type=int,
        default=1,
        metavar="N",
        help="arrays of a twin: tasks in an episode, one after the other, as they come live (default 1)",
    )
    record.set_defaults(run=_record)

    evaluate = commands.add_parser(
        "eval", help="how often a policy succeeds: picks the cube from the belt, or does a twin's task"
    )
    who = evaluate.add_mutually_exclusive_group(required=True)
    who.add_argument("--policy", type=Path, metavar="DIR", help="policy directory")
    who.add_argument("--expert", action="store_true", help="the scripted expert instead of a policy")
    evaluate.add_argument("--episodes", type=int, default=100, metavar="N", help="episodes (default 100)")
    evaluate.add_argument("--seed", type=int, default=0, metavar="S", help="seed; never one of training's (default 0)")
    evaluate.add_argument("--belt-speed", type=float, nargs=2, metavar=("MIN", "MAX"), help="range of speeds, m/s")
    evaluate.add_argument("--direction", choices=("both", "+y", "-y"), default="both", help="where the belt moves")
    evaluate.add_argument(
        "--delay",
        type=float,
        default=0.15,
        metavar="SECONDS",
        help="the scene moves on for this long during an inference, or for the measured latency if longer",
    )
    evaluate.add_argument(
        "--near-delay",
        type=float,
        metavar="SECONDS",
        help="the same until a policy's near steps take effect (only for one that was trained to give them ahead)",
    )
    evaluate.add_argument(
        "--continuity",
        choices=("auto", "trained", "guided", "plain"),
        default="auto",
        help="how a chunk goes on from the one before it (default: trained, for a policy that can, else plain)",
    )
    evaluate.add_argument("--exact-delay", action="store_true", help="use --delay even where the latency is longer")
    evaluate.add_argument("--picks-only", action="store_true", help="end an episode with the pick (faster)")
    evaluate.add_argument("--replan", type=int, default=3, metavar="STEPS", help="steps of 50 ms between inferences")
    evaluate.add_argument("--sudden", action="store_true", help="the cube drops onto the belt as the episode starts")
    evaluate.add_argument("--instruction", help="instruction (default: the policy's own)")
    evaluate.add_argument(
        "--stream",
        type=float,
        metavar="SECONDS",
        help="cubes, or a twin's tasks, come one after the other for so long; --episodes is the number of such streams",
    )
    evaluate.add_argument(
        "--reaction",
        action="store_true",
        help="run each episode again with the belt turned round, and say how soon the commands answer",
    )
    evaluate.add_argument(
        "--foresight",
        choices=("own", "skipped", "shuffled"),
        default="own",
        help="what the policy acts on: its own foresight (default), none, or one with its tokens shuffled",
    )
    add_choice(evaluate, AUTO)
    evaluate.add_argument("--goal", type=float, metavar="RATE", help="exit with 1 below this success rate (0 to 1)")
    evaluate.add_argument("--workers", type=int, help="processes (default 1; with --ray its CPUs)")
    evaluate.add_argument(
        "--ray", metavar="ADDRESS", help="work on a Ray cluster: auto, HOST:PORT, or local (one that begins here)"
    )
    evaluate.add_argument(
        "--config", type=Path, help="the world's configuration (default: the packaged config/sim/belt.yaml)"
    )
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    evaluate.set_defaults(run=_evaluate)
    ablate.add_parser(commands)
    compare.add_parser(commands)

    foresight = commands.add_parser("foresight", help="draw what a policy foresees in an episode, and what came")
    foresight.add_argument("--policy", type=Path, required=True, metavar="DIR", help="policy directory")
    foresight.add_argument("--out", type=Path, required=True, metavar="FILE", help="picture to write, .png")
    foresight.add_argument("--seed", type=int, default=0, metavar="S", help="of the episode (default 0)")
    foresight.add_argument("--rows", type=int, default=6, metavar="N", help="instants, at most (default 6)")
    foresight.add_argument(
        "--config", type=Path, help="belt configuration (default: the packaged config/sim/belt.yaml)"
    )
    foresight.set_defaults(run=_foresight)


def _foresight(args: argparse.Namespace) -> int:
    from f1_ros.errors import ConfigError
    from f1_ros.sim.config import load_belt_config
    from f1_ros.sim.evaluate import EvaluationSettings
    from f1_ros.sim.foresight_sheet import draw_foresight

    if args.rows < 1:
        raise ConfigError(f"--rows is {args.rows}.", remedy="Give 1 or more.")
    settings = EvaluationSettings(args.policy, episodes=1, seed=args.seed, world=load_belt_config(args.config))
    rows = draw_foresight(settings, args.out, rows=args.rows)
    print(f"{args.out}: {rows} instants")
    return 0


def _record(args: argparse.Namespace) -> int:
    from f1_ros.errors import ConfigError
    from f1_ros.sim.worlds import load_world_config

    if args.format == "lerobot":
        from f1_ros.sim.dataset import record_dataset as record

        if args.tasks != 1:
            raise ConfigError(
                f"--tasks is {args.tasks}, with --format lerobot.",
                remedy="Leave it out: an episode of a LeRobot dataset is one task.",
            )
    else:
        from f1_ros.sim.demonstrations import record as record_arrays

        record = partial(record_arrays, tasks=args.tasks)

    def progress(done: int, total: int) -> None:
        print(f"\r{done} of {total} demonstrations", end="", file=sys.stderr, flush=True)

    steps = record(
        args.out,
        args.episodes,
        args.seed,
        workers=2 if args.workers is None and args.ray is None else args.workers,
        cluster=args.ray,
        config=load_world_config(args.config),
        progress=progress,
    )
    print(file=sys.stderr)
    print(f"{args.out}: {args.episodes} demonstrations, {steps} steps")
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    import dataclasses

    import numpy as np

    from f1_ros.cli.report import Report, Result
    from f1_ros.errors import ConfigError
    from f1_ros.sim.config import BeltConfig
    from f1_ros.sim.evaluate import EvaluationSettings, evaluate
    from f1_ros.sim.worlds import load_world_config

    if args.goal is not None and not 0.0 <= args.goal <= 1.0:
        raise ConfigError(f"--goal is {args.goal}.", remedy="Give a rate from 0 to 1.")
    if args.goal is not None and args.stream is not None:
        raise ConfigError("--goal is a rate of single picks.", remedy="Leave out --goal, or --stream.")
    world = load_world_config(args.config)
    belt = world if isinstance(world, BeltConfig) else None
    if belt is None and (args.belt_speed is not None or args.direction != "both"):
        raise ConfigError(
            "--belt-speed and --direction are the Franka's belt's.", remedy="Set what the world's configuration has."
        )
    if belt is not None and args.belt_speed is not None:
        world = belt = dataclasses.replace(belt, speed=tuple(args.belt_speed))
    if belt is not None and args.direction != "both":
        world = belt = dataclasses.replace(belt, direction=1 if args.direction == "+y" else -1)
    engine = "torch" if args.engine == AUTO and args.continuity == "guided" else args.engine  # takes gradients
    if args.policy is not None:
        engine = prepare(args.policy, engine)
    settings = EvaluationSettings(
        policy=args.policy,
        episodes=args.episodes,
        seed=args.seed,
        world=world,
        delay_s=args.delay,
        near_delay_s=args.near_delay,
        continuity=args.continuity,
        exact_delay=args.exact_delay,
        until_binned=not args.picks_only,
        replan_steps=args.replan,
        sudden=args.sudden,
        stream_s=args.stream,
        instruction=args.instruction,
        reaction=args.reaction,
        foresight=args.foresight,
        engine=engine,
    )

    def progress(done: int, picked: int) -> None:
        print(f"\r{done} of {args.episodes} episodes, {picked} succeeded", end="", file=sys.stderr, flush=True)

    found = evaluate(settings, workers=args.workers, cluster=args.ray, progress=progress)
    print(file=sys.stderr)
    results = _picks(found, settings, args.goal) if args.stream is None else _streams(found)
    if found.calibration_ms is not None:
        latencies = found.latencies_ms
        results += [
            Result("delay", found.delay_s, "s"),
            Result("model_latency_p50_ms", float(np.percentile(latencies, 50)), "ms"),
            Result("model_latency_p95_ms", float(np.percentile(latencies, 95)), "ms"),
        ]
    if settings.reaction:
        results += _reactions(found, settings)
    bands = found.bands(belt.speed) if args.stream is None and belt is not None else []
    report = Report(
        command=" ".join(["f1-ros sim eval", str(args.policy) if args.policy else "--expert"]),
        results=results,
        details={
            "failures": found.failures,
            "speed_bands": bands,
            "requested_delay_s": args.delay,
            "calibration_latency_ms": found.calibration_ms,
            "settings": {**dataclasses.asdict(settings), "policy": str(args.policy) if args.policy else None},
            "runs": [{k: v for k, v in dataclasses.asdict(e).items() if k != "latencies_ms"} for e in found.episodes],
        },
    )
    report.print_table()
    if found.delay_s > args.delay and args.policy is not None:
        print(f"The delay is {found.delay_s:.2f} s: the measured latency (median, rounded up) exceeds --delay.")
    for band in bands:
        print(f"{band['from']:.2f}-{band['to']:.2f} m/s: {band['picked']} of {band['episodes']}")
    if found.failures:
        print(
            "failures: " + ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in found.failures.items())
        )
    report.write(args.json)
    return report.exit_status


def _picks(found: Evaluation, settings: EvaluationSettings, goal: float | None) -> list[Result]:
    """The figures of episodes with one pick each."""
    from f1_ros.cli.report import Result

    low, high = found.interval
    asked = None if goal is None else f">= {goal:g}"
    results = [
        Result("success_rate", found.success_rate, goal=asked, ok=goal is None or found.success_rate >= goal),
        Result("wilson_low", low),
        Result("wilson_high", high),
        Result("episodes", len(found.episodes)),
        Result("time_to_pick", found.time_to_pick_s, "s"),
        Result("command_jerk_rms", found.jerk_rms, "rad/s3"),
    ]
    if found.stages is not None:
        results += [Result(f"stage_{stage + 1}_rate", share) for stage, share in enumerate(found.stages)]
    elif settings.until_binned:
        results.append(Result("binned_rate", found.binned_rate))
    return results


def _streams(found: Evaluation) -> list[Result]:
    """The figures of streams of cubes, or of a twin's tasks."""
    from f1_ros.cli.report import Result

    streams = found.streams
    length = [Result("streams", len(streams)), Result("seconds", sum(s.seconds for s in streams), "s")]
    if found.stages is not None:
        done, lost = sum(s.picked for s in streams), sum(s.missed for s in streams)
        return [
            *length,
            Result("done", done, "tasks"),
            Result("lost", lost, "tasks"),
            Result("done_share", done / (done + lost) if done + lost else None),
            Result("faults", sum(s.faults for s in streams)),
            Result("done_a_minute", found.picks_a_minute),
        ]
    return [
        *length,
        Result("picked", sum(s.picked for s in streams), "cubes"),
        Result("binned", sum(s.binned for s in streams), "cubes"),
        Result("missed", sum(s.missed for s in streams), "cubes"),
        Result("wrong", sum(s.wrong for s in streams), "cubes"),
        Result("faults", sum(s.faults for s in streams)),
        Result("picks_a_minute", found.picks_a_minute),
    ]


def _reactions(found: Evaluation, settings: EvaluationSettings) -> list[Result]:
    """How soon the commands answer to a belt that turns round, beside what delay and replanning allow."""
    import numpy as np

    from f1_ros.cli.report import Result
    from f1_ros.sim.lockstep import STEP_NS

    counted, times = found.reversals, found.reactions_s
    results = [
        Result("reversals", len(counted)),
        Result("reversals_answered", len(times)),
        Result("picked_after_reversal", sum(r.picked for r in counted)),
        Result("reaction_p50", float(np.percentile(times, 50)) if times else None, "s"),
        Result("reaction_p95", float(np.percentile(times, 95)) if times else None, "s"),
    ]
    if settings.policy is not None:
        bound = found.delay_s + settings.replan_steps * STEP_NS * 1e-9 / 2
        results.append(Result("delay_and_half_the_replanning", bound, "s"))
    return results
