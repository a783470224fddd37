"""A compiled engine against the eager one, and what it refuses before a robot is enabled."""

from __future__ import annotations

import builtins
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import assert_as_eager

from f1_ros.cli.main import main
from f1_ros.engine import open_engine
from f1_ros.engine.config import EngineConfig
from f1_ros.engine.export import build_engine
from f1_ros.engine.manifest import load_manifest
from f1_ros.engine.opening import cached_engine
from f1_ros.engine.protocol import Running
from f1_ros.errors import ConfigError, EngineError
from f1_ros.observe.observation import Observation

BELT = Path(__file__).parents[2] / "models" / "f1_belt"
Damage = Callable[[Path], object]


@pytest.fixture
def copied(compiled_dir: Path, tmp_path: Path) -> Path:
    shutil.copytree(compiled_dir, tmp_path / "engine")
    return tmp_path / "engine"


def trained(policy_dir: Path, folder: Path) -> Path:
    """The policy, which says of itself that it was trained for prefixes and near steps."""
    shutil.copytree(policy_dir, folder)
    policy = json.loads((folder / "policy.json").read_text())
    policy["spec"] |= {"trained_prefix_steps": 3, "trained_near_steps": 1}
    policy["foresight_top_k"], policy["foresight_top_p"] = 20, 0.9
    (folder / "policy.json").write_text(json.dumps(policy))
    return folder


def test_codes_are_those_of_the_eager_engine_and_actions_within_a_ten_thousandth(
    policy_dir: Path, compiled_dir: Path, observation: Observation
) -> None:
    eager, compiled = open_engine(policy_dir), open_engine(policy_dir, str(compiled_dir))
    assert compiled.info.backend == "onnxruntime"
    assert not compiled.info.guides
    assert_as_eager(eager, compiled, observation)


def test_a_missing_camera_a_prefix_and_near_steps_are_the_same_as_eager(
    policy_dir: Path, observation: Observation, tmp_path: Path
) -> None:
    policy = trained(policy_dir, tmp_path / "trained")
    build_engine(policy, EngineConfig(backend="onnxruntime"), tmp_path / "engine")
    alone = dataclasses.replace(observation, cameras=("front",), camera_stamps_ns=(200,), images=observation.images[:1])
    running = Running(np.tile(observation.state + 0.1, (2, 1)), committed=2)
    results = []
    for engine in (open_engine(policy), open_engine(policy, str(tmp_path / "engine"))):
        near: list[np.ndarray] = []
        whole = engine.infer(alone, "pick", 4, running, on_near=near.append)
        assert whole.foresight is not None
        results.append((whole.actions, near[0], whole.foresight.codes))
    assert np.array_equal(results[0][2], results[1][2])  # drawn: the same logits, up to rounding, and the same draws
    assert np.abs(results[0][0] - results[1][0]).max() < 1e-4
    assert results[0][1].shape == results[1][1].shape == (3, 8)


def test_the_same_input_gives_the_same_chunk_again(
    policy_dir: Path, compiled_dir: Path, observation: Observation
) -> None:
    engine = open_engine(policy_dir, str(compiled_dir))
    one = engine.infer(observation, "pick", seed=3).actions
    engine.infer(dataclasses.replace(observation, images=-observation.images), "cube", seed=5)
    assert np.array_equal(engine.infer(observation, "pick", seed=3).actions, one)


def test_results_outlive_the_inferences_after_them(
    policy_dir: Path, compiled_dir: Path, observation: Observation
) -> None:
    engine = open_engine(policy_dir, str(compiled_dir))
    kept = engine.infer(observation, "pick", seed=3)
    assert kept.foresight is not None
    actions, codes = kept.actions.copy(), kept.foresight.codes.copy()
    engine.infer(dataclasses.replace(observation, images=-observation.images), "the cube", seed=5)
    assert np.array_equal(kept.actions, actions)
    assert np.array_equal(kept.foresight.codes, codes)


def test_foresight_that_is_skipped_is_skipped_by_a_compiled_engine(
    policy_dir: Path, compiled_dir: Path, observation: Observation
) -> None:
    eager = open_engine(policy_dir, foresight="skipped").infer(observation, "pick", 1)
    compiled = open_engine(policy_dir, str(compiled_dir), foresight="skipped").infer(observation, "pick", 1)
    assert compiled.foresight is None
    assert np.abs(eager.actions - compiled.actions).max() < 1e-4


