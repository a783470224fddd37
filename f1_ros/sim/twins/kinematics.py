"""Which joints put a hand somewhere: damped least squares on an arm's chain, in the world's frame."""

from __future__ import annotations

import numpy as np

from f1_ros.errors import SimulationError
from f1_ros.sim.kinematics import Array, rotation_error
from f1_ros.sim.twins.tables import TwinArm

_DAMPING = 0.02
_POSTURE_GAIN = 0.05


class TwinKinematics:
    """Kinematics of one arm of a twin whose body stands still. Immutable.

    Args:
        arm: its table.
        base: position (3,) m of the arm's base in the world.
        turn: rotation (3, 3) of the arm's base in the world.
        rotation: (3, 3) of the hand in the world, in all of a task.
        rest: (joints,) posture that redundant joints are drawn to, rad.
        margin: distance that solutions keep from the joints' position limits, rad.
    """

    def __init__(
        self, arm: TwinArm, base: Array, turn: Array, rotation: Array, rest: Array, margin: float = 0.02
    ) -> None:
        self._arm, self._chain = arm, arm.chain
        self._base, self._turn, self.rotation, self.rest = base, turn, rotation, rest
        self.lower: Array = np.array([j.lower for j in arm.joints]) + margin
        self.upper: Array = np.array([j.upper for j in arm.joints]) - margin

    def tool(self, joints: Array) -> tuple[Array, Array]:
        """Position (3,) m and rotation (3, 3) of the tool in the world, for joints in rad."""
        position, rotation = self._chain.pose(joints)
        return self._base + self._turn @ position, self._turn @ rotation

    def joint_step(self, joints: Array, displacement: Array) -> Array:
        """Joint displacement that moves the tool by `displacement` (3,) m and turns it towards `rotation`.

        One damped least squares step, J^T (J J^T + lambda^2 I)^-1 e, with a pull of the null space towards `rest`.
        """
        jacobian = self._chain.jacobian(joints)
        jacobian = np.concatenate([self._turn @ jacobian[:3], self._turn @ jacobian[3:]])
        error = np.concatenate([displacement, rotation_error(self.rotation, self.tool(joints)[1])])
        inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + _DAMPING**2 * np.eye(6))
        null = np.eye(len(joints)) - inverse @ jacobian
        step: Array = inverse @ error + null @ (_POSTURE_GAIN * (self.rest - joints))
        return step

    def solve(self, position: Array, start: Array | None = None, tolerance: float = 1e-3) -> Array:
        """Joints within limits that put the tool at `position` (3,) m, turned as `rotation`.

        Raises:
            SimulationError: if the arm cannot reach there within `tolerance` (m, and rad / 10).
        """
        joints = self.rest.copy() if start is None else start.copy()
        for _ in range(300):
            here, turn = self.tool(joints)
            gap = position - here
            off = float(np.linalg.norm(rotation_error(self.rotation, turn)))
            if np.linalg.norm(gap) < tolerance / 10 and off < tolerance:
                break
            length = float(np.linalg.norm(gap))
            step = self.joint_step(joints, gap * min(1.0, 0.1 / max(length, 1e-9)))
            joints = np.clip(joints + np.clip(step, -0.3, 0.3), self.lower, self.upper)
        here, turn = self.tool(joints)
        missed = float(np.linalg.norm(position - here))
        if missed > tolerance or np.linalg.norm(rotation_error(self.rotation, turn)) > 10 * tolerance:
            raise SimulationError(
                f"The {self._arm.name} arm cannot reach {np.round(position, 3).tolist()} m with its hand turned so.",
                remedy="Choose a position nearer to the arm's base.",
            )
        return joints
