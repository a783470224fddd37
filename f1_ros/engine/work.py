"""What each stage of an inference reads and computes, from the network's shape alone.

A multiplication and an addition count as two FLOP. Counted are matrix products and convolutions, as PyTorch's
`FlopCounterMode` counts them; the rest (norms, softmax, resizing) is a few per cent. Letters: N tokens of a pass, M
tokens attended to, W an expert's width, I its MLP's, H heads, K key and value heads, D a head's width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from f1_ros.engine.config import Stage
from f1_ros.engine.layout import Layout
from f1_ros.engine.precision import Numbers
from f1_ros.model.config import ExpertConfig, F1Config, SiglipConfig
from f1_ros.model.manifest import tensor_shapes, unreached

_READERS: tuple[tuple[str, tuple[Stage, ...]], ...] = (
    ("vision.", ("image_tower",)),
    ("tokenizer.encoder.", ("history_encoder",)),
    ("tokenizer.quant_conv.", ("history_encoder",)),
    ("tokenizer.quantize.", ("history_encoder", "foresight", "decoder")),
    ("tokenizer.decoder.", ("decoder",)),
    ("tokenizer.post_quant_conv.", ("decoder",)),
    ("und.embed_tokens.", ("language",)),
    ("und.", ("prefix",)),
    ("temporal_conv.", ("prefix",)),
    ("wm_hist_pos_embs", ("prefix",)),
    ("wm_sos_token_embs", ("prefix",)),
    ("wm_cond_pos_embs", ("prefix",)),
    ("wm_out_layer_norm.", ("prefix", "foresight")),
    ("wm_out_proj.", ("prefix", "foresight")),
    ("gen.", ("prefix", "foresight")),
    ("wm_embeddings.", ("prefix", "foresight")),
    ("wm_output_position_embedding", ("prefix", "foresight")),
    ("lvl_embed.", ("prefix", "foresight")),
    ("act.", ("flow",)),
    ("state_proj.", ("flow",)),
    ("action_", ("flow",)),
)
_LOOKED_UP = ("embed_tokens.weight", "lvl_embed.weight", "quantize.embedding.weight", "position_embedding.weight")
"""Tables whose rows are looked up: no matrix that a quantised engine multiplies by."""


@dataclass(frozen=True)
class Pass:
    """One run through a stage's weights.

    Attributes:
        stage: whose.
        flop: what it computes.
        moved: numbers that must come from memory or go there: weights, keys and values, input and output. Results in
            between are taken never to leave the chip.
    """

    stage: Stage
    flop: int
    moved: Numbers


def readers(name: str, layout: Layout) -> tuple[Stage, ...]:
    """Stages that read a tensor of the network, the first in order being the one that a plan counts it with.

    Empty for what nothing reads at run time: what no output depends on, and what only training needs.
    """
    if unreached(name, layout.config) or (name.startswith("wm_out_") and not layout.predicts):
        return ()
    found = next((stages for prefix, stages in _READERS if name.startswith(prefix)), ())
    present = _stages(layout)
    return tuple(stage for stage in found if stage in present)


@cache
def _stages(layout: Layout) -> frozenset[str]:
    """The stages that a network has, all scales of foresight as one."""
    return frozenset("foresight" if name.startswith("foresight_") else name for name in layout.signatures())


def numbers_of(name: str, shape: tuple[int, ...]) -> Numbers:
    """One tensor's numbers by kind."""
    count = math.prod(shape)
    matrix = len(shape) > 1 and name.endswith(".weight") and not name.endswith(_LOOKED_UP)
    return Numbers(count, 0) if matrix else Numbers(0, count)


@cache
def weights_read(layout: Layout, stage: Stage) -> Numbers:
    """Weights that one run of a stage reads."""
    shapes = tensor_shapes(layout.config).items()
    return sum((numbers_of(n, s) for n, s in shapes if stage in readers(n, layout)), start=Numbers())


