"""RGB frames to what the model wants: padded camera tensors and cropped history frames.

Both follow the released F1 code: `resize_with_pad` then `* 2 - 1` for cameras, torchvision's `Resize` (Lanczos) and
`CenterCrop` on PIL images for the history.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from f1_ros.errors import ConfigError

BLACK = -1.0
"""What padding holds: upstream pads with 0 before it scales [0, 1] to [-1, 1]."""


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
    height, width = _sides(rgb)
    # Upstream's float arithmetic, which decides by truncation.
    ratio = max(width / size, height / size)
    rows, columns = int(height / ratio), int(width / ratio)
    if rows < 1 or columns < 1:
        raise ConfigError(
            f"A {width}x{height} frame cannot be fitted into {size}x{size} pixels.",
            remedy="Check the camera's resolution and the policy's image size.",
        )
    picture = np.full((3, size, size), BLACK, np.float32)
    # In float32: on uint8 OpenCV rounds its weights and its result. It agrees with torch to a tenth of a grey level.
    resized = cv2.resize(rgb.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
    inside = picture[:, size - rows :, size - columns :]
    np.multiply(resized.transpose(2, 0, 1), np.float32(2 / 255), out=inside)
    inside -= 1
    np.clip(inside, -1, 1, out=inside)  # rounding leaves 1 + 1e-7
    return picture


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
    height, width = _sides(rgb)
    if not 1 <= crop <= resize:
        raise ConfigError(
            f"History frames are cropped to {crop} px of a shorter side of {resize} px.",
            remedy="Give a crop between 1 and the resized side.",
        )
    shorter = min(height, width)
    if shorter != resize:
        # torchvision truncates the longer side.
        rows, columns = int(resize * height / shorter), int(resize * width / shorter)
        image = Image.fromarray(np.ascontiguousarray(rgb)).resize((columns, rows), Image.Resampling.LANCZOS)
        rgb, height, width = np.asarray(image, np.uint8), rows, columns
    down, right = at if at is not None else (0.5, 0.5)
    top, left = round((height - crop) * down), round((width - crop) * right)  # half to even, as torchvision
    return np.ascontiguousarray(rgb[top : top + crop, left : left + crop].transpose(2, 0, 1))


def _sides(rgb: NDArray[np.uint8]) -> tuple[int, int]:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise ConfigError(
            f"A frame has shape {rgb.shape} and type {rgb.dtype}, expected (H, W, 3) uint8.",
            remedy="Convert camera messages with f1_ros.observe.images.to_rgb first.",
        )
    return rgb.shape[0], rgb.shape[1]
