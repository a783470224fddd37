"""The action node and each of the other robots: their topics and types, their quirks, their requests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from f1_msgs.msg import ControlStatus
from f1_msgs.srv import SetMode
from rclpy.action import ActionServer
from rclpy.node import Node
from robot_rig import StandInRobot
from sensor_msgs.msg import JointState
from std_msgs.msg import Int32MultiArray

from f1_ros.cli.main import main
from f1_ros.nodes.conversions import to_ns
from f1_ros.nodes.interfaces import interface
from f1_ros.nodes.qos import COMMAND
from f1_ros.robots.files import profile_path
from f1_ros.robots.profile import load_profile


def simulated(ros: Any, name: str, clock_node: Any = None) -> StandInRobot:
    robot = StandInRobot(ros, load_profile(name, simulated=True), clock_node)
    ros.start("action_node", profile=name, use_sim_time=True)
    return robot


def test_two_x5_arms_are_held_where_they_are_then_moved_and_never_left_without_commands(ros: Any) -> None:
    robot = simulated(ros, "arx_lift2_x5")
    left = robot.come_up("/joint_control")
    np.testing.assert_allclose(left[0].joint_pos, [*[0.1] * 6, 0.4, 0.0], atol=1e-6)

    def drive() -> None:
        robot.send_chunk({"left_joint1": 0.3, "left_gripper": 0.0})

    ros.until(lambda: robot.ask(SetMode.Request.POLICY).success, "the policy is let in", drive)
    ros.until(lambda: left[-1].joint_pos[0] > 0.29 and left[-1].joint_pos[6] < 0.01, "the left arm is moved", drive)
    right = robot.commands["/joint_control2"]
    np.testing.assert_allclose(right[-1].joint_pos[:6], [0.1] * 6, atol=1e-6)
    steps = np.abs(np.diff([m.joint_pos for m in left], axis=0))
    assert steps[:, :6].max() <= 3 * 5.5 / 60, "a few ticks may be lost on the way to the test"
    led = robot.profile.grippers[0].command.speed / 60
    assert steps[:, 6].max() <= 3 * led * 5.0 / 0.088 + 1e-6, "the gripper is led as well"
    ros.until(lambda: robot.status.mode == ControlStatus.FAULT, "silence of the policy is a fault")
    before = len(left), len(right)
    ros.spin(1.0)
    assert len(left) - before[0] > 20
    assert len(right) - before[1] > 20
    echo = robot.commands["joint_command"]
    assert list(echo[-1].name) == list(robot.profile.joints)


def test_gravity_compensation_is_asked_for_in_hold_and_hold_takes_the_arms_where_they_are_then(ros: Any) -> None:
    robot = simulated(ros, "arx_lift2_x5")
    asked = ros.collect(Int32MultiArray, "/arx_joy", COMMAND)
    left = robot.come_up("/joint_control")
    reply = robot.call("gravity_compensation")
    assert reply.success, reply.message
    ros.until(lambda: asked, "the request")
    assert list(asked[0].data) == [1, 0]
    ros.spin(0.3)
    count = len(left)
    robot.joints["left_joint2"] = 0.6  # by hand
    robot.raw["left_motor"] = 2.0
    ros.spin(0.5)
    assert len(left) == count, "a command may end the gravity compensation"
    assert "gravity compensation" in robot.status.reason
    assert "gravity compensation" in robot.ask(SetMode.Request.POLICY).message
    assert robot.ask(SetMode.Request.HOLD).success
    ros.until(lambda: len(left) > count + 5, "the arms are held again")
    assert left[count].joint_pos[1] == pytest.approx(0.6)
    assert left[count].joint_pos[6] == pytest.approx(2.0)


def test_genie_gets_both_arms_in_one_message_and_a_second_publisher_on_a_gripper_s_topic_is_a_fault(ros: Any) -> None:
    robot = simulated(ros, "genie1")
    arms = robot.come_up("/wbc/arm_command")
    assert list(arms[0].name) == list(robot.profile.joints)
    np.testing.assert_allclose(arms[0].position, [0.1] * 14, atol=1e-6)
    ros.until(lambda: robot.commands["/wbc/right_ee_command"], "the gripper is held as well")
    assert list(robot.commands["/wbc/right_ee_command"][-1].position) == pytest.approx([0.4])

    rival = ros.node.create_publisher(JointState, "/wbc/left_ee_command", COMMAND)
    ros.until(lambda: robot.status.mode == ControlStatus.FAULT, "a rival is a fault")
    assert robot.status.reason.startswith("/test/test publishes on the command topic")
    ros.node.destroy_publisher(rival)
    ros.until(lambda: robot.ask(SetMode.Request.HOLD).success, "the fault can be left")

    def drive() -> None:
        robot.send_chunk({"idx61_arm_r_joint1": 1.5})

    ros.until(lambda: robot.ask(SetMode.Request.POLICY).success, "the policy is let in", drive)
    ros.until(lambda: arms[-1].position[7] > 0.3, "the right arm is moved", drive)
    ros.until(lambda: robot.status.mode == ControlStatus.FAULT, "an arm that does not follow is a fault", drive)
    # The stand-in's arm stays at 0.1: a target further than 0.2618 rad from it would be refused.
    assert max(m.position[7] for m in arms) < 0.1 + 0.2618
    ros.until(lambda: "Nothing is sent" in robot.status.reason, "an arm that follows again may not set off by itself")
    ros.spin(0.3)
    count = len(arms)
    ros.spin(0.5)
    assert len(arms) == count
    assert "does not follow" in robot.status.reason
    assert robot.ask(SetMode.Request.HOLD).success
    ros.until(lambda: len(arms) > count + 5, "the arms are held again")
    np.testing.assert_allclose(arms[count].position, [0.1] * 14, atol=1e-6)


def test_a_simulation_s_values_move_nothing_whose_joint_state_does_not_come_with_the_clock(ros: Any) -> None:
    """As if use_sim_time were true beside a robot, and someone played a recording."""
    other = Node("player", context=ros.context, namespace="test")
    robot = simulated(ros, "arx_lift2_x5", clock_node=other)
    ros.until(lambda: "in a simulation only, and /test/test" in robot.said("robot"), "the reason is said")
    ros.spin(5.0)
    assert robot.commands["/joint_control"] == []
    assert "in a simulation only" in robot.ask(SetMode.Request.POLICY).message
    other.destroy_node()


def test_a_profile_that_is_open_does_not_run_on_a_robot(ros: Any) -> None:
    process = ros.start("action_node", profile="genie1")
    ros.until(lambda: process.poll() is not None, "the process ends")
    assert process.returncode == 2
    assert "is open: no source" in ros.log(process)


def test_a_missing_vendor_package_is_named_with_its_origin_before_anything_moves(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "WITHOUT_PACKAGE", "arm_control")
    process = ros.start(Path(__file__).with_name("without_package.py"), profile="arx_lift2_x5", use_sim_time=True)
    ros.until(lambda: process.poll() is not None, "the process ends")
    assert process.returncode == 2
    said = ros.log(process)
    assert "the package arm_control is not there" in said
    assert "ARXroboticsX" in said
    franka = ros.start(Path(__file__).with_name("without_package.py"), profile="franka_fr3")
    ros.spin(3.0)
    assert franka.poll() is None, "a robot that does not need it runs"


class Recovery:
    """franka_msgs' error recovery, and the robot's mode."""

    def __init__(self, ros: Any, profile: Any) -> None:
        self.mode, self.goals, self.works = 2, 0, True
        kind = interface("franka_msgs/msg/FrankaRobotState")
        publisher = ros.node.create_publisher(kind, profile.franka.state, COMMAND)
        ros.node.create_timer(0.03, lambda: publisher.publish(kind(robot_mode=self.mode)))
        self.action = interface("franka_msgs/action/ErrorRecovery")
        self.server = ActionServer(ros.node, self.action, profile.franka.recovery, self._execute)

    def _execute(self, goal: Any) -> Any:
        self.goals += 1
        if self.works:
            self.mode = 2
            goal.succeed()
        else:
            goal.abort()
        return self.action.Result()


def test_a_reflex_is_a_fault_that_is_named_and_left_after_a_recovery_by_request_where_the_arm_is_then(
    ros: Any,
) -> None:
    robot = StandInRobot(ros, load_profile("franka_fr3"))
    recovery = Recovery(ros, robot.profile)
    ros.start("action_node", profile="franka_fr3", use_sim_time=True)
    commands = robot.come_up("/target_joint")
    assert robot.call("recover").success, "harmless while nothing is wrong"
    assert "has been recovered" in robot.ask(SetMode.Request.POLICY).message
    assert robot.ask(SetMode.Request.HOLD).success
    recovery.mode = 4
    ros.until(lambda: robot.status.mode == ControlStatus.FAULT, "a reflex is a fault")
    assert robot.status.reason.endswith("stopped by a reflex.")
    ros.until(lambda: "stopped by a reflex" in robot.said("robot"), "it is said on /diagnostics")
    ros.spin(0.3)
    count, before = len(commands), recovery.goals
    robot.joints["fr3_joint2"] -= 0.3  # it sagged
    refused = robot.ask(SetMode.Request.HOLD)
    assert not refused.success
    assert "'recover'" in refused.message
    ros.spin(1.0)
    assert len(commands) == count, "nothing is sent to a robot that has stopped itself"
    assert recovery.goals == before, "nor is it recovered by itself"
    recovery.works = False
    assert "has not succeeded" in robot.call("recover").message
    recovery.works = True
    reply = robot.call("recover")
    assert reply.success, reply.message
    ros.until(lambda: robot.ask(SetMode.Request.HOLD).success, "the fault can be left")
    ros.until(lambda: len(commands) > count + 5, "the arm is commanded again")
    assert commands[count].position[1] == pytest.approx(robot.joints["fr3_joint2"], abs=1e-3)
    recovery.server.destroy()


def test_a_robot_of_one_yaml_made_by_questions_is_run_through_trajectories(ros: Any, tmp_path: Path) -> None:
    """Nothing but the profile knows this robot."""
    answers = {
        "arm_kind": "trajectory",
        "arm.joints": ["a", "b"],
        "arm.lower": -2.0, "arm.upper": 2.0, "arm.velocity": 1.0, "arm.acceleration": 2.0, "arm.jerk": 50.0,
        "arm.state": "/joint_states",
        "arm.command": "/arm_controller/joint_trajectory",
        "scale": 1.0,
        "max_tracking_error": 3.0,
        "silence": "stops",
    }  # fmt: skip
    (tmp_path / "answers.yaml").write_text(yaml.safe_dump(answers))
    path = tmp_path / "mine.yaml"
    assert main(["robot", "new", "mine", "--answers", str(tmp_path / "answers.yaml"), "--out", str(path)]) == 0
    robot = StandInRobot(ros, load_profile(path))
    ros.start("action_node", profile=str(path), use_sim_time=True)
    trajectories = robot.come_up("/arm_controller/joint_trajectory", count=3)
    first = trajectories[0]
    assert (to_ns(first.header.stamp), list(first.joint_names)) == (0, ["a", "b"])
    assert [list(point.positions) for point in first.points] == [pytest.approx([0.1, 0.1], abs=1e-6)]

    def drive() -> None:
        robot.send_chunk({"a": 0.8})

    ros.until(lambda: robot.ask(SetMode.Request.POLICY).success, "the policy is let in", drive)
    ros.until(lambda: trajectories[-1].points[-1].positions[0] > 0.7, "it is sent where the chunk leads", drive)
    longest = max(trajectories, key=lambda t: len(t.points))
    positions = np.array([point.positions for point in longest.points])
    velocities = np.array([point.velocities for point in longest.points])
    assert len(positions) > 8, "the whole of what remains, not its next step"
    assert np.abs(np.diff(positions, axis=0)).max() <= 1.0 * 0.05 + 1e-9
    assert np.abs(np.diff(velocities, axis=0)).max() <= 2.0 * 0.05 + 1e-9
    assert list(velocities[-1]) == [0.0, 0.0]
    assert [to_ns(point.time_from_start) for point in longest.points[:2]] == [50_000_000, 100_000_000]


def test_hardware_and_controller_are_switched_by_request_in_that_order_and_a_refusal_is_told(
    ros: Any, tmp_path: Path
) -> None:
    settings = yaml.safe_load(profile_path("franka_fr3").read_text())
    settings["franka"] |= {
        "manager": "/controller_manager", "hardware": "FrankaHardwareInterface",
        "controller": "joint_impedance_controller", "instead_of": ["gravity_compensation"],
    }  # fmt: skip
    path = tmp_path / "franka.yaml"
    path.write_text(yaml.safe_dump(settings))
    robot = StandInRobot(ros, load_profile(path))
    asked: list[Any] = []
    works = [True]

    def serve(kind: str, name: str) -> None:
        def answer(request: Any, response: Any) -> Any:
            asked.append(request)
            response.ok = works[0]
            return response

        ros.node.create_service(interface(f"controller_manager_msgs/srv/{kind}"), f"/controller_manager/{name}", answer)

    serve("SetHardwareComponentState", "set_hardware_component_state")
    serve("SwitchController", "switch_controller")
    ros.start("action_node", profile=str(path), use_sim_time=True)
    robot.come_up("/target_joint")
    reply = robot.call("enable")
    assert reply.success, reply.message
    hardware, controllers = asked
    assert (hardware.name, hardware.target_state.label) == ("FrankaHardwareInterface", "active")
    assert controllers.activate_controllers == ["joint_impedance_controller"]
    assert controllers.deactivate_controllers == ["gravity_compensation"]
    works[0] = False
    refused = robot.call("enable")
    assert not refused.success
    assert "set_hardware_component_state says that it could not" in refused.message
    assert len(asked) == 3, "what comes after it is not asked for"
    assert "nobody serves /action_server/error_recovery" in robot.call("recover").message
