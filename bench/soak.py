"""The whole system at full rate for a while: is memory flat, and latency?

    python bench/soak.py [--minutes 3] [--out DIR]

The simulated system runs under the policy. Of each process the resident memory is noted every second, of each command
under a new plan the time from camera to command. Flat: the median of the last quarter is no more than that of the first
one, within the tolerances below. The first half minute does not count: what is loaded on the way is loaded then.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from live import HERE, Watcher, alive, running

from f1_ros.bringup import franka
from f1_ros.bringup_options import FrankaOptions
from f1_ros.cli.report import Report, Result
from f1_ros.errors import F1Error
from f1_ros.nodes.conversions import to_ns
from f1_ros.supervisor import Supervisor

SETTLE_S = 30.0
FLAT_MB, FLAT_TIMES = 5.0, 1.2
"""What memory may have grown by from the first quarter to the last, MB; what latency may have grown to, times."""


@dataclass
class Soak:
    """What was noted, each with its time since the measurement began, s."""

    memory_mb: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    latency_ms: list[tuple[float, float]] = field(default_factory=list)
    model_ms: list[tuple[float, float]] = field(default_factory=list)

    def note(self, supervisor: Supervisor, watcher: Watcher, at_s: float) -> None:
        """Look at everything once."""
        for name, pid in supervisor.pids.items():
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            self.memory_mb.setdefault(name, []).append((at_s, pages * os.sysconf("SC_PAGE_SIZE") / 1e6))
        latency_ms = to_ns(watcher.statuses[-1].camera_to_command) * 1e-6
        if latency_ms > 0.0 and (not self.latency_ms or self.latency_ms[-1][1] != latency_ms):
            self.latency_ms.append((at_s, latency_ms))
        model = watcher.diagnostics.get("policy_node: inference", {}).get("model latency p50 [ms]")
        if model is not None:
            self.model_ms.append((at_s, float(model)))


def quarters(series: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Medians of the first and of the last quarter, and the slope of a straight line through all, an hour."""
    times, values = np.array(series).T
    quarter = (times[-1] - times[0]) / 4.0
    first, last = values[times <= times[0] + quarter], values[times >= times[-1] - quarter]
    return float(np.median(first)), float(np.median(last)), float(np.polyfit(times, values, 1)[0] * 3600.0)


def run(minutes: float, logs: Path) -> tuple[Soak, list[Result]]:
    """Run the system."""
    soak = Soak()
    with running(franka(FrankaOptions(sim=True, mode="policy")), logs) as (supervisor, watcher):

        def meanwhile() -> None:
            alive(supervisor)
            watcher.keep_policy()

        watcher.until(watcher.keep_policy, "the policy")
        watcher.spin(SETTLE_S, meanwhile)
        before, began_s = watcher.statuses[-1], time.monotonic()
        watcher.faults.clear()
        while time.monotonic() < began_s + minutes * 60.0:
            watcher.spin(1.0, meanwhile)
            del watcher.statuses[:-1]  # the benchmark's own memory shall be flat as well
            soak.note(supervisor, watcher, time.monotonic() - began_s)
        after = watcher.statuses[-1]
        return soak, [
            Result("ticks", after.ticks - before.ticks),
            Result("ticks_missed", after.missed - before.missed),
            Result("chunks", after.chunks - before.chunks),
            Result("faults", len(watcher.faults)),
        ]


def report(soak: Soak, found: list[Result], minutes: float) -> Report:
    """Figures and whether they are flat."""
    results = [Result("minutes", minutes), *found]
    for name, series in soak.memory_mb.items():
        first, last, slope = quarters(series)
        grown = last - first
        results += [
            Result(f"{name}_memory", last, "MB"),
            Result(f"{name}_memory_growth", grown, "MB", f"<= {FLAT_MB:g}", grown <= FLAT_MB),
            Result(f"{name}_memory_slope", slope, "MB/h"),
        ]
    for name, series in (("camera_to_command", soak.latency_ms), ("model", soak.model_ms)):
        first, last, slope = quarters(series)
        times = last / first
        results += [
            Result(f"{name}_p50_first_quarter", first, "ms"),
            Result(f"{name}_p50_growth", times, "times", f"<= {FLAT_TIMES:g}", times <= FLAT_TIMES),
        ]
    step = max(len(soak.latency_ms) // 600, 1)
    raw = {
        "memory_mb": {name: series[:: max(len(series) // 200, 1)] for name, series in soak.memory_mb.items()},
        "camera_to_command_ms": soak.latency_ms[::step],
    }
    return Report("python bench/soak.py", results, {"load_average_1_min": os.getloadavg()[0], "raw": raw})


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="default 3; for the record 60")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    name = "soak.json" if args.minutes < 60.0 else "soak_hour.json"
    try:
        with tempfile.TemporaryDirectory() as folder:
            soak, found = run(args.minutes, Path(folder))
        return report(soak, found, args.minutes).conclude(args.out / name)
    except F1Error as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
