"""Observations to check engines on: from a dataset to the file, and the ones that are shipped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from f1_ros.cli.main import main
from f1_ros.data.samples import Drawn, Sample
from f1_ros.engine.checking import shipped_observations
from f1_ros.engine.checks import check_observation
from f1_ros.engine.policy import load_policy_file
from f1_ros.engine.protocol import PolicySpec
from f1_ros.engine.recorded import from_samples, load
from f1_ros.errors import ConfigError, DataError

BELT = Path(__file__).parents[2] / "models" / "f1_belt"


class Source:
    """Samples whose numbers say which they are."""

    def __init__(self, spec: PolicySpec, present: Sequence[bool] = (True, True), joints: int = 8) -> None:
        self.spec, self.present, self.joints = spec, np.array(present), joints
        self.asked: list[int] = []

    def __len__(self) -> int:
        return 101

    def samples(self, drawn: Sequence[Drawn]) -> list[Sample]:
        self.asked = [index for index, _ in drawn]
        return [self._sample(index) for index in self.asked]

    def _sample(self, index: int) -> Sample:
        side, frames = self.spec.image_size, len(self.spec.history_offsets)
        return Sample(
            images=np.full((2, 3, side, side), index / 127.5 - 1, np.float32),
            present=self.present,
            history=np.full((frames, 3, side, side), index, np.uint8),
            target=np.zeros((3, side, side), np.uint8),
            state=np.full(self.joints, index, np.float32),
            actions=np.zeros((self.spec.chunk_size, 8), np.float32),
            action_is_pad=np.zeros(self.spec.chunk_size, bool),
            instruction=f"pick {index}",
            dataset=0,
            episode=3,
            frame=index,
        )


def test_samples_are_spread_evenly_and_keep_their_numbers(policy_dir: Path) -> None:
    spec = load_policy_file(policy_dir).spec
    source = Source(spec)
    recorded = from_samples(source, spec, 5)
    assert source.asked == [0, 25, 50, 75, 100]
    for index, one in zip(source.asked, recorded, strict=True):
        observation = one.observation
        check_observation(spec, observation)
        assert one.instruction == f"pick {index}"
        np.testing.assert_allclose(observation.images, index / 127.5 - 1, atol=1e-6)
        assert (observation.history == index).all()
        assert (observation.state == index).all()
    stamps = [stamp for one in recorded for stamp in one.observation.history_stamps_ns]
    assert len(set(stamps)) == len(stamps)  # or a kept frame of one would serve another
    assert len(from_samples(source, spec, 1000)) == len(source)


def test_samples_of_another_robot_or_without_a_camera_are_refused(policy_dir: Path) -> None:
    spec = load_policy_file(policy_dir).spec
    with pytest.raises(DataError, match="1 of the cameras"):
        from_samples(Source(spec, present=(True, False)), spec, 2)
    with pytest.raises(DataError, match="6 of 8 state numbers"):
        from_samples(Source(spec, joints=6), spec, 2)
    with pytest.raises(ConfigError, match="0 observations"):
        from_samples(Source(spec), spec, 0)


def test_the_commands_make_a_file_for_the_shipped_policy(tmp_path: Path) -> None:
    demos, out = tmp_path / "demos", tmp_path / "check.npz"
    record = ["sim", "record", "--format", "lerobot", "--episodes", "1", "--seed", "5", "--workers", "1"]
    assert main([*record, "--out", str(demos)]) == 0
    command = ["engine", "observations", "--policy", str(BELT), "--data", str(demos), "--count", "4", "--out", str(out)]
    assert main(command) == 0
    spec = load_policy_file(BELT).spec
    recorded = load(out, spec)
    assert len(recorded) == 4
    for one in recorded:
        check_observation(spec, one.observation)


def test_the_shipped_policy_brings_observations_along() -> None:
    recorded, _ = shipped_observations(BELT)
    assert len(recorded) == 36
    spec = load_policy_file(BELT).spec
    for one in recorded:
        check_observation(spec, one.observation)
    assert (BELT / "check.npz").stat().st_size < 2_000_000
    states = np.stack([one.observation.state for one in recorded])
    assert (states.std(axis=0) > 1e-3).all()  # the arm and the hand are seen at work
