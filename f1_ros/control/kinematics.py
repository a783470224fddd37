"""Where the tool is for given joints, and how it moves with them: forward kinematics and Jacobian of a serial chain.

    chain = profile.arms[0].chain                 None where the profile does not describe it
    position, rotation = chain.pose(joints)       of the tool in the base frame
    chain.jacobian(joints)                        (6, joints): velocity and rotation rate of the tool per joint rate

Pure numpy, made for the control tick. The chain is described as in URDF: each joint has an origin in the frame of the
one before, turned by roll, pitch and yaw, and an axis in its own frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from f1_ros.errors import LimitError

Array = NDArray[np.float64]
Vector3 = tuple[float, float, float]


@dataclass(frozen=True)
class Frame:
    """Where a frame is in the one before it, as URDF's `origin`.

    Attributes:
        xyz: origin, m.
        rpy: roll, pitch and yaw about the fixed axes x, y and z in that order, rad.
    """

    xyz: Vector3 = (0.0, 0.0, 0.0)
    rpy: Vector3 = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class JointFrame:
    """A joint of a chain, as URDF's `joint`.

    Attributes:
        xyz: origin in the frame of the joint before (of the base for the first one), m.
        rpy: roll, pitch and yaw of that frame, rad.
        axis: what the joint turns about, or slides along, in its own frame; any length but 0.
        slides: the joint is a slide, in m.
    """

    xyz: Vector3 = (0.0, 0.0, 0.0)
    rpy: Vector3 = (0.0, 0.0, 0.0)
    axis: Vector3 = (0.0, 0.0, 1.0)
    slides: bool = False


class Chain:
    """A serial chain from the base to the tool. Immutable.

    Args:
        joints: the joints from the base on.
        tool: where the tool is in the last joint's frame.

    Raises:
        LimitError: if there is no joint, or an axis has no length.
    """

    def __init__(self, joints: Sequence[JointFrame], tool: Frame) -> None:
        if not joints or any(not any(joint.axis) for joint in joints):
            raise LimitError(
                "A kinematic chain has no joint, or a joint's axis is 0 0 0.",
                remedy="Describe every joint of the arm as its URDF does.",
            )
        n = len(joints)
        # A joint's transform is fixed + q * slope + sin(q) * sine + cos(q) * cosine (Rodrigues' formula), so that those
        # of all joints are made at once.
        self._fixed, self._slope, self._sine, self._cosine = (np.zeros((n, 4, 4)) for _ in range(4))
        self._axes = np.zeros((n, 3))
        self._slides = np.array([joint.slides for joint in joints])
        for i, joint in enumerate(joints):
            origin = _matrix(joint.xyz, joint.rpy)
            turn, axis = origin[:3, :3], np.array(joint.axis) / math.hypot(*joint.axis)
            self._axes[i] = axis
            self._fixed[i, :, 3] = origin[:, 3]
            if joint.slides:
                self._fixed[i] = origin
                self._slope[i, :3, 3] = turn @ axis
            else:
                along = np.outer(axis, axis)
                self._fixed[i, :3, :3] = turn @ along
                self._sine[i, :3, :3] = turn @ np.cross(np.eye(3), axis)
                self._cosine[i, :3, :3] = turn @ (np.eye(3) - along)
        self._tool = _matrix(tool.xyz, tool.rpy)

    @property
    def joints(self) -> int:
        """Number of joints."""
        return len(self._axes)

    def pose(self, joints: ArrayLike) -> tuple[Array, Array]:
        """Position (3,) in m and rotation matrix (3, 3) of the tool in the base frame, for joints (joints,) in rad."""
        frame = np.eye(4)
        for transform in self._transforms(joints):
            frame = frame @ transform
        frame = frame @ self._tool
        return frame[:3, 3], frame[:3, :3]

    def points(self, joints: ArrayLike) -> Array:
        """Origins of all joints' frames and the tool, for many joint positions at once.

        Args:
            joints: (..., joints) rad.

        Returns:
            (..., joints + 1, 3) m in the base frame, the tool last.
        """
        transforms = self._transforms(joints)
        points = np.empty((*transforms.shape[:-2], 3))
        frame = transforms[..., 0, :, :]
        points[..., 0, :] = frame[..., :3, 3]
        for i in range(1, self.joints):
            frame = frame @ transforms[..., i, :, :]
            points[..., i, :] = frame[..., :3, 3]
        tool = frame[..., :3, :] @ self._tool[:, 3]
        return np.concatenate([points, tool[..., None, :]], axis=-2)

    def jacobian(self, joints: ArrayLike) -> Array:
        """(6, joints): the tool's velocity (m/s) and rotation rate (rad/s) in the base frame per joint rate.

        The geometric Jacobian: a turning joint gives axis x (tool - origin) and axis, a slide gives axis and 0.
        """
        frame = np.eye(4)
        origins, axes = np.empty((self.joints, 3)), np.empty((self.joints, 3))
        for i, transform in enumerate(self._transforms(joints)):
            frame = frame @ transform
            origins[i], axes[i] = frame[:3, 3], frame[:3, :3] @ self._axes[i]
        tool = frame[:3, :] @ self._tool[:, 3]
        slides = self._slides[:, None]
        linear = np.where(slides, axes, _cross(axes, tool - origins))
        return np.concatenate([linear, np.where(slides, 0.0, axes)], axis=1).T

    def _transforms(self, joints: ArrayLike) -> Array:
        # (..., joints, 4, 4): each joint's frame in the one before it.
        q = np.asarray(joints, dtype=np.float64)
        if q.shape[-1:] != (self.joints,):
            raise LimitError(
                f"The kinematic chain got joints of shape {q.shape}, expected (..., {self.joints}).",
                remedy="Give one value for each joint of the chain, from the base on.",
            )
        q = q[..., None, None]
        transforms: Array = self._fixed + q * self._slope + np.sin(q) * self._sine + np.cos(q) * self._cosine
        return transforms


def _cross(a: Array, b: Array) -> Array:
    # np.cross for (n, 3), without its 50 us of bookkeeping.
    a1, a2, a3, b1, b2, b3 = a[:, 0], a[:, 1], a[:, 2], b[:, 0], b[:, 1], b[:, 2]
    return np.stack([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1], axis=1)


def _matrix(xyz: Vector3, rpy: Vector3) -> Array:
    # Homogeneous (4, 4); URDF's convention: yaw about z after pitch about y after roll about x.
    (sr, sp, sy), (cr, cp, cy) = map(math.sin, rpy), map(math.cos, rpy)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr, xyz[0]],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr, xyz[1]],
            [-sp, cp * sr, cp * cr, xyz[2]],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
