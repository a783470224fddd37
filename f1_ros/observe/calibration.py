"""A camera's calibration, and pictures rectified by it.

As ROS's own image_geometry and image_proc do it: from the fields of a sensor_msgs/CameraInfo, with OpenCV's maps made
once and applied to each picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ImageError
from f1_ros.robots.camera import Crop

COEFFICIENTS = {"plumb_bob": (4, 5), "rational_polynomial": (8,), "equidistant": (4,)}
"""How many distortion coefficients each model of sensor_msgs/distortion_models.hpp has."""

LARGEST = 1e6
"""Entries of a calibration's matrices are lengths in pixels or less: larger ones, and NaN, are a mistake."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class CameraInfo:
    """The fields of a sensor_msgs/CameraInfo: two are equal if they say the same.

    Attributes:
        width, height: of the whole sensor's pictures, px.
        distortion_model, d, k, r, p: as in the message; rows one after the other.
        binning: (columns, rows) of the sensor that make one pixel; 0 as 1.
        roi: (x, y, width, height) of the part of the sensor that is sent, px before binning; width and height 0: all.
    """

    width: int
    height: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    r: tuple[float, ...]
    p: tuple[float, ...]
    binning: tuple[int, int] = (0, 0)
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Calibration:
    """A camera's calibration for the pictures that it sends.

    Attributes:
        width, height: of its pictures, px.
        fisheye: the model is `equidistant`, otherwise OpenCV's radial and tangential one.
        coefficients: (n,) distortion, all 0 where there is none.
        camera: (3, 3) intrinsic matrix of the pictures, px.
        rotation: (3, 3) to the rectified camera.
        rectified: (3, 3) intrinsic matrix of the rectified pictures, px.
    """

    width: int
    height: int
    fisheye: bool
    coefficients: Matrix
    camera: Matrix
    rotation: Matrix
    rectified: Matrix

    @classmethod
    def of(cls, info: CameraInfo, topic: str) -> Calibration:
        """What a CameraInfo says of the pictures that come with it.

        Binning and region of interest shift and scale both matrices, as in image_geometry's `PinholeCameraModel`. A
        driver of one camera may leave R and the left of P zero: then the camera is not turned, and P is K.

        Args:
            info: the message's fields.
            topic: where it came from, named in errors.

        Raises:
            ImageError: if the camera is not calibrated, or the calibration cannot be.
        """
        camera, rotation = _matrix(info.k, 3, topic), _matrix(info.r, 3, topic)
        rectified = _matrix(info.p, 4, topic)[:, :3]
        coefficients = np.array(info.d or (0.0,) * 4, dtype=np.float64)
        if camera[0, 0] == 0.0 or camera[1, 1] == 0.0:
            raise ImageError(
                f"Topic {topic}: the camera is not calibrated (K is zero).",
                remedy="Calibrate it (ROS's camera_calibration) or use a driver that knows its calibration.",
            )
        known = COEFFICIENTS.get(info.distortion_model, ())
        if info.d and (len(info.d) not in known or not np.isfinite(coefficients).all()):
            raise ImageError(
                f"Topic {topic}: distortion model '{info.distortion_model}' with {len(info.d)} coefficients.",
                remedy=f"Use a driver that gives one of {', '.join(COEFFICIENTS)}, each with its coefficients.",
            )
        rotation = rotation if rotation.any() else np.eye(3)
        rectified = rectified if rectified[0, 0] else camera
        focal = [float(matrix[i, i]) for matrix in (camera, rectified) for i in (0, 1)]
        if min(focal) < 1.0:
            raise ImageError(
                f"Topic {topic}: focal lengths of {focal} px.",
                remedy="Check the camera's driver, or calibrate it anew.",
            )
        x, y, width, height = info.roi
        if not width and not height:
            x, y, width, height = 0, 0, info.width, info.height
        columns, rows = max(1, info.binning[0]), max(1, info.binning[1])
        sent = np.array([[1 / columns, 0.0, -x / columns], [0.0, 1 / rows, -y / rows], [0.0, 0.0, 1.0]])
        return cls(
            width // columns,
            height // rows,
            info.distortion_model == "equidistant",
            coefficients,
            sent @ camera,
            rotation,
            sent @ rectified,
        )

    @property
    def straight(self) -> bool:
        """Whether the pictures are rectified as they come."""
        undistorted = not self.coefficients.any() and not self.fisheye
        return undistorted and np.array_equal(self.rotation, np.eye(3)) and np.allclose(self.camera, self.rectified)

    def fov_deg(self, part: Crop, *, rectified: bool) -> float | None:
        """Angle between the rays through the middle of the left and of the right edge of a part, degrees.

        As librealsense's `rs2_fov`, but for any distortion: pixel centres have whole coordinates, so the edges lie half
        a pixel outside the outermost of them. None where the calibration gives no such rays.

        Args:
            part: of the picture.
            rectified: of the rectified picture.
        """
        left, right, middle = part.x - 0.5, part.x + part.width - 0.5, part.y + (part.height - 1) / 2
        edges = np.array([[[left, middle]], [[right, middle]]])
        if rectified:
            rays = (edges[:, 0, 0] - self.rectified[0, 2]) / self.rectified[0, 0]
        else:
            undistort = cv2.fisheye.undistortPoints if self.fisheye else cv2.undistortPoints
            rays = np.asarray(undistort(edges, self.camera, self.coefficients))[:, 0, 0]
        angle = math.degrees(math.atan(rays[1]) - math.atan(rays[0]))
        return angle if 0.0 < angle < 180.0 else None  # nor if it is NaN


class Rectification:
    """Rectifies pictures of one calibration, and gives one part of each. Thread-safe."""

    def __init__(self, calibration: Calibration, part: Crop) -> None:
        """Make the maps.

        Args:
            calibration: of the camera.
            part: of the rectified picture that is given.
        """
        self._part = part
        self._maps: tuple[Any, Any] | None = None
        if not calibration.straight:
            matrix = calibration.rectified.copy()
            matrix[:2, 2] -= part.x, part.y
            make = cv2.fisheye.initUndistortRectifyMap if calibration.fisheye else cv2.initUndistortRectifyMap
            self._maps = make(
                calibration.camera,
                calibration.coefficients,
                calibration.rotation,
                matrix,
                (part.width, part.height),
                cv2.CV_16SC2,  # as image_geometry: to 1/32 of a pixel, in half the time
            )

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of a picture, rectified; black where the camera has seen nothing.

        Args:
            picture: (H, W, 3) uint8 of the calibration's size.

        Returns:
            (height, width, 3) uint8 of the part's size.
        """
        if self._maps is None:
            return cut(picture, self._part)
        return np.asarray(cv2.remap(picture, *self._maps, cv2.INTER_LINEAR), np.uint8)


def cut(picture: NDArray[np.uint8], part: Crop) -> NDArray[np.uint8]:
    """A part of a picture, by reference."""
    return picture[part.y : part.y + part.height, part.x : part.x + part.width]


def _matrix(values: tuple[float, ...], columns: int, topic: str) -> Matrix:
    matrix = np.array(values, dtype=np.float64)
    if matrix.size != 3 * columns or not (np.abs(matrix) <= LARGEST).all():
        raise ImageError(
            f"Topic {topic}: a matrix of the calibration holds {list(values)}.",
            remedy="Check the camera's driver: K and R have nine numbers, P has twelve, in pixels.",
        )
    return matrix.reshape(3, columns)
