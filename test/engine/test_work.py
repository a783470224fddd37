"""What a stage computes and reads, against PyTorch's own counter and against the checkpoint's list."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from f1_ros.engine.layout import Layout, Port
from f1_ros.engine.precision import Numbers
from f1_ros.engine.stages import make_stages
from f1_ros.engine.work import Pass, numbers_of, passes, readers, weights_read
from f1_ros.model.config import ExpertConfig, F1Config, KeypointConvConfig, SiglipConfig, TokenizerConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.manifest import FULL_SIZE, tensor_shapes

RELEASED = json.loads((Path(__file__).parents[1] / "model" / "data" / "f1_full_manifest.json").read_text())
IMAGES = 2
KEYPOINTS = KeypointConvConfig(hidden_size=16, image_size=16, channels=(4, 8), keypoints=4, grid=2, cameras=IMAGES)
SIGLIP = SiglipConfig(24, 40, 2, 3, image_size=16, patch_size=4)


def tiny(vision: SiglipConfig | KeypointConvConfig = SIGLIP, *, world: bool = True, history: bool = True) -> F1Config:
    def expert(width: int) -> ExpertConfig:
        return ExpertConfig(width, 3 * width, 3, 4, 2, 8, vocab_size=20)

    return F1Config(
        vision=vision,
        und=expert(32),
        act=expert(16),
        gen=expert(24) if world else None,
        vae=TokenizerConfig(64, 4, 8, 4, (1, 1, 2), 2, patch=2, norm_groups=4) if world else None,
        scales=(1, 2, 3, 4) if world else (),
        num_resolutions=3 if world else 0,
        temporal_conv_kernel_size=3,
        use_world_model=world,
        use_history=history,
        chunk_size=5,
        max_state_dim=3,
        max_action_dim=6,
        tokenizer_max_length=7,
        num_steps=4,
    )


def layout_of(config: F1Config, *, foresight: bool = True) -> Layout:
    return Layout(config, IMAGES, config.tokenizer_max_length, foresight)


@torch.inference_mode()
def counted(layout: Layout) -> dict[str, int]:
    """FLOP of each stage, run once and counted by PyTorch."""
    totals: dict[str, int] = {}
    stages = make_stages(F1Model(layout.config).eval(), layout)
    for name, signature in layout.signatures().items():
        counter = FlopCounterMode(display=False)
        with counter, sdpa_kernel(SDPBackend.MATH):  # the fused kernel of CPUs is not in the counter's list
            stages[name](*(filler(port) for port in signature.inputs))
        stage = name.rstrip("_0123456789")
        totals[stage] = totals.get(stage, 0) + counter.get_total_flops()
    return totals


def filler(port: Port) -> torch.Tensor:
    if port.dtype == "float32":
        return torch.rand(port.shape)
    return torch.ones(port.shape, dtype=getattr(torch, port.dtype))


def by_stage(all_passes: Iterator[Pass]) -> dict[str, int]:
    totals = {"language": 0}
    for one in all_passes:
        totals[one.stage] = totals.get(one.stage, 0) + one.flop
    return totals


@pytest.mark.parametrize(
    "config",
    [tiny(), tiny(KEYPOINTS), tiny(history=False), tiny(KEYPOINTS, world=False)],
    ids=["siglip", "keypoints", "no history", "no world model"],
)
def test_each_stage_computes_what_pytorch_counts(config: F1Config) -> None:
    torch.manual_seed(0)
    for foresight in (True, False):
        layout = layout_of(config, foresight=foresight)
        assert by_stage(passes(layout, flow_steps=1, picture=True)) == counted(layout)


def test_frames_flow_steps_and_scales_are_passes_of_their_own() -> None:
    def stages(layout: Layout, **options: int) -> list[str]:
        return [one.stage for one in passes(layout, **options)]

    whole, without = layout_of(tiny()), layout_of(tiny(), foresight=False)
    assert stages(whole) == ["image_tower", "history_encoder", "prefix", *["foresight"] * 2, *["flow"] * 4]
    assert stages(without, frames=3, flow_steps=1) == ["image_tower", *["history_encoder"] * 3, "prefix", "flow"]
    less, more = (list(passes(layout))[-1] for layout in (without, whole))
    assert less.flop < more.flop  # the flow attends to what was foreseen
    assert less.moved.matrices == more.moved.matrices


def test_a_stage_s_output_depends_on_the_weights_that_it_is_said_to_read_and_on_no_other() -> None:
    torch.manual_seed(0)
    layout = layout_of(tiny())
    network = F1Model(layout.config).eval()
    stages = make_stages(network, layout)
    inputs = {name: [filler(port) for port in s.inputs] for name, s in layout.signatures().items()}
    clean = {stage: run(stages[stage], inputs[stage]) for stage in stages}
    for name, tensor in network.state_dict().items():
        kept = tensor.clone()
        tensor.fill_(torch.nan)
        touched = {stage for stage in stages if run(stages[stage], inputs[stage]) != clean[stage]}
        tensor.copy_(kept)
        said = set(readers(name, layout))
        if "quantize.phi." in name:  # each belongs to some scales, of which a stage may have none; counted all the same
            touched |= said
        assert {stage.rstrip("_0123456789") for stage in touched} == said, name


@torch.inference_mode()
def run(stage: torch.nn.Module, inputs: list[torch.Tensor]) -> list[bytes]:
    """A stage's outputs, to the bit."""
    out = stage(*inputs)
    return [tensor.numpy().tobytes() for tensor in (out if isinstance(out, tuple) else (out,))]


