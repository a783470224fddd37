"""The Franka's messages: eight numbers to a command and a goal, and back."""

from dataclasses import replace

import numpy as np
import pytest

from f1_ros.errors import ObservationError, ProfileError
from f1_ros.robots.adapter import adapter_for
from f1_ros.robots.profile import load_profile

PROFILE = load_profile("franka_fr3")
NAMES = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGERS = ["fr3_finger_joint1", "fr3_finger_joint2"]


def test_the_arm_s_command_has_the_profile_s_joints_in_order() -> None:
    (command,) = adapter_for(PROFILE).arm_commands(np.arange(7.0), np.arange(7.0) / 10)
    assert (command.topic, command.type) == ("/target_joint", "sensor_msgs/msg/JointState")
    assert command.names == NAMES
    assert command.positions == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    assert command.velocities == pytest.approx((0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6))


@pytest.mark.parametrize(("width", "goal"), [(0.0, 0.0), (0.03, 0.015), (0.08, 0.04), (-0.1, 0.0), (0.5, 0.04)])
def test_the_gripper_s_goal_is_half_the_width_within_the_stroke(width, goal) -> None:
    made = adapter_for(PROFILE).gripper_goal("gripper", width)
    assert made.position == pytest.approx(goal)
    assert made.action == "/franka_gripper/gripper_action"
    assert made.max_effort == 20.0


def test_the_gripper_s_width_is_the_sum_of_both_fingers() -> None:
    adapter = adapter_for(PROFILE)
    assert adapter.gripper_width("gripper", FINGERS, [0.02, 0.021]) == pytest.approx(0.041)
    assert adapter.gripper_width("gripper", [*NAMES, *FINGERS[::-1]], [0.0] * 7 + [0.04, 0.03]) == pytest.approx(0.07)
    assert adapter.gripper_width("gripper", NAMES, [0.0] * 7) is None
    assert adapter.gripper_width("gripper", FINGERS[:1], [0.02]) is None


def test_a_gripper_in_raw_units_that_run_backwards_is_a_matter_of_the_profile() -> None:
    """An AC-one's motor reads 0 closed and -3.4 open."""
    gripper = PROFILE.grippers[0]
    raw = replace(
        gripper,
        open=0.088,
        state=replace(gripper.state, joints=("motor",), closed=0.0, open=-3.4),
        command=replace(gripper.command, closed=0.0, open=-3.4),
    )
    adapter = adapter_for(replace(PROFILE, grippers=(raw,)))
    assert adapter.gripper_width("gripper", ["motor"], [-1.7]) == pytest.approx(0.044)
    assert adapter.gripper_goal("gripper", 0.022).position == pytest.approx(-0.85)


def test_the_state_vector_is_in_the_profile_s_order() -> None:
    joints = {name: i / 10 for i, name in enumerate(reversed(NAMES))}
    state = adapter_for(PROFILE).state(joints, {"gripper": 0.05})
    assert state.tolist() == pytest.approx([0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0, 0.05])


def test_a_state_with_a_part_missing_is_refused_by_name() -> None:
    with pytest.raises(ObservationError, match="State of fr3_joint7, gripper is not known"):
        adapter_for(PROFILE).state(dict.fromkeys(NAMES[:6], 0.0), {})


def test_an_open_conversion_and_an_unknown_gripper_are_refused() -> None:
    gripper = PROFILE.grippers[0]
    unknown = replace(gripper, command=replace(gripper.command, open=None))
    with pytest.raises(ProfileError, match="command of gripper 'gripper' is still open"):
        adapter_for(replace(PROFILE, grippers=(unknown,)))
    with pytest.raises(ProfileError, match="no gripper 'left'"):
        adapter_for(PROFILE).gripper_goal("left", 0.0)
