"""Pictures beside those that a policy was trained on: what differs is said, and the crop that is named mends it."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observe_rig import SPEC

from f1_ros.engine.policy import PolicyFile, load_spec, save_policy_file
from f1_ros.errors import ConfigError
from f1_ros.observe.geometry import CameraGeometry, differences


def crop_of(remedy: str) -> tuple[int, int, int, int]:
    found = re.search(r"\{x: (\d+), y: (\d+), width: (\d+), height: (\d+)\}", remedy)
    assert found is not None
    return tuple(int(number) for number in found.groups())


def cropped_fov(width: int, fov_deg: float, columns: int) -> float:
    return 2 * math.degrees(math.atan(columns / width * math.tan(math.radians(fov_deg) / 2)))


def test_pictures_of_another_aspect_are_named_with_a_crop() -> None:
    (found,) = differences(1280, 720, None, CameraGeometry(4 / 3))
    assert "its 1280x720 pictures are 1.78 times as wide as high" in found.problem
    assert "1.33" in found.problem
    assert crop_of(found.remedy) == (160, 0, 960, 720)


def test_a_wider_view_is_named_with_a_crop_and_a_narrower_one_without() -> None:
    (wide,) = differences(640, 480, 87.0, CameraGeometry(4 / 3, 69.0))
    assert wide.figure == "horizontal_fov_deg"
    assert cropped_fov(640, 87.0, crop_of(wide.remedy)[2]) == pytest.approx(69.0, abs=0.3)
    (narrow,) = differences(640, 480, 55.0, CameraGeometry(4 / 3, 69.0))
    assert "crop" not in narrow.remedy
    assert "55.0 degrees" in narrow.problem


def test_a_crop_is_named_in_pixels_of_the_whole_picture() -> None:
    (found,) = differences(800, 600, None, CameraGeometry(1.0), (100, 50))
    assert crop_of(found.remedy) == (200, 50, 600, 600)


@pytest.mark.parametrize(("fov", "trained"), [(None, 69.0), (69.0, None), (70.5, 69.0)])
def test_what_is_not_known_or_nearly_alike_is_no_difference(fov: float | None, trained: float | None) -> None:
    assert differences(640, 480, fov, CameraGeometry(1.333, trained)) == []


@given(st.integers(640, 2000), st.integers(480, 2000), st.floats(40, 120), st.floats(0.5, 2.5), st.floats(40, 120))
def test_the_crop_that_is_named_leaves_no_difference_that_a_crop_can_mend(width, height, fov, aspect, trained) -> None:
    wanted = CameraGeometry(aspect, trained)
    for _ in range(3):
        crops = [crop_of(d.remedy) for d in differences(width, height, fov, wanted) if "{x:" in d.remedy]
        if not crops:
            break
        x, y, columns, rows = min(crops, key=lambda crop: crop[2])
        assert x + columns <= width
        assert y + rows <= height
        fov, width, height = cropped_fov(width, fov, columns), columns, rows
    assert not [d for d in differences(width, height, fov, wanted) if "{x:" in d.remedy]


@pytest.mark.parametrize("values", [(0.0, None), (-1.0, None), (1.0, 0.0), (1.0, 361.0), (float("nan"), None)])
def test_pictures_that_cannot_be_are_refused(values: tuple[float, float | None]) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        CameraGeometry(*values)


def test_a_policys_training_pictures_stand_in_its_file(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, camera_geometry={"front": CameraGeometry(4 / 3, 69.4)})
    save_policy_file(PolicyFile(spec, (False,) * 8), tmp_path)
    assert load_spec(tmp_path) == spec
    text = json.loads((tmp_path / "policy.json").read_text())
    del text["spec"]["camera_geometry"]  # as policies were written before
    (tmp_path / "policy.json").write_text(json.dumps(text))
    assert load_spec(tmp_path).camera_geometry == {}


def test_training_pictures_of_a_camera_that_the_policy_does_not_have_are_refused() -> None:
    with pytest.raises(ConfigError, match="camera_geometry names top"):
        dataclasses.replace(SPEC, camera_geometry={"top": CameraGeometry(1.0)})
