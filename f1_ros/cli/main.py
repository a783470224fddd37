"""The `f1-ros` command: `f1-ros GROUP COMMAND ...`.

Each group lives in a module of its own beside this one, which gives `add_parser(subparsers)` and sets the function
to run. Heavy imports (torch, mujoco, rclpy) happen inside that function, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import select
import sys
from collections.abc import Sequence

from f1_ros.errors import F1Error

GROUPS = (
    "model",
    "engine",
    "sim",
    "libero",
    "data",
    "robot",
    "camera",
    "train",
    "up",
    "record",
    "demo",
    "faults",
    "bench",
)
"""Modules beside this one, in the order of `--help`."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="f1-ros", description="Run the F1 vision-language-action model on robots, through ROS 2."
    )
    subparsers = parser.add_subparsers(metavar="GROUP", required=True)
    for group in GROUPS:
        importlib.import_module(f"f1_ros.cli.{group}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0 when all is well, 1 when the command's report is not ok, 2 on an error that the user can
        read, 130 when interrupted, 141 when whoever read the output left (`f1-ros ... | head`).
    """
    args = build_parser().parse_args(argv)
    try:
        status = int(args.run(args))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        if not _reader_left():  # some other pipe
            raise
        # What is left to print goes nowhere, or Python complains when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except F1Error as error:
        print(f"f1-ros: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _reader_left() -> bool:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


if __name__ == "__main__":
    raise SystemExit(main())
