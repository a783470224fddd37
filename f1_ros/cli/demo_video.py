"""The demo's video: the scene, and beside it what the policy foresaw and what really came."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from f1_ros.cli.demo_show import Show
from f1_ros.cli.recording import Picture, Recording

SECOND_NS = 1_000_000_000
FPS = 10
AFTER_NS = 40 * SECOND_NS  # shown after the switch
GIF_NS = 8 * SECOND_NS  # shown around it, in the GIF
WIDTH, HEIGHT = 960, 540
SCENE = (24, 60, 608, 456)  # left, top, width, height; px
SMALL = 214
FORESEEN = (690, 60)
CAME = (690, 302)
_BACKGROUND, _TEXT, _DIM, _ACCENT = (250, 250, 250), (30, 30, 30), (110, 110, 110), (200, 60, 30)


@dataclass(frozen=True)
class Pair:
    """A prediction and the frame that came at the instant it was of; both (S, S, 3) uint8 RGB."""

    stamp_ns: int
    foreseen: Picture
    came: Picture


def pairs(recording: Recording, tolerance_ns: int = 25_000_000) -> list[Pair]:
    """Match each prediction with the frame nearest to the instant it was of, within a tolerance; oldest first."""
    frames = sorted(recording.frames, key=lambda frame: frame[0])
    stamps = np.array([stamp for stamp, _ in frames], dtype=np.int64)
    found = []
    for target_ns, foreseen in sorted(recording.foresights, key=lambda item: item[0]):
        if stamps.size == 0:
            break
        nearest = int(np.abs(stamps - target_ns).argmin())
        if abs(int(stamps[nearest]) - target_ns) <= tolerance_ns:
            found.append(Pair(target_ns, foreseen, frames[nearest][1]))
    return found


def leave_video(recording: Recording, out: Path, show: Show) -> list[str]:
    """Write `demo.mp4`, and of its middle part `demo.gif`; returns their names."""
    begin_ns, end_ns = recording.statuses[0].time_ns, recording.statuses[-1].time_ns
    switch_ns = recording.switch_ns if recording.switch_ns is not None else begin_ns
    begin_ns, end_ns = max(begin_ns, switch_ns - round(show.before_s * SECOND_NS)), min(end_ns, switch_ns + AFTER_NS)
    times = list(range(begin_ns, end_ns, SECOND_NS // FPS))
    # Drawn at three quarters of the size: rays cost by the pixel.
    scenes = show.scenes(recording, times, SCENE[2] * 3 // 4, SCENE[3] * 3 // 4)
    pictures = list(compose(recording, scenes, times, show))
    write_mp4(pictures, out / "demo.mp4")
    shown = [p for p, t in zip(pictures, times, strict=True) if abs(t - switch_ns) <= GIF_NS]
    write_gif(shown[::2], out / "demo.gif", FPS / 2)
    return ["demo.mp4", "demo.gif"]


def compose(recording: Recording, scenes: Iterable[Picture], times_ns: list[int], show: Show) -> Iterator[Picture]:
    """Lay out the video's pictures, (540, 960, 3) uint8 RGB.

    Args:
        recording: what was seen.
        scenes: the scene at each instant, uint8 RGB of any size.
        times_ns: the instants, ns on the ROS clock.
        show: what of the demo is the robot's own.
    """
    matched = pairs(recording)
    pair_stamps = [pair.stamp_ns for pair in matched]
    status_stamps = [status.time_ns for status in recording.statuses]
    left = SCENE[0]
    for scene, now_ns in zip(scenes, times_ns, strict=True):
        picture = np.full((HEIGHT, WIDTH, 3), _BACKGROUND, np.uint8)
        _fit(picture, scene)
        at = bisect_right(status_stamps, now_ns) - 1
        if at >= 0:
            mode = recording.statuses[at].mode
            _write(picture, mode, (left, 40), 0.9, _ACCENT if mode == "POLICY" else _TEXT, 2)
        _write(picture, _when(recording, now_ns), (left + 180, 40), 0.6, _DIM)
        _write(picture, show.caption(recording, now_ns), (left + 420, 40), 0.6, _TEXT)
        shown = bisect_right(pair_stamps, now_ns) - 1
        fresh = shown >= 0 and now_ns - pair_stamps[shown] < 1_500_000_000
        _panel(picture, FORESEEN, "foreseen 0.3 s before", matched[shown].foreseen if fresh else None)
        _panel(picture, CAME, "what came", matched[shown].came if fresh else None)
        yield picture


def write_mp4(pictures: list[Picture], path: Path) -> None:
    """Encode pictures as H.264."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_gif(pictures: list[Picture], path: Path, fps: float, width: int = 480) -> None:
    """Encode pictures as a GIF with one palette, made from a few of them, scaled down to `width` px."""
    import cv2
    from PIL import Image

    size = (width, width * HEIGHT // WIDTH)
    small = [Image.fromarray(cv2.resize(p, size, interpolation=cv2.INTER_AREA)) for p in pictures]
    few = small[:: max(1, len(small) // 6)]
    montage = Image.fromarray(np.concatenate([np.asarray(picture) for picture in few], axis=0))
    palette = montage.quantize(128, dither=Image.Dither.NONE)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in small]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0)


def _when(recording: Recording, now_ns: int) -> str:
    if recording.switch_ns is None:
        return ""
    since_s = (now_ns - recording.switch_ns) * 1e-9
    return f"{abs(since_s):.1f} s {'before' if since_s < 0 else 'after'} the switch"


def _fit(picture: Picture, scene: Picture) -> None:
    """Put a scene of any size into its place, as large as goes with its aspect."""
    import cv2

    left, top, width, height = SCENE
    factor = min(width / scene.shape[1], height / scene.shape[0])
    columns, rows = round(scene.shape[1] * factor), round(scene.shape[0] * factor)
    left, top = left + (width - columns) // 2, top + (height - rows) // 2
    picture[top : top + rows, left : left + columns] = cv2.resize(scene, (columns, rows), interpolation=cv2.INTER_CUBIC)


def _panel(picture: Picture, corner: tuple[int, int], title: str, content: Picture | None) -> None:
    import cv2

    left, top = corner
    inside = picture[top : top + SMALL, left : left + SMALL]
    if content is None:
        inside[:] = 235
    else:
        inside[:] = cv2.resize(content, (SMALL, SMALL), interpolation=cv2.INTER_NEAREST)
    _write(picture, title, (left, top - 8), 0.5, _TEXT)


def _write(
    picture: Picture, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int], weight: int = 1
) -> None:
    import cv2

    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, weight, cv2.LINE_AA)