def test_guidance_is_refused_and_not_emulated(policy_dir: Path, compiled_dir: Path, observation: Observation) -> None:
    engine = open_engine(policy_dir, str(compiled_dir))
    with pytest.raises(EngineError, match=r"Guidance needs gradients.*engine torch"):
        engine.infer(observation, "pick", 1, Running(np.zeros((2, 8)), 1, guided=True))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda folder: truncate(folder / "manifest.json"), "manifest.json"),
        (lambda folder: (folder / "flow.onnx").unlink(), "flow.onnx is missing"),
        (lambda folder: truncate(folder / "prefix.onnx"), "prefix.onnx is not what was built"),
        (lambda folder: flip(folder / "weights.data"), "weights.data is not what was built"),
    ],
    ids=["no manifest", "half a manifest", "no stage", "half a stage", "another weight"],
)
def test_a_damaged_directory_is_refused_with_the_command_that_builds_it(
    policy_dir: Path, copied: Path, damage: Damage, message: str
) -> None:
    damage(copied)
    with pytest.raises(EngineError, match=message) as raised:
        open_engine(policy_dir, str(copied))
    assert f"f1-ros engine build --policy {policy_dir}" in raised.value.remedy
    assert str(copied) in raised.value.remedy


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "policy.json"])
def test_an_engine_of_another_policy_is_refused(
    policy_dir: Path, compiled_dir: Path, tmp_path: Path, name: str
) -> None:
    other = shutil.copytree(policy_dir, tmp_path / "other")
    if name == "model.safetensors":
        flip(other / name)
    else:
        (other / name).write_text((other / name).read_text() + " ")
    with pytest.raises(EngineError, match=f"another {name}"):
        open_engine(other, str(compiled_dir))


def test_an_engine_of_another_version_of_the_code_is_refused(policy_dir: Path, copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"code": "0" * 64}))
    with pytest.raises(EngineError, match="another version of f1_ros"):
        open_engine(policy_dir, str(copied))


