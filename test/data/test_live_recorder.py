"""A recorder without ROS: what an episode holds, that delays do not matter, and how it ends when something is wrong."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import random
import shutil
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.data.live.inputs import STATUS
from f1_ros.data.live.messages import CameraFrame, CommandSample, ControlSample, JointSample, Message
from f1_ros.data.live.recorder import LiveRecorder
from f1_ros.data.live.settings import RecorderSettings
from f1_ros.data.live.writing import Saved
from f1_ros.data.writer import DatasetWriter
from f1_ros.engine.policy import load_spec
from f1_ros.errors import ConfigError, DataError, F1Error, ImageError
from f1_ros.observe.frames import ImageFrame
from f1_ros.observe.health import HealthLimits, Level
from f1_ros.robots.profile import load_profile

MS = 1_000_000
T0 = 100_000 * MS
STEP = 50 * MS
PROFILE = load_profile("franka")
ARM, HAND, TARGET = "/franka/joint_states", "/franka_gripper/joint_states", "/target_joint"
JOINTS, FINGERS = list(PROFILE.joints), ["fr3_finger_joint1", "fr3_finger_joint2"]
HOLD, TELEOP = 0, 1
MODE_CHANGE, CLOSING = T0 + 700 * MS, T0 + 830 * MS
Sent = tuple[str, int, Message]


def picture(level: int, size: int = 96) -> ImageFrame:
    return ImageFrame.from_rgb(np.full((size, size, 3), level % 256, np.uint8))


def frame(camera: str, stamp: int, level: int) -> Sent:
    return camera, stamp, CameraFrame(camera, picture(level), stamp)


def status(stamp: int) -> Sent:
    changed, closed = stamp >= MODE_CHANGE, stamp >= CLOSING
    return STATUS, stamp, ControlSample(
        mode=TELEOP if changed else HOLD,
        mode_ns=MODE_CHANGE if changed else 0,
        source="teleop" if changed else "hold",
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


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "set")


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


# -- what an episode holds --------------------------------------------------------------------------------------------


def test_a_frame_has_the_pictures_and_state_of_its_stamp_and_the_command_for_the_end_of_its_step(rig: Rig) -> None:
    saved = rig.record(rig.begin(), 1200)
    assert (saved.episode, saved.frames, saved.repeated, saved.ended_early) == (0, 20, 0, "")
    dataset = rig.close()
    assert (dataset.info.fps, dataset.info.robot, dataset.episodes.lengths.tolist()) == (20.0, "franka", [20])
    assert dataset.feature("action").names == PROFILE.action_names
    stamps = dataset.numbers(0, "f1.stamp")
    assert ((stamps - T0) // MS).tolist() == [205 + 50 * i for i in range(20)]
    at = (stamps - T0) / 1e9
    state, action = dataset.numbers(0, "observation.state"), dataset.numbers(0, "action")
    np.testing.assert_allclose(state[:, :7], np.tile(at, (7, 1)).T, atol=1e-6)
    np.testing.assert_allclose(state[:, 7], 0.08 - at / 50, atol=1e-6)
    np.testing.assert_allclose(action[:, :7], np.tile(at + 0.05 + 0.1, (7, 1)).T, atol=1e-6)
    front = dataset.pictures(0, "observation.images.front", range(20))
    wrist = dataset.pictures(0, "observation.images.wrist", range(20))
    assert [int(p[5, 5, 0]) for p in front] == list(range(4, 24))
    assert [int(p[5, 5, 0]) for p in wrist] == [251 - i for i in range(20)]
    assert dataset.instruction(0, 7) == "pick"


def test_gripper_and_mode_change_at_the_instant_that_the_status_names_not_when_it_comes(rig: Rig) -> None:
    assert rig.record(rig.begin(), 1200).sources == {"hold": 9, "teleop": 11}
    dataset = rig.close()
    ends = dataset.numbers(0, "f1.stamp") + STEP
    assert dataset.numbers(0, "f1.mode").tolist() == [TELEOP if end >= MODE_CHANGE else HOLD for end in ends]
    action, state = dataset.numbers(0, "action")[:, 7], dataset.numbers(0, "observation.state")[:, 7]
    # Before it is commanded for the first time, a gripper's target is where it is.
    np.testing.assert_allclose(action, np.where(ends >= CLOSING, 0.0, state), atol=1e-7)


def test_a_policys_cameras_rate_and_words_are_recorded() -> None:
    spec = dataclasses.replace(load_spec(Path("models/f1_belt")), cameras=("wrist",), step_s=0.1)
    asked = RecorderSettings.for_robot(PROFILE, spec, Path("x"))
    assert (asked.fps, asked.cameras, asked.instruction) == (10, ("wrist",), "pick the cube from the belt")
    assert RecorderSettings.for_robot(PROFILE, spec, Path("x"), fps=5, instruction="go").fps == 5
    assert RecorderSettings.for_robot(PROFILE, None, Path("x"), cameras=["wrist"]).cameras == ("wrist",)
    with pytest.raises(ConfigError, match="The cameras top cannot be recorded"):
        RecorderSettings.for_robot(PROFILE, None, Path("x"), cameras=["top"])
    with pytest.raises(ConfigError, match="no whole number"):
        RecorderSettings.for_robot(PROFILE, dataclasses.replace(spec, step_s=0.07), Path("x"))
    with pytest.raises(ConfigError, match="is for the robot 'other'"):
        RecorderSettings.for_robot(PROFILE, dataclasses.replace(spec, robot="other"), Path("x"))


def test_a_faster_camera_gives_one_frame_a_step_and_video_is_written(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "set", pictures="video")
    others = [m for m in tape(2000) if m[0] not in ("front", "wrist")]
    cameras = [
        frame(c, T0 + k * 33_333_333 + late, 4 * k) for k in range(60) for c, late in (("front", 0), ("wrist", MS))
    ]
    saved = rig.record(rig.begin(messages=sorted(others + cameras, key=lambda m: m[1])), 1200)
    assert (saved.frames, saved.repeated) == (20, 0)
    dataset = rig.close()
    steps = np.diff(dataset.numbers(0, "f1.stamp")) // MS
    assert set(steps.tolist()) == {33, 66}
    assert len(dataset.pictures(0, "observation.images.wrist", range(20))) == 20


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_the_same_messages_give_the_same_files_whatever_their_delays(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    root = tmp_path / str(seed)
    shutil.rmtree(root, ignore_errors=True)
    (root / "plain").parent.mkdir(parents=True, exist_ok=True)
    contents = []
    for name in ("plain", "delayed"):
        rig = Rig(root / name)
        rest = rig.begin()
        if name == "delayed":
            # Each stream has its own delay, and messages of a stream may catch up with those before them.
            delay = {stream: draw.uniform(0, 400) * MS for stream in {m[0] for m in rest}}
            late: dict[str, float] = {}
            arrivals = []
            for stream, stamp, message in rest:
                late[stream] = max(late.get(stream, 0.0), stamp + delay[stream] + draw.uniform(0, 90) * MS)
                arrivals.append((late[stream], len(arrivals), (stream, stamp, message)))
            rest = [m for *_, m in sorted(arrivals, key=lambda a: a[:2])]
        rig.play(rest)
        assert rig.keep().frames == 25
        rig.close()
        contents.append(files(rig.root))
    assert contents[0].keys() == contents[1].keys()
    assert contents[0] == contents[1]
    shutil.rmtree(root)


def test_episodes_follow_one_another_and_a_later_recorder_goes_on(rig: Rig) -> None:
    rest = rig.begin()
    assert rig.record([m for m in rest if m[1] < T0 + 800 * MS], 600).frames == 8
    with pytest.raises(DataError, match="There is no instruction"):
        rig.recorder.start("", T0 + 800 * MS, 0)
    rig.recorder.note_instruction("stack")
    rig.recorder.start("", T0 + 800 * MS, 0)
    assert rig.record([m for m in rest if m[1] >= T0 + 800 * MS], 1100).frames == 6
    rig.close()
    again = Rig(rig.root)
    assert again.record(again.begin(task="pick"), 1000).episode == 2
    dataset = again.close()
    assert [dataset.instruction(i, 0) for i in range(3)] == ["pick", "stack", "pick"]


def test_a_discarded_episode_leaves_nothing(rig: Rig) -> None:
    rig.play(rig.begin())
    assert rig.wait(rig.recorder.stop(keep=False, end_ns=None, now_ns=0)).frames == 25
    with pytest.raises(DataError, match="No episode is being recorded"):
        rig.recorder.stop(keep=True, end_ns=None, now_ns=0)
    assert len(rig.close().episodes) == 0


def test_statistics_are_there_before_the_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("f1_ros.data.live.writing.REST_S", 0.05)
    path = rig.root / "meta" / "stats.json"

    def wait_for(frames: int) -> None:
        for _ in range(2000):
            if path.is_file() and json.loads(path.read_text())["action"]["count"] == [frames]:
                return
            threading.Event().wait(0.005)
        raise AssertionError(f"no statistics of {frames} frames")

    rest = rig.begin()
    rig.record([m for m in rest if m[1] < T0 + 800 * MS], 600)
    wait_for(8)
    rig.recorder.start("pick", T0 + 800 * MS, 0)
    rig.record([m for m in rest if m[1] >= T0 + 800 * MS], 1100)
    wait_for(14)
    before = path.read_bytes()
    rig.close()
    assert path.read_bytes() == before


# -- what goes wrong --------------------------------------------------------------------------------------------------


def without(messages: list[Sent], drop: Callable[[str, int], bool]) -> list[Sent]:
    """A tape of which something is lost on the way; `drop` is given stream and ms."""
    return [m for m in messages if not drop(m[0], (m[1] - T0) // MS)]


def test_a_lost_frame_is_stood_in_for_by_the_one_before_and_counted(rig: Rig) -> None:
    rest = without(rig.begin(), lambda stream, ms: stream == "wrist" and 500 <= ms < 550)
    rig.play(m for m in rest if m[1] < T0 + 900 * MS)
    assert rig.says() == (Level.WARN, "recording; frames are missing, the ones before stand in")
    saved = rig.record([m for m in rest if m[1] >= T0 + 900 * MS], 1000)
    assert (saved.frames, saved.repeated, saved.ended_early) == (16, 1, "")
    dataset = rig.close()
    assert dataset.numbers(0, "f1.repeated").tolist() == [0] * 6 + [1] + [0] * 9
    front = dataset.pictures(0, "observation.images.front", range(16))
    assert [int(p[0, 0, 0]) for p in front] == [4, 5, 6, 7, 8, 9, 9, *range(11, 20)]
    at = (dataset.numbers(0, "f1.stamp") - T0) / 1e9
    np.testing.assert_allclose(at, 0.205 + 0.05 * np.arange(16))
    np.testing.assert_allclose(dataset.numbers(0, "observation.state")[:, 0], at, atol=1e-6)
    np.testing.assert_allclose(dataset.numbers(0, "action")[:, 0], at + 0.15, atol=1e-6)


def test_two_lost_frames_in_a_row_end_the_episode_before_them(rig: Rig) -> None:
    rig.play(without(rig.begin(), lambda stream, ms: stream == "front" and 500 <= ms < 600))
    level, text = rig.says()
    assert level is Level.ERROR
    assert "The cameras left a gap: 2 frames in a row are missing (0.15 s" in text
    with pytest.raises(DataError, match=r"ended early and is undecided.*Keep its 6 frames, or discard it"):
        rig.recorder.start("pick", None, 0)
    saved = rig.keep()
    assert saved.frames == 6
    assert "2 frames in a row are missing" in saved.ended_early
    assert rig.says() == (Level.OK, "idle")
    assert rig.close().episodes.lengths.tolist() == [6]


@pytest.mark.parametrize(
    ("stream", "named", "frames"),
    [
        ("wrist", r"Camera wrist \(/camera/wrist/color/image_rect_raw\): nothing comes any more for over 1 s", 5),
        (ARM, "Topic /franka/joint_states: nothing comes any more", 5),
        (TARGET, "Topic /target_joint: nothing comes any more", 5),
        (STATUS, "The action node's status: nothing comes any more", 5),
    ],
)
def test_a_lost_stream_ends_the_episode_and_is_named(rig: Rig, stream: str, named: str, frames: int) -> None:
    rest = rig.begin(messages=tape(2500))
    rig.play(without(rest, lambda name, ms: name == stream and ms >= 500))
    with pytest.raises(DataError, match=named):
        rig.recorder.start("pick", None, 0)
    saved = rig.keep()
    assert abs(saved.frames - frames) <= 1
    assert rig.close().episodes.lengths.tolist() == [saved.frames]


def test_commands_that_are_missing_are_counted_and_a_long_gap_ends_the_episode(rig: Rig) -> None:
    short = without(rig.begin(), lambda stream, ms: stream == TARGET and 500 <= ms < 530)
    rig.play(short)
    assert rig.keep().commands_missing == 3
    rest = without(tape(2500), lambda stream, ms: ms < 1600 or (stream == TARGET and 1800 <= ms < 2100))
    rig.recorder.start("pick", T0 + 1600 * MS, 0)
    rig.play(rest)
    assert "Topic /target_joint: commands do not cover the frames" in rig.keep().ended_early
    np.testing.assert_allclose(np.diff(rig.close().numbers(0, "action")[:, 0]), 0.05, atol=1e-6)


def test_a_clock_that_is_set_back_ends_the_episode(rig: Rig) -> None:
    rest = rig.begin()
    rig.play(rest)
    rig.play((stream, stamp - 90_000 * MS, message) for stream, stamp, message in rest)
    assert "went back: its clock was set back" in rig.keep().ended_early


def test_a_frozen_camera_and_an_unusable_command_end_the_episode(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "set", HealthLimits(frozen_after=5))
    rest = rig.begin()
    rig.play((s, t, dataclasses.replace(m, frame=picture(7)) if s == "wrist" else m) for s, t, m in rest)  # type: ignore[type-var]
    assert "Camera wrist is frozen" in rig.keep().ended_early
    nan = CommandSample(TARGET, JOINTS, [math.nan] * 7)
    other = Rig(tmp_path / "other")
    rest = other.begin()
    other.play((s, t, nan if s == TARGET and t > T0 + 600 * MS else m) for s, t, m in rest)
    assert "Topic /target_joint: the position of joint 'fr3_joint1' is not finite" in other.keep().ended_early
    for each in (rig, other):
        each.close()


def test_silence_ends_the_episode_and_one_without_frames_cannot_be_kept(rig: Rig) -> None:
    rig.begin()
    rig.recorder.give_up("Nothing has come for 3 s.")
    with pytest.raises(DataError, match=r"Nothing has come for 3 s\. Remedy: Check the robot's drivers"):
        rig.keep()
    rig.recorder.start("pick", T0 + 500 * MS, 0)
    with pytest.raises(DataError, match="No frame has come"):
        rig.keep()
    rig.close()


def test_pictures_of_another_size_end_the_episode(rig: Rig) -> None:
    rest = rig.begin()
    rig.play(m for m in rest if m[1] < T0 + 700 * MS)
    rig.play(
        (s, t, dataclasses.replace(m, frame=picture(7, 64)) if s == "wrist" else m)
        for s, t, m in rest
        if t >= T0 + 700 * MS
    )  # type: ignore[type-var]
    with pytest.raises(ImageError, match="frames are 64x64, expected 640x480, 96x96"):
        rig.keep()
    assert len(rig.close().episodes) == 0


def test_a_writer_that_cannot_keep_up_ends_the_episode_and_never_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, original = threading.Event(), DatasetWriter.add_frame

    def slow(self: DatasetWriter, *args: Any) -> None:
        assert go.wait(30.0)
        original(self, *args)

    monkeypatch.setattr(DatasetWriter, "add_frame", slow)
    rig = Rig(tmp_path / "set", queue_frames=5)
    rig.play(rig.begin())  # comes back although nothing is written
    level, text = rig.says()
    assert level is Level.ERROR
    assert "5 frames wait to be written: the disk or the CPU is too slow" in text
    go.set()
    saved = rig.keep()
    assert saved.frames in (5, 6)  # one may be under way
    assert rig.close().episodes.lengths.tolist() == [saved.frames]


def test_a_full_disk_is_said_and_finished_episodes_are_kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = rig.begin()
    rig.record([m for m in rest if m[1] < T0 + 800 * MS], 600)
    rig.recorder.start("pick", T0 + 800 * MS, 0)
    with monkeypatch.context() as patched:

        def full(path: Path, target: Path) -> Path:
            raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr(Path, "replace", full)
        rig.play(m for m in rest if m[1] >= T0 + 800 * MS)
        with pytest.raises(DataError, match=r"No space left on device.*finished episodes are kept"):
            rig.keep()
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100 << 20))
        with pytest.raises(DataError, match="has only 100 MB left"):
            rig.recorder.start("pick", None, 0)
        assert rig.says()[0] is Level.WARN
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 30))
    assert rig.says() == (Level.WARN, "idle; the disk is nearly full: make room")
    assert rig.close().episodes.lengths.tolist() == [8]


def test_what_cannot_be_begun_is_refused_with_the_reason(rig: Rig) -> None:
    def refused(instruction: str = "pick", begin_ms: int | None = None, now_ns: int = T0) -> str:
        with pytest.raises(F1Error) as caught:
            rig.recorder.start(instruction, None if begin_ms is None else T0 + begin_ms * MS, now_ns)
        assert caught.value.remedy
        return caught.value.problem

    assert refused() == "Camera front (/camera/front/color/image_raw): nothing has come yet."
    assert rig.says()[0] is Level.WARN
    rig.play(m for m in tape() if m[1] < T0 + 200 * MS and m[0] != TARGET)
    assert refused() == "Topic /target_joint: nothing has come yet."
    rig.play(m for m in tape() if m[1] < T0 + 200 * MS and m[0] == TARGET)
    assert "line breaks" in refused("pick\nplace")
    assert "messages of 100.193 s have come already" in refused(begin_ms=100)
    assert "The newest message is 7.8 s old" in refused(now_ns=T0 + 8000 * MS)
    rig.recorder.start("pick", None, T0)
    assert refused() == "An episode is being recorded."
    rig.close()


def test_closing_throws_an_unfinished_episode_away_and_says_so_to_who_waits(rig: Rig) -> None:
    rig.play(rig.begin())
    answer = rig.recorder.stop(keep=True, end_ns=T0 + 90_000 * MS, now_ns=0)
    with pytest.raises(DataError, match="still being written"):
        rig.recorder.stop(keep=True, end_ns=None, now_ns=0)
    with pytest.raises(DataError, match="still being written"):
        rig.recorder.start("pick", None, 0)
    assert len(rig.close().episodes) == 0
    with pytest.raises(DataError, match="The recorder ends"):
        answer.result(0)


def test_an_end_that_has_passed_is_refused(rig: Rig) -> None:
    rig.play(rig.begin())
    with pytest.raises(DataError, match=r"was to end at 100\.500 s, but has frames up to 101\.405 s already"):
        rig.recorder.stop(keep=True, end_ns=T0 + 500 * MS, now_ns=0)
    assert rig.keep().frames == 25
    rig.close()


def test_a_folder_or_a_setting_that_will_not_do_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else"):
        Rig(tmp_path)
    with pytest.raises(ConfigError, match="0 fps"):
        Rig(tmp_path / "set", fps=0)
    with pytest.raises(ConfigError, match="Action entry 'elbow'"):
        Rig(tmp_path / "set", action_names=("elbow",))
    assert not (tmp_path / "set").exists()
    with pytest.raises(ConfigError, match=r"cannot be made \(.*Not a directory"):
        Rig(tmp_path / "thesis.txt" / "set").begin()
    rig = Rig(tmp_path / "set")
    rig.record(rig.begin(), 600)
    with pytest.raises(ConfigError, match="Another process is recording into"):
        Rig(tmp_path / "set").begin()
    rig.close()
    with pytest.raises(ConfigError, match="holds a dataset with another features"):
        Rig(tmp_path / "set", pictures="video").begin()