def passes(layout: Layout, *, frames: int = 1, flow_steps: int | None = None, picture: bool = False) -> Iterator[Pass]:
    """Every run of a stage that an inference is made of, in order; the instruction's words are kept from before.

    Args:
        layout: of the network.
        frames: history frames that are encoded: 1 where the others' codes are kept, else all of the history.
        flow_steps: Euler steps; the configuration's if not given.
        picture: whether the prediction is decoded to a picture.
    """
    config, kv = layout.config, kv_numbers(layout.config)
    pixels = layout.images * 3 * config.image_size**2
    seen = layout.images * config.vision.tokens * config.und.hidden_size
    yield Pass("image_tower", layout.images * _image_flop(config), _moved(layout, "image_tower", pixels + seen))
    if layout.remembers:
        work = Pass(
            "history_encoder", _history_flop(config), _moved(layout, "history_encoder", 3 * config.frame_size**2)
        )
        yield from [work] * frames
    read = layout.understood * config.und.hidden_size + layout.prefix_tokens * kv
    yield Pass("prefix", _prefix_flop(layout), _moved(layout, "prefix", read))
    for k in range(1, len(layout.scales)):
        cached = layout.span(k)[1]
        yield Pass("foresight", _foresight_flop(config, k, cached), _moved(layout, "foresight", cached * kv))
    attended = layout.tokens + config.chunk_size + 1
    step = Pass("flow", _flow_flop(config, attended), _moved(layout, "flow", layout.tokens * kv))
    yield from [step] * (config.num_steps if flow_steps is None else flow_steps)
    if picture and layout.predicts:
        yield Pass("decoder", _decoder_flop(config), _moved(layout, "decoder", 3 * config.frame_size**2))


def kv_numbers(config: F1Config) -> int:
    """Keys and values of one token in all layers."""
    return 2 * config.und.num_hidden_layers * config.und.num_key_value_heads * config.und.head_dim


def _moved(layout: Layout, stage: Stage, others: int) -> Numbers:
    return weights_read(layout, stage) + Numbers(others=others)


def _linear(tokens: int, inputs: int, outputs: int) -> int:
    return 2 * tokens * inputs * outputs


def _conv(side: int, inputs: int, outputs: int, kernel: int = 3) -> int:
    """A convolution whose output is side x side."""
    return 2 * side * side * inputs * outputs * kernel * kernel


def _image_flop(config: F1Config) -> int:
    """Of one image."""
    vision, tokens = config.vision, config.vision.tokens
    project = _linear(tokens, vision.hidden_size, config.und.hidden_size)
    if isinstance(vision, SiglipConfig):
        width = vision.hidden_size
        embed = 2 * tokens * 3 * vision.patch_size**2 * width
        attention = 4 * _linear(tokens, width, width) + 4 * tokens * tokens * width
        mlp = 2 * _linear(tokens, width, vision.intermediate_size)
        return embed + vision.num_hidden_layers * (attention + mlp) + project
    side, (first, second) = vision.image_size // 4, vision.channels
    convs = _conv(side, 3, first, 6) + _conv(side, first, second) + _conv(side, second, vision.keypoints, 1)
    keypoints = _linear(1, 2 * vision.keypoints, vision.hidden_size)
    return convs + keypoints + _linear(vision.grid**2, second, vision.hidden_size) + project


def _history_flop(config: F1Config) -> int:
    """Of one frame: encoder, codes, and what next-scale prediction reads."""
    vae = config.vae
    assert vae is not None
    widths, side = [vae.ch * m for m in vae.ch_mult], config.frame_size // vae.patch
    total = _conv(side, 3 * vae.patch**2, vae.ch)
    before = vae.ch
    for i, width in enumerate(widths):
        for _ in range(vae.num_res_blocks):
            total += _res_block(side, before, width)
            before = width
        if i < len(widths) - 1:
            side //= 2
            total += _conv(side, width, width)
        else:
            total += vae.num_res_blocks * _attention_block(side, width)
    total += _middle(side, before) + _conv(side, before, vae.z_channels) + _conv(side, vae.z_channels, vae.z_channels)
    distances = _linear(config.frame_tokens, vae.z_channels, vae.vocab_size)
    return total + distances + (2 * len(config.scales) - 1) * _phi(config)


