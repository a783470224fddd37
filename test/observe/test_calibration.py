"""Rectified and cropped pictures: as OpenCV's own projection says, and what is wrong with a calibration is named."""

from __future__ import annotations

import contextlib
import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.errors import ImageError
from f1_ros.observe.calibration import Calibration, CameraInfo
from f1_ros.observe.frames import ImageFrame
from f1_ros.observe.view import CameraView
from f1_ros.robots.camera import Camera, Crop

WIDTH, HEIGHT = 160, 120
K = (130.0, 0.0, 80.0, 0.0, 131.0, 58.0, 0.0, 0.0, 1.0)
EYE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
P = (130.0, 0.0, 80.0, 0.0, 0.0, 131.0, 58.0, 0.0, 0.0, 0.0, 1.0, 0.0)
D = {
    "plumb_bob": (-0.25, 0.08, 0.002, -0.001, 0.01),
    "rational_polynomial": (0.4, -0.1, 0.001, 0.001, 0.02, 0.6, -0.05, 0.01),
    "equidistant": (0.02, -0.01, 0.005, -0.002),
}
INFO = CameraInfo(WIDTH, HEIGHT, "plumb_bob", D["plumb_bob"], K, EYE, P)
TOPIC = "/camera/camera_info"


def view(info: CameraInfo | None = INFO, **how: object) -> CameraView:
    camera = Camera("front", "/camera/image", "sensor_msgs/msg/Image", ((WIDTH, HEIGHT),))
    made = CameraView(dataclasses.replace(camera, camera_info=TOPIC, **how))
    if info is not None:
        made.calibrate(info)
    return made


def directions() -> np.ndarray:
    """Directions of points that the camera sees, (n, 3)."""
    x, y = np.meshgrid(np.linspace(-0.45, 0.45, 5), np.linspace(-0.3, 0.3, 4))
    return np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)


def seen_by(info: CameraInfo, points: np.ndarray) -> np.ndarray:
    """Where the camera sees points, px, by OpenCV's projection."""
    project = cv2.fisheye.projectPoints if info.distortion_model == "equidistant" else cv2.projectPoints
    matrix, zero = np.array(info.k).reshape(3, 3), np.zeros(3)
    if info.distortion_model == "equidistant":
        return project(points[:, None], zero, zero, matrix, np.array(info.d))[0].reshape(-1, 2)
    return project(points, zero, zero, matrix, np.array(info.d))[0].reshape(-1, 2)


def photograph(places: np.ndarray) -> ImageFrame:
    """A picture with a soft dot at each place, px."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    light = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8.0) for px, py in places)
    return ImageFrame.from_rgb(np.repeat((255 * np.minimum(light, 1.0)).astype(np.uint8)[:, :, None], 3, axis=2))


def centre(picture: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Centre of the light around a place, px."""
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    weight = picture[:, :, 0] * (np.hypot(x - near[0], y - near[1]) < 5)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("model", list(D))
@pytest.mark.parametrize("crop", [None, Crop(16, 10, 120, 96)])
def test_a_rectified_picture_shows_each_point_where_the_projection_matrix_says(model: str, crop: Crop | None) -> None:
    info = dataclasses.replace(INFO, distortion_model=model, d=D[model])
    points = directions()
    distorted = seen_by(info, points)
    straight = points[:, :2] * [130.0, 131.0] + [80.0, 58.0]
    assert np.abs(distorted - straight).max() > 2.0  # there is something to rectify
    picture = view(info, rectify=True, crop=crop).picture(photograph(distorted))
    corner = (crop.x, crop.y) if crop else (0, 0)
    assert picture.shape == ((crop.height, crop.width) if crop else (HEIGHT, WIDTH)) + (3,)
    for place in straight - corner:
        if 6 < place[0] < picture.shape[1] - 6 and 6 < place[1] < picture.shape[0] - 6:
            np.testing.assert_allclose(centre(picture, place), place, atol=0.2)


def test_a_crop_of_the_rectified_picture_is_the_rectified_crop() -> None:
    frame, crop = photograph(seen_by(INFO, directions())), Crop(16, 10, 120, 96)
    whole = view(rectify=True).picture(frame)
    part = view(rectify=True, crop=crop).picture(frame)
    assert np.abs(part.astype(int) - whole[10:106, 16:136]).max() <= 2  # maps are rounded to 1/32 px


def test_a_turned_camera_is_turned_back() -> None:
    turn = cv2.Rodrigues(np.array([0.0, 0.0, 0.1]))[0]
    info = dataclasses.replace(INFO, d=(), r=tuple(turn.ravel()))
    points = directions()
    picture = view(info, rectify=True).picture(photograph(seen_by(dataclasses.replace(info, d=(0.0,) * 5), points)))
    turned = points @ turn.T
    for place in turned[:, :2] * [130.0, 131.0] + [80.0, 58.0]:
        if 6 < place[0] < WIDTH - 6 and 6 < place[1] < HEIGHT - 6:
            np.testing.assert_allclose(centre(picture, place), place, atol=0.2)


def test_pictures_without_distortion_pass_as_they_are() -> None:
    frame = photograph(directions()[:, :2] * 100 + [80, 60])
    undistorted = dataclasses.replace(INFO, d=(0.0,) * 5)
    only_k = dataclasses.replace(INFO, d=(), r=(0.0,) * 9, p=(0.0,) * 12)
    for info in (undistorted, only_k):
        assert np.shares_memory(view(info, rectify=True).picture(frame), frame.data)


