"""The stages by ONNX Runtime. The only module that imports it, and only when an engine is opened or built."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from f1_ros.engine.checks import check_input
from f1_ros.engine.export import TOOLS
from f1_ros.engine.gate_record import objection
from f1_ros.engine.layout import Layout, Port
from f1_ros.engine.manifest import EngineManifest, rebuild_command
from f1_ros.engine.protocol import EngineInfo
from f1_ros.errors import EngineError, EngineFailedError

if TYPE_CHECKING:
    import onnx_ir

_TYPES = {"float32": (torch.float32, np.float32), "int64": (torch.int64, np.int64), "bool": (torch.bool, np.bool_)}


def import_onnxruntime() -> Any:
    """The package.

    Raises:
        EngineError: with the line that installs it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            f"ONNX Runtime cannot be imported: {error}.",
            remedy=f"pip install onnxruntime=={TOOLS['onnxruntime']}, or run the policy with engine torch.",
        ) from error
    return onnxruntime


class OrtStages:
    """Runs compiled stages. A `StageRunner`.

    Weights are mapped from the directory. Inputs are read where they lie; outputs go into buffers that are made once.

    Args:
        folder: the engine's directory, checked by `load_manifest`.
        manifest: its manifest.
        layout: shapes of the stages.
        threads: CPU threads.

    Raises:
        EngineError: if the package is missing, lacks the device, or cannot load a stage.
    """

    device = torch.device("cpu")

    def __init__(self, folder: Path, manifest: EngineManifest, layout: Layout, threads: int) -> None:
        runtime = import_onnxruntime()
        self.layout = layout
        built_with = manifest.tools["onnxruntime"]
        if runtime.__version__ != built_with:
            raise EngineError(
                f"{folder} was built and checked with ONNX Runtime {built_with}, this is {runtime.__version__}.",
                remedy=f"Install that version, or build it anew: {rebuild_command(manifest.source, folder)}.",
            )
        precisions = sorted(set(manifest.precision.values()))
        self._info = EngineInfo(
            "onnxruntime", "+".join(precisions), directory=str(folder), objection=objection(folder, manifest)
        )
        providers = ["CPUExecutionProvider"]
        if manifest.config.device == "cuda":
            if "CUDAExecutionProvider" not in runtime.get_available_providers():
                raise EngineError(
                    "This package of ONNX Runtime has no CUDA.",
                    remedy="pip install onnxruntime-gpu in place of onnxruntime, or build the engine for the CPU.",
                )
            providers.insert(0, "CUDAExecutionProvider")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the robot's loop wants the core
        options.log_severity_level = 3
        self._stages: dict[str, _Bound] = {}
        for name, signature in layout.signatures().items():
            try:
                session = runtime.InferenceSession(str(folder / f"{name}.onnx"), options, providers=providers)
            except Exception as error:  # its exceptions have no common base but Exception
                raise EngineError(
                    f"ONNX Runtime {runtime.__version__} cannot load {folder / name}.onnx: {error}.",
                    remedy=f"Build it anew: {rebuild_command(manifest.source, folder)}.",
                ) from error
            self._stages[name] = _Bound(name, session, signature.inputs, signature.outputs)

    @property
    def info(self) -> EngineInfo:
        """Backend, precision and directory; no gradients."""
        return self._info

    def run(self, stage: str, *inputs: Tensor) -> tuple[Tensor, ...]:
        """See `StageRunner`; outputs are overwritten by the stage's next run."""
        return self._stages[stage].run(inputs)

    def close(self) -> None:
        """Free sessions and buffers."""
        self._stages.clear()


class _Bound:
    """One session with its buffers."""

    def __init__(self, name: str, session: Any, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> None:
        self._name, self._session, self._inputs = name, session, inputs
        # A session that was exported without an input that it does not need does not know it.
        known = {node.name for node in session.get_inputs()}
        self._known = [port.name in known for port in inputs]
        self._pointers = [0] * len(inputs)
        self._binding = session.io_binding()
        self._outputs = tuple(torch.empty(port.shape, dtype=_TYPES[port.dtype][0]) for port in outputs)
        for port, tensor in zip(outputs, self._outputs, strict=True):
            kind = _TYPES[port.dtype][1]
            self._binding.bind_output(port.name, "cpu", 0, kind, port.shape, tensor.data_ptr())

    def run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for i, (port, tensor) in enumerate(zip(self._inputs, inputs, strict=True)):
            check_input(self._name, port, tensor)
            if self._known[i] and tensor.data_ptr() != self._pointers[i]:
                self._pointers[i] = tensor.data_ptr()
                self._binding.bind_input(port.name, "cpu", 0, _TYPES[port.dtype][1], port.shape, tensor.data_ptr())
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # its exceptions have no common base but Exception
            raise EngineFailedError(
                f"Stage {self._name} failed: {error}.", remedy="Restart the engine; see the log if it fails again."
            ) from error
        return self._outputs


def quantise(model: onnx_ir.Model, folder: Path) -> onnx_ir.Model:
    """Dynamic quantisation of the layers' matrix products: int8 weights, 8 bits of activations scaled at run time.

    What leads into and out of the layers (state, actions, logits) stays float32: it is small, and most sensitive.

    Args:
        model: the stage in float32, its nodes named after their modules.
        folder: for files in between; removed again.

    Raises:
        EngineError: if the package is missing.
    """
    import_onnxruntime()
    import onnx_ir
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir()
    root, quiet = logging.getLogger(), logging.NullHandler()
    root.addHandler(quiet)  # it warns on the root logger, and would set that up where nobody has
    try:
        wide, narrow = folder / "fp32.onnx", folder / "int8.onnx"
        onnx_ir.save(model, wide, external_data="fp32.data")
        quantize_dynamic(
            wide,
            narrow,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_quantize=[node.name for node in model.graph if ".layers." in (node.name or "")],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
        )
        quantised = onnx_ir.load(narrow)
        for value in quantised.graph.initializers.values():
            if isinstance(value.const_value, onnx_ir.ExternalTensor):  # out of the file that goes
                value.const_value = onnx_ir.tensor(value.const_value.numpy().copy(), name=value.name)
        return quantised
    finally:
        root.removeHandler(quiet)
        shutil.rmtree(folder)
