"""The limiter: no command ever exceeds a limit, and a target within them is met without lag."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_ros.control.limits import JointLimits, Limiter
from f1_ros.errors import LimitError

DT = 0.01
FR3 = JointLimits(
    lower=(-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
    upper=(2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
    velocity=(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
    acceleration=(10.0,) * 7,
    jerk=(5000.0,) * 7,
)


def one(lower=-1.0, upper=1.0, velocity=2.0, acceleration=10.0, jerk=5000.0) -> JointLimits:
    return JointLimits((lower,), (upper,), (velocity,), (acceleration,), (jerk,))


def assert_within(limits: JointLimits, before, step) -> None:
    """Every limit holds to 1e-9 of itself, for the state and for what happened since the last tick."""
    lower, upper = np.array(limits.lower), np.array(limits.upper)
    velocity, acceleration, jerk = map(np.array, (limits.velocity, limits.acceleration, limits.jerk))
    slack = 1e-9 * (upper - lower)
    assert (step.position >= lower - slack).all()
    assert (step.position <= upper + slack).all()
    assert (np.abs(step.velocity) <= velocity * (1 + 1e-9)).all()
    assert (np.abs(step.acceleration) <= acceleration * (1 + 1e-9)).all()
    if before is not None:
        assert (np.abs(step.position - before.position) <= velocity * DT * (1 + 1e-9)).all()
        assert (np.abs(step.velocity - before.velocity) <= acceleration * DT * (1 + 1e-9)).all()
        assert (np.abs(step.acceleration - before.acceleration) <= jerk * DT * (1 + 1e-9)).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    jerk=st.sampled_from([20.0, 100.0, 1000.0, 5000.0, 1e5]),
    acceleration=st.sampled_from([1.0, 10.0, 50.0]),
    every=st.integers(1, 30),
    reach=st.sampled_from([0.05, 1.0, 10.0]),
)
def test_no_limit_is_exceeded_whatever_the_targets_are(seed, jerk, acceleration, every, reach) -> None:
    rng = np.random.default_rng(seed)
    limits = JointLimits((-1.0, 0.2), (1.0, 0.5), (2.0, 0.7), (acceleration, acceleration), (jerk, jerk / 2))
    limiter = Limiter(limits, DT)
    limiter.reset(rng.uniform(limits.lower, limits.upper))
    before = None
    for k in range(150):
        if k % every == 0:
            target, speed = rng.normal(size=2) * reach, rng.normal(size=2) * rng.choice([0.0, 1.0, 10.0])
        bad = rng.random() < 0.02
        step = limiter.step(np.full(2, np.nan) if bad else target, speed)
        assert step.refused is bad
        assert_within(limits, before, step)
        before = step


def test_a_target_that_moves_within_the_limits_is_met_every_tick() -> None:
    limiter = Limiter(one(velocity=2.62), DT)
    limiter.reset([0.0], [0.3 * np.pi])
    for k in range(1, 400):
        t = k * DT
        step = limiter.step([0.3 * np.sin(np.pi * t)], [0.3 * np.pi * np.cos(np.pi * t)])
        assert step.position[0] == pytest.approx(0.3 * np.sin(np.pi * t), abs=1e-12)
        assert not step.limited


def test_a_joint_that_is_behind_catches_up_without_swinging_back() -> None:
    limiter = Limiter(one(upper=10.0), DT)
    limiter.reset([0.0])
    positions = []
    for k in range(1, 200):
        step = limiter.step([0.3 + 0.5 * k * DT], [0.5])
        positions.append(step.position[0])
    assert np.diff(positions).min() > 0.0
    assert positions[-1] == pytest.approx(0.3 + 0.5 * 199 * DT, abs=1e-12)
    assert not step.limited


def test_a_joint_a_hair_too_fast_for_its_target_does_not_brake_to_a_stop() -> None:
    """To pass a point at a given speed from just beyond it, a planner would swing back and run up again."""
    limiter = Limiter(one(), DT)
    limiter.reset([0.0], [0.5])
    for k in range(1, 30):
        step = limiter.step([0.47 * k * DT - 2e-4], [0.47])
        assert step.velocity[0] > 0.4


def test_a_slow_joint_holds_no_other_back() -> None:
    limits = JointLimits((-3.0, -3.0), (3.0, 3.0), (0.01, 2.0), (10.0, 10.0), (5000.0, 5000.0))
    limiter = Limiter(limits, DT)
    limiter.reset([0.0, 0.0])
    for _ in range(100):
        step = limiter.step([1.0, 1.0])
    assert step.position[1] == pytest.approx(1.0, abs=1e-12)
    assert step.position[0] < 0.011


def test_a_target_outside_the_position_limits_leads_to_the_limit_and_not_beyond() -> None:
    limiter = Limiter(one(), DT)
    limiter.reset([0.9], [2.0])
    highest = max(limiter.step([5.0], [2.0]).position[0] for _ in range(200))
    assert highest <= 1.1 + 2.0 * DT  # it was too fast to stop in time: it stops as soon as it can ...
    assert limiter.position[0] == pytest.approx(1.0, abs=1e-9)  # ... and comes back
    limiter.reset([0.0])
    for _ in range(300):
        step = limiter.step([5.0], [2.0])
        assert step.position[0] <= 1.0 + 1e-12
        assert step.limited
    assert step.position[0] == pytest.approx(1.0, abs=1e-9)


def test_an_arm_found_outside_its_limits_may_only_come_back() -> None:
    limiter = Limiter(one(), DT)
    limiter.reset([1.05])
    positions = [limiter.step([2.0], [1.0]).position[0] for _ in range(100)]
    assert max(positions) <= 1.05
    assert positions[-1] == pytest.approx(1.0, abs=1e-9)


def test_a_nan_target_is_refused_and_brakes_within_the_limits() -> None:
    limiter = Limiter(FR3, DT)
    limiter.reset([0.0, 0.0, 0.0, -1.5, 0.0, 1.5, 0.0], [1.0] * 7)
    before = None
    for _ in range(20):
        step = limiter.step(np.full(7, np.nan))
        assert step.refused
        assert_within(FR3, before, step)
        before = step
    assert step.velocity.tolist() == [0.0] * 7
    # 1 rad/s at 10 rad/s^2 takes 0.05 rad, and the ramps of 2 ms a little more.
    assert step.position[0] == pytest.approx(0.051, abs=1e-4)


def test_an_infinite_velocity_is_refused_too() -> None:
    limiter = Limiter(one(), DT)
    limiter.reset([0.0])
    assert limiter.step([0.1], [np.inf]).refused


def test_a_limiter_tells_the_state_that_it_last_gave() -> None:
    limiter = Limiter(one(), DT)
    limiter.reset([0.1], [0.2])
    step = limiter.step([0.102], [0.2])
    assert limiter.position.tolist() == step.position.tolist()
    assert limiter.velocity.tolist() == step.velocity.tolist()


def test_braking_ends_at_rest_and_stays_there() -> None:
    limiter = Limiter(FR3, DT)
    limiter.reset([0.0, 0.0, 0.0, -1.5, 0.0, 1.5, 0.0], [2.0, -2.0, 1.0, -0.5, 5.0, -4.0, 0.0])
    for _ in range(80):
        rest = limiter.brake()
    assert rest.velocity.tolist() == [0.0] * 7
    assert rest.acceleration.tolist() == [0.0] * 7
    assert limiter.brake().position.tolist() == rest.position.tolist()
    assert not rest.limited


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upper": (1.0,)}, "upper has 1 values"),
        ({"velocity": (1.0, 0.0)}, "not positive"),
        ({"jerk": (1.0, float("nan"))}, "not finite"),
        ({"lower": (1.0, 2.0)}, "joint 1 are crossed"),
    ],
)
def test_impossible_limits_are_refused(change, message) -> None:
    values = {"lower": (-1.0, -1.0), "upper": (2.0, 2.0)} | dict.fromkeys(
        ("velocity", "acceleration", "jerk"), (1.0, 1.0)
    )
    with pytest.raises(LimitError, match=message):
        JointLimits(**(values | change))


def test_scaled_limits_are_slower_and_no_wider() -> None:
    slow = FR3.scaled(velocity=0.5, acceleration=0.1)
    assert slow.velocity[0] == 1.31
    assert slow.acceleration[0] == 1.0
    assert slow.jerk == FR3.jerk
    assert slow.upper == FR3.upper
    with pytest.raises(LimitError, match=r"scale is 1\.5"):
        FR3.scaled(velocity=1.5)


def test_misuse_is_refused() -> None:
    with pytest.raises(LimitError, match="period is 0"):
        Limiter(FR3, 0.0)
    limiter = Limiter(FR3, DT)
    with pytest.raises(LimitError, match="does not know where the arm is"):
        limiter.step([0.0] * 7)
    with pytest.raises(LimitError, match=r"shape \(6,\), expected \(7,\)"):
        limiter.reset([0.0] * 6)
    with pytest.raises(LimitError, match="NaN"):
        limiter.reset([float("nan")] * 7)
