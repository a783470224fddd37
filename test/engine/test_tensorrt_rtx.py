"""Engines of TensorRT-RTX: built for GPUs that are not here, refused where they do not belong, run where they do."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from agreement import assert_as_eager
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from safetensors.torch import load_file

from f1_ros.cli.main import main
from f1_ros.engine import open_engine
from f1_ros.engine.bounds import BOUNDS, loosest
from f1_ros.engine.config import EngineConfig, load_engine_config
from f1_ros.engine.export import build_engine
from f1_ros.engine.half import halve
from f1_ros.engine.layout import Layout
from f1_ros.engine.manifest import load_manifest
from f1_ros.engine.tensorrt_rtx import compile_stage, invalidity, this_gpu
from f1_ros.errors import EngineError
from f1_ros.model.checkpoint import read_config
from f1_ros.observe.observation import Observation

BELT = Path(__file__).parents[2] / "models" / "f1_belt"


@pytest.fixture(scope="module")
def built(policy_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The untrained policy, compiled for an RTX 40."""
    folder = tmp_path_factory.mktemp("rtx") / "engine"
    command = ["engine", "build", "--policy", str(policy_dir), "--engine", "tensorrt_rtx", "--gpu", "SM89"]
    assert main([*command, "--out", str(folder)]) == 0
    return folder


def test_an_engine_is_built_for_a_gpu_that_is_not_here(built: Path) -> None:
    manifest = load_manifest(built, "")
    assert manifest.config.gpu == "SM89"
    assert manifest.tools["tensorrt-rtx"]
    assert set(manifest.precision.values()) == {"fp32"}
    assert set(manifest.files) == {f"{stage}.engine" for stage in manifest.stages}
    assert {path.name for path in built.iterdir()} == {*manifest.files, "manifest.json"}


def test_the_belt_policy_is_built_in_sixteen_bits(tmp_path: Path) -> None:
    command = ["engine", "build", "--policy", str(BELT), "--engine", "tensorrt_rtx_fp16", "--gpu", "SM120"]
    assert main([*command, "--out", str(tmp_path / "engine")]) == 0
    manifest = load_manifest(tmp_path / "engine", "")
    assert manifest.config.gpu == "SM120"
    wide = {stage for stage, precision in manifest.precision.items() if precision != "fp16"}
    assert wide == {"history_encoder", "decoder"}


def test_the_released_network_is_taken(golden_directories: dict[str, Path], tmp_path: Path) -> None:
    folder = golden_directories["f1_tiny_upstream"]
    inputs = load_file(folder / "inputs.safetensors")
    images = sum(name.startswith("image") and not name.endswith("mask") for name in inputs)
    layout = Layout(read_config(folder), images, inputs["lang_tokens"].shape[1])
    config = dataclasses.replace(load_engine_config("tensorrt_rtx_bf16"), gpu="SM86")
    manifest = build_engine(folder, config, tmp_path / "engine", layout=layout)
    assert len(manifest.files) == len(layout.signatures())


