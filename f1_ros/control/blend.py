"""A way from where the arm is onto a reference that starts elsewhere, continuous in velocity and limited in speed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Blend:
    """An offset that is added to a reference and goes to 0: each joint speeds up, keeps its speed, slows down.

    It is the quickest way to 0 within an acceleration and a speed (bang-coast-bang), so one that is begun anew on the
    way, as with each new chunk, goes on at the speed that it had and is hardly slower for it.

    Attributes:
        start_ns: when it starts, ns.
        offset: (joints,) arm minus reference at the start, rad.
        rate: (joints,) velocity of arm minus that of reference at the start, rad/s.
        speed: (joints,) the velocity that is kept, rad/s, signed.
        phases_s: (3, joints) how long each joint changes to that velocity, keeps it, and takes to stop, s.
    """

    start_ns: int
    offset: Array
    rate: Array
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
        """The gentlest blend of `least_s`; a longer one where it would be too sudden or too fast.

        All joints take the same time, so that the arm goes straight to its plan, but those that are too fast then.

        Args:
            start_ns: when it starts, ns.
            offset: (joints,) rad.
            rate: (joints,) rad/s.
            least_s: time that it takes where neither limit is in the way, s.
            acceleration: largest acceleration, rad/s^2; an offset takes up to a third of it, a rate as much.
            slowest: (joints,) lowest velocity, negative, rad/s; `rate` may be outside and is then left at once.
            fastest: (joints,) highest velocity, positive, rad/s.
        """
        common_s = max(
            least_s,
            math.sqrt(12.0 * float(np.abs(offset).max()) / acceleration),
            8.0 * float(np.abs(rate).max()) / acceleration,
        )
        # The acceleration that takes so long: from T = (s r + 2 w) / a with w^2 = s a d + r^2 / 2, s = +-1.
        reach, turn = 2.0 * offset + common_s * rate, common_s * rate
        a = np.maximum((np.abs(reach) + np.hypot(reach, turn)) / common_s**2, 1e-9)
        side = np.where(offset + rate * np.abs(rate) / (2.0 * a) >= 0.0, 1.0, -1.0)  # where it would stop
        peak = np.sqrt(np.maximum(side * a * offset + rate * rate / 2.0, 0.0))
        kept = np.minimum(peak, np.where(side > 0.0, -np.asarray(slowest), fastest))
        change = np.abs(-side * kept - rate) / a
        stop = kept / a
        left = side * (offset + (rate - side * kept) / 2.0 * change) - kept * stop / 2.0
        keep = np.where(kept > 1e-12, np.maximum(left, 0.0) / np.maximum(kept, 1e-12), 0.0)
        return cls(start_ns, offset, rate, -side * kept, np.stack([change, keep, stop]))

    @property
    def durations_s(self) -> Array:
        """(joints,) time until it is gone, s."""
        durations: Array = self.phases_s.sum(axis=0)
        return durations

    def under_way(self, now_ns: int) -> NDArray[np.bool_]:
        """(joints,) whether it is not gone yet."""
        going: NDArray[np.bool_] = self.durations_s > (now_ns - self.start_ns) * 1e-9
        return going

    def at(self, now_ns: int) -> tuple[Array, Array]:
        """What to add to the reference's position (rad) and velocity (rad/s)."""
        t = max((now_ns - self.start_ns) * 1e-9, 0.0)
        change, _, stop = self.phases_s
        to_end = self.durations_s - t
        if (to_end <= 0.0).all():
            zero = np.zeros_like(self.offset)
            return zero, zero
        changing = np.minimum(t, change)
        share = changing / np.maximum(change, 1e-12)
        velocity = self.rate + (self.speed - self.rate) * share
        position = self.offset + (self.rate + velocity) / 2.0 * changing + self.speed * np.maximum(t - change, 0.0)
        slowing, left = to_end < stop, np.clip(to_end / np.maximum(stop, 1e-12), 0.0, 1.0)
        position = np.where(slowing, -self.speed * stop * left * left / 2.0, position)
        return position, np.where(slowing, self.speed * left, velocity)
