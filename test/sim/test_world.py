"""The belt world: determinism, the belt's motion, and where cubes start."""

import numpy as np
import pytest

from f1_ros.errors import ConfigError, SimulationError
from f1_ros.sim.config import BeltConfig, load_belt_config
from f1_ros.sim.world import BeltWorld


@pytest.fixture(scope="module")
def world() -> BeltWorld:
    return BeltWorld()


def hold(world: BeltWorld, ticks: int) -> None:
    joints = world.joint_positions
    for _ in range(ticks):
        world.step(joints, 0.08)


def test_same_seed_and_commands_give_the_same_world_bit_by_bit(world) -> None:
    states = []
    for _ in range(2):
        world.reset(11)
        world.drop_cube()
        target = world.joint_positions + 0.05
        for _ in range(30):
            world.step(target, 0.02)
        states.append((world.snapshot().qpos, world.joint_velocities, world.render("front")))
    for first, second in zip(*states, strict=True):
        assert np.array_equal(first, second)


def test_other_seeds_give_other_episodes(world) -> None:
    speeds, joints = [], []
    for seed in range(5):
        world.reset(seed)
        speeds.append(world.belt_speed)
        joints.append(tuple(world.joint_positions))
    assert len(set(speeds)) == 5
    assert len(set(joints)) == 5


@pytest.mark.parametrize("direction", [1, -1])
def test_cube_rides_the_belt_at_the_commanded_speed(direction) -> None:
    world = BeltWorld(BeltConfig(speed=(0.2, 0.2), direction=direction))
    world.reset(0)
    assert world.belt_speed == direction * 0.2
    world.drop_cube((0.45, 0.0))
    hold(world, 20)
    start = world.cubes[0].position
    hold(world, 50)
    cube = world.cubes[0]
    assert cube.position[1] - start[1] == pytest.approx(direction * 0.1, abs=1e-3)
    assert cube.velocity == pytest.approx([0, direction * 0.2, 0], abs=2e-3)
    assert cube.position[2] == pytest.approx(0.08, abs=1e-3)
    assert cube.place == "belt"


def test_time_advances_by_10_ms_a_tick(world) -> None:
    world.reset(0)
    hold(world, 7)
    assert world.time_ns == 70_000_000


def test_belt_speeds_cover_the_range_in_both_directions(world) -> None:
    speeds = []
    for seed in range(200):
        world.reset(seed)
        speeds.append(world.belt_speed)
    magnitude = np.abs(speeds)
    assert magnitude.min() >= 0.08
    assert magnitude.max() <= 0.30
    assert magnitude.min() < 0.09
    assert magnitude.max() > 0.29
    assert 70 < np.sum(np.array(speeds) > 0) < 130


def test_the_start_position_tells_nothing_of_the_direction(world) -> None:
    y, speed = [], []
    for seed in range(300):
        world.reset(seed)
        start = world.draw_start()
        assert 0.40 <= start[0] <= 0.50
        assert -0.15 <= start[1] <= 0.15
        y.append(start[1])
        speed.append(world.belt_speed)
    # The correlation of 300 independent pairs has a standard deviation of 0.058.
    assert abs(np.corrcoef(y, speed)[0, 1]) < 0.18


def test_the_hand_starts_over_the_belt_within_its_ranges(world) -> None:
    for seed in range(20):
        world.reset(seed)
        x, y, z = world.tool_position
        assert 0.419 <= x <= 0.481
        assert -0.061 <= y <= 0.061
        assert 0.229 <= z <= 0.291


def test_the_servos_follow_a_moving_target_with_a_lag_of_a_tenth_of_a_second(world) -> None:
    world.reset(0)
    start = world.joint_positions
    target = start.copy()
    for tick in range(100):
        target = start.copy()
        target[0] += 0.3 * 0.01 * (tick + 1)  # 0.3 rad/s
        world.step(target, 0.08)
    assert (target[0] - world.joint_positions[0]) / 0.3 == pytest.approx(0.1, abs=0.02)


def test_the_arm_does_not_sag_at_rest(world) -> None:
    world.reset(4)
    before = world.joint_positions
    hold(world, 100)
    assert world.joint_positions == pytest.approx(before, abs=1e-3)


def test_a_stream_drops_one_cube_after_another() -> None:
    world = BeltWorld(BeltConfig(speed=(0.30, 0.30), direction=1, stream_pause_s=0.2), stream=True)
    world.reset(5)
    assert world.cubes == ()
    hold(world, 21)
    first = world.cubes[0]
    assert abs(first.position[1]) <= 0.16
    hold(world, 300)  # 0.62 m + 0.15 m at 0.3 m/s take 2.6 s at most
    assert world.counts.missed == 1
    assert world.counts.spawned == 2
    assert world.counts.picked == 0


def test_a_cube_in_the_bin_is_counted_and_taken_out(world) -> None:
    world.reset(0)
    world.drop_cube((0.45, 0.0))
    at = world.scene.cube_qpos
    world._data.qpos[at : at + 3] = (0.70, 0.0, 0.15)
    hold(world, 60)
    assert world.counts.binned == 1
    assert world.cubes == ()


def test_a_cube_held_high_counts_as_picked_only_after_three_checks(world) -> None:
    world.reset(0)
    world.drop_cube((0.45, 0.0))
    at, speed_at = world.scene.cube_qpos, world.scene.cube_qvel
    picked = []
    for _ in range(30):
        world._data.qpos[at : at + 3] = (0.45, 0.3, 0.17)
        world._data.qvel[speed_at : speed_at + 6] = 0
        hold(world, 1)
        picked.append(world.counts.picked)
    assert picked.index(1) == 14  # checks at ticks 5, 10 and 15


@pytest.mark.parametrize("target", [[0.0] * 6, [np.nan] * 7, [np.inf] + [0.0] * 6])
def test_impossible_commands_are_refused(world, target) -> None:
    world.reset(0)
    with pytest.raises(SimulationError, match="7 finite joint positions"):
        world.step(np.array(target), 0.08)


def test_out_of_range_commands_stay_within_the_joints_limits(world) -> None:
    world.reset(0)
    for _ in range(200):
        world.step(world.joint_positions + [0, 0, 0, 10.0, 0, 0, 0], 0.5)
    assert world.joint_positions[3] <= -0.1518 + 0.01
    assert world.gripper_width <= 0.0805


def test_the_packaged_configuration_is_the_default() -> None:
    assert load_belt_config() == BeltConfig()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("speed", (0.3, 0.1)),
        ("speed", (0.1, 5.0)),
        ("speed", (float("nan"), 0.1)),
        ("direction", 2),
        ("cube_x", (0.1, 0.5)),
        ("cube_y", (-3.0, 0.0)),
        ("hand_height", (0.0, 0.2)),
        ("cube_mass", 0.0),
        ("friction", float("inf")),
        ("stream_pause_s", -1.0),
        ("noise", -1.0),
        ("cube_rgb", (2.0, 0.0, 0.0)),
        ("light", (0.0, 0.0, 1.0)),
    ],
)
def test_nonsense_configurations_are_refused_by_name(key, value) -> None:
    with pytest.raises(ConfigError, match=key):
        BeltConfig(**{key: value})


def test_an_unknown_key_in_the_file_is_refused(tmp_path) -> None:
    file = tmp_path / "belt.yaml"
    file.write_text("sped: [0.1, 0.2]\n")
    with pytest.raises(ConfigError, match=r"sped.*speed"):
        load_belt_config(file)
