"""The action node beside the simulated robot, in processes of their own: what reaches the robot and what does not."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from f1_msgs.msg import ActionChunk as ActionChunkMsg
from f1_msgs.msg import ControlStatus
from f1_msgs.srv import SetMode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from f1_ros.control.chunk import ActionChunk
from f1_ros.nodes.conversions import chunk_to_msg, to_ns
from f1_ros.nodes.qos import COMMAND, DIAGNOSTICS, SENSOR
from f1_ros.robots.profile import load_profile

FRANKA = load_profile("franka_fr3")
PERIOD_S = 0.01
STEP_NS = 50_000_000
ALL = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)


class Robot:
    """The running system as seen from outside."""

    def __init__(self, ros: Any, **action: Any) -> None:
        self.ros = ros
        self.states = ros.collect(JointState, "/franka/joint_states", SENSOR)
        self.commands = ros.collect(JointState, "/target_joint", ALL)
        self.statuses = ros.collect(ControlStatus, "/f1/status", COMMAND)
        self.diagnostics = ros.collect(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        self.chunks = ros.node.create_publisher(ActionChunkMsg, "/f1/action_chunk", COMMAND)
        self.leader = ros.node.create_publisher(JointState, "/f1/teleop/joint_command", SENSOR)
        self._sequence = 0
        self._chunk_ns = 0
        self.sim = ros.start("sim_node", cubes=False, image_width=96, image_height=96, camera_rate=1.0)
        self.action = ros.start("action_node", use_sim_time=True, **action)

    @property
    def status(self) -> ControlStatus:
        return self.statuses[-1]

    @property
    def measured(self) -> np.ndarray:
        return np.array(self.states[-1].position)

    @property
    def now_ns(self) -> int:
        return to_ns(self.states[-1].header.stamp)

    def come_up(self) -> None:
        self.ros.until(lambda: len(self.commands) > 20 and self.statuses and self.states, "the robot is commanded")

    def ask(self, mode: int) -> SetMode.Response:
        return self.ros.call(SetMode, "/f1/set_mode", SetMode.Request(mode=mode))

    def until_mode(self, mode: int, what: str, meanwhile: Any = None) -> None:
        self.ros.until(lambda: self.statuses and self.status.mode == mode, what, meanwhile)

    def send_chunk(self, velocity: float = 0.0, value: float | None = None) -> None:
        """A chunk from now on that turns joint 1 at `velocity` rad/s, at the rate of a policy; or all of `value`."""
        if not self.states or self.now_ns - self._chunk_ns < 2 * STEP_NS:
            return
        self._chunk_ns, start = self.now_ns, np.array([*self.measured, 0.08])
        self._sequence += 1
        positions = np.tile(start, (16, 1))
        positions[:, 0] += velocity * 0.05 * np.arange(1, 17)
        chunk = ActionChunk("franka", self.now_ns, self.now_ns + STEP_NS, STEP_NS, FRANKA.action_names, positions)
        message = chunk_to_msg(chunk, self._sequence, "test", "")
        if value is not None:
            for point in message.trajectory.points:
                point.positions = array("d", [value] * 8)
        self.chunks.publish(message)

    def send_leader(self, position: np.ndarray) -> None:
        message = JointState(name=[*FRANKA.action_names], position=array("d", [*position, 0.08]))
        message.header.stamp = self.states[-1].header.stamp
        self.leader.publish(message)

    def assert_within_limits(self) -> None:
        """No two commands in a row are further apart than the profile's velocity and acceleration allow."""
        stamps = np.array([to_ns(c.header.stamp) for c in self.commands]) * 1e-9
        positions = np.array([c.position for c in self.commands])
        limits = FRANKA.limits
        in_a_row = np.abs(np.diff(stamps) - PERIOD_S) < 0.2 * PERIOD_S  # a message may be lost on the way to the test
        steps = np.diff(positions, axis=0)
        assert in_a_row.sum() > 50
        assert (np.abs(steps[in_a_row]) <= np.array(limits.velocity) * PERIOD_S + 1e-9).all()
        turns = np.diff(steps, axis=0)[in_a_row[1:] & in_a_row[:-1]]
        assert np.abs(turns).max() <= 10.0 * PERIOD_S**2 + 1e-9


@pytest.fixture
def robot(ros: Any) -> Robot:
    return Robot(ros)


def test_hold_keeps_the_arm_where_it_is_from_the_first_command_on(robot: Robot) -> None:
    robot.come_up()
    first = np.array(robot.commands[0].position)
    np.testing.assert_allclose(first, robot.states[0].position, atol=0.01)
    assert list(robot.commands[0].name) == [f"fr3_joint{i}" for i in range(1, 8)]
    assert all(np.array_equal(command.position, first) for command in robot.commands)
    assert (robot.status.mode, robot.status.source) == (ControlStatus.HOLD, "hold")
    assert robot.status.period == pytest.approx(0.01)
    assert robot.ros.stop(robot.action) == 0


