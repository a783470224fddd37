"""`make bench`: how fast the loader makes samples, against reading the same frames and doing nothing with them.

Both run in turn, in one process, with the same number of threads. A loader near the bare reading costs next to nothing
of its own. At 224 px there is a second measurement, of what the full-size model is given: its history frames are
enlarged to 288 px by Pillow's Lanczos filter, which takes longer than reading them; the loader is bound by it.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from f1_ros.cli.report import Report, Result
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.data.recording import Description
from f1_ros.data.samples import SampleLoader, SampleSpec
from f1_ros.data.sources import DatasetConfig, mixture
from f1_ros.data.writer import DatasetWriter
from f1_ros.errors import F1Error
from f1_ros.sim.camera import open_renderer
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.dataset import CAMERAS, NAMES
from f1_ros.sim.demonstrations import demonstrate
from f1_ros.sim.tasks import ONE_INSTRUCTION
from f1_ros.sim.world import BeltWorld
from f1_ros.train.allocator import keep_freed_memory

HERE = Path(__file__).parent
GOAL = 0.8
BATCH = 32
Pictures = Literal["image", "video"]


@dataclass(frozen=True)
class Case:
    """A dataset, and what samples are made of it.

    Attributes:
        pictures: how the dataset stores its pictures.
        size: their side, and that of the samples' camera images, px.
        history_resize, history_size: of the samples' history frames, px.
    """

    pictures: Pictures
    size: int
    history_resize: int
    history_size: int

    @property
    def name(self) -> str:
        """Name of its figures."""
        resized = "" if self.history_resize == self.size else f"_history_{self.history_resize}"
        return f"{self.pictures}_{self.size}{resized}"

    def spec(self) -> SampleSpec:
        """Samples as `models/f1_belt` has them, but for the sizes."""
        return SampleSpec(
            cameras=tuple(f"observation.images.{name}" for name in CAMERAS),
            image_size=self.size,
            history_resize=self.history_resize,
            history_size=self.history_size,
            history_offsets=(-9, -6, -3, 0),
            foresight_offset=6,
            chunk_size=16,
            random_crop=True,
        )


CASES = (
    *(Case(pictures, size, size, size) for size in (96, 224) for pictures in ("image", "video")),
    *(Case(pictures, 224, 288, 256) for pictures in ("image", "video")),
)


@dataclass(frozen=True)
class Speed:
    """Samples a second, and processor time of a sample, ms."""

    per_s: float
    cpu_ms: float


def write_datasets(folder: Path, episodes: int) -> dict[tuple[Pictures, int], Path]:
    """Write the belt's demonstrations with images and with videos, at both sizes."""
    world = BeltWorld(BeltConfig())
    renderer = open_renderer(world.scene, "ray")
    shown = [demonstrate(world, 1, number) for number in range(episodes)]
    paths: dict[tuple[Pictures, int], Path] = {}
    for size in (96, 224):
        views = [[{c: renderer.render(s, c, size, size) for c in CAMERAS} for s in one.snapshots] for one in shown]
        for pictures in ("image", "video"):
            path = paths[pictures, size] = folder / f"{pictures}_{size}"
            about = Description(20, "franka", NAMES, NAMES, dict.fromkeys(CAMERAS, (size, size)), pictures)
            with DatasetWriter(path, about) as writer:
                for one, seen in zip(shown, views, strict=True):
                    for state, action, view in zip(one.state, one.action, seen, strict=True):
                        writer.add_frame(state, action, view, ONE_INSTRUCTION)
                    writer.save_episode()
    return paths


def measured(work: Callable[[], None], samples: int) -> Speed:
    """How fast some work on so many samples is done."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Speed(samples / wall, cpu / samples * 1e3)


def each(pool: ThreadPoolExecutor, work: Callable[[tuple[int, int]], None], places: list[tuple[int, int]]) -> None:
    """Do some work at each place."""
    for _ in pool.map(work, places):
        pass


def compare(path: Path, case: Case, threads: int, samples: int, rounds: int) -> list[tuple[Speed, Speed]]:
    """Speed of the loader and of reading alone, in each round."""
    spec = case.spec()
    source = mixture([DatasetConfig(path, held_out=0.0)], spec, "train")
    dataset = LeRobotDataset(path)
    steps = samples // BATCH

    def load(loader: SampleLoader, kept: list[tuple[int, int]] | None = None) -> None:
        for step in range(steps):
            batch = loader.batch(step)
            if kept is not None:
                kept += [(sample.episode, sample.frame) for sample in batch]

    def read(place: tuple[int, int]) -> None:
        episode, frame = place
        past = [max(0, frame + offset) for offset in spec.history_offsets]
        last = int(dataset.episodes.lengths[episode]) - 1
        dataset.pictures(episode, spec.cameras[0], [*past, min(last, frame + spec.foresight_offset)])
        for key in spec.cameras[1:]:
            dataset.pictures(episode, key, [frame])

    places: list[tuple[int, int]] = []
    with SampleLoader(source, BATCH, 0, threads) as loader:
        load(loader, places)  # and files are open, memory is there
    found = []
    with ThreadPoolExecutor(threads) as pool:
        for round_ in range(rounds + 1):
            with SampleLoader(source, BATCH, 0, threads) as loader:
                loading = measured(functools.partial(load, loader), len(places))
            reading = measured(functools.partial(each, pool, read, places), len(places))
            if round_:  # the first is to warm up
                found.append((loading, reading))
    return found


def results(case: Case, rounds: list[tuple[Speed, Speed]]) -> list[Result]:
    """Medians of a case's figures; the goal is for what is only read and put together, not resized."""
    ratio = statistics.median(loading.per_s / reading.per_s for loading, reading in rounds)
    cpu = statistics.median(reading.cpu_ms / loading.cpu_ms for loading, reading in rounds)
    has_goal = case.history_resize == case.size
    return [
        Result(f"{case.name}_loader", statistics.median(r[0].per_s for r in rounds), "samples/s"),
        Result(f"{case.name}_frames", statistics.median(r[1].per_s for r in rounds), "samples/s"),
        Result(f"{case.name}_ratio", ratio, "", f">= {GOAL}" if has_goal else None, not has_goal or ratio >= GOAL),
        Result(f"{case.name}_ratio_of_processor_time", cpu),
    ]


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=8, help="demonstrations in each dataset (default 8)")
    parser.add_argument("--samples", type=int, default=480, help="samples in a round (default 480)")
    parser.add_argument("--rounds", type=int, default=11, help="rounds (default 11)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: one a core")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    try:
        keep_freed_memory()  # as training does
        found: list[Result] = []
        raw = {}
        with tempfile.TemporaryDirectory() as folder:
            paths = write_datasets(Path(folder), args.episodes)
            for case in CASES:
                rounds = compare(paths[case.pictures, case.size], case, args.threads, args.samples, args.rounds)
                found += results(case, rounds)
                raw[case.name] = [[loading.per_s, reading.per_s] for loading, reading in rounds]
        details = {
            "threads": args.threads,
            "batch": BATCH,
            "nice": os.nice(0),
            "load_average_1_min": os.getloadavg()[0],
            "samples_per_s_by_round": raw,
        }
        report = Report("make bench", found, details)
        return report.conclude(args.out / "loader.json")
    except F1Error as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
