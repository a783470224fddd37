"""A way from where the arm is onto a reference that starts elsewhere: continuous in velocity, and limited if asked."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Blend:
    """An offset that is added to a reference and goes to 0.

    A cubic takes each joint there, all of them in the same time, so that the arm goes straight to its plan. A joint
    that would be too fast then speeds up, keeps its speed, slows down (bang-coast-bang), the quickest way within a
    speed: begun anew on the way, as with each new chunk, it is no slower for it.

    Attributes:
        start_ns: when it starts, ns.
        offset: (joints,) arm minus reference at the start, rad.
        rate: (joints,) velocity of arm minus that of reference at the start, rad/s.
        common_s: time that the cubic takes, s.
        limited: (joints,) whether a joint is too fast for it.
        speed: (joints,) the velocity that a limited joint keeps, rad/s, signed.
        phases_s: (3, joints) how long a limited joint changes to that velocity, keeps it, and takes to stop, s.
    """

    start_ns: int
    offset: Array
    rate: Array
    common_s: float
    limited: NDArray[np.bool_]
    speed: Array
    phases_s: Array

    @classmethod
    def within(
        cls,
        start_ns: int,
        offset: Array,
        rate: Array,
        *,
        least_s: float,
        acceleration: float,
        slowest: Array | float = -np.inf,
        fastest: Array | float = np.inf,
    ) -> Blend:
        """A blend of at least `least_s`, longer where it would be too sudden or too fast.

        The cubic's acceleration is largest at its start, 6 offset / T^2 + 4 rate / T: each term may use half.

        Args:
            start_ns: when it starts, ns.
            offset: (joints,) rad.
            rate: (joints,) rad/s.
            least_s: time that it takes where neither limit is in the way, s.
            acceleration: largest acceleration, rad/s^2.
            slowest: (joints,) lowest velocity, negative, rad/s; `rate` may be outside and is then left at once.
            fastest: (joints,) highest velocity, positive, rad/s.
        """
        common_s = max(
            least_s,
            math.sqrt(12.0 * float(np.abs(offset).max()) / acceleration),
            8.0 * float(np.abs(rate).max()) / acceleration,
        )
        peak = _cubic_peak(offset, rate * common_s) / common_s
        limited = (peak < slowest) | (peak > fastest)
        # The acceleration with which bang-coast-bang would take as long: from T = (s r + 2 w) / a with
        # w^2 = s a d + r^2 / 2, s = +-1.
        reach, turn = 2.0 * offset + common_s * rate, common_s * rate
        a = np.maximum((np.abs(reach) + np.hypot(reach, turn)) / common_s**2, 1e-9)
        side = np.where(offset + rate * np.abs(rate) / (2.0 * a) >= 0.0, 1.0, -1.0)  # where it would stop
        top = np.sqrt(np.maximum(side * a * offset + rate * rate / 2.0, 0.0))
        kept = np.minimum(top, np.where(side > 0.0, -np.asarray(slowest), fastest))
        change = np.abs(-side * kept - rate) / a
        stop = kept / a
        left = side * (offset + (rate - side * kept) / 2.0 * change) - kept * stop / 2.0
        keep = np.where(kept > 1e-12, np.maximum(left, 0.0) / np.maximum(kept, 1e-12), 0.0)
        return cls(start_ns, offset, rate, common_s, limited, -side * kept, np.stack([change, keep, stop]))

    @property
    def durations_s(self) -> Array:
        """(joints,) time until it is gone, s."""
        return np.where(self.limited, self.phases_s.sum(axis=0), self.common_s)

    def under_way(self, now_ns: int) -> NDArray[np.bool_]:
        """(joints,) whether it is not gone yet."""
        going: NDArray[np.bool_] = self.durations_s > (now_ns - self.start_ns) * 1e-9
        return going

    def at(self, now_ns: int) -> tuple[Array, Array]:
        """What to add to the reference's position (rad) and velocity (rad/s)."""
        t = max((now_ns - self.start_ns) * 1e-9, 0.0)
        s = min(t / self.common_s, 1.0)
        r = self.rate * self.common_s
        position = (1.0 - s) ** 2 * (self.offset * (1.0 + 2.0 * s) + r * s)
        velocity = (1.0 - s) * (r * (1.0 - 3.0 * s) - 6.0 * self.offset * s) / self.common_s
        if not self.limited.any():
            return position, velocity
        slow_position, slow_velocity = self._limited_at(t)
        return np.where(self.limited, slow_position, position), np.where(self.limited, slow_velocity, velocity)

    def _limited_at(self, t: float) -> tuple[Array, Array]:
        change, _, stop = self.phases_s
        to_end = self.phases_s.sum(axis=0) - t
        changing = np.minimum(t, change)
        share = changing / np.maximum(change, 1e-12)
        velocity = self.rate + (self.speed - self.rate) * share
        position = self.offset + (self.rate + velocity) / 2.0 * changing + self.speed * np.maximum(t - change, 0.0)
        slowing, left = to_end < stop, np.clip(to_end / np.maximum(stop, 1e-12), 0.0, 1.0)
        position = np.where(slowing, -self.speed * stop * left * left / 2.0, position)
        return position, np.where(slowing, self.speed * left, velocity)


def _cubic_peak(offset: Array, rate: Array) -> Array:
    """(joints,) the velocity that is furthest from 0 after the start of (1 - s)^2 (offset (1 + 2 s) + rate s), per s.

    Its velocity rate - (4 rate + 6 offset) s + (3 rate + 6 offset) s^2 turns at one s at most, and is 0 in the end.
    """
    linear, square = 4.0 * rate + 6.0 * offset, 3.0 * rate + 6.0 * offset
    turn = linear / np.where(np.abs(square) > 1e-12, 2.0 * square, 1.0)
    within = (np.abs(square) > 1e-12) & (turn > 0.0) & (turn < 1.0)
    return np.where(within, rate - linear * linear / np.where(within, 4.0 * square, 1.0), 0.0)
