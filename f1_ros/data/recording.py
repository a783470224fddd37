"""What a recording holds, and the files of one episode of it while they are written."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from f1_ros.data.files import move_into_place
from f1_ros.errors import ConfigError, DataError

Picture = NDArray[np.uint8]
CAMERA_PREFIX = "observation.images."
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_FLUSH_FRAMES = 64
_QUALITY = {"crf": "18", "g": "2", "bf": "0", "preset": "medium"}  # a key frame every second frame: quick to seek


@dataclass(frozen=True)
class Description:
    """What a dataset records.

    Attributes:
        fps: frames per second.
        robot: name of the robot's profile.
        state_names: order of the state.
        action_names: order of the action.
        cameras: (height, width) of each camera's pictures, px, by camera name.
        pictures: "video" is small and loses a little; "image" keeps every pixel (PNG).
        columns: further numbers and words of each frame, one of each: its type by name.
    """

    fps: int
    robot: str
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    cameras: dict[str, tuple[int, int]]
    pictures: Literal["video", "image"] = "video"
    columns: dict[str, Literal["int64", "string"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.fps < 1 or not self.state_names or not self.action_names:
            raise ConfigError(
                f"A dataset at {self.fps} fps with {len(self.state_names)} state and {len(self.action_names)} action "
                "names cannot be recorded.",
                remedy="Give fps from 1, and names for state and action.",
            )
        for name, size in self.cameras.items():
            if "/" in name or min(size) < 1 or (self.pictures == "video" and (size[0] % 2 or size[1] % 2)):
                raise ConfigError(
                    f"Camera {name} of {size[1]}x{size[0]} px cannot be recorded as {self.pictures}.",
                    remedy="Videos need even sides, and names must have no '/'; or record images.",
                )

    def features(self) -> dict[str, Any]:
        """The features of info.json."""
        video = {"video.codec": "h264", "video.pix_fmt": "yuv420p", "video.is_depth_map": False,
                 "video.fps": self.fps, "video.channels": 3, "has_audio": False}  # fmt: skip
        found: dict[str, Any] = {
            "observation.state": _vector(self.state_names),
            "action": _vector(self.action_names),
        }
        for name, (height, width) in self.cameras.items():
            camera: dict[str, Any] = {
                "dtype": self.pictures,
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
            }
            if self.pictures == "video":
                camera["info"] = {"video.height": height, "video.width": width, **video}
            found[CAMERA_PREFIX + name] = camera
        for name, dtype in self.columns.items():
            found[name] = {"dtype": dtype, "shape": [1], "names": None}
        found["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
        for key in ("frame_index", "episode_index", "index", "task_index"):
            found[key] = {"dtype": "int64", "shape": [1], "names": None}
        return found


class OpenEpisode:
    """The episode being written.

    Args:
        folder: where its files lie until it is finished.
        about: what is recorded.
        index: its number.
        first: frames of the dataset before it.
    """

    def __init__(self, folder: Path, about: Description, index: int, first: int) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._about = about
        self._index = index
        self._first = first
        self._tasks: dict[str, None] = {}
        self._rows: list[dict[str, Any]] = []
        self._schema = _schema(about)
        self._data = pyarrow.parquet.ParquetWriter(folder / "data.parquet", self._schema)
        videos = about.cameras if about.pictures == "video" else {}
        self._videos = {name: _VideoFile(folder / f"{name}.mp4", about.fps, *size) for name, size in videos.items()}
        self.frames = 0

    def add(
        self,
        state: NDArray[np.floating[Any]],
        action: NDArray[np.floating[Any]],
        pictures: Mapping[str, Picture],
        task: str,
        task_index: int,
        columns: Mapping[str, int | str],
    ) -> None:
        """Add a frame, which fits the description."""
        row: dict[str, Any] = {
            "observation.state": state.astype(np.float32),
            "action": action.astype(np.float32),
            "timestamp": self.frames / self._about.fps,
            "frame_index": self.frames,
            "episode_index": self._index,
            "index": self._first + self.frames,
            "task_index": task_index,
            **columns,
        }
        for name, rgb in pictures.items():
            if name in self._videos:
                self._videos[name].add(rgb)
            else:
                row[CAMERA_PREFIX + name] = {"bytes": _png(rgb), "path": None}
        self._rows.append(row)
        self._tasks[task] = None
        self.frames += 1
        if len(self._rows) == _FLUSH_FRAMES:
            self._flush()

    def finish(self, root: Path, place: dict[str, int]) -> dict[str, Any]:
        """Move the files into place; returns the row of meta/episodes."""
        self._flush()
        self._data.close()
        row: dict[str, Any] = {
            "episode_index": self._index,
            "tasks": list(self._tasks),
            "length": self.frames,
            "dataset_from_index": self._first,
            "dataset_to_index": self._first + self.frames,
        }
        row |= {f"{where}/{key}": value for where in ("data", "meta/episodes") for key, value in place.items()}
        for name, video in self._videos.items():
            key = CAMERA_PREFIX + name
            video.close()
            move_into_place(video.path, root / VIDEO_PATH.format(video_key=key, **place))
            span = {**place, "from_timestamp": 0.0, "to_timestamp": self.frames / self._about.fps}
            row |= {f"videos/{key}/{what}": value for what, value in span.items()}
        move_into_place(self._folder / "data.parquet", root / DATA_PATH.format(**place))
        return row

    def abandon(self) -> None:
        """Close the files. They are no use: it does not matter if the disk is too full to end them well."""
        for file in (self._data, *self._videos.values()):
            with contextlib.suppress(OSError, av.FFmpegError):
                file.close()

    def _flush(self) -> None:
        if self._rows:
            self._data.write_table(pyarrow.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


class _VideoFile:
    """An H.264 file. One thread: the same pictures give the same bytes on every machine."""

    def __init__(self, path: Path, fps: int, height: int, width: int) -> None:
        self.path = path
        self._container: Any = av.open(str(path), "w")
        self._stream: Any = self._container.add_stream("libx264", rate=fps, options=_QUALITY)
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        self._stream.codec_context.thread_count = 1

    def add(self, rgb: Picture) -> None:
        """Encode a picture."""
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))

    def close(self) -> None:
        """Write out what the encoder holds back, and the index."""
        self._container.mux(self._stream.encode())
        self._container.close()


def _vector(names: tuple[str, ...]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [len(names)], "names": list(names)}


def _schema(about: Description) -> pyarrow.Schema:
    kinds: dict[str, Any] = {
        "observation.state": pyarrow.list_(pyarrow.float32(), len(about.state_names)),
        "action": pyarrow.list_(pyarrow.float32(), len(about.action_names)),
    }
    if about.pictures == "image":
        cell = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        kinds |= {CAMERA_PREFIX + name: cell for name in about.cameras}
    kinds |= {name: pyarrow.string() if dtype == "string" else pyarrow.int64() for name, dtype in about.columns.items()}
    kinds["timestamp"] = pyarrow.float32()
    kinds |= dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), pyarrow.int64())
    return pyarrow.schema(list(kinds.items()))


def _png(rgb: Picture) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR))
    if not done:
        raise DataError(f"A picture of shape {rgb.shape} cannot be encoded as PNG.", remedy="Record it as video.")
    return bytes(data)
