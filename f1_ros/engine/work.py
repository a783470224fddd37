"""What each stage of an inference reads and computes, from the network's shape alone.

The stages, in order; each is a graph of its own in a compiled engine:

    image      camera images -> tokens: vision tower and projector
    history    one history frame -> its codes, and what next-scale prediction reads of them
    prefix     all that was seen, through understanding and generation expert; writes keys and values
    foresight  scale by scale, through the generation expert; reads and writes keys and values
    flow       Euler steps through the action expert; reads keys and values
    decoder    predicted codes -> a picture for people; not on the way to the action

A multiplication and an addition count as two FLOP. Counted are matrix products and convolutions, as PyTorch's
`FlopCounterMode` counts them; the rest (norms, softmax, resizing) is a few per cent. Letters: N tokens of a pass, M
tokens attended to, W an expert's width, I its MLP's, H heads, K key and value heads, D a head's width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from f1_ros.errors import ConfigError
from f1_ros.model.config import ExpertConfig, F1Config, KeypointConvConfig, SiglipConfig
from f1_ros.model.manifest import tensor_shapes, unreached

Stage = Literal["image", "history", "prefix", "foresight", "flow", "decoder"]
STAGES: tuple[Stage, ...] = get_args(Stage)

_READERS: tuple[tuple[str, tuple[Stage, ...]], ...] = (
    ("vision.", ("image",)),
    ("tokenizer.encoder.", ("history",)),
    ("tokenizer.quant_conv.", ("history",)),
    ("tokenizer.quantize.", ("history", "foresight", "decoder")),
    ("tokenizer.decoder.", ("decoder",)),
    ("tokenizer.post_quant_conv.", ("decoder",)),
    ("und.", ("prefix",)),
    ("temporal_conv.", ("prefix",)),
    ("wm_hist_pos_embs", ("prefix",)),
    ("wm_sos_token_embs", ("prefix",)),
    ("wm_cond_pos_embs", ("prefix",)),
    ("wm_out_layer_norm.", ("foresight",)),
    ("wm_out_proj.", ("foresight",)),
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
class Numbers:
    """How many numbers; which of them a precision makes smaller is in `plan.BYTES`.

    Attributes:
        matrices: of linear layers and convolutions.
        others: norms, biases, tables; keys, values and whatever else goes from layer to layer.
    """

    matrices: int = 0
    others: int = 0

    def __add__(self, other: Numbers) -> Numbers:
        return Numbers(self.matrices + other.matrices, self.others + other.others)


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


def readers(name: str, config: F1Config) -> tuple[Stage, ...]:
    """Stages that read a tensor of the network, the first in order being the one that a plan counts it with.

    Empty for what nothing reads at run time: what no output depends on, and what only training needs.
    """
    if unreached(name, config):
        return ()
    found = next((stages for prefix, stages in _READERS if name.startswith(prefix)), ())
    return tuple(stage for stage in found if stage != "history" or config.use_history)


def numbers_of(name: str, shape: tuple[int, ...]) -> Numbers:
    """One tensor's numbers by kind."""
    count = math.prod(shape)
    matrix = len(shape) > 1 and name.endswith(".weight") and not name.endswith(_LOOKED_UP)
    return Numbers(count, 0) if matrix else Numbers(0, count)


def weights_read(config: F1Config, stage: Stage) -> Numbers:
    """Weights that one run through a stage needs; of the language embedding only the rows of the instruction."""
    total = Numbers()
    for name, shape in tensor_shapes(config).items():
        if stage in readers(name, config):
            rows = (config.tokenizer_max_length, *shape[1:]) if name == "und.embed_tokens.weight" else shape
            total += numbers_of(name, rows)
    return total


def image_count(config: F1Config, cameras: int) -> int:
    """Camera images of an inference: what the vision tower takes, or as many as there are cameras.

    Raises:
        ConfigError: if the tower takes another number of images.
    """
    fixed = config.vision.images if isinstance(config.vision, KeypointConvConfig) else None
    if cameras < 1 or fixed not in (None, cameras):
        wanted = "at least 1" if fixed is None else str(fixed)
        raise ConfigError(
            f"{cameras} images for a vision tower that takes {wanted}.", remedy=f"Give {wanted}, past images included."
        )
    return cameras


