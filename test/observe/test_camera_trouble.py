"""What is wrong with a camera is named, with a remedy, and gives no observation."""

from __future__ import annotations

import dataclasses

import numpy as np
from observe_rig import MS, PROFILE, SPEC, START, Rig, picture

from f1_ros.observe.builder import ObservationBuilder
from f1_ros.observe.frames import Frame, ImageFrame
from f1_ros.observe.health import HealthLimits, Level


def test_a_camera_on_another_clock_is_named() -> None:
    rig = Rig(stamp=lambda stream, k: START + 50 * MS * k + (3_000 * MS if stream == "wrist" else 0))
    rig.run(range(30))
    assert rig.observed() == []
    assert rig.status("camera wrist").message == "header stamps are not on the ROS clock, or come far too late"
    assert rig.status("camera front").level is Level.OK
    assert rig.status("observation").message == "no complete set of frames"


def test_a_missing_camera_is_named_and_stops_observations() -> None:
    rig = Rig(frame=lambda camera, k: None if camera == "wrist" and k >= 12 else picture(k))
    rig.run(range(30))
    assert rig.observed() == [9, 10, 11]
    topic = "/camera/wrist/color/image_rect_raw"
    assert rig.status("camera wrist").message == f"missing: nothing comes on {topic}"
    assert rig.status("observation").level is Level.ERROR
    rig.frame = lambda camera, k: picture(k)
    rig.run(range(30, 60))
    assert rig.status("camera wrist").level is Level.OK
    assert rig.status("observation").message == "observations go out"


def test_a_mis_sized_camera_is_named_and_stops_observations() -> None:
    rig = Rig(frame=lambda camera, k: picture(k, *((320, 240) if camera == "wrist" and k >= 12 else (96, 96))))
    rig.run(range(20))
    assert rig.observed() == [9, 10, 11]
    assert "frames are 320x240, expected 640x480, 96x96" in rig.status("camera wrist").message
    assert rig.status("observation").level is Level.ERROR
    assert rig.status("camera front").level is Level.OK


def test_an_unknown_encoding_is_named_once_for_as_long_as_it_lasts() -> None:
    rig = Rig(frame=lambda camera, k: dataclasses.replace(picture(k), encoding="odd") if k >= 12 else picture(k))
    messages = set()
    for k in range(10, 40):
        rig.run(range(k, k + 1))
        messages.add(rig.status("camera front").message)
    assert len(messages) == 2
    assert rig.observed() == []
    assert "unknown image encoding 'odd'" in rig.status("camera front").message


def test_a_frozen_camera_is_named_and_stops_observations_until_it_moves() -> None:
    builder = ObservationBuilder.for_robot(SPEC, PROFILE, HealthLimits(frozen_after=5))
    rig = Rig(builder, frame=lambda camera, k: picture(7 if camera == "wrist" and 15 <= k < 30 else k))
    rig.run(range(28))
    # Frame 15 is new, 16 to 19 repeat it four times, 20 is the fifth repetition.
    assert rig.observed() == list(range(9, 20))
    assert "wrist is frozen" in rig.reason(25)
    assert rig.status("camera wrist").message == "frozen: its frames repeat while their stamps move"
    rig.run(range(28, 33))
    assert rig.observed()[-3:] == [30, 31, 32]
    assert rig.status("camera wrist").level is Level.OK


def test_a_scene_at_rest_is_not_frozen_where_the_check_is_off() -> None:
    builder = ObservationBuilder.for_robot(SPEC, PROFILE, HealthLimits(frozen_after=0))
    rig = Rig(builder, frame=lambda camera, k: picture(7))
    rig.run(range(100))
    assert rig.observed() == list(range(9, 100))


def test_stamps_that_stand_still_are_named() -> None:
    rig = Rig(stamp=lambda stream, k: START if stream == "wrist" else START + 50 * MS * k)
    rig.run(range(12))
    assert "header stamps stand still" in rig.status("camera wrist").message


def test_a_slow_camera_is_told_with_its_rate() -> None:
    rig = Rig(
        frame=lambda camera, k: picture(k) if k % 2 == 0 else None,
        stamp=lambda stream, k: START + 50 * MS * k,
    )
    rig.run(range(60))
    status = rig.status("camera front")
    assert (status.level, status.message) == (Level.WARN, "slower than 15 Hz")
    assert status.values["rate_hz"] == 10.0


def test_figures_of_a_healthy_camera() -> None:
    rig = Rig(stamp=lambda stream, k: START + 50 * MS * k + (4 * MS if stream == "wrist" else 0))
    rig.run(range(20))
    values = rig.status("camera wrist").values
    assert values["rate_hz"] == 20.0
    assert values["jitter_ms"] == 0.0
    assert values["latency_min_ms"] == 6.0
    assert values["age_ms"] == 6.0
    assert values["offset_to_camera_0_ms"] == 4.0
    assert rig.status("observation").values["skew_ms"] == 4.0


def test_a_black_camera_gives_no_observation_and_is_named_until_it_sees_again() -> None:
    limits = HealthLimits(black_below=16)
    rig = Rig(ObservationBuilder.for_robot(SPEC, PROFILE, limits))
    rig.frame = lambda camera, k: picture(3 if camera == "wrist" and 12 <= k < 15 else 100 + k)
    rig.run(range(14))
    assert rig.observed() == [9, 10, 11]
    assert "camera/wrist" in rig.reason(13)
    assert "black: no pixel" in rig.reason(13)
    assert (rig.status("camera wrist").level, rig.status("camera front").level) == (Level.ERROR, Level.OK)
    rig.run(range(14, 17))
    assert rig.observed() == [9, 10, 11, 15, 16]
    assert rig.status("camera wrist").level is Level.OK


def test_one_bright_spot_is_no_black_frame() -> None:
    spot = np.zeros((96, 96, 3), np.uint8)
    spot[40:48, 40:48, 1] = 20
    rig = Rig(ObservationBuilder.for_robot(SPEC, PROFILE, HealthLimits(black_below=16)))
    rig.frame = lambda camera, k: ImageFrame.from_rgb(spot)
    rig.run(range(10))
    assert rig.observed() == [9]


def test_cameras_that_are_swapped_while_running_are_noticed_by_the_frames_names() -> None:
    def frame(camera: str, k: int) -> Frame:
        other = {"front": "wrist", "wrist": "front"}[camera]
        return dataclasses.replace(picture(k), frame_id=other if k >= 12 else camera)

    rig = Rig(frame=frame)
    rig.run(range(14))
    assert rig.observed() == [9, 10, 11]
    assert "its frames are of 'wrist', they were of 'front'" in rig.reason(13)
    assert "of 'wrist'" in rig.status("camera front").message


def test_whatever_is_wrong_with_a_stream_comes_with_a_remedy() -> None:
    rig = Rig()
    statuses = rig.builder.statuses(10**9)
    assert {status.part for status in statuses if status.level != Level.OK} >= {"camera front", "observation"}
    for status in statuses:
        assert status.level == Level.OK or str(status.values["remedy"]).endswith("."), status
