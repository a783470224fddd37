"""Weights of other models as the starting point of a new network: PaliGemma, pi0, or anything with their names.

    report = load_starting_weights(network, [Path("paligemma-3b-pt-224"), Path("pi0_base")])
    print(report.summary())

The network lies in memory once; tensors are copied in pieces and their file is closed after each, so that the peak is
the network and a piece. What a source does not have keeps its random initialisation: the generation
expert and all of the world model, as in the release, which starts from pi0 too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from f1_ros.errors import CheckpointError
from f1_ros.model.f1 import F1Model
from f1_ros.model.names import EMBED_TOKENS, LANGUAGE_HEAD, canonical_name, unused_reason, upstream_name
from f1_ros.train.trainables import group_of

# What a file's names may lack at the front: pi0 in its two namings, and PaliGemma by itself.
_OUTER = ("", "model.", "model.paligemma_with_expert.", "model.paligemma_with_expert.paligemma.")
_PIECE = 1 << 24  # numbers that are copied at once
_WHERE = "Give a folder with .safetensors files of PaliGemma or pi0, whole ones."


@dataclass(frozen=True)
class StartReport:
    """What became of the sources' tensors and of the network's.

    Attributes:
        taken: our name -> file and name that it was taken from.
        cut: our name -> how much of it was taken.
        left: file and name -> why it was left.
        initialised: our names of what no source has, by part of the network, with how many numbers each part has.
        numbers: how many numbers were taken.
    """

    taken: dict[str, str]
    cut: dict[str, str]
    left: dict[str, str]
    initialised: dict[str, int]
    numbers: int

    def summary(self) -> str:
        """A few lines for people."""
        lines = [f"taken: {len(self.taken)} tensors, {self.numbers / 1e6:.1f} M numbers"]
        lines += [f"  cut: {name}: {how}" for name, how in self.cut.items()]
        reasons: dict[str, int] = {}
        for reason in self.left.values():
            reasons[reason] = reasons.get(reason, 0) + 1
        lines.append(f"left: {len(self.left)} tensors")
        lines += [f"  {count} x {reason}" for reason, count in reasons.items()]
        lines.append(f"initialised at random: {sum(self.initialised.values()) / 1e6:.1f} M numbers")
        lines += [f"  {part}: {count / 1e6:.2f} M" for part, count in self.initialised.items()]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        return {
            "numbers": self.numbers,
            "taken": self.taken,
            "cut": self.cut,
            "left": self.left,
            "initialised": self.initialised,
        }


@torch.no_grad()
def load_starting_weights(network: F1Model, sources: Sequence[Path]) -> StartReport:
    """Fill a network in place from one or several sources; where two have the same tensor, the later one counts.

    Args:
        network: with initialised weights, on the CPU.
        sources: `.safetensors` files, or folders of them.

    Raises:
        CheckpointError: naming file and tensor, if a file is damaged, a tensor has another shape or is not finite, or a
            source holds nothing of this network.
    """
    wanted = {upstream_name(name): name for name in network.state_dict()}
    tensors = network.state_dict()  # shares memory with the network
    taken: dict[str, str] = {}
    cut: dict[str, str] = {}
    left: dict[str, str] = {}
    for source in sources:
        before = len(left)
        names = {file: _names(file) for file in _files(source)}
        everything = [name for stored in names.values() for name in stored]
        has_embedding = any(_upstream(name, wanted) == EMBED_TOKENS for name in everything)
        for file, stored_names in names.items():
            for stored in stored_names:
                upstream = _upstream(stored, wanted)
                if upstream == LANGUAGE_HEAD and not has_embedding:
                    upstream = EMBED_TOKENS  # tied to it, and saved in its place
                place = f"{file}: {stored}"
                if upstream not in wanted:
                    left[place] = unused_reason(upstream) or "not part of this network"
                    continue
                ours = wanted[upstream]
                how = _copy(file, stored, tensors[ours], rows_may_be_cut=upstream == EMBED_TOKENS)
                taken[ours] = place
                if how:
                    cut[ours] = how
        if len(left) - before == len(everything):
            raise CheckpointError(f"{source} holds nothing of this network.", remedy=_WHERE)
    initialised: dict[str, int] = {}
    for name, tensor in tensors.items():
        if name not in taken and not name.startswith("tokenizer."):
            part = f"{group_of(name) or 'generation'}, {name.partition('.')[0]}"
            initialised[part] = initialised.get(part, 0) + tensor.numel()
    return StartReport(taken, cut, left, initialised, sum(tensors[name].numel() for name in taken))


def _files(source: Path) -> list[Path]:
    files = sorted(source.glob("*.safetensors")) if source.is_dir() else [source]
    if not files or not all(file.is_file() for file in files):
        raise CheckpointError(f"{source}: there is no .safetensors file.", remedy=_WHERE)
    return files


def _names(file: Path) -> list[str]:
    with _opened(file) as tensors:
        return list(tensors.keys())


def _upstream(stored: str, wanted: dict[str, str]) -> str:
    """Upstream's name of a stored tensor; if the network has none of that name, the name by which it is unused."""
    names = [canonical_name(outer + stored) for outer in _OUTER]
    known = [name for name in names if name in wanted or unused_reason(name) is not None]
    return known[0] if known else stored


def _copy(file: Path, stored: str, target: Tensor, *, rows_may_be_cut: bool) -> str:
    """Copy one tensor into the network, piece by piece; returns how it was cut, empty if it was not."""
    with _opened(file) as tensors:
        shape = list(tensors.get_slice(stored).get_shape())
    fits = list(target.shape)
    longer = rows_may_be_cut and len(shape) == 2 and shape[0] > fits[0] and shape[1:] == fits[1:]
    if shape != fits and not longer:
        raise CheckpointError(
            f"{file}: tensor {stored} has shape {shape}, the network asks for {fits}.",
            remedy="Give weights of the size that start.network describes.",
        )
    rows = max(1, _PIECE // max(1, target[:1].numel()))
    for first in range(0, fits[0], rows):
        with _opened(file) as tensors:
            piece: Tensor = tensors.get_slice(stored)[first : min(first + rows, fits[0])]
            if not bool(torch.stack(piece.aminmax()).isfinite().all()):
                raise CheckpointError(f"{file}: tensor {stored} holds NaN or infinity.", remedy=_WHERE)
            target[first : first + rows].copy_(piece)
            del piece  # or the file would stay mapped
    return f"the first {fits[0]} of {shape[0]} rows" if longer else ""


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """A safetensors file, open; it is closed again so that what was read of it does not stay mapped."""
    try:
        with safe_open(str(file), framework="pt") as tensors:
            yield tensors
    except (SafetensorError, OSError, ValueError, struct.error) as error:
        raise CheckpointError(f"{file}: not a whole safetensors file: {error}.", remedy=_WHERE) from error
