"""Recordings: format, determinism, resumption, and what is refused."""

import json

import numpy as np
import pytest

from f1_ros.errors import ConfigError
from f1_ros.sim import demonstrations
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.cubes import Cube, cube_place
from f1_ros.sim.demonstrations import ARRAYS, demonstrate, record
from f1_ros.sim.episodes import evaluation_seed, training_seed
from f1_ros.sim.expert import Expert, Phase, WorldState
from f1_ros.sim.franka import FR3
from f1_ros.sim.world import BeltWorld

CONFIG = BeltConfig(speed=(0.10, 0.15))


def load(folder) -> dict[str, np.ndarray]:
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}


def test_what_is_recorded_resumes_after_an_interruption_and_is_the_same_every_time(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(demonstrations, "PART_EPISODES", 1)
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    steps = record(whole, 2, 7, workers=2, config=CONFIG)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(torn, 2, 7, workers=1, config=CONFIG, progress=interrupt)
    assert list((torn / "parts").iterdir())
    with pytest.raises(ConfigError, match="other settings"):
        record(torn, 3, 7, workers=1, config=CONFIG)
    calls = []
    assert record(torn, 2, 7, workers=1, config=CONFIG, progress=lambda *at: calls.append(at)) == steps
    assert (2, 2) in calls or not calls
    first, second = load(whole), load(torn)
    for name in ARRAYS:
        assert np.array_equal(first[name], second[name], equal_nan=name == "cube")
    assert sorted(p.name for p in torn.iterdir()) == sorted([*(f"{n}.npy" for n in ARRAYS), "meta.json"])
    with pytest.raises(ConfigError, match="finished recording"):
        record(torn, 2, 7, workers=1, config=CONFIG)

    a = first
    assert a["front"].shape == a["wrist"].shape == (steps, 96, 96, 3)
    assert a["front"].dtype == np.uint8
    assert {name: (a[name].shape[1:], a[name].dtype.name) for name in ARRAYS[2:]} == {
        "state": ((8,), "float32"),
        "action": ((8,), "float32"),
        "executed": ((8,), "float32"),
        "cube": ((3,), "float32"),
        "tool": ((3,), "float32"),
        "phase": ((), "int8"),
        "episode": ((), "int32"),
    }
    assert np.unique(a["episode"]).tolist() == [0, 1]
    meta = json.loads((whole / "meta.json").read_text())
    assert meta["steps"] == steps
    assert [e["steps"] for e in meta["per_episode"]] == np.bincount(a["episode"]).tolist()
    assert [e["noise"] for e in meta["per_episode"]] == [0.0, 0.03]
    assert [e["instruction"] for e in meta["per_episode"]] == ["pick the cube from the belt"] * 2
    assert meta["config"]["speed"] == [0.10, 0.15]


def test_a_second_recording_into_the_same_folder_is_kept_out(tmp_path) -> None:
    def nested(done: int, total: int) -> None:
        with pytest.raises(ConfigError, match="Another process"):
            record(tmp_path, 1, 0, config=CONFIG)
        calls.append(done)

    calls: list[int] = []
    record(tmp_path, 1, 0, workers=1, config=CONFIG, progress=nested)
    assert calls == [1]


def test_an_episode_starts_with_a_still_arm_and_ends_with_a_binned_cube() -> None:
    episode = demonstrate(BeltWorld(CONFIG), 1, 0)
    phase = episode.phase
    assert (phase[:9] == -1).all()
    assert (phase[9:] >= 0).all()
    assert np.abs(episode.state[:10, :7] - episode.state[0, :7]).max() < 1e-3
    assert phase[-1] == Phase.WAIT
    assert np.isnan(episode.cube[-1]).all()
    held = phase == Phase.CARRY
    assert held.any()
    assert np.abs(episode.cube[held] - episode.tool[held]).max() < 0.03
    assert (episode.action[held, 7] == 0).all()
    assert np.abs(episode.cube[phase == Phase.CLOSE, 2] - 0.08).max() < 0.01
    assert episode.cube[episode.picked_step][2] > 0.15


def test_a_label_follows_from_what_a_policy_can_see() -> None:
    world = BeltWorld(CONFIG)
    episode = demonstrate(world, 2, 3)  # noisy: the arm is not where the labels took it
    expert = Expert(world.kinematics)
    errors = []
    for state, position, label in zip(episode.state, episode.cube, episode.action, strict=True):
        cube = None
        if np.isfinite(position).all():
            at = position.astype(float)
            riding = np.array([0.0, episode.belt_speed, 0.0]) if cube_place(at) == "belt" else np.zeros(3)
            cube = Cube(at, riding, np.array([1.0, 0.0, 0.0, 0.0]), cube_place(at), picked=False, age_ns=0)
        seen = WorldState(state[:7].astype(float), float(state[7]), cube)
        errors.append(np.abs(expert.act(seen).target - label).max())
    # All but the few steps in which a cube settles or is nudged, and is not as fast as the belt.
    assert np.quantile(errors, 0.8) < 1e-4
    assert np.quantile(errors, 0.9) < 5e-3
    assert (episode.action[:, :7] > FR3.limits.lower).all()
    assert (episode.action[:, :7] < FR3.limits.upper).all()
    assert np.unique(episode.action[:, 7]).tolist() == pytest.approx([0.0, 0.08])


def test_noise_disturbs_the_arm_but_not_the_label() -> None:
    world = BeltWorld(CONFIG)
    calm, noisy = demonstrate(world, 4, 0), demonstrate(world, 4, 3)
    assert (calm.noise, noisy.noise) == (0.0, 0.09)
    # The command executed without noise is the label: the arm gets there with the servos' lag.
    lag = np.abs(calm.state[11:, :7] - calm.action[8:-3, :7])
    assert np.median(lag) < np.median(np.abs(noisy.state[11:, :7] - noisy.action[8:-3, :7]))


def test_training_and_evaluation_seeds_never_meet() -> None:
    training = {training_seed(s, e, a) for s in range(3) for e in range(50) for a in range(60)}
    evaluation = {evaluation_seed(s, e) for s in range(3) for e in range(50)}
    assert len(training) == 3 * 50 * 60
    assert len(evaluation) == 150
    assert not training & evaluation


@pytest.mark.parametrize(("episodes", "seed", "workers"), [(0, 0, 1), (1, -1, 1), (1, 0, 0), (1, 0, 1000)])
def test_nonsense_is_refused_before_anything_is_written(tmp_path, episodes, seed, workers) -> None:
    with pytest.raises(ConfigError, match="makes no sense"):
        record(tmp_path / "new", episodes, seed, workers=workers)
    assert not (tmp_path / "new").exists()
