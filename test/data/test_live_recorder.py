"""A recorder without ROS: what an episode holds, and that delays do not matter."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_rig import (
    CLOSING,
    MODE_CHANGE,
    MS,
    PROFILE,
    STEP,
    T0,
    Rig,
    files,
    frame,
    tape,
)

from f1_ros.control.arbiter import Mode
from f1_ros.data.live.messages import ControlSample
from f1_ros.data.live.recorder import LiveRecorder
from f1_ros.data.live.settings import RecorderSettings
from f1_ros.engine.policy import load_spec
from f1_ros.errors import ConfigError, DataError, ImageError
from f1_ros.observe.calibration import CameraInfo
from f1_ros.observe.frames import ImageFrame
from f1_ros.observe.health import HealthLimits
from f1_ros.robots.camera import Crop


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
    assert dataset.numbers(0, "f1.mode").tolist() == [Mode.TELEOP if end >= MODE_CHANGE else Mode.HOLD for end in ends]
    action, state = dataset.numbers(0, "action")[:, 7], dataset.numbers(0, "observation.state")[:, 7]
    # Before it is commanded for the first time, a gripper's target is where it is.
    np.testing.assert_allclose(action, np.where(ends >= CLOSING, 0.0, state), atol=1e-7)


def test_a_correction_is_marked_from_its_first_frame_on_also_where_no_status_saw_it(rig: Rig) -> None:
    # Statuses come at 560, 660, 760 ...: one correction lies between two of them.
    changes = [(Mode.POLICY, 0)]
    changes += [
        (mode, T0 + ms * MS) for mode, ms in ((Mode.CORRECTION, 641), (Mode.POLICY, 659), (Mode.CORRECTION, 903))
    ]

    def seen(stamp: int, message: Any) -> Any:
        if not isinstance(message, ControlSample):
            return message
        return dataclasses.replace(message, modes=tuple(change for change in changes if change[1] <= stamp))

    messages = [(stream, stamp, seen(stamp, message)) for stream, stamp, message in tape()]
    assert rig.record(rig.begin(messages=messages), 1200).sources == {"policy": 12, "teleop": 8}
    dataset = rig.close()
    ends = (dataset.numbers(0, "f1.stamp") + STEP - T0) // MS
    corrected = ((ends >= 641) & (ends < 659)) | (ends >= 903)
    assert corrected.sum() == 8
    assert dataset.numbers(0, "f1.intervention").tolist() == corrected.astype(int).tolist()
    assert dataset.numbers(0, "f1.mode").tolist() == [Mode.CORRECTION if c else Mode.POLICY for c in corrected]


def test_pictures_are_recorded_rectified_and_cropped_as_the_policy_sees_them(tmp_path: Path) -> None:
    front, wrist = PROFILE.cameras
    front = dataclasses.replace(front, sizes=((96, 96),), crop=Crop(8, 4, 64, 48))
    wrist = dataclasses.replace(wrist, camera_info="/camera/wrist/camera_info", rectify=True)
    profile = dataclasses.replace(PROFILE, cameras=(front, wrist))
    rig = Rig(tmp_path / "set")
    asked = RecorderSettings.for_robot(profile, None, tmp_path / "set", pictures="image")
    rig.recorder = LiveRecorder(profile, asked, HealthLimits())
    y, x = np.mgrid[0:96, 0:96]
    scene = np.stack([2 * x, 2 * y, np.full_like(x, 7)], axis=2).astype(np.uint8)
    messages = [
        (
            stream,
            stamp,
            dataclasses.replace(sent, frame=ImageFrame.from_rgb(scene)) if stream in "front wrist" else sent,
        )
        for stream, stamp, sent in tape()
    ]
    with pytest.raises(ImageError, match="/camera/wrist/camera_info: nothing has come yet"):
        rig.begin(messages=messages)
    k = (60.0, 0.0, 47.5, 0.0, 60.0, 47.5, 0.0, 0.0, 1.0)
    info = CameraInfo(96, 96, "plumb_bob", (-0.3, 0.0, 0.0, 0.0), k, (0.0,) * 9, (0.0,) * 12)
    rig.recorder.inputs.matched.views["wrist"].calibrate(info)
    rig.record(rig.begin(250, [m for m in messages if m[1] >= T0 + 200 * MS]), 1200)
    dataset = rig.close()
    seen = dataset.pictures(0, "observation.images.front", [3])[0]
    np.testing.assert_array_equal(seen, scene[4:52, 8:72])
    straight = dataset.pictures(0, "observation.images.wrist", [3])[0]
    # The edge's ray at 0.79 is seen at 0.79 (1 - 0.3 * 0.79^2) = 0.64 of the focal length from the middle.
    assert straight[48, 0, 0] == pytest.approx(2 * (47.5 - 0.64 * 60), abs=2)


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
