"""Following a leader arm: its messages made into a smooth target, and a slow approach before the first one is met.

A leader sends positions at its own rate, with jitter. Each message is a point to be reached one message interval
later, on a straight line from where the target is: the cost is that one interval of lag. A leader that stands far from
the arm is not jumped to. By the profile's `hand_over`, the arm approaches it at a reduced velocity, or brakes and waits
until the person has brought the leader to it; then it blends into following it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.limits import JointLimits, Limiter
from f1_ros.robots.parts import Teleop

Array = NDArray[np.float64]

_BLEND_S = 0.5
# Shorter message intervals are a burst, longer ones a pause: neither is the leader's rate.
_SHORTEST_NS, _LONGEST_NS = 2_000_000, 100_000_000
# A line lasts a little longer than the interval, so that a message that is a tick late does not stop the arm.
_STRETCH = 1.25


class LeaderFollower:
    """Target of the TELEOP mode. Not thread-safe.

    Args:
        limits: the arm's limits.
        teleop: how to take over.
        period_s: control period, s.
    """

    def __init__(self, limits: JointLimits, teleop: Teleop, period_s: float) -> None:
        self._teleop = teleop
        slow = limits.scaled(velocity=teleop.approach_velocity, acceleration=teleop.approach_acceleration)
        self._slow = Limiter(slow, period_s)
        # An arm that is engaged at speed brakes as fast as it can: at the approach's own acceleration it would run on
        # for half a radian.
        self._brisk = Limiter(limits.scaled(velocity=teleop.approach_velocity), period_s)
        self._approach = self._slow
        self._slow_velocity = np.array(slow.velocity)
        self._fastest = np.array(limits.velocity)
        self._last: tuple[Array, Array] | None = None  # what `target` gave last
        self._line: tuple[Array, Array] | None = None  # from, to
        self._since_ns = 0
        self._interval_ns: float | None = None  # of the leader's messages, smoothed
        self._engaged = False
        self._aligned = False
        self._aligned_ns: int | None = None  # since when the approach is being faded out
        self._distance = 0.0

    @property
    def aligned(self) -> bool:
        """The approach is over: the arm follows the leader directly."""
        return self._aligned

    @property
    def waits_for(self) -> str:
        """What the hand-over waits for, in words for people; empty once aligned."""
        if self._aligned or self._last is None:
            return ""
        if self._teleop.hand_over == "wait":
            return f"waiting for the leader to be brought to the arm, {self._distance:.2f} rad away"
        return f"approaching the leader, {self._distance:.2f} rad away"

    def message(self, position: Array, now_ns: int) -> None:
        """Take the leader's position, (joints,) finite rad, on its arrival."""
        gap_ns = now_ns - self._since_ns
        steady = gap_ns <= _LONGEST_NS
        if self._line is None:
            self._line = position, position
        else:
            self._line = self._on_line(self._line, now_ns)[0], position
            if steady:
                gap_ns = max(gap_ns, _SHORTEST_NS)
                self._interval_ns = gap_ns if self._interval_ns is None else 0.8 * self._interval_ns + 0.2 * gap_ns
        self._since_ns = now_ns
        if self._aligned and self._last is not None:
            # A leader is somewhere else all at once if it moved faster than the arm can, or moved during a pause.
            reachable = self._fastest * gap_ns * 1e-9 if steady else 0.0
            if (np.abs(position - self._last[0]) > self._teleop.aligned_within + reachable).any():
                self.engage(*self._last)

    def engage(self, position: Array, velocity: Array) -> None:
        """Start from where the arm is commanded to be: (joints,) rad and rad/s."""
        at_speed = (np.abs(velocity) > self._slow_velocity).any()
        self._approach = self._brisk if at_speed or self._teleop.hand_over == "wait" else self._slow
        self._approach.reset(position, velocity)
        self._engaged, self._aligned, self._aligned_ns, self._last = True, False, None, None

    def release(self) -> None:
        """Forget the leader: its next message starts a new line, and a new approach is needed."""
        self._line = self._last = None
        self._engaged = self._aligned = False
        self._aligned_ns = self._interval_ns = None

    def target(self, now_ns: int) -> tuple[Array, Array] | None:
        """Position (rad) and velocity (rad/s) for `now_ns`, once a tick; None without a message or not engaged."""
        if self._line is None or not self._engaged:
            return None
        self._last = self._follow(*self._on_line(self._line, now_ns), now_ns)
        return self._last

    def _follow(self, leader: Array, velocity: Array, now_ns: int) -> tuple[Array, Array]:
        if self._aligned and self._aligned_ns is None:
            return leader, velocity
        slow, slow_velocity = self._approached(leader, velocity)
        self._distance = float(np.abs(leader - slow).max())
        if not self._aligned and self._distance <= self._teleop.aligned_within:
            self._aligned, self._aligned_ns = True, now_ns
        if self._aligned_ns is None:
            return slow, slow_velocity
        # A weighted mean of the two: whatever the leader's velocity does meanwhile, the target lies between them.
        s = (now_ns - self._aligned_ns) * 1e-9 / _BLEND_S
        if s >= 1.0:
            self._aligned_ns = None
            return leader, velocity
        weight, rate = s * s * (3.0 - 2.0 * s), 6.0 * s * (1.0 - s) / _BLEND_S
        gap = leader - slow
        return slow + weight * gap, slow_velocity + weight * (velocity - slow_velocity) + rate * gap

    def _approached(self, leader: Array, velocity: Array) -> tuple[Array, Array]:
        if self._teleop.hand_over == "wait":
            step = self._brisk.brake()
            return step.position, step.velocity
        step = self._approach.step(leader, velocity)
        if self._approach is self._brisk and (np.abs(step.velocity) <= self._slow_velocity).all():
            self._approach = self._slow
            self._slow.reset(step.position, step.velocity)
        return step.position, step.velocity

    def _on_line(self, line: tuple[Array, Array], now_ns: int) -> tuple[Array, Array]:
        start, end = line
        span_ns = _STRETCH * (self._interval_ns or _LONGEST_NS)
        s = (now_ns - self._since_ns) / span_ns
        if s >= 1.0:
            return end, np.zeros_like(end)
        return start + max(s, 0.0) * (end - start), (end - start) / (span_ns * 1e-9)
