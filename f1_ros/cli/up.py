"""`f1-ros up ROBOT`: bring a system up on a machine without `ros2 launch`; Ctrl-C ends all of it.

The arguments are those of `launch/ROBOT.launch.py`: both come from `f1_ros.bringup`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from f1_ros.bringup import BRINGUPS
from f1_ros.bringup_options import Argument
from f1_ros.cli.engine import prepare_system
from f1_ros.errors import BringUpError

MAX_DOMAIN_ID = 232  # with the default ports of DDS on Linux, higher ids have no port


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `up` with one command a bring-up."""
    up = subparsers.add_parser("up", help="start a robot's whole system and end it with Ctrl-C")
    robots = up.add_subparsers(metavar="ROBOT", required=True)
    for name, description in BRINGUPS.items():
        parser = robots.add_parser(name, help=description.help, description=f"Start {description.help}.")
        for argument in description.arguments:
            _add(parser, argument)
        parser.add_argument("--log-dir", type=Path, metavar="DIR", help="logs and parameters (default: in ~/.ros/log)")
        add_discovery(parser)
        parser.set_defaults(run=run, bringup=name)


def add_discovery(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which nodes find each other; `discovery` reads them."""
    parser.add_argument("--domain-id", type=int, metavar="N", help="ROS_DOMAIN_ID (default: the environment's)")
    parser.add_argument(
        "--network",
        action="store_true",
        help="let the nodes be discovered by other machines (default: as ROS_AUTOMATIC_DISCOVERY_RANGE says, "
        "or this machine only)",
    )


def run(args: argparse.Namespace) -> int:
    """Start the system and run it until Ctrl-C (exit status 0) or until a process that it needs dies (1)."""
    from f1_ros.supervisor import Supervisor, default_log_dir

    description = BRINGUPS[args.bringup]
    given = {a.name: str(getattr(args, a.name)) for a in description.arguments if getattr(args, a.name) is not None}
    bringup = description.build(given)
    prepare_system(bringup)
    with Supervisor(
        bringup,
        log_dir=args.log_dir or default_log_dir(bringup.name),
        environment=discovery(args),
        console=sys.stdout,
    ) as system:
        return system.run()


def _add(parser: argparse.ArgumentParser, argument: Argument) -> None:
    flag = "--" + argument.name.replace("_", "-")
    if argument.type is bool:
        parser.add_argument(flag, action="store_const", const="true", help=argument.help)
    else:
        default = f"default {argument.default}" if argument.default else ""
        alone = f"without a value: {argument.alone}" if argument.alone else ""
        shown = f" ({default or alone})" if default or alone else ""
        parser.add_argument(
            flag,
            metavar=argument.type.__name__.upper(),
            help=argument.help + shown,
            nargs="?" if argument.alone else None,
            const=argument.alone or None,
        )


def discovery(args: argparse.Namespace) -> dict[str, str]:
    """Environment variables that make ROS nodes find each other as the arguments say.

    Raises:
        BringUpError: if there is no such domain.
    """
    environment = {}
    if args.domain_id is not None:
        if not 0 <= args.domain_id <= MAX_DOMAIN_ID:
            raise BringUpError(f"--domain-id is {args.domain_id}.", remedy=f"Give 0 to {MAX_DOMAIN_ID}.")
        environment["ROS_DOMAIN_ID"] = str(args.domain_id)
    if args.network:
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SUBNET"
    elif "ROS_AUTOMATIC_DISCOVERY_RANGE" not in os.environ:
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    return environment
