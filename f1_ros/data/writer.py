"""Writing LeRobot v3.0 datasets that survive a crash.

    with DatasetWriter(Path("demos"), description) as writer:
        for ...:
            writer.add_frame(state, action, {"front": rgb}, "pick the cube")
        writer.save_episode()

Each episode has files of its own, which version 3.0 allows: they are written under `.partial/`, moved into place when
the episode is whole, and counted in meta/info.json last. So whenever the process dies, readers find every finished
episode and nothing of the others, and a writer opened on the same folder goes on behind them. Nothing in the files
depends on when or where they were written: the same frames give the same bytes.
"""

from __future__ import annotations

import fcntl
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from f1_ros.data.files import replace_file
from f1_ros.data.layout import read_info, read_tasks
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.data.recording import DATA_PATH, VIDEO_PATH, Description, OpenEpisode, Picture
from f1_ros.data.stats import write_dataset_statistics
from f1_ros.errors import ConfigError, DataError

FILES_PER_CHUNK = 1000
_EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"


class DatasetWriter:
    """Writes episodes into a folder. One writer at a time, one thread.

    Args:
        root: a new folder, or one with a dataset of the same description, to which episodes are added.
        description: what is recorded.

    Raises:
        ConfigError: if the folder holds something else, or another writer is at it.
        DataError: if the dataset in the folder is damaged.
    """

    def __init__(self, root: Path, description: Description) -> None:
        self.root = root
        self.description = description
        refuse_folder(root)
        root.mkdir(parents=True, exist_ok=True)
        self._lock = (root / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise ConfigError(
                f"Another process is recording into {root}.", remedy="Wait for it, or choose another folder."
            ) from None
        self._episode: OpenEpisode | None = None
        self._tasks: dict[str, int] = {}
        self._counted_in_statistics = 0
        try:
            self._info = self._open()
        except BaseException:
            self._lock.close()
            raise

    @property
    def episodes(self) -> int:
        """Finished episodes."""
        return int(self._info["total_episodes"])

    @property
    def total_frames(self) -> int:
        """Frames of all finished episodes."""
        return int(self._info["total_frames"])

    @property
    def frames(self) -> int:
        """Frames of the episode being written."""
        return self._episode.frames if self._episode is not None else 0

    def add_frame(
        self,
        state: NDArray[np.floating[Any]],
        action: NDArray[np.floating[Any]],
        pictures: Mapping[str, Picture],
        task: str,
        columns: Mapping[str, int | str] | None = None,
    ) -> None:
        """Add a frame to the episode; its time follows from its number and the fps.

        Args:
            state: in the order of `state_names`.
            action: in the order of `action_names`.
            pictures: (H, W, 3) uint8 RGB by camera name.
            task: what the robot is doing, in words.
            columns: the description's further numbers and words.

        Raises:
            DataError: if something does not fit the description, is not finite, the task is empty, or the frame cannot
                be written.
        """
        about = self.description
        for what, values, names in (("state", state, about.state_names), ("action", action, about.action_names)):
            if values.shape != (len(names),) or not np.isfinite(values).all():
                raise DataError(
                    f"Frame {self.frames} of episode {self.episodes}: {what} {values!r} is not {len(names)} finite "
                    "numbers.",
                    remedy="Record what the description says.",
                )
        sizes = {name: tuple(rgb.shape) for name, rgb in pictures.items()}
        expected = {name: (*size, 3) for name, size in about.cameras.items()}
        if sizes != expected or any(rgb.dtype != np.uint8 for rgb in pictures.values()):
            raise DataError(
                f"Frame {self.frames} of episode {self.episodes}: pictures are {sizes}, expected uint8 {expected}.",
                remedy="Record what the description says.",
            )
        further = dict(columns or {})
        if {name: "string" if isinstance(v, str) else "int64" for name, v in further.items()} != about.columns:
            raise DataError(
                f"Frame {self.frames} of episode {self.episodes}: columns are {further}, expected {about.columns}.",
                remedy="Record what the description says.",
            )
        if not task.strip():
            raise DataError(
                f"Frame {self.frames} of episode {self.episodes} has no task.", remedy="Say what the robot is doing."
            )
        if task not in self._tasks:
            self._tasks[task] = len(self._tasks)
        with _writing(self.root):
            if self._episode is None:
                self._episode = OpenEpisode(self.root / ".partial", about, self.episodes, self.total_frames)
            self._episode.add(state, action, pictures, task, self._tasks[task], further)

    def save_episode(self) -> None:
        """Finish the episode: from now on it is in the dataset, whatever happens.

        Raises:
            DataError: if it has no frame, or cannot be written; the episodes before it are kept.
        """
        if self._episode is None:
            raise DataError(f"Episode {self.episodes} has no frame.", remedy="Add frames before saving it.")
        episode, self._episode = self._episode, None
        index = self.episodes
        place = {"chunk_index": index // FILES_PER_CHUNK, "file_index": index % FILES_PER_CHUNK}
        with _writing(self.root):
            row = episode.finish(self.root, place)
            _write_tasks(self.root / "meta" / "tasks.parquet", self._tasks)
            replace_file(
                self.root / _EPISODES.format(**place), _parquet(pyarrow.table({k: [v] for k, v in row.items()}))
            )
            _write_info(self.root, info := self._counted(episode.frames))
            self._info = info
            shutil.rmtree(self.root / ".partial")

    def discard_episode(self) -> None:
        """Throw the unfinished episode away."""
        if self._episode is not None:
            self._episode.abandon()
            self._episode = None
        shutil.rmtree(self.root / ".partial", ignore_errors=True)

    def write_statistics(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Write the statistics of the finished episodes, unless that has been done.

        Args:
            stop: asked now and then: whether to leave off; nothing is written then.

        Returns:
            Whether they are written.

        Raises:
            DataError: if they cannot be written; the episodes are kept.
        """
        if self.episodes > self._counted_in_statistics:
            with _writing(self.root):
                if write_dataset_statistics(LeRobotDataset(self.root), stop) is not None:
                    self._counted_in_statistics = self.episodes
        return self._counted_in_statistics == self.episodes

    def close(self) -> None:
        """Throw an unfinished episode away, write the dataset's statistics, and let the folder go.

        Raises:
            DataError: if the statistics cannot be written; the episodes are kept.
        """
        if self._lock.closed:
            return
        self.discard_episode()
        try:
            self.write_statistics()
        finally:
            (self.root / ".lock").unlink(missing_ok=True)
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _counted(self, frames: int) -> dict[str, Any]:
        """What info.json says with one more episode."""
        index = self.episodes
        return self._info | {
            "total_episodes": index + 1,
            "total_frames": self.total_frames + frames,
            "total_tasks": len(self._tasks),
            "splits": {"train": f"0:{index + 1}"},
        }

    def _open(self) -> dict[str, Any]:
        """Read or make the description; returns what info.json holds."""
        shutil.rmtree(self.root / ".partial", ignore_errors=True)
        path = self.root / "meta" / "info.json"
        about = self.description
        if path.is_file():
            info = read_info(self.root)
            old: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            same = {"fps": about.fps, "robot_type": about.robot, "features": about.features()}
            different = [key for key, value in same.items() if old[key] != value]
            if different:
                raise ConfigError(
                    f"{self.root} holds a dataset with another {different[0]}.", remedy="Choose another folder."
                )
            self._tasks = {task: index for index, task in sorted(read_tasks(info).items())}
            return old
        new = {
            "codebase_version": "v3.0",
            "robot_type": about.robot,
            "total_episodes": 0,
            "total_frames": 0,
            "total_tasks": 0,
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": about.fps,
            "splits": {},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if about.pictures == "video" else None,
            "features": about.features(),
        }
        _write_tasks(self.root / "meta" / "tasks.parquet", self._tasks)
        _write_info(self.root, new)
        return new


def refuse_folder(root: Path) -> None:
    """Refuse a folder that a dataset cannot be written into, before anything is.

    Raises:
        ConfigError: if it holds something else than a dataset.
    """
    if root.exists() and (not root.is_dir() or (any(root.iterdir()) and not _is_ours(root))):
        raise ConfigError(f"{root} holds something else.", remedy="Give a new folder.")


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        raise DataError(
            f"{root} cannot be written ({error}).",
            remedy="Make room on the disk, then repeat the command: finished episodes are kept.",
        ) from error


def _write_info(root: Path, info: dict[str, Any]) -> None:
    replace_file(root / "meta" / "info.json", (json.dumps(info, indent=4) + "\n").encode())


def _is_ours(root: Path) -> bool:
    """Whether there is a dataset, or what a writer leaves that died before it had written its description."""
    return (root / "meta" / "info.json").is_file() or {p.name for p in root.iterdir()} <= {".lock", "meta"}


def _parquet(table: pyarrow.Table) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


def _write_tasks(path: Path, tasks: Mapping[str, int]) -> None:
    """Write the tasks as LeRobot's loader wants them: a pandas table whose index is the task."""
    table = pyarrow.table(
        {"task_index": pyarrow.array(tasks.values(), pyarrow.int64()), "task": pyarrow.array(tasks, pyarrow.string())}
    )
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64",
             "metadata": None},
            {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
        ],
    }  # fmt: skip
    replace_file(path, _parquet(table.replace_schema_metadata({"pandas": json.dumps(pandas)})))
