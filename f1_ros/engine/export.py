"""Stages to ONNX files, and a policy to a compiled engine's directory.

    build_engine(Path("models/f1_belt"), load_engine_config("onnxruntime"), Path("runs/engine"))

Opset and types are pinned, shapes fixed, and there are no operators but ONNX's own. All stages share one file of
weights, in which each lies once: the generation expert is in the prefix and in every scale of foresight.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from f1_ros.engine.config import Backend, EngineConfig, Precision
from f1_ros.engine.half import halve
from f1_ros.engine.layout import Layout, Signature
from f1_ros.engine.manifest import MANIFEST_FILE, EngineManifest, code_hash, model_hashes, sha256
from f1_ros.engine.policy import POLICY_FILE, load_policy_file
from f1_ros.engine.policy_engine import policy_layout
from f1_ros.engine.stages import Stage, make_stages
from f1_ros.errors import ConfigError, EngineError
from f1_ros.model.checkpoint import load_policy_network
from f1_ros.model.f1 import F1Model

if TYPE_CHECKING:
    import onnx_ir

OPSET = 20
WEIGHTS_DATA = "weights.data"
SHARED_BYTES = 1024
"""A weight of this size or more goes into the common file, the others stay in their stage's."""
PAGE = 4096
"""Weights begin at a page, so that they can be mapped."""
TOOLS = {
    "torch": "2.13.0",
    "onnx": "1.23.2",
    "onnx-ir": "1.1.0",
    "onnxscript": "0.7.2",
    "onnxruntime": "1.32.0",
    "numpy": "2.4.6",
}
"""What a stage is exported and run with, at the versions that were tested."""
COMPILERS: dict[Backend, dict[str, str]] = {"tensorrt_rtx": {"tensorrt-rtx": "1.7.1.116"}}
"""What else a backend is compiled with."""
_ALSO = {"onnxruntime": ("onnxruntime-gpu",)}
"""Packages that bring the same module."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many stages are done, and of how many."""


