"""Matching camera frames: sets found against the offline optimum, and CPU time against an ApproximateTimeSynchronizer.

    python bench/synchroniser.py [--streams 200] [--out DIR]

The optimum is what a matcher finds that sees whole streams at once. The other synchroniser is ROS's Python one
(message_filters), written anew from its public algorithm: a queue of messages for each topic, searched for all
combinations with each new one. Both get the same frames in the same order, as `rclpy.time.Time` where it wants them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rclpy.duration import Duration
from rclpy.time import Time

from f1_ros.cli.report import Report, Result
from f1_ros.observe.synchroniser import FrameSynchroniser

HERE = Path(__file__).parent
SECONDS = 20.0
MS = 1e-3


@dataclass(frozen=True)
class Streams:
    """Frames of some cameras.

    Attributes:
        cameras: how many.
        tolerance_s: largest distance between the stamps of a set.
        frames: (camera, stamp ns) in the order in which they are received.
    """

    cameras: int
    tolerance_s: float
    frames: list[tuple[int, int]]

    @property
    def tolerance_ns(self) -> int:
        """The tolerance, ns."""
        return round(self.tolerance_s * 1e9)


def draw_streams(seed: int) -> Streams:
    """Two to four cameras with jitter, loss, drifting clocks, rates that differ, and deliveries in bursts."""
    g = np.random.default_rng(seed)
    cameras, base = int(g.integers(2, 5)), float(g.choice([15.0, 30.0, 60.0]))
    tolerance = g.uniform(0.2, 0.45) / base
    jitter, loss, burst = g.uniform(0, 0.12) / base, g.uniform(0, 0.1), g.uniform(0, 0.02)
    received: list[tuple[float, int, int]] = []
    for camera in range(cameras):
        rate = base * (float(g.choice([0.5, 1.5, 2.0])) if camera and g.uniform() < 0.25 else 1.0)
        drift, phase = g.uniform(-2e-4, 2e-4), g.uniform(0, 0.5) * tolerance
        ideal = 1.0 + np.arange(0.0, SECONDS, 1.0 / rate)
        stamps = ideal * (1 + drift) + phase + g.normal(0, jitter, len(ideal)).clip(-0.4 / rate, 0.4 / rate)
        late = 5 * MS + g.exponential(4 * MS, len(ideal))
        arrivals = stamps + late
        for start in np.flatnonzero(g.uniform(size=len(ideal)) < burst):  # a few are held back and come together
            held = slice(start, start + int(g.integers(2, 5)))
            arrivals[held] = arrivals[held].max()
        arrivals = np.maximum.accumulate(arrivals)  # a topic keeps its order
        kept = g.uniform(size=len(ideal)) >= loss
        received += [(float(a), camera, round(s * 1e9)) for a, s in zip(arrivals[kept], stamps[kept], strict=True)]
    received.sort(key=lambda frame: frame[0])
    return Streams(cameras, tolerance, [(camera, stamp) for _, camera, stamp in received])


def optimum(streams: Streams) -> int:
    """The largest number of sets: of the cameras' oldest frames, either all match or the oldest matches nothing."""
    queues = [[s for c, s in streams.frames if c == camera] for camera in range(streams.cameras)]
    at, found = [0] * streams.cameras, 0
    while all(i < len(queue) for i, queue in zip(at, queues, strict=True)):
        heads = [queue[i] for i, queue in zip(at, queues, strict=True)]
        if max(heads) - min(heads) <= streams.tolerance_ns:
            found, at = found + 1, [i + 1 for i in at]
        else:
            at[heads.index(min(heads))] += 1
    return found