def test_a_crop_alone_needs_no_calibration_and_copies_nothing() -> None:
    frame = photograph(directions()[:, :2] * 100 + [80, 60])
    picture = view(None, crop=Crop(10, 20, 100, 50)).picture(frame)
    assert np.array_equal(picture, frame.to_rgb("")[20:70, 10:110])
    assert np.shares_memory(picture, frame.data)


def test_binning_and_a_region_of_interest_move_and_scale_the_calibration() -> None:
    """A point of the sensor's picture is seen in the part that is sent, at its own scale."""
    full = dataclasses.replace(INFO, width=400, height=300, binning=(2, 2), roi=(40, 20, 2 * WIDTH, 2 * HEIGHT))
    made = Calibration.of(full, TOPIC)
    assert (made.width, made.height) == (WIDTH, HEIGHT)
    pixel = made.camera @ [0.1, 0.2, 1.0]
    np.testing.assert_allclose(pixel[:2], [(130 * 0.1 + 80 - 40) / 2, (131 * 0.2 + 58 - 20) / 2])


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("model", ["none", *D])
def test_the_field_of_view_is_the_angle_between_the_rays_of_the_edges(model: str, rectified: bool) -> None:
    info = dataclasses.replace(INFO, distortion_model=model, d=D.get(model, ()))
    part = Crop(20, 30, 100, 57)  # its middle row is the principal point's
    found = Calibration.of(info, TOPIC).fov_deg(part, rectified=rectified)
    edges = np.array([19.5, 119.5])
    if rectified or model == "none":
        slopes = (edges - 80.0) / 130.0
    else:  # the slope that OpenCV projects onto the edge, by search
        slopes = np.linspace(-0.8, 0.8, 20001)
        columns = seen_by(info, np.stack([slopes, np.zeros_like(slopes), np.ones_like(slopes)], axis=1))[:, 0]
        slopes = slopes[np.abs(columns[:, None] - edges).argmin(axis=0)]
    assert found == pytest.approx(math.degrees(math.atan(slopes[1]) - math.atan(slopes[0])), abs=0.05)


def test_the_whole_pictures_field_of_view_is_librealsenses() -> None:
    width, focal, centre_px = 640, 615.0, 320.5
    k = (focal, 0.0, centre_px, 0.0, focal, 240.0, 0.0, 0.0, 1.0)
    made = Calibration.of(CameraInfo(width, 480, "plumb_bob", (), k, EYE, (0.0,) * 12), TOPIC)
    expected = math.atan2(centre_px + 0.5, focal) + math.atan2(width - (centre_px + 0.5), focal)  # rs2_fov
    assert made.fov_deg(Crop(0, 0, width, 480), rectified=False) == pytest.approx(math.degrees(expected))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"k": (0.0,) * 9}, "not calibrated"),
        ({"d": (0.1,) * 3}, "distortion model 'plumb_bob' with 3 coefficients"),
        ({"distortion_model": "ds"}, "distortion model 'ds'"),
        ({"d": (math.nan,) * 5}, "distortion model"),
        ({"k": (math.inf,) * 9}, "a matrix of the calibration"),
        ({"p": (1.0,) * 3}, "a matrix of the calibration"),
        ({"k": (-130.0, *K[1:])}, r"focal lengths of \[-130.0, 131.0"),
        ({"width": 320, "height": 240}, "it is for 320x240 pictures, those on /camera/image are 160x120"),
    ],
)
def test_a_calibration_that_cannot_be_used_is_named_with_its_topic(change: dict, says: str) -> None:
    with pytest.raises(ImageError, match=says) as refused:
        view(dataclasses.replace(INFO, **change), rectify=True).picture(photograph(np.zeros((1, 2))))
    assert TOPIC in refused.value.problem
    assert refused.value.remedy


def test_without_a_calibration_a_picture_that_is_to_be_rectified_is_refused() -> None:
    with pytest.raises(ImageError, match="nothing has come yet"):
        view(None, rectify=True).picture(photograph(np.zeros((1, 2))))


def test_a_new_calibration_replaces_the_old_one() -> None:
    made = view(dataclasses.replace(INFO, k=(0.0,) * 9), rectify=True)
    made.calibrate(INFO)
    assert made.picture(photograph(np.zeros((1, 2)))).shape == (HEIGHT, WIDTH, 3)
    assert made.fov_deg == pytest.approx(math.degrees(2 * math.atan(80 / 130)), abs=0.3)


numbers = st.one_of(st.floats(), st.floats(-1e3, 1e3), st.just(0.0))


@given(
    size=st.sampled_from([(WIDTH, HEIGHT), (0, 0), (2**32 - 1, 2**32 - 1)]),
    model=st.sampled_from(["", *D, "odd"]),
    d=st.lists(numbers, max_size=9),
    k=st.lists(numbers, min_size=9, max_size=9),
    r=st.lists(numbers, min_size=9, max_size=9),
    p=st.lists(numbers, min_size=12, max_size=12),
    binning=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    roi=st.tuples(*[st.integers(0, 500)] * 4),
    crop=st.sampled_from([None, Crop(10, 10, 50, 40)]),
)
def test_any_calibration_gives_a_picture_or_an_image_error(size, model, d, k, r, p, binning, roi, crop) -> None:
    info = CameraInfo(*size, model, tuple(d), tuple(k), tuple(r), tuple(p), binning, roi)
    made = view(info, rectify=True, crop=crop)
    with contextlib.suppress(ImageError):
        picture = made.picture(photograph(np.zeros((1, 2))))
        assert picture.shape == ((40, 50, 3) if crop else (HEIGHT, WIDTH, 3))
    assert made.fov_deg is None or 0.0 < made.fov_deg < 180.0
