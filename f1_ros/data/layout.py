"""Where things lie in a LeRobot dataset: versions 2.1 (a file per episode) and 3.0 (episodes share files).

    meta/info.json         version, fps, features, path patterns                          both
    meta/tasks.jsonl       {"task_index", "task"} a line                                  2.1
    meta/episodes.jsonl    {"episode_index", "tasks", "length"} a line                    2.1
    meta/tasks.parquet     task_index, and the task as the table's index                  3.0
    meta/episodes/*/*.parquet   a row an episode: tasks, length, files, place in them     3.0

What is kept in memory of an episode is a few numbers in arrays and its task.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from f1_ros.errors import DataError

VERSIONS = ("v2.1", "v3.0")
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Features that every dataset has."""
_CAMERA = ("image", "video")


@dataclass(frozen=True)
class Feature:
    """One feature of `info.json`.

    Attributes:
        key: its key, such as "observation.state".
        dtype: "image", "video", "string", or a numeric type such as "float32".
        shape: its shape in a frame.
        names: names of its numbers or axes; empty where the dataset gives none.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def is_camera(self) -> bool:
        """Whether it is a picture."""
        return self.dtype in _CAMERA

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a picture, px; some datasets give the channels first."""
        channels_first = self.shape[0] == 3 and self.shape[-1] != 3
        height, width = self.shape[1:] if channels_first else self.shape[:2]
        return height, width


@dataclass(frozen=True)
class Info:
    """What `meta/info.json` says.

    Attributes:
        root: the dataset's folder.
        version: "v2.1" or "v3.0".
        fps: frames per second.
        robot: robot type, empty if not given.
        features: by key.
        episodes: number of episodes.
        frames: number of frames.
        data_path: pattern of the parquet files.
        video_path: pattern of the video files, empty if there are none.
        chunks_size: files (3.0) or episodes (2.1) in a chunk's folder.
    """

    root: Path
    version: str
    fps: float
    robot: str
    features: dict[str, Feature]
    episodes: int
    frames: int
    data_path: str
    video_path: str
    chunks_size: int


@dataclass(frozen=True)
class Clip:
    """An episode's part of a video file: the file, and the episode's start within it, s."""

    path: Path
    start_s: float


@dataclass(frozen=True)
class Episode:
    """One episode.

    Attributes:
        index: its number.
        length: frames.
        tasks: what it shows, in words.
        path: its parquet file.
        first_row: row of its first frame in that file.
        clips: its part of a video file, by camera key.
    """

    index: int
    length: int
    tasks: tuple[str, ...]
    path: Path
    first_row: int
    clips: dict[str, Clip]


class EpisodeTable:
    """All episodes of a dataset; `table[i]` gives one.

    Attributes:
        lengths: (episodes,) frames.
    """

    def __init__(self, lengths: NDArray[np.int64], make: Callable[[int], Episode]) -> None:
        self.lengths = lengths
        self._make = functools.lru_cache(4096)(make)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Episode:
        if not 0 <= index < len(self):
            raise DataError(
                f"There is no episode {index}: the dataset has {len(self)}, counted from 0.",
                remedy="Choose an existing episode.",
            )
        return self._make(index)

    def __iter__(self) -> Iterator[Episode]:
        return (self._make(i) for i in range(len(self)))


def read_info(root: Path) -> Info:
    """Read `meta/info.json`.

    Raises:
        DataError: naming file and key, if it is missing, damaged, or of a version that we do not read.
    """
    path = root / "meta" / "info.json"
    if not path.is_file():
        raise DataError(f"{path} is missing: {root} is no LeRobot dataset.", remedy="Give the folder that holds meta/.")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        version = str(raw["codebase_version"])
        if version not in VERSIONS:
            raise DataError(
                f"{path}: codebase_version is {version!r}.",
                remedy=f"Convert it with LeRobot's own scripts; {' and '.join(VERSIONS)} are read.",
            )
        features = {key: _feature(key, value) for key, value in raw["features"].items()}
        info = Info(
            root,
            version,
            float(raw["fps"]),
            str(raw.get("robot_type") or ""),
            features,
            int(raw["total_episodes"]),
            int(raw["total_frames"]),
            str(raw["data_path"]),
            str(raw.get("video_path") or ""),
            int(raw["chunks_size"]),
        )
    except KeyError as error:
        raise DataError(f"{path}: key {error} is missing.", remedy="Restore the file from the original.") from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error}).", remedy="Restore the file from the original.") from error
    if not info.fps > 0 or info.chunks_size < 1 or info.episodes < 0:
        raise DataError(
            f"{path}: fps {info.fps}, chunks_size {info.chunks_size} or total_episodes {info.episodes} makes no sense.",
            remedy="Restore the file from the original.",
        )
    return info


def read_tasks(info: Info) -> dict[int, str]:
    """Read the tasks by their index.

    Raises:
        DataError: naming the file, if it is missing or damaged.
    """
    if info.version == "v2.1":
        path = info.root / "meta" / "tasks.jsonl"
        return {int(line["task_index"]): str(line["task"]) for line in _lines(path, ("task_index", "task"))}
    path = info.root / "meta" / "tasks.parquet"
    table = read_parquet(path)
    texts = [name for name in table.column_names if name != "task_index"]
    if "task_index" not in table.column_names or not texts:
        raise DataError(f"{path} has no tasks.", remedy="Restore the file from the original.")
    words = table["task" if "task" in texts else texts[0]].to_pylist()
    return {int(i): str(w or "") for i, w in zip(table["task_index"].to_pylist(), words, strict=True)}


