"""Training the policy: flow matching on action chunks plus cross-entropy of the foresight tokens (joint objective).

    loss = flow + foresight_weight * cross-entropy + auxiliary_weight * auxiliary

Flow matching and its time distribution as the released model has them: t = 0.999 Beta(1.5, 1) + 0.001,
x_t = t noise + (1 - t) a, target noise - a. Several noise draws share one prefix pass, since the prefix costs most.
With `prefix_steps_max` and `near_steps` the steps of a chunk have flow times of their own (`f1_ros.model.flow`): the
first ones are given, as if they had been executed while the chunk was computed, or near ones are ahead of far ones.
The auxiliary head (cube, cube minus tool, and how far the cube has come, from the vision tower's keypoints) exists in
training alone: without it a small vision tower does not find the cube from so few demonstrations.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from f1_ros.engine.policy import PolicyFile
from f1_ros.engine.protocol import PolicySpec
from f1_ros.errors import ConfigError
from f1_ros.model.config import KeypointConvConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.flow import step_times
from f1_ros.model.losses import flow_loss, foresight_loss, sample_time
from f1_ros.observe.normalise import Normaliser
from f1_ros.train.demonstrations import Demonstrations, Windows
from f1_ros.train.schedule import (
    MovingAverage,
    cosine_rate,
    images_to_float,
    load_state,
    save_state,
    step_generators,
)


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

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.draws, self.pick_weight) <= 0 or self.warm_steps < 0:
            raise ConfigError(
                "policy: steps, batch, draws and pick_weight must be positive, warm_steps at least 0.",
                remedy="Correct the `policy` section of the training configuration.",
            )
        for key in ("prefix_steps_max", "near_steps"):
            if getattr(self, key) < 0:
                raise ConfigError(f"policy.{key} is {getattr(self, key)}.", remedy="Give 0 or more.")


class PolicyBatches:
    """Makes batches of a recording: normalised, padded to the network's sizes."""

    def __init__(
        self,
        data: Demonstrations,
        windows: Windows,
        network: F1Model,
        stats: dict[str, dict[str, Any]],
        file: PolicyFile,
        codes: NDArray[np.int16] | None,
    ) -> None:
        config = network.config
        self.data, self.windows, self.codes = data, windows, codes
        self.network, self.stats, self.file = network, stats, file
        self.state_stats = Normaliser.from_stats(stats["observation.state"], config.max_state_dim)
        self.action_stats = Normaliser.from_stats(stats["action"], config.max_action_dim)
        self.foresight_tokens = sum(s * s for s in config.scales[: config.num_resolutions])

    def __call__(self, steps: NDArray[np.int64]) -> dict[str, Tensor]:
        """Batch of the given steps.

        Returns:
            images (B, 2 + past, 3, S, S), state (B, d), actions (B, chunk, A), pad (B, chunk) bool; place
            (B, 6 + 3 past): cube, cube minus tool, and cube minus what it was at each past image, in dm (NaN without
            cube); with codes also history_codes (B, T, L) and target_codes (B, F).
        """
        data = self.data
        state = data.state[steps]
        chunk, pad = data.chunk(steps, self.windows)
        actions = self.file.to_network(chunk, state)
        past = [data.history_steps(steps, self.windows)[:, i] for i in self.file.spec.past_images]
        cube = data.cube[steps]
        place = [cube, cube - data.tool[steps], *(cube - data.cube[before] for before in past)]
        batch = {
            "images": torch.stack(
                [
                    images_to_float(picture)
                    for picture in (data.front[steps], data.wrist[steps], *(data.front[before] for before in past))
                ],
                dim=1,
            ),
            "state": torch.from_numpy(self.state_stats.normalise(state)).float(),
            "actions": torch.from_numpy(self.action_stats.normalise(actions)).float(),
            "pad": torch.from_numpy(pad),
            "place": torch.from_numpy(np.concatenate(place, axis=1) * 10.0).float(),
        }
        if self.codes is not None:
            history = self.codes[data.history_steps(steps, self.windows)]
            target = self.codes[data.foresight_steps(steps, self.windows)][:, : self.foresight_tokens]
            batch["history_codes"] = torch.from_numpy(history.astype(np.int64))
            batch["target_codes"] = torch.from_numpy(target.astype(np.int64))
        return batch


