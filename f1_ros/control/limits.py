"""The limiter: the last thing that every command passes, once a control tick.

Each joint follows its target with the time-optimal profile of the `ruckig` library within the limits of velocity,
acceleration and jerk, stretched to a whole tick where the target can be reached sooner: a target that moves within the
limits is met exactly at the end of each tick, with no lag. Joints are independent: a slow one holds no other back.

The profile is planned in a frame that moves with the target's velocity, where the target rests: a joint that cannot
meet it catches up with it. Planned in the robot's frame, to a point that must be passed at a given velocity, a joint
that is a hair too fast would brake, swing back and run up again.

Position limits are this module's own: a step is taken only if the arm can still stop inside the limits after it
(`stopping`); otherwise the joint brakes, which was possible a tick ago and so still is. The box that the tool must not
leave is kept in the same way (`workspace`), and so is the distance from the measured joint: a command goes no further
ahead of it than `lead`, nor so fast that it could not stop there if the joint did as fast as it can.

    limiter = Limiter(limits, period_s=0.01)
    limiter.reset(measured_position)                              before the first tick
    step = limiter.step(target_position, target_velocity)         every tick; send step.position
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from ruckig import InputParameter, OutputParameter, Result, Ruckig, RuckigError, Synchronization

from f1_ros.control.stopping import ample_stop, braking_step, stoppable_speed, stopping_range
from f1_ros.control.workspace import ArmWorkspace, State, WorkspaceLimit
from f1_ros.errors import LimitError

Array = NDArray[np.float64]

# A target counts as met within this distance (rad): far below any encoder, far above rounding.
_MET = 1e-9
# Part of the velocity limit that a target may have: catching up with one that is at the limit would take for ever.
_FASTEST_TARGET = 0.999
# A command waits for its joint from this part of the lead on.
_AT_LEAD = 0.95
# Ticks for which an arm that its workspace held goes on slowly.
_WARY_TICKS = 20


@dataclass(frozen=True)
class JointLimits:
    """Limits of each joint, in the order of the arm's joints.

    Attributes:
        lower: lowest position, rad (m for a prismatic joint).
        upper: highest position, rad.
        velocity: largest speed, rad/s.
        acceleration: largest acceleration, rad/s^2.
        jerk: largest jerk, rad/s^3.

    Raises:
        LimitError: if lengths differ, a value is not finite, limits are crossed, or a rate is not positive.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    velocity: tuple[float, ...]
    acceleration: tuple[float, ...]
    jerk: tuple[float, ...]

    def __post_init__(self) -> None:
        n = len(self.lower)
        for name in ("lower", "upper", "velocity", "acceleration", "jerk"):
            values = getattr(self, name)
            if len(values) != n or n == 0:
                raise LimitError(
                    f"Joint limits: {name} has {len(values)} values, lower has {n}.",
                    remedy="Give every limit for every joint.",
                )
            if not all(math.isfinite(v) for v in values):
                raise LimitError(f"Joint limits: {name} = {values} is not finite.", remedy="Give finite limits.")
            if name in ("velocity", "acceleration", "jerk") and min(values) <= 0.0:
                raise LimitError(f"Joint limits: {name} = {values} is not positive.", remedy="Give positive limits.")
        for i, (low, high) in enumerate(zip(self.lower, self.upper, strict=True)):
            if low >= high:
                raise LimitError(
                    f"Joint limits of joint {i} are crossed: lower {low} >= upper {high}.",
                    remedy="Give a lower limit below the upper one.",
                )

    @property
    def joints(self) -> int:
        """Number of joints."""
        return len(self.lower)

    def scaled(self, velocity: float = 1.0, acceleration: float = 1.0, jerk: float = 1.0) -> JointLimits:
        """The same position limits with slower rates; factors in (0, 1]."""
        for name, factor in (("velocity", velocity), ("acceleration", acceleration), ("jerk", jerk)):
            if not 0.0 < factor <= 1.0:
                raise LimitError(f"The {name} scale is {factor}.", remedy="Give a scale above 0 and at most 1.")
        return JointLimits(
            self.lower,
            self.upper,
            tuple(v * velocity for v in self.velocity),
            tuple(a * acceleration for a in self.acceleration),
            tuple(j * jerk for j in self.jerk),
        )


