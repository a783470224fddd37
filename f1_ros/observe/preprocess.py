"""RGB frames to what the model wants: padded camera tensors and cropped history frames.

Both follow the released F1 code: `resize_with_pad` then `* 2 - 1` for cameras, torchvision's `Resize` (Lanczos) and
`CenterCrop` on PIL images for the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ConfigError
from f1_ros.observe.lanczos import lanczos_crop

BLACK = -1.0
"""What padding holds: upstream pads with 0 before it scales [0, 1] to [-1, 1]."""
_SCALED = np.minimum(np.arange(256, dtype=np.float32) * np.float32(2 / 255) - 1, 1)
"""Each grey level scaled to [-1, 1]."""


def camera_tensor(rgb: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Fit a frame into a square, keeping its aspect, with black on the left and top, scaled to [-1, 1].

    Bilinear with half-pixel centres and no smoothing when it shrinks (torch's `interpolate(mode="bilinear",
    align_corners=False)`): a detail smaller than the shrink factor may vanish, as it did in training.

    Args:
        rgb: (H, W, 3) uint8.
        size: side of the square, px.

    Returns:
        (3, size, size) float32 in [-1, 1].

    Raises:
        ConfigError: if the frame is not (H, W, 3) uint8, or so narrow that nothing of it would be left.
    """
    tensor: NDArray[np.float32] = camera_tensors([rgb], size)[0]
    return tensor


def camera_tensors(pictures: Sequence[NDArray[np.uint8]], size: int) -> NDArray[np.float32]:
    """Several frames as `camera_tensor` makes them.

    Returns:
        (frames, 3, size, size) float32, in memory colour by colour.

    Raises:
        ConfigError: as `camera_tensor`.
    """
    sides = [_sides(rgb) for rgb in pictures]
    planes = np.empty((3, len(pictures), size, size), np.float32)
    if all(side == (size, size) for side in sides):
        # All at once: each call of NumPy and OpenCV gives Python's lock away, which other threads of a loader take.
        _into_planes(cv2.LUT(np.concatenate(pictures), _SCALED), planes.reshape(3, -1, size))
    else:
        for i, rgb in enumerate(pictures):
            _fit(rgb, planes[:, i])
    return planes.transpose(1, 0, 2, 3)


def history_frame(
    rgb: NDArray[np.uint8], resize: int, crop: int, *, at: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Resize a frame's shorter side (Lanczos with smoothing) and cut out the centre, or another square.

    Args:
        rgb: (H, W, 3) uint8.
        resize: length of the shorter side after resizing, px.
        crop: side of the square that is kept, px; at most `resize`.
        at: where the square lies in the room that there is, (down, right), each 0 to 1; the centre if not given.

    Returns:
        (3, crop, crop) uint8.

    Raises:
        ConfigError: if the frame is not (H, W, 3) uint8, or `crop` is not in 1 .. `resize`.
    """
    frame: NDArray[np.uint8] = history_frames([rgb], resize, crop, at=[at] if at is not None else None)[0]
    return frame


def history_frames(
    pictures: Sequence[NDArray[np.uint8]], resize: int, crop: int, *, at: Sequence[tuple[float, float]] | None = None
) -> NDArray[np.uint8]:
    """Several frames as `history_frame` makes them; one that follows itself is made once.

    Args:
        pictures: the frames.
        resize: as there.
        crop: as there.
        at: as there, for each of the frames.

    Returns:
        (frames, 3, crop, crop) uint8, in memory colour by colour.

    Raises:
        ConfigError: as `history_frame`.
    """
    places = at if at is not None else [(0.5, 0.5)] * len(pictures)
    squares: list[NDArray[np.uint8]] = []
    for i, rgb in enumerate(pictures):
        repeated = i and rgb is pictures[i - 1] and places[i] == places[i - 1]
        squares.append(squares[-1] if repeated else _square(rgb, resize, crop, places[i]))
    planes = np.empty((3, len(squares), crop, crop), np.uint8)
    _into_planes(np.concatenate(squares), planes.reshape(3, -1, crop))
    return planes.transpose(1, 0, 2, 3)


def _fit(rgb: NDArray[np.uint8], planes: NDArray[np.float32]) -> None:
    """Fit a frame into (3, size, size)."""
    height, width = rgb.shape[:2]
    size = planes.shape[1]
    # Upstream's float arithmetic, which decides by truncation.
    ratio = max(width / size, height / size)
    rows, columns = int(height / ratio), int(width / ratio)
    if rows < 1 or columns < 1:
        raise ConfigError(
            f"A {width}x{height} frame cannot be fitted into {size}x{size} pixels.",
            remedy="Check the camera's resolution and the policy's image size.",
        )
    # In float32: on uint8 OpenCV rounds its weights and its result. It agrees with torch to a tenth of a grey level.
    scaled = cv2.resize(rgb.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
    scaled *= np.float32(2 / 255)
    scaled -= 1
    np.minimum(scaled, 1, out=scaled)  # rounding leaves 1 + 1e-7
    planes[:, : size - rows] = BLACK
    planes[:, :, : size - columns] = BLACK
    _into_planes(scaled, planes[:, size - rows :, size - columns :])


def _square(rgb: NDArray[np.uint8], resize: int, crop: int, at: tuple[float, float]) -> NDArray[np.uint8]:
    """A frame resized, and the square of it that lies at a place."""
    height, width = _sides(rgb)
    if not 1 <= crop <= resize:
        raise ConfigError(
            f"History frames are cropped to {crop} px of a shorter side of {resize} px.",
            remedy="Give a crop between 1 and the resized side.",
        )
    shorter = min(height, width)
    # torchvision truncates the longer side.
    rows, columns = int(resize * height / shorter), int(resize * width / shorter)
    top, left = round((rows - crop) * at[0]), round((columns - crop) * at[1])  # half to even, as torchvision
    if shorter == resize:
        return rgb[top : top + crop, left : left + crop]
    return lanczos_crop(rgb, (rows, columns), (top, left), crop)


def _into_planes(picture: NDArray[Any], planes: NDArray[Any]) -> None:
    """Write (H, W, 3) as (3, H, W), several times faster than NumPy copies a transposed array."""
    cv2.split(picture, [planes[0], planes[1], planes[2]])


def _sides(rgb: NDArray[np.uint8]) -> tuple[int, int]:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise ConfigError(
            f"A frame has shape {rgb.shape} and type {rgb.dtype}, expected (H, W, 3) uint8.",
            remedy="Convert camera messages with f1_ros.observe.images.to_rgb first.",
        )
    return rgb.shape[0], rgb.shape[1]
