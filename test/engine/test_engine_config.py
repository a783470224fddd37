"""What `--engine` names, and what in its configuration is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from f1_ros.cli.main import main
from f1_ros.engine.config import EngineConfig, choose_engine, load_engine_config
from f1_ros.errors import ConfigError

SHIPPED = sorted((Path(__file__).parents[2] / "config" / "engines").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_are_found_by_name(path: Path) -> None:
    assert load_engine_config(path.stem) == load_engine_config(str(path))


def test_a_name_goes_before_a_directory_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("torch", "mine"):
        (tmp_path / name).mkdir()
    assert choose_engine("torch") == EngineConfig()
    assert choose_engine("mine") == tmp_path / "mine"


def test_an_engine_that_is_nothing_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"'abacus' is unknown.*onnxruntime, onnxruntime_int8, tensorrt_rtx, .*torch"):
        choose_engine("abacus")


def test_precision_is_chosen_by_stage() -> None:
    config = EngineConfig(backend="onnxruntime", precision="int8", stages={"foresight": "fp32"})
    assert [config.precision_of(stage) for stage in ("flow", "foresight_3", "decoder")] == ["int8", "fp32", "int8"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backend: abacus", "backend"),
        ("precision: int8", "torch runs in fp32 alone"),
        ("backend: onnxruntime\nstages: {flaw: int8}", "flaw is no stage"),
        ("backend: onnxruntime\nthreads: 0", "threads is 0"),
        ("backend: onnxruntime\nflow_steps: -1", "flow_steps is -1"),
        ("device: cuda", "torch runs on the CPU alone"),
        ("backend: onnxruntime\nprecision: fp16", "onnxruntime runs in fp32 and int8"),
        ("backend: tensorrt_rtx\ndevice: cuda\nstages: {flow: int8}", "tensorrt_rtx runs in fp32, fp16 and bf16"),
        ("backend: tensorrt_rtx", "tensorrt_rtx runs on a GPU"),
        ("backend: onnxruntime\ngpu: SM89", "gpu is SM89 with backend onnxruntime"),
    ],
)
def test_what_does_not_go_together_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "engine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_engine_config(str(tmp_path / "engine.yaml"))


def test_an_engine_without_anything_to_build_says_so(
    policy_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "engine"
    assert main(["engine", "build", "--policy", str(policy_dir), "--engine", "torch", "--out", str(out)]) == 2
    assert "needs no build" in capsys.readouterr().err
    assert not out.exists()


def test_an_engine_predicts_as_many_scales_as_its_configuration_says(
    policy_dir: Path, observation, tmp_path: Path
) -> None:
    from f1_ros.engine import open_engine

    all_of_them = open_engine(policy_dir).infer(observation, "pick", seed=1)
    assert all_of_them.foresight is not None
    sizes = all_of_them.foresight.scale_sizes
    for scales in (1, len(sizes)):
        (tmp_path / "engine.yaml").write_text(f"foresight_scales: {scales}\n")
        engine = open_engine(policy_dir, str(tmp_path / "engine.yaml"))
        found = engine.infer(observation, "pick", seed=1)
        assert found.foresight is not None
        assert found.foresight.scale_sizes == sizes[:scales]
        assert found.foresight.codes.tolist() == all_of_them.foresight.codes[: len(found.foresight.codes)].tolist()
        assert engine.decode_foresight(found.foresight).shape == (16, 16, 3)
        assert (found.actions == all_of_them.actions).all() == (scales == len(sizes))
    (tmp_path / "engine.yaml").write_text(f"foresight_scales: {len(sizes) + 1}\n")
    with pytest.raises(ConfigError, match="scales of foresight"):
        open_engine(policy_dir, str(tmp_path / "engine.yaml"))


def test_an_engine_takes_the_flow_steps_of_its_configuration(policy_dir: Path, observation, tmp_path: Path) -> None:
    from f1_ros.engine import open_engine

    (tmp_path / "engine.yaml").write_text("flow_steps: 1\n")
    few, many = open_engine(policy_dir, str(tmp_path / "engine.yaml")), open_engine(policy_dir)
    one, other = (engine.infer(observation, "pick", seed=1) for engine in (few, many))
    assert (one.actions != other.actions).any()
