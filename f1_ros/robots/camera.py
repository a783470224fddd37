"""What a robot profile says of a camera: its topic, its pictures, and what policies see of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Crop:
    """A part of a picture, px: `width` columns from `x` on and `height` rows from `y` on, counted from the top left."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Camera:
    """A camera.

    Policies see its pictures rectified, then cropped, where it says so; their own resize and pad comes after that.

    Attributes:
        name: its name in policies.
        topic: absolute name of its image topic.
        type: message type.
        sizes: (width, height) pairs that are accepted, px.
        rate_hz: frame rate that it is set to, Hz.
        min_rate_hz: below this rate it is reported as slow, Hz.
        camera_info: topic of its sensor_msgs/msg/CameraInfo; empty: none is listened to.
        rectify: its pictures are rectified by what `camera_info` says, because the policy's training pictures were.
        crop: the part of the picture, rectified or not, that the policy's training pictures showed; null: all of it.
    """

    name: str
    topic: str
    type: Literal["sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"]
    sizes: tuple[tuple[int, int], ...]
    rate_hz: float = 30.0
    min_rate_hz: float = 15.0
    camera_info: str = ""
    rectify: bool = False
    crop: Crop | None = None

    def accepts(self, width: int, height: int) -> bool:
        """Whether a frame has one of the expected sizes, px."""
        return (width, height) in self.sizes


def info_topic(camera: Camera) -> str:
    """Topic of a camera's CameraInfo: what the profile says, or else that of ROS's convention, beside its images."""
    return camera.camera_info or camera.topic.removesuffix("/compressed").rpartition("/")[0] + "/camera_info"
