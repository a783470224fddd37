"""The box that an arm's tool must not leave, for the limiter: which steps keep it inside.

A step is allowed only if the arm can still stop inside the box after it. The fastest stop of all joints from a state is
one known path (`stopping.braking_path`), and its own ticks are what would be commanded, so it is enough that the tool
is inside at each of them: then either the next step is allowed as well, or the arm goes one tick along that path, whose
rest is inside. Between two ticks an arc bulges by r w^2 dt^2 / 8 at most: 0.1 mm at 1 m, 2.6 rad/s and 10 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from ruckig import InputParameter, OutputParameter, Result, Ruckig, RuckigError, Synchronization

from f1_ros.control.kinematics import Chain, Vector3
from f1_ros.control.stopping import braking_path
from f1_ros.errors import LimitError

Array = NDArray[np.float64]
State: TypeAlias = tuple[Array, Array, Array]
"""Position, velocity and acceleration of an arm's joints, each (joints,): rad, rad/s, rad/s^2."""

# Part of the velocity limits used near a wall, where the way that is quickest for each joint leads out.
_SLOWLY = 0.2
# Parts of the way to a target at which it is looked where it leaves the box; looked at twice, it is known to 1/256.
_SHARES = np.linspace(0.0, 1.0, 17)
# The slow way is planned so far ahead (rad), to a point that damped least squares draw in to so far from the wall
# (m): over so little an arc bulges by less than that, so that an arm at a wall is led off or along it.
_NEAR, _INSET = 0.05, 1e-3
_DRAW_STEPS, _DAMPING = 4, 0.01
_LEAST_SIDE = 0.02  # m


@dataclass(frozen=True)
class Workspace:
    """A box in the arm's base frame.

    Attributes:
        lower: lowest x, y and z, m.
        upper: highest x, y and z, m.
        elbow: the origins of the joints that can move (elbow, wrist) must be inside as well, not only the tool.

    Raises:
        LimitError: if the box is not finite or has no inside.
    """

    lower: Vector3
    upper: Vector3
    elbow: bool = False

    def __post_init__(self) -> None:
        low, high = np.array(self.lower), np.array(self.upper)
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (high - low >= _LEAST_SIDE).all()):
            raise LimitError(
                f"The workspace {list(self.lower)} .. {list(self.upper)} m has no inside.",
                remedy="Give a box in the base frame, lower below upper by 2 cm at least.",
            )


@dataclass(frozen=True)
class ArmWorkspace:
    """The box of one arm.

    Attributes:
        arm: name of the arm, for people.
        joints: which of the limiter's joints are the arm's, from its base on.
        chain: their kinematics.
        box: the box.
    """

    arm: str
    joints: slice
    chain: Chain
    box: Workspace

    def points(self, joints: Array) -> Array:
        """What must be inside: (..., joints) rad to (..., points, 3) m in the base frame, the tool last."""
        return self.chain.points(joints)[..., self._first :, :]

    def inside(self, joints: Array) -> NDArray[np.bool_]:
        """Whether the arm is inside its box, for many joint positions at once: (..., joints) rad to (...)."""
        points = self.points(joints)
        return np.asarray(((points >= self.box.lower) & (points <= self.box.upper)).all(axis=(-2, -1)))

    @cached_property
    def _first(self) -> int:
        # Origins that no joint can move are left out: a box need not hold the arm's base.
        return int(np.argmax(self.chain.movable)) if self.box.elbow else self.chain.joints


