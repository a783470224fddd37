"""A velocity-continuous way from where the arm is onto a reference that starts elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Blend:
    """An offset that is added to a reference, and that a cubic takes from its start to 0 within `duration_s`.

    Attributes:
        start_ns: when it starts, ns.
        offset: (joints,) arm minus reference at the start, rad.
        rate: (joints,) velocity of arm minus that of reference at the start, rad/s.
        duration_s: time until it is gone, s.
    """

    start_ns: int
    offset: Array
    rate: Array
    duration_s: float

    @classmethod
    def within(cls, start_ns: int, offset: Array, rate: Array, *, least_s: float, acceleration: float) -> Blend:
        """A blend of at least `least_s`, longer where it would add more than `acceleration` (rad/s^2).

        The cubic's acceleration is largest at its start, 6 offset / T^2 + 4 rate / T: each term may use half.
        """
        duration_s = max(
            least_s,
            math.sqrt(12.0 * float(np.abs(offset).max()) / acceleration),
            8.0 * float(np.abs(rate).max()) / acceleration,
        )
        return cls(start_ns, offset, rate, duration_s)

    def at(self, now_ns: int) -> tuple[Array, Array]:
        """What to add to the reference's position (rad) and velocity (rad/s)."""
        s = max((now_ns - self.start_ns) * 1e-9 / self.duration_s, 0.0)
        if s >= 1.0:
            zero = np.zeros_like(self.offset)
            return zero, zero
        d, r = self.offset, self.rate * self.duration_s
        position = (1.0 - s) ** 2 * (d * (1.0 + 2.0 * s) + r * s)
        return position, (1.0 - s) * (r * (1.0 - 3.0 * s) - 6.0 * d * s) / self.duration_s
