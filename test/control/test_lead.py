"""The lead: a command runs no further ahead of its joint than allowed; a joint that never follows is a fault."""

import numpy as np
import pytest
from control_rig import PROFILE, READY, Rig

from f1_ros.control.arbiter import Mode
from f1_ros.control.limits import JointLimits, Limiter
from f1_ros.errors import LimitError

DT = 0.01
LEAD = 0.45
LIMITS = JointLimits((-3.0,), (3.0,), (2.6,), (10.0,), (5000.0,))


def limiter() -> Limiter:
    made = Limiter(LIMITS, DT, LEAD)
    made.reset([0.0])
    return made


@pytest.mark.parametrize("speed", [0.0, 1.0, 2.6])
def test_the_command_of_a_blocked_joint_stops_at_the_lead(speed) -> None:
    one = limiter()
    for k in range(200):
        step = one.step([speed * k * DT if speed else 2.0], [speed], ([0.0], [0.0]))
        assert step.position[0] <= LEAD + 1e-9
    assert step.position[0] == pytest.approx(LEAD, abs=1e-6)
    assert step.by_lead
    assert step.limited


def test_a_joint_that_follows_with_a_lag_is_not_disturbed() -> None:
    """At full speed with 0.1 s of lag, 0.26 rad behind, the steps are those of a limiter that measures nothing."""
    led, free = limiter(), Limiter(LIMITS, DT)
    free.reset([0.0])
    q = rate = 0.0
    for k in range(1, 300):
        target = 1.2 * (1.0 - np.cos(2.0 * k * DT)), 2.4 * np.sin(2.0 * k * DT)
        step = led.step([target[0]], [target[1]], ([q], [rate]))
        assert step.position.tolist() == free.step([target[0]], [target[1]]).position.tolist()
        assert not step.by_lead
        rate = (step.position[0] - q) / 0.1
        q += rate * DT


def test_a_joint_that_is_stopped_dead_has_its_command_brake_at_once() -> None:
    one, q = limiter(), 0.0
    for k in range(1, 60):
        step = one.step([1.5 * k * DT], [1.5], ([q], [1.5]))
        q = max(0.0, step.position[0] - 0.15)
    ahead = [one.step([1.5 * k * DT], [1.5], ([q], [0.0])).position[0] - q for k in range(60, 160)]
    assert max(ahead) <= LEAD + 1e-9
    assert ahead[-1] == pytest.approx(LEAD, abs=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_command_that_turns_round_waits_for_a_joint_that_still_goes_the_other_way(sign) -> None:
    """Where the joint will stop counts: the command could be stopped where it is, the joint cannot."""
    slow = LIMITS.scaled(velocity=0.4, acceleration=0.2)
    one, q, rate, apart = Limiter(slow, DT, LEAD), -0.15 * sign, -1.0 * sign, []
    one.reset([0.0])
    for _ in range(200):
        apart.append(abs(one.step([2.0 * sign], [0.0], ([q], [rate])).position[0] - q))
        before, rate = rate, min(rate * sign + slow.acceleration[0] * DT, 0.0) * sign
        q += 0.5 * (before + rate) * DT
    assert max(apart) <= LEAD + 1e-3
    assert apart[-1] == pytest.approx(LEAD, abs=1e-3)


def test_a_joint_that_is_pushed_away_takes_its_command_along() -> None:
    one = limiter()
    for k in range(100):
        step = one.step([0.0], [0.0], ([-0.01 * k], [-1.0]))
    assert abs(step.position[0] - -0.99) <= LEAD + 0.06  # that of braking from its 1 rad/s


def test_a_measurement_that_is_not_finite_is_refused_and_brakes() -> None:
    one = limiter()
    one.step([1.0], [0.0], ([0.0], [0.0]))
    assert one.step([1.0], [0.0], ([float("nan")], [0.0])).refused


def test_a_lead_that_is_not_positive_is_refused() -> None:
    with pytest.raises(LimitError, match="lead is 0"):
        Limiter(LIMITS, DT, 0.0)


@pytest.mark.parametrize("mode", [Mode.TELEOP, Mode.POLICY])
def test_an_arm_that_does_not_follow_is_waited_for_then_a_fault(mode) -> None:
    rig = Rig(stiffness=0.0)
    rig.start(mode)
    goal = READY + np.array([0.8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    reasons = []
    for _ in range(60):
        rig.teleop(goal)
        rig.chunk(goal)
        rig.tick(5)
        reasons.append(rig.controller.reason)
        if rig.controller.mode is Mode.FAULT:
            break
    assert "waiting for a joint that lags behind" in reasons
    assert rig.controller.mode is Mode.FAULT
    assert "fr3_joint1 does not follow" in rig.controller.reason
    assert rig.controller.counters["fault_tracking"] == 1
    assert rig.controller.counters["limited_by_lead"] > 0
    assert (np.abs(rig.positions() - READY).max(axis=0) <= PROFILE.lead + 1e-9).all()


def test_an_arm_that_was_waited_for_and_comes_after_is_no_fault() -> None:
    rig = Rig(stiffness=0.02)
    rig.start(Mode.POLICY)
    goal = READY + np.array([1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    for _ in range(80):
        rig.chunk(goal)
        rig.tick(5)
        rig.stiffness = 0.1
    assert rig.controller.mode is Mode.POLICY
    assert rig.arm == pytest.approx(goal, abs=1e-3)


def test_a_slow_arm_that_follows_a_far_target_is_not_waited_for() -> None:
    """A target beyond the lead holds nothing back as long as the command itself is near its joint."""
    one, q = Limiter(LIMITS.scaled(velocity=0.2), DT, LEAD), 0.0
    one.reset([q])
    for _ in range(200):
        step = one.step([2.5], [0.0], ([q], [0.52]))
        assert not step.by_lead
        q += (step.position[0] - q) * DT / 0.1
