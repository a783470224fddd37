"""How a twin's messages look on the wire: one class a robot, between the twin node's loop and ROS.

A port subscribes to what its robot takes and publishes what its robot says, at the robot's rates; what the robot makes
of a command is `f1_ros.sim.twins.quirks`. All but `close` is called in the physics' thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Bool, Int32MultiArray

from f1_ros.errors import ConfigError, SimulationError
from f1_ros.nodes.conversions import image_to_msg
from f1_ros.nodes.interfaces import interface
from f1_ros.nodes.polled import PolledSubscription
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.sim.camera import Picture
from f1_ros.sim.kinematics import Array
from f1_ros.sim.twins.genie1 import Genie1World
from f1_ros.sim.twins.lift2 import Lift2World
from f1_ros.sim.twins.quirks import ArxArm, FeedbackRule, LiftBody
from f1_ros.sim.twins.world import TwinWorld

COMMANDS = QoSProfile(depth=10)
"""What robots listen with: reliable, so a best-effort publisher is not heard."""

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TICK_S = 0.01
_JPEG_QUALITY = 95


class Port(Protocol):
    """A robot's topics."""

    cameras: dict[str, str]
    """Topic of each of the world's cameras."""

    state_hz: float
    """Rate of the measured joints."""

    def drive(self, now_ns: int) -> None:
        """Take what has been commanded, and step the world by a tick."""
        ...

    def publish(self, stamp: Any) -> None:
        """Publish the measured state."""
        ...

    def publish_picture(self, camera: str, picture: Picture, stamp_ns: int) -> None:
        """Publish a picture; called in the renderer's thread."""
        ...

    def refused(self) -> int:
        """Commands that the robot did not follow, since the start."""
        ...

    def close(self) -> None:
        """Give back what belongs to ROS."""
        ...


@dataclass(frozen=True)
class GripperUnits:
    """What Genie-1's grippers say and take; public clients do not agree on it.

    Attributes:
        reads: what the state says when closed and when open.
        takes: what the command says to close and to open.

    Raises:
        ConfigError: if one of them is the same for both.
    """

    reads: tuple[float, float]
    takes: tuple[float, float]

    def __post_init__(self) -> None:
        """Refuse what has no stroke."""
        for what, (closed, open_) in (("reads", self.reads), ("takes", self.takes)):
            if closed == open_:
                raise ConfigError(
                    f"A gripper {what} the same open and closed.", remedy="Give two different values of its unit."
                )

    def reading(self, part: Array) -> Array:
        """What the state says at a part of the opening, 0 to 1."""
        return self.reads[0] + part * (self.reads[1] - self.reads[0])

    def part(self, command: Array) -> Array:
        """Part of the opening, 0 to 1, that a command asks for."""
        return np.clip((command - self.takes[0]) / (self.takes[1] - self.takes[0]), 0.0, 1.0)


