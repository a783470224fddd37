"""A recording and a network that train in seconds; lets the tests of this folder share `tuning_rig`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from f1_ros.model.config import F1Config

sys.path.insert(0, str(Path(__file__).parent))

TREE = json.loads((Path(__file__).parent / "tiny_network.json").read_text())


@pytest.fixture
def network_config() -> F1Config:
    return F1Config.from_dict(TREE)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run's folder with a recording of four episodes: a bright square that moves, an arm that follows it."""
    draw = np.random.default_rng(0)
    episodes, length = 4, 12
    n = episodes * length
    front = np.full((n, 16, 16, 3), 40, np.uint8)
    at = np.tile(np.arange(length), episodes)
    for i, x in enumerate(at):
        front[i, 4:8, x : x + 4] = (220, 40, 30)
    state = draw.normal(scale=0.01, size=(n, 8)).astype(np.float32) + at[:, None] * 0.05
    place = np.stack([at * 0.01, np.zeros(n), np.zeros(n)], axis=1).astype(np.float32)
    arrays = {
        "front": front,
        "wrist": front[:, ::-1].copy(),
        "state": state,
        "action": (state + 0.05).astype(np.float32),
        "cube": place,
        "tool": np.zeros((n, 3), np.float32),
        "phase": np.zeros(n, np.int8),
        "episode": np.repeat(np.arange(episodes), length).astype(np.int32),
    }
    demos = tmp_path / "demos"
    demos.mkdir()
    for name, array in arrays.items():
        np.save(demos / f"{name}.npy", array)
    return tmp_path


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A training configuration for that recording."""
    (tmp_path / "network.json").write_text(json.dumps(TREE))
    names = [*(f"fr3_joint{i}" for i in range(1, 8)), "gripper"]
    settings = {
        "seed": 1,
        "threads": 1,
        "network": "network.json",
        "spec": {
            "name": "tiny",
            "robot": "franka",
            "cameras": ["front", "wrist"],
            "image_size": 16,
            "history_resize": 16,
            "history_size": 16,
            "history_offsets": [-2, -1, 0],
            "past_images": [0],
            "foresight_offset": 1,
            "step_s": 0.05,
            "first_step_offset": 1,
            "state_names": names,
            "action_names": names,
            "chunk_size": 4,
            "default_instruction": "pick the cube",
        },
        "relative_actions": [True] * 7 + [False],
        "words": ["pick", "the", "cube"],
        "tokenizer": {"steps": 12, "batch": 8, "warmup": 2},
        "policy": {"warm_steps": 3, "steps": 6, "batch": 4, "warmup": 1, "held_out": 0.25},
    }
    path = tmp_path / "train.yaml"
    path.write_text(json.dumps(settings))
    return path
