"""Reading LeRobot datasets, versions 2.1 and 3.0, lazily.

    dataset = LeRobotDataset(Path("demos"))
    dataset.episodes[3].tasks                          ("pick the cube from the belt",)
    dataset.numbers(3, "observation.state")            (frames, d)
    dataset.pictures(3, "observation.images.front", [0, 10])

Columns are read by row group and kept in a cache of fixed size; pictures are decoded when asked for. So memory does
not grow with the dataset, and one object serves many threads. Row groups of many episodes, which conversions from
version 2.1 leave, would be read again and again for a few frames: their numbers are laid out in a temporary file.
"""

from __future__ import annotations

import math
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from f1_ros.data.layout import Episode, Feature, Info, read_episodes, read_info, read_tasks
from f1_ros.data.video import Picture, VideoPool
from f1_ros.errors import DataError, F1Error

CACHE_BYTES = 256 << 20
LARGE_COLUMN = 4 << 20
"""Columns of numbers from this size on, in bytes, are kept in a temporary file."""
_Column = Any  # an array of numbers, or pyarrow's chunked array of pictures or texts


class LeRobotDataset:
    """A dataset on disk.

    Args:
        root: its folder.
        cache_bytes: columns kept in memory.

    Attributes:
        root: its folder.
        info: what info.json says.
        tasks: the tasks by index.
        episodes: where each episode lies, and what it shows.

    Raises:
        DataError: naming file and key, if the description is missing, damaged, or of another version.
    """

    def __init__(self, root: Path, *, cache_bytes: int = CACHE_BYTES) -> None:
        self.root = root
        self.info: Info = read_info(root)
        self.tasks = read_tasks(self.info)
        self.episodes = read_episodes(self.info)
        self._columns = _ColumnCache(cache_bytes)
        self._videos = VideoPool()

    @property
    def cached_bytes(self) -> int:
        """What the columns in memory take."""
        return self._columns.bytes

    @property
    def cameras(self) -> tuple[str, ...]:
        """Keys of the cameras."""
        return tuple(key for key, feature in self.info.features.items() if feature.is_camera)

    def feature(self, key: str) -> Feature:
        """Return a feature's description.

        Raises:
            DataError: naming the keys that there are, if there is no such feature.
        """
        if key not in self.info.features:
            raise DataError(
                f"{self.root} has no feature {key}.", remedy=f"Choose one of {', '.join(self.info.features)}."
            )
        return self.info.features[key]

    def numbers(self, episode: int, key: str) -> NDArray[Any]:
        """Return a numeric feature of an episode: (frames, numbers), or (frames,) where the shape is [1].

        Raises:
            DataError: naming file and episode, if rows are missing or have another width than info.json says.
        """
        feature = self.feature(key)
        if feature.is_camera or feature.dtype == "string":
            raise DataError(f"{self.root}: feature {key} is no vector of numbers.", remedy="Choose another feature.")
        where = self.episodes[episode]
        values = np.asarray(self._rows(where, key, 0, where.length))
        width = math.prod(feature.shape)
        if width != (1 if values.ndim == 1 else values.shape[1]):
            raise DataError(
                f"{where.path}, episode {episode}: {key} has {1 if values.ndim == 1 else values.shape[1]} numbers in "
                f"a frame, but info.json says {width}.",
                remedy="Correct the feature's shape in meta/info.json, or record the episode again.",
            )
        return values[:, 0] if values.ndim == 2 and feature.shape == (1,) else values

    def pictures(self, episode: int, key: str, frames: Sequence[int]) -> list[Picture]:
        """Decode a camera's frames, in any order and repeated as asked: each (H, W, 3) uint8 RGB.

        Raises:
            DataError: naming file, episode and frame, if one is missing or cannot be decoded.
        """
        feature = self.feature(key)
        where = self.episodes[episode]
        outside = [frame for frame in frames if not 0 <= frame < where.length]
        if outside:
            raise DataError(
                f"Episode {episode} has no frame {outside[0]}: it has {where.length}.", remedy="Choose another frame."
            )
        try:
            if feature.dtype == "video":
                times = self.numbers(episode, "timestamp")
                clip = where.clips[key]
                wanted = [clip.start_s + float(times[frame]) for frame in frames]
                return self._videos.frames(clip.path, wanted, 0.5 / self.info.fps)
            if feature.dtype == "image":
                decoded = {frame: self._image(where, key, frame) for frame in sorted(set(frames))}
                return [decoded[frame] for frame in frames]
        except DataError as error:
            raise DataError(f"Episode {episode}, camera {key}: {error.problem}", remedy=error.remedy) from error
        raise DataError(f"{self.root}: feature {key} is no camera.", remedy=f"Choose one of {list(self.cameras)}.")

    def instruction(self, episode: int, frame: int) -> str:
        """Return the task of a frame in words; empty if the dataset does not say.

        Raises:
            DataError: naming file and episode, if the episode's rows are missing.
        """
        if "task_index" not in self.info.features:
            tasks = self.episodes[episode].tasks
            return tasks[0] if tasks else ""
        return self.tasks.get(int(self.numbers(episode, "task_index")[frame]), "")

    def _rows(self, where: Episode, key: str, first: int, count: int) -> _Column:
        try:
            return self._columns.rows(where.path, key, where.first_row + first, count)
        except F1Error as error:
            raise DataError(f"{error.problem} (episode {where.index})", remedy=error.remedy) from error

    def _image(self, where: Episode, key: str, frame: int) -> Picture:
        cell = self._rows(where, key, frame, 1)[0].as_py()
        data = cell.get("bytes") if isinstance(cell, dict) else None
        if data is None:
            named = cell.get("path") if isinstance(cell, dict) else None
            path = self.root / named if named else None
            if path is None or not path.is_file():
                raise DataError(
                    f"{where.path}, frame {frame} has no picture, nor a file {named}.",
                    remedy="Copy or download the dataset again, with its images.",
                )
            data = path.read_bytes()
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise DataError(
                f"{where.path}, frame {frame}: the picture is damaged.", remedy="Copy or download the file again."
            )
        rgb: Picture = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        return rgb


