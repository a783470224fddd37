"""What the writer writes: readable, whole after kill -9, and the same bytes for the same frames."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.data.recording import Description
from f1_ros.data.writer import DatasetWriter
from f1_ros.errors import ConfigError, DataError

ABOUT = Description(
    fps=20,
    robot="arm",
    state_names=("a", "b", "gripper"),
    action_names=("a", "b"),
    cameras={"front": (32, 48), "wrist": (16, 16)},
    pictures="image",
)
VIDEO = Description(ABOUT.fps, ABOUT.robot, ABOUT.state_names, ABOUT.action_names, ABOUT.cameras, "video")


def write(writer: DatasetWriter, frames: int, seed: int, task: str = "pick") -> None:
    for i in range(frames):
        level = (seed * 50 + i * 3) % 250
        writer.add_frame(
            np.array([i, seed, 0.08]),
            np.array([i + 1, seed]),
            {"front": np.full((32, 48, 3), level, np.uint8), "wrist": np.full((16, 16, 3), 255 - level, np.uint8)},
            task,
        )
    writer.save_episode()


@pytest.mark.parametrize("about", [ABOUT, VIDEO], ids=["image", "video"])
def test_what_is_written_is_read(about: Description, tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", about) as writer:
        write(writer, 70, 0)
        write(writer, 5, 1, "stack")
        write(writer, 6, 2)
    dataset = LeRobotDataset(tmp_path / "set")
    assert (dataset.info.version, dataset.info.fps, dataset.info.frames) == ("v3.0", 20.0, 81)
    assert dataset.episodes.lengths.tolist() == [70, 5, 6]
    assert dataset.tasks == {0: "pick", 1: "stack"}
    assert [dataset.instruction(i, 0) for i in range(3)] == ["pick", "stack", "pick"]
    assert dataset.feature("action").names == ("a", "b")
    assert dataset.numbers(1, "observation.state").tolist() == [[i, 1, np.float32(0.08)] for i in range(5)]
    assert dataset.numbers(2, "index").tolist() == [75, 76, 77, 78, 79, 80]
    np.testing.assert_array_equal(dataset.numbers(0, "timestamp"), (np.arange(70) / 20).astype(np.float32))
    front = dataset.pictures(0, "observation.images.front", [69, 3])
    assert [int(p[10, 10, 1]) for p in front] == pytest.approx([207, 9], abs=0 if about is ABOUT else 2)
    assert dataset.pictures(2, "observation.images.wrist", [5])[0].shape == (16, 16, 3)
    assert not list((tmp_path / "set").glob(".*"))


def test_the_layout_is_that_of_lerobots_documentation(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", VIDEO) as writer:
        write(writer, 4, 0)
        write(writer, 4, 1)
    files = sorted(p.relative_to(tmp_path / "set").as_posix() for p in (tmp_path / "set").rglob("*") if p.is_file())
    assert files == [
        *(f"data/chunk-000/file-00{i}.parquet" for i in (0, 1)),
        *(f"meta/episodes/chunk-000/file-00{i}.parquet" for i in (0, 1)),
        "meta/info.json", "meta/stats.json", "meta/tasks.parquet",
        *(f"videos/observation.images.{c}/chunk-000/file-00{i}.mp4" for c in ("front", "wrist") for i in (0, 1)),
    ]  # fmt: skip
    row = pq.read_table(tmp_path / "set/meta/episodes/chunk-000/file-001.parquet").to_pylist()[0]
    assert row == {
        "episode_index": 1, "tasks": ["pick"], "length": 4, "dataset_from_index": 4, "dataset_to_index": 8,
        "data/chunk_index": 0, "data/file_index": 1, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 1,
        **{f"videos/observation.images.{c}/{k}": v for c in ("front", "wrist") for k, v in
           {"chunk_index": 0, "file_index": 1, "from_timestamp": 0.0, "to_timestamp": 0.2}.items()},
    }  # fmt: skip


@pytest.mark.parametrize("about", [ABOUT, VIDEO], ids=["image", "video"])
def test_the_same_frames_give_the_same_bytes(about: Description, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        with DatasetWriter(tmp_path / name, about) as writer:
            write(writer, 8, 0)
            write(writer, 3, 1)
        root = tmp_path / name
        contents.append({p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()})
    assert contents[0] == contents[1]


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from f1_ros.data.writer import DatasetWriter
from test_writer import VIDEO, write
writer = DatasetWriter(Path(sys.argv[1]), VIDEO)
write(writer, 6, 0)
write(writer, 6, 1)
original = writer.save_episode
writer.save_episode = lambda: None
write(writer, 70, 2)
print("half-way", flush=True)
sys.stdin.read()
"""


