"""What a profile says of a camera's pictures: what cannot be is found by `f1-ros robot check`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from f1_ros.cli.main import main
from f1_ros.robots.camera import Camera, Crop, info_topic
from f1_ros.robots.check import find_problems
from f1_ros.robots.profile import load_profile

PROFILE = load_profile("franka_fr3")
FRONT = dataclasses.replace(PROFILE.cameras[0], sizes=((640, 480),))


def problems(camera: Camera) -> list[tuple[str, str]]:
    changed = dataclasses.replace(PROFILE, cameras=(camera, *PROFILE.cameras[1:]))
    return [(found.key, found.problem) for found in find_problems(changed)]


def test_a_crop_and_a_calibration_stand_in_the_profile(tmp_path: Path) -> None:
    text = yaml.safe_load((Path(__file__).parents[2] / "config" / "robots" / "franka_fr3.yaml").read_text())
    text["cameras"][0] |= {
        "sizes": [[640, 480]],
        "camera_info": "/camera/front/color/camera_info",
        "rectify": True,
        "crop": {"x": 80, "y": 0, "width": 480, "height": 480},
    }
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(text))
    camera = load_profile(tmp_path / "robot.yaml").camera("front")
    assert camera.crop == Crop(80, 0, 480, 480)
    assert (camera.rectify, camera.camera_info) == (True, "/camera/front/color/camera_info")
    assert problems(camera) == []


@pytest.mark.parametrize("crop", [Crop(0, 0, 641, 480), Crop(-1, 0, 100, 100), Crop(0, 400, 10, 81), Crop(0, 0, 0, 10)])
def test_a_crop_outside_the_picture_is_found(crop: Crop) -> None:
    ((key, problem),) = problems(dataclasses.replace(FRONT, crop=crop))
    assert key == "cameras[0].crop"
    assert "are not in a 640x480 picture" in problem


def test_a_crop_of_pictures_of_several_sizes_is_found() -> None:
    several = dataclasses.replace(FRONT, sizes=((640, 480), (320, 240)), crop=Crop(0, 0, 320, 240))
    assert ("cameras[0].sizes", "are several, and a crop is in pixels of one") in problems(several)


def test_rectifying_needs_the_topic_of_a_calibration() -> None:
    ((key, problem),) = problems(dataclasses.replace(FRONT, rectify=True))
    assert (key, problem) == ("cameras[0].camera_info", "is not given, and pictures are to be rectified")
    ((key, _),) = problems(dataclasses.replace(FRONT, rectify=True, camera_info="camera info"))
    assert key == "cameras[0].camera_info"


@pytest.mark.parametrize(
    ("topic", "info"),
    [
        ("/camera/front/color/image_raw", "/camera/front/color/camera_info"),
        ("/camera/front/color/image_raw/compressed", "/camera/front/color/camera_info"),
    ],
)
def test_the_calibrations_topic_is_by_convention_beside_the_pictures(topic: str, info: str) -> None:
    assert info_topic(dataclasses.replace(FRONT, topic=topic)) == info
    assert info_topic(dataclasses.replace(FRONT, topic=topic, camera_info="/mine")) == "/mine"


def test_a_check_that_is_too_short_is_refused_before_anything_is_listened_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["camera", "check", "franka_fr3", "--seconds", "0.5"]) == 2
    assert "--seconds is 0.5. Remedy: Listen for 1 s or longer." in capsys.readouterr().err
