"""Training the visual tokenizer: a multi-scale residual VQ-VAE on frames of camera 0.

Losses: L1 + L2 reconstruction in which a pixel weighs more the rarer its colour is in the recording, plus a commitment
term. Without that weight a cube of a few pixels vanishes; and if all that moves weighs alike, the arm, hundreds of
pixels, outweighs it: then the cube is smeared over its cell, and its speed cannot be read from the codes.
The codebook follows its inputs by an exponential moving average and unused codes restart from present features (van den
Oord et al. 2017, appendix A.1; Dhariwal et al. 2020). A share of the samples is decoded from the scales that foresight
predicts alone, so that these carry what matters.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from f1_ros.errors import ConfigError
from f1_ros.model.tokenizer import VisualTokenizer
from f1_ros.train.schedule import cosine_rate, images_to_float, load_state, save_state, step_generators

_RECONSTRUCTION = 3.0
"""Weight of the reconstruction beside the commitment."""

_SAMPLED_FRAMES = 400
_MOST_WEIGHT = 300.0  # of a colour, to the commonest's: noise of a pixel or two must not rule


@dataclass(frozen=True)
class TokenizerTraining:
    """How the tokenizer is trained.

    Attributes:
        steps, batch: optimiser steps and frames a step.
        rate, warmup: peak learning rate of AdamW, and steps to reach it.
        coarse_share: share of samples decoded from the foresight scales alone.
        rarity: a pixel weighs its colour's share of all pixels to the power of minus this; 0: all weigh the same.
        commitment: weight of the commitment loss.
        codebook_decay: decay of the codebook's moving average.
        dead_after: a code whose average use a step falls below this restarts, frames.
    """

    steps: int = 1800
    batch: int = 32
    rate: float = 1e-3
    warmup: int = 100
    coarse_share: float = 0.4
    rarity: float = 0.75
    commitment: float = 0.25
    codebook_decay: float = 0.98
    dead_after: float = 0.02

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) <= 0 or self.rarity < 0 or not 0.0 <= self.coarse_share <= 1.0:
            raise ConfigError(
                "tokenizer: steps and batch must be positive, rarity at least 0, coarse_share within 0..1.",
                remedy="Correct the `tokenizer` section of the training configuration.",
            )


class CodebookAverage:
    """Moving-average codebook with restart of dead codes."""

    def __init__(self, codebook: Tensor, decay: float, dead_after: float) -> None:
        self.codebook = codebook  # (V, C), updated in place
        self.decay = decay
        self.dead_after = dead_after
        self.counts = codebook.new_ones(codebook.shape[0])
        self.sums = codebook.detach().clone()

    @torch.no_grad()
    def update(self, inputs: Tensor, codes: Tensor, generator: torch.Generator) -> int:
        """Move codes towards their inputs; returns how many dead codes restarted.

        Args:
            inputs: (n, C) vectors that were quantised. codes: (n,) codes that they got.
            generator: draws the inputs from which dead codes restart.
        """
        size = self.codebook.shape[0]
        counts = torch.bincount(codes, minlength=size).float()
        sums = torch.zeros_like(self.sums).index_add_(0, codes, inputs)
        self.counts.lerp_(counts, 1.0 - self.decay)
        self.sums.lerp_(sums, 1.0 - self.decay)
        dead = (self.counts < self.dead_after).nonzero().flatten()
        if len(dead):
            chosen = inputs[torch.randint(len(inputs), (len(dead),), generator=generator).to(inputs.device)]
            self.sums[dead] = chosen
            self.counts[dead] = 1.0
        self.codebook.copy_(self.sums / self.counts.clamp_min(1e-5)[:, None])
        return len(dead)


def colour_weights(frames: NDArray[np.uint8], rarity: float, generator: np.random.Generator) -> Tensor:
    """Weight of a pixel by its colour, (64,): mean 1 over the pixels of `frames` (N, H, W, 3), which are sampled."""
    chosen = np.sort(generator.choice(len(frames), size=min(_SAMPLED_FRAMES, len(frames)), replace=False))
    found = np.bincount(_colours(torch.from_numpy(np.ascontiguousarray(frames[chosen])), -1).flatten(), minlength=64)
    share = found / found.sum()
    weight = np.minimum((share.max() / np.maximum(share, 1e-9)) ** rarity, _MOST_WEIGHT)
    return torch.from_numpy(weight / (weight * share).sum()).float()


def _colours(bytes_: Tensor, axis: int) -> Tensor:
    """Which of 64 colours (two bits a channel) pixels are of; the channels lie on `axis`."""
    red, green, blue = (bytes_.long() >> 6).unbind(axis)
    return 16 * red + 4 * green + blue


def reconstruction_loss(pictures: Tensor, frames: Tensor, weights: Tensor) -> Tensor:
    """L1 + L2 of pictures against frames, (B, 3, H, W) each in [-1, 1], pixels weighted by `colour_weights`."""
    weight = weights[_colours(((frames + 1.0) * 127.5).round(), 1)][:, None]
    error = pictures - frames
    return (weight * (error.abs() + error.square())).mean()


def train_tokenizer(
    tokenizer: VisualTokenizer,
    frames: NDArray[np.uint8],
    settings: TokenizerTraining,
    *,
    coarse_scales: int,
    seed: int,
    state_path: Path,
    log_every: int = 100,
) -> None:
    """Train in place, on its device, on frames (N, H, W, 3) uint8; goes on from `state_path` where that exists.

    Args:
        coarse_scales: how many scales the coarse samples are decoded from.
    """
    codebook = tokenizer.quantize.embedding.weight
    device = codebook.device
    weights_by_colour = colour_weights(frames, settings.rarity, np.random.default_rng([seed, 0, 1])).to(device)
    codebook.requires_grad_(False)
    weights = [p for p in tokenizer.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=settings.rate, betas=(0.9, 0.95), weight_decay=1e-4)
    average = CodebookAverage(codebook.data, settings.codebook_decay, settings.dead_after)
    first = 0
    if state_path.exists():
        state = load_state(state_path)
        tokenizer.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.counts, average.sums = state["counts"].to(device), state["sums"].to(device)
        first = int(state["step"])
    tokenizer.train()
    began = time.monotonic()
    for step in range(first, settings.steps):
        draw, torch_draw = step_generators(seed, step)
        batch = images_to_float(frames[np.sort(draw.integers(len(frames), size=settings.batch))]).to(device)
        features = tokenizer.features(batch)  # (B, C, h, w)
        if step == 0:
            # Codes start as features: with a random start most of them would never be chosen.
            flat = features.detach().permute(0, 2, 3, 1).reshape(-1, features.shape[1])
            average.sums.copy_(flat[torch.randint(len(flat), (len(codebook),), generator=torch_draw).to(device)])
            codebook.data.copy_(average.sums)
        quantised = tokenizer.quantise(features)
        ends = (quantised.f_hats[coarse_scales - 1], quantised.f_hats[-1])
        coarse = torch.from_numpy(draw.random(settings.batch) < settings.coarse_share).to(device)
        chosen = torch.where(coarse[:, None, None, None], *ends)
        # Straight through to the encoder, and to phi through the quantised features.
        pictures = tokenizer.decode_features(chosen + (features - features.detach()))
        loss = _RECONSTRUCTION * reconstruction_loss(pictures, batch, weights_by_colour)
        commitment = torch.stack([F.mse_loss(features, p.detach()) for p in ends])
        follow = torch.stack([F.mse_loss(p, features.detach()) for p in ends])
        total = loss + settings.commitment * commitment.mean() + follow.mean()
        for group in optimiser.param_groups:
            group["lr"] = cosine_rate(step, steps=settings.steps, warmup=settings.warmup, peak=settings.rate)
        optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        restarted = average.update(torch.cat(quantised.inputs), by_scale(quantised.codes, tokenizer.scales), torch_draw)
        done = step + 1
        if done % log_every == 0 or done == settings.steps:
            rate = (done - first) * settings.batch / (time.monotonic() - began)
            print(
                f"tokenizer {done}/{settings.steps}  loss {loss.item():.4f}  "
                f"commitment {commitment.mean().item():.4f}  restarted {restarted}  {rate:.0f} frames/s",
                flush=True,
            )
            save_state(
                state_path,
                {
                    "step": done,
                    "model": tokenizer.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "counts": average.counts,
                    "sums": average.sums,
                },
            )
    tokenizer.eval()


def by_scale(codes: Tensor, scales: tuple[int, ...]) -> Tensor:
    """(B, L) codes to the order of `Quantised.inputs`: scale after scale, each over the batch."""
    return torch.cat([part.reshape(-1) for part in torch.split(codes, [s * s for s in scales], dim=1)])


@torch.no_grad()
def encode_all(tokenizer: VisualTokenizer, frames: NDArray[np.uint8], batch: int = 64) -> NDArray[np.int16]:
    """Codes of every frame, (N, L); the tokenizer is frozen after its training, so once is enough."""
    tokenizer.eval()
    device = tokenizer.quantize.embedding.weight.device
    out = [
        tokenizer.encode(images_to_float(frames[i : i + batch]).to(device)).cpu().numpy().astype(np.int16)
        for i in range(0, len(frames), batch)
    ]
    return np.concatenate(out)