def test_killed_with_9_keeps_finished_episodes_and_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "set"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root), str(Path(__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half-way\n"
    with pytest.raises(ConfigError, match="Another process is recording"):
        DatasetWriter(root, VIDEO)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    dataset = LeRobotDataset(root)
    assert dataset.episodes.lengths.tolist() == [6, 6]
    assert dataset.numbers(1, "index").tolist() == [6, 7, 8, 9, 10, 11]
    assert len(dataset.pictures(1, "observation.images.front", range(6))) == 6
    with DatasetWriter(root, VIDEO) as writer:
        assert writer.episodes == 2
        write(writer, 4, 2, "stack")
    assert LeRobotDataset(root).episodes.lengths.tolist() == [6, 6, 4]
    assert not (root / ".partial").exists()


@pytest.mark.parametrize("step", range(1, 9))
def test_a_crash_between_any_two_files_leaves_whole_episodes(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    writer = DatasetWriter(root, VIDEO)
    write(writer, 4, 0)
    done = 0
    original = Path.replace

    class Crash(BaseException):
        pass

    def replace(path: Path, target: Path) -> Path:
        nonlocal done
        done += 1
        if done == step:
            raise Crash
        return original(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        try:
            write(writer, 5, 1, "stack")
            finished = 2
        except Crash:
            finished = 1
    assert finished == (1 if step <= 6 else 2)  # two videos, data, tasks, episode, info
    writer._lock.close()
    dataset = LeRobotDataset(root)
    assert dataset.episodes.lengths.tolist() == [4, 5][:finished]
    assert dataset.instruction(0, 0) == "pick"
    with DatasetWriter(root, VIDEO) as again:
        write(again, 3, 2, "stack")
    assert LeRobotDataset(root).episodes.lengths.tolist() == [4, 5][:finished] + [3]
    assert LeRobotDataset(root).instruction(finished, 0) == "stack"


@pytest.mark.parametrize("about", [ABOUT, VIDEO], ids=["image", "video"])
def test_a_full_disk_is_said_and_finished_episodes_are_kept(
    about: Description, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    with DatasetWriter(root, about) as writer:
        write(writer, 3, 0)
        with monkeypatch.context() as patched:

            def full(path: Path, target: Path) -> Path:
                raise OSError(errno.ENOSPC, "No space left on device")

            patched.setattr(Path, "replace", full)
            with pytest.raises(DataError, match=r"No space left on device.*finished episodes are kept"):
                write(writer, 3, 1)
        assert writer.episodes == 1
        write(writer, 4, 1)
    assert LeRobotDataset(root).episodes.lengths.tolist() == [3, 4]


def test_an_unfinished_episode_is_thrown_away_on_request_and_on_close(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", ABOUT) as writer:
        pictures = {"front": np.zeros((32, 48, 3), np.uint8), "wrist": np.zeros((16, 16, 3), np.uint8)}
        writer.add_frame(np.zeros(3), np.zeros(2), pictures, "pick")
        writer.discard_episode()
        assert (writer.frames, writer.episodes) == (0, 0)
        write(writer, 2, 0)
        writer.add_frame(np.zeros(3), np.zeros(2), pictures, "pick")
    assert LeRobotDataset(tmp_path / "set").episodes.lengths.tolist() == [2]


def test_what_does_not_fit_names_the_frame(tmp_path: Path) -> None:
    pictures = {"front": np.zeros((32, 48, 3), np.uint8), "wrist": np.zeros((16, 16, 3), np.uint8)}
    with DatasetWriter(tmp_path / "set", ABOUT) as writer:
        with pytest.raises(DataError, match="Frame 0 of episode 0: state"):
            writer.add_frame(np.zeros(2), np.zeros(2), pictures, "pick")
        with pytest.raises(DataError, match="Frame 0 of episode 0: action"):
            writer.add_frame(np.zeros(3), np.array([0.0, np.nan]), pictures, "pick")
        with pytest.raises(DataError, match="Frame 0 of episode 0: pictures"):
            writer.add_frame(np.zeros(3), np.zeros(2), {"front": pictures["front"]}, "pick")
        with pytest.raises(DataError, match="has no task"):
            writer.add_frame(np.zeros(3), np.zeros(2), pictures, " ")
        with pytest.raises(DataError, match="Episode 0 has no frame"):
            writer.save_episode()


def test_further_columns_are_written_as_declared(tmp_path: Path) -> None:
    about = Description(10, "arm", ("a",), ("a",), {}, "image", {"mode": "int64", "source": "string"})
    with DatasetWriter(tmp_path / "set", about) as writer:
        for i, source in enumerate(("hold", "teleop")):
            writer.add_frame(np.array([i]), np.array([i]), {}, "pick", {"mode": i, "source": source})
        for wrong in ({}, {"mode": 1, "source": 2}, {"mode": 1, "source": "hold", "more": 3}):
            with pytest.raises(DataError, match="Frame 2 of episode 0: columns are"):
                writer.add_frame(np.zeros(1), np.zeros(1), {}, "pick", wrong)
        writer.save_episode()
    dataset = LeRobotDataset(tmp_path / "set")
    assert dataset.numbers(0, "mode").tolist() == [0, 1]
    assert pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")["source"].to_pylist() == ["hold", "teleop"]


def test_folders_and_descriptions_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else"):
        DatasetWriter(tmp_path / "other", ABOUT)
    with DatasetWriter(tmp_path / "set", ABOUT) as writer:
        write(writer, 2, 0)
    with pytest.raises(ConfigError, match="another features"):
        DatasetWriter(tmp_path / "set", VIDEO)
    with pytest.raises(ConfigError, match="even sides"):
        Description(10, "arm", ("a",), ("a",), {"front": (31, 48)}, "video")
    with pytest.raises(ConfigError, match="0 fps"):
        Description(0, "arm", ("a",), ("a",), {})
