"""The memory plan: against what PyTorch allocates on small networks, and against the release at full size."""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from f1_ros.engine.layout import Layout, Port
from f1_ros.engine.plan import GIB, RESERVED, SIZES, MemoryPlan, activation_numbers, memory_plan
from f1_ros.engine.stages import make_stages
from f1_ros.model.config import ExpertConfig, F1Config, KeypointConvConfig, SiglipConfig, TokenizerConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.manifest import FULL_SIZE
from f1_ros.train.memory import parameter_counts

IMAGES, WORDS = 2, 7
FULL = Layout(FULL_SIZE, 3, FULL_SIZE.tokenizer_max_length)
TOWERS = {
    "siglip": SiglipConfig(48, 96, 3, 4, image_size=32, patch_size=8),
    "keypoints": KeypointConvConfig(
        hidden_size=16, image_size=64, channels=(8, 16), keypoints=8, grid=2, cameras=IMAGES
    ),
}


def small(tower: str = "siglip", kv_heads: int = 1) -> Layout:
    def expert(width: int) -> ExpertConfig:
        return ExpertConfig(width, 4 * width, 3, 4, kv_heads, 16, vocab_size=20)

    config = F1Config(
        vision=TOWERS[tower],
        und=expert(64),
        act=expert(48),
        gen=expert(48),
        vae=TokenizerConfig(64, 4, 8, 4, (1, 1, 2), 2, patch=2, norm_groups=4),
        scales=(1, 2, 3, 4, 6),
        num_resolutions=3,
        temporal_conv_kernel_size=3,
        chunk_size=8,
        max_state_dim=3,
        max_action_dim=6,
        tokenizer_max_length=WORDS,
    )
    return Layout(config, IMAGES, WORDS)


class Peak(TorchDispatchMode):
    """The most bytes of tensors alive at one time, of those that are made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in given and storage._cdata not in self._alive:
                    self._alive[storage._cdata] = storage.nbytes()
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._gone, storage._cdata)
        return out

    def _gone(self, key: int) -> None:
        self.now -= self._alive.pop(key)


def filler(port: Port) -> torch.Tensor:
    if port.dtype == "float32":
        return torch.rand(port.shape)
    return torch.ones(port.shape, dtype=getattr(torch, port.dtype))


@torch.inference_mode()
def peaks(layout: Layout) -> dict[str, int]:
    """Numbers of float32 size at each stage's peak; of foresight's scales the largest."""
    found: dict[str, int] = {}
    stages = make_stages(F1Model(layout.config).eval(), layout)
    for name, signature in layout.signatures().items():
        inputs = [filler(port) for port in signature.inputs]
        with Peak() as peak:
            stages[name](*inputs)
        stage = name.rstrip("_0123456789")
        found[stage] = max(found.get(stage, 0), peak.peak // 4)
    return found


@pytest.mark.parametrize(("tower", "kv_heads"), [("siglip", 1), ("siglip", 2), ("keypoints", 1)])
def test_activations_are_within_a_seventh_of_what_is_alive_at_the_peak(tower: str, kv_heads: int) -> None:
    layout = small(tower, kv_heads)
    for stage, measured in peaks(layout).items():
        assert activation_numbers(layout, stage) == pytest.approx(measured, rel=1 / 7), stage


def by_stage(plan: MemoryPlan) -> dict[str, Any]:
    return {stage.stage: stage for stage in plan.stages}


def test_the_buffer_of_keys_and_values_is_the_one_that_the_stages_take() -> None:
    layout = small()
    kv = layout.signatures()["flow"].inputs[0]
    assert kv.name == "kv"
    plan = memory_plan(layout, "fp32")
    assert sum(stage.kv for stage in plan.stages) == 4 * torch.Size(kv.shape).numel()
    assert sum(stage.kv for stage in memory_plan(layout, "int8").stages) == 2 * torch.Size(kv.shape).numel()


def test_all_weights_are_in_the_plan_or_unread() -> None:
    plan = memory_plan(FULL, "fp32")
    trained_and_frozen = sum(whole for whole, _ in parameter_counts(FULL_SIZE).values())
    mask_embedding = 32  # a buffer: it is stored, and not trained
    assert sum(stage.numbers for stage in plan.stages) + plan.unread == trained_and_frozen + mask_embedding
    assert all(stage.weights == 4 * stage.numbers for stage in plan.stages)


def test_one_byte_is_of_matrices_and_the_rest_has_two() -> None:
    halved, small_ = by_stage(memory_plan(FULL, "fp16")), by_stage(memory_plan(FULL, "fp8"))
    assert small_["language"].weights == halved["language"].weights  # a table
    assert small_["flow"].weights == pytest.approx(halved["flow"].weights / 2, rel=0.001)
    assert small_["prefix"].kv == halved["prefix"].kv
    assert small_["prefix"].activations == halved["prefix"].activations


def test_precision_is_chosen_by_stage() -> None:
    mixed = by_stage(memory_plan(FULL, {**dict.fromkeys(by_stage(memory_plan(FULL, "fp16")), "fp16"), "flow": "fp32"}))
    assert mixed["flow"].weights == by_stage(memory_plan(FULL, "fp32"))["flow"].weights
    assert mixed["prefix"].weights == by_stage(memory_plan(FULL, "fp16"))["prefix"].weights


def test_without_foresight_what_it_needs_is_not_loaded() -> None:
    whole, without = (memory_plan(layout, "fp16") for layout in (FULL, dataclasses.replace(FULL, foresight=False)))
    assert {"foresight", "decoder"} & set(by_stage(without)) == set()
    assert by_stage(without)["prefix"].numbers < by_stage(whole)["prefix"].numbers  # no head for its logits


def test_on_a_cpu_only_matrices_are_smaller() -> None:
    wide, halved = (by_stage(memory_plan(FULL, "int8", on_cpu=on_cpu)) for on_cpu in (True, False))
    exact = by_stage(memory_plan(FULL, "fp32"))
    assert (wide["prefix"].kv, wide["prefix"].activations) == (exact["prefix"].kv, exact["prefix"].activations)
    assert wide["language"].weights == exact["language"].weights
    assert halved["flow"].weights < wide["flow"].weights < 0.26 * exact["flow"].weights


def test_stages_that_share_no_weights_take_the_generation_expert_once_for_each_scale() -> None:
    generation = 2 * parameter_counts(FULL_SIZE)["generation"][0]  # bytes in fp16
    assert memory_plan(FULL, "fp16").shared == pytest.approx(3 * generation, rel=0.01)


def test_full_size_fits_where_the_memory_is_the_gpu_s_own_sooner_than_where_it_is_shared() -> None:
    def smallest(precision: Any, memory: Any) -> int:
        return min(size for size in SIZES if memory_plan(FULL, precision).fits(size, memory))

    assert {p: (smallest(p, "own"), smallest(p, "shared")) for p in ("fp32", "fp16", "fp8")} == {
        "fp32": (16, 24),
        "fp16": (16, 16),
        "fp8": (8, 16),
    }
    plan = memory_plan(FULL, "fp16")
    exact = plan.total / GIB + RESERVED["own"]
    assert plan.fits(exact, "own")
    assert not plan.fits(exact * (1 - 1e-9), "own")
