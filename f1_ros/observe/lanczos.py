"""Pillow's Lanczos resize to the bit, in less than half of Pillow's time.

Pillow (`src/libImaging/Resample.c`) resizes along rows and then along columns. (From version 13 on it is the other way
round where a picture shrinks that is more than twice as tall as wide; here it is as the released code had it.) Each
result is a sum of integers, grey levels times weights in units of 2^-22, and is rounded to 8 bits before the second
pass. Integers below 2^24 are exact in float32 in whatever order they are added up, so that the sums may be products of
matrices: the weights are split into two parts for that, and a block of results takes only the pixels around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

LOBES = 3
_WEIGHT_BITS = 22
_LOW_BITS = 7
_BLOCK = 8
"""Results in a block: more need pixels that most of them do not look at, fewer make the products too thin."""
_BATCH = 1 << 18
"""Multiplications in one product: OpenBLAS takes several threads for more, which wait for each other on a busy machine
for up to half a second."""


@dataclass(frozen=True)
class _Block:
    """Weights of neighbouring results, (2 * `_BLOCK`, pixels): upper parts, then lower parts in units of the upper."""

    first_pixel: int
    weights: NDArray[np.float32] | NDArray[np.float64]


def lanczos_crop(
    rgb: NDArray[np.uint8], size: tuple[int, int], corner: tuple[int, int], crop: int
) -> NDArray[np.uint8]:
    """Resize a picture as `PIL.Image.resize(..., LANCZOS)` does, and cut a square out.

    Args:
        rgb: (H, W, 3).
        size: rows and columns after resizing, px.
        corner: first row and column of the square, px.
        crop: side of the square, px; it must lie within `size`.

    Returns:
        (crop, crop, 3) uint8.
    """
    (rows, columns), (top, left) = size, corner
    height, width = rgb.shape[:2]
    across, down = _blocks(width, columns, left, crop), _blocks(height, rows, top, crop)
    planes = np.empty((3, height, width), np.uint8)
    cv2.split(np.ascontiguousarray(rgb), [planes[0], planes[1], planes[2]])
    narrow = _resize(planes.reshape(3 * height, width), across)  # (columns, 3 * H)
    narrow = narrow[left % _BLOCK :][:crop].reshape(crop * 3, height)
    square = _resize(narrow, down)[top % _BLOCK :][:crop]  # (rows, columns * 3)
    return square.reshape(crop, crop, 3)


def _resize(lines: NDArray[np.uint8], blocks: tuple[_Block, ...]) -> NDArray[np.uint8]:
    """Resize each of (lines, pixels); gives (results, lines)."""
    count, pixels = lines.shape
    most = count * max(block.weights.size for block in blocks)
    parts = next(n for n in range(1, count + 1) if n == count or (count % n == 0 and most <= n * _BATCH))
    batches = lines.astype(blocks[0].weights.dtype).reshape(parts, -1, pixels).transpose(0, 2, 1)
    sums = np.empty((len(blocks), 2 * _BLOCK, parts, count // parts), batches.dtype)
    for block, found in zip(blocks, sums, strict=True):
        reach = slice(block.first_pixel, block.first_pixel + block.weights.shape[1])
        np.matmul(block.weights, batches[:, reach], out=found.transpose(1, 0, 2))
    upper, lower = sums[:, :_BLOCK], sums[:, _BLOCK:]
    # (upper * 2^7 + lower + 2^21) // 2^22, without a bit too many in any step.
    np.floor(lower, out=lower)
    lower += upper
    lower += 2.0 ** (_WEIGHT_BITS - _LOW_BITS - 1)
    lower *= 2.0 ** (_LOW_BITS - _WEIGHT_BITS)
    np.clip(lower, 0, 255.5, out=lower)
    return lower.astype(np.uint8).reshape(-1, count)  # the cast floors


def _blocks(pixels: int, results: int, first: int, count: int) -> tuple[_Block, ...]:
    """The blocks of a resize that hold these results."""
    return _all_blocks(pixels, results)[first // _BLOCK : (first + count - 1) // _BLOCK + 1]


@lru_cache(maxsize=32)
def _all_blocks(pixels: int, results: int) -> tuple[_Block, ...]:
    """The weights of a resize from so many pixels to so many results."""
    rows = [_weights(pixels, results, i) for i in range(results)]
    longest = max(len(weights) for _, weights in rows)
    heaviest = max(sum(abs(weight) for weight in weights) for _, weights in rows)
    upper_sum = 255 * ((heaviest >> _LOW_BITS) + longest) + 255 * longest + (1 << (_WEIGHT_BITS - _LOW_BITS - 1))
    lower_sum = 255 * (longest << (_LOW_BITS - 1))
    # A picture that shrinks to a 170th or less has too many weights for float32.
    small = max(upper_sum, lower_sum) < 1 << 24
    blocks = []
    for begin in range(0, results, _BLOCK):
        part = rows[begin : begin + _BLOCK]
        first = min(at for at, _ in part)
        end = max(at + len(weights) for at, weights in part)
        table = np.zeros((_BLOCK, end - first), np.int64)
        for row, (at, weights) in zip(table, part, strict=False):  # the last block may be short
            row[at - first : at - first + len(weights)] = weights
        upper = (table + (1 << (_LOW_BITS - 1))) >> _LOW_BITS
        lower = (table - (upper << _LOW_BITS)) * 2.0**-_LOW_BITS
        both = np.concatenate([upper, lower])
        blocks.append(_Block(first, both.astype(np.float32) if small else both))
    return tuple(blocks)


def _weights(pixels: int, results: int, index: int) -> tuple[int, list[int]]:
    """The first pixel that a result looks at, and the weights from there on, in units of 2^-22.

    `precompute_coeffs` and `normalize_coeffs_8bpc`, in the same floating-point steps.
    """
    scale = pixels / results
    stretch = max(scale, 1.0)
    support = LOBES * stretch
    centre = (index + 0.5) * scale
    first = max(int(centre - support + 0.5), 0)
    end = min(int(centre + support + 0.5), pixels)
    raw = [_lanczos((x - centre + 0.5) * (1.0 / stretch)) for x in range(first, end)]
    total = sum(raw)
    unit = 1 << _WEIGHT_BITS
    return first, [int(math.copysign(0.5, w) + w / total * unit) for w in raw]


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / LOBES) if -LOBES <= x < LOBES else 0.0


def _sinc(x: float) -> float:
    return 1.0 if x == 0 else math.sin(x * math.pi) / (x * math.pi)
