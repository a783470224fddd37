"""Clock trouble: offset and drift are estimated from receive times and told, jumps either way are named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_ros.observe.clock_offset import ClockOffset
from f1_ros.observe.health import CameraHealth, HealthLimits, Level
from f1_ros.observe.order import Order
from f1_ros.robots.profile import load_profile

MS = 1_000_000
SECOND = 1000 * MS
START = 1_700_000_000 * SECOND
FRONT = load_profile("franka_fr3").camera("front")


def stream(offset_ms: float, drift_ppm: float, seconds: int, seed: int = 0, rate_hz: float = 30.0):
    """(stamp, received) of a camera; messages take 5 ms, and 4 ms more on average."""
    rng = np.random.default_rng(seed)
    for t in np.arange(0.0, seconds, 1.0 / rate_hz):
        taken = START + round(t * SECOND)
        stamp = taken + round(offset_ms * MS + drift_ppm * 1e-6 * t * SECOND)
        yield stamp, taken + round(5 * MS + rng.exponential(4 * MS))


@pytest.mark.parametrize(("offset_ms", "drift_ppm"), [(0.0, 0.0), (-40.0, 100.0), (300.0, -50.0)])
def test_offset_and_drift_are_found_under_jitter(offset_ms, drift_ppm) -> None:
    clock = ClockOffset()
    for stamp, received in stream(offset_ms, drift_ppm, 60):
        assert not clock.add(stamp, received)
    assert clock.ahead_ns is not None
    assert clock.ahead_ns / MS == pytest.approx(offset_ms + drift_ppm * 60e-3 - 5.0, abs=1.0)
    assert clock.drift_ppm == pytest.approx(drift_ppm, abs=10.0)


def test_nothing_is_told_before_it_is_known() -> None:
    clock = ClockOffset()
    assert (clock.ahead_ns, clock.drift_ppm) == (None, None)
    for stamp, received in stream(0.0, 0.0, 5):
        clock.add(stamp, received)
    assert clock.drift_ppm is None


@pytest.mark.parametrize("jump_ms", [-3000, 3000])
@pytest.mark.parametrize("host", [False, True])
def test_after_a_jump_of_either_clock_the_estimate_is_of_the_clock_as_it_is_now(jump_ms, host) -> None:
    clock, leaps = ClockOffset(), 0
    for k, (stamp, received) in enumerate(stream(0.0, 0.0, 30)):
        jump = jump_ms * MS if k >= 600 else 0
        leaps += clock.add(stamp + (0 if host else jump), received + (jump if host else 0))
    offset_ms = -jump_ms if host else jump_ms
    assert clock.ahead_ns is not None
    assert clock.ahead_ns / MS == pytest.approx(offset_ms - 5.0, abs=1.5)
    assert leaps == (not host and jump_ms > 0)


def test_a_camera_s_status_tells_its_clock_and_how_it_stands_to_camera_0_s() -> None:
    front, wrist = (CameraHealth(FRONT, HealthLimits()) for _ in range(2))
    for one, two in zip(stream(0.0, 0.0, 20), stream(-30.0, 0.0, 20, seed=1), strict=True):
        front.arrived(Order.NEXT, *one)
        wrist.arrived(Order.NEXT, *two)
    values = wrist.status(START + 20 * SECOND, front).values
    assert values["clock_ahead_ms"] == pytest.approx(-35.0, abs=1.0)
    assert values["clock_ahead_of_camera_0_ms"] == pytest.approx(-30.0, abs=1.0)
    assert values["clock_drift_ppm"] == pytest.approx(0.0, abs=60.0)


def test_a_clock_set_forward_is_named_and_figures_begin_anew() -> None:
    health = CameraHealth(FRONT, HealthLimits())
    received = START
    for k, (stamp, came) in enumerate(stream(0.0, 0.0, 3)):
        received = came
        health.arrived(Order.NEXT, stamp + (400 * MS if k >= 60 else 0), came)
    status = health.status(received)
    assert "stamps leapt ahead: clock set forward" in status.message
    assert "not on the ROS clock" in status.message
    assert status.level is Level.ERROR
    assert status.values["latency_p50_ms"] < 0.0
    later = health.status(received + 100 * MS).message
    assert later == status.message


def test_a_pause_is_no_leap() -> None:
    health = CameraHealth(FRONT, HealthLimits())
    for stamp, came in stream(0.0, 0.0, 1):
        health.arrived(Order.NEXT, stamp, came)
    for stamp, came in stream(0.0, 0.0, 1, seed=1):
        health.arrived(Order.NEXT, stamp + 5 * SECOND, came + 5 * SECOND)
    assert health.status(START + 6 * SECOND).message == "frames arrive"


@settings(max_examples=50, derandomize=True)
@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62)), max_size=60))
def test_no_stamp_and_no_time_upsets_the_estimate(messages) -> None:
    clock = ClockOffset()
    for stamp, received in messages:
        clock.add(stamp, received)
        assert clock.drift_ppm is None or np.isfinite(clock.drift_ppm)