def build_engine(
    policy_dir: Path,
    config: EngineConfig,
    out: Path,
    *,
    engine: str = "",
    layout: Layout | None = None,
    replace: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> EngineManifest:
    """Compile a policy's network into a directory of its own.

    Args:
        policy_dir: the policy; or the directory of a network alone, with `layout`.
        config: backend and precision.
        out: the directory to make. It appears whole or not at all.
        engine: what the configuration was read from, for the command that builds it anew.
        layout: images, words and foresight; None: the policy's own.
        replace: put it in the place of an engine that is there.
        progress: told of each stage.

    Raises:
        ConfigError: if `out` exists and is not to be replaced, or is no engine; or nothing is to be built.
        CheckpointError: if the policy cannot be loaded whole.
        EngineError: if a stage cannot be exported, or a package is missing.
    """
    if config.backend == "torch":
        raise ConfigError("Engine torch needs no build.", remedy="Run the policy with it, or choose another engine.")
    config = buildable(config)
    if out.exists() and not (replace and (out / MANIFEST_FILE).is_file()):
        raise ConfigError(f"{out} is there already, and no engine.", remedy="Remove it, or give another --out.")
    network = load_policy_network(policy_dir).requires_grad_(False)
    name, robot = policy_dir.absolute().name, ""
    if layout is None or (policy_dir / POLICY_FILE).is_file():
        file = load_policy_file(policy_dir)
        name, robot = file.spec.name, file.spec.robot
        layout = layout or policy_layout(policy_dir, file, network.config, foresight_scales=config.foresight_scales)
    beside = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        signatures = layout.signatures()
        export_stages(network, layout, config, beside, progress)
        if config.backend == "tensorrt_rtx":
            _compile(beside, list(signatures), config.gpu, progress)
        manifest = EngineManifest(
            policy=name,
            robot=robot,
            source=str(policy_dir.absolute()),
            model=model_hashes(policy_dir),
            code=code_hash(),
            engine=engine,
            config=config,
            images=layout.images,
            words=layout.words,
            foresight=layout.foresight,
            precision={stage: config.precision_of(stage) for stage in signatures},
            stages=signatures,
            tools=tool_versions(config.backend),
            opset=OPSET,
            files={path.name: sha256(path) for path in sorted(beside.iterdir())},
        )
        manifest.save(beside)
        for path in beside.iterdir():
            with path.open("rb") as written:
                os.fsync(written.fileno())
        _publish(beside, out, replace)
    except OSError as error:
        raise EngineError(
            f"{out} cannot be written: {error}.", remedy="Give a folder that can be written, with room."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return manifest


def buildable(config: EngineConfig) -> EngineConfig:
    """The configuration with everything that this machine adds to it: for TensorRT-RTX the GPU that is built for.

    Raises:
        ConfigError: if it cannot be built for that GPU, or names none and there is none here.
        EngineError: if a package is missing.
    """
    if config.backend != "tensorrt_rtx":
        return config
    from f1_ros.engine.tensorrt_rtx import for_a_gpu

    return for_a_gpu(config)


def _compile(folder: Path, stages: Sequence[str], gpu: str, progress: Progress) -> None:
    """Put what TensorRT-RTX makes of exported stages in their place."""
    from f1_ros.engine.tensorrt_rtx import compile_stage

    for done, name in enumerate(stages):
        progress(f"{name} for {gpu}", done, len(stages))
        compile_stage(folder / f"{name}.onnx", gpu)
        (folder / f"{name}.onnx").unlink()
    (folder / WEIGHTS_DATA).unlink()
    progress(f"done for {gpu}", len(stages), len(stages))


def export_stages(
    network: F1Model,
    layout: Layout,
    config: EngineConfig,
    folder: Path,
    progress: Progress = lambda what, done, total: None,
) -> None:
    """Write every stage of a network, and the weights that they share, into a folder.

    Raises:
        EngineError: if a stage cannot be exported, or a package is missing.
    """
    tool_versions(config.backend)
    signatures = layout.signatures()
    modules = make_stages(network, layout)
    with _SharedWeights(folder / WEIGHTS_DATA) as weights:
        for done, (name, signature) in enumerate(signatures.items()):
            progress(name, done, len(signatures))
            _export(modules[name], signature, folder / f"{name}.onnx", weights, config.precision_of(name))
    progress("done", len(signatures), len(signatures))


def tool_versions(backend: Backend) -> dict[str, str]:
    """Versions of what a stage is exported, compiled and run with.

    Raises:
        EngineError: with the line that installs what is missing.
    """
    versions, missing = {}, []
    for tool, tested in {**TOOLS, **COMPILERS.get(backend, {})}.items():
        found = [version for name in (tool, *_ALSO.get(tool, ())) if (version := _version(name))]
        if found:
            versions[tool] = found[0]
        else:
            missing.append(f"{tool}=={tested}")
    if missing:
        raise EngineError(
            f"A compiled engine needs {', '.join(missing)}.",
            remedy=f"pip install {' '.join(missing)}, or run the policy with engine torch.",
        )
    return versions


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _export(stage: Stage, signature: Signature, path: Path, weights: _SharedWeights, precision: Precision) -> None:
    import onnx
    import onnx_ir

    inputs = tuple(torch.zeros(port.shape, dtype=getattr(torch, port.dtype)) for port in signature.inputs)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns that torchvision's operators are not there
    try:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                stage.eval(),
                inputs,
                dynamo=True,
                opset_version=OPSET,
                input_names=[port.name for port in signature.inputs],
                output_names=[port.name for port in signature.outputs],
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise EngineError(
            f"Stage {path.stem} cannot be exported: {error}.", remedy="Report it with the network's config.json."
        ) from error
    finally:
        logger.setLevel(level)
    assert program is not None
    model = program.model
    _name_nodes(model)
    if precision == "int8":
        from f1_ros.engine.ort_stages import quantise

        model = quantise(model, path.with_suffix(".quantise"))
    elif precision != "fp32":
        halve(model, precision)
    weights.take(model)
    onnx_ir.save(model, path)
    onnx.checker.check_model(str(path))
    foreign = sorted({node.domain for node in model.graph if node.domain})
    if foreign:
        raise EngineError(
            f"Stage {path.stem} has operators of {', '.join(foreign)}.",
            remedy="Report it with the network's config.json.",
        )


def _name_nodes(model: onnx_ir.Model) -> None:
    """Name each node after the module that it comes from, and leave out traces of where the code lay."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    for node in model.graph:
        scopes = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
        modules = [scope for scope in scopes if scope.startswith("network.")]
        if modules:
            node.name = f"{modules[-1].removeprefix('network.')}/{node.name}"
    ClearMetadataAndDocStringPass()(model)


class _SharedWeights:
    """The file of weights that stages share: each is written once, whatever number of stages has it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, int] = {}

    def __enter__(self) -> _SharedWeights:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def take(self, model: onnx_ir.Model) -> None:
        """Move a stage's weights out of it."""
        import onnx_ir

        for value in model.graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.nbytes < SHARED_BYTES:
                continue
            data = tensor.tobytes()
            value.const_value = onnx_ir.ExternalTensor(
                WEIGHTS_DATA,
                self._place(data),
                len(data),
                tensor.dtype,
                shape=onnx_ir.Shape(tensor.shape.numpy()),
                name=value.name or "",
                base_dir=self._path.parent,
            )

    def _place(self, data: bytes) -> int:
        key = hashlib.sha256(data).hexdigest()
        if key not in self._places:
            self._file.write(b"\0" * (-self._file.tell() % PAGE))
            self._places[key] = self._file.tell()
            self._file.write(data)
        return self._places[key]


def _publish(beside: Path, out: Path, replace: bool) -> None:
    """Move the finished directory to its place; if another process was first, its directory stays."""
    before = beside.with_suffix(".before")
    try:
        if replace and out.exists():
            out.rename(before)
        beside.rename(out)
    except OSError:
        if before.is_dir() and not out.exists():
            before.rename(out)
        if not out.is_dir():
            raise
    finally:
        shutil.rmtree(before, ignore_errors=True)
