"""Image messages to RGB arrays: one function for every encoding that cameras send, one for compressed images.

ROS's `cv_bridge` converts where it can be imported and works; otherwise the conversions here do. Both give the same
picture. Encodings are those of sensor_msgs (`sensor_msgs/image_encodings.hpp`); YUV is BT.601, as in OpenCV.
"""

from __future__ import annotations

import importlib
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from f1_ros.errors import ImageError

Rgb = NDArray[np.uint8]

DEPTH_FAR_MM = 5000
"""Depth that becomes white when a 16UC1 image (mm) is shown as grey; farther is white too, 0 (no measurement) black."""


MAX_PIXELS = 1 << 24
"""A compressed image that claims to be larger than 4096x4096 is damaged: decoding takes minutes and gigabytes."""

_CHECK_LINK = "Check the camera's driver, link and image_transport (jpeg or png)."
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass(frozen=True)
class _Layout:
    """How an encoding lies in memory: `channels` values of `value_bytes` each a pixel, and how to make RGB of them.

    `convert` takes (H, W, channels), or (H, W) for one channel, and gives (H, W, 3) uint8.
    """

    channels: int
    convert: Callable[[NDArray[Any]], Rgb]
    value_bytes: int = 1
    pixels_in_group: int = 1
    smallest: int = 1


def _opencv(code: int) -> Callable[[NDArray[Any]], Rgb]:
    return lambda pixels: np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), code), np.uint8)


def _grey(values: NDArray[Any]) -> Rgb:
    return np.repeat(values[:, :, None].astype(np.uint8, copy=False), 3, axis=2)


