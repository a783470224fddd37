"""The training objective: flow matching on action chunks, cross-entropy on foresight tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FORESIGHT_WEIGHT = 0.1  # of the foresight cross-entropy in the joint objective (F1's stages 2 and 3)


def sample_time(batch: int, generator: torch.Generator | None = None) -> Tensor:
    """Flow times t = 0.999 u + 0.001 with u ~ Beta(1.5, 1), (batch,) float32: mostly near noise (t = 1)."""
    uniform = torch.rand(batch, generator=generator)
    return 0.999 * uniform ** (1 / 1.5) + 0.001  # the inverse of Beta(1.5, 1)'s distribution function u^1.5


def noised(actions: Tensor, noise: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """The point x_t = t noise + (1 - t) actions on the straight path, and its velocity noise - actions.

    actions, noise: (B, chunk, A); time: (B,), or (B, chunk) where each step has its own.
    """
    t = time[:, None, None] if time.ndim == 1 else time[..., None]
    return t * noise + (1 - t) * actions, noise - actions


def flow_loss(per_element: Tensor, action_is_pad: Tensor | None = None, given: Tensor | None = None) -> Tensor:
    """Mean of the squared velocity errors (B, chunk, A); padded steps (B, chunk) count as zero, as upstream.

    given: (B, chunk) bool, steps that were given instead of noised: there is nothing to learn at them, and they do not
    count at all.
    """
    if action_is_pad is not None:
        per_element = per_element * ~action_is_pad[..., None]
    if given is None:
        return per_element.mean()
    learnt = (~given)[..., None].expand_as(per_element)
    return (per_element * learnt).sum() / learnt.sum().clamp(min=1)


def foresight_loss(logits: Tensor, codes: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, F, V) against the future frame's codes (B, n >= F)."""
    return F.cross_entropy(logits.flatten(0, 1), codes[:, : logits.shape[1]].flatten())
