"""The gate: what is equal passes, each fault is caught in its own stage, and without a record nothing runs."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mutations
import numpy as np
import pytest
import torch

from f1_ros.cli.engine import prepare
from f1_ros.cli.main import main
from f1_ros.engine import gate_record, open_engine, opening
from f1_ros.engine.bounds import BOUNDS, action_bounds, loosest
from f1_ros.engine.comparison import Comparison
from f1_ros.engine.config import EngineConfig
from f1_ros.engine.gate_record import RECORD_FILE, load_record, objection, refuse_unchecked
from f1_ros.engine.manifest import MANIFEST_FILE, EngineManifest, load_manifest
from f1_ros.engine.policy import load_policy_file
from f1_ros.engine.recorded import CHECK_FILE, Recorded, load, save
from f1_ros.errors import ConfigError, DataError, EngineError
from f1_ros.model.checkpoint import load_policy_network, save_policy_network
from f1_ros.observe.observation import Observation
from f1_ros.robots.profile import load_profile

COUNT = 8


@pytest.fixture(scope="module")
def data(policy_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Observations of noise, with instructions of several lengths."""
    spec, draw = load_policy_file(policy_dir).spec, np.random.default_rng(0)
    recorded = []
    for i in range(COUNT):
        stamp = (i + 1) * 10**12
        observation = Observation(
            stamp_ns=stamp,
            cameras=spec.cameras,
            camera_stamps_ns=(stamp, stamp),
            images=(draw.integers(0, 256, (2, 3, 16, 16)) / 127.5 - 1).astype(np.float32),
            history=draw.integers(0, 256, (3, 3, 16, 16)).astype(np.uint8),
            history_stamps_ns=(stamp - 2, stamp - 1, stamp),
            state_names=spec.state_names,
            state=draw.normal(0, 0.5, len(spec.state_names)),
        )
        recorded.append(Recorded(observation, " ".join(["pick", "the", "cube"][: 1 + i % 3])))
    path = tmp_path_factory.mktemp("observations") / "check.npz"
    save(path, recorded)
    return path


