"""Memory estimates: against what autograd keeps on small networks, and sums that are known."""

from __future__ import annotations

import pytest
import torch

from f1_ros.model.config import ExpertConfig, F1Config, SiglipConfig, TokenizerConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.manifest import FULL_SIZE, unreached
from f1_ros.model.sampling import RowGenerators
from f1_ros.train.batches import Draws
from f1_ros.train.describe import full_size_table
from f1_ros.train.finetune_config import ForesightConfig, Precision, Stage
from f1_ros.train.memory import activation_bytes, estimate, parameter_counts, stage_groups
from f1_ros.train.objective import Objective, stage_network_config
from f1_ros.train.trainables import group_of

ROWS, CAMERAS = 2, 2
WORDS, JOINTS = 8, 6


def small_config() -> F1Config:
    def expert(width: int) -> ExpertConfig:
        return ExpertConfig(width, 3 * width, 4, 4, 1, 16, vocab_size=32)

    return F1Config(
        vision=SiglipConfig(48, 96, 3, 4, image_size=32, patch_size=8),
        und=expert(64),
        act=expert(48),
        gen=expert(48),
        vae=TokenizerConfig(64, 4, 8, 4, (1, 2), 1, patch=2, norm_groups=4),
        scales=(1, 2, 3, 4, 6),
        num_resolutions=3,
        temporal_conv_kernel_size=3,
        chunk_size=8,
        max_state_dim=JOINTS,
        max_action_dim=JOINTS,
        tokenizer_max_length=WORDS,
    )


def kept_by_autograd(config: F1Config, stage: Stage, precision: Precision) -> float:
    """Bytes that the backward pass needs, a sample, parameters and their casts aside."""
    network = F1Model(config)
    network.config = stage_network_config(config, stage)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(group_of(name) in stage_groups(config, stage) and not unreached(name, config))
    objective = Objective(network, stage, ForesightConfig(), precision).train()
    size, frame = config.image_size, config.frame_size
    batch = {
        "images": torch.rand(ROWS, CAMERAS, 3, size, size),
        "present": torch.ones(ROWS, CAMERAS, dtype=torch.bool),
        "tokens": torch.ones(ROWS, WORDS, dtype=torch.long),
        "language_mask": torch.ones(ROWS, WORDS, dtype=torch.bool),
        "history": torch.zeros(ROWS, 3, 3, frame, frame, dtype=torch.uint8),
        "target": torch.zeros(ROWS, 3, frame, frame, dtype=torch.uint8),
        "state": torch.rand(ROWS, JOINTS),
        "actions": torch.rand(ROWS, 8, JOINTS),
        "pad": torch.zeros(ROWS, 8, dtype=torch.bool),
    }
    inputs = config.frame_tokens - 1
    draws = Draws(
        torch.rand(ROWS, 8, JOINTS),
        torch.rand(ROWS),
        torch.zeros(ROWS, inputs, dtype=torch.bool),
        RowGenerators([1, 2]),
    )
    shapes = {tuple(p.shape) for p in network.parameters()} | {tuple(p.shape)[::-1] for p in network.parameters()}
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        cast = tensor.dtype == torch.bfloat16 and tuple(tensor.shape) in shapes
        if tensor.untyped_storage().data_ptr() not in own and not cast:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        objective(batch, draws)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / ROWS


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("stage", ["world_model", "finetune"])
def test_activations_are_within_a_quarter_of_what_is_kept(stage: Stage, precision: Precision) -> None:
    config = small_config()
    guess = activation_bytes(config, stage, precision, images=CAMERAS, trained=stage_groups(config, stage))
    assert guess == pytest.approx(kept_by_autograd(config, stage, precision), rel=0.25)


def test_full_size_counts_are_those_of_the_release() -> None:
    counts = parameter_counts(FULL_SIZE)
    assert round(sum(whole for whole, _ in counts.values()) / 1e9, 2) == 3.66  # 4.19 without the heads never used
    assert counts["action"][0] == counts["action"][1]
    assert counts["language"][1] < counts["language"][0]  # most of the last layer is without effect


def test_full_size_fine_tuning_in_float32_is_sixteen_bytes_a_number_and_the_average() -> None:
    memory = estimate(FULL_SIZE, "finetune", "float32", images=3)
    counts = parameter_counts(FULL_SIZE)
    trained = sum(reached for group, (_, reached) in counts.items() if group is not None)
    whole = sum(count for count, _ in counts.values())
    assert memory.total - memory.activations == 4 * whole + 16 * trained
    without = estimate(FULL_SIZE, "finetune", "float32", images=3, average=False)
    assert memory.total - without.total == 4 * trained
    twice = estimate(FULL_SIZE, "finetune", "float32", images=3, batch=2)
    assert twice.activations == 2 * memory.activations


def test_the_table_has_every_stage_and_precision() -> None:
    rows = [line.split("  ")[1].strip() for line in full_size_table().splitlines()[2:-2]]
    twice = [name for name in ("world_model", "pretrain", "finetune", "finetune, adapters") for _ in range(2)]
    assert rows == [*twice, "adapters, halved"]
