"""Kinematics and the scripted expert."""

import numpy as np
import pytest

from f1_ros.errors import SimulationError
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.expert import Expert, Phase, WorldState
from f1_ros.sim.franka import FR3
from f1_ros.sim.kinematics import HAND_DOWN, ArmKinematics, rotation_error
from f1_ros.sim.lockstep import EXPERT_LIMITS, StepDriver
from f1_ros.sim.scene import load_scene
from f1_ros.sim.world import BeltWorld


@pytest.fixture(scope="module")
def kinematics() -> ArmKinematics:
    return ArmKinematics(load_scene(BeltConfig()))


def test_forward_kinematics_of_the_stretched_arm(kinematics) -> None:
    # Upright: .333 + .316 + .384 m of arm, .088 m out, and from there .107 + .1034 m down to the tool.
    position, rotation = kinematics.tool(np.array([0, 0, 0, 0, 0, 0, np.pi / 4]))
    assert position == pytest.approx([0.088, 0.0, 1.033 - 0.2104], abs=1e-4)
    assert rotation == pytest.approx(HAND_DOWN, abs=1e-4)


@pytest.mark.parametrize("position", [(0.45, 0.0, 0.26), (0.40, 0.5, 0.08), (0.50, -0.6, 0.08), (0.70, 0.0, 0.21)])
def test_inverse_kinematics_reaches_belt_and_bin_within_limits(kinematics, position) -> None:
    joints = kinematics.solve(np.array(position))
    found, rotation = kinematics.tool(joints)
    assert found == pytest.approx(position, abs=1e-3)
    assert np.linalg.norm(rotation_error(HAND_DOWN, rotation)) < 0.01
    assert (joints > np.array(FR3.limits.lower)).all()
    assert (joints < np.array(FR3.limits.upper)).all()


def test_a_point_out_of_reach_is_refused(kinematics) -> None:
    with pytest.raises(SimulationError, match="cannot reach"):
        kinematics.solve(np.array([1.5, 0.0, 0.1]))


def run(world: BeltWorld, seed: int, steps: int = 110) -> tuple[list[Phase], np.ndarray]:
    """Phases of a full cycle, and the commands of every tick."""
    world.reset(seed)
    expert, driver = Expert(world.kinematics), StepDriver(world)
    driver.reset()
    commands = []
    step = world.step

    def spy(target, width) -> None:
        commands.append(target)
        step(target, width)

    world.step = spy
    world.drop_cube()
    phases = []
    for _ in range(steps):
        action = expert.act(WorldState.of(world))
        phases.append(action.phase)
        driver.step(action.target)
        if world.counts.binned and action.phase is Phase.WAIT:
            break
    world.step = step
    return phases, np.array(commands)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("speed", [0.08, 0.30])
def test_the_expert_picks_bins_and_returns_at_both_ends_of_the_range(direction, speed) -> None:
    world = BeltWorld(BeltConfig(speed=(speed, speed), direction=direction))
    for seed in (1, 2, 3):
        phases, commands = run(world, seed)
        assert world.counts.picked == 1
        assert world.counts.binned == 1
        assert len(phases) < 110
        order = [phase for i, phase in enumerate(phases) if i == 0 or phases[i - 1] is not phase]
        for phase in (Phase.CLOSE, Phase.LIFT, Phase.CARRY, Phase.RELEASE, Phase.RETURN):
            assert phase in order
        velocity = np.diff(commands, axis=0) / 0.01
        assert (np.abs(velocity) <= np.array(EXPERT_LIMITS.velocity) * 1.001).all()
        assert (np.abs(np.diff(velocity, axis=0)) / 0.01 <= np.array(FR3.limits.acceleration)).all()


def test_the_expert_acts_on_the_state_alone(kinematics) -> None:
    world = BeltWorld()
    world.reset(8)
    world.drop_cube()
    state = WorldState.of(world)
    fresh, used = Expert(world.kinematics), Expert(world.kinematics)
    other = WorldState.of(world)
    for _ in range(5):
        used.act(other)
    assert np.array_equal(fresh.act(state).target, used.act(state).target)


def test_without_a_cube_the_expert_waits_over_the_belt() -> None:
    world = BeltWorld()
    world.reset(0)
    expert, driver = Expert(world.kinematics), StepDriver(world)
    driver.reset()
    for _ in range(40):
        action = expert.act(WorldState.of(world))
        driver.step(action.target)
    assert action.phase is Phase.WAIT
    assert world.tool_position == pytest.approx([0.45, 0.0, 0.26], abs=0.01)
    assert action.target[7] == 0.08


def test_a_cube_out_of_reach_is_left_alone() -> None:
    world = BeltWorld()
    world.reset(0)
    world.drop_cube((0.45, 0.9))
    assert Expert(world.kinematics).act(WorldState.of(world)).phase in (Phase.WAIT, Phase.RETURN)
