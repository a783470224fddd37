"""A recorder without ROS, and the tape that is played to it."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from f1_ros.control.arbiter import Mode
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.data.live.inputs import STATUS
from f1_ros.data.live.messages import CameraFrame, CommandSample, ControlSample, JointSample, Message
from f1_ros.data.live.recorder import LiveRecorder
from f1_ros.data.live.settings import RecorderSettings
from f1_ros.data.live.writing import Saved
from f1_ros.observe.frames import ImageFrame
from f1_ros.observe.health import HealthLimits, Level
from f1_ros.robots.profile import load_profile

MS = 1_000_000
T0 = 100_000 * MS
STEP = 50 * MS
PROFILE = load_profile("franka_fr3")
ARM, HAND, TARGET = "/franka/joint_states", "/franka_gripper/joint_states", "/target_joint"
JOINTS, FINGERS = list(PROFILE.joints), ["fr3_finger_joint1", "fr3_finger_joint2"]
MODE_CHANGE, CLOSING = T0 + 700 * MS, T0 + 830 * MS
Sent = tuple[str, int, Message]


def picture(level: int, size: int = 96) -> ImageFrame:
    return ImageFrame.from_rgb(np.full((size, size, 3), level % 256, np.uint8))


def frame(camera: str, stamp: int, level: int) -> Sent:
    return camera, stamp, CameraFrame(camera, picture(level), stamp)


def status(stamp: int) -> Sent:
    changed, closed = stamp >= MODE_CHANGE, stamp >= CLOSING
    return STATUS, stamp, ControlSample(
        modes=((Mode.HOLD, 0), (Mode.TELEOP, MODE_CHANGE)) if changed else ((Mode.HOLD, 0),),
        period_ns=10 * MS,
        widths={"gripper": (0.0, CLOSING) if closed else (math.nan, 0)},
    )  # fmt: skip


def tape(length_ms: int = 1600) -> list[Sent]:
    """What a robot sends: joint 1 is at t (s), its command leads it by 0.1; cameras show the number of their frame."""
    sent: list[Sent] = []
    for ms in range(0, length_ms, 10):
        stamp, at = T0 + ms * MS, ms / 1000
        sent.append((ARM, stamp + 3 * MS, JointSample(ARM, JOINTS, [at + 0.003] * 7, stamp)))
        # The command of a tick is the target for the end of its period.
        sent.append((TARGET, stamp, CommandSample(TARGET, JOINTS, [at + 0.01 + 0.1] * 7)))
        if ms % 50 == 0:
            sent += [frame("front", stamp + 5 * MS, ms // 50), frame("wrist", stamp + 11 * MS, 255 - ms // 50)]
        if ms % 70 == 0:
            sent.append((HAND, stamp, JointSample(HAND, FINGERS, [0.04 - at / 100] * 2, stamp)))
        if ms % 100 == 60:
            sent.append(status(stamp))
    return sorted(sent, key=lambda s: s[1])


class Rig:
    """A recorder, its dataset, and the tape that is played to it."""

    def __init__(self, root: Path, limits: HealthLimits | None = None, **change: Any) -> None:
        self.root = root
        asked = RecorderSettings.for_robot(PROFILE, None, root, pictures="image")
        self.recorder = LiveRecorder(PROFILE, dataclasses.replace(asked, **change), limits or HealthLimits())

    def play(self, messages: Iterable[Sent]) -> Rig:
        for stream, stamp, message in messages:
            self.recorder.take(stream, stamp, message)
            self.recorder.advance()
        return self

    def begin(self, at_ms: int = 200, messages: list[Sent] | None = None, task: str = "pick") -> list[Sent]:
        """Play what comes before an episode, begin it, and give the rest."""
        everything = tape() if messages is None else messages
        self.play(m for m in everything if m[1] < T0 + at_ms * MS)
        self.recorder.start(task, T0 + at_ms * MS, 0)
        return [m for m in everything if m[1] >= T0 + at_ms * MS]

    def record(self, messages: list[Sent], end_ms: int) -> Saved:
        """Play, and keep the episode up to an instant, which is asked for a little before it comes."""
        before = [m for m in messages if m[1] < T0 + (end_ms - 100) * MS]
        self.play(before)
        answer = self.recorder.stop(keep=True, end_ns=T0 + end_ms * MS, now_ns=0)
        self.play(messages[len(before) :])
        return self.wait(answer)

    def keep(self) -> Saved:
        """Keep the episode with all that has come."""
        answer = self.recorder.stop(keep=True, end_ns=T0 + 90_000 * MS, now_ns=0)
        self.recorder.settle()
        return self.wait(answer)

    def wait(self, answer: Future[Saved]) -> Saved:
        for _ in range(2000):
            self.recorder.advance()
            if answer.done():
                break
            threading.Event().wait(0.005)
        return answer.result(0)

    def close(self) -> LeRobotDataset:
        assert self.recorder.close(30.0) is None
        return LeRobotDataset(self.root)

    def says(self) -> tuple[Level, str]:
        found = self.recorder.statuses(T0)[-1]
        return found.level, found.message


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
