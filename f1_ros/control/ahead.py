"""The plan from the last command on, limited, for robots that take trajectories instead of one target a tick."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.command import Command
from f1_ros.control.controller import Controller
from f1_ros.control.limits import LimitedStep, Limiter

Array = NDArray[np.float64]

STEP_S = 0.05
"""Time between two points of a trajectory, s: that of a policy's steps."""
_AT_REST = 1e-6  # rad/s
_COASTS = 2  # steps for which the arm goes on as a device leads it
_LONGEST_STOP_S = 2.0


class Ahead:
    """Runs a limiter of its own through what is planned, and then to rest. Not thread-safe.

    Each path begins at a command, with its position and velocity, so that one goes on from the path before. Between
    two commands the limiter's acceleration is not handed over: its first step may turn by the acceleration limit.

    Args:
        controller: what plans.
        rate_hz: how often a path is due, Hz.
        step_s: time between two points, s.
        horizon_s: how far it looks, s; then the arm brakes, should nothing newer come.
    """

    def __init__(self, controller: Controller, rate_hz: float, step_s: float = STEP_S, horizon_s: float = 1.0) -> None:
        self._controller = controller
        self.step_s = step_s
        self._every = max(1, round(1e9 / (rate_hz * controller.period_ns)))
        self._left = 0
        self._steps = max(1, round(horizon_s / step_s))
        profile = controller.profile
        self._limiter = Limiter(profile.limits, step_s, None, profile.workspaces)

    def due(self) -> bool:
        """Whether a path is due in this tick; called once in each, from the first that is sent on."""
        self._left = (self._left or self._every) - 1
        return self._left == self._every - 1

    def path(self, command: Command, now_ns: int) -> Array:
        """(n, 2, joints) position (rad) and velocity (rad/s) after each step from the end of this tick on; n >= 1.

        In POLICY it follows the plan. Where a device is followed, nobody knows what it will do: the arm goes on for
        two steps and brakes, unless another path comes. Otherwise it brakes, and stays.

        Args:
            command: this tick's command, for the end of the tick.
            now_ns: the tick's time, ns.
        """
        limiter, start_ns = self._limiter, now_ns + self._controller.period_ns
        limiter.reset(command.position, command.velocity)
        planned = self._steps if self._controller.target_at(start_ns) is not None else 0
        if command.mode.follows_device:
            planned = _COASTS
        points = []
        for i in range(1, planned + round(_LONGEST_STOP_S / self.step_s)):
            step = self._step(command, start_ns, i, planned)
            points.append((step.position, step.velocity))
            if i >= planned and np.abs(step.velocity).max() <= _AT_REST:
                break
        return np.array(points)

    def _step(self, command: Command, start_ns: int, i: int, planned: int) -> LimitedStep:
        if i > planned:
            return self._limiter.brake()
        if command.mode.follows_device:
            return self._limiter.step(command.position + command.velocity * i * self.step_s, command.velocity)
        target = self._controller.target_at(start_ns + round(i * self.step_s * 1e9))
        return self._limiter.brake() if target is None else self._limiter.step(*target)
