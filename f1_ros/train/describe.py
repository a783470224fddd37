"""What a configuration will do, in words and figures: `f1-ros train CONFIG --print-config`."""

from __future__ import annotations

import dataclasses
import json

import yaml

from f1_ros.engine.policy import PolicyFile
from f1_ros.errors import CheckpointError
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.model.manifest import FULL_SIZE
from f1_ros.train.finetune import network_config, policy_file
from f1_ros.train.finetune_config import GROUPS, Precision, Stage, TrainConfig
from f1_ros.train.memory import Memory, estimate, parameter_counts
from f1_ros.train.trainables import add_adapters, select

_STAGES: tuple[Stage, ...] = ("world_model", "pretrain", "finetune")
_PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
_ADAPTED: tuple[tuple[str, Precision, Precision], ...] = (
    ("finetune, adapters", "float32", "float32"),
    ("finetune, adapters", "bfloat16", "float32"),
    ("adapters, halved", "bfloat16", "bfloat16"),
)
_COLUMNS = ("weights", "gradients", "moments", "average", "activations", "total")
FULL_SIZE_IMAGES = 3


def describe(config: TrainConfig) -> str:
    """The whole configuration with its defaults, what is trained, and the memory that it takes.

    Raises:
        ConfigError: as `FineTuneRun`, but for the datasets, which are not opened.
    """
    parts = [_as_yaml(config)]
    try:
        file = policy_file(config)
        parts.append(_run(config, file, network_config(config, file)))
    except CheckpointError as error:  # a later stage is looked at before the one that it starts from is through
        parts.append(f"What this run trains cannot be told yet: {error}\n")
    parts.append(full_size_table(config.optimiser.average_decay is not None))
    return "\n".join(parts)


def full_size_table(average: bool = True) -> str:
    """Memory of the full-size model by stage and precision, with a batch of one and each further sample."""
    lines = [
        f"Full-size model, {FULL_SIZE_IMAGES} cameras, estimated memory of one process in GiB, batch of 1"
        f"{'' if average else ', no moving average'}:",
        _header(),
    ]
    counts = parameter_counts(FULL_SIZE)
    act = counts["action"][1] + counts["generation"][1]
    for stage in _STAGES:
        for precision in _PRECISIONS:
            memory = estimate(FULL_SIZE, stage, precision, images=FULL_SIZE_IMAGES, average=average)
            lines.append(_row(stage, precision, memory))
    # Adapters of rank 16 on vision and language are 4 % of what the two experts train. They keep the activations.
    for name, precision, frozen in _ADAPTED:
        memory = estimate(
            FULL_SIZE,
            "finetune",
            precision,
            images=FULL_SIZE_IMAGES,
            average=average,
            trained_numbers=act,
            frozen_precision=frozen,
        )
        lines.append(_row(name, precision, memory))
    lines.append(
        "Each further sample takes the activations again. Adapters: low-rank on vision and language, whose own"
    )
    lines.append("weights 'halved' keeps in bfloat16 (frozen_precision).")
    return "\n".join(lines) + "\n"


def _run(config: TrainConfig, file: PolicyFile, shape: F1Config) -> str:
    """What is trained, and this run's memory."""
    import torch

    with torch.device("meta"):
        network = F1Model(shape)
        if config.lora is not None:
            add_adapters(network, config.lora)
    groups = select(network, config)
    counts = parameter_counts(shape)
    settings = config.optimiser
    whole = sum(count for count, _ in counts.values())
    lines = [
        f"Stage {config.stage}: {sum(g.count for g in groups) / 1e6:.2f} of {whole / 1e6:.2f} million numbers trained"
    ]
    for name in GROUPS:
        if name not in counts:
            continue
        group = next((g for g in groups if g.name == name), None)
        adapted = config.lora is not None and name in config.lora.groups
        how = "frozen" if group is None else f"{group.count / 1e6:.2f} M at {group.rate:g}"
        lines.append(f"  {name:<11} {counts[name][0] / 1e6:>9.2f} M  {how}{' (adapters)' if adapted else ''}")
    length = f"{settings.steps} steps" if settings.steps is not None else f"{settings.epochs:g} epochs"
    lines.append(
        f"{length} of {settings.batch} x {settings.accumulate} samples a process; warm-up {settings.warmup}, cosine to "
        f"{settings.floor:g} of the peak"
    )
    memory = estimate(
        shape,
        config.stage,
        config.precision,
        images=len(file.spec.cameras) + len(file.spec.past_images),
        batch=settings.batch,
        average=settings.average_decay is not None,
        trained=[group.name for group in groups],
        trained_numbers=sum(group.count for group in groups),
        frozen_precision=config.frozen_precision,
    )
    lines += ["Estimated memory of one process in GiB:", _header(), _row("this run", config.precision, memory)]
    return "\n".join(lines) + "\n"


def _as_yaml(config: TrainConfig) -> str:
    tree = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    text: str = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=110)
    return text


def _header() -> str:
    return f"  {'':<20} {'precision':<9}" + "".join(f"{name:>12}" for name in _COLUMNS)


def _row(name: str, precision: str, memory: Memory) -> str:
    return f"  {name:<20} {precision:<9}" + "".join(f"{getattr(memory, c) / 2**30:>12.2f}" for c in _COLUMNS)
