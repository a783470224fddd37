"""`f1-ros engine plan` and `engine roofline`: what an engine takes and how fast it could be, before it is built."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f1_ros.engine.layout import Layout

DEFAULT_CAMERAS = 3


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `plan` and `roofline` to the group `engine`."""
    from f1_ros.engine.precision import PRECISIONS

    plan = commands.add_parser(
        "plan",
        help="the memory that an engine takes, by stage and precision, and where it fits",
        description="Print the memory of an engine, computed from the network's shape: weights, keys and values, "
        "activations, and the devices that it fits on.",
    )
    what = plan.add_mutually_exclusive_group(required=True)
    what.add_argument("--policy", type=Path, metavar="DIR", help="policy directory")
    what.add_argument("--config", metavar="FILE", help="a network's config.json, or full: the released model's shape")
    plan.add_argument(
        "--precision",
        action="append",
        choices=PRECISIONS,
        help="only this one (may be repeated; default: all)",
    )
    plan.add_argument(
        "--cameras",
        type=int,
        metavar="N",
        help=f"images at once, past ones included (default: the policy's, the tower's, or {DEFAULT_CAMERAS})",
    )
    plan.add_argument("--json", metavar="FILE", help="also write the figures here")
    plan.set_defaults(run=run_plan)
    roofline = commands.add_parser(
        "roofline",
        help="the least time of the full-size model's stages on known devices, computed",
        description="Print what the stages of the full-size model compute and move, and the least time that takes on "
        "known devices by their public peak figures. Computed, not measured.",
    )
    roofline.add_argument("--json", metavar="FILE", help="also write the figures here")
    roofline.set_defaults(run=run_roofline)


def run_plan(args: argparse.Namespace) -> int:
    """Print the plan."""
    import dataclasses

    from f1_ros.cli.report import Report, Result
    from f1_ros.engine.plan import GIB, MemoryPlan, memory_plan
    from f1_ros.engine.precision import PRECISIONS
    from f1_ros.engine.tables import memory_tables

    layout = _layout(args)
    chosen = args.precision or PRECISIONS
    plans: dict[str, MemoryPlan] = {
        precision: memory_plan(layout, precision) for precision in PRECISIONS if precision in chosen
    }
    print(memory_tables(plans), end="")
    results = [Result(f"{precision}_total", plan.total / GIB, "GiB") for precision, plan in plans.items()]
    details = {
        "images": layout.images,
        "plans": {
            precision: {
                "stages": [dataclasses.asdict(stage) for stage in plan.stages],
                "unread_numbers": plan.unread,
                "unshared_bytes": plan.shared,
            }
            for precision, plan in plans.items()
        },
    }
    named = f"--policy {args.policy}" if args.policy else f"--config {args.config}"
    Report(f"f1-ros engine plan {named}", results, details).write(args.json)
    return 0


def run_roofline(args: argparse.Namespace) -> int:
    """Print the roofline."""
    from f1_ros.cli.report import Report, Result
    from f1_ros.engine.roofline import DEVICES, VARIANTS, WIDTHS, bound_ms
    from f1_ros.engine.tables import FULL_LAYOUT, roofline_tables

    print(roofline_tables(), end="")
    results, details = [], []
    for variant in VARIANTS:
        for device in DEVICES:
            for width in WIDTHS:
                bounds = bound_ms(device, variant.passes(FULL_LAYOUT), width)
                details.append({"variant": variant.name, "device": device.name, "width": width, "bound_ms": bounds})
                if variant is VARIANTS[1]:
                    results.append(Result(f"{device.name}, {width}, computed", bounds["total"], "ms at least"))
    sources = {device.name: device.source for device in DEVICES}
    Report("f1-ros engine roofline", results, {"bounds": details, "sources": sources}).write(args.json)
    return 0


def _layout(args: argparse.Namespace) -> Layout:
    """What is asked for: the network, its images and words."""
    from f1_ros.engine.layout import Layout
    from f1_ros.engine.policy import load_policy_file
    from f1_ros.model.checkpoint import read_config
    from f1_ros.model.config import F1Config, KeypointConvConfig
    from f1_ros.model.manifest import FULL_SIZE

    foresight, images = True, None
    if args.policy is not None:
        config, file = read_config(args.policy), load_policy_file(args.policy)
        foresight, images = file.foresight, len(file.spec.cameras) + len(file.spec.past_images)
    else:
        config = FULL_SIZE if args.config == "full" else F1Config.from_json(args.config)
        images = config.vision.images if isinstance(config.vision, KeypointConvConfig) else None
    if args.cameras is not None:
        images = args.cameras
    return Layout(config, DEFAULT_CAMERAS if images is None else images, config.tokenizer_max_length, foresight)