def _decoder_flop(config: F1Config) -> int:
    """Of one picture from the codes of foresight's scales."""
    vae = config.vae
    assert vae is not None
    widths, side = [vae.ch * m for m in vae.ch_mult], config.scales[-1]
    before = widths[-1]
    total = config.num_resolutions * _phi(config) + _conv(side, vae.z_channels, vae.z_channels)
    total += _conv(side, vae.z_channels, before) + _middle(side, before)
    for i in reversed(range(len(widths))):
        for _ in range(vae.num_res_blocks + 1):
            total += _res_block(side, before, widths[i])
            before = widths[i]
        if i == len(widths) - 1:
            total += (vae.num_res_blocks + 1) * _attention_block(side, before)
        if i > 0:
            side *= 2
            total += _conv(side, before, before)
    return total + _conv(side, before, 3 * vae.patch**2)


def _res_block(side: int, inputs: int, outputs: int) -> int:
    shortcut = _conv(side, inputs, outputs, 1) if inputs != outputs else 0
    return _conv(side, inputs, outputs) + _conv(side, outputs, outputs) + shortcut


def _attention_block(side: int, width: int) -> int:
    return 4 * _conv(side, width, width, 1) + 4 * side**4 * width


def _middle(side: int, width: int) -> int:
    return 2 * _res_block(side, width, width) + _attention_block(side, width)


def _phi(config: F1Config) -> int:
    assert config.vae is not None
    return _conv(config.scales[-1], config.vae.z_channels, config.vae.z_channels)


def _projections(expert: ExpertConfig, tokens: int) -> int:
    """Keys and values of a layer."""
    return 2 * _linear(tokens, expert.hidden_size, expert.num_key_value_heads * expert.head_dim)


def _rest_of_layer(expert: ExpertConfig, tokens: int, attended: int) -> int:
    """Queries, attention, output projection and MLP of a layer."""
    heads = expert.num_attention_heads * expert.head_dim
    mlp = 3 * _linear(tokens, expert.hidden_size, expert.intermediate_size)
    return 2 * _linear(tokens, expert.hidden_size, heads) + 4 * tokens * attended * heads + mlp


def _layers(expert: ExpertConfig, tokens: int, attended: int, wanted: int) -> int:
    """All layers of an expert, of whose last one only `wanted` outputs are computed."""
    depth = expert.num_hidden_layers
    inner = (depth - 1) * _rest_of_layer(expert, tokens, attended)
    return depth * _projections(expert, tokens) + inner + (_rest_of_layer(expert, wanted, attended) if wanted else 0)


def _prefix_flop(layout: Layout) -> int:
    """Also of scale 0's logits, which come from the last token."""
    config, tokens = layout.config, layout.prefix_tokens
    total = _layers(config.und, layout.understood, tokens, wanted=0)
    if config.gen is None or config.vae is None:
        return total
    imagined, channels = config.generation_tokens, config.vae.z_channels
    total += _layers(config.gen, imagined, tokens, wanted=1)
    if layout.remembers:
        total += _linear(imagined - 1, config.temporal_conv_kernel_size * channels, channels)
        total += _linear(imagined - 1, channels, config.gen.hidden_size)
    return total + (_linear(1, config.gen.hidden_size, config.vae.vocab_size) if layout.predicts else 0)


def _foresight_flop(config: F1Config, scale: int, attended: int) -> int:
    """Of one scale after the first."""
    assert config.gen is not None
    assert config.vae is not None
    tokens, width = config.scales[scale] ** 2, config.gen.hidden_size
    embed = _phi(config) + _linear(tokens, config.vae.z_channels, width)
    return embed + _layers(config.gen, tokens, attended, wanted=tokens) + _linear(tokens, width, config.vae.vocab_size)


def _flow_flop(config: F1Config, attended: int) -> int:
    """Of one Euler step."""
    chunk, width = config.chunk_size, config.act.hidden_size
    into = _linear(1, config.max_state_dim, width) + _linear(chunk, config.max_action_dim, width)
    times = _linear(chunk, 2 * width, width) + _linear(chunk, width, width)
    out = _linear(chunk, width, config.max_action_dim)
    return into + times + _layers(config.act, chunk + 1, attended, wanted=chunk) + out
