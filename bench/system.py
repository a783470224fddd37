"""`make bench`: how evenly commands go out, and how long from camera to command, beside the running demo.

A bare loop that only sleeps to absolute deadlines runs beside it, so that the machine's own part shows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from f1_ros.cli.demo import DemoOptions, add_options, all_figures, demo_options, fault_lines, run_system
from f1_ros.cli.engine import prepare
from f1_ros.cli.recording import Recording, median
from f1_ros.cli.report import Report, Result
from f1_ros.errors import F1Error

HERE = Path(__file__).parent


def bare_loop() -> subprocess.Popen[str]:
    """Start the bare loop; it ends when its standard input closes."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "bare_loop.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def report(recording: Recording, options: DemoOptions, bare_ms: list[float]) -> Report:
    """Figures of the run, and the raw ones beside them."""
    latencies = recording.camera_to_command_ms()
    results = [
        *all_figures(recording, options),
        Result("camera_to_command_p95_ms", float(np.percentile(latencies, 95)) if latencies else None, "ms"),
        Result("bare_loop_period_error_p50_ms", median(bare_ms), "ms"),
        Result("bare_loop_period_error_p99_ms", float(np.percentile(bare_ms, 99)), "ms"),
    ]
    statuses = recording.statuses
    raw = {
        "period_error_p99_ms_windows_of_10_s": [s.period_error_p99_s * 1e3 for s in statuses[::100]],
        "camera_to_command_ms": latencies,
        "model_latency_ms": recording.model_latencies_ms(),
        "bare_loop_period_error_ms_percentiles": {
            str(q): float(np.percentile(bare_ms, q)) for q in (50, 90, 99, 99.9, 100)
        },
    }
    return Report("make bench", results, {"robot": options.robot, "raw": raw, "faults": fault_lines(recording)})


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report here")
    args = parser.parse_args()
    try:
        options = demo_options(args, HERE.parent / "runs" / "bench")
        options.out.mkdir(parents=True, exist_ok=True)
        prepare(options.policy, options.engine)
        with bare_loop() as bare:
            recording = run_system(options)
            bare_ms = json.loads(bare.communicate()[0])
        result = report(recording, options, bare_ms)
        result.print_table()
        result.write(args.out / ("system.json" if options.robot == "franka" else f"system_{options.robot}.json"))
        result.write(args.json)
    except F1Error as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return result.exit_status


if __name__ == "__main__":
    raise SystemExit(main())
