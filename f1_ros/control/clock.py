"""ROS time for a loop that is paced by the monotonic clock.

A trajectory is only as smooth as the times it is sampled at. Both clocks here map the loop's deadlines, which are
evenly spaced, to ROS time along a line that changes slowly: neither the wake-up jitter of the loop, nor a `/clock` that
comes at 100-200 Hz and through DDS, nor the system clock's corrections reach the command.

    clock = SimClock()            or WallClock()
    clock.on_clock(stamp_ns, time.monotonic_ns())      each /clock message
    clock.at(deadline_ns)                              ROS time at an instant of the monotonic clock
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

# A difference beyond this is no jitter but another time: the line starts anew.
_JUMP_NS = 200_000_000
# Simulated time stands still once /clock has been silent for several of its own intervals, within these bounds: soon
# enough that a simulation which stalls on a busy machine is not taken for one that has lost its joint state.
_PAUSE_INTERVALS, _SHORTEST_PAUSE_NS, _LONGEST_PAUSE_NS = 5.0, 60_000_000, 250_000_000
# Part of a difference that a message moves the line by, and its rate by: at 100 Hz a time constant of 0.2 s.
_OFFSET_GAIN, _RATE_GAIN = 0.05, 0.002
# A message that comes sooner after the last one than this part of their interval had been waiting somewhere, as many do
# when a process that was stopped goes on: its arrival says nothing about the rate. All are there after the time below.
_WAITED, _BACKLOG_NS = 0.5, 100_000_000
# The system clock is followed at this slope at most (1 ms/s, twice the fastest slew of NTP).
_SLEW = 1e-3


class RosClock(Protocol):
    """Maps the monotonic clock to ROS time."""

    @property
    def rate(self) -> float:
        """ROS seconds in a second; the real-time factor of a simulation."""
        ...

    def at(self, monotonic_ns: int) -> int | None:
        """ROS time (ns) at an instant of the monotonic clock; None while time stands still or is not known."""
        ...


class WallClock:
    """ROS time is the system's: a real robot.

    Args:
        system_ns: the system's clock, ns.
        monotonic_ns: the monotonic clock, ns.
    """

    rate = 1.0

    def __init__(
        self,
        system_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._system_ns, self._monotonic_ns = system_ns, monotonic_ns
        self._offset_ns = system_ns() - monotonic_ns()
        self._checked_ns = monotonic_ns()

    def at(self, monotonic_ns: int) -> int:
        """ROS time, ns; it follows corrections of the system's clock slowly, and steps of more than 0.2 s at once."""
        now_ns = self._monotonic_ns()
        difference = self._system_ns() - now_ns - self._offset_ns
        most = round(_SLEW * (now_ns - self._checked_ns))
        self._checked_ns = now_ns
        self._offset_ns += difference if abs(difference) > _JUMP_NS else max(-most, min(most, difference))
        return monotonic_ns + self._offset_ns


class SimClock:
    """ROS time comes from `/clock`. Not thread-safe.

    Attributes:
        resets: how often the time has gone back.
    """

    def __init__(self) -> None:
        self.resets = 0
        self._rate = 1.0
        self._origin_ns = 0  # monotonic
        self._value_ns = 0.0  # ROS time at the origin
        self._stamp_ns: int | None = None
        self._heard_ns = 0
        self._interval_ns = 0.0  # of the messages, smoothed
        self._first: tuple[int, int] | None = None  # stamp and arrival that the first estimate of the rate starts from

    @property
    def rate(self) -> float:
        """Simulated seconds in a second, as measured."""
        return self._rate

    def on_clock(self, stamp_ns: int, monotonic_ns: int) -> None:
        """A `/clock` message has arrived."""
        if self._stamp_ns is None:
            self._first = stamp_ns, monotonic_ns
            self._start_line(stamp_ns, monotonic_ns)
        else:
            paused = self._paused(monotonic_ns)
            gap_ns = min(max(monotonic_ns - self._heard_ns, 0), self._longest_ns())
            waited = gap_ns < _WAITED * self._interval_ns
            share = gap_ns / self._interval_ns if waited else 1.0  # a hundred at once do not mean a shorter interval
            self._interval_ns += 0.1 * share * (gap_ns - self._interval_ns)
            back = stamp_ns < self._stamp_ns
            self.resets += back
            expected = self._line(monotonic_ns)
            if self._first is not None:
                late = waited and monotonic_ns - self._first[1] < _BACKLOG_NS  # what it starts from was late
                anew = back or paused or late or stamp_ns - self._stamp_ns > _JUMP_NS
                self._learn(stamp_ns, monotonic_ns, anew=anew)
            elif back or paused or (waited and stamp_ns - expected > self._interval_ns):
                self._start_line(stamp_ns, monotonic_ns)  # it is that late at least
            elif abs(stamp_ns - expected) > _JUMP_NS:  # perhaps it is the rate that is wrong
                self._first = stamp_ns, monotonic_ns
                self._start_line(stamp_ns, monotonic_ns)
            else:
                error = stamp_ns - expected
                self._origin_ns, self._value_ns = monotonic_ns, expected + _OFFSET_GAIN * error
                if not waited and gap_ns > 0:
                    self._rate = _plausible(self._rate + _RATE_GAIN * error / gap_ns)
        self._stamp_ns, self._heard_ns = stamp_ns, monotonic_ns

    def at(self, monotonic_ns: int) -> int | None:
        """ROS time, ns; None before the first message and while the simulation is paused."""
        if self._stamp_ns is None or self._paused(monotonic_ns):
            return None
        return round(self._line(monotonic_ns))

    def _line(self, monotonic_ns: int) -> float:
        return self._value_ns + self._rate * (monotonic_ns - self._origin_ns)

    def _paused(self, monotonic_ns: int) -> bool:
        return monotonic_ns - self._heard_ns > self._longest_ns()

    def _longest_ns(self) -> float:
        """Time between two messages of a simulation that goes on."""
        return min(max(_PAUSE_INTERVALS * self._interval_ns, _SHORTEST_PAUSE_NS), _LONGEST_PAUSE_NS)

    def _start_line(self, stamp_ns: int, monotonic_ns: int) -> None:
        self._origin_ns, self._value_ns = monotonic_ns, float(stamp_ns)

    def _learn(self, stamp_ns: int, monotonic_ns: int, *, anew: bool) -> None:
        # The slow filter would take seconds to find a real-time factor: begin with the mean over half a second, and
        # until then take each message as it comes.
        assert self._first is not None
        self._start_line(stamp_ns, monotonic_ns)
        elapsed_ns = monotonic_ns - self._first[1]
        if anew:
            self._first = stamp_ns, monotonic_ns
        elif elapsed_ns >= 500_000_000:
            self._rate = _plausible((stamp_ns - self._first[0]) / elapsed_ns)
            self._first = None


def _plausible(rate: float) -> float:
    return min(max(rate, 0.01), 100.0)
