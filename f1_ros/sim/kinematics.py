"""Where the fingertips are, and which joints put them elsewhere: forward kinematics and damped least squares."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import SimulationError
from f1_ros.sim.scene import Scene

Array = NDArray[np.float64]

HAND_DOWN: Array = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
"""Orientation of the hand in all of the belt's tasks: fingers down, opening along the belt's y axis."""

REST: Array = np.array([0.0, -0.20, 0.0, -2.48, 0.0, 2.28, 0.785])
"""Posture over the belt that the redundant joint is drawn to, rad; inverse kinematics starts from it."""

_DAMPING = 0.02
_POSTURE_GAIN = 0.05


class ArmKinematics:
    """Kinematics of the arm with the tool site between the fingertips. Holds its own MjData; not thread-safe.

    Args:
        scene: the compiled scene.
        margin: distance in rad that solutions keep from the joints' position limits.
    """

    def __init__(self, scene: Scene, margin: float = 0.02) -> None:
        self._scene = scene
        self._data = mujoco.MjData(scene.model)
        self._jacobian = np.zeros((6, scene.model.nv))
        limits = np.array([scene.model.joint(name).range for name in scene.arm.joints])
        self.lower: Array = limits[:, 0] + margin
        self.upper: Array = limits[:, 1] - margin

    def tool(self, joints: Array) -> tuple[Array, Array]:
        """Position (3,) in m and rotation matrix (3, 3) of the tool site in the base frame, for joints (7,) in rad."""
        self._place(joints)
        site = self._scene.tool_site
        return self._data.site_xpos[site].copy(), self._data.site_xmat[site].reshape(3, 3).copy()

    def joint_step(self, joints: Array, displacement: Array, rotation: Array = HAND_DOWN) -> Array:
        """Joint displacement (7,) that moves the tool by `displacement` (3,) m and turns it towards `rotation`.

        One damped least squares step, J^T (J J^T + lambda^2 I)^-1 e, with a pull of the null space towards `REST`.
        """
        position, current = self.tool(joints)
        del position
        mujoco.mj_comPos(self._scene.model, self._data)
        J = self._jacobian
        mujoco.mj_jacSite(self._scene.model, self._data, J[:3], J[3:], self._scene.tool_site)
        Ja = J[:, self._scene.arm_qvel]
        error = np.concatenate([displacement, rotation_error(rotation, current)])
        inverse = Ja.T @ np.linalg.inv(Ja @ Ja.T + _DAMPING**2 * np.eye(6))
        step = inverse @ error
        null = np.eye(7) - inverse @ Ja
        result: Array = step + null @ (_POSTURE_GAIN * (REST - joints))
        return result

    def solve(
        self, position: Array, start: Array = REST, rotation: Array = HAND_DOWN, tolerance: float = 1e-3
    ) -> Array:
        """Joints (7,) within limits that put the tool at `position` (3,) m with `rotation`.

        Raises:
            SimulationError: if the arm cannot reach there within `tolerance` (m, and rad / 10).
        """
        joints = start.copy()
        for _ in range(200):
            here, turn = self.tool(joints)
            gap = position - here
            off = float(np.linalg.norm(rotation_error(rotation, turn)))
            if np.linalg.norm(gap) < tolerance / 10 and off < tolerance:
                break
            length = float(np.linalg.norm(gap))
            step = self.joint_step(joints, gap * min(1.0, 0.1 / max(length, 1e-9)), rotation)
            joints = np.clip(joints + np.clip(step, -0.3, 0.3), self.lower, self.upper)
        here, turn = self.tool(joints)
        gap = position - here
        if np.linalg.norm(gap) > tolerance or np.linalg.norm(rotation_error(rotation, turn)) > 10 * tolerance:
            raise SimulationError(
                f"The arm cannot reach {np.round(position, 3).tolist()} m with the hand pointing down.",
                remedy="Choose a position nearer to the robot's base.",
            )
        return joints

    def _place(self, joints: Array) -> None:
        self._data.qpos[self._scene.arm_qpos] = joints
        mujoco.mj_kinematics(self._scene.model, self._data)


def rotation_error(wanted: Array, current: Array) -> Array:
    """Rotation vector (3,) rad, for small angles, that turns `current` into `wanted` (both (3, 3))."""
    E = wanted @ current.T
    error: Array = 0.5 * np.array([E[2, 1] - E[1, 2], E[0, 2] - E[2, 0], E[1, 0] - E[0, 1]])
    return error
