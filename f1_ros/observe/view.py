"""What policies see of a camera: its frames in RGB, rectified and cropped as the profile says.

view = CameraView(camera)
view.calibrate(CameraInfo(...))          each CameraInfo message, where the profile names a topic of them
view.picture(frame)                      (H, W, 3) RGB: what observations, recordings and checks are made of
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ImageError
from f1_ros.observe.calibration import Calibration, CameraInfo, Rectification, cut
from f1_ros.observe.frames import Frame
from f1_ros.observe.geometry import CameraGeometry, Difference, differences
from f1_ros.robots.camera import Camera, Crop


@dataclass(frozen=True)
class _Calibrated:
    """What follows from a CameraInfo: the size of its pictures, how they are rectified, how wide a part is seen."""

    size: tuple[int, int]
    rectification: Rectification | None
    fov_deg: float | None


class CameraView:
    """A camera's pictures as policies see them. One thread calibrates; any number take pictures."""

    def __init__(self, camera: Camera) -> None:
        """Know nothing but the profile."""
        self.camera = camera
        self._info: CameraInfo | None = None
        self._calibrated: _Calibrated | ImageError | None = None
        self._sizes: tuple[tuple[int, int], tuple[int, int]] | None = None  # of the newest frame, and of its picture

    def calibrate(self, info: CameraInfo) -> None:
        """Take what a CameraInfo says; cheap if it says what it said before. What is wrong with it, `picture` says."""
        if info == self._info:
            return
        try:
            self._calibrated = self._follow(Calibration.of(info, self.camera.camera_info))
        except ImageError as error:
            self._calibrated = error
        self._info = info

    def picture(self, frame: Frame) -> NDArray[np.uint8]:
        """A frame in RGB, rectified and cropped.

        Returns:
            (H, W, 3) uint8.

        Raises:
            ImageError: naming the topic, if it cannot be converted, has a size that the profile does not name, or is to
                be rectified and no CameraInfo of its size has come.
        """
        camera = self.camera
        picture = frame.to_rgb(camera.topic)
        height, width = picture.shape[:2]
        if not camera.accepts(width, height):
            sizes = ", ".join(f"{w}x{h}" for w, h in camera.sizes)
            raise ImageError(
                f"Topic {camera.topic}: frames are {width}x{height}, expected {sizes}.",
                remedy=f"Set camera '{camera.name}' to that resolution, or the profile to the camera's.",
            )
        if camera.rectify:
            picture = self._rectification(width, height).apply(picture)
        elif camera.crop is not None:
            picture = cut(picture, camera.crop)
        self._sizes = (width, height), (picture.shape[1], picture.shape[0])
        return picture

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the newest picture, px; None before the first."""
        return None if self._sizes is None else self._sizes[1]

    @property
    def fov_deg(self) -> float | None:
        """Horizontal field of view of the newest picture, degrees; None if it is not known."""
        return self._calibrated.fov_deg if isinstance(self._calibrated, _Calibrated) and not self.fov_unknown else None

    @property
    def fov_unknown(self) -> str:
        """Why the field of view of the newest picture is not known; empty if it is."""
        known = self._calibrated
        if known is None:
            return "no CameraInfo came"
        if isinstance(known, ImageError):
            return known.problem.rstrip(".")
        if self._sizes is None or self._sizes[0] != known.size:
            return f"its CameraInfo is for {known.size[0]}x{known.size[1]} pictures"
        return "" if known.fov_deg is not None else "its CameraInfo gives no rays for the edges"

    def differences(self, trained: CameraGeometry) -> list[Difference]:
        """How the newest picture differs from those that a policy was trained on; see `geometry.differences`."""
        crop = self.camera.crop
        corner = (crop.x, crop.y) if crop is not None else (0, 0)
        return [] if self.size is None else differences(*self.size, self.fov_deg, trained, corner)

    def _follow(self, calibration: Calibration) -> _Calibrated:
        camera, size = self.camera, (calibration.width, calibration.height)
        if not camera.accepts(*size):
            return _Calibrated(size, None, None)
        part = camera.crop or Crop(0, 0, *size)
        rectification = Rectification(calibration, part) if camera.rectify else None
        return _Calibrated(size, rectification, calibration.fov_deg(part, rectified=camera.rectify))

    def _rectification(self, width: int, height: int) -> Rectification:
        camera, known = self.camera, self._calibrated
        if isinstance(known, ImageError):
            raise ImageError(known.problem, remedy=known.remedy)
        if known is None:
            raise ImageError(
                f"Topic {camera.camera_info}: nothing has come yet, and pictures of camera '{camera.name}' are to be "
                "rectified by it.",
                remedy="Check that the camera's driver publishes it, and the topic in the profile.",
            )
        if known.rectification is None or known.size != (width, height):
            raise ImageError(
                f"Topic {camera.camera_info}: it is for {known.size[0]}x{known.size[1]} pictures, those on "
                f"{camera.topic} are {width}x{height}.",
                remedy="Name the CameraInfo topic of the same stream in the profile.",
            )
        return known.rectification
