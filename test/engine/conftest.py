"""An untrained policy directory, and an observation that fits it; the tests here share `agreement` and `mutations`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from f1_ros.engine.config import EngineConfig
from f1_ros.engine.export import build_engine
from f1_ros.engine.policy import PolicyFile
from f1_ros.engine.protocol import PolicySpec
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.observe.observation import Observation
from f1_ros.train.export import write_policy

sys.path.insert(0, str(Path(__file__).parent))

NAMES = (*(f"fr3_joint{i}" for i in range(1, 8)), "gripper")
STATS = {"mode": "mean_std", "mean": [0.0] * 8, "std": [1.0] * 8}


@pytest.fixture(scope="session")
def policy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    torch.manual_seed(0)
    network = F1Model(F1Config.from_json(Path(__file__).parents[1] / "train" / "tiny_network.json"))
    spec = PolicySpec(
        name="tiny",
        robot="franka",
        cameras=("front", "wrist"),
        image_size=16,
        history_resize=16,
        history_size=16,
        history_offsets=(-2, -1, 0),
        past_images=(0,),
        foresight_offset=1,
        step_s=0.05,
        first_step_offset=1,
        state_names=NAMES,
        action_names=NAMES,
        chunk_size=4,
        default_instruction="pick the cube",
    )
    file = PolicyFile(spec, relative_actions=(True,) * 7 + (False,), foresight_top_k=1, foresight_top_p=1.0)
    write_policy(folder, network, file, {"observation.state": STATS, "action": STATS}, ["pick", "the", "cube"])
    return folder


@pytest.fixture
def observation() -> Observation:
    draw = np.random.default_rng(0)
    return Observation(
        stamp_ns=200,
        cameras=("front", "wrist"),
        camera_stamps_ns=(200, 201),
        images=draw.uniform(-1, 1, (2, 3, 16, 16)).astype(np.float32),
        history=draw.integers(0, 255, (3, 3, 16, 16)).astype(np.uint8),
        history_stamps_ns=(100, 150, 200),
        state_names=NAMES,
        state=np.linspace(-0.3, 0.4, 8),
    )


@pytest.fixture(scope="session")
def golden_directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Recordings of the released network by name, completed by the tokenizer that the variants share."""
    golden = Path(__file__).parents[1] / "golden"
    found = {"f1_tiny_upstream": golden / "f1_tiny_upstream"}
    shared = load_file(found["f1_tiny_upstream"] / "model.safetensors")
    tokenizer = {name: tensor for name, tensor in shared.items() if name.startswith("model.vae.")}
    for source in sorted((golden / "f1_variants").iterdir()):
        folder = found[source.name] = tmp_path_factory.mktemp("golden") / source.name
        shutil.copytree(source, folder)
        (folder / "model.safetensors").unlink()
        save_file(load_file(source / "model.safetensors") | tokenizer, folder / "model.safetensors")
    return found


@pytest.fixture(scope="session")
def compiled_dir(policy_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The untrained policy, compiled."""
    folder = tmp_path_factory.mktemp("compiled") / "engine"
    build_engine(policy_dir, EngineConfig(backend="onnxruntime"), folder)
    return folder
