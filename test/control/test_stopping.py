"""The fastest stop within limits of acceleration and jerk: its range and its path."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_ros.control.stopping import braking_path, braking_step, stopping_range

DT = 0.01

moving = given(
    velocity=st.floats(-3.0, 3.0),
    fraction=st.floats(-1.0, 1.0),
    acceleration=st.floats(0.5, 50.0),
    jerk=st.floats(5.0, 1e5),
)
"""A joint's motion, its acceleration as a fraction of the limit."""


@settings(max_examples=300)
@moving
def test_the_stopping_range_holds_every_position_of_the_fastest_stop(velocity, fraction, acceleration, jerk) -> None:
    low, high = stopping_range(velocity, fraction * acceleration, acceleration, jerk)
    p, v, a = 0.0, velocity, fraction * acceleration
    for _ in range(2000):
        shift, v, a = braking_step(v, a, acceleration, jerk, 0.05)
        p += shift
        assert low - 1e-9 <= p <= high + 1e-9
        if v == 0.0 and a == 0.0:
            break
    assert v == 0.0
    peak = fraction * acceleration
    turns_back = velocity * (velocity + peak * abs(peak) / (2 * jerk)) < 0  # then it may stop short of where it began
    assert turns_back or min(abs(p - low), abs(p - high)) < 1e-6 * max(1.0, abs(p))


def test_stopping_distance_of_a_known_case() -> None:
    # 1 rad/s, 10 rad/s^2 reached in 0.1 s at 100 rad/s^3: v (v/A + A/J) / 2 = 1 * (0.1 + 0.1) / 2.
    assert stopping_range(1.0, 0.0, 10.0, 100.0) == pytest.approx((0.0, 0.1))
    assert stopping_range(-1.0, 0.0, 10.0, 100.0) == pytest.approx((-0.1, 0.0))


@settings(max_examples=30)
@moving
def test_the_braking_path_is_what_braking_tick_by_tick_gives(velocity, fraction, acceleration, jerk) -> None:
    state, limits = (velocity, fraction * acceleration), (acceleration, jerk)
    columns = [np.array([value, -value]) for value in (0.0, *state)]
    path = braking_path(*columns, *(np.full(2, limit) for limit in limits), DT)
    p, (v, a) = 0.0, state
    for row in path:
        assert row.tolist() == pytest.approx([p, -p], abs=1e-9)
        shift, v, a = braking_step(v, a, *limits, DT)
        p += shift
    assert (v, a) == pytest.approx((0.0, 0.0), abs=1e-5)