def test_an_engine_for_another_version_of_its_package_is_refused(policy_dir: Path, copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["tools"]["onnxruntime"] = "1.0.0"
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(EngineError, match=r"ONNX Runtime 1\.0\.0, this is .*f1-ros engine build"):
        open_engine(policy_dir, str(copied))


def test_what_is_no_engine_is_not_replaced(policy_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(ConfigError, match="is there already, and no engine"):
        build_engine(policy_dir, EngineConfig(backend="onnxruntime"), tmp_path / "photos", replace=True)


@pytest.fixture
def quick(compiled_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages are copied from those that were exported before: for what happens around the export."""

    def copy(network: Any, layout: Any, config: Any, folder: Path, progress: Callable[..., None] = print) -> None:
        for path in compiled_dir.iterdir():
            if path.name != "manifest.json":
                shutil.copy(path, folder)
        progress("done", 1, 1)

    monkeypatch.setattr("f1_ros.engine.export.export_stages", copy)


@pytest.mark.usefixtures("quick")
def test_a_build_that_is_broken_off_leaves_nothing(policy_dir: Path, tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(policy_dir, EngineConfig(backend="onnxruntime"), tmp_path / "engine", progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_place_that_cannot_be_written_is_refused(policy_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"cannot be written.*with room"):
        build_engine(policy_dir, EngineConfig(backend="onnxruntime"), tmp_path / "file" / "engine")


@pytest.mark.usefixtures("quick")
def test_an_engine_is_replaced_by_the_command_that_its_refusal_names(policy_dir: Path, copied: Path) -> None:
    (copied.parent / "mine.yaml").write_text("backend: onnxruntime\nflow_steps: 1\n")
    mine = str(copied.parent / "mine.yaml")
    assert main(["engine", "build", "--policy", str(policy_dir), "--engine", mine, "--out", str(copied)]) == 0
    truncate(copied / "flow.onnx")
    with pytest.raises(EngineError, match=r"flow\.onnx") as raised:
        open_engine(policy_dir, str(copied))
    command = raised.value.remedy.removeprefix("Build it anew: f1-ros ").removesuffix(".").split()
    assert main(command) == 0
    assert load_manifest(copied, "").config.flow_steps == 1
    (copied / "manifest.json").unlink()  # what it was made from is then not known
    with pytest.raises(EngineError, match=r"manifest\.json is missing") as raised:
        open_engine(policy_dir, str(copied))
    assert "--engine" not in raised.value.remedy
    (copied.parent / "mine.yaml").unlink()
    assert [path.name for path in copied.parent.iterdir()] == ["engine"]


@pytest.mark.usefixtures("quick")
def test_of_two_that_build_the_same_engine_the_first_ones_stays(
    policy_dir: Path, compiled_dir: Path, tmp_path: Path
) -> None:
    def another_is_first(what: str, done: int, total: int) -> None:
        shutil.copytree(compiled_dir, tmp_path / "engine")
        (tmp_path / "engine" / "first").touch()

    config = EngineConfig(backend="onnxruntime")
    manifest = build_engine(policy_dir, config, tmp_path / "engine", progress=another_is_first)
    assert load_manifest(tmp_path / "engine", "").files == manifest.files
    assert (tmp_path / "engine" / "first").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["engine"]


def test_the_manifest_says_what_the_engine_is_of(policy_dir: Path, compiled_dir: Path) -> None:
    manifest = load_manifest(compiled_dir, "")
    assert (manifest.policy, manifest.robot, manifest.images, manifest.opset) == ("tiny", "franka", 3, 20)
    assert set(manifest.model) == {"model.safetensors", "config.json", "policy.json"}
    assert set(manifest.precision.values()) == {"fp32"}
    assert set(manifest.files) == {"weights.data", *(f"{stage}.onnx" for stage in manifest.stages)}
    assert {"torch", "onnxruntime"} <= set(manifest.tools)
    # The generation expert is in the prefix and in every scale of foresight; its weights lie once.
    model = (policy_dir / "model.safetensors").stat().st_size * 2  # in float16 there
    assert (compiled_dir / "weights.data").stat().st_size < 1.5 * model


@pytest.fixture
def cache(compiled_dir: Path, policy_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, where a build is but a copy of what was built before."""

    def build(policy: Path, config: EngineConfig, out: Path, **more: Any) -> Any:
        shutil.copytree(compiled_dir, out)
        return load_manifest(out, "")

    monkeypatch.setattr("f1_ros.engine.opening.build_engine", build)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "f1_ros" / "engines"


def test_an_engine_is_built_into_the_cache_on_first_use_and_said_so(policy_dir: Path, cache: Path) -> None:
    said: list[str] = []
    first = open_engine(policy_dir, "onnxruntime", say=said.append)
    assert [line for line in said if "Building engine onnxruntime" in line]
    assert Path(first.info.directory).parent == cache
    said.clear()
    assert open_engine(policy_dir, "onnxruntime", say=said.append).info == first.info
    assert said == []


def test_another_policy_finds_another_place_in_the_cache(policy_dir: Path, cache: Path, tmp_path: Path) -> None:
    other = trained(policy_dir, tmp_path / "other")
    places = {cached_engine(policy, "onnxruntime", print)[0] for policy in (policy_dir, other)}
    assert len(places) == 2


def test_a_damaged_engine_in_the_cache_is_built_anew(policy_dir: Path, cache: Path) -> None:
    folder, _ = cached_engine(policy_dir, "onnxruntime", print)
    truncate(folder / "flow.onnx")
    said: list[str] = []
    assert cached_engine(policy_dir, "onnxruntime", said.append)[0] == folder
    assert "flow.onnx is not what was built" in said[0]
    load_manifest(folder, "")


def test_without_its_package_an_engine_says_how_to_install_it(
    policy_dir: Path, compiled_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name == "onnxruntime":
            raise ModuleNotFoundError("No module named 'onnxruntime'", name=name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EngineError, match=r"pip install onnxruntime==1\.\d+\.\d+, or run the policy with engine torch"):
        open_engine(policy_dir, str(compiled_dir))


def test_an_engine_for_a_device_that_the_package_lacks_is_refused(policy_dir: Path, copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["config"]["device"] = "cuda"
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(EngineError, match=r"has no CUDA.*onnxruntime-gpu"):
        open_engine(policy_dir, str(copied))


def test_the_shipped_policy_compiled_answers_as_it_does_eagerly(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command that a user types, on what the cameras of the simulated belt see."""
    from f1_ros.robots.profile import load_profile
    from f1_ros.sim.config import BeltConfig
    from f1_ros.sim.policy_runner import PolicyRunner
    from f1_ros.sim.world import BeltWorld

    out = tmp_path_factory.mktemp("belt") / "engine"
    assert main(["engine", "build", "--policy", str(BELT), "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert "9 stages of policy 'f1_belt'" in shown.out
    assert "0 of 9 stages  image_tower" in shown.err
    eager, compiled = open_engine(BELT), open_engine(BELT, str(out))
    world, seen = BeltWorld(BeltConfig()), []
    runner = PolicyRunner(
        world,
        eager,
        load_profile("franka_fr3"),
        on_result=lambda observation, result: seen.append((observation, result)),
    )
    world.reset(11)
    runner.begin(11)
    for _ in range(10):
        runner.hold()
    for _ in range(9):
        runner.step()
    assert len(seen) >= 3
    for observation, _ in seen:
        one, other = (engine.infer(observation, eager.spec.default_instruction, 1) for engine in (eager, compiled))
        assert one.foresight is not None and other.foresight is not None
        assert np.array_equal(one.foresight.codes, other.foresight.codes)
        assert np.abs(one.actions - other.actions).max() < 1e-4


def test_memory_does_not_grow_with_the_number_of_inferences(
    policy_dir: Path, compiled_dir: Path, observation: Observation
) -> None:
    engine = open_engine(policy_dir, str(compiled_dir))
    statm = Path("/proc/self/statm")

    def resident() -> int:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def run(count: int, start: int) -> None:
        for i in range(start, start + count):
            stamps = tuple(50 * (i + k) for k in range(3))
            looked = dataclasses.replace(observation, stamp_ns=stamps[-1], history_stamps_ns=stamps)
            engine.infer(looked, ("pick", "the cube")[i % 2], seed=i)

    run(100, 0)
    before = resident()
    run(300, 100)
    assert resident() - before < 2**20


def test_nothing_of_a_compiled_engine_is_imported_for_an_eager_one(policy_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from f1_ros.engine import open_engine;"
        f"open_engine(Path({str(policy_dir)!r}));"
        "print([m for m in ('onnx', 'onnx_ir', 'onnxruntime', 'onnxscript') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
