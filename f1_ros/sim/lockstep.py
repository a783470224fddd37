"""Running the belt world in steps of 50 ms, faster than real time.

`StepDriver` brings one target per step to the world as the live system does: interpolated at 100 Hz and limited.
"""

from __future__ import annotations

import numpy as np

from f1_ros.control.limits import JointLimits, Limiter
from f1_ros.sim.kinematics import Array
from f1_ros.sim.world import BeltWorld

STEP_TICKS = 5
STEP_NS = 50_000_000
TICK_S = 0.01

FR3_LIMITS = JointLimits(
    lower=(-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
    upper=(2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
    velocity=(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
    acceleration=(10.0,) * 7,
    jerk=(5000.0,) * 7,
)
"""The FR3's own limits (franka_description): rad, rad/s, rad/s2, rad/s3."""

EXPERT_LIMITS = FR3_LIMITS.scaled(acceleration=0.75, jerk=0.1)
"""Limits of the demonstrated commands: a policy that imitates them then has room to catch up within the robot's own."""

_GAIN_PER_TICK = np.array(EXPERT_LIMITS.acceleration) * TICK_S


class StepDriver:
    """Brings one 8-number target per 50 ms to the world: linear in between, limited, at 100 Hz."""

    def __init__(self, world: BeltWorld) -> None:
        self._world = world
        self._limiter = Limiter(EXPERT_LIMITS, TICK_S)
        self._last = world.joint_positions

    def reset(self) -> None:
        """Start from where the arm is. Call it after the world's reset."""
        self._last = self._world.joint_positions
        self._limiter.reset(self._last)

    def step(self, target: Array) -> None:
        """Advance 50 ms; `target` (8,): arm joints at the end of the step, rad, and gripper width, m."""
        goal = np.array(target[:7])
        wanted = (goal - self._last) / (STEP_TICKS * TICK_S)
        for i in range(1, STEP_TICKS + 1):
            # Asked for a speed that it cannot have by then, the limiter would first run backwards to gain it.
            now = self._limiter.velocity
            slowest, fastest = np.minimum(now - _GAIN_PER_TICK, 0.0), np.maximum(now + _GAIN_PER_TICK, 0.0)
            point = self._last + (goal - self._last) * (i / STEP_TICKS)
            limited = self._limiter.step(point, np.clip(wanted, slowest, fastest))
            self._world.step(limited.position, float(target[7]))
        self._last = goal
