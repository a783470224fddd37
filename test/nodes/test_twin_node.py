"""The twins speak as their robots do, over real DDS, and do with wrong or no commands what these do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arm_control.msg import JointControl, PosCmd
from arx5_arm_msg.msg import RobotStatus
from diagnostic_msgs.msg import DiagnosticStatus
from f1_msgs.msg import ControlStatus
from genie_msgs.msg import EndState
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_srvs.srv import Trigger

from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.observe.images import decode_compressed
from f1_ros.sim.twins.tables import GENIE1, LIFT2


def counted(messages: list[DiagnosticStatus]) -> dict[str, int]:
    return {v.key: int(v.value) for v in messages[-1].values}


def test_genie_speaks_its_topics_and_refuses_a_target_too_far_from_the_feedback(ros: Any) -> None:
    states = ros.collect(JointState, "/hal/arm_joint_state", SENSOR)
    ends = ros.collect(EndState, "/hal/right_ee_data", SENSOR)
    counts = ros.collect(DiagnosticStatus, "/f1_sim/counts", COMMAND)
    pictures = {n: ros.collect(Image, f"/camera/{n}_color", SENSOR) for n in ("head", "hand_left", "hand_right")}
    ros.start("twin_node", config="genie1", repeat=False)
    ros.until(lambda: len(states) > 5 and ends and counts and all(pictures.values()), "the robot is there")
    assert tuple(states[-1].name) == GENIE1.joint_names
    assert ends[-1].end_state[0].position == pytest.approx(120.0, abs=2.0)
    assert (pictures["head"][-1].width, pictures["head"][-1].encoding) == (96, "rgb8")

    arms = ros.node.create_publisher(JointState, "/wbc/arm_command", COMMAND)
    hand = ros.node.create_publisher(JointState, "/wbc/right_ee_command", COMMAND)
    ros.until(lambda: arms.get_subscription_count() and hand.get_subscription_count(), "the twin listens")
    start = np.array(states[-1].position)
    arms.publish(JointState(position=(start + 0.2 * (np.arange(14) == 13)).tolist()))
    hand.publish(JointState(position=[30.0]))
    ros.until(lambda: abs(states[-1].position[13] - start[13] - 0.2) < 0.01, "the last joint goes to its target")
    ros.until(lambda: abs(ends[-1].end_state[0].position - 30.0) < 2.0, "the hand closes as far as it was told")
    assert ends[-1].controlled
    assert counted(counts)["refused"] == 0

    far = np.array(states[-1].position) - 0.3 * (np.arange(14) == 0)
    arms.publish(JointState(position=far.tolist()))
    ros.until(lambda: counted(counts)["refused"] == 1, "the target is refused")
    assert states[-1].position[0] == pytest.approx(start[0], abs=0.01)


def test_a_task_that_is_not_done_in_time_counts_as_lost_and_is_laid_out_anew(ros: Any) -> None:
    counts = ros.collect(DiagnosticStatus, "/f1_sim/counts", COMMAND)
    ros.start("twin_node", config="genie1", give_up_after=0.5)
    ros.until(lambda: counts and counted(counts)["lost"] == 2, "nobody does it, twice")
    assert counted(counts)["done"] == 0


def test_a_task_is_laid_out_anew_when_asked_for(ros: Any) -> None:
    counts = ros.collect(DiagnosticStatus, "/f1_sim/counts", COMMAND)
    ros.start("twin_node", config="arx_lift2", repeat=False)
    ros.until(lambda: counts and counted(counts)["lost"] == 1, "the cube rides away")
    assert ros.call(Trigger, "/f1_sim/new_task", Trigger.Request()).success
    ros.until(lambda: counted(counts)["lost"] == 2, "so does the next one")


def test_genies_simulator_topics_carry_the_grippers_in_the_joints_message(ros: Any) -> None:
    states = ros.collect(JointState, "/joint_states", SENSOR)
    pictures = ros.collect(CompressedImage, "/sim/left_wrist_img", SENSOR)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    targets = ros.node.create_publisher(JointState, "/sim/target_joint_state", latched)
    ros.start(
        "twin_node", config="genie1", variant="simulator", gripper_open=0.8, gripper_command_open=1.0, repeat=False
    )
    ros.until(lambda: states and pictures and targets.get_subscription_count(), "the simulator is there")
    assert len(states[-1].position) == 16
    assert states[-1].position[7] == pytest.approx(0.8, abs=0.04)
    assert states[-1].name[7] == "idx41_gripper_l_outer_joint1"
    wanted = np.array(states[-1].position)
    wanted[7] = 0.5
    targets.publish(JointState(position=wanted.tolist()))
    ros.until(lambda: abs(states[-1].position[7] - 0.4) < 0.04, "the left gripper closes half way")
    picture = decode_compressed(pictures[-1].format, pictures[-1].data, topic="left wrist")
    assert picture.shape == (96, 96, 3)


def test_lift_keeps_an_arms_last_target_in_silence_and_stops_its_wheels(ros: Any) -> None:
    left = ros.collect(RobotStatus, "/joint_information", SENSOR)
    right = ros.collect(RobotStatus, "/joint_information2", SENSOR)
    body = ros.collect(PosCmd, "/body_information", SENSOR)
    pictures = {
        n: ros.collect(CompressedImage, f"/camera/camera_{n}/color/image_rect_raw/compressed", SENSOR) for n in "hlr"
    }
    ros.start("twin_node", config="arx_lift2", repeat=False)
    ros.until(lambda: left and right and body and all(pictures.values()), "the robot is there")
    assert left[-1].joint_pos[6] == pytest.approx(5.0, abs=0.1)
    assert right[-1].joint_pos[6] == pytest.approx(0.0, abs=0.1)
    assert body[-1].height == pytest.approx(LIFT2.body_rest[0], abs=0.01)

    arm = ros.node.create_publisher(JointControl, "/joint_control", COMMAND)
    lift = ros.node.create_publisher(PosCmd, "/body_control", COMMAND)
    ros.until(lambda: arm.get_subscription_count() and lift.get_subscription_count(), "the twin listens")
    start, still = np.array(left[-1].joint_pos), np.array(right[-1].joint_pos)
    message = JointControl()
    message.joint_pos = [*(start[:6] + 0.15 * (np.arange(6) == 0)).tolist(), 2.5, 0.0]
    arm.publish(message)
    lift.publish(PosCmd(height=LIFT2.body_rest[0] + 0.03))
    ros.until(lambda: abs(left[-1].joint_pos[0] - start[0] - 0.15) < 0.01, "the arm goes to its target")
    ros.until(lambda: abs(left[-1].joint_pos[6] - 2.5) < 0.1, "its gripper closes half way")
    ros.until(lambda: abs(body[-1].height - LIFT2.body_rest[0] - 0.03) < 0.01, "the lift rises")
    ros.spin(0.5)
    assert left[-1].joint_pos[0] == pytest.approx(start[0] + 0.15, abs=0.01)  # no watchdog
    assert right[-1].joint_pos[:6] == pytest.approx(still[:6], abs=0.01)


def test_ac_one_arms_take_and_give_their_own_messages(ros: Any) -> None:
    states = ros.collect(RobotStatus, "/arm_slave_r_status", SENSOR)
    ros.start("twin_node", config="arx_lift2", variant="ac_one", repeat=False, camera_rate=1.0)
    commands = ros.node.create_publisher(RobotStatus, "/arm_master_r_status", COMMAND)
    ros.until(lambda: states and commands.get_subscription_count(), "the robot is there")
    message = RobotStatus()
    message.joint_pos = [*states[-1].joint_pos[:6].tolist(), -3.4]
    commands.publish(message)
    ros.until(lambda: states[-1].joint_pos[6] < -3.2, "the right gripper opens")


@pytest.mark.parametrize(
    ("config", "variant", "profile", "state"),
    [
        ("genie1", "robot", "genie1", ("/hal/arm_joint_state", JointState)),
        ("genie1", "simulator", "genie1_simulator", ("/joint_states", JointState)),
        ("arx_lift2", "x5", "arx_lift2_x5", ("/joint_information2", RobotStatus)),
        ("arx_lift2", "ac_one", "arx_lift2_acone", ("/arm_slave_r_status", RobotStatus)),
    ],
)
def test_the_action_node_holds_a_twin_still_and_nothing_of_it_is_refused(
    ros: Any, config: str, variant: str, profile: str, state: tuple[str, type]
) -> None:
    statuses = ros.collect(ControlStatus, "/f1/status", COMMAND)
    counts = ros.collect(DiagnosticStatus, "/f1_sim/counts", COMMAND)
    states = ros.collect(state[1], state[0], SENSOR)
    ros.start("twin_node", config=config, variant=variant, repeat=False, camera_rate=1.0)
    action = ros.start("action_node", profile=profile, use_sim_time=True)

    def holds() -> bool:
        status = statuses[-1] if statuses else None
        return status is not None and len(states) > 5 and status.ticks > 50 and np.isfinite(status.commanded).all()

    ros.until(holds, "the action node holds")
    start = reading(states[-1])
    ros.spin(1.5)
    assert reading(states[-1]) == pytest.approx(start, abs=0.01)
    assert statuses[-1].mode == ControlStatus.HOLD, statuses[-1].reason
    assert counted(counts)["refused"] == 0
    ros.stop(action)


def reading(message: Any) -> list[float]:
    return list(message.position if isinstance(message, JointState) else message.joint_pos)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"config": "belt"}, "Start sim_node for it"),
        ({"config": "genie1", "variant": "x5"}, "Give one of robot, simulator"),
        ({"config": "genie1", "gripper_open": 0.0}, "reads the same open and closed"),
        ({"config": "genie1", "gripper_command_open": 0.0}, "takes the same open and closed"),
        ({"config": "nowhere"}, "no such file"),
    ],
)
def test_what_is_no_twin_is_refused_with_its_remedy(ros: Any, parameters: dict[str, Any], says: str) -> None:
    process = ros.start("twin_node", **parameters)
    ros.until(lambda: process.poll() is not None, "the process ends")
    assert says in ros.log(process)
