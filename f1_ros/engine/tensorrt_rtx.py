"""The stages by TensorRT-RTX: built on any machine for a named GPU, run on that GPU.

The only module that imports the package, and only when an engine is opened or built. Building takes neither GPU nor
driver. Running compiles kernels for the device when a stage is loaded, which takes seconds.
"""

from __future__ import annotations

import logging
import mmap
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from f1_ros.engine.checks import check_input
from f1_ros.engine.config import EngineConfig
from f1_ros.engine.export import COMPILERS
from f1_ros.engine.gate_record import objection
from f1_ros.engine.layout import Layout, Signature
from f1_ros.engine.manifest import EngineManifest, rebuild_command
from f1_ros.engine.protocol import EngineInfo
from f1_ros.errors import ConfigError, EngineError, EngineFailedError

PACKAGE = "tensorrt-rtx"
TESTED = COMPILERS["tensorrt_rtx"][PACKAGE]
SUFFIX = ".engine"

_log = logging.getLogger(__name__)


def import_tensorrt_rtx() -> Any:
    """The package.

    Raises:
        EngineError: with the line that installs it.
    """
    try:
        import tensorrt_rtx
    except ImportError as error:
        raise EngineError(
            f"TensorRT-RTX cannot be imported: {error}.",
            remedy=f"pip install {PACKAGE}=={TESTED}, or run the policy with engine onnxruntime.",
        ) from error
    return tensorrt_rtx


def this_gpu() -> str:
    """This machine's GPU as `EngineConfig.gpu` names it, such as SM89; empty if there is none."""
    if not torch.cuda.is_available():
        return ""
    major, minor = torch.cuda.get_device_capability()
    return f"SM{major}{minor}"


def for_a_gpu(config: EngineConfig) -> EngineConfig:
    """The configuration with the GPU that is built for: its own, or this machine's.

    Raises:
        ConfigError: if it names none and there is none here, or the package does not build for it.
        EngineError: if the package is missing.
    """
    members = import_tensorrt_rtx().ComputeCapability.__members__
    known = [name for name in members if name.startswith("SM")]
    gpu = config.gpu or this_gpu()
    if not gpu:
        raise ConfigError(
            "This machine has no GPU to build for.", remedy=f"Name one with --gpu; there are {', '.join(known)}."
        )
    if gpu not in known:
        raise ConfigError(
            f"TensorRT-RTX does not build for {gpu}.",
            remedy=f"It builds for {', '.join(known)}; or choose another engine.",
        )
    return replace(config, gpu=gpu)


def compile_stage(path: Path, gpu: str) -> Path:
    """Compile a stage's ONNX file into a file beside it, for a GPU that need not be here.

    Args:
        path: the ONNX file, whose weights lie where it says.
        gpu: such as SM89.

    Returns:
        The file.

    Raises:
        EngineError: if TensorRT-RTX does not take the graph, with what it says.
    """
    trt = import_tensorrt_rtx()
    log = _logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    data = None
    if parser.parse_from_file(str(path)):
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.__members__[gpu], 0)
        config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means float32: codes would flip
        data = builder.build_serialized_network(network, config)
    if data is None:
        raise EngineError(
            f"TensorRT-RTX {trt.__version__} does not take stage {path.stem} for {gpu}: {log.said()}.",
            remedy="Report it with the network's config.json, or choose another engine.",
        )
    compiled = path.with_suffix(SUFFIX)
    compiled.write_bytes(data)
    return compiled


class TensorRtRtxStages:
    """Runs compiled stages on the GPU. A `StageRunner`.

    Inputs may lie in the host's memory: they are copied into buffers that are made once. Outputs stay on the device.

    Args:
        folder: the engine's directory, checked by `load_manifest`.
        manifest: its manifest.
        layout: shapes of the stages.

    Raises:
        EngineError: if the engine is for another GPU, package or newer driver, or a stage cannot be loaded.
    """

    def __init__(self, folder: Path, manifest: EngineManifest, layout: Layout) -> None:
        trt = import_tensorrt_rtx()
        self.layout = layout
        gpu = this_gpu()
        built_with = manifest.tools[PACKAGE]
        remedy = f"Build it anew: {rebuild_command(manifest.source, folder, gpu=gpu)}."
        if trt.__version__ != built_with:
            raise EngineError(
                f"{folder} was built with TensorRT-RTX {built_with}, this is {trt.__version__}.", remedy=remedy
            )
        if not gpu:
            raise EngineError(
                f"{folder} is for a GPU of {manifest.config.gpu}, and PyTorch finds none here.",
                remedy="Check nvidia-smi and that PyTorch's build is for CUDA, or choose engine onnxruntime.",
            )
        if gpu != manifest.config.gpu:
            raise EngineError(f"{folder} was built for {manifest.config.gpu}, this GPU is {gpu}.", remedy=remedy)
        precisions = sorted(set(manifest.precision.values()))
        self._info = EngineInfo(
            "tensorrt_rtx", "+".join(precisions), directory=str(folder), objection=objection(folder, manifest)
        )
        self.device = torch.device("cuda", torch.cuda.current_device())
        self._runtime = trt.Runtime(_logger(trt))  # lives as long as its engines
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._stages = {
            name: _Loaded(trt, self._runtime, folder / f"{name}{SUFFIX}", signature, stream, remedy)
            for name, signature in layout.signatures().items()
        }

    @property
    def info(self) -> EngineInfo:
        """Backend, precision and directory; no gradients."""
        return self._info

    def run(self, stage: str, *inputs: Tensor) -> tuple[Tensor, ...]:
        """See `StageRunner`; outputs are overwritten by the stage's next run."""
        return self._stages[stage].run(inputs)

    def close(self) -> None:
        """Free engines and buffers."""
        torch.cuda.synchronize(self.device)
        self._stages.clear()