class WorkspaceLimit:
    """Judges steps of one arm. Not thread-safe.

    Args:
        workspace: the arm and its box.
        lower, upper: (joints,) position limits of the arm, rad.
        velocity, acceleration, jerk: (joints,) limits of the arm, rad/s, rad/s^2, rad/s^3.
        period_s: control period, s.

    Raises:
        LimitError: if chain and limits do not have the same number of joints.
    """

    def __init__(
        self,
        workspace: ArmWorkspace,
        lower: Sequence[float],
        upper: Sequence[float],
        velocity: Sequence[float],
        acceleration: Sequence[float],
        jerk: Sequence[float],
        period_s: float,
    ) -> None:
        self._chain, self.joints = workspace.chain, workspace.joints
        self._points, self._inside = workspace.points, workspace.inside
        if self._chain.joints != len(lower):
            raise LimitError(
                f"The chain of '{workspace.arm}' has {self._chain.joints} joints, the arm has {len(lower)}.",
                remedy="Describe every joint of the arm under 'kinematics'.",
            )
        self._lower, self._upper = np.array(workspace.box.lower), np.array(workspace.box.upper)
        self._acceleration, self._jerk = np.array(acceleration), np.array(jerk)
        self._period_s = period_s
        self._planner, self._output = Ruckig(len(lower), period_s), OutputParameter(len(lower))
        self._plan = plan = InputParameter(len(lower))
        plan.max_velocity = [_SLOWLY * v for v in velocity]
        plan.max_acceleration, plan.max_jerk = list(acceleration), list(jerk)
        plan.target_velocity = [0.0] * len(lower)
        plan.synchronization = Synchronization.Phase
        self._reach = self._chain.reach(np.maximum(np.abs(lower), np.abs(upper)))

    def allows(self, now: State, then: State) -> bool:
        """Whether the arm may go from one state to another in a tick: it can still stop inside the box after it.

        An arm that is outside, or cannot stop inside any more, may be no further out than on its fastest stop.

        Args:
            now, then: the states.
        """
        position, velocity, acceleration = then
        here = self._points(position)
        room = min((here - self._lower).min(), (self._upper - here).min())
        # More than any of the points moves in the stop; see `stopping.ample_stop`.
        speed = np.abs(velocity) + acceleration**2 / (2.0 * self._jerk)
        ample = speed * (speed / self._acceleration + (np.abs(acceleration) + 2.0 * self._acceleration) / self._jerk)
        if ample @ self._reach < room:  # most ticks: nowhere near a wall
            return True
        path = self._points(self._stop(then))
        low, high = path.min(axis=(0, 1)), path.max(axis=(0, 1))
        if (low >= self._lower).all() and (high <= self._upper).all():
            return True
        stop = self._points(self._stop(now))
        lower = np.minimum(self._lower, stop.min(axis=(0, 1)))
        upper = np.maximum(self._upper, stop.max(axis=(0, 1)))
        return bool((low >= lower).all() and (high <= upper).all())

    def straight(self, now: State, goal: Array) -> State | None:
        """One tick of the straight way in joints to rest at a goal (joints,), slowly; None if there is no such plan.

        Its end is a little way off and inside. Straight from rest; an arm in motion is led onto it, all joints arriving
        together.
        """
        plan, way = self._plan, goal - now[0]
        goal = self._nearest_inside(now[0] + way * min(1.0, _NEAR / max(float(np.abs(way).max()), 1e-9)))
        plan.current_position, plan.current_velocity, plan.current_acceleration = now
        plan.target_position = goal
        try:
            if self._planner.update(plan, self._output) not in (Result.Working, Result.Finished):
                return None
        except RuckigError:
            return None
        out = self._output
        return np.array(out.new_position), np.array(out.new_velocity), np.array(out.new_acceleration)

    def cut(self, goal: Array, now: State) -> Array:
        """A target outside the box, drawn back along the straight way in joints; one inside, as it is.

        The way from where the arm would stop is cut off where it leaves the box. The arm does not slide along the wall
        towards a target behind it: held by a wall, it goes nowhere that nobody asked for.

        Args:
            goal: (joints,) rad.
            now: the arm's state.
        """
        if self._inside(goal):
            return goal
        start = self._stop(now)[-1]
        if not self._inside(start):  # found outside, or too fast: whatever is no further out
            return goal
        for _ in range(2):
            way = start + _SHARES[:, None] * (goal - start)
            out = int(np.argmin(self._inside(way)))
            start, goal = way[out - 1], way[out]
        return np.asarray(start)

    def _nearest_inside(self, goal: Array) -> Array:
        for _ in range(_DRAW_STEPS):
            tool = self._chain.points(goal)[-1]
            gap = np.clip(tool, self._lower + _INSET, self._upper - _INSET) - tool
            if not gap.any():
                break
            J = self._chain.jacobian(goal)[:3]
            goal = goal + J.T @ np.linalg.solve(J @ J.T + _DAMPING**2 * np.eye(3), gap)
        return goal

    def _stop(self, state: State) -> Array:
        return braking_path(*state, self._acceleration, self._jerk, self._period_s)
