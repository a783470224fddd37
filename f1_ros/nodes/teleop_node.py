"""Gamepad, SpaceMouse or keyboard as a teleoperation device: publishes joint targets as a leader arm would.

It runs by the stamps of the arm's joint states, so it keeps pace with any clock. Its target begins where the arm is
commanded to be, and nothing is sent while the deadman is not held, nor while no one says which mode is in force.
"""

from __future__ import annotations

import contextlib
import sys
import time
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from f1_msgs.msg import ControlStatus, Deadman
from f1_msgs.srv import SetMode
from geometry_msgs.msg import Twist
from numpy.typing import NDArray
from rclpy.task import Future
from sensor_msgs.msg import JointState, Joy

from f1_ros.control.arbiter import Mode
from f1_ros.errors import ConfigError, F1Error
from f1_ros.nodes.conversions import to_ns, to_time
from f1_ros.nodes.diagnostics import Diagnostics, Level
from f1_ros.nodes.lifecycle import ManagedNode, run
from f1_ros.nodes.parameters import PROFILE, NodeParameter
from f1_ros.nodes.polled import PolledSubscription
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.robots.profile import load_profile
from f1_ros.teleop.cartesian import CartesianTarget
from f1_ros.teleop.gripper import GripperTarget
from f1_ros.teleop.inputs import ButtonMap, Device, TeleopInput
from f1_ros.teleop.joystick import GAMEPAD_AXES, GAMEPAD_BUTTONS, SPACEMOUSE_BUTTONS, Gamepad, SpaceMouse, parse_axes
from f1_ros.teleop.keyboard import KEYS, Keyboard, Terminal

DEVICES = ("gamepad", "spacemouse", "keyboard")
SILENT_S = 0.5
"""Status and commands older than this say nothing about the arm any more."""
LONGEST_STEP_S = 0.1
"""After a longer gap between two joint states the twist counts for this long only."""


def refused_by(parse: Any) -> Any:
    """Make a parameter's check of a parser."""

    def check(text: str) -> str | None:
        try:
            parse(text) if text else None
        except F1Error as error:
            return str(error)
        return None

    return check


PARAMETERS = (
    PROFILE,
    NodeParameter(
        "device",
        "gamepad",
        "What the person moves: gamepad, spacemouse or keyboard.",
        check=lambda name: None if name in DEVICES else f"'{name}' is none of {', '.join(DEVICES)}.",
    ),
    NodeParameter("rate", 50.0, "Messages per second at most, Hz.", lower=5.0, upper=200.0),
    NodeParameter("linear_speed", 0.1, "Speed of the tool at full deflection, m/s.", lower=0.001, upper=1.0, live=True),
    NodeParameter(
        "angular_speed", 0.5, "Rotation rate of the tool at full deflection, rad/s.", lower=0.001, upper=3.0, live=True
    ),
    NodeParameter("joint_speed", 1.0, "Largest speed of a joint's target, rad/s.", lower=0.01, upper=5.0),
    NodeParameter("deadzone", 0.1, "Deflection that counts as none, of 1.", lower=0.0, upper=0.9),
    NodeParameter(
        "timeout",
        0.5,
        "Silence of gamepad or SpaceMouse after which it counts as let go of, s.",
        lower=0.02,
        upper=2.0,
    ),
    NodeParameter(
        "axes",
        "",
        "Of a gamepad: sign and number of the axes for x, y, z, roll, pitch, yaw, 0 for none; empty: an Xbox pad's, "
        f"{GAMEPAD_AXES}.",
        check=refused_by(parse_axes),
    ),
    NodeParameter(
        "buttons",
        "",
        "What the buttons do: deadman, open, close, toggle, hold, teleop, policy, correction, fault; empty: "
        f"{GAMEPAD_BUTTONS} for a gamepad, {SPACEMOUSE_BUTTONS} for a SpaceMouse.",
        check=refused_by(ButtonMap.parse),
    ),
    NodeParameter("terminal", "", "Of the keyboard: the terminal's device; empty: the process's own."),
)


