"""What is to run a policy: `config/engines/*.yaml`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from f1_ros.config import load_yaml
from f1_ros.errors import ConfigError
from f1_ros.paths import share_dir

Backend = Literal["torch", "onnxruntime", "tensorrt_rtx"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
Stage = Literal["image_tower", "history_encoder", "language", "prefix", "foresight", "flow", "decoder"]
AUTO = "auto"
"""In place of an engine's name: the compiled one if it passes its check, torch otherwise; see `opening.automatic`."""
STAGES: tuple[Stage, ...] = get_args(Stage)
"""What precision can be chosen for; "foresight" is all of its scales."""


@dataclass(frozen=True)
class EngineConfig:
    """How a policy is run.

    Attributes:
        backend: torch: eager, needs no build; onnxruntime, tensorrt_rtx: each stage compiled.
        precision: of the stages. fp32; int8: dynamic quantisation of the layers' products, onnxruntime only; fp16 and
            bf16: the products in 16 bits, tensorrt_rtx only.
        stages: precision of single stages, by name (`STAGES`), where it is another.
        flow_steps: Euler steps of the flow; 0: as the network was trained.
        foresight_scales: scales of foresight that are predicted, coarse to fine; 0: as the network was trained.
        threads: CPU threads.
        device: cpu; or cuda, with a package of ONNX Runtime that has it, and always with tensorrt_rtx.
        gpu: what tensorrt_rtx builds for, by compute capability, such as SM89; empty: this machine's.

    Raises:
        ConfigError: if something does not go together.
    """

    backend: Backend = "torch"
    precision: Precision = "fp32"
    stages: dict[str, Precision] = field(default_factory=dict)
    flow_steps: int = 0
    foresight_scales: int = 0
    threads: int = 1
    device: Literal["cpu", "cuda"] = "cpu"
    gpu: str = ""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.stages) - set(STAGES))
        if unknown:
            raise ConfigError(f"stages: {', '.join(unknown)} is no stage.", remedy=f"Known are: {', '.join(STAGES)}.")
        if self.backend == "torch" and {self.precision, *self.stages.values()} != {"fp32"}:
            raise ConfigError(
                "backend torch runs in fp32 alone.", remedy="Choose backend onnxruntime, or leave it out."
            )
        if self.backend == "torch" and self.device != "cpu":
            raise ConfigError("backend torch runs on the CPU alone.", remedy="Choose device cpu.")
        used = {self.precision, *self.stages.values()}
        if self.backend == "onnxruntime" and not used <= {"fp32", "int8"}:
            raise ConfigError("onnxruntime runs in fp32 and int8.", remedy="Choose one of them by stage.")
        if self.backend == "tensorrt_rtx" and "int8" in used:
            raise ConfigError("tensorrt_rtx runs in fp32, fp16 and bf16.", remedy="Choose one of them by stage.")
        if self.backend == "tensorrt_rtx" and self.device != "cuda":
            raise ConfigError("tensorrt_rtx runs on a GPU.", remedy="Choose device cuda.")
        if self.gpu and (self.backend != "tensorrt_rtx" or not re.fullmatch(r"SM\d{2,3}", self.gpu)):
            raise ConfigError(
                f"gpu is {self.gpu} with backend {self.backend}.",
                remedy="Give a compute capability such as SM89 with backend tensorrt_rtx, or leave it out.",
            )
        if not 0 <= self.flow_steps <= 1000:
            raise ConfigError(f"flow_steps is {self.flow_steps}.", remedy="Give 1 to 1000, or 0 for the network's own.")
        if self.foresight_scales < 0:
            raise ConfigError(
                f"foresight_scales is {self.foresight_scales}.", remedy="Give 1 or more, or 0 for the network's own."
            )
        if not 1 <= self.threads <= 256:
            raise ConfigError(f"threads is {self.threads}.", remedy="Give 1 to 256.")

    def precision_of(self, stage: str) -> Precision:
        """Precision of a stage of `Layout.signatures`."""
        kind = "foresight" if stage.startswith("foresight_") else stage
        return self.stages.get(kind, self.precision)


def named_engines() -> dict[str, Path]:
    """The files of config/engines by name."""
    return {file.stem: file for file in sorted((share_dir() / "config" / "engines").glob("*.yaml"))}


def everywhere(engine: str) -> str:
    """The same engine for a process in another folder: a name as it is, a path made absolute."""
    path = Path(engine).expanduser()
    return engine if engine == AUTO or engine in named_engines() or not path.exists() else str(path.absolute())


def choose_engine(engine: str) -> EngineConfig | Path:
    """What `--engine` or a node's parameter `engine` names: a configuration, or a compiled engine's directory.

    Args:
        engine: a name in config/engines, a YAML file like those, or a directory that `f1-ros engine build` made.

    Raises:
        ConfigError: if there is none, or it is wrong.
    """
    path = Path(engine).expanduser()
    known = named_engines()
    if engine in known:
        return load_yaml(known[engine], EngineConfig)
    if path.is_dir():
        return path.absolute()
    if path.suffix in (".yaml", ".yml"):
        return load_yaml(path, EngineConfig)
    raise ConfigError(
        f"Engine '{engine}' is unknown.",
        remedy=f"Give one of {', '.join(known)}, a YAML file, or a directory that `f1-ros engine build` made.",
    )


def load_engine_config(engine: str) -> EngineConfig:
    """The configuration of a name in config/engines, or of a YAML file.

    Raises:
        ConfigError: if there is none, or it is wrong.
    """
    choice = choose_engine(engine)
    if isinstance(choice, Path):
        raise ConfigError(f"{engine} is a directory.", remedy="Give a name in config/engines, or a YAML file.")
    return choice
