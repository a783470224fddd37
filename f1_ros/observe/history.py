"""The history of camera 0 at the model's offsets, from a camera of any rate.

The rule. Sets of frames are thinned to one for each step of the model (`FrameGrid`): the one nearest to a point of a
grid whose pitch is the model's step. The grid follows the camera's clock slowly, so that a camera that runs a little
fast or slow never falls between two points for long. With a step of 0.05 s a 20 Hz camera loses no frame, and a 30 Hz
camera gives two of three. Each thinned frame is the newest of one observation and later its history, under one stamp:
an engine that keeps the codes of the frames it has encoded, by stamp, encodes each frame once.

For each offset the history (`FrameHistory`) takes the thinned frame nearest to stamp + offset * step if it lies within
half a step; otherwise the nearest of all frames of camera 0 within one and a half steps (and under half of the distance
between two offsets). So one lost frame is replaced by its neighbour; where two in a row are lost, or the camera has not
run long enough, the history is incomplete and there is none. A simulation in lock step, with a frame at each step,
gives exactly the frames at the offsets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

from f1_ros.errors import ConfigError

T = TypeVar("T")

FOLLOW = 0.1
"""Share of a frame's distance from its grid point by which the grid moves: averages noise, follows clock drift."""

FRAMES_PER_STEP = 4
"""Frames kept for each step: those of a faster camera that come closer together than this are left out."""


class FrameGrid:
    """Thins a stream of stamps to one for each step.

    Args:
        step_ns: the model's step, ns.

    Attributes:
        skipped: steps without a frame before the one accepted last.
    """

    def __init__(self, step_ns: int) -> None:
        self._step_ns = step_ns
        self._point_ns: float | None = None
        self._last_ns = 0
        self.skipped = 0

    def accept(self, stamp_ns: int) -> bool:
        """Whether the frame of this stamp is the one of its step; decided at once. A stamp set back starts anew."""
        if self._point_ns is None or stamp_ns <= self._last_ns:
            self._point_ns, self._last_ns, self.skipped = float(stamp_ns), stamp_ns, 0
            return True
        steps = self._steps(self._point_ns, stamp_ns)
        self._last_ns = stamp_ns
        if steps < 1:
            return False
        self.skipped = steps - 1
        self._point_ns += steps * self._step_ns
        self._point_ns += FOLLOW * (stamp_ns - self._point_ns)
        return True

    def would_accept(self, stamp_ns: int) -> bool:
        """What `accept` would say now of a frame later than all before it."""
        return self._point_ns is None or (stamp_ns > self._last_ns and self._steps(self._point_ns, stamp_ns) >= 1)

    def _steps(self, point_ns: float, stamp_ns: int) -> int:
        # The next frame will be nearer to the point if the point lies more than half a frame ahead.
        reach = min(self._step_ns, stamp_ns - self._last_ns) / 2
        return int((stamp_ns - point_ns + reach) // self._step_ns)


@dataclass
class Entry(Generic[T]):
    """A frame in the history; `on_grid` if it was the newest frame of an observation."""

    stamp_ns: int
    frame: T
    on_grid: bool = False


class FrameHistory(Generic[T]):
    """Frames of camera 0 as far back as the model looks, by reference. Not thread-safe.

    Args:
        offsets: offsets in steps, oldest first, the last 0.
        step_ns: length of a step, ns.

    Raises:
        ConfigError: if the offsets do not rise to 0, or the step is not positive.
    """

    def __init__(self, offsets: Sequence[int], step_ns: int) -> None:
        if not offsets or offsets[-1] != 0 or any(a >= b for a, b in pairwise(offsets)) or step_ns <= 0:
            raise ConfigError(
                f"History offsets {list(offsets)} with a step of {step_ns} ns cannot be.",
                remedy="Give rising offsets that end with 0 and a positive step in policy.json.",
            )
        self._offsets = tuple(offsets)
        self._step_ns = step_ns
        closest = min((b - a for a, b in pairwise(offsets)), default=3)
        self._reach_ns = (min(3, closest) * step_ns - 1) // 2  # under half: no frame serves two offsets
        self._span_ns = -offsets[0] * step_ns + self._reach_ns
        self._entries: list[Entry[T]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget all frames: the clock was set back."""
        self._entries.clear()

    def add(self, stamp_ns: int, frame: T) -> None:
        """Keep a frame that came, unless it is late or closer to the last one than a quarter of a step."""
        if self._entries and stamp_ns - self._entries[-1].stamp_ns < self._step_ns // FRAMES_PER_STEP:
            return
        self._entries.append(Entry(stamp_ns, frame))
        self._forget()

    def mark(self, stamp_ns: int, frame: T) -> None:
        """Keep a frame as the newest of an observation: later histories prefer it."""
        at = bisect_left(self._entries, stamp_ns, key=_stamp)
        if at == len(self._entries) or self._entries[at].stamp_ns != stamp_ns:
            self._entries.insert(at, Entry(stamp_ns, frame))
        self._entries[at].on_grid = True
        self._forget()

    def pick(self, stamp_ns: int) -> tuple[Entry[T], ...] | None:
        """Frames for an observation of this stamp, oldest first, the last of exactly this stamp; None if incomplete."""
        oldest_ns = stamp_ns + self._offsets[0] * self._step_ns
        if not self._entries or self._entries[0].stamp_ns > oldest_ns + self._step_ns // 2:
            return None  # the camera has not run long enough: its first frame is no stand-in for an earlier one
        picked = [self._nearest(stamp_ns + offset * self._step_ns) for offset in self._offsets[:-1]]
        picked.append(self._within(stamp_ns, 0, on_grid=False))
        entries = tuple(entry for entry in picked if entry is not None)
        return entries if len(entries) == len(self._offsets) else None

    def _nearest(self, target_ns: int) -> Entry[T] | None:
        half_step = min(self._step_ns // 2, self._reach_ns)
        thinned = self._within(target_ns, half_step, on_grid=True)
        return thinned or self._within(target_ns, self._reach_ns, on_grid=False)

    def _within(self, target_ns: int, reach_ns: int, *, on_grid: bool) -> Entry[T] | None:
        first = bisect_left(self._entries, target_ns - reach_ns, key=_stamp)
        after = bisect_left(self._entries, target_ns + reach_ns + 1, key=_stamp)
        near = [entry for entry in self._entries[first:after] if entry.on_grid or not on_grid]
        return min(near, key=lambda entry: abs(entry.stamp_ns - target_ns), default=None)

    def _forget(self) -> None:
        """Drop what no later observation reaches."""
        oldest = self._entries[-1].stamp_ns - self._span_ns
        del self._entries[: bisect_left(self._entries, oldest, key=_stamp)]


def _stamp(entry: Entry[T]) -> int:
    return entry.stamp_ns
