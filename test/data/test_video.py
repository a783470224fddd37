"""Frames by time, with PyAV, and with torchcodec where it loads."""

import importlib
import sys
import threading
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.data import video
from f1_ros.data.video import AvVideo, TorchcodecVideo, VideoPool, open_video, video_rate
from f1_ros.errors import DataError

from .conftest import FPS, grey, picture
from .conftest import video as write_video


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_video(tmp_path / "v.mp4", [picture(0, i, "front") for i in range(20)])
    return tmp_path / "v.mp4"


@pytest.fixture
def torchcodec(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A stand-in with the calls of torchcodec's VideoDecoder that we make: the real one needs FFmpeg's libraries."""
    module = types.ModuleType("torchcodec.decoders")

    class VideoDecoder:
        def __init__(self, path: str, *, dimension_order: str, num_ffmpeg_threads: int, seek_mode: str) -> None:
            assert (dimension_order, num_ffmpeg_threads, seek_mode) == ("NHWC", 1, "approximate")
            with av.open(path) as container:
                self.frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
            self.metadata = types.SimpleNamespace(average_fps=float(FPS), num_frames=len(self.frames))

        def get_frames_at(self, indices: list[int]) -> Any:
            data = torch.from_numpy(np.stack([self.frames[i] for i in indices]))
            return types.SimpleNamespace(data=data, pts_seconds=torch.tensor(indices) / FPS)

    module.VideoDecoder = VideoDecoder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchcodec", types.ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", module)
    video._torchcodec.cache_clear()
    yield module
    video._torchcodec.cache_clear()


def levels(pictures: list[np.ndarray]) -> list[int]:
    return [int(p[20, 10, 0]) for p in pictures]


def test_without_torchcodec_pyav_decodes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_torchcodec", lambda: None)
    opened = open_video(file)
    assert isinstance(opened, AvVideo)
    assert levels(opened.frames([0.0, 0.7, 1.9], 0.05)) == pytest.approx([grey(0, i) for i in (0, 7, 19)], abs=1)
    assert opened.frames([], 0.05) == []
    opened.close()


@pytest.fixture(scope="module")
def encodings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[np.ndarray]]]:
    """A video of noise in several encodings, each with its pictures as decoded from the first to the last."""
    pictures = list(np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8))
    options = {
        "every second frame a key": {"g": "2", "bf": "0"},
        "one key": {"g": "1000", "bf": "0"},
        "frames out of order": {"g": "12", "bf": "3"},
        "open groups": {"g": "8", "bf": "2", "x264-params": "open-gop=1"},
    }
    made = {}
    for name, chosen in options.items():
        path = tmp_path_factory.mktemp("encoded") / "v.mp4"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=FPS, options=chosen)
            stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
            for rgb in pictures:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            out.mux(stream.encode())
        with av.open(str(path)) as container:
            made[name] = (path, [f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    return made


@given(frames=st.sets(st.integers(0, 39), min_size=1), shift=st.floats(-0.04, 0.04))
def test_whatever_is_left_out_the_frames_are_those_of_the_whole_video(
    frames: set[int], shift: float, encodings: dict[str, tuple[Path, list[np.ndarray]]]
) -> None:
    ascending = sorted(frames)
    times = [max(0.0, frame / FPS + shift) for frame in ascending]
    for path, whole in encodings.values():
        opened = AvVideo(path)
        for _ in range(2):  # again from where it is then
            for rgb, frame in zip(opened.frames(times, 0.05), ascending, strict=True):
                np.testing.assert_array_equal(rgb, whole[frame])
        opened.close()


def test_only_groups_with_a_frame_that_is_asked_for_are_decoded(
    encodings: dict[str, tuple[Path, list[np.ndarray]]],
) -> None:
    opened = AvVideo(encodings["every second frame a key"][0])
    decoded = []
    decode = opened._container.decode
    opened._container = Recording(opened._container, lambda stream: (decoded.append(f) or f for f in decode(stream)))
    opened.frames([1.0, 1.3, 1.6, 1.9, 2.5], 0.05)
    assert len(decoded) <= 8  # 16 lie between the first and the last


class Recording:
    """A container whose `decode` is another."""

    def __init__(self, container: Any, decode: Any) -> None:
        self.seek, self.close, self.decode = container.seek, container.close, decode


def test_threads_share_the_open_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(video, "open_video", lambda path: opened.append(path) or open_video(path))
    pool = VideoPool()
    for _ in range(3):  # one after the other
        thread = threading.Thread(target=pool.frames, args=(file, [0.3], 0.05))
        thread.start()
        thread.join()
    assert opened == [file]
    with ThreadPoolExecutor(4) as threads:
        seen = list(threads.map(lambda i: levels(pool.frames(file, [i / FPS], 0.05))[0], [*range(20)] * 5))
    assert seen == pytest.approx([grey(0, i) for i in range(20)] * 5, abs=1)
    assert len(opened) <= 4


def test_with_torchcodec_it_decodes_and_gives_the_same(file: Path, torchcodec: types.ModuleType) -> None:
    opened = open_video(file)
    assert isinstance(opened, TorchcodecVideo)
    plain = AvVideo(file)
    for times in ([0.0], [0.31, 0.7, 1.9], []):
        for mine, other in zip(opened.frames(times, 0.05), plain.frames(times, 0.05), strict=True):
            np.testing.assert_array_equal(mine, other)
    with pytest.raises(DataError, match=r"no frame at 2\.0000 s"):
        opened.frames([2.0], 0.05)
    with pytest.raises(DataError, match=r"no frame at 0\.3400 s: the nearest is at 0\.3000 s"):
        opened.frames([0.34], 0.02)


@pytest.mark.skipif(video._torchcodec() is None, reason="torchcodec is not installed; docs/dependencies.md has how")
@given(frames=st.sets(st.integers(0, 39), min_size=1), shift=st.floats(-0.04, 0.04))
def test_the_real_torchcodec_gives_the_same(
    frames: set[int], shift: float, encodings: dict[str, tuple[Path, list[np.ndarray]]]
) -> None:
    ascending = sorted(frames)
    times = [max(0.0, frame / FPS + shift) for frame in ascending]
    for path, whole in encodings.values():
        opened = open_video(path)
        assert isinstance(opened, TorchcodecVideo)
        for rgb, frame in zip(opened.frames(times, 0.05), ascending, strict=True):
            np.testing.assert_array_equal(rgb, whole[frame])
        with pytest.raises(DataError, match="no frame at 4"):
            opened.frames([4.0], 0.05)
        opened.close()


def test_a_torchcodec_that_does_not_load_is_said_once_and_pyav_decodes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> None:
        raise OSError("libtorchcodec_core.so: no such library")

    video._torchcodec.cache_clear()
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.warns(UserWarning, match="does not load"):
        assert isinstance(open_video(file), AvVideo)
    assert isinstance(open_video(file), AvVideo)
    monkeypatch.undo()
    video._torchcodec.cache_clear()


def test_times_may_repeat_and_be_in_any_order_over_more_files_than_stay_open(tmp_path: Path) -> None:
    files = []
    for n in range(video.OPEN_FILES + 3):
        files.append(tmp_path / f"{n}.mp4")
        write_video(files[-1], [picture(n, i, "front") for i in range(6)])
    pool = VideoPool()
    for _ in range(2):
        for n, path in enumerate(files):
            seen = levels(pool.frames(path, [0.5, 0.0, 0.3, 0.0], 0.05))
            assert seen == pytest.approx([grey(n, i) for i in (5, 0, 3, 0)], abs=1)


def test_the_rate_and_files_that_are_no_videos(file: Path, tmp_path: Path) -> None:
    assert video_rate(file) == 10.0
    for broken in (tmp_path / "missing.mp4", tmp_path / "text.mp4"):
        if broken.name == "text.mp4":
            broken.write_text("not a video")
        for call in (open_video, video_rate):
            with pytest.raises(DataError, match=broken.name):
                call(broken)
