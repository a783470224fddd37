"""The control loop: absolute deadlines on the monotonic clock, and an account of every one that was not kept.

    loop = RateLoop(period_ns, WallClock())
    print(enter_realtime(priority=50))         in the loop's own thread, once everything has been set up
    loop.run(tick, stop)                       tick(ros_ns, at_deadline) for every deadline until stop() is true

Under SCHED_FIFO, on two cores with a load of 8 (training and tests), 1500 ticks of the whole controller at 100 Hz kept
their period to 0.03 ms (p50), 0.07 ms (p99) and 3.7 ms (p99.9); without it to 4.7, 10 and 13 ms, and 15 were missed.

A tick is given its deadline's ROS time, not its wake-up's: what is sampled at even times stays even. It decides ahead
of the deadline and says what is to be sent at it, `at_deadline(*sends)`: so neither the time that it takes nor the wait
for Python's lock shows in the period. A deadline that has passed together with the next one is left out, so that a late
loop never sends a burst.
"""

from __future__ import annotations

import ctypes
import gc
import operator
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

import numpy as np

from f1_ros.control.clock import RosClock
from f1_ros.errors import ConfigError

_CLOCK_MONOTONIC = 1
_TIMER_ABSTIME = 1
_EINTR = 4
_MCL_CURRENT = 1
# A thread that holds Python's lock hands it over after this long: the default of 5 ms is half a period.
_SWITCH_INTERVAL_S = 0.0005
_STOP_CHECK_NS = 100_000_000
# A tick begins this long before its deadline, or a quarter of the period: some 0.5 ms is what it takes, 1.6 ms the
# longest of a thousand. What is left of it other threads cannot run Python.
_AHEAD_NS = 1_500_000


class Monotonic(Protocol):
    """The clock that deadlines stand on."""

    def now_ns(self) -> int:
        """The time, ns."""
        ...

    def sleep_until(self, deadline_ns: int) -> None:
        """Return at the deadline, or a little later, or at once if it has passed."""
        ...

    def holding_until(self, deadline_ns: int) -> Callable[[], object]:
        """What does the same, and keeps Python's lock meanwhile."""
        ...


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class SystemMonotonic:
    """CLOCK_MONOTONIC, slept on by `clock_nanosleep` to an absolute time: nothing can come between look and sleep."""

    def __init__(self) -> None:
        self._sleep = ctypes.CDLL(None).clock_nanosleep
        self._hold = ctypes.PyDLL(None).clock_nanosleep  # called without letting go of Python's lock

    now_ns = staticmethod(time.monotonic_ns)

    def sleep_until(self, deadline_ns: int) -> None:
        """Return at the deadline, whatever signals arrive."""
        until = ctypes.byref(_timespec(deadline_ns))
        while self._sleep(_CLOCK_MONOTONIC, _TIMER_ABSTIME, until, None) == _EINTR:
            pass

    def holding_until(self, deadline_ns: int) -> Callable[[], object]:
        """What returns at the deadline, or when a signal comes; no other thread runs Python until then."""
        return partial(self._hold, _CLOCK_MONOTONIC, _TIMER_ABSTIME, ctypes.byref(_timespec(deadline_ns)), None)


