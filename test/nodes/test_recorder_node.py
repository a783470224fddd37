"""The recorder node as a process of its own: a tape played to it over DDS, the simulated robot, and its ends."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from f1_msgs.msg import ControlStatus
from f1_msgs.srv import Record

from f1_ros.data.check import Needs, check
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.nodes.conversions import to_time
from f1_ros.nodes.qos import COMMAND, DIAGNOSTICS

PLAYER = Path(__file__).with_name("tape_player.py")
REPO = Path(__file__).parents[2]
MS = 1_000_000
T0 = 500_000 * MS
SINCE = T0 + 1200 * MS


class Recording:
    """A recorder, and the tapes that are played to it."""

    def __init__(self, ros: Any, dataset: Path) -> None:
        self.ros, self.dataset = ros, dataset
        self.statuses = ros.collect(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        self.recorder = ros.start("recorder_node", dataset=str(dataset), pictures="image")
        self.client = ros.node.create_client(Record, "/f1/record")

    def load(self, folder: Path, **tape: Any) -> Path:
        """Play the first second of a tape; gives the folder by which to play the rest."""
        folder.mkdir()
        self.player = self.ros.start(PLAYER, folder=str(folder), **tape)
        self.ros.until(lambda: (folder / "waits").exists(), "the first second is played")
        return folder

    def play(self, folder: Path) -> None:
        (folder / "go").touch()
        self.ros.until(lambda: (folder / "done").exists(), "the tape is at its end")

    def ask(self, command: int, instruction: str = "", stamp_ns: int = 0) -> Any:
        request = Record.Request(command=command, instruction=instruction, stamp=to_time(stamp_ns))
        self.ros.until(self.client.service_is_ready, "the recorder serves")
        future = self.client.call_async(request)
        self.ros.until(future.done, "the recorder's answer")
        return future.result()

    def start(self, later_s: int = 0) -> str:
        answer = self.ask(Record.Request.START, "pick the cube", SINCE + later_s * 1000 * MS)
        assert answer.success, answer.message
        return str(answer.message)

    def keep(self) -> Any:
        answer = self.ask(Record.Request.KEEP)
        assert answer.success, answer.message
        return answer

    def said(self, level: int) -> list[str]:
        """What it says about its recording on /diagnostics."""
        parts = (status for array in self.statuses for status in array.status)
        return [s.message for s in parts if s.name == "recorder_node: recording" and s.level[0] == level]

    def end(self) -> None:
        assert self.ros.stop(self.recorder) == 0, self.ros.log(self.recorder)
        self.ros.stop(self.player)


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_the_same_messages_played_twice_give_the_same_dataset_byte_for_byte(ros: Any, tmp_path: Path) -> None:
    for name, tape in (("one", {"speed": 1.0, "delay": 0.3}), ("two", {"speed": 2.5, "delay": 0.1, "seed": 1})):
        recording = Recording(ros, tmp_path / name)
        folder = recording.load(tmp_path / f"tape_{name}", **tape)
        recording.start()
        recording.play(folder)
        answer = recording.keep()
        assert re.match(r"Episode 0 is kept: 4\d frames \(\d+ hold, \d+ teleop\)\.$", answer.message), answer.message
        assert answer.episodes == 1
        recording.end()
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert sorted(one) == [
        "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/info.json",
        "meta/stats.json", "meta/tasks.parquet",
    ]  # fmt: skip
    assert one == two
    dataset = LeRobotDataset(tmp_path / "one")
    stamps = dataset.numbers(0, "f1.stamp")
    ends, action = stamps + 50 * MS, dataset.numbers(0, "action")
    assert stamps[0] >= SINCE
    assert stamps[-1] > T0 + 3300 * MS
    assert np.diff(stamps).max() < 75 * MS
    np.testing.assert_allclose(action[:, 0], np.sin((ends - T0) / 1e9 + 0.1), atol=1e-4)
    assert (dataset.numbers(0, "f1.mode") == (ends >= T0 + 1700 * MS)).all()
    assert ((action[:, 7] == 0.0) == (ends >= T0 + 1930 * MS)).all()


def test_a_killed_recorder_leaves_whole_episodes_and_another_goes_on_behind_them(ros: Any, tmp_path: Path) -> None:
    recording = Recording(ros, tmp_path / "set")
    first = recording.load(tmp_path / "first", speed=3.0)
    recording.start()
    recording.play(first)
    kept = recording.keep()
    second = recording.load(tmp_path / "second", later=100)
    recording.start(later_s=100)
    (second / "go").touch()
    ros.until(lambda: (tmp_path / "set" / ".partial").exists(), "the second episode is being written")
    for process in (recording.recorder, recording.player):  # the player would wait for the recorder
        process.kill()
        ros.stop(process)
    dataset = LeRobotDataset(tmp_path / "set")
    assert dataset.episodes.lengths.tolist() == [kept.frames]
    assert len(dataset.pictures(0, "observation.images.wrist", range(kept.frames))) == kept.frames

    again = Recording(ros, tmp_path / "set")
    third = again.load(tmp_path / "third", later=200, speed=3.0)
    assert again.start(later_s=200) == "Episode 1 begins: pick the cube."
    again.play(third)
    assert again.keep().episodes == 2
    again.end()
    assert LeRobotDataset(tmp_path / "set").episodes.lengths.tolist() == [kept.frames] * 2


def test_a_disk_that_takes_no_more_is_said_and_finished_episodes_are_kept(ros: Any, tmp_path: Path) -> None:
    recording = Recording(ros, tmp_path / "set")
    first = recording.load(tmp_path / "first", speed=3.0)
    recording.start()
    recording.play(first)
    kept = recording.keep()
    second = recording.load(tmp_path / "second", later=100, length=6.0, speed=2.0)
    # From now on no file of the process can grow beyond this: writing fails as on a full disk.
    resource.prlimit(recording.recorder.pid, resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    recording.start(later_s=100)
    recording.play(second)
    said = ros.until(lambda: [text for text in recording.said(2) if "cannot be written" in text], "it says so")
    assert "Remedy: Make room on the disk" in said[0]
    answer = recording.ask(Record.Request.KEEP)
    assert not answer.success
    assert re.search(r"cannot be written .*finished episodes are kept", answer.message)
    assert answer.episodes == 1
    recording.end()
    assert LeRobotDataset(tmp_path / "set").episodes.lengths.tolist() == [kept.frames]


def test_a_lost_camera_ends_the_episode_and_what_makes_no_sense_is_refused(ros: Any, tmp_path: Path) -> None:
    recording = Recording(ros, tmp_path / "set")
    ros.until(lambda: recording.said(1), "it says that it is not ready")
    assert "Camera front (/camera/front/color/image_raw): nothing has come yet" in recording.said(1)[0]
    tape = recording.load(tmp_path / "tape", speed=2.0, mute="/camera/wrist/color/image_rect_raw")
    for command, stamp, says in (
        (Record.Request.KEEP, 0, "No episode is being recorded. Remedy: Start one first."),
        (Record.Request.DISCARD, 0, "No episode is being recorded. Remedy: Start one first."),
        (7, 0, "There is no command 7. Remedy: Use 0 START, 1 KEEP or 2 DISCARD."),
        (Record.Request.START, SINCE, "There is no instruction. Remedy: Say in one line"),
    ):
        answer = recording.ask(command, stamp_ns=stamp)
        assert not answer.success
        assert answer.message.startswith(says), answer.message
    assert "have come already" in recording.ask(Record.Request.START, "pick", T0 + 500 * MS).message
    recording.start()
    assert "An episode is being recorded." in recording.ask(Record.Request.START, "pick").message
    recording.play(tape)
    ros.until(lambda: recording.said(2), "it says that the episode ended")
    lost = "Camera wrist (/camera/wrist/color/image_rect_raw): nothing comes any more for over 1 s."
    assert lost in recording.said(2)[0]
    assert f"ended early and is undecided: {lost} Remedy: Keep its" in recording.ask(Record.Request.START).message
    kept = recording.keep()
    assert 12 <= kept.frames <= 16
    assert f"It ended early: {lost}" in kept.message
    recording.end()
    assert LeRobotDataset(tmp_path / "set").episodes.lengths.tolist() == [kept.frames]


READ = """
import json, sys
from ledataset.datasets.lerobot_dataset import LeRobotDataset

