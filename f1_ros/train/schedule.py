"""What every training run here shares: learning rate, moving average of weights, resumable state."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from f1_ros.errors import CheckpointError


def cosine_rate(step: int, *, steps: int, warmup: int, peak: float, floor: float = 0.02) -> float:
    """Linear warm-up to `peak`, then a cosine down to `floor * peak` at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress)))


def step_generators(seed: int, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """Generators of one step. Drawn from (seed, step) alone, so that a resumed run draws what the first one would."""
    numpy_generator = np.random.default_rng([seed, step])
    return numpy_generator, torch.Generator().manual_seed(int(numpy_generator.integers(2**62)))


class MovingAverage:
    """Exponential moving average of a module's parameters, with the usual ramp at the start."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.shadow = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def decay_at(self, update: int) -> float:
        """Decay of an update, counted from 1."""
        return min(self.decay, (1 + update) / (10 + update))

    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's present weights."""
        self.updates += 1
        self.move(module, 1.0 - self.decay_at(self.updates))

    @torch.no_grad()
    def move(self, module: nn.Module, weight: float | Tensor) -> None:
        """Move the average by `weight`, a share or a tensor that holds one, without counting it as an update."""
        present = module.state_dict()
        moving = [key for key, value in present.items() if value.is_floating_point()]
        for key in present.keys() - moving:
            self.shadow[key].copy_(present[key])
        shadow = [self.shadow[key] for key in moving]
        away = torch._foreach_sub([present[key] for key in moving], shadow)
        torch._foreach_mul_(away, weight)
        torch._foreach_add_(shadow, away)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.updates = int(state["updates"])
        self.shadow = {k: v.clone() for k, v in state["shadow"].items()}


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a run's state so that a crash leaves either the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; tensors and plain values only.

    Raises:
        CheckpointError: if the file is damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}).", remedy="Delete it to start this phase anew."
        ) from error
    if not isinstance(state, dict) or "step" not in state:
        raise CheckpointError(f"{path} is no training state.", remedy="Delete it to start this phase anew.")
    return state


def images_to_float(images: np.ndarray[Any, Any]) -> Tensor:
    """(..., H, W, 3) uint8 to (..., 3, H, W) float32 in [-1, 1]."""
    tensor = torch.from_numpy(np.array(images)).movedim(-1, -3)
    return tensor.float().div_(127.5).sub_(1.0)
