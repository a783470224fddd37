"""LeRobot's own loader reads what we write (the package lerobot-dataset, in a process of its own)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from f1_ros.data.recording import Description
from f1_ros.data.writer import DatasetWriter

HERE = Path(__file__).parent
READ = """
import json, sys
from ledataset.datasets.lerobot_dataset import LeRobotDataset

front = "observation.images.front"
for root in sys.argv[1:]:
    dataset = LeRobotDataset("local/set", root=root, video_backend="pyav",
                             delta_timestamps={"action": [0.0, 0.1, 0.2], front: [-0.2, 0.0]})
    items = [dataset[i] for i in range(len(dataset))]
    print(json.dumps({
        "episodes": dataset.num_episodes, "fps": dataset.fps, "robot": dataset.meta.robot_type,
        "names": dataset.meta.names["observation.state"],
        "mean": dataset.meta.stats["action"]["mean"].tolist(),
        "red": dataset.meta.stats[front]["mean"].shape,
        "state": [i["observation.state"].tolist() for i in items],
        "action": [i["action"].tolist() for i in items],
        "pad": [i["action_is_pad"].tolist() for i in items],
        "time": [i["timestamp"].item() for i in items],
        "episode": [i["episode_index"].item() for i in items],
        "task": [i["task"] for i in items],
        "shape": list(items[0][front].shape),
        "grey": [[round(float(p[1, 8, 8]) * 255) for p in i[front]] for i in items],
    }))
"""
PICTURES = ("image", "video")


def write(root: Path, pictures: str) -> Path:
    with DatasetWriter(root, Description(10, "arm", ("a", "b"), ("a", "b"), {"front": (16, 24)}, pictures)) as writer:
        for episode, (length, task) in enumerate(((4, "pick"), (3, "stack"))):
            for i in range(length):
                grey = np.full((16, 24, 3), 100 * episode + 20 * i, np.uint8)
                writer.add_frame(np.array([i, episode]), np.array([i + 1, episode]), {"front": grey}, task)
            writer.save_episode()
    return root


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What LeRobot's loader says of a dataset with images, and of one with videos."""
    folder = tmp_path_factory.mktemp("public")
    roots = [str(write(folder / pictures, pictures)) for pictures in PICTURES]
    environment = {
        **os.environ, "PYTHONPATH": str(HERE / "stand_in"), "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    command = [sys.executable, "-c", READ, *roots]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return dict(zip(PICTURES, lines, strict=True))


@pytest.mark.parametrize("pictures", PICTURES)
def test_lerobots_loader_reads_what_we_write(pictures: str, read: dict[str, Any]) -> None:
    found = read[pictures]
    assert (found["episodes"], found["fps"], found["robot"], found["names"]) == (2, 10, "arm", ["a", "b"])
    assert found["mean"] == pytest.approx([16 / 7, 3 / 7])
    assert found["red"] == [3, 1, 1]
    assert found["state"] == [[0, 0], [1, 0], [2, 0], [3, 0], [0, 1], [1, 1], [2, 1]]
    assert found["action"][2] == [[3, 0], [4, 0], [4, 0]]
    assert found["pad"][2] == [False, False, True]
    assert found["time"] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.0, 0.1, 0.2])
    assert found["episode"] == [0, 0, 0, 0, 1, 1, 1]
    assert found["task"] == ["pick"] * 4 + ["stack"] * 3
    assert found["shape"] == [2, 3, 16, 24]
    expected = [[0, 0], [0, 20], [0, 40], [20, 60], [100, 100], [100, 120], [100, 140]]
    for seen, wanted in zip(found["grey"], expected, strict=True):
        assert seen == pytest.approx(wanted, abs=0 if pictures == "image" else 2)