front = "observation.images.front"
dataset = LeRobotDataset("local/set", root=sys.argv[1], video_backend="pyav",
                         delta_timestamps={"action": [0.0, 0.05], front: [-0.05, 0.0]})
items = [dataset[i] for i in range(0, len(dataset), 10)]
print(json.dumps({
    "episodes": dataset.num_episodes, "frames": len(dataset), "fps": dataset.fps, "robot": dataset.meta.robot_type,
    "shapes": [list(items[1][key].shape) for key in (front, "action", "observation.state")],
    "task": sorted({i["task"] for i in items}), "mode": sorted({int(i["f1.mode"]) for i in items}),
    "source": sorted({i["f1.source"] for i in items}),
}))
"""


def test_the_documented_commands_record_the_simulated_robot(ros: Any, tmp_path: Path) -> None:
    section = (REPO / "docs" / "data.md").read_text().partition("## Record from the robot")[2]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert block is not None
    up, start, keep, look = block[1].splitlines()
    assert up.startswith("f1-ros up franka --sim ")

    def f1_ros(line: str, *more: str) -> list[str]:
        return [sys.executable, "-m", "f1_ros", *shlex.split(line)[1:], *more]

    domain = ("--domain-id", str(ros.domain))
    how = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}}
    statuses = ros.collect(ControlStatus, "/f1/status", COMMAND)
    ready = ros.collect(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
    with (tmp_path / "up.txt").open("wb") as out:
        # Slowly and without the policy, so that a busy machine draws every picture in time.
        more = ("--policy", "none", "--real-time-factor", "0.5", "--log-dir", str(tmp_path / "log"))
        system = subprocess.Popen(f1_ros(up, *domain, *more), stdout=out, stderr=subprocess.STDOUT, **how)
    try:
        ros.until(lambda: statuses and statuses[-1].mode == ControlStatus.TELEOP, "teleoperation")
        ros.until(
            lambda: any(
                (s.name, s.message) == ("recorder_node: recording", "idle") for array in ready for s in array.status
            ),
            "the recorder is ready",
        )
        begun = subprocess.run(f1_ros(start, *domain), capture_output=True, text=True, check=False, **how)
        assert begun.stdout == "Episode 0 begins: pick the cube from the belt.\n", begun
        ros.spin(6.0)
        kept = subprocess.run(f1_ros(keep, *domain), capture_output=True, text=True, check=False, **how)
        assert kept.returncode == 0, kept
        assert kept.stdout.startswith("Episode 0 is kept: "), kept
        refused = subprocess.run(f1_ros(keep, *domain), capture_output=True, text=True, check=False, **how)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("f1-ros: No episode is being recorded. Remedy:")
    finally:
        system.send_signal(signal.SIGINT)
        assert system.wait(timeout=20.0) == 0
    checked = subprocess.run(f1_ros(look), capture_output=True, text=True, check=False, **how)
    assert checked.returncode == 0, checked.stdout
    dataset = LeRobotDataset(tmp_path / "data" / "live")
    assert [f for f in check(dataset, Needs()) if f.severity == "error"] == []
    environment = {
        **os.environ, "PYTHONPATH": str(REPO / "test" / "data" / "stand_in"), "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    command = [sys.executable, "-c", READ, str(tmp_path / "data" / "live")]
    read = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout.splitlines()[-1])
    assert (found["episodes"], found["fps"], found["robot"]) == (1, 20, "franka")
    assert found["frames"] == dataset.info.frames > 40
    assert found["shapes"] == [[2, 3, 96, 96], [2, 8], [8]]
    assert (found["task"], found["mode"], found["source"]) == (["pick the cube from the belt"], [1], ["teleop"])


def test_without_a_recorder_the_command_says_how_to_start_one(ros: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "f1_ros", "record", "start", "--domain-id", str(ros.domain)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(REPO)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(
        "f1-ros: There is no recorder: nobody serves /f1/record. Remedy: Start the system with"
    )
