"""The configuration of a training run, `config/train/*.yaml`: what is allowed in it, and what contradicts what.

`f1_ros.train.load_config` refuses unknown keys; the classes refuse what cannot be meant, each with the key and the
remedy. Paths are relative to the working directory, as on the command line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from f1_ros.data.sources import DatasetConfig
from f1_ros.engine.policy import PolicyFile
from f1_ros.errors import ConfigError

Group = Literal["vision", "language", "generation", "action"]
GROUPS: tuple[Group, ...] = ("vision", "language", "generation", "action")
Precision = Literal["float32", "bfloat16"]
Stage = Literal["world_model", "pretrain", "finetune"]


def require(condition: bool, problem: str, remedy: str) -> None:
    """Refuse a configuration unless the condition holds."""
    if not condition:
        raise ConfigError(problem, remedy=remedy)


@dataclass(frozen=True)
class StartConfig:
    """Where the weights come from: a policy directory, or a new network.

    Attributes:
        policy: a policy directory; weights, language tokenizer, and unless given otherwise also layout and statistics.
        network: `config.json` of a network that starts from random weights.
        weights: files or folders whose weights fill parts of that network, PaliGemma's or pi0's; later ones count.
        language: folder with the language tokenizer's files (with `network`).
        visual_tokenizer: the frozen visual tokenizer's file, `.safetensors` or `.pth` (with `network`).
    """

    policy: str | None = None
    network: str | None = None
    weights: tuple[str, ...] = ()
    language: str | None = None
    visual_tokenizer: str | None = None

    def __post_init__(self) -> None:
        require(
            self.policy is None or self.network is None,
            "start.policy and start.network are both given.",
            "Keep one: a trained policy to start from, or a network that starts from random weights.",
        )
        require(
            self.network is not None or (self.language is None and self.visual_tokenizer is None and not self.weights),
            "start.weights, start.language and start.visual_tokenizer belong to start.network, which is not given.",
            "Remove them: a policy directory has its own.",
        )
        require(
            self.network is None or self.language is not None,
            "start.language is missing beside start.network.",
            "Name a folder with tokenizer.json and tokenizer_config.json.",
        )


@dataclass(frozen=True)
class Rates:
    """Peak learning rates of the four parameter groups; None freezes a group."""

    vision: float | None = None
    language: float | None = None
    generation: float | None = None
    action: float | None = None

    def __post_init__(self) -> None:
        for group in GROUPS:
            rate = self.of(group)
            require(
                rate is None or rate > 0.0,
                f"optimiser.rates.{group} is {rate}.",
                "Give a rate above 0, or leave it out to freeze the group.",
            )

    def of(self, group: Group) -> float | None:
        """The group's peak rate."""
        rate: float | None = getattr(self, group)
        return rate


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW with cosine and warm-up.

    Attributes:
        rates: peak rates.
        steps: optimiser steps, or instead
        epochs: passes over the samples.
        batch: samples that a process takes at once.
        accumulate: how many such batches make one optimiser step.
        warmup: steps to the peak rate.
        floor: the last rate as a share of the peak.
        weight_decay: of matrices; biases and norms have none.
        beta1, beta2: decay of AdamW's moments.
        clip: largest norm of the gradient.
        average_decay: decay of the weights' moving average, which is evaluated and exported; None: no average.
    """

    rates: Rates
    steps: int | None = None
    epochs: float | None = None
    batch: int = 16
    accumulate: int = 1
    warmup: int = 2000
    floor: float = 0.0
    weight_decay: float = 1e-10
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0
    average_decay: float | None = 0.999

    def __post_init__(self) -> None:
        require(
            (self.steps is None) != (self.epochs is None),
            "optimiser.steps and optimiser.epochs are "
            + ("both given." if self.steps is not None else "both missing."),
            "Keep one of them: neither silently beats the other.",
        )
        require(self.steps is None or self.steps > 0, f"optimiser.steps is {self.steps}.", "Give at least 1.")
        require(self.epochs is None or self.epochs > 0, f"optimiser.epochs is {self.epochs}.", "Give more than 0.")
        require(
            min(self.batch, self.accumulate) > 0 and self.warmup >= 0,
            "optimiser.batch and optimiser.accumulate must be at least 1, optimiser.warmup at least 0.",
            "Correct them.",
        )
        require(
            self.steps is None or self.warmup < self.steps,
            f"optimiser.warmup ({self.warmup}) does not end before optimiser.steps ({self.steps}).",
            "Lower optimiser.warmup: the run would never reach its rate.",
        )
        require(
            0.0 <= self.floor <= 1.0 and 0.0 <= self.beta1 < 1.0 and 0.0 <= self.beta2 < 1.0,
            "optimiser.floor must be within 0..1, beta1 and beta2 within 0..1 and below 1.",
            "Correct them.",
        )
        require(
            self.clip > 0.0 and self.weight_decay >= 0.0,
            "optimiser.clip must be above 0 and optimiser.weight_decay at least 0.",
            "Correct them.",
        )
        require(
            self.average_decay is None or 0.0 < self.average_decay < 1.0,
            f"optimiser.average_decay is {self.average_decay}.",
            "Give a number between 0 and 1, or null for no average.",
        )


@dataclass(frozen=True)
class ForesightConfig:
    """The world model's part of the objective.

    Attributes:
        weight: of its cross-entropy beside the action loss (stages pretrain and finetune).
        greedy: take the likeliest code of each scale inside the pass; otherwise draw, as the released training does.
        mask_sequences, mask_tokens: stage world_model: share of sequences that are masked, and in those the share of
            target tokens replaced by the mask embedding.
    """

    weight: float = 0.1
    greedy: bool = False
    mask_sequences: float = 0.10
    mask_tokens: float = 0.15

    def __post_init__(self) -> None:
        require(self.weight >= 0.0, f"foresight.weight is {self.weight}.", "Give at least 0.")
        require(
            0.0 <= self.mask_sequences <= 1.0 and 0.0 <= self.mask_tokens <= 1.0,
            "foresight.mask_sequences and foresight.mask_tokens must be within 0..1.",
            "Give shares, such as 0.1.",
        )


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters on the linear layers of some groups, whose own weights then stay frozen.

    Attributes:
        groups: which groups get adapters; each must have a rate.
        rank: rank of an adapter.
        alpha: an adapter's output is multiplied by alpha / rank.
        dropout: of an adapter's input.
    """

    groups: tuple[Group, ...] = ("vision", "language")
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require(len(self.groups) > 0, "lora.groups is empty.", "Name a group, or remove the `lora` section.")
        require(
            self.rank > 0 and self.alpha > 0 and 0.0 <= self.dropout < 1.0,
            "lora.rank and lora.alpha must be above 0, lora.dropout within 0..1 and below 1.",
            "Correct them.",
        )