@pytest.mark.parametrize(
    ("gpu", "message"),
    [
        pytest.param([], "no GPU to build for", marks=pytest.mark.skipif(this_gpu() != "", reason="there is a GPU")),
        (["--gpu", "SM90"], "does not build for SM90"),
        (["--gpu", "rtx4090"], "gpu is rtx4090"),
    ],
)
def test_a_gpu_that_cannot_be_built_for_is_refused(
    gpu: list[str], message: str, policy_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["engine", "build", "--policy", str(policy_dir), "--engine", "tensorrt_rtx", *gpu]
    assert main([*command, "--out", str(tmp_path / "engine")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "SM89" in said
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_is_not_taken_fails_with_its_stage_and_operator(tmp_path: Path) -> None:
    one = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 3])
    graph = helper.make_graph(
        [helper.make_node("Det", ["x"], ["y"])],
        "g",
        [one],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    path = tmp_path / "flow.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    with pytest.raises(EngineError, match=r"does not take stage flow for SM89: .*Det"):
        compile_stage(path, "SM89")


@pytest.mark.skipif(this_gpu() != "", reason="there is a GPU")
def test_without_a_gpu_an_engine_is_refused_before_it_is_loaded(policy_dir: Path, built: Path) -> None:
    with pytest.raises(EngineError, match="for a GPU of SM89, and PyTorch finds none"):
        open_engine(policy_dir, str(built))


def test_an_engine_for_another_gpu_is_refused_with_the_command_that_builds_for_this_one(
    policy_dir: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("f1_ros.engine.tensorrt_rtx.this_gpu", lambda: "SM120")
    with pytest.raises(EngineError, match="built for SM89, this GPU is SM120") as raised:
        open_engine(policy_dir, str(built))
    assert f"f1-ros engine build --policy {policy_dir}" in raised.value.remedy
    assert "--gpu SM120" in raised.value.remedy


def test_an_engine_of_another_package_is_refused_with_the_command_that_builds_it(
    policy_dir: Path, built: Path, tmp_path: Path
) -> None:
    copied = shutil.copytree(built, tmp_path / "engine")
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["tools"]["tensorrt-rtx"] = "1.0.0"
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(EngineError, match=r"TensorRT-RTX 1\.0\.0, this is") as raised:
        open_engine(policy_dir, str(copied))
    assert "--gpu SM89" in raised.value.remedy


def test_what_does_not_run_here_says_why() -> None:
    import tensorrt_rtx

    runtime = tensorrt_rtx.Runtime(tensorrt_rtx.Logger(tensorrt_rtx.Logger.INTERNAL_ERROR))
    assert invalidity(tensorrt_rtx, runtime, bytes(1000)) == "malformed engine"


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_products_of_a_halved_stage_have_sixteen_bits_and_its_edges_stay(
    precision: Any, compiled_dir: Path, tmp_path: Path
) -> None:
    wide, narrow = onnx_ir.load(compiled_dir / "flow.onnx"), onnx_ir.load(compiled_dir / "flow.onnx")
    halve(narrow, precision)
    kind = {"fp16": onnx_ir.DataType.FLOAT16, "bf16": onnx_ir.DataType.BFLOAT16}[precision]
    products = [node for node in narrow.graph if node.op_type in ("MatMul", "Gemm")]
    inner = [node for node in products if ".layers." in (node.name or "")]
    assert inner
    for node in products:
        edge = (node.name or "").startswith(("state_proj/", "action_"))
        expected = onnx_ir.DataType.FLOAT if edge else kind
        assert {value.dtype for value in (*node.inputs, *node.outputs) if value is not None} == {expected}, node.name

    def edges(values: Any) -> list[tuple[Any, ...]]:
        return [(value.name, value.dtype, value.shape) for value in values]

    assert edges(narrow.graph.inputs) == edges(wide.graph.inputs)
    assert edges(narrow.graph.outputs) == edges(wide.graph.outputs)
    assert not [value.name for value in narrow.graph.initializers.values() if not value.uses()]
    onnx_ir.save(narrow, tmp_path / "flow.onnx", external_data="weights")
    onnx.checker.check_model(str(tmp_path / "flow.onnx"), full_check=True)


@pytest.mark.parametrize(("precision", "most"), [("fp16", 5e-3), ("bf16", 5e-2)])
def test_a_halved_stage_computes_nearly_the_same(precision: Any, most: float, compiled_dir: Path) -> None:
    """By ONNX's reference in numpy: ONNX Runtime's CPU kernels know no bfloat16, and round fp16 as they like."""
    outputs = []
    for kind in ("fp32", precision):
        model = onnx_ir.external_data.load_to_model(onnx_ir.load(compiled_dir / "flow.onnx"))
        if kind != "fp32":
            halve(model, kind)
        draw = np.random.default_rng(0)
        inputs = {
            port.name: np.ones(port.shape.numpy(), dtype=bool)
            if port.dtype == onnx_ir.DataType.BOOL
            else draw.normal(size=port.shape.numpy()).astype(np.float32)
            for port in model.graph.inputs
        }
        outputs.append(ReferenceEvaluator(onnx_ir.to_proto(model)).run(None, inputs)[0])
    error = np.abs(outputs[0] - outputs[1]).max() / np.abs(outputs[0]).max()
    assert 0.0 < error < most


def test_the_document_shows_the_bounds_of_sixteen_bits() -> None:
    document = (
        (Path(__file__).parents[2] / "docs" / "gpu.md").read_text().partition("The bounds of these precisions")[2]
    )
    rows = [line.strip("| ").split(" | ")[1:] for line in document.splitlines() if line.startswith("| ")][1:]
    for column, precision in enumerate(("fp16", "bf16")):
        bounds = BOUNDS[precision]
        expected = [f"1 - {1 - bounds.cosine:.0e}"]
        expected += [f"{value:g}" for value in (bounds.error, bounds.flips, bounds.codes, bounds.usual, bounds.largest)]
        assert [row[column] for row in rows] == expected
    assert loosest(["fp32", "bf16", "fp16"]) == BOUNDS["bf16"]


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA GPU; see docs/gpu.md")


@pytest.fixture
def here(policy_dir: Path, tmp_path: Path) -> Path:
    """The untrained policy, compiled for this machine's GPU in float32."""
    build_engine(policy_dir, EngineConfig(backend="tensorrt_rtx", device="cuda"), tmp_path / "engine")
    return tmp_path / "engine"


@pytest.mark.gpu
@on_a_gpu
def test_on_a_gpu_codes_are_those_of_the_eager_engine_and_actions_within_a_ten_thousandth(
    policy_dir: Path, here: Path, observation: Observation
) -> None:
    eager, compiled = open_engine(policy_dir), open_engine(policy_dir, str(here))
    assert compiled.info.backend == "tensorrt_rtx"
    assert_as_eager(eager, compiled, observation)


@pytest.mark.gpu
@on_a_gpu
def test_on_a_gpu_the_same_input_gives_the_same_chunk_and_memory_does_not_grow(
    policy_dir: Path, here: Path, observation: Observation
) -> None:
    engine = open_engine(policy_dir, str(here))
    first = engine.infer(observation, "pick", seed=3).actions
    held = torch.cuda.memory_allocated()
    for _ in range(50):
        assert np.array_equal(engine.infer(observation, "pick", seed=3).actions, first)
    assert torch.cuda.memory_allocated() <= held


@pytest.mark.gpu
@on_a_gpu
def test_on_a_gpu_the_gate_passes_the_belt_policy(tmp_path: Path) -> None:
    out = str(tmp_path / "engine")
    assert main(["engine", "build", "--policy", str(BELT), "--engine", "tensorrt_rtx", "--out", out]) == 0
    assert main(["engine", "check", out, "--policy", str(BELT)]) == 0
