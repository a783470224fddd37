"""From a twist of the tool to joint targets, by damped least squares on the arm's chain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.kinematics import Chain
from f1_ros.control.limits import JointLimits

Array = NDArray[np.float64]

# Near a singularity the joints turn at no more than |twist| / (2 * damping); elsewhere the tool is slower by a little:
# 1 % where the smallest singular value is 0.5.
_DAMPING = 0.05
# The target does not run away from an arm that cannot follow (rad).
_LEASH = 0.2


class CartesianTarget:
    """A joint target that a twist moves. Not thread-safe.

    It begins where the arm is commanded to be and stays with the arm until the arm follows it or the twist moves it, so
    that a hand-over never starts with a distance. Then it is the twist's integral:

        dq/dt = J^T (J J^T + damping^2 I)^-1 twist        (Wampler 1986, Nakamura and Hanafusa 1986)

    Args:
        chain: the arm's chain.
        limits: the arm's limits; the target stays within those of position.
        joint_speed: no joint of the target is faster than this, rad/s; the whole twist is slowed down.
    """

    def __init__(self, chain: Chain, limits: JointLimits, joint_speed: float) -> None:
        self._chain = chain
        self._lower, self._upper = np.array(limits.lower), np.array(limits.upper)
        self._fastest = np.minimum(np.array(limits.velocity), joint_speed)
        self._target: Array | None = None
        self._moved = False

    def forget(self) -> None:
        """The device has been let go of: the next target begins anew."""
        self._target, self._moved = None, False

    def step(self, arm: Array, twist: Array, dt_s: float, *, followed: bool) -> Array:
        """The target, (joints,) rad.

        Args:
            arm: (joints,) where the arm is commanded to be, rad.
            twist: (6,) wanted velocity (m/s) and rotation rate (rad/s) of the tool in the base frame.
            dt_s: time since the last step, s.
            followed: the arm follows the device.
        """
        moves = bool(twist.any())
        if self._target is None or not (moves or (followed and self._moved)):
            self._target, self._moved = arm.copy(), False
        if moves:
            self._moved = True
            rates = self._rates(self._target, twist)
            self._target = np.clip(self._target + rates * dt_s, self._lower, self._upper)
        self._target = np.clip(self._target, arm - _LEASH, arm + _LEASH)
        return self._target

    def _rates(self, joints: Array, twist: Array) -> Array:
        jacobian = self._chain.jacobian(joints)
        damped = jacobian @ jacobian.T + _DAMPING**2 * np.eye(6)
        rates: Array = jacobian.T @ np.linalg.solve(damped, twist)
        return rates / max(1.0, float((np.abs(rates) / self._fastest).max()))
