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


def heard(clock: SimClock, after_s: float, factor: float, start_s: float) -> tuple[float, float]:
    """Regular messages at 100 Hz of wall time from `start_s` on; gives how far off time (s) and rate then are."""
    for k in range(round(after_s * 100)):
        at_s = start_s + k * 0.01
        clock.on_clock(round(at_s * factor * 1e9), round(at_s * 1e9))
    now = clock.at(round(at_s * 1e9))
    assert now is not None
    return abs(now * 1e-9 - at_s * factor), abs(clock.rate / factor - 1.0)


@pytest.mark.parametrize("between_us", [0, 1, 20, 200])
def test_what_has_piled_up_while_the_process_was_stopped_does_not_speed_time_up(between_us: int) -> None:
    """A process stopped for 1.5 s gets 150 messages within 30 ms or less when it goes on."""
    clock = SimClock()
    heard(clock, 3.0, 1.0, 0.0)
    for k in range(150):
        clock.on_clock((3000 + 10 * k) * MS, 4500 * MS + 1000 * between_us * k)
        assert 0.9 < clock.rate < 1.1
    off_s, off_rate = heard(clock, 0.3, 1.0, 4.53)
    assert off_s < 0.03
    assert off_rate < 0.1
    off_s, off_rate = heard(clock, 2.0, 1.0, 4.83)
    assert off_s < 0.002
    assert off_rate < 0.01


@given(
    factor=st.sampled_from([0.1, 0.5, 1.0, 3.0]),
    pieces=st.lists(
        st.tuples(
            st.integers(1, 200),  # messages
            st.sampled_from([0, 100, 20_000, 1_000_000, 10_000_000, 300_000_000]),  # ns between their arrivals
            st.sampled_from([0, 1_000_000, 10_000_000, 150_000_000, 2_000_000_000]),  # ns between their stamps
        ),
        max_size=5,
    ),
)
def test_whatever_has_come_before_regular_messages_bring_the_right_time_back(
    factor: float, pieces: list[tuple[int, int, int]]
) -> None:
    clock = SimClock()
    heard(clock, 2.0, factor, 0.0)
    arrival_ns, stamp_ns = 2_000 * MS, round(2_000 * MS * factor)
    for messages, gap_ns, step_ns in pieces:
        for _ in range(messages):
            arrival_ns, stamp_ns = arrival_ns + gap_ns, stamp_ns + step_ns
            clock.on_clock(stamp_ns, arrival_ns)
    off_s, off_rate = heard(clock, 6.0, factor, max(arrival_ns, stamp_ns / factor) * 1e-9 + 0.01)
    assert off_s < 0.02
    assert off_rate < 0.05
