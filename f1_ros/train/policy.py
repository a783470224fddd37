"""The belt policy's objective: flow matching on action chunks plus cross-entropy of the foresight tokens.

    loss = flow + foresight_weight * cross-entropy + auxiliary_weight * auxiliary

Flow matching and its time distribution as the released model has them: t = 0.999 Beta(1.5, 1) + 0.001,
x_t = t noise + (1 - t) a, target noise - a. Several noise draws share one prefix pass, since the prefix costs most.
With `prefix_steps_max` and `near_steps` the steps of a chunk have flow times of their own (`f1_ros.model.flow`): the
first ones are given, as they were executed while the chunk was computed, or near ones are ahead of far ones. What was
executed is the label with the demonstration's noise, so that a prefix tells what the arm did and not what to do next.
The auxiliary head (cube, cube minus tool, and how far the cube has come, from the vision tower's keypoints) exists in
training alone: without it a small vision tower does not find the cube from so few demonstrations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f1_ros.engine.protocol import PolicySpec
from f1_ros.errors import ConfigError
from f1_ros.model.config import KeypointConvConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.flow import step_times
from f1_ros.model.losses import flow_loss, foresight_loss, sample_time

Phase = Literal["video", "warm", "joint"]
"""Foresight alone, from pictures; actions alone, without history; both together."""

MASKED_SAMPLES, MASKED_TOKENS = 0.10, 0.15
"""In phase "video": share of samples, and of their input tokens, that the mask embedding replaces (F1's stage 1)."""


@dataclass(frozen=True)
class PolicyTraining:
    """How the policy is trained.

    Attributes:
        warm_steps: first steps without history and foresight (cheaper; the tower learns to see).
        steps: steps of the joint objective after them.
        batch, draws: samples a step, and noise draws that share a sample's prefix.
        warm_rate, rate, warmup, weight_decay, clip: AdamW; each of the two parts has its own cosine.
        foresight_weight, auxiliary_weight: weights in the loss.
        average_decay: decay of the weights' moving average, which is what is exported.
        held_out: share of episodes that is never trained on.
        pick_weight: how many times likelier a step of the pick is drawn than one of the way to the bin and back.
        prefix_steps_max: longest committed prefix: each draw is given its first 0 to so many actions; 0: none.
        near_steps: half of the draws run by the horizon-aware schedule with so many near steps; 0: none do.
        foresight: whether the joint objective predicts foresight; without, the action expert never sees any.
        video_steps: steps before everything else that learn foresight alone, from pictures without labels (F1's first
            stage); they use every episode that is not held out.
        video_rate: their peak learning rate.
        labels: how many episodes have labels; None: all that are not held out.
    """

    warm_steps: int = 900
    steps: int = 1300
    batch: int = 64
    draws: int = 2
    warm_rate: float = 1e-3
    rate: float = 1e-3
    warmup: int = 50
    weight_decay: float = 1e-2
    clip: float = 1.0
    foresight_weight: float = 0.2
    auxiliary_weight: float = 0.5
    average_decay: float = 0.995
    held_out: float = 0.03
    pick_weight: int = 2
    prefix_steps_max: int = 0
    near_steps: int = 0
    foresight: bool = True
    video_steps: int = 0
    video_rate: float = 1e-3
    labels: int | None = None

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.draws, self.pick_weight) <= 0 or self.warm_steps < 0:
            raise ConfigError(
                "policy: steps, batch, draws and pick_weight must be positive, warm_steps at least 0.",
                remedy="Correct the `policy` section of the training configuration.",
            )
        if self.labels is not None and self.labels < 1:
            raise ConfigError(f"policy.labels is {self.labels}.", remedy="Give 1 or more, or leave it out.")
        if self.video_steps and not self.foresight:
            raise ConfigError(
                "policy.video_steps is set, but policy.foresight is false.",
                remedy="Pictures alone teach foresight: set it, or leave video_steps out.",
            )
        for key in ("prefix_steps_max", "near_steps", "video_steps"):
            if getattr(self, key) < 0:
                raise ConfigError(f"policy.{key} is {getattr(self, key)}.", remedy="Give 0 or more.")


