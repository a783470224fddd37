"""Demonstrations as a LeRobot dataset: what a user records, checks and trains on."""

from pathlib import Path

import numpy as np
import pytest

from f1_ros.cli.main import main
from f1_ros.data.check import Needs, check
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.engine.policy import load_spec
from f1_ros.errors import ConfigError
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.dataset import record_dataset
from f1_ros.sim.demonstrations import demonstrate
from f1_ros.sim.world import BeltWorld

POLICY = Path(__file__).parents[2] / "models" / "f1_belt"


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_what_is_recorded_goes_on_after_a_crash_and_is_the_same_with_any_workers(tmp_path: Path) -> None:
    class Crash(Exception):
        pass

    def crash(done: int, total: int) -> None:
        raise Crash

    root = tmp_path / "demos"
    with pytest.raises(Crash):
        record_dataset(root, 3, seed=5, workers=1, progress=crash)
    assert len(LeRobotDataset(root).episodes) == 1
    progress: list[tuple[int, int]] = []
    frames = record_dataset(root, 3, seed=5, workers=2, progress=lambda *done: progress.append(done))
    assert progress == [(2, 3), (3, 3)]
    with pytest.raises(ConfigError, match="another seed or world"):
        record_dataset(root, 4, seed=6)
    straight = tmp_path / "straight"
    assert record_dataset(straight, 3, seed=5, workers=1) == frames
    assert files(root) == files(straight)

    dataset = LeRobotDataset(root)
    assert dataset.episodes.lengths.sum() == frames
    spec = load_spec(POLICY)
    assert (dataset.info.fps, dataset.info.robot) == (1 / spec.step_s, spec.robot)
    assert dataset.feature("observation.state").names == spec.state_names
    assert dataset.feature("action").names == spec.action_names
    assert dataset.instruction(0, 0) == spec.default_instruction
    assert check(dataset, Needs(history=9, chunk=16, spec=spec)) == []
    shown = demonstrate(BeltWorld(BeltConfig()), 5, 1)
    np.testing.assert_array_equal(dataset.numbers(1, "observation.state"), shown.state)
    np.testing.assert_array_equal(dataset.numbers(1, "action"), shown.action)


def test_the_command_records_a_dataset_and_refuses_other_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "demos"
    command = ["sim", "record", "--format", "lerobot", "--out", str(root), "--episodes", "1", "--workers", "1"]
    assert main(command) == 0
    assert "1 demonstrations" in capsys.readouterr().out
    (root / "meta/simulation.json").unlink()
    assert main(command) == 2
    assert "was not recorded here" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="makes no sense"):
        record_dataset(tmp_path / "no", 0, seed=1)
    assert not (tmp_path / "no").exists()