def step_scale(
    data: Demonstrations, samples: NDArray[np.int64], windows: Windows, relative: NDArray[np.bool_]
) -> tuple[float, ...]:
    """`PolicyFile.step_scale` of a recording: how far relative actions go by each step, the last step being 1."""
    chunk, pad = data.chunk(samples, windows)
    away = (chunk - data.state[samples][:, None])[..., relative]
    rms = [float(np.sqrt(np.square(away[~pad[:, i], i]).mean())) for i in range(windows.chunk)]
    return tuple(value / rms[-1] for value in rms)


def statistics(
    data: Demonstrations,
    samples: NDArray[np.int64],
    picks: NDArray[np.int64],
    windows: Windows,
    file: PolicyFile,
) -> dict[str, dict[str, Any]]:
    """`stats.json` of a recording: states of all samples; actions, as the network gives them, of the picks alone.

    The way to the bin is longer than any other and needs the least precision: scaled by it, a pick would be coarse.
    """
    chunk, pad = data.chunk(picks, windows)
    actions = file.to_network(chunk, data.state[picks])
    return {"observation.state": _statistics(data.state[samples]), "action": _statistics(actions[~pad])}


def _statistics(values: NDArray[np.floating[Any]]) -> dict[str, Any]:
    values = values.astype(np.float64)
    low, high = np.quantile(values, [0.01, 0.99], axis=0)
    return {
        "mode": "mean_std",
        "mean": values.mean(axis=0).tolist(),
        "std": values.std(axis=0).tolist(),
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
        "q01": low.tolist(),
        "q99": high.tolist(),
    }


