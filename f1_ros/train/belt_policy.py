"""One belt policy on one recording: what its phases train on, what they start from, and the result.

recording = Recording(folder / "demos", ("front", "wrist"), folder / "codes.npy", device)
policy = BeltPolicy("mine", settings, network_config, recording, tokenizer_path)
run = policy.prepare("warm", start=None, state=folder / "warm.pt")
train_together([run]); run.finish()
"""

from __future__ import annotations

import functools
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from f1_ros.engine.policy import PolicyFile
from f1_ros.errors import ConfigError
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.model.language import LanguageTokenizer
from f1_ros.train.demonstrations import Demonstrations
from f1_ros.train.export import write_policy
from f1_ros.train.policy import Phase, PolicyLosses
from f1_ros.train.policy_batches import PolicyBatches, SharedPictures, statistics, step_scale
from f1_ros.train.policy_loop import PolicyRun
from f1_ros.train.schedule import load_state
from f1_ros.train.tokenizer import encode_all
from f1_ros.train.words import save_word_tokenizer

if TYPE_CHECKING:
    from f1_ros.train.belt import BeltTraining

_CHECKED_FRAMES = 64
_SAME_TOKENS = 0.95  # rounding, where another device encoded them, changes few

_SEED_OF = {"warm": 0, "joint": 1000, "video": 2000}  # so that no two phases see the same samples in the same order


class Recording:
    """A recording for all policies that train on it: its pictures lie on the device once.

    Args:
        folder: the demonstrations.
        cameras: whose pictures the policy sees, in its order.
        codes: file with the front frames' tokens; None where no phase needs them.
        device: where it is trained.

    Raises:
        ConfigError: if the tokens are not of as many frames.
    """

    def __init__(self, folder: Path, cameras: tuple[str, ...], codes: Path | None, device: torch.device) -> None:
        self.data, self.device = Demonstrations(folder, cameras), device
        self.codes: NDArray[np.int16] | None = None
        if codes is not None:
            self.codes = np.load(codes, mmap_mode="r", allow_pickle=False)
            if len(self.codes) != len(self.data):
                raise ConfigError(
                    f"{codes} holds tokens of {len(self.codes)} frames, {folder} has {len(self.data)}.",
                    remedy="Delete the file: it is of another recording. It is then made anew.",
                )

    @functools.cached_property
    def pictures(self) -> SharedPictures:
        """The cameras' frames."""
        return SharedPictures(self.data, self.device)


