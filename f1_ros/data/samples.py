"""Training samples, and the loader that keeps a trainer fed with them.

    source = mixture([DatasetConfig(Path("demos"))], spec, split="train")      f1_ros.data.sources
    with SampleLoader(source, batch_size=16, seed=0, threads=4) as loader:
        for step in range(start, steps):
            samples = loader.batch(step)                                        # the same ones whenever it is asked

What a step gets depends on the seed and the step alone: a run that resumes at any step sees the same data, and several
processes see together what one with the whole batch would see.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ConfigError


@dataclass(frozen=True)
class SampleSpec:
    """What of an episode makes a sample. Offsets are in the dataset's frames.

    Attributes:
        cameras: keys of the cameras in the dataset, in the model's order; the first one has the history.
        image_size: side of the square camera images, px.
        history_resize: shorter side that a history frame is resized to before the crop, px.
        history_size: side of the cropped history frames, px.
        history_offsets: offsets of the history frames, oldest first, last 0.
        foresight_offset: offset of the frame to predict.
        chunk_size: steps in an action chunk; its first action is that of the sample's own frame.
        random_crop: whether history and target are cropped at random (all frames of a sample alike), as in training,
            or at the centre, as at run time.
    """

    cameras: tuple[str, ...]
    image_size: int
    history_resize: int
    history_size: int
    history_offsets: tuple[int, ...]
    foresight_offset: int
    chunk_size: int
    random_crop: bool = False

    def __post_init__(self) -> None:
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ConfigError(
                f"cameras {list(self.cameras)} are none or name one twice.", remedy="Name each camera's key once."
            )
        offsets = self.history_offsets
        if not offsets or offsets[-1] != 0 or list(offsets) != sorted(set(offsets)):
            raise ConfigError(
                f"history_offsets {list(offsets)} do not ascend to 0.", remedy="Give them like [-9, -6, -3, 0]."
            )
        if min(self.image_size, self.history_size, self.foresight_offset, self.chunk_size) < 1:
            raise ConfigError(
                f"image_size {self.image_size}, history_size {self.history_size}, foresight_offset "
                f"{self.foresight_offset} and chunk_size {self.chunk_size} must be at least 1.",
                remedy="Correct the one that is not.",
            )
        if self.history_size > self.history_resize:
            raise ConfigError(
                f"history_size {self.history_size} is cropped from {self.history_resize} px (history_resize).",
                remedy="Make history_size at most history_resize.",
            )


@dataclass(frozen=True)
class Sample:
    """One sample, as it comes from the dataset: nothing is normalised but the camera images.

    Attributes:
        images: (C, 3, S, S) float32 in [-1, 1], RGB, as `f1_ros.observe.preprocess.camera_tensor` makes them.
        present: (C,) whether the dataset has that camera; where not, the image is black.
        history: (T, 3, H, W) uint8 RGB of the first camera, oldest first; before the episode's start its first frame.
        target: (3, H, W) uint8 RGB, the first camera's frame to predict; past the end the episode's last frame.
        state: (d,) float32 in the dataset's units, or those of its embodiment transform.
        actions: (chunk, A) float32; past the end the last one is repeated.
        action_is_pad: (chunk,) which steps lie past the episode's end.
        instruction: the task in words.
        dataset: number of the dataset within its mixture.
        episode: index of the episode in its dataset.
        frame: index of the frame in its episode.
    """

    images: NDArray[np.float32]
    present: NDArray[np.bool_]
    history: NDArray[np.uint8]
    target: NDArray[np.uint8]
    state: NDArray[np.float32]
    actions: NDArray[np.float32]
    action_is_pad: NDArray[np.bool_]
    instruction: str
    dataset: int
    episode: int
    frame: int


Drawn = tuple[int, np.random.Generator]
"""A sample's index, and what everything random in it is drawn from."""


class SampleSource(Protocol):
    """Where samples come from. `samples` is called from several threads at once."""

    def __len__(self) -> int:
        """Samples in an epoch."""
        ...

    def samples(self, drawn: Sequence[Drawn]) -> list[Sample]:
        """Make samples, each index 0 .. len - 1; the same index and generator state give the same sample.

        Raises:
            DataError: naming file, episode and frame, if one cannot be read.
        """
        ...


