"""The fastest stop of a joint within its acceleration and jerk limits: how far it takes, and how to do it.

It ramps the acceleration to a peak, holds it, and ramps it back to 0: three phases of constant jerk. Begun anew at any
instant on the way, it is the rest of itself.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def stopping_range(velocity: float, acceleration: float, max_acceleration: float, jerk: float) -> tuple[float, float]:
    """Lowest and highest displacement (rad) of one joint while it stops as fast as acceleration and jerk allow.

    The extremes are the stop's end and, where the joint first moves the other way, its turning point.
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


def braking_path(
    position: Array, velocity: Array, acceleration: Array, max_acceleration: Array, jerk: Array, period_s: float
) -> Array:
    """Positions of all joints at every tick of the fastest stop, from now until the last of them is at rest.

    Args:
        position, velocity, acceleration: (joints,) rad, rad/s, rad/s^2.
        max_acceleration, jerk: (joints,) limits, rad/s^2, rad/s^3.
        period_s: time between two ticks, s.

    Returns:
        (ticks, joints) rad; the first row is `position`.
    """
    sign = np.where(velocity + acceleration * np.abs(acceleration) / (2.0 * jerk) >= 0.0, 1.0, -1.0)
    v, a = sign * velocity, sign * acceleration
    needed = np.sqrt(np.maximum(jerk * v + a * a / 2.0, 0.0))
    peak = np.minimum(needed, max_acceleration)
    rise = np.maximum(a + peak, 0.0) / jerk
    hold = np.where(
        needed > max_acceleration, np.maximum((v + a * a / (2.0 * jerk)) / max_acceleration - peak / jerk, 0.0), 0.0
    )
    fall = peak / jerk
    ticks = math.ceil(float((rise + hold + fall).max()) / period_s) + 1
    t = period_s * np.arange(ticks)[:, None]
    t1, t2, t3 = (np.clip(t - start, 0.0, span) for start, span in ((0.0, rise), (rise, hold), (rise + hold, fall)))
    moved = t1 * (v + t1 * (a / 2.0 - t1 * jerk / 6.0))
    v, a = v + t1 * (a - t1 * jerk / 2.0), a - t1 * jerk
    moved = moved + t2 * (v + t2 * a / 2.0)
    v = v + t2 * a
    moved = moved + t3 * (v + t3 * (a / 2.0 + t3 * jerk / 6.0))
    return np.asarray(position + sign * moved)


def ample_stop(velocity: float, acceleration: float, max_acceleration: float, jerk: float) -> float:
    """More than any stop takes (rad), cheaply: the stop's highest speed for longer than its three phases last."""
    speed = abs(velocity) + acceleration * acceleration / (2.0 * jerk)
    return speed * (speed / max_acceleration + (abs(acceleration) + 2.0 * max_acceleration) / jerk)


def stoppable_speed(distance: float, max_acceleration: float, jerk: float) -> float:
    """Largest speed (rad/s) that stops within a distance (rad) from zero acceleration.

    The inverse of the stop's length, which is v (v/A + A/J) / 2 where the acceleration reaches its limit A
    (v >= A^2/J), and v sqrt(v/J) below.
    """
    ramp = max_acceleration * max_acceleration / jerk
    speed = (-ramp + math.sqrt(ramp * ramp + 8.0 * max_acceleration * max(distance, 0.0))) / 2.0
    return speed if speed >= ramp else float(np.cbrt(max(distance, 0.0) ** 2 * jerk))


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
