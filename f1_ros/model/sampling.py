"""Drawing from the foresight logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class RowGenerators(torch.Generator):
    """One generator for each row of a batch, so that a sample draws the same in whatever batch it stands.

    Goes wherever a single generator goes in `F1Model`'s training pass.

    Args:
        seeds: one for each row.
        device: where the rows are drawn.
    """

    def __new__(cls, seeds: Sequence[int], device: torch.device | str = "cpu") -> RowGenerators:
        """Make the base class's generator without the arguments; nothing is drawn from it."""
        return super().__new__(cls)

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.rows = [torch.Generator(device).manual_seed(seed) for seed in seeds]


def sample_top_k_top_p(logits: Tensor, top_k: int, top_p: float, generator: torch.Generator | None) -> Tensor:
    """Draw one index per row from the likeliest entries.

    Args:
        logits: (..., V).
        top_k: keep this many of the largest entries (ties with the smallest kept one stay in); 0 keeps all.
        top_p: of those keep the largest ones that hold this share of the probability; 0 keeps all.
        generator: where the randomness comes from; `RowGenerators` has one for each row of the first axis.

    Returns:
        (...) int64.
    """
    if 0 < top_k < logits.shape[-1]:
        smallest = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p > 0:
        ordered, order = logits.sort(dim=-1)
        drop = ordered.softmax(-1).cumsum(-1) <= 1 - top_p
        drop[..., -1] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if isinstance(generator, RowGenerators):
        rows = zip(logits.softmax(-1).flatten(1, -2), generator.rows, strict=True)
        return torch.stack([torch.multinomial(row, 1, generator=g) for row, g in rows]).view(logits.shape[:-1])
    flat = logits.softmax(-1).flatten(0, -2)
    return torch.multinomial(flat, 1, generator=generator).view(logits.shape[:-1])


def sample_codes(
    logits: Tensor, top_k: int, top_p: float, generator: torch.Generator | None, greedy: bool = False
) -> Tensor:
    """Foresight codes (...) from their logits (..., V): the likeliest one if `greedy`, else drawn."""
    return logits.argmax(-1) if greedy else sample_top_k_top_p(logits, top_k, top_p, generator)