PARTS: dict[str, Callable[[str], bool]] = {
    "vision tower": lambda n: ".vision_tower." in n or ".multi_modal_projector." in n,
    "understanding": lambda n: ".language_model.model." in n,
    "generation": lambda n: (
        ".gemma_wm_expert.model." in n or n.startswith(("model.wm_", "model.temporal_conv.", "model.lvl_embed."))
    ),
    "action": lambda n: ".gemma_expert.model." in n or n.startswith(("model.state_", "model.action_")),
    "tokenizer": lambda n: n.startswith("model.vae.") and "ema_vocab_hit" not in n,
    "for training": lambda n: n == "model.mask_embedding",
}
OURS = {
    "vision tower": "vision.",
    "understanding": "und.",
    "generation": ("gen.", "wm_", "temporal_conv.", "lvl_embed."),
    "action": ("act.", "state_proj.", "action_"),
    "tokenizer": "tokenizer.",
    "for training": "mask_embedding",
}


def test_full_size_weights_are_those_of_the_release_part_by_part() -> None:
    shapes = tensor_shapes(FULL_SIZE)
    for part, belongs in PARTS.items():
        theirs = sum(math.prod(shape) for name, shape in RELEASED.items() if belongs(name))
        ours = sum(math.prod(shape) for name, shape in shapes.items() if name.startswith(OURS[part]))
        assert ours == theirs, part
    heads = [name for name in RELEASED if name.endswith("expert.lm_head.weight")]
    assert len(heads) == 2
    whole = sum(math.prod(shape) for shape in shapes.values())
    assert round((whole + sum(math.prod(RELEASED[name]) for name in heads)) / 1e9, 2) == 4.19


def test_nothing_reads_the_last_layer_s_rest_and_what_is_for_training() -> None:
    layout = Layout(FULL_SIZE, 3, FULL_SIZE.tokenizer_max_length)
    last = "und.layers.17."
    assert {name for name in tensor_shapes(FULL_SIZE) if not readers(name, layout)} == {
        *(f"{last}self_attn.{p}_proj.weight" for p in "qo"),
        *(f"{last}mlp.{p}_proj.weight" for p in ("gate", "up", "down")),
        f"{last}post_attention_layernorm.weight",
        "und.norm.weight",
        "mask_embedding",
    }


def test_tables_norms_and_biases_are_no_matrices() -> None:
    assert numbers_of("und.embed_tokens.weight", (20, 32)) == Numbers(0, 640)
    assert numbers_of("und.layers.0.input_layernorm.weight", (32,)) == Numbers(0, 32)
    assert numbers_of("wm_cond_pos_embs", (1, 30, 24)) == Numbers(0, 720)
    assert numbers_of("tokenizer.quant_conv.weight", (4, 4, 3, 3)) == Numbers(144, 0)
    assert weights_read(layout_of(tiny()), "language") == Numbers(0, 640)
