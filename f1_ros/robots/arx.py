"""ARX: arms of X5, AC-one and single kind, lift and base, and what their nodes do on request.

Their messages have no names: an arm's six joints, then its gripper's motor. The arms' node has no watchdog, it keeps
the last target: the action node therefore sends one each tick for as long as it lives.
Sources: ARXroboticsX/ARX_X5, LIFT, ROS2_LIFT_Play, ROS2_AC-one_Play.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from f1_ros.robots.messages import ENCODERS, READERS, Encoder, Reader, Slots
from f1_ros.robots.parts import JOINT_CONTROL, POS_CMD, ROBOT_CMD, ROBOT_STATUS
from f1_ros.robots.profile import RobotProfile
from f1_ros.robots.ros import RosTransport
from f1_ros.robots.transport import Extra, Fields, Incoming, Message, Outgoing, Reading, RobotRequest, Stream, Targets

INT_ARRAY = "std_msgs/msg/Int32MultiArray"
LIFT = "lift"
MOTOR = 6
"""Index of the gripper's motor in the arms' arrays."""
_POSITION_MODE = 5  # RobotCmd.mode: joint positions
_WHEELS_MODE = 3  # PosCmd.mode1
_JOINT_CONTROL_SIZE, _ROBOT_STATUS_SIZE = 8, 7


class JointControlEncoder:
    """arm_control/JointControl, of which the driver uses joint_pos[0:7]."""

    def encode(self, slots: Slots, targets: Targets) -> Fields:
        """float32[8] joint_pos, joint_vel."""
        return {
            "joint_pos": _padded(slots.values(targets.position, targets.streamed), _JOINT_CONTROL_SIZE, np.float32),
            "joint_vel": _padded(slots.values(targets.velocity, None), _JOINT_CONTROL_SIZE, np.float32),
        }

    def place(self, row: int, name: str) -> str:
        """The entry of that index."""
        return f"joint_pos[{row}]"


class RobotStatusEncoder:
    """arx5_arm_msg/RobotStatus as the AC-one's node takes it."""

    def encode(self, slots: Slots, targets: Targets) -> Fields:
        """float64[7] joint_pos, joint_vel."""
        return {
            "joint_pos": _padded(slots.values(targets.position, targets.streamed), _ROBOT_STATUS_SIZE, np.float64),
            "joint_vel": _padded(slots.values(targets.velocity, None), _ROBOT_STATUS_SIZE, np.float64),
        }

    def place(self, row: int, name: str) -> str:
        """The entry of that index."""
        return f"joint_pos[{row}]"


class RobotCmdEncoder:
    """arx5_arm_msg/RobotCmd as a single arm's node takes it, in its mode for joint positions."""

    def encode(self, slots: Slots, targets: Targets) -> Fields:
        """float64[6] joint_pos, float64 gripper, mode 5."""
        values = slots.values(targets.position, targets.streamed)
        gripper = float(values[MOTOR]) if len(values) > MOTOR else 0.0
        return {"joint_pos": values[:MOTOR], "gripper": gripper, "mode": _POSITION_MODE}

    def place(self, row: int, name: str) -> str:
        """The entry of that index, or the gripper's own field."""
        return "gripper" if row == MOTOR else f"joint_pos[{row}]"


def read_robot_status(names: Sequence[str], message: Any) -> Reading:
    """Six joints (rad, rad/s) and, if the profile reads one from it, the gripper's motor."""
    return Reading(names, message.joint_pos[: len(names)], message.joint_vel[: len(names)])


def read_lift(names: Sequence[str], message: Any) -> Reading:
    """Height of the lift, m, of an arm_control/PosCmd."""
    return Reading((LIFT,), (message.height,))


class ArxTransport(RosTransport):
    """A `Transport` for ARX's robots."""

    encoders: Mapping[str, Encoder] = {
        **ENCODERS,
        JOINT_CONTROL: JointControlEncoder(),
        ROBOT_STATUS: RobotStatusEncoder(),
        ROBOT_CMD: RobotCmdEncoder(),
    }
    readers: Mapping[str, Reader] = {**READERS, ROBOT_STATUS: read_robot_status, POS_CMD: read_lift}

    def __init__(self, profile: RobotProfile) -> None:
        body = profile.body
        self._body = body if body is not None and body.commanded else None
        super().__init__(profile)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """See `Transport`: the lift goes with the grippers."""
        lift = () if self._body is None else (Stream(LIFT, self._body.speed, self._body.height),)
        return (*super().streams, *lift)

    def streamed(self, topic: str, reading: Reading) -> dict[str, float]:
        """See `Transport`."""
        if self._body is not None and topic == self._body.state:
            return {LIFT: float(reading.positions[0])}
        return super().streamed(topic, reading)

    def command_messages(self, targets: Targets) -> tuple[Message, ...]:
        """See `Transport`: lift and wheels beside the arms, if the profile has them commanded."""
        arms = super().command_messages(targets)
        if self._body is None or targets.path is not None:
            return arms
        extra = np.zeros(6)
        extra[0] = self._body.waist  # then four wheel velocities, which stay 0; chx, chy and chz are ignored
        fields = {
            "height": targets.streamed[LIFT],
            "temp_float_data": extra,
            "mode1": _WHEELS_MODE if self._body.wheels else 0,
        }
        return (*arms, Message(self._body.topic, fields))

    def extras(self) -> tuple[Extra, ...]:
        """See `Transport`: gravity compensation, in which the arms are moved by hand, and the vendor's own way home."""
        if self.profile.arx is None:
            return ()
        topic = self.profile.arx.requests

        def ask(what: str, *data: int) -> tuple[RobotRequest, ...]:
            return (RobotRequest(what, "topic", topic, INT_ARRAY, {"data": array("i", data)}),)

        return (
            Extra("gravity_compensation", ask("gravity compensation", 1, 0), "the arms are in gravity compensation"),
            Extra("home", ask("home", 0, 1), "the arms have been sent home by their own node"),
        )

    def _find_outgoing(self) -> tuple[Outgoing, ...]:
        return super()._find_outgoing() + (() if self._body is None else (Outgoing(self._body.topic, POS_CMD),))

    def _find_incoming(self) -> tuple[Incoming, ...]:
        lift = () if self._body is None else (Incoming(self._body.state, POS_CMD, joints=False),)
        return super()._find_incoming() + lift

    def _find_slots(self) -> dict[str, Slots]:
        return {out.topic: self._slots_of(out.topic) for out in self._outgoing if out.type != POS_CMD}


def _padded(values: np.ndarray[Any, Any], size: int, kind: type[Any]) -> np.ndarray[Any, Any]:
    out = np.zeros(size, dtype=kind)
    out[: len(values)] = values
    return out
