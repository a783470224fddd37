"""Pictures out of video files, by time: PyAV, or torchcodec where that is installed.

The files used last are kept open, for whichever thread needs one next. Of a file only those groups of pictures are
decoded that hold a frame which is asked for.
"""

from __future__ import annotations

import functools
import importlib
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from f1_ros.errors import DataError

Picture = NDArray[np.uint8]
OPEN_FILES = 32
"""Files that are kept open while no thread uses them; each one's decoder holds some pictures."""


class Video(Protocol):
    """An open video file."""

    def frames(self, times_s: Sequence[float], tolerance_s: float) -> list[Picture]:
        """Return the frames shown at ascending times, each (H, W, 3) uint8 RGB.

        Raises:
            DataError: naming file and time, if no frame is within the tolerance of a time, or the file is damaged.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_video(path: Path) -> Video:
    """Open a file with torchcodec if it is installed, else with PyAV.

    Raises:
        DataError: naming the file, if it is missing or no video.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing.", remedy="Copy or download the dataset again, whole.")
    decoders = _torchcodec()
    return AvVideo(path) if decoders is None else TorchcodecVideo(path, decoders)


@functools.cache
def _torchcodec() -> Any:
    """The module torchcodec.decoders; None where it is not installed, or not for this torch and FFmpeg."""
    try:
        return importlib.import_module("torchcodec.decoders")
    except (ImportError, OSError, RuntimeError) as error:
        if not isinstance(error, ModuleNotFoundError):
            warnings.warn(f"torchcodec is installed but does not load ({error}); PyAV decodes.", stacklevel=2)
        return None


class AvVideo:
    """A file decoded by PyAV."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._container: Any = av.open(str(path))
            self._stream: Any = self._container.streams.video[0]
        except (av.FFmpegError, IndexError) as error:
            raise _damaged(path, error) from error
        # The loader has threads of its own, and frame threads would decode beyond what is asked for.
        self._stream.codec_context.thread_count = 1
        self._index: Any = self._stream.index_entries  # empty where the file has none
        self._base = float(self._stream.time_base)
        self._start = self._stream.start_time or 0
        self._to_rgb = VideoReformatter()  # one for all frames: making one costs more than a small frame

    def frames(self, times_s: Sequence[float], tolerance_s: float) -> list[Picture]:
        """As the protocol says."""
        found: list[Picture] = []
        try:
            while len(found) < len(times_s):
                found += self._run(times_s[len(found) :], tolerance_s)
        except av.FFmpegError as error:
            raise _damaged(self._path, error) from error
        return found

    def _run(self, times_s: Sequence[float], tolerance_s: float) -> list[Picture]:
        """The frames from the first time on, until it is quicker to seek the next one, or all of them."""
        found: list[Picture] = []
        self._container.seek(self._ticks(times_s[0]), stream=self._stream, backward=True)
        before: tuple[float, Any] | None = None
        for frame in self._container.decode(self._stream):
            here = (float((frame.pts - self._start) * self._base), frame)
            while len(found) < len(times_s) and here[0] >= times_s[len(found)] - 1e-6:
                time = times_s[len(found)]
                near = before if before is not None and time - before[0] < here[0] - time else here
                found.append(self._picture(near, time, tolerance_s))
            if len(found) == len(times_s) or (found and self._far(frame.pts, times_s[len(found)])):
                return found
            before = here
        while len(found) < len(times_s):  # the file ended: its last frame may still be near enough
            found.append(self._picture(before, times_s[len(found)], tolerance_s))
        return found

    def _far(self, pts: int, time_s: float) -> bool:
        """Whether a key frame lies between a frame and a time, with at least one frame before it to leave out."""
        key: int = self._index.search_timestamp(self._ticks(time_s), backward=True)
        here: int = self._index.search_timestamp(pts, backward=True, any_frame=True)
        return key - here > 1

    def _ticks(self, time_s: float) -> int:
        """A time in the file's own units: the nearest, so that a time a hair before a key frame is that key frame's."""
        return self._start + round(time_s / self._base)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _picture(self, candidate: tuple[float, Any] | None, time_s: float, tolerance_s: float) -> Picture:
        if candidate is None:
            raise _no_frame(self._path, time_s, None)
        if abs(candidate[0] - time_s) > tolerance_s:
            raise _no_frame(self._path, time_s, candidate[0])
        frame: Any = self._to_rgb.reformat(candidate[1], format="rgb24")
        picture: Picture = frame.to_ndarray()
        return picture


class TorchcodecVideo:
    """A file decoded by torchcodec, whose module `decoders` is given."""

    def __init__(self, path: Path, decoders: Any) -> None:
        self._path = path
        try:
            self._decoder: Any = decoders.VideoDecoder(
                str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="approximate"
            )
        except (RuntimeError, ValueError) as error:
            raise _damaged(path, error) from error

    def frames(self, times_s: Sequence[float], tolerance_s: float) -> list[Picture]:
        """As the protocol says."""
        if not times_s:
            return []
        about = self._decoder.metadata
        indices = [round(time * about.average_fps) for time in times_s]
        over = [time for time, index in zip(times_s, indices, strict=True) if not 0 <= index < about.num_frames]
        if over:
            raise _no_frame(self._path, over[0], None)
        try:
            batch = self._decoder.get_frames_at(indices=indices)
        except (RuntimeError, IndexError) as error:
            raise _damaged(self._path, error) from error
        for time, shown in zip(times_s, batch.pts_seconds.tolist(), strict=True):
            if abs(shown - time) > tolerance_s:
                raise _no_frame(self._path, time, shown)
        return list(batch.data.numpy())

    def close(self) -> None:
        """Let the decoder go; torchcodec closes the file with it."""
        self._decoder = None


class VideoPool:
    """Open videos. A decoder serves one thread at a time; two threads that need one file at once have it open twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[Path, Video]] = []
        """Files that no thread uses, the one used last at the end."""

    def frames(self, path: Path, times_s: Sequence[float], tolerance_s: float) -> list[Picture]:
        """Return frames in the order of `times_s`, which may repeat and be in any order; see `Video.frames`."""
        ascending = sorted(set(times_s))
        video = self._take(path)
        try:
            pictures = dict(zip(ascending, video.frames(ascending, tolerance_s), strict=True))
        finally:
            self._give_back(path, video)
        return [pictures[time] for time in times_s]

    def _take(self, path: Path) -> Video:
        with self._lock:
            for i in reversed(range(len(self._idle))):
                if self._idle[i][0] == path:
                    return self._idle.pop(i)[1]
        return open_video(path)

    def _give_back(self, path: Path, video: Video) -> None:
        with self._lock:
            self._idle.append((path, video))
            unused = self._idle.pop(0)[1] if len(self._idle) > OPEN_FILES else None
        if unused is not None:
            unused.close()


def video_rate(path: Path) -> float:
    """Frames per second of a file.

    Raises:
        DataError: naming the file, if it is missing or no video.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing.", remedy="Copy or download the dataset again, whole.")
    try:
        with av.open(str(path)) as container:
            return float(container.streams.video[0].average_rate or 0.0)
    except (av.FFmpegError, IndexError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be decoded ({error}).", remedy="Copy or download the file again.")


def _no_frame(path: Path, time_s: float, nearest_s: float | None) -> DataError:
    found = "none is left" if nearest_s is None else f"the nearest is at {nearest_s:.4f} s"
    return DataError(
        f"{path} has no frame at {time_s:.4f} s: {found}.",
        remedy="Run `f1-ros data check` on the dataset; the video does not fit the table.",
    )