def prefix_tokens(config: F1Config, images: int) -> tuple[int, int]:
    """Tokens of the understanding and of the generation expert in the prefix."""
    imagined = 0
    if config.use_world_model:
        imagined = config.frame_tokens if config.use_history else 1
    return images * config.vision.tokens + config.tokenizer_max_length, imagined


def passes(
    config: F1Config,
    images: int,
    *,
    frames: int = 1,
    flow_steps: int | None = None,
    scales: int | None = None,
    picture: bool = False,
) -> Iterator[Pass]:
    """Every run through a stage's weights that an inference is made of, in order.

    Args:
        config: of the network.
        images: camera images, past ones included.
        frames: history frames that are encoded: 1 where the others' codes are kept, else all of the history.
        flow_steps: Euler steps; the configuration's if not given.
        scales: scales that foresight predicts; the configuration's if not given, 0 for none.
        picture: whether the prediction is decoded to a picture.
    """
    yield Pass("image", images * _image_flop(config), _moved(config, "image", _image_io(config, images)))
    world = config.use_world_model
    if world and config.use_history:
        work = Pass("history", _history_flop(config), _moved(config, "history", 3 * config.frame_size**2))
        yield from [work] * frames
    seen, imagined = prefix_tokens(config, images)
    tokens = seen + imagined
    kv = kv_numbers(config)
    io = seen * config.und.hidden_size + tokens * kv
    yield Pass("prefix", _prefix_flop(config, seen, imagined), _moved(config, "prefix", io))
    cached = tokens
    if world:
        for k, side in enumerate(config.scales[: config.num_resolutions if scales is None else scales]):
            cached += side * side if k > 0 else 0
            yield _foresight_pass(config, k, cached)
    cached += config.chunk_size + 1
    step = Pass("flow", _flow_flop(config, cached), _moved(config, "flow", cached * kv))
    yield from [step] * (config.num_steps if flow_steps is None else flow_steps)
    if picture:
        yield Pass("decoder", _decoder_flop(config), _moved(config, "decoder", 3 * config.frame_size**2))


def kv_numbers(config: F1Config) -> int:
    """Keys and values of one token in all layers."""
    return 2 * config.und.num_hidden_layers * config.und.num_key_value_heads * config.und.head_dim


def _moved(config: F1Config, stage: Stage, others: int) -> Numbers:
    return weights_read(config, stage) + Numbers(others=others)


def _image_io(config: F1Config, images: int) -> int:
    return images * (3 * config.image_size**2 + config.vision.tokens * config.und.hidden_size)


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


def _prefix_flop(config: F1Config, seen: int, imagined: int) -> int:
    total = _layers(config.und, seen, seen + imagined, wanted=0)
    if config.gen is None or config.vae is None:
        return total
    total += _layers(config.gen, imagined, seen + imagined, wanted=1)
    if config.use_history:
        channels = config.vae.z_channels
        total += _linear(imagined - 1, config.temporal_conv_kernel_size * channels, channels)
        total += _linear(imagined - 1, channels, config.gen.hidden_size)
    return total


def _foresight_pass(config: F1Config, scale: int, cached: int) -> Pass:
    """Predict one scale; `cached` tokens are attended to. The first comes from the prefix's last output."""
    assert config.gen is not None
    assert config.vae is not None
    tokens, width = config.scales[scale] ** 2, config.gen.hidden_size
    head = _linear(tokens, width, config.vae.vocab_size)
    if scale == 0:
        own = ("wm_out_proj.", "wm_out_layer_norm.")
        read = Numbers()
        for name, shape in tensor_shapes(config).items():
            if name.startswith(own):
                read += numbers_of(name, shape)
        return Pass("foresight", head, read)
    embed = _phi(config) + _linear(tokens, config.vae.z_channels, width)
    flop = embed + _layers(config.gen, tokens, cached, wanted=tokens) + head
    return Pass("foresight", flop, _moved(config, "foresight", cached * kv_numbers(config)))


def _flow_flop(config: F1Config, attended: int) -> int:
    """Of one Euler step."""
    chunk, width = config.chunk_size, config.act.hidden_size
    into = _linear(1, config.max_state_dim, width) + _linear(chunk, config.max_action_dim, width)
    times = _linear(chunk, 2 * width, width) + _linear(chunk, width, width)
    out = _linear(chunk, width, config.max_action_dim)
    return into + times + _layers(config.act, chunk + 1, attended, wanted=chunk) + out