@pytest.fixture(scope="module")
def engine(compiled_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled engine of this module's own: a check leaves its record there."""
    return Path(shutil.copytree(compiled_dir, tmp_path_factory.mktemp("compiled") / "engine"))


@pytest.fixture
def check(policy_dir: Path, data: Path, tmp_path: Path) -> Callable[[Path], tuple[int, dict]]:
    """Run the command on an engine: its exit status and its report."""

    def run(folder: Path) -> tuple[int, dict]:
        out = tmp_path / "report.json"
        status = main(
            ["engine", "check", str(folder), "--policy", str(policy_dir), "--data", str(data), "--json", str(out)]
        )
        return status, json.loads(out.read_text())

    return run


def test_an_export_of_the_same_network_passes(engine: Path, check: Callable[[Path], tuple[int, dict]]) -> None:
    status, report = check(engine)
    assert status == 0, report["stages"]
    assert report["passed"]
    assert report["observations"] == COUNT
    assert set(report["stages"]) == {
        "image_tower", "history_encoder", "language", "prefix", "foresight_1", "flow", "decoder",
    }  # fmt: skip
    assert report["whole"]["codes"] == 0.0
    assert all(action["largest"] <= 1e-4 for action in report["whole"]["actions"].values())
    record = load_record(engine)
    assert record is not None
    assert record.passed
    assert record.model == load_manifest(engine, "").model


@pytest.mark.parametrize("name", mutations.MUTATIONS)
def test_a_fault_in_an_export_is_caught_in_its_own_stage(
    name: str,
    engine: Path,
    tmp_path: Path,
    check: Callable[[Path], tuple[int, dict]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage, alter = mutations.MUTATIONS[name]
    status, report = check(mutations.mutate(engine, tmp_path / "mutated", stage, alter))
    assert status == 1
    assert report["failed"] == [stage]
    assert report["stages"][stage]["problems"]
    assert f"FAILED: {stage}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["quantised outlier layer", "transposed projection", "keys for values", "wrong mask: causal actions"]
)
def test_the_bounds_of_int8_do_not_let_a_fault_through(
    name: str, engine: Path, tmp_path: Path, check: Callable[[Path], tuple[int, dict]]
) -> None:
    stage, alter = mutations.MUTATIONS[name]
    status, report = check(mutations.mutate(engine, tmp_path / "mutated", stage, alter, precision="int8"))
    assert (status, report["failed"]) == (1, [stage])
    assert report["stages"][stage]["precision"] == "int8"
    assert set(report["bounds"]) == {"fp32", "int8"}


def test_nan_of_a_stage_is_out_of_bounds_and_no_crash(
    engine: Path, tmp_path: Path, check: Callable[[Path], tuple[int, dict]]
) -> None:
    def spoil(graph: mutations.Graph) -> None:
        graph.set(graph.weights()[0], np.full(graph.array(graph.weights()[0]).shape, np.nan))

    folder = mutations.mutate(engine, tmp_path / "mutated", "flow", spoil)
    status, report = check(folder)
    assert (status, report["failed"]) == (1, ["flow"])
    record = load_record(folder)  # JSON has no NaN: the record can be read all the same
    assert record is not None
    assert not record.passed


def test_an_engine_of_other_weights_is_refused_before_it_is_compared(
    policy_dir: Path, engine: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = tmp_path / "newer"
    shutil.copytree(policy_dir, newer)
    network = load_policy_network(newer)
    with torch.no_grad():
        network.state_proj.weight.mul_(1.01)
    save_policy_network(network, newer)
    assert main(["engine", "check", str(engine), "--policy", str(newer), "--data", str(data)]) == 2
    assert "built from another model.safetensors" in capsys.readouterr().err


def test_an_engine_may_run_on_its_own_passing_record_alone(
    policy_dir: Path,
    engine: Path,
    tmp_path: Path,
    check: Callable[[Path], tuple[int, dict]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = mutations.mutate(engine, tmp_path / "engine", "decoder", lambda graph: None)
    (folder / RECORD_FILE).unlink(missing_ok=True)
    manifest = load_manifest(folder, "")
    assert "not checked" in objection(folder, manifest)
    info = open_engine(policy_dir, str(folder)).info
    with pytest.raises(EngineError, match="may not drive a robot: it was not checked") as caught:
        refuse_unchecked(info, policy_dir)
    assert f"f1-ros engine check {folder} --policy {policy_dir}" in caught.value.remedy
    assert "allow_unchecked_engine" in caught.value.remedy

    assert check(folder)[0] == 0
    assert objection(folder, manifest) == ""
    refuse_unchecked(open_engine(policy_dir, str(folder)).info, policy_dir)

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(gate_record, "device_class", lambda device: "cpu riscv64")
        assert "checked on 'cpu" in objection(folder, manifest)
    with monkeypatch.context() as later:
        later.setattr(gate_record, "runtime_versions", lambda backend: {"onnxruntime": "99.0"})
        assert "checked with onnxruntime" in objection(folder, manifest)
    with monkeypatch.context() as stricter:
        stricter.setattr(gate_record, "BOUNDS", {**BOUNDS, "fp32": replace(BOUNDS["fp32"], action=1e-9)})
        assert "other bounds" in objection(folder, manifest)
    text = (folder / MANIFEST_FILE).read_text()
    (folder / MANIFEST_FILE).write_text(text.replace('"flow_steps": 0', '"flow_steps": 1'))
    assert "another build" in objection(folder, load_manifest(folder, ""))
    (folder / MANIFEST_FILE).write_text(text)
    assert objection(folder, manifest) == ""
    record = json.loads((folder / RECORD_FILE).read_text())
    (folder / RECORD_FILE).write_text(json.dumps(record | {"passed": False, "failed": ["flow"]}))
    assert "did not pass its check: flow" in objection(folder, manifest)
    (folder / RECORD_FILE).write_text("{")
    assert "not checked" in objection(folder, manifest)


def test_an_engine_that_is_built_on_first_use_is_checked_at_once_if_the_policy_brings_observations(
    policy_dir: Path, compiled_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(policy: Path, config: EngineConfig, out: Path, **others: object) -> EngineManifest:
        shutil.copytree(compiled_dir, out)
        (out / RECORD_FILE).unlink(missing_ok=True)
        return load_manifest(out, "")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(opening, "build_engine", built)
    said: list[str] = []
    bare = opening.open_policy_engine(policy_dir, "onnxruntime", 0, "own", said.append)
    assert "not checked" in bare.info.objection

    policy = Path(shutil.copytree(policy_dir, tmp_path / "policy"))
    shutil.copy(data, policy / CHECK_FILE)
    engine = opening.open_policy_engine(policy, "onnxruntime", 0, "own", said.append)
    assert engine.info.objection == ""
    assert [line for line in said if "Checking" in line or "passed" in line] == [
        "Checking the engine against PyTorch, since it was not checked against PyTorch.",
        "It passed.",
    ]
    before = len(said)
    opening.open_policy_engine(policy, "onnxruntime", 0, "own", said.append)
    assert len(said) == before  # neither built nor checked again

    shutil.rmtree(tmp_path / "cache")
    (policy / CHECK_FILE).write_bytes(b"damaged")
    engine = opening.open_policy_engine(policy, "onnxruntime", 0, "own", said.append)
    assert "not checked" in engine.info.objection
    assert "It cannot be checked" in said[-1]


def test_auto_is_the_compiled_engine_only_where_that_has_passed_its_check(
    policy_dir: Path, compiled_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(policy: Path, config: EngineConfig, out: Path, **others: object) -> EngineManifest:
        if fails:
            raise EngineError("No package.", remedy="Install it.")
        shutil.copytree(compiled_dir, out)
        (out / RECORD_FILE).unlink(missing_ok=True)
        return load_manifest(out, "")

    fails = True
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(opening, "build_engine", built)
    said: list[str] = []
    assert opening.open_policy_engine(policy_dir, "auto", 0, "own", said.append).info.backend == "torch"
    assert f"has no {CHECK_FILE}" in said[-1]

    policy = Path(shutil.copytree(policy_dir, tmp_path / "policy"))
    shutil.copy(data, policy / CHECK_FILE)
    assert opening.open_policy_engine(policy, "auto", 0, "own", said.append).info.backend == "torch"
    assert "No package" in said[-1]

    fails = False
    assert opening.open_policy_engine(policy, "auto", 0, "own", said.append).info.backend == "onnxruntime"
    folder = Path(prepare(policy, "auto"))
    assert load_manifest(folder, "").config.backend == "onnxruntime"

    record = json.loads((folder / RECORD_FILE).read_text())
    (folder / RECORD_FILE).write_text(json.dumps(record | {"passed": False, "failed": ["flow"]}))
    assert opening.open_policy_engine(policy, "auto", 0, "own", said.append).info.backend == "torch"
    assert "did not pass its check: flow" in said[-1]
    assert prepare(policy, "auto") == "torch"


def test_a_gpu_is_told_by_name_and_driver_and_one_that_cannot_be_told_is_no_device(
    policy_dir: Path,
    engine: Path,
    tmp_path: Path,
    check: Callable[[Path], tuple[int, dict]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert gate_record.device_class("cpu").startswith(f"cpu {platform.machine()}")
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA Thor, 11.0, 580.00'\necho 'another'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert gate_record.device_class("cuda") == "cuda NVIDIA Thor, 11.0, 580.00"
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert "Thor, 11.0" not in gate_record.device_class("cuda")  # a Jetson's model, or unknown
    folder = mutations.mutate(engine, tmp_path / "engine", "decoder", lambda graph: None)
    monkeypatch.setattr(gate_record, "device_class", lambda device: "cuda unknown")
    assert check(folder)[0] == 0
    assert "does not say which GPU" in objection(folder, load_manifest(folder, ""))


def test_the_torch_engine_needs_no_record(policy_dir: Path) -> None:
    refuse_unchecked(open_engine(policy_dir, "torch").info, policy_dir)


def test_action_bounds_are_the_profile_s() -> None:
    profile = load_profile("franka_fr3")
    whole = action_bounds(BOUNDS["int8"], ("fr3_joint1", "fr3_joint5", "gripper"), profile)
    assert whole["fr3_joint1"].usual == pytest.approx(0.5 * 2.62 / 100)  # half a period of 10 ms at 2.62 rad/s
    assert whole["fr3_joint5"].largest == pytest.approx(3 * 5.26 / 100)
    assert whole["gripper"].usual == pytest.approx(0.5 * 0.01)  # half its hysteresis
    assert whole["gripper"].largest is None
    exact = action_bounds(BOUNDS["fp32"], ("fr3_joint1", "gripper"), profile)
    assert {bound for action in exact.values() for bound in (action.usual, action.largest)} == {1e-4}
    with pytest.raises(ConfigError, match="has no elbow"):
        action_bounds(BOUNDS["fp32"], ("elbow",), profile)
    assert loosest(["fp32", "int8"]) == BOUNDS["int8"]
    assert loosest(["fp32"]) == BOUNDS["fp32"]


def test_the_document_shows_the_bounds() -> None:
    document = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
    table = [line.strip("| ").split(" | ") for line in document.splitlines() if line.startswith("| ")]
    shown = {row[0].partition(",")[0]: row[1:] for row in table}
    exact, coarse = BOUNDS["fp32"], BOUNDS["int8"]
    assert shown["cosine of each output"] == [f"1 - {1 - exact.cosine:.0e}", f"{coarse.cosine:g}"]
    assert shown["largest difference"] == [f"{exact.error:g}", f"{coarse.error:g}"]
    assert shown["codes that are others"] == [f"{exact.flips:g}", f"{coarse.flips:g}"]
    assert shown["foresight's codes that are others"] == [f"{exact.codes:g}", f"{coarse.codes:g}"]
    assert shown["largest error of any action"] == [f"{exact.action:g} rad or m"]
    assert shown["95th percentile of an action's error"] == [f"{exact.usual:g}", f"{coarse.usual:g}"]
    assert shown["largest error of a joint"] == [f"{exact.largest:g}", f"{coarse.largest:g}"]
    assert all(f"{name}" in document for name in ("allow_unchecked_engine", RECORD_FILE, CHECK_FILE))


def test_the_document_shows_what_was_measured() -> None:
    root = Path(__file__).parents[2]
    document = (root / "docs" / "engines.md").read_text()
    for name, file in (("onnxruntime", "engine_check_fp32.json"), ("onnxruntime_int8", "engine_check_int8.json")):
        report = json.loads((root / "bench" / "results" / file).read_text())
        assert report["passed"]
        whole, joints = report["whole"], [a for n, a in report["whole"]["actions"].items() if n != "gripper"]
        usual, largest = (1e3 * max(action[key] for action in joints) for key in ("usual", "largest"))
        codes = f"{whole['codes']:.1%} others".replace("%", " %") if whole["codes"] else "identical"
        assert f"| `{name}` | {codes} | {usual:.2g} mrad | {largest:.2g} mrad |" in document


def test_figures_of_a_comparison_are_the_worst_over_all_observations() -> None:
    ones, logits = torch.ones(1, 4), torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    plain = Comparison()
    plain.add(ones, ones)
    plain.add(2 * ones, torch.tensor([[2.0, 2.0, 2.0, 1.0]]))
    assert plain.figures.error == pytest.approx(0.5)
    assert plain.figures.cosine == pytest.approx(14 / (4 * 13**0.5))
    likeliest = Comparison(logits=True)
    likeliest.add(logits, logits)
    likeliest.add(logits, logits[:, [0, 0]])
    assert (likeliest.figures.flips, likeliest.figures.flipped) == (0.25, (0.25,))
    codes = Comparison(sizes=(1, 4))
    codes.add(torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[1, 2, 3, 4, 9]]))
    assert codes.figures.flipped == (0.0, 0.25)
    truths = Comparison()
    truths.add(torch.tensor([True, False]), torch.tensor([True, True]))
    assert truths.figures.differ == 0.5


def test_observations_come_back_as_they_were_and_only_for_their_policy(
    policy_dir: Path, data: Path, tmp_path: Path
) -> None:
    spec = load_policy_file(policy_dir).spec
    recorded = load(data, spec)
    save(tmp_path / "again.npz", recorded)
    for one, again in zip(recorded, load(tmp_path / "again.npz", spec), strict=True):
        assert one.instruction == again.instruction
        for field in ("images", "history", "state"):
            np.testing.assert_array_equal(getattr(one.observation, field), getattr(again.observation, field))
    for other in (
        replace(spec, cameras=("front",)),
        replace(spec, image_size=32, past_images=()),
        replace(spec, state_names=spec.state_names[::-1]),
        replace(spec, history_offsets=(-1, 0)),
    ):
        with pytest.raises(DataError, match="does not fit policy"):
            load(data, other)
    (tmp_path / "broken.npz").write_bytes(data.read_bytes()[:100])
    for path in (tmp_path / "broken.npz", tmp_path / "none.npz"):
        with pytest.raises(DataError, match="holds no observations"):
            load(path, spec)
    with pytest.raises(ConfigError, match="no observations"):
        save(tmp_path / "empty.npz", [])
