"""What is known of the arm's own state: joint by joint, how old, and whether it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Messages overtake each other by less than this; a stamp that goes back by more is of another clock.
_RESTART_NS = 1_000_000_000


class MeasuredState:
    """Latest measured joints, gathered from one or several topics. Not thread-safe.

    Args:
        joints: names of the arm joints in the profile's order.
    """

    def __init__(self, joints: Sequence[str]) -> None:
        self._names = tuple(joints)
        n = len(self._names)
        self._index = {name: i for i, name in enumerate(self._names)}
        self._columns: dict[tuple[str, ...], tuple[Array, Array]] = {}
        self._position = np.full(n, np.nan)
        self._velocity = np.zeros(n)
        self._seen_ns = np.zeros(n, dtype=np.int64)
        self._stamp_ns = np.zeros(n, dtype=np.int64)
        self._known = np.zeros(n, dtype=bool)

    @property
    def known(self) -> bool:
        """Every joint has been heard of."""
        return bool(self._known.all())

    @property
    def finite(self) -> bool:
        """No joint that has been heard of is at NaN or infinity."""
        return bool(np.isfinite(self._position[self._known]).all())

    @property
    def position(self) -> Array:
        """(joints,) rad; NaN for a joint not heard of."""
        return self._position.copy()

    @property
    def velocity(self) -> Array:
        """(joints,) rad/s; 0 where the topic gives none."""
        return self._velocity.copy()

    def age_s(self, now_ns: int) -> float:
        """Age of the joint that has been silent for longest, s; infinite before every joint has been heard of."""
        return float(now_ns - int(self._seen_ns.min())) * 1e-9 if self.known else float("inf")

    def stalest(self) -> str:
        """Name of the joint that has been silent for longest, or not been heard of."""
        return self._names[int(np.where(self._known, self._seen_ns, -1).argmin())]

    def update(
        self, names: Sequence[str], positions: Sequence[float], velocities: Sequence[float], now_ns: int, stamp_ns: int
    ) -> bool:
        """Take a joint state message; joints of other robots in it are passed over.

        Args:
            names: joint names in the order of the message.
            positions: rad, one for each name.
            velocities: rad/s, one for each name, or empty.
            now_ns: time of arrival, ns.
            stamp_ns: header stamp, ns; 0 if it has none. A stamp that does not advance is a driver that hangs: its
                message is refused, so that it counts as silence. One that goes back far is a driver that has started
                anew.

        Returns:
            Whether it was usable.
        """
        if len(positions) != len(names) or len(velocities) not in (0, len(names)):
            return False
        columns, joints = self._map(tuple(names))
        if not len(joints):
            return False
        behind_ns = self._stamp_ns[joints] - stamp_ns
        if stamp_ns and ((behind_ns >= 0) & (behind_ns < _RESTART_NS)).any():
            return False
        self._position[joints] = np.asarray(positions, dtype=np.float64)[columns]
        rates = np.asarray(velocities, dtype=np.float64)[columns] if len(velocities) else np.zeros(len(joints))
        # joint_state_broadcaster writes NaN for an interface that the hardware lacks: that is no velocity.
        self._velocity[joints] = np.where(np.isfinite(rates), rates, 0.0)
        self._seen_ns[joints] = now_ns
        self._stamp_ns[joints] = stamp_ns
        self._known[joints] = True
        return True

    def forget(self) -> None:
        """Know nothing again, as at the start."""
        self._position[:], self._velocity[:] = np.nan, 0.0
        self._seen_ns[:], self._stamp_ns[:], self._known[:] = 0, 0, False

    def _map(self, names: tuple[str, ...]) -> tuple[Array, Array]:
        # Columns of the message, and the joints that they belong to; a robot sends the same names again and again.
        found = self._columns.get(names)
        if found is None:
            pairs = [(column, self._index[name]) for column, name in enumerate(names) if name in self._index]
            found = np.array([c for c, _ in pairs], dtype=int), np.array([j for _, j in pairs], dtype=int)
            if len(self._columns) >= 16:  # names that change with every message must not fill the memory
                self._columns.clear()
            self._columns[names] = found
        return found
