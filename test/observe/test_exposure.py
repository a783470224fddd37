"""Exposure: what is dark, bright or flickering, and what only moves."""

from __future__ import annotations

import numpy as np
import pytest

from f1_ros.observe.exposure import ENOUGH, Exposure, ExposureMeter

NOISE = np.random.default_rng(0)


def scene(level: float = 110.0, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    """A lit scene with structure and a sensor's noise."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    values = level * (1 + 0.3 * np.sin(x / 7) * np.cos(y / 9)) + NOISE.normal(0, 3, size)
    return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def measured(pictures: list[np.ndarray]) -> Exposure:
    meter = ExposureMeter()
    for one in pictures:
        meter.add(one)
    found = meter.result()
    assert found is not None
    return found


def test_shares_of_black_and_white_and_the_mean() -> None:
    half = np.zeros((120, 160, 3), np.uint8)
    half[:, 80:] = 255
    found = measured([half] * 3)
    assert (found.black, found.white, found.brightness) == (0.5, 0.5, 127.5)
    assert found.flicker is None  # too few pictures


def test_a_scene_at_rest_does_not_flicker() -> None:
    assert measured([scene() for _ in range(60)]).flicker < 0.005


def test_lamps_at_50_hz_before_a_30_hz_camera_flicker() -> None:
    """Light at 100 Hz, seen 30 times a second: 10 Hz, of all rows at once."""
    pictures = [(scene().astype(float) * (1 + 0.05 * np.sin(2 * np.pi * 100 * k / 30))).astype(np.uint8)
                for k in range(60)]  # fmt: skip
    assert 0.02 < measured(pictures).flicker < 0.06


def test_stripes_of_a_rolling_shutter_flicker_though_the_mean_stands_still() -> None:
    rows = np.arange(120)[:, None, None]
    pictures = [
        (scene().astype(float) * (1 + 0.08 * np.sin(2 * np.pi * (rows / 40 + k / 3)))).astype(np.uint8)
        for k in range(60)
    ]
    assert np.std([p.mean() for p in pictures]) < 0.5
    assert measured(pictures).flicker > 0.02


def test_what_moves_in_a_part_of_the_picture_and_what_drifts_is_no_flicker() -> None:
    pictures = []
    for k in range(60):
        one = scene(80 + 0.8 * k)  # exposure control
        one[10:50, 2 * k : 2 * k + 40] = 250
        pictures.append(one)
    assert measured(pictures).flicker < 0.01


def test_the_dark_is_not_judged() -> None:
    assert measured([np.full((120, 160, 3), k % 3, np.uint8) for k in range(60)]).flicker is None


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (96, 96)])
def test_small_pictures_are_looked_at_too(size: tuple[int, int]) -> None:
    assert measured([np.full((*size, 3), 100, np.uint8)] * ENOUGH) == Exposure(100.0, 0.0, 0.0, 0.0)
