"""Reading datasets that an independent writer made, and saying what is wrong with broken ones."""

import contextlib
import json
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.data import lerobot
from f1_ros.data.layout import VERSIONS
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.errors import DataError

from .conftest import CAMERAS, HEIGHT, NAMES, WIDTH, Writer, episode, grey

FRONT = CAMERAS[0]
BOTH = pytest.mark.parametrize("version", VERSIONS)
KINDS = pytest.mark.parametrize("kind", ["image", "video"])


@BOTH
@KINDS
def test_reads_description_numbers_pictures_and_words(version: str, kind: str, write_dataset: Writer) -> None:
    dataset = LeRobotDataset(write_dataset(version=version, kind=kind))
    assert (dataset.info.fps, dataset.info.robot, dataset.info.frames) == (10.0, "test_arm", 47)
    assert dataset.feature("action").names == tuple(NAMES)
    assert dataset.cameras == CAMERAS
    assert dataset.episodes.lengths.tolist() == [12, 20, 15]
    assert [e.tasks for e in dataset.episodes] == [("pick the cube",), ("pick the cube",), ("stack",)]
    assert dataset.instruction(2, 3) == "stack"
    for i, length in enumerate((12, 20, 15)):
        np.testing.assert_array_equal(dataset.numbers(i, "observation.state"), episode(i, length).state)
        assert dataset.numbers(i, "frame_index").tolist() == list(range(length))
        shown = dataset.pictures(i, FRONT, [length - 1, 0, 7, 7])
        assert shown[0].shape == (HEIGHT, WIDTH, 3)
        assert shown[0].dtype == np.uint8
        for rgb, frame in zip(shown, (length - 1, 0, 7, 7), strict=True):
            assert abs(int(rgb[20, 10, 0]) - grey(i, frame)) <= 1
            assert rgb[20, 50].tolist() == pytest.approx([200, 0, 0], abs=3)


