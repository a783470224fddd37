"""The simulated robot speaks as the real one does, and the scripted expert picks with it by teleoperation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from control_msgs.action import GripperCommand
from diagnostic_msgs.msg import DiagnosticStatus
from f1_msgs.msg import ControlStatus
from franka_msgs.action import ErrorRecovery, Grasp, Homing, Move
from franka_msgs.msg import FrankaRobotState
from nav_msgs.msg import Odometry
from rclpy.action import ActionClient
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from f1_ros.nodes.conversions import to_ns
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.robots.conformance_streams import known_limits
from f1_ros.robots.profile import load_profile
from f1_ros.sim.franka import PANDA

FRANKA = load_profile("franka_fr3")


def command(joints: np.ndarray, **values: float) -> JointState:
    names = [f"fr3_joint{i}" for i in range(1, 8)]
    return JointState(name=names, position=[values.get(name, joints[i]) for i, name in enumerate(names)])


def test_the_simulator_speaks_the_topics_of_the_profile(ros: Any) -> None:
    joints = ros.collect(JointState, FRANKA.arms[0].state.topic, SENSOR)
    fingers = ros.collect(JointState, FRANKA.grippers[0].state.topic, SENSOR)
    pictures = {camera.name: ros.collect(Image, camera.topic, SENSOR) for camera in FRANKA.cameras}
    clocks = ros.collect(Clock, "/clock", SENSOR)
    ros.start("sim_node", real_time_factor=2.0)
    ros.until(lambda: len(clocks) > 20 and all(pictures.values()) and len(fingers) > 3, "the robot is there")

    assert joints[-1].name == [f"fr3_joint{i}" for i in range(1, 8)]
    assert fingers[-1].name == ["fr3_finger_joint1", "fr3_finger_joint2"]
    assert list(fingers[0].position) == pytest.approx([0.04, 0.04], abs=1e-3)
    stamps = np.array([to_ns(message.header.stamp) for message in joints])
    assert (np.diff(stamps) > 0).all()
    assert (stamps % 10_000_000 == 0).all()
    for name, received in pictures.items():
        picture = received[-1]
        assert (picture.header.frame_id, picture.encoding) == (name, "rgb8")
        assert (picture.width, picture.height, picture.step) == (96, 96, 288)
        assert to_ns(picture.header.stamp) % 50_000_000 == 0
        assert len(set(picture.data)) > 10

    commands = ros.node.create_publisher(JointState, FRANKA.arms[0].command.topic, COMMAND)
    start = np.array(joints[-1].position)
    ros.until(commands.get_subscription_count, "the simulator listens")
    for part in (0.04, 0.08, 0.12, 0.16, 0.20):
        commands.publish(command(start, fr3_joint1=start[0] + part))
        ros.until(
            lambda wanted=part: abs(joints[-1].position[0] - start[0] - wanted) < 0.01, "the arm goes to its target"
        )
    # As a real arm it stays there when commands stop, and cannot be sent to nowhere.
    commands.publish(command(start, fr3_joint1=float("nan")))
    ros.spin(0.5)
    assert joints[-1].position[0] == pytest.approx(start[0] + 0.2, abs=0.01)


def test_a_panda_is_there_by_its_own_names_ranges_and_hand(ros: Any) -> None:
    profile = load_profile("franka_panda")
    joints = ros.collect(JointState, profile.arms[0].state.topic, SENSOR)
    fingers = ros.collect(JointState, profile.grippers[0].state.topic, SENSOR)
    truth = ros.collect(JointState, "/f1_sim/joints", COMMAND)
    described = ros.collect(String, "/f1_sim/robot_description", COMMAND)
    cubes = ros.collect(Odometry, "/f1_sim/cube", SENSOR)
    modes = ros.collect(FrankaRobotState, "/franka_robot_state_broadcaster/robot_state", SENSOR)
    ros.start("sim_node", profile="franka_panda", camera_rate=1.0)
    seen = (joints, fingers, truth, described, cubes, modes)
    ros.until(lambda: all(seen), "the robot is there")
    assert joints[-1].name == list(PANDA.joints)
    assert fingers[-1].name == ["panda_finger_joint1", "panda_finger_joint2"]
    assert truth[-1].name == [*PANDA.joints, "gripper"]
    assert cubes[-1].header.frame_id == "panda_link0"
    ranges = zip(PANDA.limits.lower, PANDA.limits.upper, strict=True)
    assert known_limits(described[-1].data) == dict(zip(PANDA.joints, ranges, strict=True))

    grasp = ActionClient(ros.node, Grasp, profile.grippers[0].command.action)
    halved = ActionClient(ros.node, GripperCommand, "/franka_gripper/gripper_action")
    ros.until(lambda: grasp.server_is_ready() and halved.server_is_ready(), "the hand is there")
    goals = ((grasp, Grasp.Goal(width=0.02, speed=0.1, force=20.0), 0.02), (halved, GripperCommand.Goal(), 0.06))
    goals[1][1].command.position = 0.03
    for client, goal, width in goals:
        client.send_goal_async(goal)
        ros.until(lambda width=width: abs(sum(fingers[-1].position) - width) < 3e-3, f"the fingers are {width} m apart")
        client.destroy()

    commands = ros.node.create_publisher(JointState, profile.arms[0].command.topic, COMMAND)
    ros.until(commands.get_subscription_count, "the simulator listens")
    start = np.array(joints[-1].position)
    # No jump yet for the last joint of an FR3, which is twice as fast.
    for moved in (0.0, 0.5):
        message = JointState(name=list(PANDA.joints), position=(start + moved * (np.arange(7) == 6)).tolist())
        message.header.stamp = joints[-1].header.stamp
        commands.publish(message)
        ros.spin(0.15)
    ros.until(lambda: modes[-1].robot_mode == FrankaRobotState.ROBOT_MODE_REFLEX, "the reflex")


def test_the_gripper_answers_its_action_when_the_fingers_have_arrived(ros: Any) -> None:
    fingers = ros.collect(JointState, FRANKA.grippers[0].state.topic, SENSOR)
    ros.start("sim_node", cubes=False, camera_rate=1.0)
    client = ActionClient(ros.node, GripperCommand, FRANKA.grippers[0].command.action)

    def send(position: float) -> Any:
        goal = GripperCommand.Goal()
        goal.command.position = position
        future = client.send_goal_async(goal)
        ros.until(future.done, "an answer to the goal")
        return future.result()

    ros.until(client.server_is_ready, "the gripper is there")
    handle = send(0.01)  # half of the opening width
    assert handle.accepted
    result = handle.get_result_async()
    ros.until(result.done, "the goal ends")
    assert result.result().result.reached_goal
    assert result.result().result.position == pytest.approx(0.01, abs=1e-3)
    ros.until(lambda: abs(sum(fingers[-1].position) - 0.02) < 3e-3, "the fingers are there")
    assert not send(0.05).accepted
    assert not send(float("nan")).accepted
    client.destroy()


def test_a_jump_in_the_target_is_a_reflex_until_error_recovery(ros: Any) -> None:
    joints = ros.collect(JointState, FRANKA.arms[0].state.topic, SENSOR)
    modes = ros.collect(FrankaRobotState, "/franka_robot_state_broadcaster/robot_state", SENSOR)
    ros.start("sim_node", cubes=False, camera_rate=1.0)
    commands = ros.node.create_publisher(JointState, FRANKA.arms[0].command.topic, COMMAND)
    ros.until(lambda: joints and modes and commands.get_subscription_count(), "the robot is there")
    assert modes[-1].robot_mode == FrankaRobotState.ROBOT_MODE_MOVE
    start = np.array(joints[-1].position)
    commands.publish(command(start, fr3_joint1=start[0] + 0.3))
    ros.until(lambda: modes[-1].robot_mode == FrankaRobotState.ROBOT_MODE_REFLEX, "the reflex")
    assert modes[-1].current_errors.joint_motion_generator_velocity_discontinuity
    commands.publish(command(start, fr3_joint1=start[0] + 0.04))
    ros.spin(0.3)
    assert joints[-1].position[0] == pytest.approx(start[0], abs=0.01)

    client = ActionClient(ros.node, ErrorRecovery, "/action_server/error_recovery")
    ros.until(client.server_is_ready, "error recovery is there")
    sent = client.send_goal_async(ErrorRecovery.Goal())
    ros.until(sent.done, "an answer to the goal")
    ros.until(lambda: modes[-1].robot_mode == FrankaRobotState.ROBOT_MODE_MOVE, "the arm is free")
    commands.publish(command(start, fr3_joint1=start[0] + 0.04))
    ros.until(lambda: abs(joints[-1].position[0] - start[0] - 0.04) < 0.01, "it follows again")
    client.destroy()


def test_a_hand_to_which_goals_are_streamed_hangs_until_it_is_homed(ros: Any) -> None:
    fingers = ros.collect(JointState, FRANKA.grippers[0].state.topic, SENSOR)
    ros.start("sim_node", cubes=False, camera_rate=1.0)
    move, homing = (ActionClient(ros.node, kind, f"/franka_gripper/{name}") for kind, name in
                    ((Move, "move"), (Homing, "homing")))  # fmt: skip
    ros.until(lambda: fingers and move.server_is_ready() and homing.server_is_ready(), "the gripper is there")
    sent = [move.send_goal_async(Move.Goal(width=0.07 - 0.005 * k, speed=0.1)) for k in range(8)]
    ros.until(lambda: all(s.done() for s in sent), "the goals are taken")
    ros.spin(0.5)
    hung = sum(fingers[-1].position)
    late = move.send_goal_async(Move.Goal(width=0.0, speed=0.1))
    ros.until(late.done, "a goal is taken even so")
    ros.spin(0.5)
    assert sum(fingers[-1].position) == pytest.approx(hung, abs=2e-3)
    home = homing.send_goal_async(Homing.Goal())
    ros.until(home.done, "homing is taken")
    result = home.result().get_result_async()
    ros.until(result.done, "the hand is homed")
    assert result.result().result.success
    assert sum(fingers[-1].position) == pytest.approx(0.08, abs=3e-3)
    again = move.send_goal_async(Move.Goal(width=0.03, speed=0.1))
    ros.until(again.done, "it takes goals again")
    ros.until(lambda: abs(sum(fingers[-1].position) - 0.03) < 3e-3, "and follows them")
    move.destroy()
    homing.destroy()


def test_the_expert_picks_a_cube_by_teleoperation_and_its_silence_holds_the_arm(ros: Any) -> None:
    counts = ros.collect(DiagnosticStatus, "/f1_sim/counts", COMMAND)
    statuses = ros.collect(ControlStatus, "/f1/status", COMMAND)
    ros.start("sim_node", camera_rate=1.0)
    ros.start("action_node", use_sim_time=True, initial_mode="teleop")
    expert = ros.start("expert_node")

    def picked() -> bool:
        return bool(counts) and {v.key: int(v.value) for v in counts[-1].values}["binned"] >= 1

    ros.until(picked, "a cube lies in the bin")
    assert statuses[-1].mode == ControlStatus.TELEOP
    expert.kill()
    ros.stop(expert)
    ros.until(lambda: statuses[-1].mode == ControlStatus.FAULT, "the leader's silence is a fault")
    assert statuses[-1].reason == "no leader arm's message for 0.5 s"
    ros.until(lambda: max(map(abs, statuses[-1].velocity)) < 1e-6, "the arm comes to rest")


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"image_width": 100}, "Set image_width and image_height to a size of the profile"),
        ({"renderer": "crayon"}, "'crayon' is none of ray, egl, auto"),
        ({"view": True}, "The viewer needs a display"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_its_remedy(
    ros: Any, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any], says: str
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    process = ros.start("sim_node", **parameters)
    ros.until(lambda: process.poll() is not None, "the process ends")
    assert process.returncode == 2
    assert says in ros.log(process)
