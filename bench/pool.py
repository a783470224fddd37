"""Demonstrations per second, rendered, with 1, 2 and 4 workers: on this machine's processes and on a Ray cluster of it.

Counted from when every worker has done one, so that their start is not part of it; it stands beside.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from f1_ros.cli.report import Report, Result
from f1_ros.errors import F1Error
from f1_ros.sim.camera import open_renderer
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.demonstrations import demonstrate
from f1_ros.sim.pool import run_jobs
from f1_ros.sim.world import BeltWorld

HERE = Path(__file__).parent
WORKERS = (1, 2, 4)


def open_world() -> Callable[[int], int]:
    """A worker: demonstrates and renders an episode as a recording does; answers with its process."""
    world = BeltWorld(BeltConfig())
    renderer = open_renderer(world.scene, "ray")

    def episode(number: int) -> int:
        for snapshot in demonstrate(world, 1, number).snapshots:
            for camera in ("front", "wrist"):
                renderer.render(snapshot, camera, 96, 96)
        return os.getpid()

    return episode


def measure(workers: int, cluster: str | None, seconds: float) -> tuple[float, float]:
    """Episodes per second, and seconds until every worker had done its first."""
    began = time.perf_counter()
    with run_jobs(open_world, itertools.count(), workers=workers, cluster=cluster) as results:
        seen: set[int] = set()
        while len(seen) < workers:
            seen.add(next(results)[1])
        start = now = time.perf_counter()
        done = 0
        while now - start < seconds:
            next(results)
            done, now = done + 1, time.perf_counter()
    return done / (now - start), start - began


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (default 5)")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    conditions = {"nice": os.nice(0), "load_average_before": os.getloadavg()[0], "seconds": args.seconds}
    results = []
    try:
        for name, cluster in (("processes", None), ("ray", "local")):
            for workers in WORKERS:
                rate, start_s = measure(workers, cluster, args.seconds)
                results.append(Result(f"{name}_{workers}_episodes_per_s", rate, "1/s"))
                results.append(Result(f"{name}_{workers}_start_s", start_s, "s"))
    except F1Error as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    report = Report("make bench", results, {"conditions": conditions})
    return report.conclude(args.out / "pool.json")


if __name__ == "__main__":
    raise SystemExit(main())
