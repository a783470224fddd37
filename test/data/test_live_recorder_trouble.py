"""A recorder without ROS: how an episode ends when something is wrong."""

from __future__ import annotations

import dataclasses
import errno
import math
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from live_rig import (
    ARM,
    JOINTS,
    MS,
    T0,
    TARGET,
    Rig,
    Sent,
    picture,
    tape,
)

from f1_ros.data.live.inputs import STATUS
from f1_ros.data.live.messages import CommandSample
from f1_ros.data.writer import DatasetWriter
from f1_ros.errors import ConfigError, DataError, F1Error, ImageError
from f1_ros.observe.health import HealthLimits, Level


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
        level, text = rig.says()
        assert level is Level.ERROR
        assert re.match("the last episode is lost: .*No space left on device", text)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100 << 20))
        with pytest.raises(DataError, match="has only 100 MB left"):
            rig.recorder.start("pick", None, 0)
        assert rig.says()[0] is Level.WARN
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 30))
    assert rig.says()[0] is Level.ERROR  # until somebody begins another
    rig.recorder.start("pick", T0 + 2_300 * MS, 0)
    assert rig.says() == (Level.WARN, "recording; the disk is nearly full: make room")
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
