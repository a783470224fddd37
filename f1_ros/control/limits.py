"""The limiter: the last thing that every command passes, once a control tick.

Each joint follows its target with the time-optimal profile of the `ruckig` library within the limits of velocity,
acceleration and jerk, stretched to a whole tick where the target can be reached sooner: a target that moves within the
limits is met exactly at the end of each tick, with no lag. Joints are independent: a slow one holds no other back.

The profile is planned in a frame that moves with the target's velocity, where the target rests: a joint that cannot
meet it catches up with it. Planned in the robot's frame, to a point that must be passed at a given velocity, a joint
that is a hair too fast would brake, swing back and run up again.

Position limits are this module's own: a step is taken only if the arm can still stop inside the limits after it
(`stopping_range`); otherwise the joint brakes, which was possible a tick ago and so still is.

    limiter = Limiter(limits, period_s=0.01)
    limiter.reset(measured_position)                              before the first tick
    step = limiter.step(target_position, target_velocity)         every tick; send step.position
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from ruckig import InputParameter, OutputParameter, Result, Ruckig, RuckigError, Synchronization

from f1_ros.errors import LimitError

Array = NDArray[np.float64]

# A target counts as met within this distance (rad): far below any encoder, far above rounding.
_MET = 1e-9
# Part of the velocity limit that a target may have: catching up with one that is at the limit would take for ever.
_FASTEST_TARGET = 0.999


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
        refused: the target was NaN or infinity; the arm brakes instead.
    """

    position: Array
    velocity: Array
    acceleration: Array
    limited: bool
    refused: bool = False


def stopping_range(velocity: float, acceleration: float, max_acceleration: float, jerk: float) -> tuple[float, float]:
    """Lowest and highest displacement (rad) of one joint while it stops as fast as acceleration and jerk allow.

    The fastest stop ramps the acceleration to a peak, holds it, and ramps it back to 0 (three phases of constant
    jerk); the extremes are its end and, where the joint first moves the other way, its turning point.
    """
    sign = 1.0 if velocity + acceleration * abs(acceleration) / (2.0 * jerk) >= 0.0 else -1.0
    v, a = sign * velocity, sign * acceleration  # mirrored so that the stop needs negative acceleration
    turn = 0.0
    if v < 0.0:
        t = (a - math.sqrt(max(a * a + 2.0 * jerk * v, 0.0))) / jerk
        turn = t * (v + t * (a / 2.0 - t * jerk / 6.0))
    p = 0.0
    for duration, phase_jerk in _stop_phases(v, a, max_acceleration, jerk):
        p, v, a = _integrate(p, v, a, phase_jerk, duration)
    low, high = min(0.0, turn, p), max(0.0, turn, p)
    return (low, high) if sign > 0.0 else (-high, -low)


def braking_step(
    velocity: float, acceleration: float, max_acceleration: float, jerk: float, period_s: float
) -> tuple[float, float, float]:
    """Displacement (rad), velocity (rad/s) and acceleration (rad/s^2) after one tick of the fastest stop."""
    sign = 1.0 if velocity + acceleration * abs(acceleration) / (2.0 * jerk) >= 0.0 else -1.0
    p, v, a, left = 0.0, sign * velocity, sign * acceleration, period_s
    for duration, phase_jerk in _stop_phases(v, a, max_acceleration, jerk):
        if duration >= left:
            p, v, a = _integrate(p, v, a, phase_jerk, left)
            return sign * p, sign * v, sign * a
        p, v, a = _integrate(p, v, a, phase_jerk, duration)
        left -= duration
    return sign * p, 0.0, 0.0


