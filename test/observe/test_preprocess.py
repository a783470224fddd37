"""Frames reach the model as in training. Expected values come from the released code and from Lanczos's formula."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from f1_ros.errors import ConfigError
from f1_ros.observe.preprocess import camera_tensor, camera_tensors, history_frame, history_frames


def ramps(height: int, width: int) -> np.ndarray:
    """Red rises by 40 to the right, green by 100 downwards, blue is a chequerboard of 0 and 255."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 40, y * 100, 255 * ((x + y) % 2)], axis=-1).astype(np.uint8)


def test_a_wide_frame_is_padded_on_top_with_black() -> None:
    # resize_with_pad(x / 255, 4, 4, pad_value=0) * 2 - 1 of the released code
    expected = [
        [[-1] * 4, [-1] * 4, [-0.92157, -0.45098, 0.01961, 0.4902], [-0.92157, -0.45098, 0.01961, 0.4902]],
        [[-1] * 4, [-1] * 4, [-0.80392] * 4, [0.37255] * 4],
        [[-1] * 4, [-1] * 4, [-0.25, -0.25, 0.25, 0.25], [-0.25, -0.25, 0.25, 0.25]],
    ]
    np.testing.assert_allclose(camera_tensor(ramps(3, 6), 4), expected, atol=1e-5)


def test_a_tall_frame_is_padded_on_the_left_with_black() -> None:
    expected = [
        [[-1, -1, -0.92157, -0.45098]] * 4,
        [[-1, -1, v, v] for v in (-0.80392, 0.37255, -0.45882, 0.71765)],
        [[-1, -1, v, v] for v in (-0.25, -0.25, 0.25, 0.25)],
    ]
    np.testing.assert_allclose(camera_tensor(ramps(6, 3), 4), expected, atol=1e-5)


def test_a_small_frame_is_enlarged_with_half_pixel_centres() -> None:
    red = [[-1, -0.92157, -0.76471, -0.68627]] * 4
    blue = [[-1, -0.5, 0.5, 1], [-0.5, -0.25, 0.25, 0.5], [0.5, 0.25, -0.25, -0.5], [1, 0.5, -0.5, -1]]
    tensor = camera_tensor(ramps(2, 2), 4)
    np.testing.assert_allclose(tensor[0], red, atol=1e-5)
    np.testing.assert_allclose(tensor[2], blue, atol=1e-5)


def test_shrinking_does_not_smooth() -> None:
    # Every fourth pixel pair is read, as torch's interpolate without antialias: thin lines between them vanish.
    lines = np.zeros((16, 16, 3), np.uint8)
    lines[:, ::4] = 255
    assert (camera_tensor(lines, 4) == -1).all()


def test_a_frame_of_the_right_size_is_only_scaled() -> None:
    tensor = camera_tensor(np.array([[[0, 51, 102]]], np.uint8), 1)
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor.ravel(), [-1.0, -0.6, -0.2], atol=1e-6)


def test_a_vga_frame_fills_168_of_224_rows() -> None:
    tensor = camera_tensor(np.full((480, 640, 3), 255, np.uint8), 224)
    assert (tensor[:, :56] == -1).all()
    assert (tensor[:, 56:] == 1).all()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 32), st.integers(0, 255))
def test_values_stay_in_range_and_a_uniform_frame_stays_uniform(height: int, width: int, size: int, level: int) -> None:
    try:
        tensor = camera_tensor(np.full((height, width, 3), level, np.uint8), size)
    except ConfigError:
        assert max(height, width) // min(height, width) >= size  # nothing would be left of it
        return
    assert tensor.shape == (3, size, size)
    assert np.abs(tensor).max() <= 1
    np.testing.assert_allclose(tensor[:, -1, -1], level / 127.5 - 1, atol=1e-5)