class _ColumnCache:
    """Columns of row groups, the most recently used ones up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Path, int, str], tuple[_Column, int]] = OrderedDict()
        self._ends: OrderedDict[Path, NDArray[np.int64]] = OrderedDict()
        self.bytes = 0

    def rows(self, path: Path, key: str, first: int, count: int) -> _Column:
        ends = self._row_group_ends(path)
        if first + count > (ends[-1] if len(ends) else 0):
            raise DataError(
                f"{path} ends before row {first + count}.", remedy="Copy or download the file again; it is not whole."
            )
        parts = []
        group = int(np.searchsorted(ends, first, side="right"))
        begin = int(ends[group - 1]) if group else 0
        while count:
            column = self._column(path, group, key)
            take = min(count, int(ends[group]) - first)
            parts.append(column[first - begin : first - begin + take])
            first, count, begin, group = first + take, count - take, int(ends[group]), group + 1
        if len(parts) == 1:
            return parts[0]
        if isinstance(parts[0], np.ndarray):
            return np.concatenate(parts)
        return pyarrow.chunked_array([chunk for part in parts for chunk in part.chunks])

    def _row_group_ends(self, path: Path) -> NDArray[np.int64]:
        with self._lock:
            ends = self._ends.get(path)
        if ends is None:
            meta = _open(path).metadata
            ends = np.cumsum([meta.row_group(i).num_rows for i in range(meta.num_row_groups)]).astype(np.int64)
            with self._lock:
                self._ends[path] = ends
                if len(self._ends) > 10_000:
                    self._ends.popitem(last=False)
        return ends

    def _column(self, path: Path, group: int, key: str) -> _Column:
        place = (path, group, key)
        with self._lock:
            if place in self._kept:
                self._kept.move_to_end(place)
                return self._kept[place][0]
        column, size = _read(path, group, key), 0
        if isinstance(column, np.ndarray) and column.nbytes >= LARGE_COLUMN:
            column = _on_disk(column)
        else:
            size = column.nbytes
        with self._lock:
            if place not in self._kept:
                self._kept[place] = (column, size)
                self.bytes += size
                while self.bytes > self._limit and len(self._kept) > 1:
                    oldest = next(place for place, (_, held) in self._kept.items() if held)
                    self.bytes -= self._kept.pop(oldest)[1]
        return column


def _on_disk(column: NDArray[Any]) -> NDArray[Any]:
    """The same numbers, mapped from a temporary file that goes with the mapping."""
    try:
        with tempfile.TemporaryFile() as file:
            column.tofile(file)
            file.flush()
            return np.memmap(file, column.dtype, mode="r", shape=column.shape)
    except OSError as error:
        raise DataError(
            f"{tempfile.gettempdir()}: {column.nbytes >> 20} MB of a dataset cannot be laid out there ({error}).",
            remedy="Make room, or set TMPDIR to a folder that has it.",
        ) from error


def _open(path: Path) -> pyarrow.parquet.ParquetFile:
    if not path.is_file():
        raise DataError(f"{path} is missing.", remedy="Copy or download the dataset again, whole.")
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} is damaged ({error}).", remedy="Copy or download the file again.") from error


def _read(path: Path, group: int, key: str) -> _Column:
    """One column of one row group: an array of numbers where it holds numbers, else as it is."""
    file = _open(path)
    if key not in file.schema_arrow.names:
        raise DataError(
            f"{path} has no column {key}.", remedy="Remove the feature from meta/info.json, or restore the file."
        )
    try:
        column = file.read_row_group(group, columns=[key], use_threads=False)[key]
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} is damaged ({error}).", remedy="Copy or download the file again.") from error
    kind = column.type
    if pyarrow.types.is_struct(kind) or pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return column
    values, rows = column.combine_chunks(), len(column)
    if isinstance(values, pyarrow.ChunkedArray):  # no chunk at all
        return np.zeros(0)
    while pyarrow.types.is_nested(values.type):
        values = values.flatten()
    flat = values.to_numpy(zero_copy_only=False)
    if rows and len(flat) % rows:
        raise DataError(
            f"{path}: {key} has rows of different lengths.", remedy="Record the episode again, or mend the file."
        )
    return flat.reshape(rows, -1) if pyarrow.types.is_nested(kind) else flat
