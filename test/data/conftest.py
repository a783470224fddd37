"""Small LeRobot datasets, written by code that shares nothing with f1_ros: plain pyarrow, PyAV and json.

The layouts follow LeRobot's public description of dataset versions 2.1 (a file per episode) and 3.0 (episodes joined
in files).
"""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from live_rig import Rig

FPS = 10
NAMES = ["j1", "j2", "j3", "gripper"]
CAMERAS = ("observation.images.front", "observation.images.wrist")
HEIGHT, WIDTH = 48, 64


@dataclass
class Recorded:
    """An episode to write; tests change what they want to break."""

    state: np.ndarray
    action: np.ndarray
    timestamp: np.ndarray
    task: str
    pictures: dict[str, list[np.ndarray]]
    extra: dict[str, Any] = field(default_factory=dict)


def grey(episode: int, frame: int) -> int:
    """Grey level of the left half of the front camera's picture."""
    return 10 + (episode * 40 + frame * 4) % 220


def picture(episode: int, frame: int, camera: str) -> np.ndarray:
    """A picture whose left half says the frame; the right half is red (front) or green (wrist)."""
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[:, : WIDTH // 2] = grey(episode, frame)
    rgb[:, WIDTH // 2 :, 0 if camera.endswith("front") else 1] = 200
    return rgb


def episode(number: int, length: int, task: str = "pick the cube") -> Recorded:
    """A smooth movement: the state follows the action by one frame; the gripper closes half-way."""
    t = np.arange(length + 1) / FPS
    joints = np.stack([np.sin(t * (1 + 0.2 * j) + number) * (0.5 + 0.1 * j) for j in range(3)], 1)
    gripper = np.clip(0.08 - 0.02 * (np.arange(length + 1) - length // 2), 0.0, 0.08)[:, None]
    path = np.concatenate([joints, gripper], 1).astype(np.float32)
    return Recorded(
        state=path[:-1].copy(),
        action=path[1:].copy(),
        timestamp=(np.arange(length) / FPS).astype(np.float32),
        task=task,
        pictures={c: [picture(number, f, c) for f in range(length)] for c in CAMERAS},
    )


def video(path: Path, pictures: list[np.ndarray], rate: int = FPS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv444p", {"g": "2", "crf": "10"}
        for rgb in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        out.mux(stream.encode())


def png(rgb: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


def table(number: int, recorded: Recorded, first: int, task_index: int, kind: str) -> pa.Table:
    n = len(recorded.state)
    columns = {
        "observation.state": pa.array(recorded.state.tolist(), pa.list_(pa.float32(), 4)),
        "action": pa.array(recorded.action.tolist(), pa.list_(pa.float32(), 4)),
        "timestamp": pa.array(recorded.timestamp, pa.float32()),
        "frame_index": pa.array(range(n), pa.int64()),
        "episode_index": pa.array([number] * n, pa.int64()),
        "index": pa.array(range(first, first + n), pa.int64()),
        "task_index": pa.array([task_index] * n, pa.int64()),
    }
    if kind == "image":
        cell = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        for camera in CAMERAS:
            cells = [{"bytes": png(p), "path": None} for p in recorded.pictures[camera]]
            columns[camera] = pa.array(cells, cell)
    return pa.table(columns)


def features(kind: str) -> dict[str, Any]:
    vector = {"dtype": "float32", "shape": [4], "names": NAMES}
    camera = {"dtype": kind, "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"]}
    one = {"shape": [1], "names": None}
    return {
        "observation.state": vector,
        "action": dict(vector),
        **{c: dict(camera) for c in CAMERAS},
        "timestamp": {"dtype": "float32", **one},
        **{k: {"dtype": "int64", **one} for k in ("frame_index", "episode_index", "index", "task_index")},
    }


def info(version: str, episodes: list[Recorded], kind: str, **paths: Any) -> dict[str, Any]:
    return {
        "codebase_version": version,
        "robot_type": "test_arm",
        "total_episodes": len(episodes),
        "total_frames": sum(len(e.state) for e in episodes),
        "total_tasks": len({e.task for e in episodes}),
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{len(episodes)}"},
        **paths,
        "features": features(kind),
    }


def statistics(episodes: list[Recorded]) -> dict[str, Any]:
    found = {}
    for key, rows in (("observation.state", "state"), ("action", "action")):
        values = np.concatenate([getattr(e, rows) for e in episodes]).astype(np.float64)
        found[key] = {
            name: np.atleast_1d(getattr(np, f"nan{name}")(values, axis=0)).tolist()
            for name in ("mean", "std", "min", "max")
        } | {"count": [len(values)]}
    return found


def write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def write_21(root: Path, episodes: list[Recorded], kind: str) -> Path:
    tasks = sorted({e.task for e in episodes})
    first = 0
    for i, recorded in enumerate(episodes):
        path = root / f"data/chunk-000/episode_{i:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(i, recorded, first, tasks.index(recorded.task), kind), path)
        first += len(recorded.state)
        if kind == "video":
            for camera in CAMERAS:
                video(root / f"videos/chunk-000/{camera}/episode_{i:06d}.mp4", recorded.pictures[camera])
    write_json(
        root / "meta/info.json",
        info(
            "v2.1",
            episodes,
            kind,
            total_chunks=1,
            total_videos=len(episodes) * 2 if kind == "video" else 0,
            data_path="data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            video_path="videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
            if kind == "video"
            else None,
        ),
    )
    lines = {
        "tasks": [{"task_index": i, "task": t} for i, t in enumerate(tasks)],
        "episodes": [{"episode_index": i, "tasks": [e.task], "length": len(e.state)} for i, e in enumerate(episodes)],
        "episodes_stats": [{"episode_index": i, "stats": statistics([e])} for i, e in enumerate(episodes)],
    }
    for name, entries in lines.items():
        (root / f"meta/{name}.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
    return root


def write_30(root: Path, episodes: list[Recorded], kind: str) -> Path:
    """Two episodes to a data file, all of them to a video file."""
    tasks = sorted({e.task for e in episodes})
    first, start = 0, 0.0
    rows: dict[str, list[Any]] = {}
    files: dict[int, list[pa.Table]] = {}
    for i, recorded in enumerate(episodes):
        n = len(recorded.state)
        files.setdefault(i // 2, []).append(table(i, recorded, first, tasks.index(recorded.task), kind))
        row = {
            "episode_index": i, "tasks": [recorded.task], "length": n, "data/chunk_index": 0,
            "data/file_index": i // 2, "dataset_from_index": first, "dataset_to_index": first + n,
            "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0,
        }  # fmt: skip
        if kind == "video":
            for camera in CAMERAS:
                place = {"chunk_index": 0, "file_index": 0, "from_timestamp": start, "to_timestamp": start + n / FPS}
                row |= {f"videos/{camera}/{key}": value for key, value in place.items()}
        for key, value in row.items():
            rows.setdefault(key, []).append(value)
        first, start = first + n, start + n / FPS
    for number, tables in files.items():
        path = root / f"data/chunk-000/file-{number:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        # One row group for all of the file, as a conversion from 2.1 leaves it.
        pq.write_table(pa.concat_tables(tables).combine_chunks(), path)
    if kind == "video":
        for camera in CAMERAS:
            joined = [p for e in episodes for p in e.pictures[camera]]
            video(root / f"videos/{camera}/chunk-000/file-000.mp4", joined)
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.table(rows), root / "meta/episodes/chunk-000/file-000.parquet")
    pq.write_table(
        pa.table({"task_index": list(range(len(tasks))), "__index_level_0__": tasks}), root / "meta/tasks.parquet"
    )
    write_json(
        root / "meta/info.json",
        info(
            "v3.0",
            episodes,
            kind,
            data_files_size_in_mb=100,
            video_files_size_in_mb=200,
            data_path="data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            video_path="videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
            if kind == "video"
            else None,
        ),
    )
    write_json(root / "meta/stats.json", statistics(episodes))
    return root


WRITERS = {"v2.1": write_21, "v3.0": write_30}
Writer = Callable[..., Path]


@pytest.fixture
def write_dataset(tmp_path: Path) -> Writer:
    """Write episodes (default: three of 12, 20 and 15 frames) as a dataset; returns its folder."""

    def write(
        episodes: list[Recorded] | None = None, version: str = "v3.0", kind: str = "image", name: str = "set"
    ) -> Path:
        made = [episode(0, 12), episode(1, 20), episode(2, 15, "stack")] if episodes is None else episodes
        return WRITERS[version](tmp_path / name, made, kind)

    return write


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A live recorder with a dataset of its own."""
    return Rig(tmp_path / "set")
