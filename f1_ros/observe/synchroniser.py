"""Time-matched sets of camera frames.

A set is one frame of each camera whose stamps lie within the tolerance. Given a frame, the newest complete set goes out
at once: nothing waits for a better match. No frame is used twice, a frame older than one that was used is dropped, and
stamps within a set keep each camera's order. Where a camera's frames are further apart than twice the tolerance, every
set there is goes out, so that a lost frame costs exactly the set that it belonged to.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from f1_ros.errors import ConfigError
from f1_ros.observe.order import Order, StampOrder

T = TypeVar("T")


@dataclass(frozen=True)
class Stamped(Generic[T]):
    """A frame with its stamp and the instant at which it was received, ns."""

    stamp_ns: int
    received_ns: int
    frame: T


@dataclass(frozen=True)
class FrameSet(Generic[T]):
    """One frame of each camera.

    Attributes:
        cameras: names in the synchroniser's order.
        frames: the frames in the same order.
    """

    cameras: tuple[str, ...]
    frames: tuple[Stamped[T], ...]

    @property
    def stamp_ns(self) -> int:
        """Stamp of camera 0's frame, ns."""
        return self.frames[0].stamp_ns

    @property
    def skew_ns(self) -> int:
        """Largest distance between two frames' stamps, ns."""
        stamps = [frame.stamp_ns for frame in self.frames]
        return max(stamps) - min(stamps)


@dataclass(frozen=True)
class Added(Generic[T]):
    """What came of a frame: how its stamp stands in its camera's stream, and the set that it completed."""

    order: Order
    frame_set: FrameSet[T] | None


class FrameSynchroniser(Generic[T]):
    """Matches frames of several cameras by header stamp. Not thread-safe: one caller.

    Args:
        cameras: names; the first gives a set its stamp.
        tolerance_ns: largest distance between two stamps of a set, ns.
        depth: frames kept of each camera while they wait; it must cover the largest difference in delay between two
            cameras (10 frames at 30 Hz: 0.33 s).

    Raises:
        ConfigError: without cameras, with one named twice, a negative tolerance or no depth.
    """

    def __init__(self, cameras: Sequence[str], tolerance_ns: int, depth: int = 10) -> None:
        if not cameras or len(set(cameras)) != len(cameras) or tolerance_ns < 0 or depth < 1:
            raise ConfigError(
                f"Frames of {list(cameras)} cannot be matched with tolerance {tolerance_ns} ns and depth {depth}.",
                remedy="Name each camera once; give a tolerance of 0 or more and a depth of 1 or more.",
            )
        self.cameras = tuple(cameras)
        self._tolerance_ns = tolerance_ns
        self._depth = depth
        self._waiting: dict[str, list[Stamped[T]]] = {camera: [] for camera in cameras}
        self._orders = {camera: StampOrder() for camera in cameras}
        self._used_ns: dict[str, int | None] = dict.fromkeys(cameras)

    def waiting(self, camera: str) -> int:
        """Frames of a camera that wait for the others."""
        return len(self._waiting[camera])

    def add(self, camera: str, stamp_ns: int, frame: T, received_ns: int) -> Added[T]:
        """Take a frame, by reference; give the newest set that it completes.

        A repeated stamp is ignored. A late frame takes its place if none at or after it has been used. A clock set back
        (see `order.StampOrder`) forgets the camera's frames.

        Raises:
            KeyError: if the camera is not one of `cameras`.
        """
        order = self._orders[camera].judge(stamp_ns)
        waiting = self._waiting[camera]
        if order is Order.RESET:
            waiting.clear()
            self._used_ns[camera] = None
        used = self._used_ns[camera]
        at = bisect_left(waiting, stamp_ns, key=_stamp)
        repeated = at < len(waiting) and waiting[at].stamp_ns == stamp_ns
        if order is Order.DUPLICATE or repeated:
            return Added(Order.DUPLICATE, None)
        if used is not None and stamp_ns <= used:
            return Added(order, None)
        insort(waiting, Stamped(stamp_ns, received_ns, frame), key=_stamp)
        del waiting[: -self._depth]
        newest = self._newest_set()
        if newest is None:
            return Added(order, None)
        for name, index in zip(self.cameras, newest, strict=True):
            self._used_ns[name] = self._waiting[name][index].stamp_ns
        frames = tuple(self._waiting[name][index] for name, index in zip(self.cameras, newest, strict=True))
        for name, index in zip(self.cameras, newest, strict=True):
            del self._waiting[name][: index + 1]
        return Added(order, FrameSet(self.cameras, frames))

    def _newest_set(self) -> list[int] | None:
        """Indices of the newest complete set, with the closest partners of its oldest frame.

        From the newest frames backwards: the newest of all cannot be matched if another camera's candidate is too old
        for it, and so falls out. What is left first is the newest set in every camera at once.
        """
        queues = [self._waiting[camera] for camera in self.cameras]
        at = [len(queue) - 1 for queue in queues]
        if min(at) < 0:
            return None
        while True:
            stamps = [queue[index].stamp_ns for queue, index in zip(queues, at, strict=True)]
            spread = max(stamps) - min(stamps)
            if spread <= self._tolerance_ns:
                break
            newest = stamps.index(max(stamps))
            at[newest] -= 1
            if at[newest] < 0:
                return None
        closest = [_closest(queue, min(stamps)) for queue in queues]
        chosen = [queue[index].stamp_ns for queue, index in zip(queues, closest, strict=True)]
        return closest if max(chosen) - min(chosen) <= spread else at


def _stamp(entry: Stamped[T]) -> int:
    return entry.stamp_ns


def _closest(queue: list[Stamped[T]], stamp_ns: int) -> int:
    after = bisect_left(queue, stamp_ns, key=_stamp)
    if after == len(queue):
        return after - 1
    if after == 0 or queue[after].stamp_ns - stamp_ns <= stamp_ns - queue[after - 1].stamp_ns:
        return after
    return after - 1
