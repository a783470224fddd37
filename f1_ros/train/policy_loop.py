"""Training loops of the belt policy, one or several side by side.

A run's steps go in blocks. What a block draws (samples, noise, rates) is drawn on the CPU from (seed, step) alone and
handed over as tables; each step looks its row up. On a graphics card a step is captured once as a CUDA graph and then
replayed: the networks are so small that starting their kernels one by one would take ten times as long as running them,
and graphs of several runs share the card.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f1_ros.errors import TrainingError
from f1_ros.train.policy import Draws, Phase, PolicyLosses
from f1_ros.train.policy_batches import PolicyBatches
from f1_ros.train.schedule import MovingAverage, cosine_rate, load_state, save_state, step_generators

BLOCK = 50
"""Steps of a block."""

SAVE_EVERY_S = 120.0
_REPORT_BLOCKS = {"cpu": 1, "cuda": 4}  # reading the losses makes the host wait for the card
_EAGER_STEPS = 2  # before the capture: libraries set themselves up in them
_HELD_OUT_BATCHES = 4


class PolicyRun:
    """One phase of one policy's training; goes on from `state_path` where that exists.

    Args:
        name: what its lines of progress begin with.
        losses: trained in place, on the batches' device; in the end its weights are their moving average.
        batches: where samples come from.
        train_steps, held_out_steps: steps of the recording to train on, and not to.
        phase: what is learnt.
        steps, rate: optimiser steps, peak learning rate.
        seed: of samples and noise.
        state_path: file that the run's state is kept in.
        device: where it trains.
    """

    def __init__(
        self,
        name: str,
        losses: PolicyLosses,
        batches: PolicyBatches,
        train_steps: NDArray[np.int64],
        held_out_steps: NDArray[np.int64],
        *,
        phase: Phase,
        steps: int,
        rate: float,
        seed: int,
        state_path: Path,
        device: torch.device,
    ) -> None:
        self.name, self.losses, self.batches, self.phase = name, losses.to(device), batches, phase
        self.steps, self.rate, self.seed, self.state_path, self.device = steps, rate, seed, state_path, device
        self._train_steps, self._held_out_steps = train_steps, held_out_steps
        self._settings = losses.settings
        self._weights = [p for p in losses.parameters() if p.requires_grad]
        self._rate = torch.tensor(rate, device=device)
        self._optimiser = torch.optim.AdamW(
            self._weights,
            lr=self._rate,
            betas=(0.9, 0.95),
            weight_decay=self._settings.weight_decay,
            capturable=device.type == "cuda",
            fused=device.type == "cuda",
        )
        self._average = MovingAverage(losses, self._settings.average_decay)
        self.done = 0
        if state_path.exists():
            self._restore()
        self._first = self.done
        self._tables: dict[str, Tensor] = {}
        self._row = torch.zeros(1, dtype=torch.int64, device=device)
        self._sums: dict[str, Tensor] = {}
        self._summed = self._eager = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._blocks = 0
        self._began = self._saved = time.monotonic()
        losses.train()
        losses.network.tokenizer.eval()

    @property
    def finished(self) -> bool:
        """Whether all its steps are done."""
        return self.done >= self.steps

    def block(self) -> None:
        """Do the next steps; on a graphics card they may still be under way on return."""
        # A capture waits for the whole card: all runs are captured before any begins in earnest.
        first = self.device.type == "cuda" and self._graph is None
        count = min(_EAGER_STEPS if first else BLOCK, self.steps - self.done)
        with self._on_stream():
            self._hand_over(count)
            for _ in range(count):
                self._next_step()
        self._average.updates += count
        self._summed += count
        self.done += count
        self._blocks += 1

    def report(self) -> None:
        """Now and then print the losses since the last time, and save; call it after each block.

        Raises:
            TrainingError: if the loss is not finite.
        """
        if self._blocks % _REPORT_BLOCKS[self.device.type] and not self.finished:
            return
        with self._on_stream():
            means = {name: float(value) / self._summed for name, value in self._sums.items()}
            for value in self._sums.values():
                value.zero_()
        self._summed = 0
        figures = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        speed = (self.done - self._first) * self._settings.batch / (time.monotonic() - self._began)
        print(f"{self.name} {self.phase} {self.done}/{self.steps}  {figures}  {speed:.1f} samples/s", flush=True)
        if not all(np.isfinite(value) for value in means.values()):
            raise TrainingError(
                f"{self.name}: the loss diverged by step {self.done}.", remedy="Lower the learning rate."
            )
        if self.finished or time.monotonic() - self._saved > SAVE_EVERY_S:
            self._save()
            self._saved = time.monotonic()

    def finish(self) -> dict[str, float]:
        """Put the moving average into the network; gives the losses on what was never trained on."""
        self._graph = None
        self.losses.load_state_dict(self._average.shadow)
        self.losses.eval()
        found = self._held_out_losses()
        print(
            f"{self.name} {self.phase} held out: " + "  ".join(f"{name} {value:.4f}" for name, value in found.items()),
            flush=True,
        )
        return found

    def _hand_over(self, count: int) -> None:
        """Draw for `count` steps and put the tables where the steps look them up."""
        rows: dict[str, list[Tensor]] = {}
        for step in range(self.done, self.done + count):
            draw, generator = step_generators(self.seed, step)
            chosen = torch.from_numpy(draw.choice(self._train_steps, size=self._settings.batch))
            rate = cosine_rate(step, steps=self.steps, warmup=self._settings.warmup, peak=self.rate)
            weight = 1.0 - self._average.decay_at(self._average.updates + step - self.done + 1)
            row = self.losses.draw(generator, self.phase).tensors()
            row |= {"steps": chosen, "rate": torch.tensor(rate), "weight": torch.tensor(weight)}
            for name, value in row.items():
                rows.setdefault(name, []).append(value)
        for name, values in rows.items():
            table = torch.stack(values)
            if self.device.type == "cuda":
                table = table.pin_memory()
            if name not in self._tables:
                self._tables[name] = table.new_empty((BLOCK, *table.shape[1:]), device=self.device)
            self._tables[name][:count].copy_(table, non_blocking=True)
        self._row.zero_()

    def _next_step(self) -> None:
        if self._graph is not None:
            self._graph.replay()
            return
        self._step()
        self._eager += 1
        if self.device.type == "cuda" and self._eager == _EAGER_STEPS:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._step()

    def _step(self) -> None:
        """One optimiser step on the tables' present row. Nothing in it depends on a value on the host."""
        row = {name: table.index_select(0, self._row).squeeze(0) for name, table in self._tables.items()}
        batch = self.batches(row.pop("steps"))
        rate, weight = row.pop("rate"), row.pop("weight")
        parts = self.losses(batch, Draws(**row), self.phase)
        self._rate.copy_(rate)
        self._optimiser.zero_grad(set_to_none=True)
        parts["total"].backward()
        torch.nn.utils.clip_grad_norm_(self._weights, self._settings.clip)
        self._optimiser.step()
        self._average.move(self.losses, weight)
        for name, value in parts.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros((), device=self.device)
            self._sums[name].add_(value.detach())
        self._row.add_(1)

    @torch.no_grad()
    def _held_out_losses(self) -> dict[str, float]:
        totals: dict[str, list[float]] = {}
        for index in range(_HELD_OUT_BATCHES):
            draw, generator = step_generators(self.seed + 1, index)
            steps = torch.from_numpy(draw.choice(self._held_out_steps, size=self._settings.batch)).to(self.device)
            drawn = {k: v.to(self.device) for k, v in self.losses.draw(generator, self.phase).tensors().items()}
            for name, value in self.losses(self.batches(steps), Draws(**drawn), self.phase).items():
                totals.setdefault(name, []).append(float(value))
        return {name: float(np.mean(values)) for name, values in totals.items()}

    def _on_stream(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._stream) if self._stream is not None else nullcontext()

    def _save(self) -> None:
        save_state(
            self.state_path,
            {
                "step": self.done,
                "model": self.losses.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "average": self._average.state_dict(),
            },
        )

    def _restore(self) -> None:
        state = load_state(self.state_path)
        self.losses.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._rate = self._optimiser.param_groups[0]["lr"] = torch.tensor(self.rate, device=self.device)
        self._average.load_state_dict(state["average"])
        self.done = int(state["step"])


def train_together(runs: Sequence[PolicyRun]) -> None:
    """Train runs to their end, a block of each in turn: on a graphics card they share it."""
    open_ = [run for run in runs if not run.finished]
    while open_:
        for run in open_:
            run.block()
        for run in open_:
            run.report()
        open_ = [run for run in open_ if not run.finished]
