"""`f1-ros engine`: what an engine takes, and how fast it could be."""

from __future__ import annotations

import argparse

from f1_ros.cli import engine_plan


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group `engine`."""
    group = subparsers.add_parser("engine", help="plan an engine: its memory, and the least time on known devices")
    engine_plan.add_commands(group.add_subparsers(metavar="COMMAND", required=True))
