"""Teleoperation devices beside the simulated robot, in processes of their own: from the driver's message to the arm."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from f1_msgs.msg import ControlStatus
from geometry_msgs.msg import Twist, Vector3
from sensor_msgs.msg import JointState, Joy

from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.robots.profile import load_profile

PROFILE = load_profile("franka_fr3")
CHAIN = PROFILE.arms[0].chain
LB, A, START = 4, 0, 7


class Robot:
    """The simulated arm, the action node and the device's node, as seen from outside."""

    def __init__(self, ros: Any, **device: Any) -> None:
        self.ros = ros
        self.statuses = ros.collect(ControlStatus, "/f1/status", COMMAND)
        self.leader = ros.collect(JointState, "/f1/teleop/joint_command", SENSOR)
        ros.start("sim_node", cubes=False, camera_rate=1.0)
        ros.start("action_node", use_sim_time=True)
        self.teleop = ros.start("teleop_node", **device)

    @property
    def status(self) -> ControlStatus:
        return self.statuses[-1]

    @property
    def tool(self) -> np.ndarray:
        assert CHAIN is not None
        return CHAIN.pose(self.status.commanded)[0]

    def until_mode(self, mode: int, what: str, meanwhile: Callable[[], None] | None = None) -> None:
        self.ros.until(lambda: self.statuses and self.status.mode == mode, what, meanwhile)

    def until_commanded(self) -> None:
        self.ros.until(lambda: self.statuses and self.status.ticks > 20 and self.status.reason == "holding", "it holds")


def test_a_gamepad_moves_the_arm_while_its_deadman_is_held_and_letting_go_holds_it(ros: Any) -> None:
    robot = Robot(ros, device="gamepad")
    joy = ros.node.create_publisher(Joy, "/joy", COMMAND)
    robot.until_commanded()

    def hold(*buttons: int, forward: float = 0.0) -> Callable[[], None]:
        pressed = [int(i in buttons) for i in range(11)]
        return lambda: joy.publish(Joy(axes=[0.0, forward, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0], buttons=pressed))

    for _ in range(20):  # a mode can be asked for, but without the deadman it is not given
        hold(START)()
        ros.spin(0.02)
        hold()()
        ros.spin(0.02)
    assert robot.status.mode == ControlStatus.HOLD
    assert not robot.leader

    ros.until(lambda: robot.leader, "with the deadman held, targets come", hold(LB))
    robot.until_mode(ControlStatus.TELEOP, "start asks for TELEOP", hold(LB, START))
    ros.until(lambda: robot.status.mode == ControlStatus.TELEOP and not robot.status.reason, "it is aligned", hold(LB))
    begin = robot.tool
    ros.until(lambda: robot.tool[0] > begin[0] + 0.05, "the tool goes forward", hold(LB, forward=1.0))
    assert np.abs(robot.tool - begin)[1:].max() < 0.02
    ros.until(lambda: robot.status.gripper_commanded[0] == 0.0, "the gripper closes", hold(LB, A, forward=1.0))

    hold(forward=1.0)()
    robot.until_mode(ControlStatus.HOLD, "letting go holds", hold(forward=1.0))
    assert robot.status.mode_event == "the deadman is released"
    assert ros.stop(robot.teleop) == 0


def test_a_gamepad_that_is_unplugged_has_been_let_go_of(ros: Any) -> None:
    robot = Robot(ros, device="gamepad")
    joy = ros.node.create_publisher(Joy, "/joy", COMMAND)
    robot.until_commanded()

    def hold(*buttons: int) -> Callable[[], None]:
        pressed = [int(i in buttons) for i in range(11)]
        return lambda: joy.publish(Joy(axes=[0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0], buttons=pressed))

    ros.until(lambda: robot.leader, "targets come", hold(LB))
    robot.until_mode(ControlStatus.TELEOP, "TELEOP", hold(LB, START))
    robot.until_mode(ControlStatus.HOLD, "silence of the driver holds")
    assert robot.status.mode_event == "the deadman is released"


def test_a_spacemouse_moves_the_arm(ros: Any) -> None:
    robot = Robot(ros, device="spacemouse", buttons="deadman=0 teleop=1")
    twists = ros.node.create_publisher(Twist, "/spacenav/twist", COMMAND)
    joy = ros.node.create_publisher(Joy, "/spacenav/joy", COMMAND)
    robot.until_commanded()

    def hold(*buttons: int, up: float = 0.0) -> Callable[[], None]:
        def send() -> None:
            joy.publish(Joy(buttons=list(buttons)))
            twists.publish(Twist(linear=Vector3(z=up)))

        return send

    ros.until(lambda: robot.leader, "targets come", hold(1, 0))
    robot.until_mode(ControlStatus.TELEOP, "the second button asks for TELEOP", hold(1, 1))
    begin = robot.tool
    ros.until(lambda: robot.tool[2] > begin[2] + 0.03, "the tool goes up", hold(1, 0, up=1.0))


def test_the_keyboard_of_a_terminal_moves_the_arm_and_asks_for_modes(ros: Any) -> None:
    ours, theirs = os.openpty()
    try:
        robot = Robot(ros, device="keyboard", terminal=os.ttyname(theirs))
        robot.until_commanded()
        ros.until(lambda: robot.leader, "targets come")

        def press(key: str) -> Callable[[], None]:
            return lambda: os.write(ours, key.encode()) and None

        robot.until_mode(ControlStatus.TELEOP, "t asks for TELEOP", press("t"))
        ros.spin(0.5)
        begin = robot.tool
        ros.until(lambda: robot.tool[1] > begin[1] + 0.03, "a moves it to the left", press("a"))
        robot.until_mode(ControlStatus.HOLD, "space holds", press(" "))
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"device": "mouse"}, "'mouse' is none of gamepad, spacemouse, keyboard"),
        ({"buttons": "close=1"}, "No button is the deadman"),
        ({"device": "keyboard", "terminal": "/dev/null"}, "cannot be used as a terminal"),
    ],
)
def test_settings_that_make_no_sense_end_the_node_with_a_remedy(ros: Any, given: dict[str, Any], words: str) -> None:
    process = ros.start("teleop_node", **given)
    ros.until(lambda: process.poll() is not None, "the process ends")
    assert process.returncode == 2
    assert words in ros.log(process)
    assert "Remedy" in ros.log(process)
