"""What a camera's pictures show of the world, as far as a policy depends on it: their aspect and field of view."""

from __future__ import annotations

import math
from dataclasses import dataclass

from f1_ros.errors import ConfigError

ASPECT_TOLERANCE = 0.02
"""Aspects differ from here on, as a part of one: less is a row or two that a driver or a video encoder took away."""

FOV_TOLERANCE = 0.05
"""Fields of view differ from here on, as a part of one: two cameras of a kind, calibrated each, differ by less."""

WIDEST_DEG = 360.0


@dataclass(frozen=True)
class CameraGeometry:
    """The pictures of a camera, rectified and cropped as policies see them.

    Attributes:
        aspect: width over height.
        horizontal_fov_deg: angle between the rays through the middle of the left and of the right edge, degrees; null
            if it is not known.

    Raises:
        ConfigError: if one of them is not positive, or the angle is above 360.
    """

    aspect: float
    horizontal_fov_deg: float | None = None

    def __post_init__(self) -> None:
        fov = self.horizontal_fov_deg
        if not self.aspect > 0.0 or (fov is not None and not 0.0 < fov <= WIDEST_DEG):
            raise ConfigError(
                f"Pictures of aspect {self.aspect:g} and horizontal field of view {fov} degrees cannot be.",
                remedy="Give width over height, and an angle in degrees or null; `f1-ros camera check` shows both.",
            )

    def has_aspect(self, aspect: float) -> bool:
        """Whether pictures of an aspect count as of this one."""
        return abs(aspect / self.aspect - 1.0) <= ASPECT_TOLERANCE


@dataclass(frozen=True)
class Difference:
    """One way in which a camera's pictures are not what a policy was trained on.

    Attributes:
        figure: which of `CameraGeometry`'s figures.
        problem: what is different.
        remedy: what to do about it.
    """

    figure: str
    problem: str
    remedy: str


def differences(
    width: int, height: int, fov_deg: float | None, trained: CameraGeometry, origin: tuple[int, int] = (0, 0)
) -> list[Difference]:
    """How pictures differ from those that a policy was trained on.

    Args:
        width: of the pictures as the policy would see them, px.
        height: the same, px.
        fov_deg: their horizontal field of view, degrees; None if it is not known.
        trained: what the policy's training pictures were.
        origin: (x, y) of the pictures' corner in the camera's whole picture, px, so that the remedy can name a crop.

    Returns:
        The differences, none if they are within `ASPECT_TOLERANCE` and `FOV_TOLERANCE`. A field of view that is not
        known on either side is not compared.
    """
    found = []
    aspect, wanted = width / height, trained.horizontal_fov_deg
    if not trained.has_aspect(aspect):
        remedy = f"Set the camera to pictures of that aspect, or {_crop(width, height, width, trained.aspect, origin)}."
        found.append(
            Difference(
                "aspect",
                f"its {width}x{height} pictures are {aspect:.3g} times as wide as high, those that the policy was "
                f"trained on {trained.aspect:.3g} times",
                remedy,
            )
        )
    if fov_deg is not None and wanted is not None and abs(fov_deg / wanted - 1.0) > FOV_TOLERANCE:
        remedy = "Use the kind of camera and the resolution that the data were recorded with."
        if wanted < fov_deg < 180.0:
            columns = round(width * math.tan(math.radians(wanted) / 2) / math.tan(math.radians(fov_deg) / 2))
            remedy = f"{remedy[:-1]}, or {_crop(width, height, columns, trained.aspect, origin)}."
        found.append(
            Difference(
                "horizontal_fov_deg",
                f"its pictures show {fov_deg:.1f} degrees from left to right, those that the policy was trained on "
                f"{wanted:.1f}",
                remedy,
            )
        )
    return found


def _crop(width: int, height: int, columns: int, aspect: float, origin: tuple[int, int]) -> str:
    """A crop about the middle, at most so many columns wide and of an aspect, as a profile has it."""
    columns = max(1, min(columns, round(height * aspect)))
    rows = max(1, min(height, round(columns / aspect)))
    x, y = origin[0] + (width - columns) // 2, origin[1] + (height - rows) // 2
    return f"crop them: {{x: {x}, y: {y}, width: {columns}, height: {rows}}}"
