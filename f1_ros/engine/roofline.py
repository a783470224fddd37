"""How fast a device could be at best: what it must move over its bandwidth, what it must compute over its peak.

Each run of a stage takes at least the longer of the two (Williams et al., "Roofline", CACM 2009). Computed, never
measured: no engine reaches it, since kernels do not run at their peak, and norms, softmax, intermediate results and
launches come on top. It says what cannot be, and what to look for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from f1_ros.engine.layout import Layout
from f1_ros.engine.precision import Precision
from f1_ros.engine.work import Pass, passes

Width = Literal["16 bit", "8 bit"]
WIDTHS: tuple[Width, ...] = get_args(Width)
STORED: dict[Width, Precision] = {"16 bit": "fp16", "8 bit": "fp8"}
GOAL_MS = 20.0
"""An inference at 50 Hz."""


@dataclass(frozen=True)
class Device:
    """Public peak figures.

    Attributes:
        name: of the device.
        bandwidth: of its memory, GB/s.
        peak: dense TFLOPS (TOPS) of its tensor cores by width: fp16 and bf16 with accumulation in fp32, fp8 likewise,
            or int8 where there is no fp8.
        source: the vendor's document, and what was made of its figures.
    """

    name: str
    bandwidth: float
    peak: Mapping[Width, float]
    source: str

    def milliseconds(self, one: Pass, width: Width) -> float:
        """The least time of one run of a stage, ms."""
        moving = one.moved.bytes_in(STORED[width]) / (self.bandwidth * 1e9)
        return 1e3 * max(moving, one.flop / (self.peak[width] * 1e12))


DEVICES = (
    Device(
        "RTX 4090",
        1008,
        {"16 bit": 165.2, "8 bit": 330.3},
        "NVIDIA Ada GPU Architecture v2.02, appendix A; with FP32 accumulate (FP16 accumulate: twice that)",
    ),
    Device(
        "RTX 5090",
        1792,
        {"16 bit": 209.5, "8 bit": 419.0},
        "NVIDIA RTX Blackwell GPU Architecture, table 3; with FP32 accumulate",
    ),
    Device(
        "H100 SXM",
        3350,
        {"16 bit": 989.5, "8 bit": 1979.0},
        "NVIDIA H100 Tensor Core GPU data sheet; 1979 and 3958 with sparsity, halved",
    ),
    Device(
        "Jetson AGX Orin 64GB",
        204.8,
        {"16 bit": 42.5, "8 bit": 85.0},
        "NVIDIA Jetson AGX Orin Series data sheet DS-10662-001; GPU alone, 170 INT8 TOPS with sparsity or 85 FP16 "
        "TFLOPS, taken as of one kind and halved; int8, as it has no fp8",
    ),
    Device(
        "Jetson Thor T5000",
        273,
        {"16 bit": 258.5, "8 bit": 517.0},
        "NVIDIA Jetson Thor Series Modules data sheet DS-11945-001 v1.5, table 1-1 (FP8 dense); FP16: migration note "
        "DA-11926-001 v1.2, table 1, 517 with sparsity, halved",
    ),
)


@dataclass(frozen=True)
class Variant:
    """A way to run the model.

    Attributes:
        name: in words.
        cameras: images.
        frames: history frames that are encoded for each inference.
        flow_steps: Euler steps.
        scales: scales of foresight; 0: none.
    """

    name: str
    cameras: int = 3
    frames: int = 1
    flow_steps: int = 10
    scales: int = 4

    def passes(self, layout: Layout) -> list[Pass]:
        """What an inference then consists of."""
        config = dataclasses.replace(layout.config, num_resolutions=max(1, self.scales))
        shape = dataclasses.replace(layout, config=config, images=self.cameras, foresight=self.scales > 0)
        return list(passes(shape, frames=self.frames, flow_steps=self.flow_steps))


VARIANTS = (
    Variant("as released: four history frames encoded each time", frames=4),
    Variant("history kept by stamp"),
    Variant("... and 5 flow steps", flow_steps=5),
    Variant("... and 2 scales of foresight", flow_steps=5, scales=2),
    Variant("... and no foresight", flow_steps=5, scales=0),
    Variant("history kept, 5 flow steps, 2 cameras", cameras=2, flow_steps=5),
    Variant("history kept, 5 flow steps, 1 camera", cameras=1, flow_steps=5),
)


def bound_ms(device: Device, all_passes: Iterable[Pass], width: Width) -> dict[str, float]:
    """The least time of each stage, and of all one after the other ("total"), ms."""
    times: dict[str, float] = {}
    for one in all_passes:
        times[one.stage] = times.get(one.stage, 0.0) + device.milliseconds(one, width)
    return {**times, "total": sum(times.values())}
