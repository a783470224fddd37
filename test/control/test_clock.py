"""ROS time for the loop: smooth, whatever /clock and the system's clock do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.control.clock import SimClock, WallClock

MS = 1_000_000


def test_time_is_unknown_before_the_first_message() -> None:
    assert SimClock().at(0) is None


def test_between_messages_time_goes_on() -> None:
    clock = SimClock()
    clock.on_clock(5000 * MS, 0)
    assert clock.at(7 * MS) == 5007 * MS


@given(factor=st.sampled_from([0.2, 0.5, 1.0, 3.0]), seed=st.integers(0, 2**32 - 1))
def test_steps_of_the_loop_are_even_under_jitter_at_any_real_time_factor(factor, seed) -> None:
    """/clock at 100 Hz of wall time, each message up to 4 ms late: steps vary by under 2 %."""
    rng = np.random.default_rng(seed)
    clock = SimClock()
    stamps = []
    for k in range(800):
        clock.on_clock(round(k * 10 * MS * factor), k * 10 * MS + int(rng.uniform(0, 4 * MS)))
        stamps.append(clock.at(k * 10 * MS + 5 * MS))
    steps = np.diff(stamps)[200:] / (10 * MS * factor)
    assert steps.min() > 0.97
    assert steps.max() < 1.03
    assert clock.rate == pytest.approx(factor, rel=0.01)
    # On average the line lags by the mean latency, 2 ms.
    truth = (np.arange(800) * 10 * MS + 5 * MS) * factor
    assert np.abs(np.array(stamps) - truth)[200:].max() < 4 * MS * max(factor, 1.0)


def test_a_paused_simulation_stops_time_and_goes_on_where_it_was() -> None:
    clock = SimClock()
    for k in range(200):
        clock.on_clock(k * 10 * MS, k * 10 * MS)
    assert clock.at(1990 * MS + 59 * MS) == pytest.approx(2049 * MS, abs=MS // 10)
    assert clock.at(1990 * MS + 61 * MS) is None
    clock.on_clock(2000 * MS, 60_000 * MS)
    assert clock.at(60_000 * MS) == 2000 * MS
    assert clock.at(60_010 * MS) == pytest.approx(2010 * MS, abs=MS // 10)
    assert clock.resets == 0


def test_a_slow_simulation_whose_messages_are_far_apart_is_not_taken_for_paused() -> None:
    clock = SimClock()
    for k in range(100):
        clock.on_clock(k * 10 * MS, k * 40 * MS)
    assert clock.at(99 * 40 * MS + 150 * MS) == pytest.approx(990 * MS + 37.5 * MS, abs=MS)
    assert clock.at(99 * 40 * MS + 251 * MS) is None


def test_a_tenth_of_real_time_is_found_too() -> None:
    clock = SimClock()
    for k in range(100):
        clock.on_clock(k * 10 * MS, k * 100 * MS)
    assert clock.rate == pytest.approx(0.1, rel=0.01)
    assert clock.at(99 * 100 * MS + 50 * MS) == pytest.approx(995 * MS, abs=MS)


def test_a_stall_does_not_unlearn_the_real_time_factor() -> None:
    clock = SimClock()
    for k in range(200):
        clock.on_clock(k * 5 * MS, k * 10 * MS)
    clock.on_clock(1000 * MS, 5000 * MS)
    assert clock.rate == pytest.approx(0.5, rel=0.01)
    assert clock.at(5040 * MS) == pytest.approx(1020 * MS, abs=MS)


def test_a_simulation_that_is_reset_takes_time_back_at_once_and_is_counted() -> None:
    clock = SimClock()
    for k in range(200):
        clock.on_clock(k * 10 * MS, k * 10 * MS)
    clock.on_clock(0, 2000 * MS)
    assert clock.at(2000 * MS) == 0
    assert clock.resets == 1


def test_a_simulation_that_jumps_ahead_is_followed_at_once() -> None:
    clock = SimClock()
    clock.on_clock(0, 0)
    clock.on_clock(10_000 * MS, 10 * MS)
    assert clock.at(10 * MS) == 10_000 * MS
    assert clock.resets == 0


def test_wall_time_follows_small_corrections_slowly_and_large_ones_at_once() -> None:
    mono, correction = [0], [0]
    clock = WallClock(system_ns=lambda: 10**18 + mono[0] + correction[0], monotonic_ns=lambda: mono[0])
    mono[0] = 1000 * MS
    correction[0] = 5 * MS
    assert clock.at(mono[0]) == 10**18 + 1001 * MS  # a thousandth of the second that has gone by
    mono[0] = 10_000 * MS
    assert clock.at(mono[0]) == 10**18 + 10_005 * MS
    correction[0] = 3_600_000 * MS
    assert clock.at(mono[0]) == 10**18 + 3_610_000 * MS
