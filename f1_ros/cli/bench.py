"""`f1-ros bench latency`: how long from camera to command on this machine, stage by stage, with three cameras.

Needs neither robot nor cameras: `stand_in_node` takes their place, and a policy with random weights the trained one's.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from f1_ros.cli.report import Report
from f1_ros.errors import BringUpError

if TYPE_CHECKING:
    from f1_ros.processes import BringUp
    from f1_ros.supervisor import Supervisor

SETTLE_S = 10.0
START_TIMEOUT_S = 180.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `bench` with its commands."""
    bench = subparsers.add_parser("bench", help="measure the real-time path on this machine")
    commands = bench.add_subparsers(metavar="COMMAND", required=True)
    parser = commands.add_parser("latency", help="from camera to command, stage by stage", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure (default 60)")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write a trace for ui.perfetto.dev here")
    parser.add_argument("--control-rate", type=float, default=0.0, metavar="HZ", help="default: the profile's, 100")
    parser.add_argument("--one-process", action="store_true", help="observation and policy in one process")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Bring the system up, measure, and tell; exit status 0 if the goals are met."""
    from f1_ros.bench.latency import figures, frames_of, stage_table, write_chrome_trace
    from f1_ros.bench.three_cameras import describe, trace_folder
    from f1_ros.trace import read_traces

    with tempfile.TemporaryDirectory(prefix="f1_ros_bench_") as name:
        folder = Path(name)
        system = describe(folder, args.control_rate, args.one_process)
        began_ns = _run(system, folder, args.seconds)
        frames = frames_of(read_traces(trace_folder(folder)), began_ns)
    table = stage_table(frames)
    report = Report(
        "f1-ros bench latency",
        figures(frames),
        {
            "load_average_1_min": os.getloadavg()[0],
            "control_rate_hz": args.control_rate or None,
            "one_process": args.one_process,
            "stages": table,
            "raw": {
                "camera_to_command_less_model_ms": [frame.path_ms for frame in frames],
                "captured_commanded_s": [
                    [frame.marks["stamp"] * 1e-9, frame.marks["commanded"] * 1e-9] for frame in frames
                ],
            },
        },
    )
    print(f"{'p50 ms':>8} {'p99 ms':>8}  stage")
    for row in table:
        print(f"{row['p50_ms']:8.2f} {row['p99_ms']:8.2f}  {row['stage']}")
    if args.trace is not None:
        write_chrome_trace(frames, args.trace)
        print(f"Open {args.trace} in ui.perfetto.dev.")
    return report.conclude(args.json)


def _run(system: BringUp, folder: Path, seconds: float) -> int:
    """Run for a while; gives the instant from which frames count, ns on the monotonic clock."""
    from f1_ros.nodes.onlooker import Onlooker
    from f1_ros.supervisor import Supervisor

    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    with Supervisor(system, log_dir=folder / "logs") as running:
        onlooker = Onlooker("bench")
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            # A busy machine may stand still for as long as counts as a fault while everything starts beside it.
            while not (onlooker.keep_policy() and _commanded(folder)):
                _watch(running)
                onlooker.spin(0.2)
                if time.monotonic() > deadline:
                    raise BringUpError(
                        f"No command within {START_TIMEOUT_S:.0f} s.", remedy=f"See what {_last_lines(folder)}"
                    )
            faults = len(onlooker.faults)
            end = time.monotonic() + SETTLE_S + seconds
            while time.monotonic() < end:
                _watch(running)
                onlooker.spin(0.2)
        finally:
            onlooker.close()
        if onlooker.faults[faults:]:
            raise BringUpError(
                f"The arm was stopped while measuring: {onlooker.faults[faults]}.", remedy="Measure on a quiet machine."
            )
    return round((end - seconds) * 1e9)


def _commanded(folder: Path) -> bool:
    return any("commanded" in path.read_text() for path in (folder / "trace").glob("action_node*"))


def _watch(running: Supervisor) -> None:
    for death in running.poll(0.0):
        raise BringUpError(death.notice, remedy=f"It said: {_last_lines(running.log_dir.parent)}")


def _last_lines(folder: Path) -> str:
    logs = sorted((folder / "logs").glob("*.log"))
    return "; ".join(f"{path.stem}: {line}" for path in logs for line in path.read_text().splitlines()[-2:])
