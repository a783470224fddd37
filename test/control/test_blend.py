"""The way onto a reference that starts elsewhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.control.blend import Blend

LEAST_S = 0.1
OFFSETS = st.floats(-1.0, 1.0)
RATES = st.floats(-5.0, 5.0)
SPEEDS = st.floats(0.05, 5.0)
ACCELERATIONS = st.floats(5.0, 500.0)


def blend(offset, rate, *, acceleration=50.0, slowest=-np.inf, fastest=np.inf, start_ns=0) -> Blend:
    return Blend.within(
        start_ns,
        np.array([offset]),
        np.array([rate]),
        least_s=LEAST_S,
        acceleration=acceleration,
        slowest=np.array([slowest]),
        fastest=np.array([fastest]),
    )


def at(made: Blend, seconds: float) -> tuple[float, float]:
    position, velocity = made.at(made.start_ns + round(seconds * 1e9))
    return float(position[0]), float(velocity[0])


@given(OFFSETS, RATES, ACCELERATIONS, SPEEDS, SPEEDS)
def test_it_leads_from_the_start_to_nothing_within_speed_and_acceleration(
    offset, rate, acceleration, slowest, fastest
) -> None:
    made = blend(offset, rate, acceleration=acceleration, slowest=-slowest, fastest=fastest)
    duration = float(made.durations_s[0])
    assert at(made, 0.0) == pytest.approx((offset, rate), abs=1e-9)
    assert at(made, duration) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert at(made, duration + 1.0) == (0.0, 0.0)
    seconds = np.linspace(0.0, duration, 400)
    position, velocity = np.array([at(made, s) for s in seconds]).T
    period = duration / 399 + 1e-8
    assert np.abs(np.diff(velocity)).max() <= acceleration * period * 1.001 + 1e-6
    assert np.abs(np.diff(position) - period * (velocity[1:] + velocity[:-1]) / 2).max() <= (
        acceleration * period**2 + 1e-6
    )
    assert velocity.min() >= min(-slowest, rate) - 1e-9
    assert velocity.max() <= max(fastest, rate) + 1e-9


@given(OFFSETS, RATES, SPEEDS)
def test_only_a_joint_that_would_be_too_fast_leaves_the_common_way(offset, rate, speed) -> None:
    free = blend(offset, rate)
    velocities = np.array([at(free, s)[1] for s in np.linspace(0.0, float(free.durations_s[0]), 2000)][1:])
    bounded = blend(offset, rate, slowest=-speed, fastest=speed)
    if np.abs(velocities).max() > max(speed, abs(rate)) * 1.001:
        assert bounded.limited[0]
    elif np.abs(velocities).max() < speed * 0.999:
        assert not bounded.limited[0]
        assert at(bounded, 0.03) == at(free, 0.03)


@given(OFFSETS, RATES, SPEEDS, st.floats(0.0, 1.0))
def test_begun_anew_on_the_way_it_ends_no_later(offset, rate, speed, share) -> None:
    """But for about the time that it always takes: otherwise, chunk after chunk, the arm would never be on its plan."""
    made = blend(offset, rate, acceleration=500.0, slowest=-speed, fastest=speed)
    duration = float(made.durations_s[0])
    anew = blend(*at(made, share * duration), acceleration=500.0, slowest=-speed, fastest=speed)
    assert float(anew.durations_s[0]) <= (1.0 - share) * duration + 2 * LEAST_S


@given(st.floats(-0.04, 0.04), st.floats(-0.2, 0.2))
def test_where_no_limit_is_in_the_way_it_takes_the_least_time(offset, rate) -> None:
    made = blend(offset, rate)
    assert float(made.durations_s[0]) == pytest.approx(LEAST_S, abs=1e-6) or abs(offset) + abs(rate) < 1e-6
