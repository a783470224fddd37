"""What a stage computes and reads, against PyTorch's own counter and against the checkpoint's list."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from f1_ros.engine.work import Numbers, Pass, image_count, numbers_of, passes, readers, weights_read
from f1_ros.errors import ConfigError
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


class Counter:
    """FLOP of each stage that the network runs, in order."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, int]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        counter = FlopCounterMode(display=False)
        with counter, sdpa_kernel(SDPBackend.MATH):  # the fused kernel of CPUs is not in the counter's list
            yield
        self.counted.append((name, counter.get_total_flops()))


@torch.inference_mode()
def counted(config: F1Config) -> list[tuple[str, int]]:
    """One inference of the network, counted by PyTorch."""
    network, counter = F1Model(config).eval(), Counter()
    images = torch.rand(1, IMAGES, 3, config.image_size, config.image_size)
    with counter.stage("image"):
        seen = network.vision(images)
    network.vision.forward = lambda given: seen  # the prefix then has no part in it
    history = None
    if config.use_world_model and config.use_history:
        frames = torch.rand(1, 3, config.frame_size, config.frame_size)
        with counter.stage("history"):
            inputs = network.tokenizer.var_input(network.tokenizer.encode(frames))
        stack = inputs[:, None].expand(-1, config.temporal_conv_kernel_size, -1, -1)
    words = torch.zeros(1, config.tokenizer_max_length, dtype=torch.long)
    with counter.stage("prefix"):
        if config.use_world_model and config.use_history:
            history = network.history_embeds(stack)
        prefix = network.prefix(images, torch.ones(1, IMAGES, dtype=torch.bool), words, words == 0, history)
    if config.use_world_model:
        with counter.stage("foresight"):
            codes = network.foresight(prefix, greedy=True).codes
    state, noise = torch.rand(1, config.max_state_dim), torch.rand(1, config.chunk_size, config.max_action_dim)
    with counter.stage("flow"):
        network.velocity(prefix, state, noise, torch.ones(1))
    if config.use_world_model:
        with counter.stage("decoder"):
            network.tokenizer.decode(codes)
    return counter.counted


def by_stage(all_passes: Iterator[Pass]) -> list[tuple[str, int]]:
    totals: dict[str, int] = {}
    for one in all_passes:
        totals[one.stage] = totals.get(one.stage, 0) + one.flop
    return list(totals.items())


@pytest.mark.parametrize(
    "config",
    [tiny(), tiny(KEYPOINTS), tiny(history=False), tiny(KEYPOINTS, world=False)],
    ids=["siglip", "keypoints", "no history", "no world model"],
)
def test_each_stage_computes_what_pytorch_counts(config: F1Config) -> None:
    torch.manual_seed(0)
    ours = by_stage(passes(config, IMAGES, flow_steps=1, picture=config.use_world_model))
    assert ours == counted(config)


def test_frames_flow_steps_and_scales_are_passes_of_their_own() -> None:
    def stages(**options: int) -> list[str]:
        return [one.stage for one in passes(tiny(), IMAGES, **options)]

    assert stages() == ["image", "history", "prefix", *["foresight"] * 3, *["flow"] * 4]
    assert stages(frames=3, flow_steps=1, scales=0) == ["image", *["history"] * 3, "prefix", "flow"]
    less, more = (list(passes(tiny(), IMAGES, scales=n))[-1] for n in (0, 3))
    assert less.flop < more.flop  # the flow attends to what was foreseen
    assert less.moved.matrices == more.moved.matrices


def test_a_tensor_is_read_by_the_stages_that_change_with_it() -> None:
    """Set each tensor to NaN in turn: the stages whose output is NaN are those that read it."""
    config = tiny()
    torch.manual_seed(0)
    network = F1Model(config).eval()
    for name in tensor_shapes(config):
        assert stages_touched_by(network, name) == set(readers(name, config)) & {"image", "prefix", "flow"}, name


@torch.inference_mode()
def stages_touched_by(network: F1Model, name: str) -> set[str]:
    """Of image, prefix and flow, whose own work is spoilt by a tensor that is NaN."""
    config = network.config
    tensor = network.state_dict()[name]
    kept = tensor.clone()
    images = torch.rand(1, IMAGES, 3, config.image_size, config.image_size)
    words = torch.zeros(1, config.tokenizer_max_length, dtype=torch.long)
    stack = torch.rand(1, config.temporal_conv_kernel_size, config.frame_tokens - 1, 4)
    clean = network.vision(images)

    def prefix(given: torch.Tensor, history: torch.Tensor):
        network.vision.forward = lambda _: clean
        made = network.prefix(given, torch.ones(1, IMAGES, dtype=torch.bool), words, words == 0, history)
        del network.vision.forward
        return made

    good = prefix(images, network.history_embeds(stack))
    tensor.fill_(torch.nan)
    touched = set()
    if not network.vision(images).tokens.isfinite().all():
        touched.add("image")
    made = prefix(images, network.history_embeds(stack))
    layers = [made.cache.tensors(i) for i in range(config.und.num_hidden_layers)]
    finite = [t.isfinite().all() for pair in layers for t in pair]
    if not (all(finite) and made.last.isfinite().all()):
        touched.add("prefix")
    state, noise = torch.rand(1, config.max_state_dim), torch.rand(1, config.chunk_size, config.max_action_dim)
    if not network.velocity(good, state, noise, torch.ones(1)).isfinite().all():
        touched.add("flow")
    tensor.copy_(kept)
    return touched


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


def test_every_weight_is_counted_with_one_stage_or_said_to_be_unread() -> None:
    unread = [name for name in tensor_shapes(FULL_SIZE) if not readers(name, FULL_SIZE)]
    last = "und.layers.17."
    assert set(unread) == {
        *(f"{last}self_attn.{p}_proj.weight" for p in "qo"),
        *(f"{last}mlp.{p}_proj.weight" for p in ("gate", "up", "down")),
        f"{last}post_attention_layernorm.weight",
        "und.norm.weight",
        "mask_embedding",
    }


def test_of_the_language_embedding_only_the_instruction_s_rows_move() -> None:
    config = tiny()
    table = numbers_of("und.embed_tokens.weight", (20, 32))
    assert table == Numbers(0, 640)
    whole = sum(numbers_of(n, s).others for n, s in tensor_shapes(config).items() if "prefix" in readers(n, config))
    assert weights_read(config, "prefix").others == whole - (20 - 7) * 32


def test_a_tower_for_so_many_images_takes_no_others() -> None:
    assert image_count(tiny(), 3) == 3
    assert image_count(tiny(KEYPOINTS), 2) == 2
    with pytest.raises(ConfigError, match="takes 2"):
        image_count(tiny(KEYPOINTS), 3)
    with pytest.raises(ConfigError, match="at least 1"):
        image_count(tiny(), 0)
