"""The cover: neither camera sees the cube below it, the expert keeps its hand off it, each episode has its own."""

import json

import numpy as np
import pytest

from f1_ros.cli.main import main
from f1_ros.errors import ConfigError
from f1_ros.paths import share_dir
from f1_ros.sim.camera import RayRenderer
from f1_ros.sim.config import BeltConfig, load_belt_config
from f1_ros.sim.demonstrations import demonstrate
from f1_ros.sim.episodes import EpisodeStart, covered_steps, evaluation_seed, run_preroll
from f1_ros.sim.evaluate import EvaluationSettings, evaluate
from f1_ros.sim.expert import Expert, WorldState
from f1_ros.sim.lockstep import StepDriver
from f1_ros.sim.scene import COVER_HALF_Z, COVER_Z
from f1_ros.sim.world import BeltWorld

FILE = share_dir() / "config" / "sim" / "belt_cover.yaml"
CONFIG = load_belt_config(FILE)
FINGERTIPS = 0.009  # below the tool's point, m
FINGERS = 0.0663  # half the open hand's width at the fingers, m


def red(picture) -> int:
    """Pixels of the cube, in light and in shade."""
    r, g, b = (picture[..., i].astype(int) for i in range(3))
    return int(((r > 2 * g) & (r > 2 * b) & (r > 40)).sum())


def begin(world: BeltWorld, episode: int) -> StepDriver:
    world.reset(evaluation_seed(0, episode))
    start = EpisodeStart.ride(world)
    driver = StepDriver(world)
    driver.reset()
    run_preroll(world, driver, start)
    return driver


@pytest.mark.parametrize("who", ["expert", "still"])
@pytest.mark.parametrize(("speed", "direction"), [(0.08, 1), (0.18, -1), (0.30, 1)])
def test_neither_camera_sees_the_cube_while_it_is_hidden(speed, direction, who) -> None:
    world = BeltWorld(BeltConfig(cover=True, speed=(speed, speed), direction=direction))
    expert, renderer = Expert(world.kinematics), RayRenderer(world.scene)
    for episode in range(3):
        driver = begin(world, episode)
        cover, still = world.cover, world.state
        assert 0.3 <= cover.hidden_to_s - cover.hidden_from_s <= 0.6
        began = world.time_ns
        unseen = 0
        while (t := (world.time_ns - began) * 1e-9) < cover.hidden_to_s:
            seen = [red(renderer.render(world.snapshot(), camera, 96, 96)) for camera in ("front", "wrist")]
            if t == 0.0:
                assert seen[0] >= 10  # whole at the end of the pre-roll
            if t >= cover.hidden_from_s:
                assert seen == [0, 0]
                unseen += 1
            driver.step(expert.act(WorldState.of(world)).target if who == "expert" else still)
        assert unseen >= 5
        while (world.time_ns - began) * 1e-9 < cover.free_s:
            driver.step(expert.act(WorldState.of(world)).target if who == "expert" else still)
        assert red(world.render("front")) >= 8  # out again, the front camera's view of it perhaps crossed by the arm


def test_the_expert_follows_the_hidden_cube_and_never_puts_its_hand_through_the_panel() -> None:
    world = BeltWorld(CONFIG)
    expert = Expert(world.kinematics)
    for episode in range(6):
        driver = begin(world, episode)
        low, high = world.cover.span
        for _ in range(60 + covered_steps(world)):
            state = WorldState.of(world)
            driver.step(expert.act(state).target)
            _, y, z = world.tool_position
            if z - FINGERTIPS < COVER_Z + COVER_HALF_Z:
                assert y + FINGERS < low or y - FINGERS > high
            if world.counts.picked:
                break
        assert world.counts.picked == 1


def test_the_expert_picks_covered_cubes_in_both_directions_at_all_speeds() -> None:
    found = evaluate(EvaluationSettings(policy=None, episodes=8, seed=3, world=CONFIG, until_binned=False))
    assert found.success_rate == 1.0