class _Loaded:
    """One stage on the device, with its buffers."""

    def __init__(
        self, trt: Any, runtime: Any, path: Path, signature: Signature, stream: torch.cuda.Stream, remedy: str
    ) -> None:
        self._name, self._inputs, self._stream, self._log = path.stem, signature.inputs, stream, runtime.logger
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            problem = invalidity(trt, runtime, data)
            if problem:
                raise EngineError(f"{path} does not run here: {problem}.", remedy=remedy)
            self._engine = runtime.deserialize_cuda_engine(data)
        self._context: Any = None if self._engine is None else self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"{path} cannot be loaded: {runtime.logger.said()}.", remedy=remedy)
        device = stream.device
        # A stage that was exported without an input that it does not need does not know it.
        known = {self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)}
        self._known = [port.name in known for port in signature.inputs]
        self._buffers: list[Tensor | None] = [None] * len(signature.inputs)
        self._pointers = [0] * len(signature.inputs)
        self._outputs = tuple(
            torch.empty(port.shape, dtype=getattr(torch, port.dtype), device=device) for port in signature.outputs
        )
        for port, tensor in zip(signature.outputs, self._outputs, strict=True):
            self._context.set_tensor_address(port.name, tensor.data_ptr())

    def run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for i, (port, tensor) in enumerate(zip(self._inputs, inputs, strict=True)):
            check_input(self._name, port, tensor)
            if not self._known[i]:
                continue
            placed = tensor if tensor.is_cuda else self._copied(i, tensor)
            if placed.data_ptr() != self._pointers[i]:
                self._pointers[i] = placed.data_ptr()
                self._context.set_tensor_address(port.name, placed.data_ptr())
        # The stage's own stream: on the default one TensorRT would wait for the whole device around each run.
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        done = self._context.execute_async_v3(self._stream.cuda_stream)
        current.wait_stream(self._stream)
        if not done:
            raise EngineFailedError(
                f"Stage {self._name} failed: {self._log.said()}.",
                remedy="Restart the engine; see the log if it fails again.",
            )
        return self._outputs

    def _copied(self, index: int, tensor: Tensor) -> Tensor:
        buffer = self._buffers[index]
        if buffer is None:
            with torch.inference_mode(False):  # it outlives this inference
                buffer = self._buffers[index] = torch.empty_like(tensor, device=self._stream.device)
        buffer.copy_(tensor)
        return buffer


def invalidity(trt: Any, runtime: Any, data: Any) -> str:
    """Why a compiled stage does not run on this machine: GPU, driver or package; empty if it does.

    Args:
        trt: the package.
        runtime: its `Runtime`.
        data: the file, or its first `engine_header_size` bytes.
    """
    validity, flags = runtime.get_engine_validity(data)
    if validity != trt.EngineValidity.INVALID:
        return ""
    members = trt.EngineInvalidityDiagnostics.__members__.items()
    reasons = [name.lower().replace("_", " ") for name, flag in members if flags & int(flag)]
    return ", ".join(reasons) or runtime.logger.said()


def _logger(trt: Any) -> Any:
    """TensorRT's messages in this module's log; keeps the last errors for an exception's text."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self._errors.append(text)
                _log.error("TensorRT-RTX: %s", text)
            else:
                _log.debug("TensorRT-RTX: %s", text)

        def said(self) -> str:
            """The errors so far, which are then forgotten."""
            lines, self._errors = self._errors, []
            return "; ".join(line.strip() for line in lines) or "it says nothing"

    return Logger()