@dataclass(frozen=True)
class Draws:
    """What a step draws: of batch B with D noise draws a sample, R = B D rows.

    Attributes:
        noise: (R, chunk, A).
        time: (R,) flow times, or (R, chunk) where each step has its own.
        committed: (R, chunk) bool, steps that are given as they were executed; None where none are.
        dropped: (B, F - 1) bool, foresight's inputs that are masked (phase "video"); None in the others.
    """

    noise: Tensor
    time: Tensor
    committed: Tensor | None = None
    dropped: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Those that are there, by name; `Draws(**tensors)` gives it back."""
        return {name: value for name, value in vars(self).items() if value is not None}


class PolicyLosses(nn.Module):
    """The network with its training-time head; `forward` gives the parts of the loss.

    Args:
        network: its tokenizer stays as it is.
        settings: weights of the parts, draws, prefix.
        spec: the policy's.
        tokens, mask: (instructions, n) language tokens of each instruction, and which are none of padding.
        cubes: how many cubes the recording tells the place of.
        tools: how many hands.
    """

    tokens: Tensor
    mask: Tensor

    def __init__(
        self,
        network: F1Model,
        settings: PolicyTraining,
        spec: PolicySpec,
        tokens: Tensor,
        mask: Tensor,
        cubes: int = 1,
        tools: int = 1,
    ) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        vision = network.config.vision
        if not isinstance(vision, KeypointConvConfig):
            raise ConfigError(
                "The auxiliary head needs a vision tower with keypoints.",
                remedy='Set und_expert_config.vision_config.model_type to "keypoint_conv".',
            )
        past = len(spec.past_images)
        keypoints = (len(spec.cameras) + past) * 2 * vision.keypoints
        places = cubes * 3 * (1 + tools + past)
        self.auxiliary = nn.Sequential(nn.Linear(keypoints, 128), nn.GELU(), nn.Linear(128, places))
        self.register_buffer("tokens", tokens, persistent=False)
        self.register_buffer("mask", mask, persistent=False)

    def draw(self, generator: torch.Generator, phase: Phase) -> Draws:
        """Draw for a step of the settings' batch, on the CPU: the same on every device."""
        settings, config = self.settings, self.network.config
        dropped = None
        if phase == "video":
            masked = torch.rand((settings.batch, 1), generator=generator) < MASKED_SAMPLES
            tokens = torch.rand((settings.batch, config.foresight_tokens - 1), generator=generator) < MASKED_TOKENS
            dropped = tokens & masked
        rows = settings.batch * settings.draws
        noise = torch.randn((rows, config.chunk_size, config.max_action_dim), generator=generator)
        t = sample_time(rows, generator)
        if not (settings.prefix_steps_max or settings.near_steps):
            return Draws(noise, t, None, dropped)
        committed = torch.randint(settings.prefix_steps_max + 1, t.shape, generator=generator)
        own = step_times(t, committed, config.chunk_size)
        if settings.near_steps:
            near, flow_steps = settings.near_steps, config.num_steps
            ahead = step_times(t, committed, config.chunk_size, near=near, flow_steps=flow_steps)
            own = torch.where(torch.rand((rows, 1), generator=generator) < 0.5, ahead, own)
        return Draws(noise, own, torch.arange(config.chunk_size) < committed[:, None], dropped)

    def forward(self, batch: dict[str, Tensor], draws: Draws, phase: Phase) -> dict[str, Tensor]:
        """Parts of the loss: total, and of flow, auxiliary, foresight and accuracy what the phase has."""
        network, settings = self.network, self.settings
        size, cameras = batch["images"].shape[:2]
        tokens, mask = self.tokens[batch["instruction"]], self.mask[batch["instruction"]]
        present = mask.new_ones(size, cameras)
        history = self._history(batch) if phase != "warm" else None
        if phase == "video":
            prefix = network.prefix(batch["images"], present, tokens, mask, history)
            logits = network.foresight(prefix, teacher=batch["target_codes"], dropped=draws.dropped).logits
            return self._foresight(logits, batch["target_codes"], 1.0)
        actions = batch["actions"].repeat_interleave(settings.draws, 0)
        given = None
        if draws.committed is not None:
            executed = batch["executed"].repeat_interleave(settings.draws, 0)
            actions = torch.where(draws.committed[..., None], executed, actions)
            given = draws.time == 0  # the committed steps, and near ones that are through: nothing to learn at either
        out = network.train_outputs(
            batch["images"],
            present,
            tokens,
            mask,
            history,
            batch["state"],
            actions,
            draws.noise,
            draws.time,
            # Drawn inside the pass as at inference; greedy, since that is how the belt policy runs.
            greedy=True,
            skip_foresight=phase == "warm" or not settings.foresight,
        )
        assert out.keypoints is not None  # made sure of when the head was built
        parts = {
            "flow": flow_loss(out.action_loss, batch["pad"].repeat_interleave(settings.draws, 0), given),
            "auxiliary": self._auxiliary(out.keypoints, batch["place"]),
        }
        parts["total"] = parts["flow"] + settings.auxiliary_weight * parts["auxiliary"]
        if out.foresight_logits is not None:
            seen = self._foresight(out.foresight_logits, batch["target_codes"], settings.foresight_weight)
            parts |= seen | {"total": parts["total"] + seen["total"]}
        return parts

    def _history(self, batch: dict[str, Tensor]) -> Tensor | None:
        network = self.network
        if not network.config.use_history:
            return None
        with torch.no_grad():
            codes = batch["history_codes"]
            inputs = network.tokenizer.var_input(codes.flatten(0, 1))
            inputs = inputs.reshape(*codes.shape[:2], codes.shape[2] - 1, -1)
        return network.history_embeds(inputs)

    def _foresight(self, logits: Tensor, target: Tensor, weight: float) -> dict[str, Tensor]:
        loss = foresight_loss(logits, target)
        return {
            "foresight": loss,
            "accuracy": (logits.argmax(-1) == target).float().mean(),
            "total": weight * loss,
        }

    def _auxiliary(self, keypoints: Tensor, place: Tensor) -> Tensor:
        known = place.isfinite()
        guess: Tensor = self.auxiliary(keypoints.flatten(1))
        error = F.smooth_l1_loss(guess, place.nan_to_num(), beta=0.1, reduction="none")
        return (error * known).sum() / known.sum().clamp(min=1)
