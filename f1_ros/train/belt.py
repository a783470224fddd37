"""The policy of a simulated world from nothing: demonstrations, tokenizer, joint objective, policy directory.

Each phase writes its result into the run's folder and is skipped or gone on with when it is there already, so that a
killed run resumes where it was.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from f1_ros.config import load_yaml
from f1_ros.engine.protocol import PolicySpec
from f1_ros.errors import ConfigError
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.sim.demonstrations import record
from f1_ros.sim.worlds import load_world_config
from f1_ros.train.belt_policy import BeltPolicy, Recording
from f1_ros.train.demonstrations import Demonstrations, Windows
from f1_ros.train.policy import Phase as TrainingPhase
from f1_ros.train.policy import PolicyTraining
from f1_ros.train.policy_loop import train_together
from f1_ros.train.tokenizer import TokenizerTraining, encode_all, train_tokenizer


@dataclass(frozen=True)
class DemonstrationSettings:
    """How many demonstrations, from which seed, with how many processes; `tasks` of a twin in each."""

    episodes: int = 1500
    seed: int = 1
    workers: int = 2
    tasks: int = 1

    def __post_init__(self) -> None:
        if self.episodes < 2 or self.workers < 1:
            raise ConfigError(
                "demonstrations: at least 2 episodes and 1 worker are needed.",
                remedy="Correct the `demonstrations` section of the training configuration.",
            )


@dataclass(frozen=True)
class BeltTraining:
    """`config/train/belt.yaml`.

    Attributes:
        seed: seed of weights, batches and noise.
        threads: CPU threads of the training process.
        network: the network's `config.json`, relative to the configuration file.
        spec: what the trained policy expects of a robot; see `PolicySpec`.
        relative_actions: for each action, whether it is learnt relative to the present state.
        words: vocabulary of the language tokenizer.
        noise_scale: see `PolicyFile`.
        world: configuration of the world, relative to the training configuration; None: the Franka's belt.
    """

    seed: int
    threads: int
    network: str
    spec: PolicySpec
    relative_actions: tuple[bool, ...]
    words: tuple[str, ...]
    noise_scale: float = 1.0
    world: str | None = None
    demonstrations: DemonstrationSettings = field(default_factory=DemonstrationSettings)
    tokenizer: TokenizerTraining = field(default_factory=TokenizerTraining)
    policy: PolicyTraining = field(default_factory=PolicyTraining)

    def __post_init__(self) -> None:
        if self.spec.trained_prefix_steps or self.spec.trained_near_steps:
            raise ConfigError(
                "spec.trained_prefix_steps and spec.trained_near_steps are for training to say.",
                remedy="Leave them out; set policy.prefix_steps_max and policy.near_steps.",
            )
        for key in ("prefix_steps_max", "near_steps"):
            if getattr(self.policy, key) >= self.spec.chunk_size:
                raise ConfigError(
                    f"policy.{key} is {getattr(self.policy, key)} in a chunk of {self.spec.chunk_size} steps.",
                    remedy="Give fewer than the chunk's steps.",
                )

    @property
    def trained_spec(self) -> PolicySpec:
        """The spec with what the policy is trained for."""
        return dataclasses.replace(
            self.spec,
            trained_prefix_steps=self.policy.prefix_steps_max,
            trained_near_steps=self.policy.near_steps,
        )

    @property
    def windows(self) -> Windows:
        """How far a sample reaches, from the policy's own timing."""
        return Windows(self.spec.history_offsets, self.spec.foresight_offset, self.spec.chunk_size)


def open_device(name: str) -> torch.device:
    """The device to train on, "cpu" or "cuda"; a card multiplies matrices in TensorFloat-32, several times faster.

    Raises:
        ConfigError: if it is not there.
    """
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"--device is {name}.", remedy="Give cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "--device is cuda, but PyTorch finds no graphics card.",
            remedy="Install a PyTorch build for your card and its driver, or give cpu.",
        )
    if name == "cuda":
        torch.set_float32_matmul_precision("high")
    return torch.device(name)


class BeltRun:
    """One training run of a world's policy in a folder of its own."""

    def __init__(self, config_path: Path, folder: Path, *, device: str = "cpu") -> None:
        self.settings = load_yaml(config_path, BeltTraining)
        self.world = None if self.settings.world is None else config_path.parent / self.settings.world
        self.device = open_device(device)
        self.network_config = F1Config.from_json(config_path.parent / self.settings.network)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(self.settings.threads)

    def record(self) -> None:
        """Record the demonstrations, unless they are there."""
        folder, wanted = self.folder / "demos", self.settings.demonstrations
        if (folder / "meta.json").exists():
            return
        record(
            folder,
            wanted.episodes,
            wanted.seed,
            workers=wanted.workers,
            config=load_world_config(self.world),
            tasks=wanted.tasks,
            progress=lambda done, total: print(f"recorded {done}/{total}", flush=True),
        )

    def train_tokenizer(self) -> None:
        """Train the tokenizer and encode every frame with it."""
        if self._codes_path.exists():
            return
        torch.manual_seed(self.settings.seed)
        tokenizer = F1Model(self.network_config).tokenizer.to(self.device)
        front = Demonstrations(self.folder / "demos", self.settings.spec.cameras).front
        train_tokenizer(
            tokenizer,
            front,
            self.settings.tokenizer,
            coarse_scales=self.network_config.num_resolutions,
            seed=self.settings.seed,
            state_path=self._tokenizer_path,
        )
        codes = encode_all(tokenizer, front)
        temporary = self._codes_path.with_suffix(".partial.npy")
        np.save(temporary, codes)
        temporary.replace(self._codes_path)

    def train_video(self) -> None:
        """Train foresight alone, from pictures without labels, if the configuration asks for it."""
        if self.settings.policy.video_steps:
            self._train("video", None, self._video_path)

    def train_warm(self) -> None:
        """Train the first part, without history and foresight; needs no tokenizer."""
        policy = self.settings.policy
        if policy.warm_steps:
            self._train("warm", self._video_path if policy.video_steps else None, self._warm_path)

    def train_joint(self) -> None:
        """Train the joint objective on top of the others, and write the policy directory into the run's folder."""
        policy = self.settings.policy
        start = self._warm_path if policy.warm_steps else self._video_path if policy.video_steps else None
        self._train("joint", start, self._joint_path).export(self.folder / "policy")
        print(f"policy written to {self.folder / 'policy'}", flush=True)

    def _train(self, phase: TrainingPhase, start: Path | None, state: Path) -> BeltPolicy:
        codes = self._codes_path if phase != "warm" else None
        recording = Recording(self.folder / "demos", self.settings.spec.cameras, codes, self.device)
        policy = BeltPolicy(
            self.settings.spec.name, self.settings, self.network_config, recording, self._tokenizer_path
        )
        run = policy.prepare(phase, start, state)
        train_together([run])
        run.finish()
        return policy

    @property
    def _tokenizer_path(self) -> Path:
        return self.folder / "tokenizer.pt"

    @property
    def _codes_path(self) -> Path:
        return self.folder / "codes.npy"

    @property
    def _video_path(self) -> Path:
        return self.folder / "video.pt"

    @property
    def _warm_path(self) -> Path:
        return self.folder / "warm.pt"

    @property
    def _joint_path(self) -> Path:
        return self.folder / "joint.pt"
