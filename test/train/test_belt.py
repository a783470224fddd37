"""The policy learns, resumes exactly, and what a run exports is what the engine runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from f1_ros.engine import open_engine
from f1_ros.errors import ConfigError
from f1_ros.observe.observation import Observation
from f1_ros.train.belt import BeltRun


def joint_state(folder: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(folder / "joint.pt", weights_only=True)["average"]["shadow"])


def train_all(config_file: Path, folder: Path) -> None:
    run = BeltRun(config_file, folder)
    run.train_tokenizer()
    run.train_warm()
    run.train_joint()


def test_a_run_goes_from_recording_to_an_engine_that_acts(run_folder: Path, config_file: Path) -> None:
    train_all(config_file, run_folder)
    policy = run_folder / "policy"
    assert {p.name for p in policy.iterdir()} >= {"config.json", "model.safetensors", "policy.json", "stats.json"}
    engine = open_engine(policy)
    engine.warm_up()
    observation = Observation(
        stamp_ns=1_000,
        cameras=("front", "wrist"),
        camera_stamps_ns=(1_000, 1_000),
        images=np.zeros((2, 3, 16, 16), np.float32),
        history=np.zeros((3, 3, 16, 16), np.uint8),
        history_stamps_ns=(800, 900, 1_000),
        state_names=engine.spec.state_names,
        state=np.full(8, 0.3),
    )
    result = engine.infer(observation, "pick the cube", seed=5)
    assert result.actions.shape == (4, 8)
    assert np.abs(result.actions[:, :7] - 0.3).max() < 0.3  # relative to the state, by the recording's small steps
    assert result.foresight is not None
    assert result.foresight.target_stamp_ns == 1_000 + 50_000_000
    assert engine.decode_foresight(result.foresight).shape == (16, 16, 3)
    again = engine.infer(observation, "pick the cube", seed=5)
    assert np.array_equal(again.actions, result.actions)
    assert not np.array_equal(engine.infer(observation, "pick the cube", seed=6).actions, result.actions)


def test_a_run_on_a_twins_recording_goes_through_with_two_arms_and_three_cameras(
    run_folder: Path, config_file: Path
) -> None:
    demos = run_folder / "demos"
    n = len(np.load(demos / "phase.npy"))
    front = np.load(demos / "front.npy")
    names = [*(f"left_{i}" for i in range(3)), "left_gripper", *(f"right_{i}" for i in range(3)), "right_gripper"]
    for camera in ("head", "hand_left", "hand_right"):
        np.save(demos / f"{camera}.npy", front)
    np.save(demos / "thing.npy", np.load(demos / "cube.npy"))
    np.save(demos / "tools.npy", np.zeros((n, 2, 3), np.float32))
    for gone in ("front", "wrist", "cube", "tool"):
        (demos / f"{gone}.npy").unlink()
    tree = json.loads((config_file.parent / "network.json").read_text())
    tree["und_expert_config"]["vision_config"] |= {"cameras": 3, "views": [0, 1, 2, 0]}
    (config_file.parent / "network.json").write_text(json.dumps(tree))
    settings = json.loads(config_file.read_text())
    settings["spec"] |= {"cameras": ["head", "hand_left", "hand_right"], "state_names": names, "action_names": names}
    settings["relative_actions"] = [not name.endswith("gripper") for name in names]
    config_file.write_text(json.dumps(settings))
    train_all(config_file, run_folder)
    engine = open_engine(run_folder / "policy")
    assert engine.spec.cameras == ("head", "hand_left", "hand_right")


def test_a_finished_run_trained_again_changes_nothing(run_folder: Path, config_file: Path) -> None:
    train_all(config_file, run_folder)
    first = joint_state(run_folder)
    train_all(config_file, run_folder)
    assert all(torch.equal(value, joint_state(run_folder)[key]) for key, value in first.items())


def test_a_run_from_nothing_repeats_itself(run_folder: Path, config_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "demos").symlink_to(run_folder / "demos")
    train_all(config_file, run_folder)
    train_all(config_file, other)
    first, second = joint_state(run_folder), joint_state(other)
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_an_unknown_setting_is_named(run_folder: Path, config_file: Path) -> None:
    settings = json.loads(config_file.read_text())
    settings["policy"]["stepps"] = 5
    config_file.write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="stepps"):
        BeltRun(config_file, run_folder)


def test_relative_actions_need_a_state_of_the_same_name(run_folder: Path, config_file: Path) -> None:
    settings = json.loads(config_file.read_text())
    settings["spec"]["action_names"][0] = "elbow"
    config_file.write_text(json.dumps(settings))
    run = BeltRun(config_file, run_folder)
    with pytest.raises(ConfigError, match="elbow"):
        run.train_warm()