@dataclass(frozen=True)
class LimitedStep:
    """The state that the arm is to have at the end of the tick.

    Attributes:
        position: (joints,) rad.
        velocity: (joints,) rad/s.
        acceleration: (joints,) rad/s^2.
        limited: the position is not the one that was asked for: a limit held it back.
        refused: the target or the measured state was NaN or infinity; the arm brakes instead.
        by_workspace: the workspace was what held it back.
        by_lead: the measured joint was too far behind: the command waits for it.
    """

    position: Array
    velocity: Array
    acceleration: Array
    limited: bool
    refused: bool = False
    by_workspace: bool = False
    by_lead: bool = False


class Limiter:
    """Keeps a stream of joint targets within the limits. Not thread-safe.

    Args:
        limits: the arm's limits.
        period_s: time between two calls of `step`, s.
        lead: largest distance of the command from the measured joint, rad; None: `step` is given no measurement.
        workspaces: boxes that arms' tools must not leave.

    Raises:
        LimitError: if the period or the lead is not positive, or a workspace's chain is not that of its joints.
    """

    def __init__(
        self,
        limits: JointLimits,
        period_s: float,
        lead: float | None = None,
        workspaces: Sequence[ArmWorkspace] = (),
    ) -> None:
        if not (math.isfinite(period_s) and period_s > 0.0):
            raise LimitError(f"The limiter's period is {period_s} s.", remedy="Give a positive control rate.")
        if lead is not None and not (math.isfinite(lead) and lead > 0.0):
            raise LimitError(f"The limiter's lead is {lead} rad.", remedy="Give a positive distance.")
        self.limits = limits
        self.period_s = period_s
        n = limits.joints
        self._lower, self._upper = np.array(limits.lower), np.array(limits.upper)
        self._velocity_limit, self._acceleration_limit = np.array(limits.velocity), np.array(limits.acceleration)
        self._lead = lead
        self._workspaces = [
            WorkspaceLimit(
                w,
                limits.lower[w.joints],
                limits.upper[w.joints],
                limits.velocity[w.joints],
                limits.acceleration[w.joints],
                limits.jerk[w.joints],
                period_s,
            )
            for w in workspaces
        ]
        # One planner a joint: only a planner of one joint keeps to `minimum_duration` without tying joints together.
        self._planner = Ruckig(1, period_s)
        self._output = OutputParameter(1)
        self._inputs = [InputParameter(1) for _ in range(n)]
        for i, joint in enumerate(self._inputs):
            joint.target_velocity = [0.0]
            joint.max_acceleration = [limits.acceleration[i]]
            joint.max_jerk = [limits.jerk[i]]
            joint.synchronization = Synchronization.Time
            joint.minimum_duration = period_s
        self._state: Array = np.zeros((3, n))  # position, velocity, acceleration
        self._wary: dict[WorkspaceLimit, int] = {}
        self._ready = False

    @property
    def position(self) -> Array:
        """Last position, (joints,) rad."""
        return np.array(self._state[0])

    @property
    def velocity(self) -> Array:
        """Last velocity, (joints,) rad/s."""
        return np.array(self._state[1])

    def reset(self, position: ArrayLike, velocity: ArrayLike | None = None) -> None:
        """Start from a state of the arm: (joints,) rad and rad/s (0 if not given).

        A position outside the limits is accepted, since an arm can be found there; it may only move back inside.

        Raises:
            LimitError: on a wrong shape, NaN or infinity.
        """
        p = self._vector("position", position)
        v = self._vector("velocity", 0.0 * p if velocity is None else velocity)
        if not (np.isfinite(p).all() and np.isfinite(v).all()):
            raise LimitError(
                f"The limiter cannot start from position {p.tolist()}, velocity {v.tolist()}.",
                remedy="Check the robot's joint state topic: it holds NaN or infinity.",
            )
        self._state = np.stack([p, v, np.zeros_like(p)])
        self._ready = True

    def step(
        self,
        target_position: ArrayLike,
        target_velocity: ArrayLike | None = None,
        measured: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> LimitedStep:
        """Move one tick towards where the arm is to be at the end of this tick.

        Args:
            target_position: (joints,) rad.
            target_velocity: (joints,) rad/s at the target; without it the arm stops at each target and lags behind
                a moving one.
            measured: position and velocity of the joints now, each (joints,), rad and rad/s: the command keeps within
                `lead` of them.

        Returns:
            The new state; a NaN target is `refused` and brakes the arm.

        Raises:
            LimitError: on a wrong shape, or before `reset`.
        """
        self._check_ready()
        p = self._vector("target position", target_position)
        v = self._vector("target velocity", 0.0 * p if target_velocity is None else target_velocity)
        goal = np.clip(p, self._lower, self._upper)
        lower, upper, q, beyond, by_lead = self._lower, self._upper, goal, np.zeros(len(goal), dtype=bool), False
        finite = np.isfinite(p).all() and np.isfinite(v).all()
        if measured is not None and self._lead is not None:
            q, rate = self._vector("measured position", measured[0]), self._vector("measured velocity", measured[1])
            finite = finite and np.isfinite(q).all() and np.isfinite(rate).all()
            if finite:
                near, lower, upper = self._led(q, rate, goal)
                beyond, goal = np.abs(near - goal) > _MET, near
        if not finite:
            return self._brake(refused=True)
        by_workspace = False
        for workspace in self._workspaces:
            cut = workspace.cut(goal[workspace.joints], self._part(self._state, workspace.joints))
            if (cut != goal[workspace.joints]).any():
                goal[workspace.joints], v[workspace.joints], by_workspace = cut, 0.0, True
        state = np.empty_like(self._state)
        for i in range(self.limits.joints):
            state[:, i], waits = self._step_joint(i, float(goal[i]), float(v[i]), float(lower[i]), float(upper[i]))
            by_lead = by_lead or waits
        by_workspace = self._keep_inside(state, goal, lower, upper) or by_workspace
        self._state = state
        # A target too far ahead holds nothing back before the command is nearly there.
        by_lead = by_lead or bool((beyond & (np.abs(state[0] - q) > _AT_LEAD * (self._lead or 0.0))).any())
        limited = bool(np.abs(state[0] - p).max() > _MET)
        return self._result(limited=limited, by_workspace=by_workspace, by_lead=by_lead)

    def brake(self) -> LimitedStep:
        """Move one tick of the fastest stop within acceleration and jerk limits; at rest, stay.

        Raises:
            LimitError: before `reset`.
        """
        self._check_ready()
        return self._brake(refused=False)

    def _led(self, measured: Array, rate: Array, goal: Array) -> tuple[Array, Array, Array]:
        # The goal no further than the lead from the measured joint; and the positions between which the command must
        # be able to stop: no further than the lead from where the joint itself can, whichever way it goes.
        assert self._lead is not None
        at = np.clip(measured, self._lower, self._upper)
        rate = np.clip(rate, -self._velocity_limit, self._velocity_limit)
        stop = rate * np.abs(rate) / (2.0 * self._acceleration_limit)
        near = np.clip(goal, at - self._lead, at + self._lead)
        lower = np.maximum(self._lower, at + stop - self._lead)
        upper = np.minimum(self._upper, at + stop + self._lead)
        return near, lower, upper

    def _step_joint(
        self, i: int, goal: float, speed: float, lower: float, upper: float
    ) -> tuple[tuple[float, float, float], bool]:
        # The joint's new state, and whether it brakes since it would get too far ahead of the measured one.
        limits = self.limits
        max_a, jerk = limits.acceleration[i], limits.jerk[i]
        p, v, a = (float(value) for value in self._state[:, i])
        fastest = _FASTEST_TARGET * limits.velocity[i]
        speed = min(max(speed, -fastest), fastest)
        ample = ample_stop(speed, 0.0, max_a, jerk)
        if goal - ample < lower or goal + ample > upper:
            # No faster through the target than what can stop between it and the limit.
            speed = max(speed, -stoppable_speed(goal - lower, max_a, jerk))
            speed = min(speed, stoppable_speed(upper - goal, max_a, jerk))
        floor = ceiling = None
        waits = False
        for target_speed in (speed, 0.0) if speed != 0.0 else (0.0,):
            planned = self._plan(i, (p, v, a), goal, target_speed)
            if planned is None:
                continue
            new_p, new_v, new_a = planned
            ample = ample_stop(new_v, new_a, max_a, jerk)
            if lower <= new_p - ample and new_p + ample <= upper:  # most ticks: nowhere near a limit
                return planned, False
            if floor is None or ceiling is None:
                # A joint that was found outside may be no further out after the step than where it would stop now.
                low, high = stopping_range(v, a, max_a, jerk)
                floor, ceiling = min(lower, p + low), max(upper, p + high)
            low, high = stopping_range(new_v, new_a, max_a, jerk)
            if new_p + low >= floor and new_p + high <= ceiling:
                return planned, False
            waits = limits.lower[i] <= new_p + low and new_p + high <= limits.upper[i]
        return self._braked(i), waits

    def _keep_inside(self, state: Array, goal: Array, lower: Array, upper: Array) -> bool:
        # An arm that could not stop inside its workspace any more after this step takes the straight way in joints,
        # slowly, for some ticks (trying the quick one in each would have it tremble); where that leads out, it brakes.
        held = False
        for workspace in self._workspaces:
            joints = workspace.joints
            now = self._part(self._state, joints)
            wary = self._wary.get(workspace, 0)
            if not wary and workspace.allows(now, self._part(state, joints)):
                continue
            held = True
            self._wary[workspace] = wary - 1 if wary else _WARY_TICKS
            slow = workspace.straight(now, goal[joints])
            if slow and self._can_stop(slow, lower[joints], upper[joints], joints) and workspace.allows(now, slow):
                state[:, joints] = slow
            else:
                for i in range(*joints.indices(self.limits.joints)):
                    state[:, i] = self._braked(i)
        return held

    def _can_stop(self, state: State, lower: Array, upper: Array, joints: slice) -> bool:
        limits = zip(self.limits.acceleration[joints], self.limits.jerk[joints], strict=True)
        ranges = [stopping_range(v, a, *limit) for v, a, limit in zip(state[1], state[2], limits, strict=True)]
        low, high = np.array(ranges).T
        return bool((state[0] + low >= lower).all() and (state[0] + high <= upper).all())

    @staticmethod
    def _part(state: Array, joints: slice) -> State:
        position, velocity, acceleration = state[:, joints]
        return position, velocity, acceleration

    def _plan(
        self, i: int, state: tuple[float, float, float], goal: float, speed: float
    ) -> tuple[float, float, float] | None:
        joint, limit, shift = self._inputs[i], self.limits.velocity[i], speed * self.period_s
        position, velocity, acceleration = state
        joint.min_velocity, joint.max_velocity = [-limit - speed], [limit - speed]
        joint.current_position, joint.current_velocity = [position], [velocity - speed]
        joint.current_acceleration = [acceleration]
        joint.target_position = [goal - shift]
        try:
            result = self._planner.update(joint, self._output)
        except RuckigError:  # seen about once in 50 000 ticks at a jerk of 20 rad/s^3, never at a Franka's
            return None
        if result not in (Result.Working, Result.Finished):
            return None
        out = self._output
        return out.new_position[0] + shift, out.new_velocity[0] + speed, out.new_acceleration[0]

    def _braked(self, i: int) -> tuple[float, float, float]:
        limits = self.limits
        p, v, a = (float(value) for value in self._state[:, i])
        shift, v, a = braking_step(v, a, limits.acceleration[i], limits.jerk[i], self.period_s)
        return p + shift, v, a

    def _brake(self, refused: bool) -> LimitedStep:
        self._state = np.array([self._braked(i) for i in range(self.limits.joints)]).T
        return self._result(limited=refused, refused=refused)

    def _result(
        self, limited: bool, refused: bool = False, by_workspace: bool = False, by_lead: bool = False
    ) -> LimitedStep:
        position, velocity, acceleration = self._state.copy()
        return LimitedStep(position, velocity, acceleration, limited, refused, by_workspace, by_lead)

    def _vector(self, name: str, values: ArrayLike) -> Array:
        vector = np.array(values, dtype=np.float64)
        if vector.shape != (self.limits.joints,):
            raise LimitError(
                f"The limiter got a {name} of shape {vector.shape}, expected ({self.limits.joints},).",
                remedy="Give one value for each joint of the profile, in its order.",
            )
        return vector

    def _check_ready(self) -> None:
        if not self._ready:
            raise LimitError(
                "The limiter does not know where the arm is.", remedy="Call reset with the measured joint positions."
            )