def curves(height: int, width: int) -> np.ndarray:
    """Red rises as the square of x, green by 20 downwards, blue is an edge in the middle."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * x, 20 * y, np.where(x > width // 2, 255, 0)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "resize", "crop", "rows_red", "columns_green", "rows_blue"),
    [
        # Lanczos with 3 lobes, widened by the shrink factor, rounded after each axis; computed from its formula.
        ((8, 12), 4, 2, [20, 42], [49, 91], [0, 127]),
        ((12, 8), 4, 4, [0, 6, 21, 42], [49, 90, 130, 171], [5, 0, 130, 255]),
        ((4, 6), 6, 5, [1, 3, 6, 10, 14], [0, 7, 24, 36, 53], [1, 6, 0, 32, 221]),
    ],
)
def test_history_frames_are_lanczos_resized_and_cropped_at_the_centre(
    size: tuple[int, int],
    resize: int,
    crop: int,
    rows_red: list[int],
    columns_green: list[int],
    rows_blue: list[int],
) -> None:
    red, green, blue = history_frame(curves(*size), resize, crop).tolist()
    assert red == [rows_red] * crop
    assert green == [[value] * crop for value in columns_green]
    assert blue == [rows_blue] * crop


def through_pillow(frame: np.ndarray, resize: int) -> np.ndarray:
    """Pillow's Lanczos along rows, then along columns."""
    height, width = frame.shape[:2]
    rows, columns = (int(resize * side / min(height, width)) for side in (height, width))
    image = Image.fromarray(frame).resize((columns, height), Image.Resampling.LANCZOS)
    return np.asarray(image.resize((columns, rows), Image.Resampling.LANCZOS), np.uint8)


@given(st.integers(1, 120), st.integers(1, 120), st.integers(1, 60), st.sampled_from([1, 2, 3, 256]), st.data())
def test_history_frames_are_pillows_to_the_bit(
    height: int, width: int, resize: int, levels: int, data: st.DataObject
) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    frame = np.uint8(255 // (levels - 1) if levels > 1 else 255) * generator.integers(
        0, levels, (height, width, 3), np.uint8
    )
    expected = through_pillow(frame, resize)
    crop = data.draw(st.integers(1, resize))
    at = data.draw(st.tuples(st.floats(0, 1), st.floats(0, 1)))
    top, left = (round((side - crop) * place) for side, place in zip(expected.shape[:2], at, strict=True))
    square = expected[top : top + crop, left : left + crop].transpose(2, 0, 1)
    np.testing.assert_array_equal(history_frame(frame, resize, crop, at=at), square)


@pytest.mark.parametrize(("height", "width", "resize"), [(480, 640, 96), (720, 1280, 256), (1400, 1500, 7)])
def test_frames_of_cameras_are_pillows_to_the_bit(height: int, width: int, resize: int) -> None:
    generator = np.random.default_rng(height)
    for frame in (
        generator.integers(0, 256, (height, width, 3), np.uint8),
        generator.integers(0, 2, (height, width, 3), np.uint8) * np.uint8(255),
    ):
        left = round((int(resize * width / height) - resize) / 2)
        expected = through_pillow(frame, resize)[:, left : left + resize].transpose(2, 0, 1)
        np.testing.assert_array_equal(history_frame(frame, resize, resize), expected)


def test_a_history_frame_of_the_right_size_is_unchanged() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    assert np.array_equal(history_frame(frame, 96, 96), frame.transpose(2, 0, 1))


def test_the_crop_rounds_half_to_even_as_torchvision_does() -> None:
    frame = np.repeat(np.arange(7, dtype=np.uint8)[:, None, None], 7, axis=1).repeat(3, axis=2)
    assert history_frame(frame, 7, 4)[0, :, 0].tolist() == [2, 3, 4, 5]  # 1.5 -> 2
    assert history_frame(frame, 7, 2)[0, :, 0].tolist() == [2, 3]  # 2.5 -> 2


@pytest.mark.parametrize("frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_rgb_frame_is_refused(frame: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="expected"):
        camera_tensor(frame, 4)
    with pytest.raises(ConfigError, match="expected"):
        history_frame(frame, 4, 4)


def test_a_crop_larger_than_the_resized_frame_is_refused() -> None:
    with pytest.raises(ConfigError, match="cropped to 256 px"):
        history_frame(np.zeros((4, 4, 3), np.uint8), 96, 256)


@given(st.lists(st.sampled_from([(8, 8), (8, 12), (12, 8), (6, 6)]), min_size=1, max_size=4), st.randoms())
def test_several_frames_are_those_made_one_by_one(sizes: list[tuple[int, int]], random: Random) -> None:
    generator = np.random.default_rng(random.getrandbits(32))
    frames = [generator.integers(0, 256, (*size, 3), np.uint8) for size in sizes for _ in range(2)]
    frames += frames[-1:] * 2  # as at an episode's end
    at = [(generator.random(), generator.random()) for _ in frames[:-1]]
    at += at[-1:]
    views = camera_tensors(frames, 8)
    crops = history_frames(frames, 8, 6, at=at)
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(views[i], camera_tensor(frame, 8))
        np.testing.assert_array_equal(crops[i], history_frame(frame, 8, 6, at=at[i]))