class _Topics:
    """What all ports have in common: a node's endpoints, given back together, and pictures."""

    codec: tuple[str, str, Sequence[int]] = (".jpg", "jpeg", (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
    """Of compressed pictures: OpenCV's name, the message's, and OpenCV's settings."""

    def __init__(self, node: Node, picture: type, cameras: dict[str, str]) -> None:
        self._node, self.cameras = node, cameras
        self._publishers: list[Any] = []
        self._subscriptions: list[PolledSubscription[Any]] = []
        self._compressed = picture is CompressedImage
        self._cameras = {name: self._talk(picture, topic, SENSOR) for name, topic in cameras.items()}

    def _talk(self, kind: type, topic: str, qos: QoSProfile = COMMAND) -> Any:
        publisher = self._node.create_publisher(kind, topic, qos)
        self._publishers.append(publisher)
        return publisher

    def _hear(self, kind: type, topic: str, qos: QoSProfile = COMMANDS) -> PolledSubscription[Any]:
        subscription: PolledSubscription[Any] = PolledSubscription(self._node, kind, topic, qos)
        self._subscriptions.append(subscription)
        return subscription

    def publish_picture(self, camera: str, picture: Picture, stamp_ns: int) -> None:
        """See `Port.publish_picture`."""
        message = image_to_msg(picture, stamp_ns, camera)
        if self._compressed:
            suffix, kind, settings = self.codec
            done, data = cv2.imencode(suffix, picture[:, :, ::-1], settings)
            if not done:
                raise SimulationError("A picture could not be compressed.", remedy="Reinstall opencv.")
            message = CompressedImage(header=message.header, format=kind, data=data.tobytes())
        self._cameras[camera].publish(message)

    def close(self) -> None:
        """See `Port.close`."""
        for subscription in self._subscriptions:
            subscription.close()
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)


class Genie1Port(_Topics):
    """Genie-1's own topics.

    Args:
        node: the node.
        world: the twin.
        units: of its grippers.
    """

    state_hz = 50.0

    def __init__(self, node: Node, world: Genie1World, units: GripperUnits) -> None:
        """See the class."""
        super().__init__(node, Image, {name: f"/camera/{name}_color" for name in world.cameras})
        self._world, self._units = world, units
        self._rule = FeedbackRule(world.joint_positions)
        self._widths = world.gripper_widths
        self._largest = np.array([arm.gripper.open for arm in world.robot.arms])
        self._arms = self._hear(JointState, "/wbc/arm_command")
        self._hands = [self._hear(JointState, f"/wbc/{side}_ee_command") for side in ("left", "right")]
        self._states = self._talk(JointState, "/hal/arm_joint_state")
        self._end_state, self._motor_state = (interface(f"genie_msgs/msg/{n}") for n in ("EndState", "MotorState"))
        self._ends = [self._talk(self._end_state, f"/hal/{side}_ee_data") for side in ("left", "right")]
        self._controlled = [False, False]

    def drive(self, now_ns: int) -> None:
        """See `Port.drive`. Every target is looked at: of two publishers each has its way in turn."""
        world = self._world
        while (taken := self._arms.take()) is not None:
            self._rule.take(taken[0].position, world.joint_positions)
        for index, hand in enumerate(self._hands):
            message = hand.newest()
            if message is not None and len(message.position) == 1 and np.isfinite(message.position[0]):
                self._controlled[index] = True
                self._widths[index] = self._units.part(np.array(message.position))[0] * self._largest[index]
        world.step(self._rule.target, self._widths)

    def publish(self, stamp: Any) -> None:
        """See `Port.publish`."""
        world = self._world
        arms = JointState(
            name=list(world.robot.joint_names),
            position=world.joint_positions.tolist(),
            velocity=world.joint_velocities.tolist(),
        )
        arms.header.stamp = stamp
        self._states.publish(arms)
        readings = self._units.reading(world.gripper_widths / self._largest)
        for publisher, controlled, reading in zip(self._ends, self._controlled, readings, strict=True):
            message = self._end_state(controlled=controlled)
            message.end_state = [self._motor_state(enable=True, position=float(reading))]
            message.header.stamp = stamp
            publisher.publish(message)

    def refused(self) -> int:
        """See `Port.refused`."""
        return self._rule.refused


class GenieSimPort(_Topics):
    """The topics of AgiBot's own simulator (genie_sim), with the same robot behind them; grippers in its messages."""

    state_hz = 30.0
    codec = (".png", "png", ())

    def __init__(self, node: Node, world: Genie1World, units: GripperUnits) -> None:
        """See `Genie1Port`."""
        names = dict(zip(world.cameras, ("head", "left_wrist", "right_wrist"), strict=True))
        super().__init__(node, CompressedImage, {camera: f"/sim/{name}_img" for camera, name in names.items()})
        self._world, self._units = world, units
        self._rule = FeedbackRule(world.joint_positions)
        self._widths = world.gripper_widths
        self._largest = np.array([arm.gripper.open for arm in world.robot.arms])
        self._names = [n for arm in world.robot.arms for n in (*(j.name for j in arm.joints), arm.gripper.joint)]
        self._targets = self._hear(JointState, "/sim/target_joint_state", LATCHED)
        self._starts = self._hear(Bool, "/sim/infer_start")
        self._states = self._talk(JointState, "/joint_states")
        self._malformed = 0

    def drive(self, now_ns: int) -> None:
        """See `Port.drive`. `/sim/infer_start` false lays the task out anew, as the simulator does."""
        world = self._world
        start = self._starts.newest()
        if start is not None and not start.data:
            world.next_task()
        while (taken := self._targets.take()) is not None:
            values = np.array(taken[0].position)
            if values.shape != (len(self._names),) or not np.isfinite(values).all():
                self._malformed += 1
                continue
            joints, grippers = world.split(values)
            if self._rule.take(joints.tolist(), world.joint_positions):
                self._widths = self._units.part(grippers) * self._largest
        world.step(self._rule.target, self._widths)

    def publish(self, stamp: Any) -> None:
        """See `Port.publish`."""
        world = self._world
        readings = self._units.reading(world.gripper_widths / self._largest)
        state = JointState(name=self._names, position=world.join(world.joint_positions, readings).tolist())
        state.velocity = world.join(world.joint_velocities, np.zeros(2)).tolist()
        state.header.stamp = stamp
        self._states.publish(state)

    def refused(self) -> int:
        """See `Port.refused`."""
        return self._rule.refused + self._malformed


class Lift2Port(_Topics):
    """LIFT II's topics, with X5 arms or AC-one arms.

    Args:
        node: the node.
        world: the twin. With AC-one arms it is the same one: no source gives theirs.
        ac_one: the arms take and give RobotStatus, and their grippers read negative when open.
    """

    state_hz = 100.0

    def __init__(self, node: Node, world: Lift2World, *, ac_one: bool) -> None:
        """See the class."""
        topics = {name: f"/camera/{name}/color/image_rect_raw/compressed" for name in world.cameras}
        super().__init__(node, CompressedImage, topics)
        self._world = world
        joints = self._split(world.joint_positions)
        control, self._pos_cmd = (interface(f"arm_control/msg/{n}") for n in ("JointControl", "PosCmd"))
        self._status = interface("arx5_arm_msg/msg/RobotStatus")
        motor_open = -3.4 if ac_one else 5.0
        self._arms = [
            ArxArm(arm, here, float(width), motor_open)
            for arm, here, width in zip(world.robot.arms, joints, world.gripper_widths, strict=True)
        ]
        if ac_one:
            self._commands = [self._hear(self._status, f"/arm_master_{side}_status") for side in ("l", "r")]
            self._states = [self._talk(self._status, f"/arm_slave_{side}_status") for side in ("l", "r")]
        else:
            self._commands = [self._hear(control, f"/joint_control{suffix}") for suffix in ("", "2")]
            self._states = [self._talk(self._status, f"/joint_information{suffix}") for suffix in ("", "2")]
        self._joy = self._hear(Int32MultiArray, "/arx_joy")
        self._body_commands = self._hear(self._pos_cmd, "/body_control")
        self._body_states = self._talk(self._pos_cmd, "/body_information")
        self._body = LiftBody(world.robot.body[0], float(world.body_positions[0]))

    def drive(self, now_ns: int) -> None:
        """See `Port.drive`."""
        world = self._world
        request = self._joy.newest()
        targets, widths = [], []
        measured = self._split(world.joint_positions)
        for arm, commands, here in zip(self._arms, self._commands, measured, strict=True):
            if request is not None:
                arm.request(request.data)
            while (taken := commands.take()) is not None:
                arm.take(taken[0].joint_pos)
            targets.append(arm.tick(here))
            widths.append(arm.width)
        body = self._body_commands.newest()
        if body is not None:
            self._body.take(body.height, body.temp_float_data, body.mode1, now_ns)
        world.set_body(np.array([self._body.tick(TICK_S)]))
        world.base_velocity = self._body.velocity(now_ns)
        world.step(np.concatenate(targets), np.array(widths))

    def publish(self, stamp: Any) -> None:
        """See `Port.publish`."""
        world = self._world
        positions, velocities = self._split(world.joint_positions), self._split(world.joint_velocities)
        for index, (arm, publisher) in enumerate(zip(self._arms, self._states, strict=True)):
            message = self._status()  # end_pos stays 0: no source says in which frame it is
            message.header.stamp = stamp
            message.joint_pos = [*positions[index].tolist(), arm.motor(float(world.gripper_widths[index]))]
            message.joint_vel = [*velocities[index].tolist(), 0.0]
            publisher.publish(message)
        self._body_states.publish(self._pos_cmd(height=float(world.body_positions[0])))

    def refused(self) -> int:
        """See `Port.refused`."""
        return sum(arm.refused for arm in self._arms)

    def _split(self, joints: Array) -> list[Array]:
        return np.split(joints, len(self._world.robot.arms))


VARIANTS = {"genie1": ("robot", "simulator"), "arx_lift2": ("x5", "ac_one")}
"""What a world's robot may speak, by the world's name; the first one unless another is asked for."""


def open_port(node: Node, world: TwinWorld, variant: str, units: GripperUnits) -> Port:
    """The port of a world.

    Args:
        node: the node.
        world: the twin.
        variant: one of `VARIANTS`; empty: its first.
        units: of Genie-1's grippers.

    Raises:
        ConfigError: on another variant.
    """
    variants = VARIANTS[world.config.world]
    if variant not in ("", *variants):
        raise ConfigError(
            f"World {world.config.world} has no variant '{variant}'.", remedy=f"Give one of {', '.join(variants)}."
        )
    if isinstance(world, Genie1World):
        kind = GenieSimPort if variant == "simulator" else Genie1Port
        return kind(node, world, units)
    assert isinstance(world, Lift2World)
    return Lift2Port(node, world, ac_one=variant == "ac_one")
