"""How much memory a training run takes, from the shapes of its network, without building it.

    weights       4 bytes a number, also with bfloat16 (the master copy), and then 2 more for the copy that computes;
                  2 for frozen ones that are kept in bfloat16
    gradients     4 bytes a trained number
    moments       8 bytes a trained number (AdamW's two)
    average       4 bytes a trained number, if there is a moving average
    activations   what autograd keeps for the backward pass, by the formulas below; fused attention is assumed

Letters: N tokens of a pass, M tokens attended to, W an expert's width, I its MLP's, A heads times head width. A layer
of an expert whose weights are trained keeps for each token the inputs of both norms (2 W), of the projections and of
the MLP (2 W), queries, attention's output in two layouts (3 A), the MLP's gate, its activation, up and their product
(4 I), and keys and values as attention reads them, one for each head (2 A M). Where its weights are frozen but tokens
carry gradients, the inputs of linear layers are not kept. Allocator, temporaries and the data loader come on top.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

import torch

from f1_ros.model.config import ExpertConfig, F1Config, SiglipConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.manifest import unreached
from f1_ros.train.finetune_config import GROUPS, Group, Precision, Stage
from f1_ros.train.trainables import group_of


@dataclass(frozen=True)
class Memory:
    """Bytes of a training process; see the module's docstring.

    Attributes:
        weights, gradients, moments, average: independent of the batch.
        activations: of the whole batch.
    """

    weights: float
    gradients: float
    moments: float
    average: float
    activations: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.weights + self.gradients + self.moments + self.average + self.activations


@cache
def parameter_counts(config: F1Config) -> dict[Group | None, tuple[int, int]]:
    """Numbers of each group, all and those that a loss depends on; None is the frozen visual tokenizer."""
    with torch.device("meta"):
        network = F1Model(config)
    counts: dict[Group | None, tuple[int, int]] = {}
    for name, parameter in network.named_parameters():
        group = group_of(name)
        whole, reached = counts.get(group, (0, 0))
        counts[group] = (whole + parameter.numel(), reached + (not unreached(name, config)) * parameter.numel())
    return counts


def stage_groups(config: F1Config, stage: Stage) -> tuple[Group, ...]:
    """The groups that a stage trains in full."""
    if stage == "world_model":
        return ("generation",)
    return GROUPS if config.use_world_model else ("vision", "language", "action")


def estimate(
    config: F1Config,
    stage: Stage,
    precision: Precision,
    *,
    images: int,
    batch: int = 1,
    average: bool = True,
    trained: Collection[Group] | None = None,
    trained_numbers: int | None = None,
    frozen_precision: Precision = "float32",
) -> Memory:
    """Memory of a training process.

    Args:
        config: of the network, as released (a stage's own scales are put in here).
        stage: of the training.
        precision: of the computation.
        images: camera images of a sample, past ones included.
        batch: samples that a process takes at once.
        average: whether there is a moving average.
        trained: groups that are trained, through adapters too: an adapter needs its layer's input as its layer does;
            all of the stage's if not given.
        trained_numbers: how many numbers are trained; all that those groups have if not given.
        frozen_precision: of the weights that are not trained, the visual tokenizer's aside.
    """
    groups = stage_groups(config, stage) if trained is None else trained
    counts = parameter_counts(config)
    numbers = trained_numbers
    if numbers is None:
        numbers = sum(reached for group, (_, reached) in counts.items() if group in groups)
    tokenizer = counts[None][0] if None in counts else 0
    frozen = sum(count for count, _ in counts.values()) - tokenizer - numbers
    mixed = precision == "bfloat16"
    frozen_bytes = 2.0 if frozen_precision == "bfloat16" else 6.0 if mixed else 4.0
    return Memory(
        weights=4.0 * tokenizer + frozen_bytes * frozen + (6.0 if mixed else 4.0) * numbers,
        gradients=4.0 * numbers,
        moments=8.0 * numbers,
        average=4.0 * numbers if average else 0.0,
        activations=float(batch * activation_bytes(config, stage, precision, images=images, trained=groups)),
    )


def activation_bytes(
    config: F1Config, stage: Stage, precision: Precision, *, images: int, trained: Collection[Group]
) -> float:
    """Bytes that autograd keeps of one sample."""
    small = 2 if precision == "bfloat16" else 4
    camera_tokens = images * config.vision.tokens
    seen = camera_tokens + config.tokenizer_max_length
    generation = 0
    if config.gen is not None:
        generation = config.frame_tokens if config.use_history else 1
    prefix = seen + generation
    total = 0.0
    if "vision" in trained and isinstance(config.vision, SiglipConfig):
        total += camera_tokens * config.vision.num_hidden_layers * _vision_layer(config.vision, small)
    # The last layer of the prefix computes the generation expert's last token alone.
    for layer in range(config.und.num_hidden_layers - 1):
        # The first layer's tokens carry gradients only if what made them is trained; later ones have met the others.
        first_is_frozen = layer == 0 and not {"vision", "language"} & set(trained)
        if not first_is_frozen:
            total += seen * _layer(config.und, small, trained="language" in trained)
        if config.gen is not None:
            total += generation * _layer(config.gen, small, trained="generation" in trained)
        total += _attended(config.und, prefix, small)
    if config.gen is not None:
        total += _foresight(config, stage, small, prefix, trained)
    if stage != "world_model":
        tokens = config.chunk_size + 1
        after = prefix + (config.foresight_tokens - 1 if config.gen is not None else 0) + tokens
        layers = config.act.num_hidden_layers
        total += layers * tokens * _layer(config.act, small, trained="action" in trained)
        total += layers * _attended(config.act, after, small)
    return total


def _foresight(config: F1Config, stage: Stage, small: int, prefix: int, trained: Collection[Group]) -> float:
    """Foresight scale by scale, each pass attending to all before it; teacher-forced in one pass."""
    assert config.gen is not None
    assert config.vae is not None
    sides = config.scales if stage == "world_model" else config.scales[: config.num_resolutions]
    passes = [sum(s * s for s in sides[1:])] if stage == "world_model" else [s * s for s in sides[1:]]
    total, before = 0.0, prefix
    for tokens in passes:
        before += tokens
        total += config.gen.num_hidden_layers * tokens * _layer(config.gen, small, trained="generation" in trained)
        total += config.gen.num_hidden_layers * _attended(config.gen, before, small)
    predicted = sum(s * s for s in sides)
    # Log-probabilities for the cross-entropy; with bfloat16 also the logits' own copy.
    return total + predicted * config.vae.vocab_size * (4 if small == 4 else 4 + small)


def _layer(expert: ExpertConfig, small: int, *, trained: bool) -> float:
    """Bytes a token in one layer, keys and values aside."""
    width, inner = expert.hidden_size, expert.intermediate_size
    attention = expert.num_attention_heads * expert.head_dim
    # With autocast the residual stream stays float32, and each linear layer keeps its own cast of its input.
    norms = 2 * width * 4
    inputs = (2 * width * 4 if small == 4 else 5 * width * small) if trained else 0
    heads = (3 if trained else 2) * attention * small
    mlp = (4 if trained else 3) * inner * small
    return norms + inputs + heads + mlp


def _attended(expert: ExpertConfig, tokens: int, small: int) -> float:
    """Bytes of a layer's keys and values as attention reads them."""
    return 2 * tokens * expert.num_attention_heads * expert.head_dim * small


def _vision_layer(vision: SiglipConfig, small: int) -> float:
    """Bytes a token in one layer of SigLIP."""
    width, inner = vision.hidden_size, vision.intermediate_size
    inputs = 2 * width * 4 if small == 4 else 4 * width * small
    return 2 * width * 4 + inputs + 5 * width * small + 2 * inner * small
