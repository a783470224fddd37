"""How a network does on samples that it was never trained on: losses, foresight by scale, actions by joint and step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from f1_ros.data.samples import Sample, SampleLoader
from f1_ros.model.phases import Prefix
from f1_ros.train.batches import Batches, Draws
from f1_ros.train.finetune_config import ForesightConfig
from f1_ros.train.objective import Objective

Reduce = Callable[[Tensor], Tensor]
"""Mean of a tensor over the processes."""


class HeldOut:
    """Evaluates a network on the same held-out samples every time.

    Args:
        objective: gives losses and network; in evaluation mode while this runs.
        batches: makes tensors of samples.
        loader: of the held-out samples, of this process.
        settings: of the world model.
        count: batches that are evaluated.
        rows: samples in each batch of this process.
        first_position: position of the process's first sample in a batch, and
        stride: samples of all processes in a batch.
        device: where the network is.
        reduce: mean over processes.
    """

    def __init__(
        self,
        objective: Objective,
        batches: Batches,
        loader: SampleLoader,
        settings: ForesightConfig,
        *,
        count: int,
        rows: int,
        first_position: int,
        stride: int,
        device: torch.device,
        reduce: Reduce,
    ) -> None:
        self.objective, self.batches, self.loader, self.settings = objective, batches, loader, settings
        self.count, self.rows, self.first_position, self.stride = count, rows, first_position, stride
        self.device, self.reduce = device, reduce

    @torch.no_grad()
    def evaluate(self, pictures: int = 0, picture_path: Path | None = None) -> dict[str, Any]:
        """Losses and errors, means over all held-out batches of all processes.

        Args:
            pictures: how many predicted views to save, at most a batch of them.
            picture_path: PNG that they go to; None for none.

        Returns:
            "loss", "flow", "foresight", "accuracy/1x1", ... as `Objective` has them, and but for stage world_model
            "action_error" with "by_joint" (mean absolute error by the action's name, rad or m) and "by_step" (mean over
            the joints, by step of the chunk); steps past an episode's end and robots of another layout do not count.
        """
        parts: dict[str, Tensor] = {}
        errors = torch.zeros(self._chunk, self._joints, dtype=torch.float64)
        counted = torch.zeros(self._chunk, 1, dtype=torch.float64)
        for index in range(self.count):
            samples = self.loader.batch(index)
            batch = {name: tensor.to(self.device) for name, tensor in self.batches(samples).items()}
            first = index * self.stride + self.first_position
            # The seed is fixed: evaluations are compared with each other.
            draws = self.batches.draws(first, self.rows, 0, self.settings, self.device)
            for name, value in self.objective(batch, draws).items():
                parts[name] = parts.get(name, torch.zeros((), device=self.device)) + value.float() / self.count
            wanted = pictures if index == 0 and picture_path is not None else 0
            if self.objective.stage == "world_model" and not wanted:
                continue
            with self.objective.computing(self.device):
                actions, codes = self._infer(batch, draws)
            if actions is not None:
                self._add_errors(errors, counted, actions, samples)
            if wanted and codes is not None and picture_path is not None:
                self._save_pictures(picture_path, batch, codes, wanted)
        means = self.reduce(torch.stack(list(parts.values())))
        out: dict[str, Any] = {name: float(v) for name, v in zip(parts, means, strict=True)}
        out["loss"] = out.pop("total")
        if self.objective.stage != "world_model":
            out["action_error"] = self._action_error(errors, counted)
        return out

    @property
    def _chunk(self) -> int:
        return self.batches.config.chunk_size

    @property
    def _joints(self) -> int:
        return len(self.batches.file.spec.action_names)

    def _infer(self, batch: dict[str, Tensor], draws: Draws) -> tuple[Tensor | None, Tensor | None]:
        """Actions (B, chunk, A) and foresight codes (B, F) as at run time; actions are None in stage world_model."""
        network, file = self.objective.network, self.batches.file
        history = self.objective.history(batch["history"]) if network.config.use_world_model else None
        prefix: Prefix = network.prefix(
            batch["images"], batch["present"], batch["tokens"], batch["language_mask"], history
        )
        codes = None
        if network.config.use_world_model:
            greedy = file.foresight_top_k == 1 or self.objective.stage == "world_model"
            codes = network.foresight(
                prefix, draws.foresight, top_k=file.foresight_top_k, top_p=file.foresight_top_p, greedy=greedy
            ).codes
        if self.objective.stage == "world_model":
            return None, codes
        return network.sample_actions(prefix, batch["state"], draws.noise * file.noise_scale), codes

    def _add_errors(self, errors: Tensor, counted: Tensor, actions: Tensor, samples: Sequence[Sample]) -> None:
        for row, sample in zip(actions, samples, strict=True):
            if not self.batches.in_layout[sample.dataset]:
                continue
            valid = ~sample.action_is_pad
            errors[valid] += torch.from_numpy(np.abs(self.batches.to_robot(row, sample) - sample.actions)[valid])
            counted[valid] += 1.0

    def _action_error(self, errors: Tensor, counted: Tensor) -> dict[str, Any]:
        both = self.reduce(torch.cat([errors, counted], dim=1).to(self.device)).cpu()
        errors, counted = both[:, :-1], both[:, -1:]
        by_joint = errors.sum(0) / counted.sum().clamp_min(1e-9)
        by_step = errors.mean(1) / counted[:, 0].clamp_min(1e-9)
        names = self.batches.file.spec.action_names
        return {"by_joint": dict(zip(names, by_joint.tolist(), strict=True)), "by_step": by_step.tolist()}

    def _save_pictures(self, path: Path, batch: dict[str, Tensor], codes: Tensor, count: int) -> None:
        """A row a sample: the view now, the real next one, what its tokens can show of it, and the predicted one."""
        tokenizer = self.objective.network.tokenizer
        target = batch["target"][:count]
        real = self.objective.codes(target[:, None])[:, 0, : codes.shape[1]]
        decoded = [tokenizer.decode(c).add(1.0).mul(127.5).round().to(torch.uint8) for c in (real, codes[:count])]
        columns = [batch["history"][:count, -1], target, *decoded]
        grid = torch.cat([torch.cat(list(column), dim=1) for column in columns], dim=2)  # (3, rows H, 4 W)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grid.permute(1, 2, 0).contiguous().cpu().numpy()).save(path)
