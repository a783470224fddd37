"""`f1-ros record`: begin and end episodes of a system that was started with `--record DIR`."""

from __future__ import annotations

import argparse
import os
import sys

from f1_ros.cli.up import add_discovery, discovery


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group `record` to the command line."""
    group = subparsers.add_parser("record", help="episodes of a running system: start, keep or discard one")
    commands = group.add_subparsers(metavar="COMMAND", required=True)
    for name, text in (
        ("start", "begin an episode"),
        ("keep", "end the episode and add it to the dataset"),
        ("discard", "end the episode and throw it away"),
    ):
        parser = commands.add_parser(name, help=text)
        if name == "start":
            parser.add_argument(
                "instruction",
                nargs="?",
                default="",
                help="what the robot is going to do, in plain words (default: what the policy follows)",
            )
        add_discovery(parser)
        parser.set_defaults(run=_run, command=name)


def _run(args: argparse.Namespace) -> int:
    os.environ.update(discovery(args))
    os.nice(10)  # to load ROS takes a second of CPU time, which is the recorded system's first
    from f1_ros.nodes.record_client import ask

    done, says = ask(args.command, getattr(args, "instruction", ""))
    print(says if done else f"f1-ros: {says}", file=sys.stdout if done else sys.stderr)
    return 0 if done else 1
