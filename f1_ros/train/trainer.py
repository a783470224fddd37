"""The training loop: one process or several (Hugging Face Accelerate), resumable to the bit.

    Trainer(config, network, batches, train, held_out, folder).run()

The order within one optimiser step: samples, losses and gradients of each accumulated batch; stop if something is not
finite; clip; rate of the step; AdamW; moving average; metrics, held-out evaluation, checkpoint. Everything random is
drawn from the seed and the step or the sample's position, so that nothing but weights, moments, average and the
counters of `LossWatch` is needed to go on.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from f1_ros.data.samples import SampleLoader, SampleSource
from f1_ros.errors import CheckpointError, ConfigError, TrainingError
from f1_ros.model.f1 import F1Model
from f1_ros.train.batches import Batches, Draws
from f1_ros.train.checkpoints import Checkpoint, Checkpoints
from f1_ros.train.finetune_config import ForesightConfig, TrainConfig, require
from f1_ros.train.held_out import HeldOut
from f1_ros.train.identity import difference, run_identity
from f1_ros.train.metrics import LossWatch, MetricsLog
from f1_ros.train.objective import Objective, stage_network_config
from f1_ros.train.schedule import MovingAverage, cosine_rate
from f1_ros.train.sharding import divided_as, gathered, shard, whole
from f1_ros.train.trainables import add_adapters, merge_adapters, optimiser_groups, select, set_frozen_precision

_FOREIGN = ("FSDP", "DEEPSPEED", "MEGATRON_LM")
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_HELD_OUT_SEED = 0


class Trainer:
    """One training run in a folder of its own.

    Args:
        config: what to do.
        network: trained in place; where the weights come from is the caller's business.
        batches: makes tensors of samples.
        train: samples to train on.
        held_out: samples that are never trained on, without random crops.
        folder: of the run: metrics, checkpoints, pictures.
        quiet: no progress bar.

    Raises:
        ConfigError: if the configuration does not fit the network or the number of samples.
    """

    def __init__(
        self,
        config: TrainConfig,
        network: F1Model,
        batches: Batches,
        train: SampleSource,
        held_out: SampleSource,
        folder: Path,
        *,
        quiet: bool = False,
    ) -> None:
        from accelerate import Accelerator

        self.config, self.network, self.batches, self.folder = config, network, batches, folder
        self.quiet = quiet
        torch.set_num_threads(config.threads)
        # Precision is the objective's own business: Accelerate would keep one for the whole process.
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
        kind = self.accelerator.distributed_type.value
        require(
            kind not in _FOREIGN,
            f"Accelerate is set up for {kind}, which divides modules that F1's experts are called around.",
            "Start with torchrun, and set `parallel: shard` to divide weights among processes.",
        )
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        self._released_config = network.config
        network.config = stage_network_config(network.config, config.stage)
        torch.manual_seed(config.seed)  # of new adapters
        self.adapters = add_adapters(network, config.lora) if config.lora is not None else None
        self.groups = select(network, config)
        if config.frozen_precision == "bfloat16":
            set_frozen_precision(network, torch.bfloat16)
        self.objective = Objective(network, config.stage, config.foresight, config.precision)
        settings = config.optimiser
        self.sharded = config.parallel == "shard" and world > 1
        if self.sharded:
            shard(self.objective.to(self.accelerator.device), self.accelerator.device, world)
            self.groups = [group.of(network) for group in self.groups]
        self.parameters = {name: p for group in self.groups for name, p in group.parameters.items()}
        optimiser = torch.optim.AdamW(
            optimiser_groups(self.groups, settings.weight_decay), betas=(settings.beta1, settings.beta2)
        )
        self.optimiser = self.accelerator.prepare(optimiser)
        self.model = self.objective if self.sharded else self.accelerator.prepare(self.objective)
        self.average = self._new_average()
        self.rows = settings.batch
        self.stride = settings.batch * world  # samples of all processes in one batch
        self.steps = total_steps(config, len(train), world)
        self.watch = LossWatch(config.logging.diverged)
        self.checkpoints = Checkpoints(folder / "checkpoints", config.logging.keep)
        self.identity = run_identity(config, world, len(train))
        share = {"threads": config.data.threads, "rank": rank, "world": world, "prefetch": config.data.prefetch}
        self._first_position = rank * settings.batch
        self.loader = SampleLoader(train, settings.batch, config.seed, **share)
        self.held_out = HeldOut(
            self.objective,
            batches,
            SampleLoader(held_out, settings.batch, _HELD_OUT_SEED, **share),
            ForesightConfig(mask_sequences=0.0),
            count=config.logging.held_out_batches,
            rows=self.rows,
            first_position=self._first_position,
            stride=self.stride,
            device=self.accelerator.device,
            reduce=self._mean,
        )

    def run(self, *, previous: bool = False) -> F1Model:
        """Train to the end, from the newest checkpoint if there is one.

        Args:
            previous: go on from the checkpoint before the newest, which is removed.

        Returns:
            The network with the moving average as its weights, adapters merged, in evaluation mode.

        Raises:
            CheckpointError: if a checkpoint is damaged, belongs to another run, or cannot be written.
            TrainingError: if the loss is not finite or diverges; the batch is saved.
        """
        first = self._resume(previous)
        main = self.accelerator.is_main_process
        try:
            with MetricsLog(self.folder, first, self.steps, quiet=self.quiet) if main else _Silent() as log:
                self._loop(first, log)
        finally:
            self.loader.close()
            self.held_out.loader.close()
        return self._finished()

    def _loop(self, first: int, log: MetricsLog | _Silent) -> None:
        logging = self.config.logging
        if first == 0:
            log.write("held_out", 0, self._evaluate(0))  # what the run starts from
        since, waited, began = first, self.loader.waited_s, time.monotonic()
        for step in range(first, self.steps):
            values = self._step(step)
            done = step + 1
            last = done == self.steps
            log.advance(values["loss"])
            if done % logging.every == 0 or last:
                spent = max(time.monotonic() - began, 1e-9)
                values["samples_per_s"] = (done - since) * self.stride * self.config.optimiser.accumulate / spent
                values["waiting_share"] = (self.loader.waited_s - waited) / spent
                log.write("train", done, values)
                since, waited, began = done, self.loader.waited_s, time.monotonic()
            if done % logging.held_out_every == 0 or last:
                log.write("held_out", done, self._evaluate(done))
                began = time.monotonic()
            if done % logging.save_every == 0 or last:
                self._save(done)

    def _step(self, step: int) -> dict[str, Any]:
        """One optimiser step; gives what a line of metrics holds."""
        settings = self.config.optimiser
        self.model.train()
        torch.manual_seed(
            int(np.random.default_rng([self.config.seed, step, self.accelerator.process_index, 2]).integers(2**62))
        )
        sums: dict[str, Tensor] = {}
        worst: tuple[float, dict[str, Tensor], Draws] | None = None
        for turn in range(settings.accumulate):
            index = step * settings.accumulate + turn
            samples = self.loader.batch(index)
            batch = {name: tensor.to(self.accelerator.device) for name, tensor in self.batches(samples).items()}
            first = index * self.stride + self._first_position
            draws = self.batches.draws(
                first, self.rows, self.config.seed, self.config.foresight, self.accelerator.device
            )
            last = turn == settings.accumulate - 1
            with contextlib.nullcontext() if last or self.sharded else self.accelerator.no_sync(self.model):
                parts = self.model(batch, draws)
                self.accelerator.backward(parts["total"] / settings.accumulate)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value.detach().float() / settings.accumulate
            loss = float(parts["total"].detach())
            if worst is None or not math.isfinite(loss) or loss > worst[0]:
                worst = (loss, batch, draws)
        norm = whole(self.accelerator.clip_grad_norm_(self.parameters.values(), settings.clip))
        means = self._mean(torch.stack([*sums.values()]))
        values: dict[str, Any] = {name: float(v) for name, v in zip(sums, means, strict=True)}
        values = {"loss": values.pop("total"), **values, "grad_norm": float(norm)}
        problem = self.watch.problem(values["loss"])
        if problem is None and not math.isfinite(values["grad_norm"]):
            problem = f"The gradient's norm is {values['grad_norm']}"
        if problem is not None:
            assert worst is not None  # there is at least one batch
            self._stop(step, problem, worst[1], worst[2])
        for group in self.optimiser.param_groups:
            group["lr"] = cosine_rate(
                step, steps=self.steps, warmup=settings.warmup, peak=group["peak"], floor=settings.floor
            )
            values[f"rate/{group['group']}"] = group["lr"]
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.average is not None:
            self.average.update(self._container())
        return values

    def _stop(self, step: int, problem: str, batch: dict[str, Tensor], draws: Draws) -> None:
        """Save the worst batch of this process, and stop.

        Raises:
            TrainingError: always.
        """
        path = self.folder / f"stopped-step-{step:08d}-process-{self.accelerator.process_index}.safetensors"
        tensors = {**batch, "noise": draws.noise, "time": draws.time, "dropped": draws.dropped}
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
        raise TrainingError(
            f"{problem} at step {step}; the batch is saved in {path}.",
            remedy="Look at the batch for NaN or values far outside -5..5 (`f1-ros data check`), or lower "
            "optimiser.rates; the last checkpoint is from before.",
        )

    def _evaluate(self, step: int) -> dict[str, Any]:
        self.objective.eval()
        main = self.accelerator.is_main_process
        path = self.folder / "pictures" / f"step-{step:08d}.png" if main and self.config.logging.pictures else None
        with self._averaged(), gathered(self.objective):
            return self.held_out.evaluate(self.config.logging.pictures, path)

    def _save(self, step: int) -> None:
        # All processes have the same, or a share of it that all must hand over; one writes.
        tensors = {f"weights/{name}": whole(p.detach()).cpu() for name, p in self.parameters.items()}
        state = self.optimiser.optimizer.state
        for name, parameter in self.parameters.items():
            for moment in _MOMENTS:
                tensors[f"{moment}/{name}"] = whole(state[parameter][moment].detach()).cpu()
        if self.average is not None:
            shadow = self.average.state_dict()["shadow"]
            tensors |= {f"average/{name}": whole(shadow[_key(name)]).cpu() for name in self.parameters}
        if self.accelerator.is_main_process:
            updates = self.average.updates if self.average is not None else 0
            note = {"run": self.identity, "watch": self.watch.state(), "average_updates": updates}
            self.checkpoints.save(step, tensors, note)
        self.accelerator.wait_for_everyone()

    def _resume(self, previous: bool) -> int:
        checkpoint = self.checkpoints.load(previous=previous)
        if checkpoint is None:
            return 0
        changed = difference(checkpoint.state["run"], self.identity)
        if changed is not None:
            raise CheckpointError(
                f"{self.folder} holds a run with another configuration: {changed}.",
                remedy="Go on with the configuration that it began with, or give another folder.",
            )
        self._restore(checkpoint)
        if previous:
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                self.checkpoints.drop_after(checkpoint.step)
        return checkpoint.step

    @torch.no_grad()
    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors = checkpoint.tensors
        for name, parameter in self.parameters.items():
            parameter.copy_(divided_as(tensors[f"weights/{name}"], parameter))
            self.optimiser.optimizer.state[parameter] = {
                m: tensors[f"{m}/{name}"] if m == "step" else divided_as(tensors[f"{m}/{name}"], parameter)
                for m in _MOMENTS
            }
        if self.average is not None:
            shadow = {_key(n): divided_as(tensors[f"average/{n}"], p) for n, p in self.parameters.items()}
            self.average.load_state_dict({"updates": checkpoint.state["average_updates"], "shadow": shadow})
        self.watch.restore(checkpoint.state["watch"])

    def _finished(self) -> F1Model:
        self._swap_average()
        set_frozen_precision(self.network, torch.float32)
        if self.adapters is not None:
            with gathered(self.objective):
                merge_adapters(self.adapters)
        network = self.network
        if self.sharded:
            with torch.device("meta"):
                network = F1Model(self.network.config)
            weights = {name: whole(tensor) for name, tensor in self.network.state_dict().items()}
            network.load_state_dict(weights, assign=True)
        network.config = self._released_config
        return network.requires_grad_(False).eval()

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The moving average in the network, for as long as this is open."""
        self._swap_average()
        try:
            yield
        finally:
            self._swap_average()

    @torch.no_grad()
    def _swap_average(self) -> None:
        """Exchange the weights with their average, one by one: a second copy of all might not fit."""
        if self.average is None:
            return
        for name, parameter in self.parameters.items():
            shadow = self.average.shadow[_key(name)]
            kept = parameter.detach().clone()
            parameter.copy_(shadow)
            shadow.copy_(kept)

    def _new_average(self) -> MovingAverage | None:
        decay = self.config.optimiser.average_decay
        return MovingAverage(self._container(), decay) if decay is not None else None

    def _container(self) -> nn.ParameterDict:
        """The trained parameters as a module, for `MovingAverage`."""
        return nn.ParameterDict({_key(name): parameter for name, parameter in self.parameters.items()})

    def _mean(self, tensor: Tensor) -> Tensor:
        """Mean over the processes."""
        reduced: Tensor = self.accelerator.reduce(tensor, reduction="mean")
        return reduced


class _Silent:
    """Stands for `MetricsLog` in the processes that write none."""

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def advance(self, loss: float) -> None:
        pass

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        pass


def total_steps(config: TrainConfig, samples: int, processes: int) -> int:
    """Optimiser steps of a run.

    Raises:
        ConfigError: if the warm-up does not end before them.
    """
    settings = config.optimiser
    if settings.steps is not None:
        return settings.steps
    assert settings.epochs is not None  # made sure of by OptimiserConfig
    steps = math.ceil(settings.epochs * samples / (settings.batch * settings.accumulate * processes))
    if settings.warmup >= steps:
        raise ConfigError(
            f"optimiser.warmup ({settings.warmup}) does not end before the {steps} steps that optimiser.epochs "
            f"({settings.epochs}) are with {samples} samples.",
            remedy="Lower optimiser.warmup, or raise optimiser.epochs.",
        )
    return steps


def _key(name: str) -> str:
    return name.replace(".", "/")  # a module's own names hold no dots
