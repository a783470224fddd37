"""The belt policy from nothing: demonstrations, tokenizer, joint objective, policy directory.

Each phase writes its result into the run's folder and is skipped or gone on with when it is there already, so that a
killed run resumes where it was.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from f1_ros.config import load_yaml
from f1_ros.engine.policy import STATS_FILE, PolicyFile
from f1_ros.engine.protocol import PolicySpec
from f1_ros.errors import ConfigError
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.model.language import LanguageTokenizer
from f1_ros.sim.demonstrations import record
from f1_ros.sim.expert import Phase
from f1_ros.train.demonstrations import Demonstrations, Windows
from f1_ros.train.export import write_policy
from f1_ros.train.policy import (
    PolicyBatches,
    PolicyLosses,
    PolicyTraining,
    statistics,
    step_scale,
    train_policy,
)
from f1_ros.train.tokenizer import TokenizerTraining, encode_all, train_tokenizer
from f1_ros.train.words import save_word_tokenizer


@dataclass(frozen=True)
class DemonstrationSettings:
    """How many demonstrations, from which seed, with how many processes."""

    episodes: int = 1500
    seed: int = 1
    workers: int = 2

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
    """

    seed: int
    threads: int
    network: str
    spec: PolicySpec
    relative_actions: tuple[bool, ...]
    words: tuple[str, ...]
    noise_scale: float = 1.0
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


class BeltRun:
    """One training run of the belt policy in a folder of its own."""

    def __init__(self, config_path: Path, folder: Path) -> None:
        self.settings = load_yaml(config_path, BeltTraining)
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
            progress=lambda done, total: print(f"recorded {done}/{total}", flush=True),
        )

    def train_tokenizer(self) -> None:
        """Train the tokenizer and encode every frame with it."""
        if self._codes_path.exists():
            return
        network = self._new_network()
        data = self._data()
        train_tokenizer(
            network.tokenizer,
            data.front,
            self.settings.tokenizer,
            coarse_scales=self.network_config.num_resolutions,
            seed=self.settings.seed,
            state_path=self._tokenizer_path,
        )
        codes = encode_all(network.tokenizer, data.front)
        temporary = self._codes_path.with_suffix(".partial.npy")
        np.save(temporary, codes)
        temporary.replace(self._codes_path)

    def train_warm(self) -> None:
        """Train the first part, without history and foresight; needs no tokenizer."""
        policy = self.settings.policy
        if policy.warm_steps:
            self._train(history=False, steps=policy.warm_steps, rate=policy.warm_rate, state=self._warm_path)

    def train_joint(self) -> None:
        """Train the joint objective on top of the two, and write the policy directory into the run's folder."""
        policy = self.settings.policy
        trained = self._train(history=True, steps=policy.steps, rate=policy.rate, state=self._joint_path)
        write_policy(self.folder / "policy", trained.network, trained.file, trained.stats, self.settings.words)
        print(f"policy written to {self.folder / 'policy'}", flush=True)

    def _train(self, *, history: bool, steps: int, rate: float, state: Path) -> PolicyBatches:
        data = self._data()
        samples = data.samples(self.settings.windows)
        train, held_out = data.split(samples, self.settings.policy.held_out)
        network = self._new_network()
        network.tokenizer.requires_grad_(False)
        save_word_tokenizer(self.folder, self.settings.words)
        config = self.network_config
        language = LanguageTokenizer(self.folder, config.tokenizer_max_length, config.und.vocab_size)
        tokens, mask = language([self.settings.spec.default_instruction])
        losses = PolicyLosses(network, self.settings.policy, self.settings.spec, tokens, mask)
        if history:
            if self.settings.policy.warm_steps:
                losses.load_state_dict(torch.load(self._warm_path, weights_only=True)["average"]["shadow"])
            network.tokenizer.load_state_dict(torch.load(self._tokenizer_path, weights_only=True)["model"])
        codes = np.load(self._codes_path, mmap_mode="r", allow_pickle=False) if history else None
        picks = train[data.phase[train] <= Phase.LIFT]
        file = self._policy_file(data, picks)
        stats = self._statistics(data, train, picks, file)
        train = np.concatenate([train, *[picks] * (self.settings.policy.pick_weight - 1)])
        batches = PolicyBatches(data, self.settings.windows, network, stats, file, codes)
        train_policy(
            losses,
            batches,
            train,
            held_out,
            history=history,
            steps=steps,
            rate=rate,
            seed=self.settings.seed + (1000 if history else 0),
            state_path=state,
        )
        return batches

    def _policy_file(self, data: Demonstrations, picks: NDArray[np.int64]) -> PolicyFile:
        relative = self.settings.relative_actions
        scale = step_scale(data, picks, self.settings.windows, np.asarray(relative))
        return PolicyFile(
            self.settings.trained_spec,
            relative,
            scale,
            self.settings.noise_scale,
            foresight_top_k=1,
            foresight_top_p=1.0,
        )

    def _statistics(
        self, data: Demonstrations, samples: NDArray[np.int64], picks: NDArray[np.int64], file: PolicyFile
    ) -> dict[str, dict[str, Any]]:
        path = self.folder / STATS_FILE
        if not path.exists():
            path.write_text(json.dumps(statistics(data, samples, picks, self.settings.windows, file), indent=1) + "\n")
        return dict(json.loads(path.read_text()))

    def _new_network(self) -> F1Model:
        torch.manual_seed(self.settings.seed)
        return F1Model(self.network_config)

    def _data(self) -> Demonstrations:
        return Demonstrations(self.folder / "demos")

    @property
    def _tokenizer_path(self) -> Path:
        return self.folder / "tokenizer.pt"

    @property
    def _codes_path(self) -> Path:
        return self.folder / "codes.npy"

    @property
    def _warm_path(self) -> Path:
        return self.folder / "warm.pt"

    @property
    def _joint_path(self) -> Path:
        return self.folder / "joint.pt"
