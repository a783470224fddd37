"""The control loop, on a clock that tests can bend."""

import os
import threading
import time
from collections.abc import Callable

import pytest

from f1_ros.control.clock import WallClock
from f1_ros.control.loop import LoopStats, RateLoop, SystemMonotonic, enter_realtime
from f1_ros.errors import ConfigError

MS = 1_000_000
PERIOD = 10 * MS


class FakeTime:
    """A monotonic clock that only sleeping and working move."""

    def __init__(self) -> None:
        self.now = 0
        self.oversleep: dict[int, int] = {}

    def now_ns(self) -> int:
        return self.now

    def sleep_until(self, deadline_ns: int) -> None:
        if deadline_ns > self.now:
            self.now = deadline_ns + self.oversleep.get(deadline_ns // MS, 0)

    def holding_until(self, deadline_ns: int) -> Callable[[], object]:
        def hold() -> None:
            self.now = max(self.now, deadline_ns)

        return hold


class Line:
    """ROS time = 1000 s + rate * monotonic time; None where it stands still."""

    def __init__(self, rate: float = 1.0) -> None:
        self.rate = rate
        self.still: range = range(0)

    def at(self, monotonic_ns: int) -> int | None:
        if monotonic_ns // MS in self.still:
            return None
        return 1_000_000 * MS + round(self.rate * monotonic_ns)


def run(clock: Line, fake: FakeTime, until_ms: int, work=lambda ms: 0):
    sent: list[tuple[float, float]] = []  # (sent, ROS time since 1000 s), ms

    def tick(ros_ns: int, at_deadline) -> None:
        fake.now += round(work(fake.now // MS) * MS)
        at_deadline(lambda: sent.append((fake.now / MS, ros_ns / MS - 1_000_000)))

    loop = RateLoop(PERIOD, clock, monotonic=fake)
    loop.run(tick, lambda: fake.now >= until_ms * MS)
    return sent, loop.stats()


def test_what_is_decided_is_sent_on_the_grid_and_nothing_is_missed() -> None:
    sent, stats = run(Line(), FakeTime(), 45)
    assert sent == [(0, 0), (10, 10), (20, 20), (30, 30), (40, 40)]
    assert (stats.ticks, stats.missed, stats.late) == (5, 0, 0)
    assert stats.period_error_max_s == 0.0


def test_neither_a_late_wake_up_nor_a_slow_decision_of_a_millisecond_shows_in_the_period() -> None:
    fake = FakeTime()
    fake.oversleep = {28: MS // 2}  # a tick begins 1.5 ms ahead of its deadline
    sent, stats = run(Line(), fake, 45, work=lambda ms: 1 if ms in (18, 29) else 0.3)
    assert sent[1:] == [(10, 10), (20, 20), (30, 30), (40, 40)]
    assert stats.period_error_max_s == pytest.approx(0.0003)  # the first one had no time ahead


def test_a_wake_up_that_is_late_is_told_its_deadline_s_time() -> None:
    fake = FakeTime()
    fake.oversleep = {18: 4 * MS, 38: 8 * MS}
    sent, stats = run(Line(), fake, 55)
    assert sent == [(0, 0), (10, 10), (22.5, 20), (30, 30), (46.5, 40), (51.5, 50)]  # the last: half a period away
    assert (stats.missed, stats.late) == (0, 1)
    assert stats.period_error_max_s == pytest.approx(0.0065)


def test_deadlines_that_passed_with_the_next_one_are_left_out_and_never_made_up_for() -> None:
    sent, stats = run(Line(), FakeTime(), 95, work=lambda ms: 37 if ms == 18 else 0)
    assert sent == [(0, 0), (10, 10), (55.5, 20), (60.5, 60), (70, 70), (80, 80), (90, 90)]
    assert (stats.ticks, stats.missed, stats.late) == (7, 3, 1)


def test_half_speed_simulation_ticks_half_as_often() -> None:
    sent, stats = run(Line(rate=0.5), FakeTime(), 75)
    assert sent == [(0, 0), (20, 10), (40, 20), (60, 30)]
    assert stats.period_error_max_s == 0.0


def test_while_time_stands_still_no_tick_runs_and_none_is_missed() -> None:
    clock = Line()
    clock.still = range(25, 500)
    sent, stats = run(clock, FakeTime(), 525)
    assert [ros for _, ros in sent] == [0, 10, 20, 500, 510, 520]
    assert stats.missed == 0
    assert stats.period_error_max_s == 0.0


def test_statistics_look_back_on_a_window() -> None:
    fake = FakeTime()
    fake.oversleep = {48: 5 * MS + MS // 2}
    loop = RateLoop(PERIOD, Line(), monotonic=fake, window=20)
    loop.run(lambda ros_ns, at_deadline: at_deadline(), lambda: fake.now >= 200 * MS)
    assert loop.stats().period_error_max_s == pytest.approx(0.004)
    loop.run(lambda ros_ns, at_deadline: at_deadline(), lambda: fake.now >= 800 * MS)
    assert loop.stats().period_error_max_s == 0.0


def test_the_account_can_begin_after_a_slow_start() -> None:
    fake = FakeTime()
    loop = RateLoop(PERIOD, Line(), monotonic=fake)

    def tick(ros_ns: int, at_deadline) -> None:
        if fake.now == 0:
            fake.now += 35 * MS
        if fake.now // MS == 98:
            before.append(loop.stats())
            loop.begin_account()
        at_deadline()

    before: list[LoopStats] = []
    loop.run(tick, lambda: fake.now >= 200 * MS)
    assert before[0].missed == 3
    stats = loop.stats()
    assert (stats.missed, stats.late, stats.period_error_max_s) == (0, 0, 0.0)
    assert stats.ticks < before[0].ticks + 10


def test_stop_is_heard_within_a_tenth_of_a_second_even_at_a_low_rate() -> None:
    stop = threading.Event()
    loop = RateLoop(3600 * 1000 * MS, WallClock())
    thread = threading.Thread(target=loop.run, args=(lambda ros_ns, at_deadline: at_deadline(), stop.is_set))
    thread.start()
    stop.set()
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_what_a_tick_raises_ends_the_loop() -> None:
    def tick(ros_ns: int, at_deadline) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        RateLoop(PERIOD, Line(), monotonic=FakeTime()).run(tick, lambda: False)


def test_the_system_s_clock_sleeps_to_its_deadline_and_not_less() -> None:
    clock = SystemMonotonic()
    deadline = time.monotonic_ns() + 20 * MS
    clock.sleep_until(deadline)
    assert clock.now_ns() >= deadline
    clock.sleep_until(deadline - 1000 * MS)  # a deadline that has passed returns at once


def test_while_the_system_s_clock_is_held_no_other_thread_runs() -> None:
    clock, counted, end = SystemMonotonic(), [0], threading.Event()

    def count() -> None:
        while not end.is_set():
            counted[0] += 1

    def counted_while(wait: Callable[[int], None]) -> int:
        deadline, before = time.monotonic_ns() + 200 * MS, counted[0]
        wait(deadline)
        assert clock.now_ns() >= deadline
        return counted[0] - before

    thread = threading.Thread(target=count)
    thread.start()
    asleep, held = counted_while(clock.sleep_until), counted_while(lambda at: clock.holding_until(at)())
    end.set()
    thread.join()
    assert held < asleep / 4  # Python may change threads once before the wait has begun, for 5 ms


def test_realtime_says_what_is_in_force() -> None:
    answer = []

    def ask() -> None:
        answer.append((enter_realtime(1), os.sched_getscheduler(0) == os.SCHED_FIFO))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    realtime, is_fifo = answer[0]
    assert realtime.fifo is is_fifo
    assert bool(realtime.detail) is not (realtime.fifo and realtime.locked)


def test_misuse_is_refused() -> None:
    with pytest.raises(ConfigError, match="period is 0"):
        RateLoop(0, Line())
    with pytest.raises(ConfigError, match="priority 0"):
        enter_realtime(0)
