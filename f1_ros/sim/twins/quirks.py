"""How the twins' robots take commands: what they refuse, hold, drop or stop at. Pure; the nodes bring the messages.

Each class keeps what a robot's own software would keep, and is asked once a tick. Times are simulated, in ns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from f1_ros.sim.kinematics import Array
from f1_ros.sim.twins.tables import TwinArm, TwinJoint

FEEDBACK_LIMIT = 0.2618
"""A target of Genie-1 farther than this from the feedback is refused, rad."""

WHEELS_SILENT_NS = 300_000_000
"""LIFT II's wheels stop after this much silence."""

WHEELS_BY_VELOCITY = 3
"""PosCmd's mode1 in which the wheels are driven."""

WHEEL_RADIUS, TRACK = 0.08, 0.56
"""The twin's own: no source gives LIFT II's wheels, m."""


class FeedbackRule:
    """Genie-1's arms: a target is followed as a whole or refused as a whole, and a refused one is counted.

    Args:
        start: (joints,) where the arms are, rad.

    Attributes:
        target: the last one that was followed, rad. It is kept in silence: no source says otherwise.
        refused: how many were not.
    """

    def __init__(self, start: Array) -> None:
        self.target, self.refused = np.array(start), 0

    def take(self, positions: Sequence[float], feedback: Array) -> bool:
        """Take a target; whether it is followed."""
        target = np.asarray(positions, dtype=np.float64)
        # So written that NaN fails. A message of another length is of another robot.
        near = target.shape == feedback.shape and bool((np.abs(target - feedback) <= FEEDBACK_LIMIT).all())
        if near:
            self.target = target
        else:
            self.refused += 1
        return near


class ArxArm:
    """An arm of LIFT II and its node, which has no watchdog: it keeps the last target for ever.

    In gravity compensation the arm goes where it is pushed, and takes no commands until it is sent home. No source
    says what ends it; on the robot, find out with the arm held.

    Args:
        arm: its table.
        start: (joints,) where it is, rad.
        width: opening of its gripper, m.
        motor_open: what the gripper's motor reads when it is open; 0 is closed.

    Attributes:
        target: rad.
        width: opening that the gripper goes to, m.
        mode: what it does.
        refused: commands with a number that is not finite.
    """

    def __init__(self, arm: TwinArm, start: Array, width: float, motor_open: float) -> None:
        self._arm, self._motor_open = arm, motor_open
        self._lower = np.array([j.lower for j in arm.joints])
        self._upper = np.array([j.upper for j in arm.joints])
        self.target, self.width = np.array(start), width
        self.mode: Literal["position", "gravity"] = "position"
        self.refused = 0

    def take(self, joint_pos: Sequence[float]) -> None:
        """Take a command: six joints, rad, then the gripper's motor; what comes after it is not looked at."""
        values = np.asarray(joint_pos, dtype=np.float64)[: len(self.target) + 1]
        if not np.isfinite(values).all():
            self.refused += 1
            return
        if self.mode == "position":
            self.target = np.clip(values[:-1], self._lower, self._upper)
            part = float(np.clip(values[-1] / self._motor_open, 0.0, 1.0))
            self.width = part * self._arm.gripper.open

    def request(self, data: Sequence[int]) -> None:
        """`/arx_joy`: [0] is 1 for gravity compensation, [1] is 1 for home."""
        if len(data) > 1 and data[1] == 1:
            self.mode, self.target = "position", np.zeros_like(self.target)
        elif len(data) > 0 and data[0] == 1:
            self.mode = "gravity"

    def tick(self, measured: Array) -> Array:
        """The joints that the motors hold in this tick, rad."""
        if self.mode == "gravity":
            self.target = np.array(measured)
        return self.target

    def motor(self, width: float) -> float:
        """What the gripper's motor reads at an opening (m)."""
        return width / self._arm.gripper.open * self._motor_open


class LiftBody:
    """LIFT II's lift and wheels, as `/body_control` drives them.

    Args:
        lift: the lift's joint.
        height: where it stands, m.

    Attributes:
        target: height that the lift goes to, m; kept in silence.
    """

    def __init__(self, lift: TwinJoint, height: float) -> None:
        self._lift = lift
        self._wheels = np.zeros(4)
        self._heard_ns: int | None = None
        self.target = self._height = height

    def take(self, height: float, temp_float_data: Sequence[float], mode1: int, now_ns: int) -> None:
        """Take a PosCmd's fields that count: chx, chy and chz do not."""
        if np.isfinite(height):
            self.target = float(np.clip(height, self._lift.lower, self._lift.upper))
        wheels = np.asarray(temp_float_data[1:5], dtype=np.float64)
        driven = mode1 == WHEELS_BY_VELOCITY and bool(np.isfinite(wheels).all())
        self._wheels, self._heard_ns = wheels if driven else np.zeros(4), now_ns

    def tick(self, tick_s: float) -> float:
        """The height that the lift's motor holds in this tick, m: it moves no faster than it can."""
        most = self._lift.velocity * tick_s
        self._height += float(np.clip(self.target - self._height, -most, most))
        return self._height

    def velocity(self, now_ns: int) -> Array:
        """Of the chassis: forward and left, m/s, and turning, rad/s.

        The wheels, front left, front right, rear left and rear right in rad/s, are taken as those of a cart without
        steering: which of the four is which, and what else they can do, no source says.
        """
        if self._heard_ns is None or now_ns - self._heard_ns > WHEELS_SILENT_NS:
            return np.zeros(3)
        left, right = WHEEL_RADIUS * self._wheels[[0, 2]].mean(), WHEEL_RADIUS * self._wheels[[1, 3]].mean()
        return np.array([(left + right) / 2, 0.0, (right - left) / TRACK])
