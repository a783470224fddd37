"""Image messages of every encoding become the right RGB; what cannot be an image is refused, naming the topic."""

from __future__ import annotations

import array
import contextlib
import sys
import types
import zlib
from typing import ClassVar

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.errors import ImageError
from f1_ros.observe import images
from f1_ros.observe.images import decode_compressed, encodings, to_rgb

TOPIC = "/camera/front/color/image_raw"
PIXEL_BYTES = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono16": 2, "16UC1": 2} | dict.fromkeys(
    ("uyvy", "yuyv", "yuv422", "yuv422_yuy2"), 2
)


def convert(encoding: str, rows: list[list[int]], width: int, *, big: bool = False) -> list[list[list[int]]]:
    """Convert an image given as bytes by row."""
    data = array.array("B", [value for row in rows for value in row])
    return to_rgb(encoding, len(rows), width, len(rows[0]), big, data, topic=TOPIC).tolist()


@pytest.mark.parametrize(
    ("encoding", "row", "big", "expected"),
    [
        ("rgb8", [1, 2, 3, 4, 5, 6], False, [[1, 2, 3], [4, 5, 6]]),
        ("bgr8", [1, 2, 3, 4, 5, 6], False, [[3, 2, 1], [6, 5, 4]]),
        ("rgba8", [1, 2, 3, 9, 4, 5, 6, 9], False, [[1, 2, 3], [4, 5, 6]]),
        ("bgra8", [1, 2, 3, 9, 4, 5, 6, 9], False, [[3, 2, 1], [6, 5, 4]]),
        ("mono8", [7, 200], False, [[7] * 3, [200] * 3]),
        ("mono16", [0xFF, 0xFF, 0x00, 0x80], False, [[255] * 3, [128] * 3]),
        ("mono16", [0xFF, 0xFF, 0x80, 0x00], True, [[255] * 3, [128] * 3]),
        ("mono16", [0x80, 0x00, 0x81, 0x00], False, [[0] * 3, [1] * 3]),  # 128 rounds down, 129 up: 257 is one level
        ("16UC1", [0xC4, 0x09, 0x88, 0x13], False, [[128] * 3, [255] * 3]),  # 2500 and 5000 mm
        ("16UC1", [0x09, 0xC4, 0xFF, 0xFF], True, [[128] * 3, [255] * 3]),
    ],
)
def test_pixels_of_an_encoding(encoding: str, row: list[int], big: bool, expected: list[list[int]]) -> None:
    assert convert(encoding, [row], 2, big=big) == [expected]


@pytest.mark.parametrize(
    ("encoding", "group"),
    [
        ("uyvy", [90, 81, 240, 81]),
        ("yuv422", [90, 81, 240, 81]),
        ("yuyv", [81, 90, 81, 240]),
        ("yuv422_yuy2", [81, 90, 81, 240]),
    ],
)
def test_yuv_red_of_bt601_is_red(encoding: str, group: list[int]) -> None:
    red = np.array(convert(encoding, [group, group], 2))
    assert np.abs(red - [255, 0, 0]).max() <= 1


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_uniform_colour_seen_through_a_bayer_pattern_comes_back(pattern: str) -> None:
    level = {"r": 200, "g": 100, "b": 50}
    a, b, c, d = (level[colour] for colour in pattern)
    picture = np.array(convert(f"bayer_{pattern}8", [[a, b] * 4, [c, d] * 4] * 3, 8))
    assert (picture == [200, 100, 50]).all()


def test_padded_rows_are_left_out() -> None:
    assert convert("bgr8", [[1, 2, 3, 99, 99], [4, 5, 6, 99, 99]], 1) == [[[3, 2, 1]], [[6, 5, 4]]]
    assert convert("mono16", [[0, 1, 99], [0, 255, 99]], 1) == [[[1] * 3], [[254] * 3]]