class TeleopNode(ManagedNode):
    """A Cartesian teleoperation device; see docs/interfaces.md."""

    def __init__(self) -> None:
        """Create the node."""
        super().__init__("teleop_node", PARAMETERS)
        self._resources = contextlib.ExitStack()
        self._diagnostics: Diagnostics | None = None

    # -- life cycle ---------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        """Load the profile; its arm must have a chain."""
        self._profile = profile = load_profile(self.value("profile"))
        if len(profile.arms) != 1 or profile.arms[0].chain is None:
            raise ConfigError(
                f"Profile '{profile.name}' has not one arm with a kinematic chain.",
                remedy="Describe the arm's chain under 'kinematics', or use a leader arm.",
            )
        self._chain = profile.arms[0].chain
        self._diagnostics = Diagnostics(self, profile.name)
        self._leader = self.create_publisher(JointState, "teleop/joint_command", SENSOR)
        keyboard = self.value("device") == "keyboard"
        self._deadman = None if keyboard else self.create_publisher(Deadman, "teleop/deadman", COMMAND)
        self._set_mode = self.create_client(SetMode, "set_mode")

    def activate(self) -> None:
        """Open the device and subscribe."""
        arm, profile = self._profile.arms[0], self._profile
        self._terminal: Terminal | None = None
        self._device = self._open_device()
        self._target = CartesianTarget(self._chain, profile.limits, self.value("joint_speed"))
        self._grippers = {gripper.name: GripperTarget(gripper) for gripper in profile.grippers}
        self._status: ControlStatus | None = None
        self._status_s = self._commanded_s = -np.inf
        self._commanded: NDArray[np.float64] | None = None
        self._stamp_ns = 0
        self._statuses = self._polled(ControlStatus, "status")
        self._commands = self._polled(JointState, arm.command.topic)
        states = self.create_subscription(JointState, arm.state.topic, self._on_joint_state, SENSOR)
        self._resources.callback(self.destroy_subscription, states)

    def deactivate(self) -> None:
        """Fall silent, and give the device back."""
        self._resources.close()

    def cleanup(self) -> None:
        """Stop publishing."""
        if self._diagnostics is not None:
            self._diagnostics.close()
            self._diagnostics = None
            self.destroy_publisher(self._leader)
            self.destroy_client(self._set_mode)
            if self._deadman is not None:
                self.destroy_publisher(self._deadman)

    def _polled(self, kind: Any, topic: str) -> PolledSubscription[Any]:
        subscription: PolledSubscription[Any] = PolledSubscription(self, kind, topic, COMMAND)
        self._resources.callback(subscription.close)
        return subscription

    def _open_device(self) -> Device:
        deadzone, timeout_s, name = self.value("deadzone"), self.value("timeout"), self.value("device")
        if name == "keyboard":
            self._terminal = self._resources.enter_context(Terminal(self.value("terminal")))
            self.get_logger().info(f"Keys: {KEYS}.")
            return Keyboard()
        if name == "gamepad":
            axes = parse_axes(self.value("axes") or GAMEPAD_AXES)
            gamepad = Gamepad(axes, ButtonMap.parse(self.value("buttons") or GAMEPAD_BUTTONS), deadzone, timeout_s)
            self._listen(Joy, "/joy", lambda m: gamepad.on_joy(m.axes, m.buttons, time.monotonic()))
            return gamepad
        mouse = SpaceMouse(ButtonMap.parse(self.value("buttons") or SPACEMOUSE_BUTTONS), deadzone, timeout_s)
        self._listen(Joy, "/spacenav/joy", lambda m: mouse.on_joy(m.axes, m.buttons, time.monotonic()))
        self._listen(
            Twist,
            "/spacenav/twist",
            lambda m: mouse.on_twist(
                (m.linear.x, m.linear.y, m.linear.z), (m.angular.x, m.angular.y, m.angular.z), time.monotonic()
            ),
        )
        return mouse

    def _listen(self, kind: Any, topic: str, callback: Any) -> None:
        subscription = self.create_subscription(kind, topic, callback, SENSOR)
        self._resources.callback(self.destroy_subscription, subscription)

    # -- at each joint state ------------------------------------------------------------------------------------------

    def _on_joint_state(self, msg: JointState) -> None:
        measured = _named(msg, self._profile.joints)
        stamp_ns = to_ns(msg.header.stamp)
        dt_s = (stamp_ns - self._stamp_ns) * 1e-9
        if measured is None or 0.0 <= dt_s < 0.99 / float(self.value("rate")):
            return
        self._stamp_ns = stamp_ns
        now_s = time.monotonic()
        if self._terminal is not None and isinstance(self._device, Keyboard):
            for key in self._terminal.pressed():
                self._device.on_key(key, now_s)
        asked = self._device.read(now_s)
        if asked.asks is not None:
            self._ask(asked.asks)
        if self._deadman is not None:
            deadman = Deadman(held=bool(asked.held))
            deadman.header.stamp, deadman.header.frame_id = msg.header.stamp, self.value("device")
            self._deadman.publish(deadman)
        self._look(now_s)
        if asked.held is False or self._status is None:
            self._target.forget()
            return
        arm = self._commanded if self._commanded is not None else measured
        self._publish(asked, arm, min(max(dt_s, 0.0), LONGEST_STEP_S), self._status)

    def _look(self, now_s: float) -> None:
        """Take what the action node says; what it said long ago is forgotten."""
        if (status := self._statuses.newest()) is not None:
            self._status, self._status_s = status, now_s
        if (command := self._commands.newest()) is not None:
            self._commanded, self._commanded_s = _named(command, self._profile.joints), now_s
        if now_s - self._status_s > SILENT_S:
            self._status = None
        if now_s - self._commanded_s > SILENT_S:
            self._commanded = None

    def _publish(self, asked: TeleopInput, arm: NDArray[np.float64], dt_s: float, status: ControlStatus) -> None:
        followed = Mode(status.mode).follows_device if status.mode in set(Mode) else False
        scale = np.repeat([self.value("linear_speed"), self.value("angular_speed")], 3)
        joints = self._target.step(arm, asked.twist * scale, dt_s, followed=followed)
        names, positions = list(self._profile.joints), joints.tolist()
        for name, target in self._grippers.items():
            width = target.step(asked.gripper, _width(status, name), followed=followed)
            if width is not None:
                names.append(name)
                positions.append(width)
        message = JointState(name=names, position=array("d", positions))
        message.header.stamp = to_time(self._stamp_ns)
        self._leader.publish(message)

    def _ask(self, mode: Mode) -> None:
        if not self._set_mode.service_is_ready():
            self._answered(mode, None)
            return
        self._set_mode.call_async(SetMode.Request(mode=mode.value)).add_done_callback(
            lambda future: self._answered(mode, future)
        )

    def _answered(self, mode: Mode, future: Future | None) -> None:
        response = None if future is None else future.result()
        granted = response is not None and response.success
        message = "The action node does not answer." if response is None else response.message
        if self._diagnostics is not None:
            level = Level.OK if granted else Level.WARN
            self._diagnostics.set("device", level, f"{mode.name}, as asked." if granted else f"{mode.name}: {message}")


def _named(msg: JointState, joints: Sequence[str]) -> NDArray[np.float64] | None:
    """Positions of the joints, rad; None if one is missing or not finite."""
    values = dict(zip(msg.name, msg.position, strict=False))
    if any(joint not in values for joint in joints):
        return None
    positions = np.array([values[joint] for joint in joints])
    return positions if np.isfinite(positions).all() else None


def _width(status: ControlStatus, gripper: str) -> float | None:
    """Last commanded opening of a gripper, or where it is, m; None if neither is known."""
    for widths in (status.gripper_commanded, status.gripper_measured):
        for name, width in zip(status.gripper_names, widths, strict=False):
            if name == gripper and np.isfinite(width):
                return float(width)
    return None


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see docs/interfaces.md."""
    return run(lambda: [TeleopNode()], args)


if __name__ == "__main__":
    sys.exit(main())
