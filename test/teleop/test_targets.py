"""Joint and gripper targets from what a person asks for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_ros.robots.profile import load_profile
from f1_ros.teleop.cartesian import CartesianTarget
from f1_ros.teleop.gripper import GripperTarget
from f1_ros.teleop.inputs import GripperPress

PROFILE = load_profile("franka_fr3")
READY = np.array(PROFILE.ready)
CHAIN = PROFILE.arms[0].chain
STILL = np.zeros(6)
DT = 0.02


def target(joint_speed: float = 1.0) -> CartesianTarget:
    assert CHAIN is not None
    return CartesianTarget(CHAIN, PROFILE.limits, joint_speed)


@pytest.mark.parametrize("axis", range(6))
def test_the_tool_goes_where_the_twist_points(axis) -> None:
    made, twist = target(), np.zeros(6)
    twist[axis] = 0.1 if axis < 3 else 0.3
    joints = READY
    for _ in range(50):
        joints = made.step(joints, twist, DT, followed=True)
    (before, turned), (after, turn) = CHAIN.pose(READY), CHAIN.pose(joints)
    np.testing.assert_allclose(after - before, twist[:3] * 1.0, atol=0.005)
    rotation = turn @ turned.T
    vector = np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    angle = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    np.testing.assert_allclose(vector / max(np.linalg.norm(vector), 1e-9) * angle, twist[3:], atol=0.01)


def test_a_target_stays_with_the_arm_until_it_is_moved_and_with_itself_from_then_on() -> None:
    made = target()
    assert made.step(READY, STILL, DT, followed=False).tolist() == READY.tolist()
    assert made.step(READY + 0.1, STILL, DT, followed=False).tolist() == (READY + 0.1).tolist()
    assert made.step(READY + 0.15, STILL, DT, followed=True).tolist() == (READY + 0.15).tolist()
    moved = made.step(READY + 0.15, np.array([0.1, 0, 0, 0, 0, 0]), DT, followed=True)
    assert (moved != READY + 0.15).any()
    assert made.step(READY + 0.149, STILL, DT, followed=True).tolist() == moved.tolist()
    made.forget()
    assert made.step(READY, STILL, DT, followed=True).tolist() == READY.tolist()


@settings(max_examples=30, deadline=None)
@given(
    start=st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7),
    twist=st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6),
    follows=st.floats(0.0, 1.0),
)
def test_a_target_keeps_to_joint_speed_limits_and_leash_from_any_pose_also_at_a_singularity(
    start, twist, follows
) -> None:
    lower, upper = np.array(PROFILE.limits.lower), np.array(PROFILE.limits.upper)
    arm = lower + np.array(start) * (upper - lower)
    made, before = target(joint_speed=0.8), arm
    for _ in range(60):
        now = made.step(arm, np.array(twist), DT, followed=True)
        assert np.isfinite(now).all()
        assert (now >= lower - 1e-12).all()
        assert (now <= upper + 1e-12).all()
        assert np.abs(now - before).max() <= 0.8 * DT + 1e-12
        assert np.abs(now - arm).max() <= 0.2 + 1e-12
        before, arm = now, arm + follows * (now - arm)


def test_nothing_is_asked_of_the_gripper_before_a_press_nor_by_one_while_the_arm_follows_someone_else() -> None:
    made = GripperTarget(PROFILE.grippers[0])
    assert made.step(GripperPress.CLOSE, 0.08, followed=False) is None
    assert made.step(None, 0.08, followed=True) is None
    assert made.step(GripperPress.TOGGLE, 0.07, followed=True) == 0.0
    assert made.step(None, 0.07, followed=True) == 0.0  # it still closes
    assert made.step(GripperPress.TOGGLE, 0.07, followed=True) == 0.08
    assert made.step(GripperPress.CLOSE, None, followed=True) == 0.0
    assert made.step(None, 0.0, followed=False) is None
    assert made.step(GripperPress.TOGGLE, None, followed=True) == 0.0
    assert made.step(GripperPress.OPEN, None, followed=True) == 0.08
