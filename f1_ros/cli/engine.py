"""`f1-ros engine`: plan an engine, compile a policy for the machine that runs it, check it."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

from f1_ros.cli import engine_check, engine_plan
from f1_ros.processes import BringUp


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `engine` group."""
    group = subparsers.add_parser("engine", help="plan, compile and check what runs a policy")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    build = commands.add_parser("build", help="compile a policy into a directory, for --engine DIR of other commands")
    build.add_argument("--policy", type=Path, required=True, metavar="DIR", help="policy directory")
    build.add_argument(
        "--engine",
        default="onnxruntime",
        metavar="CONFIG",
        help="a name in config/engines, or a YAML file like those (default onnxruntime)",
    )
    build.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="directory to make; an engine there is replaced"
    )
    build.add_argument(
        "--gpu",
        metavar="SM",
        help="compute capability to build for, such as SM89, with an engine of TensorRT-RTX; the GPU need not be here "
        "(default: this machine's)",
    )
    build.set_defaults(run=_build)
    engine_check.add_commands(commands)
    engine_plan.add_commands(commands)


def add_choice(parser: argparse.ArgumentParser, default: str) -> None:
    """Add `--engine` to a command that runs a policy."""
    parser.add_argument(
        "--engine",
        default=default,
        help="what runs the policy: auto (compiled if that passes its check, torch otherwise), a name in "
        f"config/engines (torch, onnxruntime, ...), a YAML file, or a directory of `f1-ros engine build` "
        f"(default {default})",
    )


def prepare(policy: Path, engine: str) -> str:
    """Build an engine that is to be compiled and is not there yet, so that no process that opens it has to wait.

    Returns:
        The engine to open; with auto, what that stands for.

    Raises:
        ConfigError: if the engine is unknown. CheckpointError, EngineError: if it cannot be built.
    """
    from f1_ros.engine.config import AUTO, choose_engine

    def say(line: str) -> None:
        print(line, flush=True)

    if engine == AUTO:
        from f1_ros.engine.opening import automatic

        return automatic(policy, say)
    choice = choose_engine(engine)
    if not isinstance(choice, Path) and choice.backend != "torch":
        from f1_ros.engine.opening import cached_engine

        cached_engine(policy, engine, say)
    return engine


def prepare_system(system: BringUp) -> None:
    """Build what the processes of a system will open, see `prepare`."""
    for process in system.processes:
        if "engine" in process.parameters:
            prepare(Path(str(process.parameters["policy"])), str(process.parameters["engine"]))


def _build(args: argparse.Namespace) -> int:
    from f1_ros.engine.config import STAGES, everywhere, load_engine_config
    from f1_ros.engine.export import build_engine
    from f1_ros.engine.plan import memory_plan
    from f1_ros.engine.policy import load_policy_file
    from f1_ros.engine.policy_engine import policy_layout
    from f1_ros.engine.tables import memory_tables
    from f1_ros.model.checkpoint import read_config

    began = time.monotonic()

    def progress(what: str, done: int, total: int) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {done} of {total} stages  {what}", file=sys.stderr, flush=True)

    config = load_engine_config(args.engine)
    if args.gpu:
        config = dataclasses.replace(config, gpu=args.gpu)
    layout = policy_layout(
        args.policy,
        load_policy_file(args.policy),
        read_config(args.policy),
        foresight_scales=config.foresight_scales,
    )
    precisions = {stage: config.precision_of(stage) for stage in STAGES}
    print(memory_tables({"this engine": memory_plan(layout, precisions, on_cpu=config.device == "cpu")}))
    manifest = build_engine(
        args.policy, config, args.out, engine=everywhere(args.engine), replace=True, progress=progress
    )
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{args.out}: {len(manifest.stages)} stages of policy '{manifest.policy}', {size / 2**20:.1f} MiB")
    return 0
