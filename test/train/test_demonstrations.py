"""Which frames, states and actions belong to one sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from f1_ros.errors import ConfigError
from f1_ros.train.demonstrations import Demonstrations, Windows

WINDOWS = Windows(history=(-2, -1, 0), foresight=3, chunk=4)


def write(folder: Path, lengths: tuple[int, ...]) -> None:
    n = sum(lengths)
    episode = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    action = np.tile(np.arange(n, dtype=np.float32)[:, None], (1, 8))
    arrays = {
        "front": np.zeros((n, 4, 4, 3), np.uint8),
        "wrist": np.zeros((n, 4, 4, 3), np.uint8),
        "state": action - 0.5,
        "action": action,
        "cube": np.zeros((n, 3), np.float32),
        "tool": np.zeros((n, 3), np.float32),
        "phase": np.zeros(n, np.int8),
        "episode": episode,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def test_a_sample_never_reaches_into_another_episode(tmp_path: Path) -> None:
    write(tmp_path, (5, 4))
    data = Demonstrations(tmp_path)
    samples = data.samples(WINDOWS)
    assert samples.tolist() == [2, 3, 4, 7, 8]
    assert data.history_steps(samples, WINDOWS)[3].tolist() == [5, 6, 7]
    assert data.foresight_steps(samples, WINDOWS).tolist() == [4, 4, 4, 8, 8]


def test_steps_past_the_episode_are_marked_as_padding(tmp_path: Path) -> None:
    write(tmp_path, (5, 4))
    chunk, pad = Demonstrations(tmp_path).chunk(np.array([2, 7]), WINDOWS)
    assert chunk[:, :, 0].tolist() == [[2, 3, 4, 4], [7, 8, 8, 8]]
    assert pad.tolist() == [[False, False, False, True], [False, False, True, True]]


def test_chunk_and_foreseen_frame_end_with_their_task_and_history_reaches_back_before_it(tmp_path: Path) -> None:
    write(tmp_path, (6, 3))
    np.save(tmp_path / "task.npy", np.array([0, 0, 0, 1, 1, 1, 0, 0, 0], np.int8))
    data = Demonstrations(tmp_path)
    samples = data.samples(WINDOWS)
    assert samples.tolist() == [2, 3, 4, 5, 8]
    assert data.history_steps(samples, WINDOWS)[1].tolist() == [1, 2, 3]
    assert data.foresight_steps(samples, WINDOWS).tolist() == [2, 5, 5, 5, 8]
    chunk, pad = data.chunk(samples[:2], WINDOWS)
    assert chunk[:, :, 0].tolist() == [[2, 2, 2, 2], [3, 4, 5, 5]]
    assert pad.tolist() == [[False, True, True, True], [False, False, False, True]]


def test_held_out_episodes_are_whole(tmp_path: Path) -> None:
    write(tmp_path, (5, 4, 6))
    data = Demonstrations(tmp_path)
    train, held = data.split(data.samples(WINDOWS), held_out=0.34)
    assert set(data.episode[train]) == {0, 1}
    assert set(data.episode[held]) == {2}


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    write(tmp_path, (5,))
    (tmp_path / "cube.npy").unlink()
    with pytest.raises(ConfigError, match=r"cube\.npy is missing"):
        Demonstrations(tmp_path)


def test_arrays_of_different_length_are_refused(tmp_path: Path) -> None:
    write(tmp_path, (5,))
    np.save(tmp_path / "phase.npy", np.zeros(4, np.int8))
    with pytest.raises(ConfigError, match="different lengths"):
        Demonstrations(tmp_path)


@pytest.mark.parametrize("history", [(), (-1,), (0, -1), (-1, 1)])
def test_history_must_rise_to_the_present(history: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="history offsets"):
        Windows(history=history, foresight=1, chunk=1)


def test_a_twins_recording_gives_its_things_tools_and_cameras_and_is_precise_throughout(tmp_path: Path) -> None:
    write(tmp_path, (5,))
    np.save(tmp_path / "phase.npy", np.array([-1, 3, 5, 6, 8], np.int8))
    assert Demonstrations(tmp_path).precise.tolist() == [True, True, False, False, False]
    np.save(tmp_path / "thing.npy", np.ones((5, 3), np.float32))
    np.save(tmp_path / "tools.npy", np.zeros((5, 2, 3), np.float32))
    (tmp_path / "front.npy").rename(tmp_path / "head.npy")
    data = Demonstrations(tmp_path, ("head", "wrist"))
    assert (data.cubes.shape, data.tools.shape) == ((5, 1, 3), (5, 2, 3))
    assert data.precise.all()
    assert len(data.pictures) == 2
