"""Camera frames as they arrive: fields of an image message by reference, converted only when they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f1_ros.observe.images import decode_compressed, to_rgb


@dataclass(frozen=True, eq=False)
class ImageFrame:
    """The fields of a sensor_msgs/Image; `data` is referred to, not copied.

    Attributes:
        encoding, height, width, step, is_bigendian, data: as in the message (px, bytes).
        frame_id: of the message's header: which camera took it.
    """

    encoding: str
    height: int
    width: int
    step: int
    is_bigendian: bool
    data: Any
    frame_id: str = ""

    @classmethod
    def from_rgb(cls, rgb: NDArray[np.uint8]) -> ImageFrame:
        """Wrap an (H, W, 3) uint8 RGB picture, as a simulator renders it."""
        height, width = rgb.shape[:2]
        return cls("rgb8", height, width, width * 3, False, np.ascontiguousarray(rgb).reshape(-1))

    def to_rgb(self, topic: str) -> NDArray[np.uint8]:
        """(height, width, 3) uint8; see `images.to_rgb` for errors."""
        return to_rgb(
            self.encoding, self.height, self.width, self.step, bool(self.is_bigendian), self.data, topic=topic
        )


@dataclass(frozen=True, eq=False)
class CompressedFrame:
    """The fields of a sensor_msgs/CompressedImage.

    Attributes:
        format: as in the message, such as "jpeg".
        data: the JPEG or PNG file.
        frame_id: of the message's header: which camera took it.
    """

    format: str
    data: Any
    frame_id: str = ""

    def to_rgb(self, topic: str) -> NDArray[np.uint8]:
        """(H, W, 3) uint8; see `images.decode_compressed` for errors."""
        return decode_compressed(self.format, self.data, topic=topic)


Frame = ImageFrame | CompressedFrame


def same_content(one: Frame, other: Frame) -> bool:
    """Whether two frames hold the same bytes. Nearly free when they differ, which is the common case."""
    a, b = np.frombuffer(one.data, np.uint8), np.frombuffer(other.data, np.uint8)
    if a.size != b.size:
        return False
    sample = slice(None, None, 1 + a.size // 1024)
    return np.array_equal(a[sample], b[sample]) and np.array_equal(a, b)