def test_a_covered_episode_has_the_speed_and_the_hand_of_the_same_seed_without() -> None:
    plain, covered = BeltWorld(), BeltWorld(CONFIG)
    for seed in (1, 3):
        plain.reset(seed)
        covered.reset(seed)
        EpisodeStart.ride(covered)
        assert plain.belt_speed == covered.belt_speed
        assert np.array_equal(plain.joint_positions, covered.joint_positions)


def test_each_episode_shows_its_own_panel_and_none_before_it_is_laid() -> None:
    world = BeltWorld(CONFIG)
    kept = RayRenderer(world.scene)
    pictures = []
    for seed in (1, 2):
        world.reset(seed)
        bare = kept.render(world.snapshot(), "scene", 96, 96)
        assert np.array_equal(bare, bare_scene(seed))
        EpisodeStart.ride(world)
        pictures.append(kept.render(world.snapshot(), "scene", 96, 96))
        assert np.array_equal(pictures[-1], RayRenderer(world.scene).render(world.snapshot(), "scene", 96, 96))
        assert not np.array_equal(pictures[-1], bare)
    assert not np.array_equal(*pictures)


def bare_scene(seed: int) -> np.ndarray:
    world = BeltWorld()
    world.reset(seed)
    return world.render("scene")


def test_a_demonstration_tells_when_its_cube_was_hidden() -> None:
    world = BeltWorld(CONFIG)
    episode = demonstrate(world, 1, 0)
    steps = np.arange(len(episode.phase))
    hidden = (steps - 9 >= episode.cover.hidden_from_s / 0.05) & (steps - 9 <= episode.cover.hidden_to_s / 0.05)
    low, high = episode.cover.span
    assert hidden.sum() >= 5
    assert (episode.cube[hidden, 1] > low + 0.02).all()
    assert (episode.cube[hidden, 1] < high - 0.02).all()
    assert demonstrate(BeltWorld(), 1, 0).cover is None


def test_the_packaged_configuration_only_adds_the_cover() -> None:
    assert BeltConfig(cover=True) == CONFIG


def test_a_recording_with_a_cover_says_where_it_lay(tmp_path) -> None:
    arguments = ["--episodes", "1", "--workers", "1", "--config", str(FILE), "--out", str(tmp_path / "demos")]
    assert main(["sim", "record", *arguments]) == 0
    meta = json.loads((tmp_path / "demos" / "meta.json").read_text())
    (episode,) = meta["per_episode"]
    assert meta["config"]["cover"] is True
    assert episode["cover"]["low_y"] < episode["cover"]["high_y"]
    assert 0.3 <= episode["cover"]["hidden_to_s"] - episode["cover"]["hidden_from_s"] <= 0.6
    front = np.load(tmp_path / "demos" / "front.npy", mmap_mode="r")
    first = 9 + round(episode["cover"]["hidden_from_s"] / 0.05) + 1
    assert red(front[8]) >= 10
    assert red(front[first]) == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"cover_s": (0.6, 0.3)}, "cover_s"),
        ({"cover_lead_s": (-0.1, 0.3)}, "cover_lead_s"),
        ({"cover_s": (0.1, 9.0)}, "cover_s"),
        ({"speed": (0.0, 0.1)}, "never comes out"),
    ],
)
def test_impossible_covers_are_refused(keys, message) -> None:
    with pytest.raises(ConfigError, match=message):
        BeltConfig(cover=True, **keys)


def test_a_cover_is_for_one_cube_that_rides_in() -> None:
    with pytest.raises(ConfigError, match="stream"):
        BeltWorld(CONFIG, stream=True)
    with pytest.raises(ConfigError, match="suddenly"):
        EvaluationSettings(policy=None, episodes=1, world=CONFIG, sudden=True)
    with pytest.raises(ConfigError, match="no cover"):
        BeltWorld().place_cover(0.0)
