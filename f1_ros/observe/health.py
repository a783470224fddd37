"""How cameras, joint states and observations are, as plain data for /diagnostics.

A status's message says the cause and stays the same as long as the cause does, so that whoever logs changes of it logs
each trouble once; figures that vary stand in its values.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from f1_ros.observe.clock_offset import ClockOffset
from f1_ros.observe.frames import Frame, same_content
from f1_ros.observe.geometry import Difference
from f1_ros.observe.joint_state import JointSource
from f1_ros.observe.order import Order

if TYPE_CHECKING:
    from f1_ros.robots.camera import Camera

SECOND_NS = 1_000_000_000
MS = 1e-6
"""Milliseconds in a nanosecond."""

WINDOW = 60
"""Messages over which rate, jitter and latency are taken: 2 s at 30 Hz."""

ENOUGH = 10
"""Messages before a rate is judged."""

HOLD_NS = 5 * SECOND_NS
"""How long a single event (a stamp set back) stays in the status, so that a person sees it."""

_EVERY_PX = 8
"""Of so many rows and columns one is looked at for a black frame: a lit scene is not bright in single pixels alone."""

STANDING = 3
"""Repeated stamps in a row that count as a clock that stands."""


Problem: TypeAlias = tuple["Level", str, str]
"""How bad it is, what it is, and what to do about it."""


class Level(IntEnum):
    """As in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Status:
    """State of one part.

    Attributes:
        part: which part, such as "camera front".
        level: how it is.
        message: the causes, or what is right; constant as long as the causes are.
        values: figures by name, with the unit in the name.
    """

    part: str
    level: Level
    message: str
    values: dict[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class HealthLimits:
    """When a stream counts as ill.

    Attributes:
        missing_after_ns: silence after which a stream is missing, ns.
        max_age_ns: largest age of a frame when it is used, ns.
        max_ahead_ns: furthest that a stamp may lie in the future, ns.
        frozen_after: identical frames in a row, while stamps move, that count as frozen; 0 never. A real sensor's noise
            makes every frame differ; a simulated camera looking at a scene at rest does not, so use 0 there.
        black_below: a frame is black if no pixel looked at reaches this (0 to 255) in any colour; 0 never.
    """

    missing_after_ns: int = SECOND_NS // 2
    max_age_ns: int = SECOND_NS // 4
    max_ahead_ns: int = SECOND_NS // 10
    frozen_after: int = 40
    black_below: int = 0


class StreamHealth:
    """What stamps and arrivals tell about a stream. Cheap enough for every message."""

    def __init__(self, topic: str, limits: HealthLimits, min_rate_hz: float) -> None:
        self._topic = topic
        self._limits = limits
        self._min_rate_hz = min_rate_hz
        self._stamps: deque[int] = deque(maxlen=WINDOW)
        self._latencies: deque[int] = deque(maxlen=WINDOW)
        self._received_ns: int | None = None
        self._reset_ns: int | None = None
        self._leapt_ns: int | None = None
        self._clock = ClockOffset()
        self._standing = 0
        self.counts = dict.fromkeys([*(order.value for order in Order), "unusable"], 0)
        self.fault: str | None = None
        """Why the newest message that was looked at cannot be used; None if it can."""

    def arrived(self, order: Order | None, stamp_ns: int, received_ns: int) -> None:
        """Note a message: how its stamp stands in the stream (None if it cannot be used), and when it came, ns."""
        was_missing = self.missing(received_ns)
        self._received_ns = received_ns
        if order is None:
            self.counts["unusable"] += 1
            return
        self.counts[order.value] += 1
        self._standing = self._standing + 1 if order is Order.DUPLICATE else 0
        if order is Order.RESET:
            self._reset_ns = received_ns
        leapt = order in (Order.NEXT, Order.RESET) and self._clock.add(stamp_ns, received_ns)
        if leapt and not was_missing:
            self._leapt_ns = received_ns
        if order is Order.RESET or was_missing or leapt:  # figures are of the stream as it runs now
            self._stamps.clear()
            self._latencies.clear()
        if order in (Order.NEXT, Order.RESET):
            self._stamps.append(stamp_ns)
            self._latencies.append(received_ns - stamp_ns)

    @property
    def clock_ahead_ns(self) -> int | None:
        """How far the stream's clock is ahead of the host's, ns; see `ClockOffset.ahead_ns`."""
        return self._clock.ahead_ns

    def missing(self, now_ns: int) -> bool:
        """Whether nothing has come lately. A clock set back since the last message tells nothing."""
        return self._received_ns is None or now_ns - self._received_ns > self._limits.missing_after_ns

    def problems(self, now_ns: int) -> list[Problem]:
        """Causes of trouble, worst first."""
        if self.missing(now_ns):
            return [(Level.ERROR, f"missing: nothing comes on {self._topic}", "Start its driver; check the topic.")]
        found: list[Problem] = [] if self.fault is None else [(Level.ERROR, self.fault, "")]
        if self._standing >= STANDING:
            text = "header stamps stand still: the driver does not stamp its messages"
            found.append((Level.ERROR, text, "Use a driver that does, or restart this one."))
        elif self._latencies:
            # The quickest of many messages shows the clocks' offset best: the others were held up on the way.
            offset_ns = min(self._latencies)
            if not -self._limits.max_ahead_ns <= offset_ns <= self._limits.max_age_ns:
                text = "header stamps are not on the ROS clock, or come far too late"
                found.append((Level.ERROR, text, "Synchronise the clocks; set use_sim_time alike on all nodes."))
        if self._reset_ns is not None and 0 <= now_ns - self._reset_ns < HOLD_NS:
            found.append((Level.WARN, "stamps went backwards: clock set back", "Slew its clock, never step it."))
        if self._leapt_ns is not None and 0 <= now_ns - self._leapt_ns < HOLD_NS:
            found.append((Level.WARN, "stamps leapt ahead: clock set forward", "Slew its clock, never step it."))
        if len(self._stamps) >= ENOUGH and self._rate_hz() < self._min_rate_hz:
            remedy = "Check its rate and link, and whether this machine keeps up; room in shared memory: interfaces.md."
            found.append((Level.WARN, f"slower than {self._min_rate_hz:g} Hz", remedy))
        return found

    def values(self, now_ns: int) -> dict[str, float | int | str]:
        """Figures: counts, rate and jitter of the stamps, latency from stamp to reception, age, the clock's offset."""
        figures: dict[str, float | int | str] = {"topic": self._topic, "received": sum(self.counts.values())}
        figures |= {name: count for name, count in self.counts.items() if name != Order.NEXT.value}
        if len(self._stamps) > 2:
            figures["rate_hz"] = round(self._rate_hz(), 2)
            figures["jitter_ms"] = round(statistics.pstdev(b - a for a, b in pairwise(self._stamps)) * MS, 2)
        if self._latencies:
            figures["latency_min_ms"] = round(min(self._latencies) * MS, 2)
            figures["latency_p50_ms"] = round(statistics.median(self._latencies) * MS, 2)
            figures["age_ms"] = round((now_ns - self._stamps[-1]) * MS, 2)
        if self._clock.ahead_ns is not None:
            figures["clock_ahead_ms"] = round(self._clock.ahead_ns * MS, 2)
        if self._clock.drift_ppm is not None:
            figures["clock_drift_ppm"] = round(self._clock.drift_ppm, 1)
        return figures

    def _rate_hz(self) -> float:
        return (len(self._stamps) - 1) * SECOND_NS / (self._stamps[-1] - self._stamps[0])


class CameraHealth(StreamHealth):
    """A camera's stream, and what its frames show when they are used."""

    def __init__(self, camera: Camera, limits: HealthLimits) -> None:
        super().__init__(camera.topic, limits, camera.min_rate_hz)
        self._part = f"camera {camera.name}"
        self._frozen_after = limits.frozen_after
        self._black_below = limits.black_below
        self._frame_id: str | None = None
        self._last: Frame | None = None
        self._same = 0
        self.offset_ns = 0
        """Distance of its frame's stamp from camera 0's in the newest set, ns."""

    @property
    def frozen(self) -> bool:
        """Whether the last frames were all the same while their stamps moved."""
        return 0 < self._frozen_after <= self._same

    def unusable(self, frame: Frame, picture: NDArray[np.uint8]) -> str | None:
        """Why a frame of a right size is not what this camera should see, or None.

        A stream that carried one camera's frames and now carries another's is noticed by the header's frame_id, which
        a driver sets for its camera. Two cameras whose cables were swapped keep theirs: nothing here can notice that.

        Args:
            frame: the frame.
            picture: (H, W, 3) uint8 RGB, the same.
        """
        if self._frame_id is None:
            self._frame_id = frame.frame_id
        elif frame.frame_id != self._frame_id:
            return f"its frames are of '{frame.frame_id}', they were of '{self._frame_id}'"
        if self._black_below > 0 and not (picture[::_EVERY_PX, ::_EVERY_PX] >= self._black_below).any():
            return "black: no pixel of its frames is bright"
        return None

    def used(self, frame: Frame) -> None:
        """Look at a frame that goes into an observation."""
        if self._frozen_after > 0:
            self._same = self._same + 1 if self._last is not None and same_content(self._last, frame) else 0
            self._last = frame

    def problems(self, now_ns: int) -> list[Problem]:
        """Causes of trouble: those of the stream, and that its frames repeat."""
        found = super().problems(now_ns)
        if self.frozen and not self.missing(now_ns):
            text = "frozen: its frames repeat while their stamps move"
            found.append((Level.ERROR, text, "Restart the camera's driver; in a simulation turn this check off."))
        return found

    def status(
        self, now_ns: int, first: CameraHealth | None = None, differs: Sequence[Difference] = (), **about: float | str
    ) -> Status:
        """State for /diagnostics.

        Args:
            now_ns: now on the ROS clock, ns.
            first: camera 0, to which clock and stamps are compared.
            differs: how its pictures differ from those that the policy was trained on.
            about: further figures.
        """
        problems = self.problems(now_ns)
        problems += [(Level.WARN, difference.problem, difference.remedy) for difference in differs]
        values = self.values(now_ns) | {"offset_to_camera_0_ms": round(self.offset_ns * MS, 2)} | about
        if first is not None and first.clock_ahead_ns is not None and self.clock_ahead_ns is not None:
            values["clock_ahead_of_camera_0_ms"] = round((self.clock_ahead_ns - first.clock_ahead_ns) * MS, 2)
        return _status(self._part, problems, "frames arrive", values)


class JointHealth(StreamHealth):
    """A source of joint states."""

    def __init__(self, source: JointSource, limits: HealthLimits) -> None:
        silence = max(limits.missing_after_ns, source.max_age_ns)
        super().__init__(
            source.topic, HealthLimits(silence, max(limits.max_age_ns, source.max_age_ns)), source.rate_hz / 2
        )
        self._part = f"joint state {source.topic}"

    def status(self, now_ns: int) -> Status:
        """State for /diagnostics."""
        return _status(self._part, self.problems(now_ns), "joint states arrive", self.values(now_ns))


def _status(part: str, problems: list[Problem], good: str, values: dict[str, float | int | str]) -> Status:
    if not problems:
        return Status(part, Level.OK, good, values)
    remedies = " ".join(remedy for _, _, remedy in problems if remedy)  # that of a fault stands in its text
    if remedies:
        values = values | {"remedy": remedies}
    return Status(part, max(level for level, _, _ in problems), "; ".join(text for _, text, _ in problems), values)