class Limiter:
    """Keeps a stream of joint targets within `JointLimits`. Not thread-safe.

    Args:
        limits: the arm's limits.
        period_s: time between two calls of `step`, s.

    Raises:
        LimitError: if the period is not positive.
    """

    def __init__(self, limits: JointLimits, period_s: float) -> None:
        if not (math.isfinite(period_s) and period_s > 0.0):
            raise LimitError(f"The limiter's period is {period_s} s.", remedy="Give a positive control rate.")
        self.limits = limits
        self.period_s = period_s
        n = limits.joints
        self._lower, self._upper = np.array(limits.lower), np.array(limits.upper)
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
        self._position = np.zeros(n)
        self._velocity = np.zeros(n)
        self._acceleration = np.zeros(n)
        self._ready = False

    @property
    def position(self) -> Array:
        """Last position, (joints,) rad."""
        return self._position.copy()

    @property
    def velocity(self) -> Array:
        """Last velocity, (joints,) rad/s."""
        return self._velocity.copy()

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
        self._position, self._velocity, self._acceleration = p, v, np.zeros(self.limits.joints)
        self._ready = True

    def step(self, target_position: ArrayLike, target_velocity: ArrayLike | None = None) -> LimitedStep:
        """Move one tick towards where the arm is to be at the end of this tick.

        Args:
            target_position: (joints,) rad.
            target_velocity: (joints,) rad/s at the target; without it the arm stops at each target and lags behind
                a moving one.

        Returns:
            The new state; a NaN target is `refused` and brakes the arm.

        Raises:
            LimitError: on a wrong shape, or before `reset`.
        """
        self._check_ready()
        p = self._vector("target position", target_position)
        v = self._vector("target velocity", 0.0 * self._position if target_velocity is None else target_velocity)
        if not (np.isfinite(p).all() and np.isfinite(v).all()):
            return self._brake(refused=True)
        goal = np.clip(p, self._lower, self._upper)
        state = np.empty((3, self.limits.joints))
        for i in range(self.limits.joints):
            state[:, i] = self._step_joint(i, float(goal[i]), float(v[i]))
        self._position, self._velocity, self._acceleration = state
        return self._result(limited=bool(np.abs(self._position - p).max() > _MET))

    def brake(self) -> LimitedStep:
        """Move one tick of the fastest stop within acceleration and jerk limits; at rest, stay.

        Raises:
            LimitError: before `reset`.
        """
        self._check_ready()
        return self._brake(refused=False)

    def _step_joint(self, i: int, goal: float, speed: float) -> tuple[float, float, float]:
        limits = self.limits
        lower, upper, max_a, jerk = limits.lower[i], limits.upper[i], limits.acceleration[i], limits.jerk[i]
        p, v, a = float(self._position[i]), float(self._velocity[i]), float(self._acceleration[i])
        fastest = _FASTEST_TARGET * limits.velocity[i]
        speed = min(max(speed, -fastest), fastest)
        ample = _ample_stop(speed, 0.0, max_a, jerk)
        if goal - ample < lower or goal + ample > upper:
            # No faster through the target than what can stop between it and the limit.
            speed = max(speed, -_stoppable_speed(goal - lower, max_a, jerk))
            speed = min(speed, _stoppable_speed(upper - goal, max_a, jerk))
        floor = ceiling = None
        for target_speed in (speed, 0.0) if speed != 0.0 else (0.0,):
            planned = self._plan(i, (p, v, a), goal, target_speed)
            if planned is None:
                continue
            new_p, new_v, new_a = planned
            ample = _ample_stop(new_v, new_a, max_a, jerk)
            if lower <= new_p - ample and new_p + ample <= upper:  # most ticks: nowhere near a limit
                return planned
            if floor is None or ceiling is None:
                # A joint that was found outside may be no further out after the step than where it would stop now.
                low, high = stopping_range(v, a, max_a, jerk)
                floor, ceiling = min(lower, p + low), max(upper, p + high)
            low, high = stopping_range(new_v, new_a, max_a, jerk)
            if new_p + low >= floor and new_p + high <= ceiling:
                return planned
        shift, new_v, new_a = braking_step(v, a, max_a, jerk, self.period_s)
        return p + shift, new_v, new_a

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

    def _brake(self, refused: bool) -> LimitedStep:
        for i in range(self.limits.joints):
            shift, self._velocity[i], self._acceleration[i] = braking_step(
                float(self._velocity[i]),
                float(self._acceleration[i]),
                self.limits.acceleration[i],
                self.limits.jerk[i],
                self.period_s,
            )
            self._position[i] += shift
        return self._result(limited=refused, refused=refused)

    def _result(self, limited: bool, refused: bool = False) -> LimitedStep:
        return LimitedStep(
            self._position.copy(), self._velocity.copy(), self._acceleration.copy(), limited=limited, refused=refused
        )

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


def _stop_phases(v: float, a: float, max_acceleration: float, jerk: float) -> tuple[tuple[float, float], ...]:
    # (duration, jerk) of the fastest stop of a joint that needs negative acceleration: v + a|a|/2J >= 0.
    peak = math.sqrt(max(jerk * v + a * a / 2.0, 0.0))
    hold = 0.0
    if peak > max_acceleration:
        peak = max_acceleration
        hold = (v + a * a / (2.0 * jerk)) / peak - peak / jerk
    return (max(a + peak, 0.0) / jerk, -jerk), (max(hold, 0.0), 0.0), (peak / jerk, jerk)


def _integrate(p: float, v: float, a: float, jerk: float, t: float) -> tuple[float, float, float]:
    return p + t * (v + t * (a / 2.0 + t * jerk / 6.0)), v + t * (a + t * jerk / 2.0), a + t * jerk


def _ample_stop(velocity: float, acceleration: float, max_acceleration: float, jerk: float) -> float:
    # More than any stop takes, cheaply: its highest speed for longer than its three phases last.
    speed = abs(velocity) + acceleration * acceleration / (2.0 * jerk)
    return speed * (speed / max_acceleration + (abs(acceleration) + 2.0 * max_acceleration) / jerk)


def _stoppable_speed(distance: float, acceleration: float, jerk: float) -> float:
    # Largest speed that stops within a distance from zero acceleration; the inverse of the stop's length, which is
    # v (v/A + A/J) / 2 where the acceleration reaches its limit A (v >= A^2/J), and v sqrt(v/J) below.
    ramp = acceleration * acceleration / jerk
    speed = (-ramp + math.sqrt(ramp * ramp + 8.0 * acceleration * max(distance, 0.0))) / 2.0
    return speed if speed >= ramp else float(np.cbrt(max(distance, 0.0) ** 2 * jerk))
