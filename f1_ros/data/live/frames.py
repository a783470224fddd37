"""The frames of one episode, from messages in the order of their stamps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.arbiter import Mode
from f1_ros.data.live.action import ActionTrack
from f1_ros.errors import DataError, F1Error
from f1_ros.observe.frames import Frame
from f1_ros.observe.health import SECOND_NS
from f1_ros.observe.streams import MatchedStreams
from f1_ros.observe.synchroniser import FrameSet

LEAD_NS = 2 * SECOND_NS
"""How long after its start an episode may wait for its first frame that has everything."""


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """One frame of an episode.

    Attributes:
        stamp_ns: its instant, ns on the ROS clock.
        pictures: the cameras' frames.
        state: measured, at its stamp: rad, m.
        action: target for the end of the step that begins with it: rad, m.
        mode: the control process's mode behind the action.
        source: what the action came from.
        repeated: whether the pictures are those of the frame before, since none came for this step.
    """

    stamp_ns: int
    pictures: FrameSet[Frame]
    state: NDArray[np.float64]
    action: NDArray[np.float64]
    mode: Mode
    source: str
    repeated: bool


@dataclass(frozen=True, eq=False)
class _Pending:
    """A frame that waits for what comes after it; without pictures, the gap that ends the episode."""

    stamp_ns: int
    pictures: FrameSet[Frame] | None
    repeated: bool
    gap: str = ""


class EpisodeFrames:
    """Makes an episode's frames. Not thread-safe.

    A frame is made once every source of numbers has come up to the end of its step: what goes into it then depends on
    stamps alone.

    Args:
        streams: cameras and joint states.
        actions: commands.
        state_names: order of the state.
        sources: streams of numbers, by name.
        step_ns: time between two frames, ns.
        max_repeated: steps in a row without pictures in which those of the frame before stand in.
        begin_ns: no frame before this instant, ns.

    Attributes:
        begin_ns: as above.
        made: frames made.
        last_ns: instant of the last of them, ns.
        lost: steps that had no pictures.
    """

    def __init__(
        self,
        streams: MatchedStreams,
        actions: ActionTrack,
        state_names: Sequence[str],
        sources: Sequence[str],
        step_ns: int,
        max_repeated: int,
        begin_ns: int,
    ) -> None:
        self._streams, self._actions = streams, actions
        self._state_names = tuple(state_names)
        self._step_ns, self._max_repeated = step_ns, max_repeated
        self._come_to_ns = dict.fromkeys(sources, 0)
        self._pending: deque[_Pending] = deque()
        self._last: _Pending | None = None
        self.begin_ns = begin_ns
        self.made = 0
        self.last_ns: int | None = None
        self.lost = 0

    def add_pictures(self, pictures: FrameSet[Frame], skipped: int) -> None:
        """Take the pictures of a step, and how many steps before it had none."""
        last = self._last
        if last is not None and last.pictures is not None and skipped:
            self.lost += skipped
            if skipped > self._max_repeated:
                between_s = (pictures.stamp_ns - last.stamp_ns) / SECOND_NS
                self._pending.append(_Pending(last.stamp_ns, None, False, _gap(skipped, between_s)))
            else:
                pitch_ns = (pictures.stamp_ns - last.stamp_ns) // (skipped + 1)
                self._pending.extend(
                    _Pending(last.stamp_ns + k * pitch_ns, last.pictures, True) for k in range(1, skipped + 1)
                )
        self._last = _Pending(pictures.stamp_ns, pictures, False)
        self._pending.append(self._last)

    def come_to(self, source: str, stamp_ns: int) -> None:
        """Note that a stream of numbers has come up to an instant, ns."""
        self._come_to_ns[source] = stamp_ns

    def until(self, end_ns: int | None) -> Iterator[LiveFrame]:
        """Make the frames that are due, up to an instant (ns) if there is one.

        Raises:
            DataError: if the next frame cannot be made: the episode ends before it.
        """
        while self._pending:
            head = self._pending[0]
            if min(self._come_to_ns.values()) < head.stamp_ns + self._step_ns:
                return
            if end_ns is not None and head.stamp_ns > end_ns:
                return
            self._pending.popleft()
            frame = self._make(head)
            if frame is not None:
                self.made += 1
                self.last_ns = frame.stamp_ns
                yield frame

    def waits_before(self, end_ns: int) -> bool:
        """Whether a frame up to an instant (ns) still waits."""
        return bool(self._pending) and self._pending[0].stamp_ns <= end_ns

    def _make(self, pending: _Pending) -> LiveFrame | None:
        if pending.pictures is None:
            raise DataError(pending.gap, remedy="Check the cameras and the load of this machine, and record it again.")
        try:
            if not pending.repeated:
                self._streams.refuse_frozen(pending.pictures)
            state = self._streams.state(pending.stamp_ns)
            measured = dict(zip(self._state_names, state.tolist(), strict=True))
            action = self._actions.at(pending.stamp_ns + self._step_ns, measured)
        except F1Error as error:
            if not self.made and pending.stamp_ns < self.begin_ns + LEAD_NS:
                return None  # not everything has begun yet
            raise DataError(error.problem, remedy=error.remedy) from error
        return LiveFrame(
            pending.stamp_ns,
            pending.pictures,
            state,
            action.values,
            action.mode,
            action.source,
            pending.repeated,
        )


def _gap(steps: int, between_s: float) -> str:
    return f"The cameras left a gap: {steps} frames in a row are missing ({between_s:.2f} s without a matched set)."