def _mono16(values: NDArray[Any]) -> Rgb:
    # 65535 / 255 = 257: the nearest 8-bit value is a rounded division by 257.
    return _grey((values.astype(np.uint32) + 128) // 257)


def _depth(values: NDArray[Any]) -> Rgb:
    near = np.minimum(values, DEPTH_FAR_MM).astype(np.uint32)
    return _grey((near * 255 + DEPTH_FAR_MM // 2) // DEPTH_FAR_MM)


# OpenCV names a Bayer pattern after pixels (1, 1) and (1, 2), ROS after pixels (0, 0), (0, 1), (1, 0), (1, 1).
_LAYOUTS = {
    "rgb8": _Layout(3, lambda p: p),
    "bgr8": _Layout(3, _opencv(cv2.COLOR_BGR2RGB)),  # a reversed view would cost more in what follows
    "rgba8": _Layout(4, _opencv(cv2.COLOR_RGBA2RGB)),
    "bgra8": _Layout(4, _opencv(cv2.COLOR_BGRA2RGB)),
    "mono8": _Layout(1, _grey),
    "mono16": _Layout(1, _mono16, value_bytes=2),
    "16UC1": _Layout(1, _depth, value_bytes=2),
    "uyvy": _Layout(2, _opencv(cv2.COLOR_YUV2RGB_UYVY), pixels_in_group=2),
    "yuyv": _Layout(2, _opencv(cv2.COLOR_YUV2RGB_YUY2), pixels_in_group=2),
    "bayer_rggb8": _Layout(1, _opencv(cv2.COLOR_BayerBG2RGB), smallest=3),
    "bayer_bggr8": _Layout(1, _opencv(cv2.COLOR_BayerRG2RGB), smallest=3),
    "bayer_gbrg8": _Layout(1, _opencv(cv2.COLOR_BayerGR2RGB), smallest=3),
    "bayer_grbg8": _Layout(1, _opencv(cv2.COLOR_BayerGB2RGB), smallest=3),
}
_LAYOUTS["yuv422"] = _LAYOUTS["uyvy"]  # names that ROS had before Jazzy, still sent by drivers
_LAYOUTS["yuv422_yuy2"] = _LAYOUTS["yuyv"]

# A view without a copy, and the one that cv_bridge refuses.
_OWN_ONLY = {"rgb8", "16UC1"}


def encodings() -> tuple[str, ...]:
    """Names of the encodings that `to_rgb` converts without cv_bridge."""
    return tuple(_LAYOUTS)


def to_rgb(
    encoding: str, height: int, width: int, step: int, is_bigendian: bool, data: Any, *, topic: str
) -> NDArray[np.uint8]:
    """Convert the fields of a sensor_msgs/Image to RGB.

    rgb8 gives a read-only view of `data`, the others a new array. mono16 is scaled to 8 bits, 16UC1 (depth, mm) to grey
    by `DEPTH_FAR_MM`.

    Args:
        encoding: the message's encoding.
        height: rows, px.
        width: columns, px.
        step: bytes from one row to the next (rows may be padded).
        is_bigendian: byte order of 16-bit values.
        data: the pixels, a buffer of bytes (`array.array`, bytes, uint8 ndarray).
        topic: named in errors.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        ImageError: on an unknown encoding, a size that the encoding cannot have, a step shorter than a row, or a data
            length other than height * step.
    """
    layout = _LAYOUTS.get(encoding)
    flat = _bytes_of(data, topic)
    if layout is None:
        foreign = None if step % max(width, 1) else _through_bridge(encoding, height, width, step, is_bigendian, flat)
        if foreign is not None:
            return foreign
        raise ImageError(
            f"Topic {topic}: unknown image encoding '{encoding}'.",
            remedy=f"Set the camera driver to one of {', '.join(_LAYOUTS)}.",
        )
    _check_size(layout, encoding, height, width, step, flat.size, topic)
    # cv_bridge takes no step that is not a whole number of pixels.
    if encoding not in _OWN_ONLY and step % (layout.channels * layout.value_bytes) == 0:
        bridged = _through_bridge(encoding, height, width, step, is_bigendian, flat)
        if bridged is not None:
            return bridged
    row_bytes = width * layout.channels * layout.value_bytes
    rows = flat.reshape(height, step)[:, :row_bytes]
    if layout.value_bytes == 2:
        # Padded or odd steps leave rows that cannot be viewed as 16-bit values; those are copied first.
        rows = np.ascontiguousarray(rows).view(">u2" if is_bigendian else "<u2")
    pixels = rows if layout.channels == 1 else rows.reshape(height, width, layout.channels)
    return layout.convert(pixels)


def decode_compressed(fmt: str, data: Any, *, topic: str) -> NDArray[np.uint8]:
    """Decode a sensor_msgs/CompressedImage that holds a JPEG or PNG.

    A format that ends in "compressed rgb8" says that the codec took red for blue, as OpenCV's does of RGB pixels: they
    are swapped back, as ROS's own compressed_image_transport does.

    Args:
        fmt: the message's `format`, such as "jpeg", "png" or "rgb8; jpeg compressed bgr8".
        data: the file, a buffer of bytes.
        topic: named in errors.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        ImageError: on another format, a truncated or damaged file, or one of more than `MAX_PIXELS`.
    """
    flat = _bytes_of(data, topic)
    if "compressedDepth" in fmt:
        raise ImageError(
            f"Topic {topic}: format '{fmt}' is compressed depth, which has no colour.",
            remedy="Give the camera's colour topic in the profile.",
        )
    try:
        # Pillow, not OpenCV: it says when a file is truncated, where OpenCV paints the rest grey or writes to stderr.
        with Image.open(io.BytesIO(flat.tobytes()), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(
                    f"Topic {topic}: a compressed image ('{fmt}') claims to be {image.width}x{image.height}.",
                    remedy=_CHECK_LINK,
                )
            picture = np.asarray(image.convert("RGB"), np.uint8)
            return np.ascontiguousarray(picture[:, :, ::-1]) if "compressed rgb" in fmt else picture
    except _DECODING_ERRORS as error:
        raise ImageError(
            f"Topic {topic}: a compressed image ('{fmt}') is truncated or damaged, or neither JPEG nor PNG.",
            remedy=_CHECK_LINK,
        ) from error


def _bytes_of(data: Any, topic: str) -> NDArray[np.uint8]:
    try:
        flat = np.frombuffer(data, np.uint8)
    except (TypeError, ValueError) as error:
        raise ImageError(
            f"Topic {topic}: image data of type {type(data).__name__} is not a buffer of bytes ({error}).",
            remedy="Hand over the message's data field as it came.",
        ) from error
    flat.flags.writeable = False
    return flat


def _check_size(layout: _Layout, encoding: str, height: int, width: int, step: int, size: int, topic: str) -> None:
    name = f"Topic {topic}: a {width}x{height} '{encoding}' image"
    if height < layout.smallest or width < layout.smallest or width % layout.pixels_in_group:
        raise ImageError(
            f"{name} cannot be: both sides are {layout.smallest} or more, the width a multiple of "
            f"{layout.pixels_in_group}.",
            remedy="Check the camera driver's resolution and encoding.",
        )
    row_bytes = width * layout.channels * layout.value_bytes
    if step < row_bytes:
        raise ImageError(
            f"{name} has a step of {step} bytes, its rows need {row_bytes}.",
            remedy="Check the camera driver: encoding, width or step is wrong.",
        )
    if size != height * step:
        raise ImageError(
            f"{name} with a step of {step} has {size} bytes of data, not {height * step}.",
            remedy="Check the camera driver: the message is truncated, or its height or step is wrong.",
        )


def _through_bridge(
    encoding: str, height: int, width: int, step: int, is_bigendian: bool, flat: NDArray[np.uint8]
) -> Rgb | None:
    """RGB by cv_bridge, or None where there is none or it cannot convert this image."""
    bridge = _bridge()
    if bridge is None or is_bigendian:  # its byte swap fails under NumPy 2
        return None
    message = SimpleNamespace(encoding=encoding, height=height, width=width, step=step, is_bigendian=0, data=flat.data)
    try:
        picture = np.asarray(bridge.imgmsg_to_cv2(message, desired_encoding="rgb8"))
    except (TypeError, ValueError, RuntimeError, KeyError, AttributeError, cv2.error):  # CvBridgeError is a TypeError
        return None
    return picture if picture.shape == (height, width, 3) and picture.dtype == np.uint8 else None


@lru_cache(maxsize=1)
def _bridge() -> Any | None:
    """A cv_bridge that works, or None.

    PyPI's `cv-bridge` is ROS 1's and raises on ROS 2 messages, and a cv_bridge built for NumPy 1 fails under NumPy 2,
    so importing is not enough: it has to convert one pixel.
    """
    try:
        bridge = importlib.import_module("cv_bridge").CvBridge()
        probe = SimpleNamespace(
            encoding="bgr8", height=1, width=1, step=3, is_bigendian=0, data=np.array([1, 2, 3], np.uint8).data
        )
        pixel = bridge.imgmsg_to_cv2(probe, desired_encoding="rgb8")
    except (ImportError, TypeError, ValueError, RuntimeError, KeyError, AttributeError, cv2.error):
        return None
    return bridge if np.array_equal(pixel, [[[3, 2, 1]]]) else None