def test_chunks_move_the_arm_their_end_and_a_nan_are_faults_and_each_is_left_by_a_request(robot: Robot) -> None:
    robot.come_up()
    refused = robot.ask(SetMode.Request.POLICY)
    assert not refused.success
    assert "No usable action chunk" in refused.message

    begin = robot.measured[0]

    def drive() -> None:
        robot.send_chunk(velocity=0.4)

    robot.ros.until(lambda: robot.ask(SetMode.Request.POLICY).success, "the policy is let in", drive)
    robot.ros.until(lambda: robot.measured[0] > begin + 0.3, "the arm moves", drive)
    assert robot.status.chunks > 3
    assert robot.status.camera_to_command.nanosec > 0
    # Silence: the profile allows 1 s.
    robot.until_mode(ControlStatus.FAULT, "silence is a fault")
    assert robot.status.reason == "no usable action chunk for 1 s"
    assert robot.status.source == "hold"
    robot.ros.spin(0.5)
    assert np.ptp([c.position for c in robot.commands[-20:]], axis=0).max() < 1e-9

    assert robot.ask(SetMode.Request.POLICY).success is False
    assert robot.ask(SetMode.Request.HOLD).success
    robot.ros.until(
        lambda: robot.ask(SetMode.Request.POLICY).success, "the policy is let in again", lambda: robot.send_chunk(-0.4)
    )
    robot.until_mode(ControlStatus.POLICY, "the policy rules again", lambda: robot.send_chunk(-0.4))
    robot.until_mode(ControlStatus.FAULT, "NaN is a fault", lambda: robot.send_chunk(value=float("nan")))
    assert robot.status.reason == "Action chunk holds NaN or infinity."
    robot.ros.until(
        lambda: any("FAULT: Action chunk holds NaN" in s.message for a in robot.diagnostics for s in a.status),
        "the diagnosis",
    )
    robot.assert_within_limits()


def test_switching_while_the_arm_moves_makes_no_jump(robot: Robot) -> None:
    robot.come_up()
    target = robot.measured

    def both() -> None:
        """A policy that turns joint 1 one way, a leader that turns it the other way."""
        robot.send_chunk(velocity=0.8)
        target[0] -= 0.004
        robot.send_leader(target)

    moving = []
    robot.ros.until(lambda: robot.ask(SetMode.Request.POLICY).success, "the policy is let in", both)
    robot.until_mode(ControlStatus.POLICY, "the policy rules", both)
    for mode, name in ((1, "teleop"), (2, "policy"), (1, "teleop"), (0, "hold"), (2, "policy")):
        robot.ros.until(lambda: abs(robot.status.velocity[0]) > 0.2 or robot.status.mode == 0, "the arm moves", both)
        moving.append(abs(robot.status.velocity[0]))
        robot.ros.until(lambda mode=mode: robot.ask(mode).success, f"{name} is let in", both)
        robot.ros.until(lambda mode=mode: robot.status.mode == mode, f"{name} rules", both)
        target[:] = robot.measured
    assert sum(speed > 0.2 for speed in moving) >= 4
    robot.assert_within_limits()
    assert all(status.mode != ControlStatus.FAULT for status in robot.statuses)


def test_the_second_to_command_a_robot_stays_silent_until_it_is_alone(ros: Any) -> None:
    rival = ros.node.create_publisher(JointState, "/target_joint", COMMAND)
    robot = Robot(ros)
    ros.until(lambda: robot.statuses and robot.status.mode == ControlStatus.FAULT, "a rival is a fault")
    assert robot.status.reason == "/test/test already commands the robot."
    assert "/test/test" in robot.ask(SetMode.Request.HOLD).message
    assert robot.commands == []
    ros.node.destroy_publisher(rival)
    ros.until(lambda: robot.ask(SetMode.Request.HOLD).success, "the fault can be left")
    robot.come_up()


def test_without_a_robot_nothing_is_commanded_and_the_reason_is_said(ros: Any) -> None:
    commands = ros.collect(JointState, "/target_joint", ALL)
    statuses = ros.collect(ControlStatus, "/f1/status", COMMAND)
    process = ros.start("action_node")
    ros.until(lambda: len(statuses) > 20, "status without a robot")
    assert statuses[-1].reason == "waiting for the first joint state"
    assert "No joint state yet" in ros.call(SetMode, "/f1/set_mode", SetMode.Request(mode=2)).message
    assert "no mode 9" in ros.call(SetMode, "/f1/set_mode", SetMode.Request(mode=9)).message
    assert commands == []
    assert ros.stop(process) == 0


def test_a_wrong_profile_is_refused_with_its_remedy(ros: Any, tmp_path: Path) -> None:
    process = ros.start("action_node", profile="nobody")
    ros.until(lambda: process.poll() is not None, "the process ends")
    assert process.returncode == 2
    assert "There is no robot profile 'nobody'. Remedy: Give a name" in ros.log(process)