class PolicyLosses(nn.Module):
    """The network with its training-time head; `forward` gives the parts of the loss."""

    def __init__(
        self, network: F1Model, settings: PolicyTraining, spec: PolicySpec, tokens: Tensor, mask: Tensor
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
        self.auxiliary = nn.Sequential(nn.Linear(keypoints, 128), nn.GELU(), nn.Linear(128, 6 + 3 * past))
        self.tokens = tokens
        self.mask = mask

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator, *, history: bool) -> dict[str, Tensor]:
        """Parts of the loss: total, flow, auxiliary, and with history foresight and accuracy."""
        network, settings = self.network, self.settings
        size, cameras = batch["images"].shape[:2]
        tokens, mask = (t.expand(size, -1) for t in (self.tokens, self.mask))
        present = torch.ones(size, cameras, dtype=torch.bool)
        embeds = None
        if history:
            with torch.no_grad():
                codes = batch["history_codes"]
                inputs = network.tokenizer.var_input(codes.flatten(0, 1)).reshape(
                    *codes.shape[:2], codes.shape[2] - 1, -1
                )
            embeds = network.history_embeds(inputs)
        actions = batch["actions"]
        draws = size * settings.draws
        noise = torch.randn((draws, *actions.shape[1:]), generator=generator)
        flow_time, given = self._step_times(sample_time(draws, generator), generator)
        out = network.train_outputs(
            batch["images"],
            present,
            tokens,
            mask,
            embeds,
            batch["state"],
            actions,
            noise,
            flow_time,
            # Drawn inside the pass as at inference; greedy, since that is how the belt policy runs.
            greedy=True,
            skip_foresight=not history,
        )
        assert out.keypoints is not None  # made sure of when the head was built
        parts = {
            "flow": flow_loss(out.action_loss, batch["pad"].repeat_interleave(settings.draws, 0), given),
            "auxiliary": self._auxiliary(out.keypoints, batch["place"]),
        }
        parts["total"] = parts["flow"] + settings.auxiliary_weight * parts["auxiliary"]
        if out.foresight_logits is not None:
            target = batch["target_codes"]
            parts["foresight"] = foresight_loss(out.foresight_logits, target)
            parts["accuracy"] = (out.foresight_logits.argmax(-1) == target).float().mean()
            parts["total"] = parts["total"] + settings.foresight_weight * parts["foresight"]
        return parts

    def _step_times(self, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Flow times of draws (R,) or of each of their steps (R, chunk), and which of these are given."""
        settings, config = self.settings, self.network.config
        if not (settings.prefix_steps_max or settings.near_steps):
            return t, None
        committed = torch.randint(settings.prefix_steps_max + 1, t.shape, generator=generator)
        own = step_times(t, committed, config.chunk_size)
        if settings.near_steps:
            near, flow_steps = settings.near_steps, config.num_steps
            ahead = step_times(t, committed, config.chunk_size, near=near, flow_steps=flow_steps)
            own = torch.where(torch.rand((len(t), 1), generator=generator) < 0.5, ahead, own)
        return own, own == 0

    def _auxiliary(self, keypoints: Tensor, place: Tensor) -> Tensor:
        known = place.isfinite()
        if not bool(known.any()):
            return keypoints.sum() * 0.0
        guess: Tensor = self.auxiliary(keypoints.flatten(1))
        return F.smooth_l1_loss(guess[known], place[known], beta=0.1)


def train_policy(
    losses: PolicyLosses,
    batches: PolicyBatches,
    train_steps: NDArray[np.int64],
    held_out_steps: NDArray[np.int64],
    *,
    history: bool,
    steps: int,
    rate: float,
    seed: int,
    state_path: Path,
    log_every: int = 50,
) -> None:
    """Train in place; goes on from `state_path` where that exists. Leaves the moving average in the network.

    Args:
        history: the joint objective with history and foresight, or (False) the cheaper first part without them.
    """
    settings = losses.settings
    weights = [p for p in losses.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.95), weight_decay=settings.weight_decay)
    average = MovingAverage(losses, settings.average_decay)
    first = 0
    if state_path.exists():
        state = load_state(state_path)
        losses.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.load_state_dict(state["average"])
        first = int(state["step"])
    losses.train()
    losses.network.tokenizer.eval()
    began = time.monotonic()
    recent: dict[str, list[float]] = {}
    for step in range(first, steps):
        draw, generator = step_generators(seed, step)
        batch = batches(draw.choice(train_steps, size=settings.batch))
        parts = losses(batch, generator, history=history)
        for group in optimiser.param_groups:
            group["lr"] = cosine_rate(step, steps=steps, warmup=settings.warmup, peak=rate)
        optimiser.zero_grad(set_to_none=True)
        parts["total"].backward()
        torch.nn.utils.clip_grad_norm_(weights, settings.clip)
        optimiser.step()
        average.update(losses)
        for name, value in parts.items():
            recent.setdefault(name, []).append(float(value.detach()))
        done = step + 1
        if done % log_every == 0 or done == steps:
            speed = (done - first) * settings.batch / (time.monotonic() - began)
            figures = "  ".join(f"{name} {np.mean(values):.4f}" for name, values in recent.items())
            print(f"policy {done}/{steps}  {figures}  {speed:.1f} samples/s", flush=True)
            recent.clear()
            if not np.isfinite(float(parts["total"].detach())):
                raise ConfigError(f"The loss diverged at step {done}.", remedy="Lower the learning rate.")
        if done % (4 * log_every) == 0 or done == steps:
            save_state(
                state_path,
                {
                    "step": done,
                    "model": losses.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "average": average.state_dict(),
                },
            )
    losses.load_state_dict(average.shadow)
    losses.eval()
    held_out = held_out_losses(losses, batches, held_out_steps, history=history, seed=seed)
    print("held out: " + "  ".join(f"{name} {value:.4f}" for name, value in held_out.items()), flush=True)


@torch.no_grad()
def held_out_losses(
    losses: PolicyLosses, batches: PolicyBatches, steps: NDArray[np.int64], *, history: bool, seed: int, count: int = 8
) -> dict[str, float]:
    """Mean of each part of the loss over `count` batches that were never trained on."""
    totals: dict[str, list[float]] = {}
    for index in range(count):
        draw, generator = step_generators(seed + 1, index)
        parts = losses(batches(draw.choice(steps, size=losses.settings.batch)), generator, history=history)
        for name, value in parts.items():
            totals.setdefault(name, []).append(float(value))
    return {name: float(np.mean(values)) for name, values in totals.items()}