def test_rgb8_is_a_read_only_view_even_with_padded_rows() -> None:
    data = np.arange(20, dtype=np.uint8)
    picture = to_rgb("rgb8", 2, 3, 10, False, data, topic=TOPIC)
    assert np.shares_memory(picture, data)
    assert picture[1].tolist() == [[10, 11, 12], [13, 14, 15], [16, 17, 18]]
    with pytest.raises(ValueError, match="read-only"):
        picture[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("nv99", 1, 1, 3, False, b"123"), "unknown image encoding 'nv99'"),
        (("32FC1", 1, 1, 4, False, b"1234"), "unknown image encoding '32FC1'"),
        (("rgb8", 2, 2, 5, False, b"1234567890"), "step of 5 bytes, its rows need 6"),
        (("rgb8", 2, 2, 6, False, b"12345678901"), "has 11 bytes of data, not 12"),
        (("rgb8", 2, 2, 6, False, b"1234567890123"), "has 13 bytes of data, not 12"),
        (("rgb8", 0, 2, 6, False, b""), "cannot be"),
        (("uyvy", 1, 3, 6, False, b"123456"), "cannot be"),
        (("bayer_rggb8", 2, 2, 2, False, b"1234"), "cannot be"),
        (("rgb8", 1, 1, 3, False, [1, 2, 3]), "not a buffer of bytes"),
    ],
)
def test_what_is_no_image_is_refused_with_topic_and_remedy(arguments: tuple[object, ...], cause: str) -> None:
    with pytest.raises(ImageError, match=cause) as caught:
        to_rgb(*arguments, topic=TOPIC)  # type: ignore[arg-type]
    assert TOPIC in str(caught.value)
    assert "Remedy:" in str(caught.value)


@given(
    encoding=st.one_of(st.sampled_from(encodings()), st.text(max_size=12)),
    height=st.integers(-2, 9),
    width=st.integers(-2, 9),
    step=st.integers(-2, 60),
    big=st.booleans(),
    data=st.binary(max_size=300),
)
def test_any_message_gives_a_picture_of_its_size_or_an_image_error(
    encoding: str, height: int, width: int, step: int, big: bool, data: bytes
) -> None:
    try:
        picture = to_rgb(encoding, height, width, step, big, data, topic=TOPIC)
    except ImageError:
        return
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8


@given(
    encoding=st.sampled_from(encodings()),
    half_width=st.integers(2, 6),
    height=st.integers(3, 6),
    padding=st.integers(0, 7),
    big=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_padding_never_changes_the_picture(
    encoding: str, half_width: int, height: int, padding: int, big: bool, seed: int
) -> None:
    width = 2 * half_width
    row = width * PIXEL_BYTES.get(encoding, 1)
    rows = np.random.default_rng(seed).integers(0, 256, (height, row + padding), np.uint8)
    padded = to_rgb(encoding, height, width, row + padding, big, rows.tobytes(), topic=TOPIC)
    plain = to_rgb(encoding, height, width, row, big, rows[:, :row].tobytes(), topic=TOPIC)
    assert np.array_equal(padded, plain)


def smooth_picture() -> np.ndarray:
    """A 24x32 picture that JPEG keeps well: red to the right, green downwards, blue constant."""
    y, x = np.mgrid[0:24, 0:32]
    return np.stack([8 * x, 10 * y, np.full_like(x, 60)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("suffix", "message_format", "error"), [(".jpg", "rgb8; jpeg compressed bgr8", 12), (".png", "png", 0)]
)
def test_compressed_pictures_come_back_in_rgb(suffix: str, message_format: str, error: int) -> None:
    file = cv2.imencode(suffix, smooth_picture()[:, :, ::-1])[1].tobytes()
    picture = decode_compressed(message_format, array.array("B", file), topic=TOPIC)
    assert np.abs(picture.astype(int) - smooth_picture()).max() <= error
    padded = decode_compressed(message_format, file + bytes(100), topic=TOPIC)
    assert np.array_equal(padded, picture)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_codec_that_was_given_rgb_has_swapped_red_and_blue_as_compressed_image_transport_says(suffix: str) -> None:
    file = cv2.imencode(suffix, smooth_picture())[1].tobytes()  # OpenCV takes it for BGR
    picture = decode_compressed("rgb8; jpeg compressed rgb8", file, topic=TOPIC)
    assert np.abs(picture.astype(int) - smooth_picture()).max() <= 12


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9])
def test_truncated_files_are_refused(suffix: str, kept: float) -> None:
    file = cv2.imencode(suffix, smooth_picture())[1].tobytes()
    with pytest.raises(ImageError, match=TOPIC):
        decode_compressed(suffix[1:], file[: int(kept * len(file))], topic=TOPIC)


