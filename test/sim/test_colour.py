"""Task "colour": several cubes, of which the instruction names one."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import f1_ros.engine
from f1_ros.cli.main import main
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.errors import ConfigError
from f1_ros.paths import share_dir
from f1_ros.sim.config import BeltConfig, load_belt_config
from f1_ros.sim.demonstrations import COLOUR_ARRAYS, demonstrate
from f1_ros.sim.episodes import EpisodeStart
from f1_ros.sim.evaluate import EvaluationSettings, evaluate
from f1_ros.sim.expert import Expert, WorldState
from f1_ros.sim.lockstep import StepDriver
from f1_ros.sim.tasks import COLOUR_INSTRUCTIONS, COLOURS, CUBE_RGB
from f1_ros.sim.world import BeltWorld

FILE = share_dir() / "config" / "sim" / "belt_colour.yaml"
CONFIG = load_belt_config(FILE)


@pytest.fixture(scope="module")
def world() -> BeltWorld:
    return BeltWorld(CONFIG)


def hold(world: BeltWorld, ticks: int) -> None:
    joints = world.joint_positions
    for _ in range(ticks):
        world.step(joints, 0.08)


def test_two_or_three_cubes_ride_together_with_room_for_the_fingers(world) -> None:
    counts, colours, targets, places = set(), set(), set(), []
    for seed in range(60):
        world.reset(seed)
        assert world.cubes == ()
        world.drop_cube()
        cubes = world.cubes
        counts.add(len(cubes))
        colours |= {cube.colour for cube in cubes}
        assert len({cube.colour for cube in cubes}) == len(cubes)
        y = np.sort([cube.position[1] for cube in cubes])
        assert np.diff(y).min() >= 0.11
        assert np.abs(y).max() <= 0.21
        assert len({round(cube.position[0], 6) for cube in cubes}) == len(cubes)
        assert world.target.colour in {cube.colour for cube in cubes}
        assert world.instruction == f"pick the {world.target.colour} cube"
        targets.add(world.target.colour)
        places.append(int(np.searchsorted(y, world.target.position[1])))
    assert counts == {2, 3}
    assert colours == targets == set(COLOURS)
    assert set(places) == {0, 1, 2}  # where a cube lies does not tell whether it counts


def test_the_cubes_have_the_colours_of_their_names_and_are_seen(world) -> None:
    seen = set()
    for seed in range(8):
        world.reset(seed)
        world.drop_cube()
        picture = world.render("front").reshape(-1, 3).astype(float)
        picture /= np.linalg.norm(picture, axis=1, keepdims=True)
        for cube in world.cubes:
            rgb = np.array(CUBE_RGB[COLOURS.index(cube.colour)])
            assert (picture @ (rgb / np.linalg.norm(rgb)) > 0.995).sum() >= 8
            seen.add(cube.colour)
    assert seen == set(COLOURS)


def test_same_seed_same_cubes(world) -> None:
    ends = []
    for _ in range(2):
        world.reset(5)
        world.drop_cube()
        hold(world, 30)
        ends.append((world.instruction, world.snapshot().qpos))
    assert ends[0][0] == ends[1][0]
    assert np.array_equal(ends[0][1], ends[1][1])


def test_the_words_of_the_instructions_are_those_of_the_belt_policys_tokenizer() -> None:
    words = yaml.safe_load((share_dir() / "config" / "train" / "belt.yaml").read_text())["words"]
    for instruction in (*COLOUR_INSTRUCTIONS, BeltWorld().instruction):
        assert set(instruction.split()) <= set(words)


def test_the_expert_picks_the_named_cube_and_leaves_the_others() -> None:
    settings = EvaluationSettings(policy=None, episodes=8, seed=2, world=CONFIG)
    found = evaluate(settings)
    assert found.successes == 8
    assert found.binned_rate == 1.0


def test_lifting_another_cube_is_the_failure_wrong_cube(world) -> None:
    world.reset(3)
    start = EpisodeStart.ride(world)
    driver, expert = StepDriver(world), Expert(world.kinematics)
    driver.reset()
    world.drop_cube(start.position)
    other = next(cube.colour for cube in world.cubes if cube.colour != world.target.colour)
    for _ in range(80):
        wrong = next((cube for cube in world.cubes if cube.colour == other), None)
        driver.step(expert.act(dataclasses.replace(WorldState.of(world), cube=wrong)).target)
        if world.wrong_picks:
            break
    assert world.wrong_picks == 1
    assert world.counts.picked == 0


def test_an_evaluation_ends_and_fails_with_the_wrong_cube(scripted, monkeypatch) -> None:
    """An engine whose plans are the expert's, for a cube that was not asked for."""
    from f1_ros.sim import evaluate as module

    worlds = []
    real = module.open_runner

    def open_runner(world, settings, profile):
        worlds.append(world)
        return real(world, settings, profile)

    def answer(observation) -> np.ndarray:
        world = worlds[-1]
        wrong = next((c for c in world.cubes if c.colour != world.target.colour), None) if world.target else None
        action = Expert(world.kinematics).act(dataclasses.replace(WorldState.of(world), cube=wrong)).target
        return np.tile(action, (16, 1))

    engine = scripted(answer)
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    monkeypatch.setattr(module, "open_runner", open_runner)
    belt = dataclasses.replace(CONFIG, speed=(0.08, 0.08))
    settings = EvaluationSettings(
        policy=Path("any"), episodes=1, seed=1, world=belt, delay_s=0.0, exact_delay=True, replan_steps=1
    )
    found = evaluate(settings)
    assert found.failures == {"wrong_cube": 1}
    assert not found.episodes[0].binned