class ApproximateTime:
    """The algorithm of message_filters.ApproximateTimeSynchronizer in Python."""

    def __init__(self, cameras: int, tolerance_s: float, queue_size: int) -> None:
        self._queues: list[dict[int, int]] = [{} for _ in range(cameras)]
        self._slop, self._size = Duration(seconds=tolerance_s), queue_size
        self.sets: list[tuple[int, ...]] = []

    def add(self, camera: int, stamp: Time, frame: int) -> None:
        """Take a message."""
        mine = self._queues[camera]
        mine[stamp.nanoseconds] = frame
        while len(mine) > self._size:
            del mine[min(mine)]
        candidates = []
        for queue in (q for i, q in enumerate(self._queues) if i != camera):
            near = []
            for other in queue:
                apart = Duration(nanoseconds=abs(other - stamp.nanoseconds))
                if apart > self._slop:
                    continue
                near.append((Time(nanoseconds=other), apart))
            if not near:
                return
            candidates.append([time_ for time_, _ in sorted(near, key=lambda pair: pair[1])])
        for others in itertools.product(*candidates):
            chosen = [*others[:camera], stamp, *others[camera:]]
            pairs = list(zip(self._queues, chosen, strict=True))
            if max(chosen) - min(chosen) < self._slop and all(t.nanoseconds in queue for queue, t in pairs):
                self.sets.append(tuple(queue.pop(t.nanoseconds) for queue, t in pairs))
                return


def run_ours(streams: Streams) -> list[tuple[int, ...]]:
    """Stamps of the sets that the observation node's synchroniser finds."""
    synchroniser: FrameSynchroniser[int] = FrameSynchroniser(
        [str(i) for i in range(streams.cameras)], streams.tolerance_ns
    )
    found = []
    for camera, stamp in streams.frames:
        added = synchroniser.add(str(camera), stamp, stamp, stamp).frame_set
        if added is not None:
            found.append(tuple(frame.stamp_ns for frame in added.frames))
    return found


def approximate_with(queue_size: int) -> Callable[[Streams], list[tuple[int, ...]]]:
    """The other one, as a function of streams."""

    def run(streams: Streams) -> list[tuple[int, ...]]:
        synchroniser = ApproximateTime(streams.cameras, streams.tolerance_s, queue_size)
        for camera, stamp in streams.frames:
            synchroniser.add(camera, Time(nanoseconds=stamp), stamp)
        return synchroniser.sets

    return run


def wrong(streams: Streams, sets: Sequence[tuple[int, ...]]) -> int:
    """Sets that are too far apart, or use a frame that was used before."""
    apart = sum(max(found) - min(found) > streams.tolerance_ns for found in sets)
    again = sum(len(column) - len(set(column)) for column in zip(*sets, strict=True))
    return apart + again


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200, help="random sets of streams, 20 s each (default 200)")
    parser.add_argument("--timed", type=int, default=40, help="of them, how many are timed (default 40)")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    conditions = {"nice": os.nice(0), "load_average_before": os.getloadavg()[0]}
    conditions |= {"streams": args.streams, "timed": args.timed}
    drawn = [draw_streams(seed) for seed in range(args.streams)]
    found, best, bad = 0, 0, 0
    worst = 1.0
    for streams in drawn:
        sets, most = run_ours(streams), optimum(streams)
        found, best, bad = found + len(sets), best + most, bad + wrong(streams, sets)
        worst = min(worst, len(sets) / most)
    results = [
        Result("sets_of_the_optimum", found / best, "", ">= 0.98", found / best >= 0.98),
        Result("sets_of_the_optimum_worst_stream", worst),
        Result("wrong_sets", bad, "", "0", bad == 0),
    ]
    runs = {"ours": run_ours, "approximate_10": approximate_with(10), "approximate_100": approximate_with(100)}
    cpu, sets_of = dict.fromkeys(runs, 0.0), dict.fromkeys(runs, 0)
    for streams in drawn[: args.timed]:
        for name, run in runs.items():  # in turn, on the same streams
            began = time.process_time()
            sets_of[name] += len(run(streams))
            cpu[name] += time.process_time() - began
    frames = sum(len(streams.frames) for streams in drawn[: args.timed])
    results += [Result(f"{name}_us_a_frame", cpu[name] / frames * 1e6, "us") for name in runs]
    results += [Result(f"{name}_sets", sets_of[name]) for name in runs]
    ratio = cpu["approximate_100"] / cpu["ours"]
    results.append(Result("approximate_100_over_ours", ratio, "", ">= 20", ratio >= 20.0))
    report = Report("make bench", results, {"conditions": conditions})
    return report.conclude(args.out / "synchroniser.json")


if __name__ == "__main__":
    raise SystemExit(main())
