"""Samples to the tensors of a training step, and everything random in that step.

What a sample's step draws depends on the run's seed and on the sample's position in the endless order of samples,
never on the batch that it stands in: two processes with half the batch each draw what one would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f1_ros.data.samples import Sample
from f1_ros.engine.policy import PolicyFile
from f1_ros.errors import ConfigError
from f1_ros.model.config import F1Config
from f1_ros.model.flow import step_times
from f1_ros.model.language import LanguageTokenizer
from f1_ros.model.losses import sample_time
from f1_ros.model.sampling import RowGenerators
from f1_ros.observe.normalise import Normaliser
from f1_ros.train.finetune_config import ForesightConfig

Statistics = Mapping[str, Mapping[str, Any]]
"""Contents of a `stats.json`: "observation.state" and "action"."""


@dataclass(frozen=True)
class Draws:
    """What a step draws.

    Attributes:
        noise: (B, chunk, A), the flow's x_1.
        time: (B,) the flow's times; (B, chunk) for a policy that plans from a committed prefix, 0 where a step is
            given.
        dropped: (B, L - 1) bool, teacher inputs that the mask embedding replaces (stage world_model).
        foresight: draws the codes inside the pass.
    """

    noise: Tensor
    time: Tensor
    dropped: Tensor
    foresight: RowGenerators


class Batches:
    """Makes tensors of samples: normalised, padded to the network's sizes, instructions as tokens.

    Args:
        config: of the network.
        file: layout and action representation of the policy.
        statistics: by dataset, in the order of `Sample.dataset`.
        language: tokenizer of the instructions.
        other_robots: whether datasets after the first may have another number of joints than the policy's layout, as
            in pre-training; their actions are then taken as they are.

    Raises:
        ConfigError: if statistics are missing, or of another number of joints than the policy's layout.
    """

    def __init__(
        self,
        config: F1Config,
        file: PolicyFile,
        statistics: Sequence[Statistics],
        language: LanguageTokenizer,
        *,
        other_robots: bool = False,
    ) -> None:
        self.config, self.file, self.statistics = config, file, tuple(statistics)
        self._language = language
        self._tokens: dict[str, tuple[Tensor, Tensor]] = {}
        spec = file.spec
        layout = (len(spec.state_names), len(spec.action_names))
        self.states = [_normaliser(s, "observation.state", config.max_state_dim) for s in statistics]
        self.actions = [_normaliser(s, "action", config.max_action_dim) for s in statistics]
        dims = [(state.dim, action.dim) for state, action in zip(self.states, self.actions, strict=True)]
        self.in_layout = [own == layout for own in dims]
        """Whether a dataset, by number, has the policy's layout."""
        wrong = [i for i, fits in enumerate(self.in_layout) if not fits and not (other_robots and i > 0)]
        if wrong:
            raise ConfigError(
                f"Dataset {wrong[0]} has {dims[wrong[0]][0]} states and {dims[wrong[0]][1]} actions, the policy's "
                f"layout {layout[0]} ({', '.join(spec.state_names)}) and {layout[1]} ({', '.join(spec.action_names)}).",
                remedy="Use a dataset of this robot, or write the layout that the dataset has into policy.spec.",
            )
        if not all(self.in_layout) and any(file.relative_actions):
            raise ConfigError(
                "relative_actions are of the policy's layout, which not all datasets have.",
                remedy="Make policy.relative_actions false for training on several robots.",
            )

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Tensors of a batch.

        Returns:
            images (B, cameras + past, 3, S, S) in [-1, 1], present (B, cameras + past) bool, tokens (B, n) int64 and
            language_mask (B, n) bool, history (B, T, 3, H, W) and target (B, 3, H, W) uint8, state (B, d), actions
            (B, chunk, A), pad (B, chunk) bool.
        """
        past = list(self.file.spec.past_images)
        cameras = len(samples[0].images)
        images = np.empty((len(samples), cameras + len(past), *samples[0].images.shape[1:]), np.float32)
        present, states, actions = [], [], []
        for row, sample in zip(images, samples, strict=True):
            row[:cameras] = sample.images
            if past:
                np.divide(sample.history[past], np.float32(127.5), out=row[cameras:])
                row[cameras:] -= 1
            present.append(np.concatenate([sample.present, np.repeat(sample.present[:1], len(past))]))
            states.append(self.states[sample.dataset].normalise(sample.state))
            fits = self.in_layout[sample.dataset]
            given = self.file.to_network(sample.actions, sample.state) if fits else sample.actions
            actions.append(self.actions[sample.dataset].normalise(given))
        words = [self._tokenise(sample.instruction) for sample in samples]
        return {
            "images": torch.from_numpy(images),
            "present": torch.from_numpy(np.stack(present)),
            "tokens": torch.cat([tokens for tokens, _ in words]),
            "language_mask": torch.cat([mask for _, mask in words]),
            "history": _stacked([sample.history for sample in samples]),
            "target": _stacked([sample.target for sample in samples]),
            "state": torch.from_numpy(np.stack(states)),
            "actions": torch.from_numpy(np.stack(actions)),
            "pad": torch.from_numpy(np.stack([sample.action_is_pad for sample in samples])),
        }

    def draws(self, first: int, rows: int, seed: int, settings: ForesightConfig, device: torch.device) -> Draws:
        """What the samples at positions first .. first + rows - 1 draw.

        Args:
            first: position of the batch's first sample in the endless order.
            rows: samples in the batch.
            seed: of the run.
            settings: how much of the world model's input is masked.
            device: where the tensors go.
        """
        inputs = max(self.config.frame_tokens - 1, 0)
        noise, times, dropped, seeds = [], [], [], []
        for position in range(first, first + rows):
            numbers = np.random.default_rng([seed, position, 1])
            generator = torch.Generator().manual_seed(int(numbers.integers(2**62)))
            seeds.append(int(numbers.integers(2**62)))
            noise.append(torch.randn(self.config.chunk_size, self.config.max_action_dim, generator=generator))
            times.append(self._time(sample_time(1, generator), generator))
            masked = numbers.random() < settings.mask_sequences
            dropped.append(torch.from_numpy((numbers.random(inputs) < settings.mask_tokens) & masked))
        return Draws(
            torch.stack(noise).to(device),
            torch.cat(times).to(device),
            torch.stack(dropped).to(device),
            RowGenerators(seeds, device),
        )

    def _time(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """A sample's flow time (1,), or one for each step (1, chunk) as the policy is to plan; see `step_times`."""
        spec, chunk = self.file.spec, self.config.chunk_size
        if not (spec.trained_prefix_steps or spec.trained_near_steps):
            return time
        committed = torch.randint(spec.trained_prefix_steps + 1, (1,), generator=generator)
        near = spec.trained_near_steps if torch.rand((), generator=generator) < 0.5 else 0
        return step_times(time, committed, chunk, near=near, flow_steps=self.config.num_steps)

    def to_robot(self, actions: Tensor, sample: Sample) -> NDArray[np.float64]:
        """The network's actions (chunk, A) as absolute ones (chunk, joints), rad and m; for the policy's layout."""
        numbers = self.actions[sample.dataset].denormalise(actions.detach().float().cpu().numpy())
        return self.file.from_network(numbers, sample.state)

    def _tokenise(self, instruction: str) -> tuple[Tensor, Tensor]:
        if instruction not in self._tokens:
            self._tokens[instruction] = self._language([instruction])
        return self._tokens[instruction]


def _stacked(arrays: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Arrays as one tensor, in memory sample by sample (NumPy would keep the order that each has)."""
    return torch.from_numpy(np.stack(arrays, out=np.empty((len(arrays), *arrays[0].shape), np.uint8)))


def _normaliser(statistics: Statistics, key: str, size: int) -> Normaliser:
    if key not in statistics:
        raise ConfigError(
            f"The statistics have no '{key}'.",
            remedy="Compute them with `f1-ros data stats --write`, or set data.statistics to 'start'.",
        )
    return Normaliser.from_stats(statistics[key], size, key)