@dataclass(frozen=True)
class DataConfig:
    """How samples are read.

    Attributes:
        random_crop: cut history and target at a random place, the same for all frames of a sample; else the centre.
        threads: decoding threads of a process.  prefetch: batches decoded ahead.
        statistics: normalise by each dataset's own statistics, or by those of the policy that the run starts from.
        normalisation: how (see `f1_ros.observe.normalise`), with the datasets' statistics.
    """

    random_crop: bool = True
    threads: int = 2
    prefetch: int = 2
    statistics: Literal["dataset", "start"] = "dataset"
    normalisation: Literal["mean_std", "min_max", "quantile"] = "mean_std"

    def __post_init__(self) -> None:
        require(
            min(self.threads, self.prefetch) > 0, "data.threads and data.prefetch must be at least 1.", "Raise them."
        )


@dataclass(frozen=True)
class LoggingConfig:
    """What a run writes, and when; every count is of optimiser steps.

    Attributes:
        every: a line of metrics.
        save_every: a checkpoint.  keep: how many of the newest stay.
        held_out_every: losses, accuracies and errors on held-out samples, over `held_out_batches` batches.
        pictures: predicted beside real next views that a held-out evaluation saves.
        diverged: the run stops when the mean loss of 20 steps is this many times its lowest so far.
    """

    every: int = 10
    save_every: int = 1000
    keep: int = 2
    held_out_every: int = 1000
    held_out_batches: int = 8
    pictures: int = 4
    diverged: float = 20.0

    def __post_init__(self) -> None:
        require(
            min(self.every, self.save_every, self.keep, self.held_out_every, self.held_out_batches) > 0
            and self.pictures >= 0,
            "logging: every, save_every, keep, held_out_every and held_out_batches must be at least 1, pictures 0.",
            "Correct them.",
        )
        require(self.diverged > 1.0, f"logging.diverged is {self.diverged}.", "Give a factor above 1.")


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Attributes:
        stage: `world_model` trains the generation expert alone, teacher-forced over all scales; `pretrain` and
            `finetune` train everything that has a rate, foresight sampled inside the pass.
        seed: of new weights, data order, crops and noise.
        precision: bfloat16 computes in it and keeps the weights in float32.
        frozen_precision: of weights that are not trained. bfloat16 takes half the memory, needs `precision: bfloat16`,
            and rounds them, in the result too.
        parallel: what several processes do: each holds everything, or gradients, moments, average and resting weights
            are divided among them (fully sharded).
        threads: CPU threads of a process.
        datasets: of LeRobot; weights for all of them or for none. `cameras` renames `observation.images.NAME`, NAME
            being a camera of the policy.
        policy: layout, timing and action representation (`policy.json`); None: those of `start.policy`.
    """

    stage: Stage
    optimiser: OptimiserConfig
    seed: int = 1
    precision: Precision = "float32"
    frozen_precision: Precision = "float32"
    parallel: Literal["replicate", "shard"] = "replicate"
    threads: int = 1
    start: StartConfig = field(default_factory=StartConfig)
    datasets: tuple[DatasetConfig, ...] = ()
    policy: PolicyFile | None = None
    data: DataConfig = field(default_factory=DataConfig)
    foresight: ForesightConfig = field(default_factory=ForesightConfig)
    lora: LoraConfig | None = None
    logging: LoggingConfig = field(default_factory=LoggingConfig)

    def __post_init__(self) -> None:
        rates = self.optimiser.rates
        require(self.seed >= 0 and self.threads > 0, "seed must be at least 0, threads at least 1.", "Correct them.")
        require(
            any(rates.of(group) is not None for group in GROUPS),
            "optimiser.rates is empty: nothing would be trained.",
            "Give at least one group a rate.",
        )
        require(
            self.frozen_precision == "float32" or self.precision == "bfloat16",
            "frozen_precision is bfloat16, but precision is float32.",
            "Set precision to bfloat16 too, or leave frozen_precision out.",
        )
        if self.stage == "world_model":
            extra = [group for group in GROUPS if group != "generation" and rates.of(group) is not None]
            require(
                not extra and rates.generation is not None,
                "Stage world_model trains the generation expert alone, but optimiser.rates "
                + (f"has {', '.join(extra)}." if extra else "has no generation."),
                "Give optimiser.rates.generation and no other.",
            )
        for group in self.lora.groups if self.lora is not None else ():
            require(
                rates.of(group) is not None,
                f"lora.groups names {group}, which optimiser.rates freezes.",
                f"Give optimiser.rates.{group}, or take {group} out of lora.groups.",
            )
        require(
            self.policy is not None or self.start.network is None,
            "policy is missing: a new network does not say what it expects of a robot.",
            "Write the `policy` section (spec, relative_actions).",
        )
        if self.data.statistics == "start":
            require(
                self.start.network is None,
                "data.statistics is 'start', but start.network has no statistics.",
                "Set data.statistics to 'dataset'.",
            )
        elif self.policy is not None:
            check_absolute(self.policy)


def check_absolute(file: PolicyFile) -> None:
    """Refuse a datasets' statistics for relative actions: they are of the absolute ones.

    Raises:
        ConfigError: naming the key.
    """
    require(
        not any(file.relative_actions),
        "data.statistics is 'dataset', but the policy's actions are relative to the state (relative_actions): "
        "a dataset's statistics are of absolute actions.",
        "Set data.statistics to 'start', or make all of policy.relative_actions false.",
    )
