"""The memory that an inference takes, by stage and precision, from the network's shape, before anything is built.

    weights      each stage's own; what several stages read (the generation expert, the codebook) is counted with the
                 first of them
    KV           keys and values of all tokens in all layers, in one buffer made once
    activations  the most that is alive at one time inside a stage, with fused attention. Stages keep buffers of their
                 own, as compiled ones do, so that they may overlap

Precisions say what matrices are kept in. Norms, biases, tables, keys, values and activations stay in two bytes where
the matrices have one, or in four on a CPU. What a runtime takes for itself comes on top: `RESERVED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from f1_ros.engine.config import STAGES, Stage
from f1_ros.engine.layout import Layout
from f1_ros.engine.precision import Numbers, Precision
from f1_ros.engine.work import kv_numbers, numbers_of, readers
from f1_ros.model.config import ExpertConfig, F1Config, SiglipConfig
from f1_ros.model.manifest import tensor_shapes

GIB = 2**30
SIZES = (8, 16, 24, 32, 64)
"""Memory of common devices, GiB."""
Memory = Literal["own", "shared"]
RESERVED: dict[Memory, float] = {"own": 1.5, "shared": 6.0}
"""What is not the engine's on a device, GiB: a GPU's own memory holds the runtime, its kernels and a display; a
Jetson's is the computer's, and holds the system, ROS, camera drivers and the other processes too. Assumed, not
measured: compare with `tegrastats` or `nvidia-smi` on the robot."""


@dataclass(frozen=True)
class StageMemory:
    """Bytes of one stage.

    Attributes:
        stage: which.
        precision: of its matrices.
        numbers: weights, counted.
        weights, kv, activations: bytes.
    """

    stage: Stage
    precision: Precision
    numbers: int
    weights: int
    kv: int
    activations: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.kv + self.activations


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of an engine.

    Attributes:
        stages: by stage.
        unread: numbers of the checkpoint that no stage reads, and an engine need not load.
        shared: bytes that an engine takes in addition if stages do not share the weights that several of them read.
    """

    stages: tuple[StageMemory, ...]
    unread: int
    shared: int

    @property
    def total(self) -> int:
        """All stages together, weights shared."""
        return sum(stage.total for stage in self.stages)

    def fits(self, size: float, memory: Memory) -> bool:
        """Whether it fits on a device of `size` GiB, of a GPU's own or shared with the system."""
        return self.total <= (size - RESERVED[memory]) * GIB


def memory_plan(
    layout: Layout, precision: Precision | Mapping[Stage, Precision], *, on_cpu: bool = False
) -> MemoryPlan:
    """The memory of an engine.

    Args:
        layout: of the network.
        precision: of all stages, or of each.
        on_cpu: ONNX Runtime on a CPU, which computes in float32 between matrices of any precision.
    """
    chosen: Mapping[Stage, Precision] = dict.fromkeys(STAGES, precision) if isinstance(precision, str) else precision
    own: dict[Stage, Numbers] = {}
    unread = shared = 0
    graphs = dict.fromkeys(STAGES, 1) | {"foresight": len(layout.scales) - 1}
    for name, shape in tensor_shapes(layout.config).items():
        count, reading = numbers_of(name, shape), readers(name, layout)
        if not reading:
            unread += count.matrices + count.others
            continue
        own[reading[0]] = own.get(reading[0], Numbers()) + count
        shared += sum(graphs[stage] * count.bytes_in(chosen[stage], wide=on_cpu) for stage in reading[1:])
    kept = {"prefix": layout.prefix_tokens, "foresight": layout.tokens - layout.prefix_tokens}
    stages = []
    for stage in STAGES:
        if stage not in own and not kept.get(stage):
            continue
        weights = own.get(stage, Numbers())
        cached = Numbers(others=kept.get(stage, 0) * kv_numbers(layout.config))
        alive = Numbers(others=activation_numbers(layout, stage))
        stages.append(
            StageMemory(
                stage,
                chosen[stage],
                weights.matrices + weights.others,
                weights.bytes_in(chosen[stage], wide=on_cpu),
                cached.bytes_in(chosen["prefix"], wide=on_cpu),  # one buffer for all stages, in the prefix's precision
                alive.bytes_in(chosen[stage], wide=on_cpu),
            )
        )
    return MemoryPlan(tuple(stages), unread, shared)


def activation_numbers(layout: Layout, stage: Stage) -> int:
    """The most numbers alive at one time inside a stage, its inputs aside, as eager PyTorch runs it."""
    config = layout.config
    if stage == "image_tower":
        return _image_peak(config, layout.images)
    if stage in ("history_encoder", "decoder"):
        return _convolution_peak(config)
    if stage == "language":
        return 2 * layout.words * config.und.hidden_size
    if stage == "prefix":
        streams = [(config.und, layout.understood)]
        if config.gen is not None:
            streams.append((config.gen, config.generation_tokens))
        return _expert_peak(streams, layout.prefix_tokens)
    if stage == "foresight":
        assert config.gen is not None
        assert config.vae is not None
        tokens = layout.scales[-1] ** 2
        return _expert_peak([(config.gen, tokens)], layout.tokens) + 2 * tokens * config.vae.vocab_size
    tokens = config.chunk_size + 1
    return _expert_peak([(config.act, tokens)], layout.tokens + tokens)


def _expert_peak(streams: list[tuple[ExpertConfig, int]], attended: int) -> int:
    """Of a joint pass: its tokens four times over, angles and mask, and then attention or the widest stream's MLP."""
    tokens = sum(count for _, count in streams)
    width = sum(count * expert.hidden_size for expert, count in streams)
    first = streams[0][0]
    heads = first.num_attention_heads * first.head_dim
    angles_and_mask = 2 * tokens * first.head_dim + 5 * tokens * attended // 4
    joined = 2 * attended * first.num_key_value_heads * first.head_dim  # a layer's cached keys and values, and the new
    # Several key and value heads are spread over the query heads; a single one is read as it is.
    spread = 2 * attended * heads if 1 < first.num_key_value_heads < first.num_attention_heads else 0
    attention = spread + 4 * tokens * heads
    mlp = 2 * tokens * heads + max(count * (3 * e.intermediate_size + e.hidden_size) for e, count in streams)
    return 4 * width + angles_and_mask + joined + max(attention, mlp)


def _image_peak(config: F1Config, images: int) -> int:
    vision, tokens = config.vision, images * config.vision.tokens
    if isinstance(vision, SiglipConfig):
        width = vision.hidden_size
        return tokens * max(8 * width, 3 * width + 2 * vision.intermediate_size)
    first, second = vision.channels
    at_once = images if vision.cameras == 1 else 1
    maps = at_once * (vision.image_size // 4) ** 2
    return maps * (second + max(first, second, 2 * vision.keypoints)) + tokens * vision.hidden_size


def _convolution_peak(config: F1Config) -> int:
    """Of the tokenizer's network, either way: a block's four maps and its level's input, at the finest resolution."""
    vae = config.vae
    assert vae is not None
    widths = [vae.ch * m for m in vae.ch_mult]
    side, peak = config.frame_size // vae.patch, 0
    for width in widths:
        peak = max(peak, 5 * side * side * width)
        side //= 2
    coarsest = config.scales[-1] ** 2
    return max(peak, coarsest * (5 * widths[-1] + 2 * coarsest))