@BOTH
def test_many_threads_read_what_one_reads(version: str, write_dataset: Writer) -> None:
    dataset = LeRobotDataset(write_dataset(version=version, kind="video"))
    found: dict[int, list[int]] = {}

    def read(i: int) -> None:
        found[i] = [int(p[20, 10, 0]) for f in range(12) for p in dataset.pictures(i % 3, FRONT, [f])]

    threads = [threading.Thread(target=read, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(6):
        assert found[i] == pytest.approx([grey(i % 3, f) for f in range(12)], abs=1)


def test_episodes_over_several_row_groups_are_joined(write_dataset: Writer) -> None:
    root = write_dataset(version="v3.0")
    path = root / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=7)
    dataset = LeRobotDataset(root)
    np.testing.assert_array_equal(dataset.numbers(1, "action"), episode(1, 20).action)
    assert int(dataset.pictures(1, FRONT, [13])[0][0, 0, 0]) == grey(1, 13)


@BOTH
def test_memory_stays_within_its_limit_however_much_is_read(version: str, write_dataset: Writer) -> None:
    root = write_dataset([episode(i, 30) for i in range(12)], version)
    whole, small = LeRobotDataset(root), LeRobotDataset(root, cache_bytes=20_000)
    for dataset in (whole, small):
        for i in range(12):
            assert int(dataset.pictures(i, FRONT, [29])[0][0, 0, 0]) == grey(i, 29)
            np.testing.assert_array_equal(dataset.numbers(i, "action"), episode(i, 30).action)
    assert whole.cached_bytes > 50_000
    assert small.cached_bytes <= 20_000


def test_large_row_groups_are_read_once_and_do_not_count_as_memory(
    write_dataset: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_dataset([episode(i, 30) for i in range(4)], "v3.0", "video")
    monkeypatch.setattr(lerobot, "LARGE_COLUMN", 500)
    reads: list[str] = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_group",
        lambda self, group, columns, **more: reads.extend(columns) or original(self, group, columns, **more),
    )
    dataset = LeRobotDataset(root, cache_bytes=2_000)
    for i in (0, 2, 1, 3, 0, 2):
        np.testing.assert_array_equal(dataset.numbers(i, "action"), episode(i, 30).action)
        assert dataset.numbers(i, "frame_index").tolist() == list(range(30))
        assert dataset.numbers(i, "timestamp").shape == (30,)
    assert reads.count("action") == 2  # two files
    assert dataset.cached_bytes <= 2_000


@pytest.mark.parametrize(
    ("version", "file", "message"),
    [
        ("v2.1", "meta/info.json", "info.json is missing"),
        ("v2.1", "meta/tasks.jsonl", "tasks.jsonl is missing"),
        ("v2.1", "meta/episodes.jsonl", "episodes.jsonl is missing"),
        ("v3.0", "meta/tasks.parquet", "tasks.parquet is missing"),
        ("v3.0", "meta/episodes/chunk-000/file-000.parquet", "has 0 episodes, but info.json counts 3"),
    ],
)
def test_a_missing_description_is_named(version: str, file: str, message: str, write_dataset: Writer) -> None:
    root = write_dataset(version=version)
    (root / file).unlink()
    with pytest.raises(DataError, match=message):
        LeRobotDataset(root)


@BOTH
@KINDS
def test_missing_and_damaged_files_name_file_and_episode(version: str, kind: str, write_dataset: Writer) -> None:
    root = write_dataset(version=version, kind=kind)
    folder = root / ("data" if kind == "image" else "videos")
    file = sorted(p for p in folder.rglob("*") if p.suffix in (".parquet", ".mp4"))[0]
    file.write_bytes(b"no such thing")
    with pytest.raises(DataError, match=rf"(?s)pisode 0.*{file.name}|{file.name}.*pisode 0"):
        LeRobotDataset(root).pictures(0, FRONT, [0])
    file.unlink()
    with pytest.raises(DataError, match=rf"{file.name} is missing"):
        LeRobotDataset(root).pictures(0, FRONT, [0])


def test_a_video_shorter_than_its_table_names_time_and_episode(write_dataset: Writer) -> None:
    made = [episode(0, 12)]
    made[0].pictures = {c: p[:8] for c, p in made[0].pictures.items()}
    dataset = LeRobotDataset(write_dataset(made, "v2.1", "video"))
    assert len(dataset.pictures(0, FRONT, range(8))) == 8
    with pytest.raises(DataError, match=r"Episode 0.*no frame at 0\.9000 s: the nearest is at 0\.7000 s"):
        dataset.pictures(0, FRONT, [9])


def test_frames_features_and_episodes_that_do_not_exist(write_dataset: Writer) -> None:
    dataset = LeRobotDataset(write_dataset())
    with pytest.raises(DataError, match="no frame 12: it has 12"):
        dataset.pictures(0, FRONT, [12])
    with pytest.raises(DataError, match=r"no feature reward.*observation\.state"):
        dataset.numbers(0, "reward")
    with pytest.raises(DataError, match="no episode 3: the dataset has 3"):
        dataset.numbers(3, "action")


def test_another_width_than_described_is_an_error(write_dataset: Writer) -> None:
    root = write_dataset()
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    info["features"]["action"]["shape"] = [7]
    path.write_text(json.dumps(info))
    with pytest.raises(DataError, match=r"episode 0: action has 4 numbers in a frame, but info\.json says 7"):
        LeRobotDataset(root).numbers(0, "action")


@given(st.recursive(st.none() | st.integers(-2, 9) | st.text(max_size=5), lambda c: st.lists(c) | st.dictionaries(
    st.sampled_from(["codebase_version", "fps", "features", "total_episodes", "total_frames", "data_path",
                     "chunks_size", "shape", "dtype"]), c)))  # fmt: skip
def test_no_description_raises_anything_but_our_error(tmp_path_factory: pytest.TempPathFactory, raw: object) -> None:
    root = tmp_path_factory.mktemp("odd")
    (root / "meta").mkdir()
    whole = {"codebase_version": "v2.1", "fps": 10, "features": {}, "total_episodes": 0, "total_frames": 0,
             "data_path": "", "chunks_size": 1}  # fmt: skip
    data = {**whole, **raw} if isinstance(raw, dict) else raw
    (root / "meta/info.json").write_text(json.dumps(data))
    with contextlib.suppress(DataError):
        LeRobotDataset(root)


def test_other_versions_are_refused_with_the_way_out(write_dataset: Writer) -> None:
    path: Path = write_dataset() / "meta/info.json"
    path.write_text(path.read_text().replace("v3.0", "v1.6"))
    with pytest.raises(DataError, match=r"codebase_version is 'v1\.6'.*Convert it"):
        LeRobotDataset(path.parents[1])
