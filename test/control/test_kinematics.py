"""Kinematics: the Franka's chain against MuJoCo's, and against chains whose answer is known."""

import mujoco
import numpy as np
import pytest

from f1_ros.control.kinematics import Chain, Frame, JointFrame
from f1_ros.errors import LimitError
from f1_ros.robots.profile import load_profile
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.scene import load_scene

FRANKA = load_profile("franka_fr3")


def franka() -> Chain:
    chain = FRANKA.arms[0].chain
    assert chain is not None
    return chain


def poses(n: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(FRANKA.limits.lower, FRANKA.limits.upper, (n, 7))


def test_the_franka_s_tool_and_jacobian_are_where_mujoco_has_them() -> None:
    scene, chain = load_scene(BeltConfig()), franka()
    data, jacobian = mujoco.MjData(scene.model), np.zeros((6, scene.model.nv))
    for q in poses(200):
        data.qpos[scene.arm_qpos] = q
        mujoco.mj_kinematics(scene.model, data)
        mujoco.mj_comPos(scene.model, data)
        mujoco.mj_jacSite(scene.model, data, jacobian[:3], jacobian[3:], scene.tool_site)
        position, rotation = chain.pose(q)
        np.testing.assert_allclose(position, data.site_xpos[scene.tool_site], atol=1e-6)
        np.testing.assert_allclose(rotation, data.site_xmat[scene.tool_site].reshape(3, 3), atol=1e-6)
        np.testing.assert_allclose(chain.jacobian(q), jacobian[:, scene.arm_qvel], atol=1e-6)
        bodies = [data.body(f"fr3_link{i}").xpos for i in range(1, 8)]
        np.testing.assert_allclose(chain.points(q)[:-1], bodies, atol=1e-6)


def test_many_joint_positions_at_once_give_the_same_points_as_one_by_one() -> None:
    chain, many = franka(), poses(20).reshape(4, 5, 7)
    points = chain.points(many)
    assert points.shape == (4, 5, 8, 3)
    for index in np.ndindex(4, 5):
        np.testing.assert_allclose(points[index], chain.points(many[index]), atol=1e-12)
        np.testing.assert_allclose(points[index][-1], chain.pose(many[index])[0], atol=1e-12)


def test_a_slide_and_a_skewed_axis() -> None:
    """A lift of 0.3 m along x, then a third of a turn about the diagonal, which takes x to y."""
    chain = Chain([JointFrame(axis=(2.0, 0.0, 0.0), slides=True), JointFrame(axis=(1.0, 1.0, 1.0))], Frame((1, 0, 0)))
    q = [0.3, 2.0 * np.pi / 3.0]
    np.testing.assert_allclose(chain.pose(q)[0], [0.3, 1.0, 0.0], atol=1e-12)
    linear, angular = np.split(chain.jacobian(q), 2)
    np.testing.assert_allclose(linear, np.array([[1, 0, 0], np.cross([1, 1, 1], [0, 1, 0]) / np.sqrt(3)]).T, atol=1e-12)
    np.testing.assert_allclose(angular, np.array([[0, 0, 0], [1, 1, 1] / np.sqrt(3)]).T, atol=1e-12)


def test_roll_pitch_and_yaw_turn_about_the_fixed_axes_as_in_urdf() -> None:
    roll, pitch, yaw = 0.3, -0.7, 1.9
    turned = Chain([JointFrame(rpy=(roll, pitch, yaw))], Frame()).pose([0.0])[1]
    about = [Chain([JointFrame(axis=axis)], Frame()) for axis in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    x, y, z = (chain.pose([angle])[1] for chain, angle in zip(about, (roll, pitch, yaw), strict=True))
    np.testing.assert_allclose(turned, z @ y @ x, atol=1e-12)


def test_a_chain_that_cannot_be_and_joints_that_do_not_fit_are_refused() -> None:
    with pytest.raises(LimitError, match="no joint"):
        Chain([], Frame())
    with pytest.raises(LimitError, match="0 0 0"):
        Chain([JointFrame(axis=(0.0, 0.0, 0.0))], Frame())
    with pytest.raises(LimitError, match=r"shape \(6,\), expected \(\.\.\., 7\)"):
        franka().pose([0.0] * 6)