def test_compressed_depth_is_refused_by_name() -> None:
    with pytest.raises(ImageError, match="compressed depth"):
        decode_compressed("16UC1; compressedDepth png", b"\x89PNG", topic=TOPIC)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_damaged_header_that_claims_a_huge_picture_is_refused_at_once(suffix: str) -> None:
    file = cv2.imencode(suffix, np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    if suffix == ".jpg":
        at = file.index(b"\xff\xc0") + 5
        file = file[:at] + (30000).to_bytes(2, "big") * 2 + file[at + 4 :]
    else:
        header = b"IHDR" + (9000).to_bytes(4, "big") * 2 + file[24:29]
        file = file[:12] + header + zlib.crc32(header).to_bytes(4, "big") + file[33:]
    with pytest.raises(ImageError, match=TOPIC):
        decode_compressed(suffix[1:], file, topic=TOPIC)


@given(
    suffix=st.sampled_from([".jpg", ".png"]),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 2000),
)
def test_damaged_files_give_a_picture_or_an_image_error(suffix: str, changes: list[tuple[int, int]], cut: int) -> None:
    file = bytearray(cv2.imencode(suffix, smooth_picture())[1].tobytes())
    for at, value in changes:
        file[at % len(file)] = value
    with contextlib.suppress(ImageError):
        assert decode_compressed("jpeg", bytes(file[: len(file) - cut]), topic=TOPIC).shape[2] == 3


class FakeBridge:
    """Stands in for cv_bridge: knows `8UC3`, which f1_ros does not, and paints everything else."""

    calls: ClassVar[list[str]] = []

    def imgmsg_to_cv2(self, message: types.SimpleNamespace, desired_encoding: str) -> np.ndarray:
        self.calls.append(message.encoding)
        pixels = np.frombuffer(message.data, np.uint8)
        if message.encoding == "bgr8":
            return pixels.reshape(message.height, message.width, 3)[:, :, ::-1]
        if message.encoding == "mono8":
            raise RuntimeError("no such conversion")
        return np.full((message.height, message.width, 3), 42, np.uint8)


class ForeignBridge:
    """Stands in for ROS 1's cv_bridge, which PyPI has: it raises on ROS 2 messages."""

    def imgmsg_to_cv2(self, message: types.SimpleNamespace, desired_encoding: str) -> np.ndarray:
        raise AttributeError("'Image' object has no attribute '_type'")


def install(monkeypatch: pytest.MonkeyPatch, bridge: type) -> None:
    module = types.ModuleType("cv_bridge")
    module.CvBridge = bridge  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    images._bridge.cache_clear()


def test_cv_bridge_converts_where_it_is_installed_and_ours_where_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeBridge)
    try:
        assert convert("8UC3", [[1, 2, 3]], 1) == [[[42] * 3]]
        assert convert("bgr8", [[1, 2, 3]], 1) == [[[3, 2, 1]]]
        assert convert("mono8", [[5]], 1) == [[[5] * 3]]  # it raised
        assert convert("mono16", [[1, 0]], 1, big=True) == [[[1] * 3]]  # it cannot swap bytes
        assert "mono16" not in FakeBridge.calls
    finally:
        monkeypatch.undo()
        images._bridge.cache_clear()


def test_a_cv_bridge_that_does_not_work_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ForeignBridge)
    try:
        assert convert("bgr8", [[1, 2, 3]], 1) == [[[3, 2, 1]]]
        with pytest.raises(ImageError, match="unknown image encoding"):
            convert("8UC3", [[1, 2, 3]], 1)
    finally:
        monkeypatch.undo()
        images._bridge.cache_clear()


def test_cv_bridge_gives_the_same_pictures_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    cv_bridge = pytest.importorskip("cv_bridge")
    monkeypatch.setattr(images, "_bridge", lambda: None)
    for encoding in sorted(set(encodings()) - {"16UC1"}):  # depth: cv_bridge makes no colour of it
        row = 16 * PIXEL_BYTES.get(encoding, 1)
        data = np.random.default_rng(0).integers(0, 256, (12, row), np.uint8).tobytes()
        message = types.SimpleNamespace(encoding=encoding, height=12, width=16, step=row, is_bigendian=0, data=data)
        theirs = cv_bridge.CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")
        ours = to_rgb(encoding, 12, 16, row, False, data, topic=TOPIC)
        assert np.abs(theirs.astype(int) - ours).max() <= 1, encoding