def read_episodes(info: Info) -> EpisodeTable:
    """Read what is needed to find each episode.

    Raises:
        DataError: naming the file, if it is missing, damaged, or does not have the episodes that info.json counts.
    """
    return _episodes_21(info) if info.version == "v2.1" else _episodes_30(info)


def read_parquet(path: Path, columns: list[str] | None = None) -> pyarrow.Table:
    """Read a whole small parquet file.

    Raises:
        DataError: naming the file, if it is missing or damaged.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing.", remedy="Copy or download the dataset again, whole.")
    try:
        return pyarrow.parquet.ParquetFile(path).read(columns=columns, use_threads=False)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} is damaged ({error}).", remedy="Copy or download the file again.") from error


def _feature(key: str, raw: dict[str, Any]) -> Feature:
    names = raw.get("names")
    if isinstance(names, dict):  # {"motors": [...]}, {"axes": [...]}, or name to index
        lists = [value for value in names.values() if isinstance(value, list)]
        names = lists[0] if len(lists) == 1 else list(names)
    if isinstance(names, list) and len(names) == 1 and isinstance(names[0], list):
        names = names[0]
    flat = [str(name) for name in names] if isinstance(names, list) else []
    return Feature(key, str(raw["dtype"]), tuple(int(n) for n in raw["shape"]), tuple(flat))


def _lines(path: Path, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    if not path.is_file():
        raise DataError(f"{path} is missing.", remedy="Copy or download the dataset again, whole.")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            for key in keys:
                entry[key]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: line {number} is damaged ({error}).", remedy="Copy or download the file again."
            ) from error
        found.append(entry)
    return found


def _counted(info: Info, path: Path, found: int) -> None:
    if found < info.episodes:
        raise DataError(
            f"{path} has {found} episodes, but info.json counts {info.episodes}.",
            remedy="Copy or download the dataset again, whole.",
        )


def _episodes_21(info: Info) -> EpisodeTable:
    path = info.root / "meta" / "episodes.jsonl"
    entries = sorted(_lines(path, ("episode_index", "length")), key=lambda e: int(e["episode_index"]))
    _counted(info, path, len(entries))
    entries = entries[: info.episodes]
    indices = [int(e["episode_index"]) for e in entries]
    if indices != list(range(len(entries))):
        raise DataError(f"{path}: the episodes are not numbered 0, 1, 2, ...", remedy="Number them anew.")
    tasks = [tuple(str(t) for t in e.get("tasks") or ()) for e in entries]
    lengths = np.array([int(e["length"]) for e in entries], np.int64)
    videos = [key for key, feature in info.features.items() if feature.dtype == "video"]

    def make(i: int) -> Episode:
        chunk = i // info.chunks_size
        clips = {
            key: Clip(
                info.root / info.video_path.format(episode_chunk=chunk, episode_index=i, video_key=key),
                0.0,
            )
            for key in videos
        }
        data = info.root / info.data_path.format(episode_chunk=chunk, episode_index=i)
        return Episode(i, int(lengths[i]), tasks[i], data, 0, clips)

    return EpisodeTable(lengths, make)


def _episodes_30(info: Info) -> EpisodeTable:
    folder = info.root / "meta" / "episodes"
    videos = [key for key, feature in info.features.items() if feature.dtype == "video"]
    numbers = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    for key in videos:
        numbers += [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    files = sorted(folder.glob("*/*.parquet"))
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in numbers}
    tasks: list[tuple[str, ...]] = []
    for path in files:
        table = read_parquet(path, [*numbers, "tasks"])
        missing = sorted({*numbers, "tasks"} - set(table.column_names))
        if missing:
            raise DataError(f"{path}: column {missing[0]} is missing.", remedy="Restore the file from the original.")
        for name in numbers:
            columns[name].append(table[name].to_numpy())
        tasks += [tuple(row or ()) for row in table["tasks"].to_pylist()]
    _counted(info, folder, len(tasks))
    if not files:
        return EpisodeTable(np.zeros(0, np.int64), _no_episode)
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    order = np.argsort(whole["episode_index"], kind="stable")[: info.episodes]
    if whole["episode_index"][order].tolist() != list(range(info.episodes)):
        raise DataError(f"{folder}: the episodes are not numbered 0, 1, 2, ...", remedy="Number them anew.")
    whole = {name: values[order] for name, values in whole.items()}
    tasks = [tasks[i] for i in order]
    chunk, file = whole["data/chunk_index"].astype(np.int64), whole["data/file_index"].astype(np.int64)
    first_rows = _first_rows(chunk, file, whole["length"].astype(np.int64))

    def make(i: int) -> Episode:
        clips = {
            key: Clip(
                info.root
                / info.video_path.format(
                    video_key=key,
                    chunk_index=int(whole[f"videos/{key}/chunk_index"][i]),
                    file_index=int(whole[f"videos/{key}/file_index"][i]),
                ),
                float(whole[f"videos/{key}/from_timestamp"][i]),
            )
            for key in videos
        }
        data = info.root / info.data_path.format(chunk_index=int(chunk[i]), file_index=int(file[i]))
        return Episode(i, int(whole["length"][i]), tasks[i], data, int(first_rows[i]), clips)

    return EpisodeTable(whole["length"].astype(np.int64), make)


def _first_rows(chunk: NDArray[np.int64], file: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row of each episode within its file: the frames of the episodes before it there."""
    before = np.concatenate([[0], np.cumsum(length)[:-1]])
    new = np.r_[True, (np.diff(chunk) != 0) | (np.diff(file) != 0)]
    rows: NDArray[np.int64] = before - before[np.flatnonzero(new)][np.cumsum(new) - 1]
    return rows


def _no_episode(index: int) -> Episode:
    raise DataError(f"There is no episode {index}: the dataset is empty.", remedy="Record an episode first.")