class SampleLoader:
    """Makes batches in background threads, ahead of the trainer.

    Args:
        source: where samples come from.
        batch_size: samples in a batch of this process.
        seed: of the order and of everything random in a sample.
        threads: decoder threads.
        rank: number of this process.
        world: number of processes; together they get the batch that one process would get with
            `batch_size * world`, in the order of their ranks.
        prefetch: steps that are prepared beyond the one asked for.

    Raises:
        ConfigError: on numbers out of range, or an empty source.
    """

    def __init__(
        self,
        source: SampleSource,
        batch_size: int,
        seed: int,
        threads: int,
        *,
        rank: int = 0,
        world: int = 1,
        prefetch: int = 2,
    ) -> None:
        if batch_size < 1 or seed < 0 or threads < 1 or prefetch < 0 or not 0 <= rank < world:
            raise ConfigError(
                f"batch_size {batch_size}, seed {seed}, threads {threads}, prefetch {prefetch} and rank {rank} of "
                f"{world} do not make a loader.",
                remedy="Give batch_size and threads from 1, seed and prefetch from 0, and a rank below world.",
            )
        if len(source) < 1:
            raise ConfigError("The dataset has no samples.", remedy="Give a dataset with at least one episode.")
        self._source = source
        self._length = len(source)
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._world = world
        self._prefetch = prefetch
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="samples")
        self._at_once = max(1, batch_size // (2 * threads))  # samples in a task: few enough to share a batch evenly
        self._ahead: dict[int, list[Future[list[Sample]]]] = {}
        self._started_at: float | None = None
        self.waited_s = 0.0
        """Time for which `batch` has waited for samples, s."""
        self.samples = 0
        """Samples handed over."""

    @property
    def samples_per_s(self) -> float:
        """Samples handed over per second since the first batch was asked for."""
        return self.samples / max(self._elapsed_s(), 1e-9)

    @property
    def waiting_share(self) -> float:
        """Share of the time since the first call that the trainer waited here: near 0 means that it is kept fed."""
        return self.waited_s / max(self._elapsed_s(), 1e-9)

    def batch(self, step: int) -> list[Sample]:
        """Return the samples of a step; usually they are ready.

        Args:
            step: number of the step, from 0; any order, but ascending is what is prepared for.

        Raises:
            DataError: if a sample cannot be read. ConfigError: if `step` is negative.
        """
        if step < 0:
            raise ConfigError(f"Step {step} is negative.", remedy="Count steps from 0.")
        begun = time.perf_counter()
        if self._started_at is None:
            self._started_at = begun
        wanted = range(step, step + self._prefetch + 1)
        for old in [s for s in self._ahead if s not in wanted]:
            for future in self._ahead.pop(old):
                future.cancel()
        for ahead in wanted:
            if ahead not in self._ahead:
                self._ahead[ahead] = self._submit(ahead)
        made = [sample for future in self._ahead.pop(step) for sample in future.result()]
        self.waited_s += time.perf_counter() - begun
        self.samples += len(made)
        return made

    def close(self) -> None:
        """Stop the threads. The loader cannot be used afterwards."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _elapsed_s(self) -> float:
        return 0.0 if self._started_at is None else time.perf_counter() - self._started_at

    def _submit(self, step: int) -> list[Future[list[Sample]]]:
        first = (step * self._world + self._rank) * self._batch_size
        positions = range(first, first + self._batch_size)
        parts = [positions[i : i + self._at_once] for i in range(0, self._batch_size, self._at_once)]
        return [self._pool.submit(self._make, part) for part in parts]

    def _make(self, positions: range) -> list[Sample]:
        """Make the samples at positions of the endless order: epoch after epoch, each one shuffled."""
        drawn = []
        for position in positions:
            epoch, place = divmod(position, self._length)
            index = shuffled(place, self._length, self._seed, epoch)
            drawn.append((index, np.random.default_rng((self._seed, position))))
        return self._source.samples(drawn)


def shuffled(place: int, length: int, seed: int, epoch: int) -> int:
    """Index at `place` of a pseudo-random order of 0 .. length - 1, without holding the order in memory.

    A Feistel network over the next power of four, walked until it falls below `length` (cycle walking; Black and
    Rogaway, "Ciphers with arbitrary finite domains", 2002).
    """
    half = max(1, ((length - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = place >> half, place & mask
        for turn in range(4):
            left, right = right, left ^ (_mixed(right, seed, epoch, turn) & mask)
        place = left << half | right
        if place < length:
            return place


def _mixed(value: int, seed: int, epoch: int, turn: int) -> int:
    """64 well-mixed bits (SplitMix64's finaliser, Steele et al. 2014)."""
    x = (value + seed * 0x9E3779B97F4A7C15 + epoch * 0xC2B2AE3D27D4EB4F + turn * 0x165667B19E3779F9 + 1) & _WORD
    for _ in range(2):
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _WORD
        x = (x ^ x >> 27) * 0x94D049BB133111EB & _WORD
    return x ^ x >> 31


_WORD = (1 << 64) - 1
