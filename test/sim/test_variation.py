"""Variation by seed: each kind changes what it is about and nothing else, and without any the world is as it was."""

import dataclasses

import numpy as np
import pytest

from f1_ros.errors import ConfigError
from f1_ros.paths import share_dir
from f1_ros.sim.camera import RayRenderer
from f1_ros.sim.config import BeltConfig, load_belt_config
from f1_ros.sim.demonstrations import demonstrate
from f1_ros.sim.evaluate import EvaluationSettings, evaluate
from f1_ros.sim.world import BeltWorld

VARIED = load_belt_config(share_dir() / "config" / "sim" / "belt_varied.yaml")
PLACE = (0.45, 0.02)


def shown(config: BeltConfig, seed: int, camera: str = "front") -> np.ndarray:
    world = BeltWorld(config)
    world.reset(seed)
    world.drop_cube(PLACE)
    return world.render(camera).astype(int)


def changed(config: BeltConfig, seed: int = 5, camera: str = "front") -> np.ndarray:
    """Pixels in which an episode of a configuration differs from the plain one."""
    return (shown(config, seed, camera) != shown(BeltConfig(), seed, camera)).any(axis=-1)


def cube(picture) -> np.ndarray:
    return (picture[..., 0] > 2 * picture[..., 1]) & (picture[..., 0] > 2 * picture[..., 2])


def test_the_colour_of_the_cube_alone_changes_with_its_spread() -> None:
    there = cube(shown(BeltConfig(), 5))
    assert there.sum() >= 10
    assert np.array_equal(changed(BeltConfig(cube_rgb_spread=0.1)), there)
    assert np.abs(shown(BeltConfig(cube_rgb_spread=0.1), 5) - shown(BeltConfig(), 5)).max() <= 0.1 * 255 * 1.05 + 1


def test_the_light_changes_what_it_falls_on() -> None:
    assert changed(BeltConfig(light_gain=(0.5, 0.6))).mean() > 0.5
    turned = BeltConfig(light_turn=0.3)
    assert changed(turned).mean() > 0.5
    dimmer = shown(BeltConfig(light_gain=(0.5, 0.6)), 5) - shown(BeltConfig(), 5)
    assert dimmer.max() <= 0


def test_only_the_front_camera_moves() -> None:
    for config in (BeltConfig(camera_shift=0.02), BeltConfig(camera_turn=0.03)):
        assert changed(config, camera="front").any()
        assert not changed(config, camera="wrist").any()
    # 0.03 rad are 2.5 of 96 rows at the most: the cube is still about where it was.
    rows = [np.argwhere(cube(shown(c, 5))).mean(axis=0) for c in (BeltConfig(), BeltConfig(camera_turn=0.03))]
    assert 0 < np.abs(rows[0] - rows[1]).max() < 5


def test_friction_is_drawn_from_its_range_and_set_for_cube_and_belt() -> None:
    world = BeltWorld(BeltConfig(friction_gain=(0.5, 0.9)))
    drawn = set()
    for seed in range(10):
        world.reset(seed)
        friction = {float(world.scene.model.geom(name).friction[0]) for name in ("cube", "belt")}
        assert len(friction) == 1
        drawn |= friction
    assert len(drawn) == 10
    assert 0.5 * 1.2 <= min(drawn) <= max(drawn) <= 0.9 * 1.2


def test_each_seed_has_looks_of_its_own_and_keeps_them_through_the_episode() -> None:
    world, kept = BeltWorld(VARIED), None
    renderer = RayRenderer(world.scene)
    pictures = []
    for seed in (1, 2, 1):
        world.reset(seed)
        kept = world.looks
        pictures.append(renderer.render(world.snapshot(), "front", 96, 96))
        world.drop_cube()
        world.step(world.joint_positions, 0.08)
        assert world.looks == kept
    assert not np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])  # whatever the same renderer drew in between


def test_speed_hand_and_start_are_those_of_the_same_seed_without_variation() -> None:
    plain, varied = BeltWorld(), BeltWorld(VARIED)
    for seed in (3, 4):
        plain.reset(seed)
        varied.reset(seed)
        assert plain.belt_speed == varied.belt_speed
        assert plain.draw_start() == varied.draw_start()
        assert np.array_equal(plain.joint_positions, varied.joint_positions)


def test_one_variation_is_drawn_the_same_whether_or_not_another_is_on() -> None:
    both, one = BeltWorld(VARIED), BeltWorld(dataclasses.replace(VARIED, light_turn=0.0, friction_gain=(1.0, 1.0)))
    both.reset(6)
    one.reset(6)
    assert both.looks.cube_rgb == one.looks.cube_rgb
    assert both.looks.camera_position == one.looks.camera_position
    assert both.looks.light != one.looks.light


def test_demonstrations_show_the_looks_of_their_episodes() -> None:
    world = BeltWorld(VARIED)
    first, second = (demonstrate(world, 1, episode) for episode in (0, 4))
    assert first.snapshots[0].looks == first.snapshots[-1].looks
    assert first.snapshots[0].looks != second.snapshots[0].looks


def test_the_expert_picks_on_the_varied_belt_and_a_cover_may_vary_too() -> None:
    for belt in (VARIED, dataclasses.replace(VARIED, cover=True)):
        found = evaluate(EvaluationSettings(policy=None, episodes=5, seed=4, world=belt, until_binned=False))
        assert found.successes >= 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("friction_gain", (0.0, 1.0)),
        ("light_gain", (1.2, 0.8)),
        ("cube_rgb_spread", -0.1),
        ("cube_rgb_spread", float("nan")),
        ("light_turn", 2.0),
        ("camera_shift", float("inf")),
        ("camera_turn", -0.01),
    ],
)
def test_impossible_variations_are_refused_by_name(key, value) -> None:
    with pytest.raises(ConfigError, match=key):
        BeltConfig(**{key: value})
