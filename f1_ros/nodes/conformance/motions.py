"""What the leader arm of `f1-ros robot conformance` does: where every joint is to be, over time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Motion = Callable[[float], Array]


def still(position: Array) -> Motion:
    """Stand there, (joints,) rad."""
    return lambda _: position


def ramp(start: Array, end: Array, speed: float) -> tuple[Motion, float]:
    """Go from a position to another, slowly at both ends.

    Args:
        start: (joints,) rad.
        end: (joints,) rad.
        speed: of the fastest joint in the middle, rad/s.

    Returns:
        The motion, and how long it takes, s.
    """
    lasts_s = max(1.5 * float(np.abs(end - start).max()) / speed, 0.2)

    def at(passed_s: float) -> Array:
        s = min(max(passed_s / lasts_s, 0.0), 1.0)
        return start + s * s * (3.0 - 2.0 * s) * (end - start)

    return at, lasts_s


def swing(anchor: Array, joint: int, speed: float, period_s: float) -> Motion:
    """Swing a joint to and fro around a position, from rest, at `speed` rad/s at most."""
    amplitude = speed * period_s / (2.0 * math.pi)

    def at(passed_s: float) -> Array:
        position = anchor.copy()
        grown = min(1.0, passed_s / period_s)
        position[joint] += grown * amplitude * math.sin(2.0 * math.pi * passed_s / period_s)
        return position

    return at


def nan_at(motion: Motion, joint: int) -> Motion:
    """The same with NaN for a joint."""

    def at(passed_s: float) -> Array:
        position = motion(passed_s).copy()
        position[joint] = math.nan
        return position

    return at