class BeltPolicy:
    """One policy in training.

    Args:
        name: for its lines of progress.
        settings: of the training; its own seed.
        network_config: the network's.
        recording: what it learns from.
        tokenizer_path: state of the trained tokenizer; only the warm phase does without.
        like: a policy with the same recording, labels and representation, whose tables are used again.
    """

    def __init__(
        self,
        name: str,
        settings: BeltTraining,
        network_config: F1Config,
        recording: Recording,
        tokenizer_path: Path,
        *,
        like: BeltPolicy | None = None,
    ) -> None:
        self.name, self.settings, self.recording = name, settings, recording
        self._network_config, self._tokenizer_path, self._like = network_config, tokenizer_path, like
        self.network: F1Model | None = None

    def prepare(self, phase: Phase, start: Path | None, state: Path) -> PolicyRun:
        """The run of a phase.

        Args:
            phase: which.
            start: state of the phase before; None for random weights.
            state: file of this phase's own state.

        Raises:
            CheckpointError: if a state cannot be read. ConfigError: if settings and recording do not fit.
        """
        policy = self.settings.policy
        torch.manual_seed(self.settings.seed)
        network = self.network = F1Model(self._network_config)
        network.tokenizer.requires_grad_(False)
        data = self.recording.data
        losses = PolicyLosses(
            network, policy, self.settings.spec, *self._words(), cubes=data.cubes.shape[1], tools=data.tools.shape[1]
        )
        if start is not None:
            losses.load_state_dict(load_state(start)["average"]["shadow"])
        if phase != "warm":
            network.tokenizer.load_state_dict(load_state(self._tokenizer_path)["model"])
            self._check_codes(network)
        chosen = self._video if phase == "video" else self._weighted
        steps = {"video": policy.video_steps, "warm": policy.warm_steps, "joint": policy.steps}[phase]
        rate = {"video": policy.video_rate, "warm": policy.warm_rate, "joint": policy.rate}[phase]
        return PolicyRun(
            self.name,
            losses,
            self.batches,
            chosen,
            self._split[1],
            phase=phase,
            steps=steps,
            rate=rate,
            seed=self.settings.seed + _SEED_OF[phase],
            state_path=state,
            device=self.recording.device,
        )

    def export(self, folder: Path) -> None:
        """Write the policy directory of what was trained last."""
        if self.network is None:
            raise ConfigError(f"{self.name} was not trained.", remedy="Train it first.")
        write_policy(folder, self.network.cpu(), self.file, self.stats, self.settings.words)

    @functools.cached_property
    def batches(self) -> PolicyBatches:
        """Samples of the recording as the policy represents them."""
        if self._like is not None:
            return self._like.batches
        recording = self.recording
        return PolicyBatches(
            recording.data,
            recording.pictures,
            self.settings.windows,
            self._network_config,
            self.stats,
            self.file,
            recording.codes,
            recording.device,
        )

    @functools.cached_property
    def file(self) -> PolicyFile:
        """`policy.json`."""
        relative, policy = self.settings.relative_actions, self.settings.policy
        if self._like is not None:
            scale = self._like.file.step_scale
        else:
            scale = step_scale(self.recording.data, self._picks, self.settings.windows, np.asarray(relative))
        return PolicyFile(
            self.settings.trained_spec,
            relative,
            scale,
            self.settings.noise_scale,
            foresight=policy.foresight,
            foresight_top_k=1,
            foresight_top_p=1.0,
        )

    @functools.cached_property
    def stats(self) -> dict[str, dict[str, Any]]:
        """`stats.json`."""
        if self._like is not None:
            return self._like.stats
        return statistics(self.recording.data, self._labelled, self._picks, self.settings.windows, self.file)

    def _check_codes(self, network: F1Model) -> None:
        """A recording made anew on another processor has other frames after a while, though as many of them."""
        codes, front = self.recording.codes, self.recording.data.front
        if codes is None:
            return
        some = np.linspace(0, len(codes) - 1, min(len(codes), _CHECKED_FRAMES)).astype(np.int64)
        same = float((encode_all(network.tokenizer, front[some]) == codes[some]).mean())
        if same < _SAME_TOKENS:
            raise ConfigError(
                f"{self.name}: only {same:.0%} of the tokens are those of the recording's frames.",
                remedy="Delete the codes file: it is of another recording or tokenizer. It is then made anew.",
            )

    @functools.cached_property
    def _split(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        data = self.recording.data
        return data.split(data.samples(self.settings.windows), self.settings.policy.held_out)

    @property
    def _video(self) -> NDArray[np.int64]:
        """Steps whose pictures may be used."""
        return self._split[0]

    @functools.cached_property
    def _labelled(self) -> NDArray[np.int64]:
        """Steps whose labels may be used."""
        labels, steps = self.settings.policy.labels, self._split[0]
        return steps if labels is None else steps[self.recording.data.episode[steps] < labels]

    @functools.cached_property
    def _picks(self) -> NDArray[np.int64]:
        steps = self._labelled
        return steps[self.recording.data.precise[steps]]

    @property
    def _weighted(self) -> NDArray[np.int64]:
        return np.concatenate([self._labelled, *[self._picks] * (self.settings.policy.pick_weight - 1)])

    def _words(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and mask of the recording's instructions."""
        config = self._network_config
        with TemporaryDirectory() as folder:
            save_word_tokenizer(Path(folder), self.settings.words)
            language = LanguageTokenizer(Path(folder), config.tokenizer_max_length, config.und.vocab_size)
            return language(list(self.recording.data.instructions or (self.settings.spec.default_instruction,)))
