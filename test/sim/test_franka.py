"""The two arms that can stand at the belt: what they share, and what tells them apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from f1_ros.errors import ConfigError
from f1_ros.robots.profile import load_profile
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.expert import Expert, WorldState
from f1_ros.sim.franka import ARMS, FR3, PANDA, FrankaArm, arm_with
from f1_ros.sim.kinematics import ArmKinematics
from f1_ros.sim.lockstep import StepDriver
from f1_ros.sim.scene import load_scene
from f1_ros.sim.world import BeltWorld


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.prefix)
def test_the_tables_agree_with_the_arms_profile(arm: FrankaArm) -> None:
    profile = load_profile(arm.profile)
    assert profile.embodiment == arm.embodiment
    assert profile.joints == arm.joints
    assert replace(profile, scale=1.0, position_margin=0.0).limits == arm.limits
    assert profile.state_names == profile.action_names == BeltWorld(arm=arm).state_names


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.prefix)
def test_the_scene_has_the_arms_names_and_ranges(arm: FrankaArm) -> None:
    model = load_scene(BeltConfig(), arm).model
    ranges = np.array([model.joint(name).range for name in arm.joints])
    assert ranges[:, 0].tolist() == list(arm.limits.lower)
    assert ranges[:, 1].tolist() == list(arm.limits.upper)
    assert model.actuator_ctrlrange[:7] == pytest.approx(ranges)
    assert [model.actuator(i).name for i in range(7)] == list(arm.joints)
    others = {model.body(i).name.partition("_")[0] for i in range(model.nbody)} & {a.prefix for a in ARMS}
    assert others == {arm.prefix}


def test_the_same_joints_put_both_arms_tools_at_the_same_place() -> None:
    fr3, panda = (ArmKinematics(load_scene(BeltConfig(), arm)) for arm in ARMS)
    for joints in np.random.default_rng(0).uniform(fr3.lower, fr3.upper, (20, 7)):
        for a, b in zip(fr3.tool(joints), panda.tool(joints), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("arm", "least"), [(FR3, 0.5445), (PANDA, -0.0175)])
def test_each_arm_is_stopped_by_its_own_range(arm: FrankaArm, least: float) -> None:
    world = BeltWorld(arm=arm)
    world.reset(0)
    target = world.joint_positions
    while target[5] > -0.5:
        target[5] -= 0.02
        world.step(target, 0.08)
    for _ in range(100):
        world.step(target, 0.08)
    assert world.joint_positions[5] == pytest.approx(least, abs=0.02)


def test_the_panda_picks_within_its_own_speeds() -> None:
    world = BeltWorld(BeltConfig(speed=(0.2, 0.2)), arm=PANDA)
    world.reset(2)
    world.drop_cube()
    expert, driver, gone = Expert(world.kinematics), StepDriver(world, PANDA.limits.scaled(jerk=0.1)), []
    driver.reset()
    for _ in range(110):
        driver.step(expert.act(WorldState.of(world)).target)
        gone.append(np.abs(world.joint_velocities))
        if world.counts.binned:
            break
    assert world.counts.binned == 1
    assert (np.max(gone, axis=0) <= np.array(PANDA.limits.velocity) * 1.05).all()


def test_an_arm_goes_by_its_joints_names_in_order() -> None:
    assert arm_with(PANDA.joints) is PANDA
    with pytest.raises(ConfigError, match="No simulated Franka has the joints panda_joint7") as refused:
        arm_with(PANDA.joints[::-1])
    assert "fr3_joint1 .. fr3_joint7 or panda_joint1 .. panda_joint7" in refused.value.remedy
