"""How a camera's pictures are exposed: too dark, too bright, flickering."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BLACK, WHITE = 10, 245
"""At and below, at and above these a pixel's brightness (0 to 255) tells nothing of what is there."""

BANDS = 16
"""Bands of rows that are looked at by themselves: a rolling shutter sees lamps flicker as stripes."""

ENOUGH = 12
"""Pictures before flicker is judged."""

_DARK_BAND = 8.0
"""In a band that is darker than this on average, noise alone would look like flicker."""


@dataclass(frozen=True)
class Exposure:
    """Figures of some seconds of pictures.

    Attributes:
        brightness: mean brightness, 0 to 255.
        black: share of pixels that are black.
        white: share of pixels that are white.
        flicker: how much the brightness of a band changes from picture to picture and back, as a part of it: the
            median over the bands, so that something that moves in a part of the picture does not count. None if there
            are too few pictures, or all is dark.
    """

    brightness: float
    black: float
    white: float
    flicker: float | None


class ExposureMeter:
    """Takes pictures one after the other. Cheap: every second row and fourth column is looked at."""

    def __init__(self) -> None:
        """Know nothing."""
        self._bands: list[NDArray[np.float64]] = []
        self._black: list[float] = []
        self._white: list[float] = []

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Look at a picture, (H, W, 3) uint8 RGB."""
        grey = cv2.cvtColor(np.ascontiguousarray(picture[::2, ::4]), cv2.COLOR_RGB2GRAY)
        self._black.append(float((grey <= BLACK).mean()))
        self._white.append(float((grey >= WHITE).mean()))
        rows = grey.mean(axis=1, dtype=np.float64)
        edges = np.linspace(0, len(rows), min(BANDS, len(rows)) + 1).astype(int)[:-1]
        self._bands.append(np.add.reduceat(rows, edges) / np.diff([*edges, len(rows)]))

    def result(self) -> Exposure | None:
        """Figures of all pictures of the newest one's size so far; None before the first."""
        if not self._bands:
            return None
        bands = np.array([band for band in self._bands if len(band) == len(self._bands[-1])])
        flicker = _flicker(bands) if len(bands) >= ENOUGH else None
        return Exposure(float(bands.mean()), float(np.mean(self._black)), float(np.mean(self._white)), flicker)


def _flicker(bands: NDArray[np.float64]) -> float | None:
    """Change back and forth of (pictures, bands) brightness.

    Second differences cancel what drifts steadily, such as exposure control. Of independent values they have six times
    the variance, hence the root.
    """
    mean = bands.mean(axis=0)
    lit = bands[:, mean >= _DARK_BAND] / mean[mean >= _DARK_BAND]
    if lit.shape[1] == 0:
        return None
    return float(np.median(np.sqrt((np.diff(lit, 2, axis=0) ** 2).mean(axis=0) / 6)))
