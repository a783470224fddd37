"""How far one tensor is from another, over many observations."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Figures:
    """What a stage's output, or a policy's, differs by.

    Attributes:
        cosine: the least cosine between reference and compiled tensor, over all observations.
        error: the largest difference of an element, over the root mean square of its reference tensor.
        flips: share of codes that are others: codes themselves, and the likeliest ones where logits are compared.
        flipped: the same by scale of the token maps.
        differ: share of true and false values that differ.
    """

    cosine: float = 1.0
    error: float = 0.0
    flips: float = 0.0
    flipped: tuple[float, ...] = ()
    differ: float = 0.0


@dataclass
class Comparison:
    """Gathers `Figures` of one output.

    Attributes:
        sizes: codes of each scale, where the output is codes of several.
        logits: whether the output is logits, whose likeliest codes are compared as well.
    """

    sizes: tuple[int, ...] = ()
    logits: bool = False
    _cosine: float = 1.0
    _error: float = 0.0
    _codes: list[Tensor] = field(default_factory=list)
    _truths: list[Tensor] = field(default_factory=list)

    def add(self, reference: Tensor, compiled: Tensor) -> None:
        """Compare one observation's output."""
        if reference.dtype == torch.bool:
            self._truths.append((reference != compiled).flatten())
            return
        if not reference.dtype.is_floating_point:
            self._codes.append((reference != compiled).flatten())
            return
        if self.logits:
            self._codes.append((reference.argmax(-1) != compiled.argmax(-1)).flatten())
        self._cosine = min(self._cosine, cosine(reference, compiled))
        self._error = max(self._error, relative_error(reference, compiled))

    @property
    def figures(self) -> Figures:
        """Of what was added so far."""
        flips, by_scale = 0.0, tuple[float, ...]()
        if self._codes:
            codes = torch.stack(self._codes).double()
            flips = float(codes.mean())
            by_scale = tuple(
                float(part.mean()) for part in torch.split(codes, list(self.sizes) or [codes.shape[1]], dim=1)
            )
        differ = float(torch.stack(self._truths).double().mean()) if self._truths else 0.0
        return Figures(self._cosine, self._error, flips, by_scale, differ)


def cosine(reference: Tensor, compiled: Tensor) -> float:
    """Of two tensors as vectors; 1 for two of zeros, -1 if one is not finite."""
    a, b = reference.double().flatten(), compiled.double().flatten()
    norms = float(a.norm() * b.norm())
    if norms == 0.0:
        return 1.0 if torch.equal(a, b) else 0.0
    value = float(a @ b) / norms
    return value if math.isfinite(value) else -1.0


def relative_error(reference: Tensor, compiled: Tensor) -> float:
    """Largest difference of an element over the reference's root mean square; infinite if one is not finite."""
    difference = float((reference.double() - compiled.double()).abs().max())
    scale = float(reference.double().square().mean().sqrt())
    if not math.isfinite(difference):
        return math.inf
    return difference / scale if scale > 0.0 else (0.0 if difference == 0.0 else math.inf)