def _timespec(at_ns: int) -> _Timespec:
    return _Timespec(at_ns // 1_000_000_000, at_ns % 1_000_000_000)


@dataclass(frozen=True)
class LoopStats:
    """How well the deadlines were kept.

    Attributes:
        ticks: ticks run.
        missed: deadlines left out because they and the next one had passed.
        late: ticks that were sent more than half a period after their deadline.
        period_error_p50_s: median of |time between two that were sent - period| over the window, s.
        period_error_p99_s: its 99th percentile, s.
        period_error_p999_s: its 99.9th percentile, s; the largest where the window holds fewer than 1000 ticks.
        period_error_max_s: its largest, s.
    """

    ticks: int
    missed: int
    late: int
    period_error_p50_s: float
    period_error_p99_s: float
    period_error_p999_s: float
    period_error_max_s: float


AtDeadline = Callable[..., None]
"""Takes callables without arguments, waits for the deadline, and calls them."""


class RateLoop:
    """Calls a function at a fixed rate of ROS time. `stats` may be asked from another thread.

    Args:
        period_ns: time between two ticks, ns of ROS time.
        clock: maps deadlines to ROS time; while it stands still, no tick runs and nothing counts as missed.
        monotonic: what deadlines stand on.
        window: number of ticks that the period error's statistics look back on.

    Raises:
        ConfigError: if the period or the window is not positive.
    """

    def __init__(
        self, period_ns: int, clock: RosClock, *, monotonic: Monotonic | None = None, window: int = 1000
    ) -> None:
        if period_ns <= 0 or window <= 0:
            raise ConfigError(
                f"The control loop's period is {period_ns} ns, its window {window}.", remedy="Give a positive rate."
            )
        self._period_ns = period_ns
        self._clock = clock
        self._monotonic = monotonic or SystemMonotonic()
        self._errors_ns = np.zeros(window)
        self._measured = 0
        self._ticks = self._missed = self._late = 0
        self._due_ns = self._sent_ns = 0

    def run(self, tick: Callable[[int, AtDeadline], None], stop: Callable[[], bool]) -> None:
        """Run until `stop()` is true; it is asked at least every 0.1 s.

        Args:
            tick: called some time ahead of a deadline with its ROS time, ns; decides, and calls `at_deadline` once.
                What it raises ends the loop.
            stop: whether to end.
        """
        deadline = earliest = self._monotonic.now_ns()
        before: int | None = None
        while not stop():
            period = round(self._period_ns / self._clock.rate)
            self._sleep_until(max(deadline, earliest) - min(_AHEAD_NS, period // 4), stop)
            if stop():
                return
            skipped = max(0, (max(self._monotonic.now_ns(), earliest) - deadline) // period)
            deadline += skipped * period
            ros_ns = self._clock.at(deadline)
            if ros_ns is None:
                before = None
            else:
                self._due_ns = max(deadline, earliest)
                tick(ros_ns, self._at_deadline)
                self._ticks += 1
                self._late += self._sent_ns - deadline > period // 2
                if before is not None:
                    self._missed += skipped
                    self._errors_ns[self._measured % len(self._errors_ns)] = abs(self._sent_ns - before - period)
                    self._measured += 1
                before = self._sent_ns
                # Half a period lies between two at least, however late the first one was.
                earliest = before + period // 2
            deadline += period

    def _at_deadline(self, *sends: Callable[[], object]) -> None:
        # All within one call of C code: between two steps of Python's own another thread could get its lock, as one
        # that has waited for it for the switch interval does at once.
        held = self._monotonic.holding_until(self._due_ns)
        self._sent_ns = cast(int, list(map(operator.call, (held, self._monotonic.now_ns, *sends)))[1])

    def begin_account(self) -> None:
        """Count from the next tick on; call it in a tick. A process that has just started is late: it still loads."""
        self._measured = self._ticks = self._missed = self._late = 0

    def stats(self) -> LoopStats:
        """The account since it began; the period error over the last `window` ticks."""
        errors = self._errors_ns[: min(self._measured, len(self._errors_ns))] * 1e-9
        p50, p99, p999, most = (
            (float(x) for x in (*np.quantile(errors, (0.5, 0.99, 0.999)), errors.max()))
            if len(errors)
            else (0.0, 0.0, 0.0, 0.0)
        )
        return LoopStats(self._ticks, self._missed, self._late, p50, p99, p999, most)

    def _sleep_until(self, deadline_ns: int, stop: Callable[[], bool]) -> None:
        while (left := deadline_ns - self._monotonic.now_ns()) > _STOP_CHECK_NS:
            self._monotonic.sleep_until(deadline_ns - left + _STOP_CHECK_NS)
            if stop():
                return
        self._monotonic.sleep_until(deadline_ns)


@dataclass(frozen=True)
class Realtime:
    """What the system permitted.

    Attributes:
        fifo: the calling thread runs under SCHED_FIFO.
        locked: the process's memory cannot be paged out.
        detail: why not, and what to do about it; empty if both were permitted.
    """

    fifo: bool
    locked: bool
    detail: str


def enter_realtime(priority: int = 50) -> Realtime:
    """Make the calling thread as punctual as the system permits; call it in the loop's thread, after all set-up.

    SCHED_FIFO for this thread, memory locked, what lives now taken out of garbage collection, and a short switch
    interval between Python's threads. Nothing fails where it is not permitted: the answer says what is in force.
    Call `gc.unfreeze()` when the loop has ended: what stays frozen is not cleaned up at exit, and ruckig's bindings
    then report leaks.

    Args:
        priority: SCHED_FIFO priority, 1 to 99.

    Raises:
        ConfigError: if the priority is out of range.
    """
    if not 1 <= priority <= 99:
        raise ConfigError(f"Real-time priority {priority} does not exist.", remedy="Give 1 to 99.")
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    refused = []
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        fifo = True
    except OSError as exc:
        fifo = False
        refused.append(f"SCHED_FIFO refused ({exc.strerror}): set 'rtprio' in /etc/security/limits.d")
    # Under a small limit, locking succeeds now and lets a later allocation fail: then rather not at all.
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY or os.geteuid() == 0
    locked = unlimited and ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT) == 0
    if not locked:
        refused.append("memory not locked: set 'memlock unlimited' in /etc/security/limits.d")
    return Realtime(fifo, locked, "; ".join(refused))
