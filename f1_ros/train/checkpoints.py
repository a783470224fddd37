"""Checkpoints of a training run: whole or not there, and checked when they are read.

    RUN/checkpoints/step-00001000/tensors.safetensors     trained weights, optimiser moments, moving average
                                  state.json              step, digest of the tensors, configuration, everything else

A checkpoint is written beside its place, flushed to the disk and moved there in one step: a run killed at any moment
leaves the checkpoints that were finished. What a damaged one holds is never used; an older one only when asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from f1_ros.errors import CheckpointError

TENSORS_FILE = "tensors.safetensors"
STATE_FILE = "state.json"
_SPARE = 1 << 20  # bytes that stay free beside a checkpoint


@dataclass(frozen=True)
class Checkpoint:
    """What a run goes on from.

    Attributes:
        step: optimiser steps done.
        tensors: by name.
        state: plain values: numbers, strings, lists and mappings.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run folder.

    Args:
        folder: where they lie; made when the first one is written.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    def steps(self) -> list[int]:
        """Steps of the finished checkpoints, ascending; whether they can be read is seen when they are."""
        names = [path.name for path in self.folder.glob("step-*") if path.is_dir()]
        return sorted(int(name.removeprefix("step-")) for name in names if name.removeprefix("step-").isdigit())

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
        """Write a checkpoint, then remove the oldest beyond `keep`.

        Raises:
            CheckpointError: if the disk is full or cannot be written; the older checkpoints stay as they were.
        """
        target = self._path(step)
        partial = target.with_name(f".{target.name}.partial")
        needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) + _SPARE
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            free = shutil.disk_usage(partial).free
            if free < needed:
                raise OSError(f"{needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial / TENSORS_FILE)
            text = json.dumps({"step": step, "sha256": _digest(partial / TENSORS_FILE), "state": dict(state)}, indent=1)
            (partial / STATE_FILE).write_text(text + "\n", encoding="utf-8")
            for path in (partial / TENSORS_FILE, partial / STATE_FILE, partial):
                _flush(path)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
            _flush(self.folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise CheckpointError(
                f"{target} cannot be written: {error}.",
                remedy=f"Make room, then start the same command again: it goes on from {self._newest_name()}.",
            ) from error
        for old in self.steps()[: -self.keep]:
            shutil.rmtree(self._path(old))
        return target

    def load(self, *, previous: bool = False) -> Checkpoint | None:
        """Read the newest checkpoint; None if there is none.

        Args:
            previous: read the one before it instead.

        Raises:
            CheckpointError: if it is damaged, or if there is none before the newest.
        """
        steps = self.steps()
        if previous and len(steps) < 2:
            raise CheckpointError(
                f"{self.folder} has no checkpoint before the newest.",
                remedy="Go on from the newest, or start anew in another folder.",
            )
        if not steps:
            return None
        return self._read(steps[-2 if previous else -1], steps)

    def drop_after(self, step: int) -> None:
        """Remove the checkpoints of later steps: those of a run that was left behind."""
        for later in self.steps():
            if later > step:
                shutil.rmtree(self._path(later))

    def _read(self, step: int, steps: list[int]) -> Checkpoint:
        path = self._path(step)
        try:
            note = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
            if note["step"] != step:
                raise ValueError(f"it is of step {note['step']}")
            if _digest(path / TENSORS_FILE) != note["sha256"]:
                raise ValueError(f"{TENSORS_FILE} is not what was written")
            tensors: dict[str, Tensor] = load_file(path / TENSORS_FILE)
            return Checkpoint(step, tensors, dict(note["state"]))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            older = [other for other in steps if other < step]
            remedy = f"Restore it, or go on from step {older[-1]} with --resume-previous." if older else "Restore it."
            raise CheckpointError(f"{path} is damaged ({error}).", remedy=remedy) from error

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _newest_name(self) -> str:
        steps = self.steps()
        return f"step {steps[-1]}" if steps else "the start"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
