"""Observations of cameras that are rectified and cropped, and of pictures that are not those of the training."""

from __future__ import annotations

import dataclasses

import numpy as np
from observe_rig import PROFILE, SPEC, Rig, picture

from f1_ros.observe.builder import ObservationBuilder
from f1_ros.observe.calibration import CameraInfo
from f1_ros.observe.frames import Frame, ImageFrame
from f1_ros.observe.geometry import CameraGeometry
from f1_ros.observe.health import Level
from f1_ros.observe.observation import Observation
from f1_ros.observe.preprocess import camera_tensor, history_frame
from f1_ros.robots.camera import Crop

CROP = Crop(16, 0, 96, 72)
INFO_TOPIC = "/camera/front/camera_info"
K = (110.0, 0.0, 64.0, 0.0, 110.0, 36.0, 0.0, 0.0, 1.0)


def textured(camera: str, k: int) -> Frame:
    if camera != "front":
        return picture(200 - k)
    y, x = np.mgrid[0:72, 0:128]
    return ImageFrame.from_rgb(np.stack([x + k, y * 3, np.full_like(x, 9)], axis=2).astype(np.uint8))


def rig(geometry: dict[str, CameraGeometry] | None = None, prepare: bool = False, **how: object) -> Rig:
    """A robot whose front camera sends 128x72 pictures."""
    front, *others = PROFILE.cameras
    front = dataclasses.replace(front, sizes=((128, 72),), **how)
    profile = dataclasses.replace(PROFILE, cameras=(front, *others))
    spec = dataclasses.replace(SPEC, camera_geometry=geometry or {})
    return Rig(ObservationBuilder.for_robot(spec, profile), frame=textured, prepare=prepare)


def test_policies_see_the_crop_in_images_and_history() -> None:
    for prepare in (False, True):  # made ahead, or when the set is complete
        robot = rig(crop=CROP, prepare=prepare)
        robot.run(range(12))
        made = robot.results[11]
        assert isinstance(made, Observation)
        part = textured("front", 11).to_rgb("")[0:72, 16:112]
        np.testing.assert_array_equal(made.images[0], camera_tensor(part, 96))
        np.testing.assert_array_equal(made.history[-1], history_frame(part, 96, 96))


def test_a_camera_that_is_to_be_rectified_gives_nothing_until_its_calibration_has_come() -> None:
    robot = rig(rectify=True, camera_info=INFO_TOPIC)
    assert robot.builder.camera_info_topics == {"front": INFO_TOPIC}
    robot.run(range(14))
    assert robot.observed() == []
    assert f"Topic {INFO_TOPIC}: nothing has come yet" in robot.reason(13)
    assert robot.status("camera front").level is Level.ERROR
    robot.builder.add_camera_info("front", CameraInfo(128, 72, "plumb_bob", (-0.2, 0.0, 0.0, 0.0), K, (), ()))
    robot.run(range(14, 16))
    assert "a matrix of the calibration" in robot.reason(15)
    info = CameraInfo(128, 72, "plumb_bob", (-0.2, 0.0, 0.0, 0.0), K, (0.0,) * 9, (0.0,) * 12)
    robot.builder.add_camera_info("front", info)
    robot.run(range(16, 18))
    assert robot.observed() == [16, 17]
    made, whole = robot.results[17], textured("front", 17).to_rgb("")
    assert isinstance(made, Observation)
    assert np.abs(made.images[0] - camera_tensor(whole, 96)).max() > 0.05  # the distortion is gone


def test_pictures_of_another_aspect_are_a_warning_with_its_remedy() -> None:
    robot = rig({"front": CameraGeometry(4 / 3), "wrist": CameraGeometry(1.0)})
    robot.run(range(12))
    assert robot.observed() == [9, 10, 11]
    status = robot.status("camera front")
    assert status.level is Level.WARN
    assert "its 128x72 pictures are 1.78 times as wide as high" in status.message
    assert "crop them: {x: 16, y: 0, width: 96, height: 72}" in str(status.values["remedy"])
    assert robot.status("camera wrist").level is Level.OK
    mended = rig({"front": CameraGeometry(4 / 3)}, crop=CROP)
    mended.run(range(12))
    assert mended.status("camera front").level is Level.OK


def test_another_field_of_view_is_a_warning_once_the_calibration_is_known() -> None:
    robot = rig({"front": CameraGeometry(128 / 72, 69.0)}, camera_info=INFO_TOPIC)
    robot.run(range(12))
    assert robot.status("camera front").level is Level.OK
    info = CameraInfo(128, 72, "plumb_bob", (0.0,) * 5, (64.0, *K[1:4], 64.0, *K[5:]), (0.0,) * 9, (0.0,) * 12)
    robot.builder.add_camera_info("front", info)
    status = robot.status("camera front")
    assert status.level is Level.WARN
    assert "its pictures show 90.0 degrees from left to right" in status.message
    assert status.values["horizontal_fov_deg"] == 90.0


def test_a_policy_that_does_not_say_what_it_was_trained_on_is_said_not_to_be_compared() -> None:
    robot = rig()
    robot.run(range(12))
    assert str(robot.status("camera front").values["geometry"]).startswith("not checked")
