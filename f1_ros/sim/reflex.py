"""What stops a simulated Franka: a discontinuity in its targets, and a gripper to which goals are streamed.

Pure; `nodes/sim_node.py` and `nodes/sim_gripper.py` bring the messages. Times are simulated, in ns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from f1_ros.sim.kinematics import Array

STEP_ALLOWED = 0.05
"""A step of this much between two targets is no discontinuity yet, rad."""

VELOCITY_ALLOWED = 1.5
"""Nor is one that a joint makes at this many times its velocity limit in the time between them."""

_SHORTEST_NS, _LONGEST_NS = 10_000_000, 100_000_000

STREAMED_GOALS, STREAMED_NS = 5, 1_000_000_000
"""More goals than this within a second make the gripper hang. A goal takes it up to a second."""


class RobotMode(IntEnum):
    """`franka_msgs/FrankaRobotState.robot_mode`."""

    IDLE = 1
    MOVE = 2
    REFLEX = 4


class Reflex:
    """Follows targets until one of them jumps; then the arm stops where it is until error recovery.

    Libfranka stops at a jump in what it is commanded (`joint_motion_generator_velocity_discontinuity`). What a jump
    is after a controller such as crisp's has smoothed it depends on its gains: the thresholds here are the
    simulation's own, wide enough for a controlled robot on a busy computer, and far below a raw step between poses.

    Args:
        start: (joints,) where the arm is, rad.
        velocity: (joints,) velocity limits, rad/s.

    Attributes:
        target: what the arm is held at, rad.
        mode: MOVE, or REFLEX.
        count: reflexes so far.
    """

    def __init__(self, start: Array, velocity: Sequence[float]) -> None:
        self._velocity = np.array(velocity)
        self._stamp_ns: int | None = None
        self.target, self.mode, self.count = np.array(start), RobotMode.MOVE, 0

    def take(self, target: Array, stamp_ns: int, measured: Array) -> None:
        """Take a target (joints,) rad with its stamp; one that is not finite is not looked at."""
        if self.mode is RobotMode.REFLEX or not np.isfinite(target).all():
            return
        elapsed = 0 if self._stamp_ns is None else stamp_ns - self._stamp_ns
        elapsed = min(max(elapsed, _SHORTEST_NS), _LONGEST_NS)
        self._stamp_ns = stamp_ns
        allowed = STEP_ALLOWED + VELOCITY_ALLOWED * self._velocity * elapsed * 1e-9
        if (np.abs(target - self.target) > allowed).any():
            self.mode, self.target, self.count = RobotMode.REFLEX, np.array(measured), self.count + 1
        else:
            self.target = np.array(target)

    def recover(self, measured: Array) -> None:
        """Error recovery: the arm is held where it is, and follows again."""
        self.mode, self.target, self._stamp_ns = RobotMode.MOVE, np.array(measured), None


class GripperHang:
    """Tells when goals come so fast that the hand hangs: it then answers nothing until it is homed.

    Attributes:
        hangs: it does.
    """

    def __init__(self) -> None:
        self._goals: deque[int] = deque(maxlen=STREAMED_GOALS + 1)
        self.hangs = False

    def goal(self, now_ns: int) -> bool:
        """A goal has come; whether the hand hangs with it."""
        self._goals.append(now_ns)
        if len(self._goals) > STREAMED_GOALS and now_ns - self._goals[0] < STREAMED_NS:
            self.hangs = True
        return self.hangs

    def home(self) -> None:
        """The hand is homed: it answers again."""
        self._goals.clear()
        self.hangs = False