def test_the_policy_is_told_each_episodes_instruction_unless_the_user_gives_one(scripted, monkeypatch) -> None:
    still = BeltWorld().state
    engine = scripted(lambda observation: np.tile(still, (16, 1)))
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    monkeypatch.setattr("f1_ros.sim.evaluate.EPISODE_STEPS", 4)
    monkeypatch.setattr("f1_ros.sim.evaluate.measured_latency_ms", lambda settings: 1.0)
    settings = EvaluationSettings(policy=Path("any"), episodes=6, world=CONFIG)
    evaluate(settings)
    world, asked = BeltWorld(CONFIG), []
    from f1_ros.sim.episodes import evaluation_seed

    for episode in range(6):
        world.reset(evaluation_seed(0, episode))
        asked.append(world.instruction)
    assert len(set(asked)) > 1
    assert list(dict.fromkeys(engine.instructions)) == list(dict.fromkeys(asked))
    engine.instructions.clear()
    evaluate(dataclasses.replace(settings, instruction="pick the cube"))
    assert set(engine.instructions) == {"pick the cube"}


def test_a_stream_asks_for_another_cube_each_time_and_counts_only_those() -> None:
    world = BeltWorld(dataclasses.replace(CONFIG, speed=(0.3, 0.3), stream_pause_s=0.1), stream=True)
    world.reset(2)
    asked = []
    while world.counts.missed < 4:
        hold(world, 1)
        if world.cubes and (not asked or asked[-1][0] != world.counts.spawned):
            assert world.target is not None
            asked.append((world.counts.spawned, world.instruction))
    assert world.counts.spawned in (4, 5)
    assert len({instruction for _, instruction in asked}) > 1
    assert world.cubes == ()


def test_a_recording_holds_all_cubes_and_what_was_asked_for(tmp_path) -> None:
    folder = tmp_path / "demos"
    arguments = ["--episodes", "3", "--workers", "1", "--config", str(FILE), "--out", str(folder)]
    assert main(["sim", "record", *arguments]) == 0
    a = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in COLOUR_ARRAYS}
    meta = json.loads((folder / "meta.json").read_text())
    steps = meta["steps"]
    assert (a["cubes"].shape, a["cubes"].dtype) == ((steps, 4, 3), np.float32)
    assert (a["instruction"].shape, a["instruction"].dtype) == ((steps,), np.int8)
    assert meta["instructions"] == [f"pick the {colour} cube" for colour in ("red", "green", "blue", "yellow")]
    for i, facts in enumerate(meta["per_episode"]):
        rows = a["episode"] == i
        (asked,) = np.unique(a["instruction"][rows])
        assert meta["instructions"][asked] == facts["instruction"]
        # The cube to be picked is the one of that colour.
        assert np.array_equal(a["cube"][rows], a["cubes"][rows][:, asked], equal_nan=True)
        there = ~np.isnan(a["cubes"][rows][..., 0])
        present = there[int(np.argmax(there.any(axis=1)))]
        assert present.sum() in (2, 3)
        assert present[asked]


def test_a_lerobot_recording_carries_each_episodes_instruction(tmp_path) -> None:
    folder = tmp_path / "demos"
    arguments = ["--format", "lerobot", "--episodes", "3", "--workers", "1", "--config", str(FILE), "--out"]
    assert main(["sim", "record", *arguments, str(folder)]) == 0
    dataset, world = LeRobotDataset(folder), BeltWorld(CONFIG)
    expected = [demonstrate(world, 1, episode).instruction for episode in range(3)]
    assert [dataset.instruction(episode, 0) for episode in range(3)] == expected
    assert set(expected) <= set(COLOUR_INSTRUCTIONS)


def test_the_packaged_configuration_only_changes_task_and_start() -> None:
    assert BeltConfig(task="colour", cube_y=CONFIG.cube_y) == CONFIG


def test_a_cover_hides_one_cube_only() -> None:
    with pytest.raises(ConfigError, match="single cube"):
        BeltConfig(task="colour", cover=True)
