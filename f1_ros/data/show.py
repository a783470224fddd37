"""A picture of chosen episodes: frames of every camera, and state and action joint by joint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from f1_ros.data.findings import ACTION, STATE
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.data.video import Picture
from f1_ros.errors import ConfigError

_WIDTH_IN = 16.0
_ROW_IN = 1.5  # of plots
_COLUMNS = 4
_STRIP_PX = 160
_MAX_EPISODES = 12


def show(dataset: LeRobotDataset, episodes: Sequence[int], frames: int, path: Path) -> None:
    """Write the picture.

    Args:
        dataset: the dataset.
        episodes: which episodes, at most 12, one below the other.
        frames: how many evenly spread frames of each camera.
        path: a .png or .jpg file.

    Raises:
        ConfigError: on too many episodes, no frame, or a file that cannot be written.
        DataError: if an episode cannot be read.
    """
    if not 1 <= len(episodes) <= _MAX_EPISODES or frames < 1:
        raise ConfigError(
            f"{len(episodes)} episodes with {frames} frames each make no picture.",
            remedy=f"Choose 1 to {_MAX_EPISODES} episodes and at least 1 frame.",
        )
    parts = [_Part(dataset, episode, frames) for episode in episodes]
    figure = Figure(figsize=(_WIDTH_IN, sum(part.height_in for part in parts)), layout="constrained")
    FigureCanvasAgg(figure)
    boxes = figure.subfigures(len(parts), 1, squeeze=False, height_ratios=[part.height_in for part in parts])
    for part, box in zip(parts, boxes[:, 0], strict=True):
        part.draw(box)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=80)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be written ({error}).", remedy="Give a .png file that is writable.") from None


class _Part:
    """One episode's share of the picture."""

    def __init__(self, dataset: LeRobotDataset, episode: int, frames: int) -> None:
        where = dataset.episodes[episode]
        chosen = np.unique(np.linspace(0, where.length - 1, min(frames, where.length)).astype(int)).tolist()
        words = dataset.instruction(episode, 0) or "no instruction"
        self._title = f"Episode {episode}: {words} ({where.length} frames, time in s)"
        self._fps = dataset.info.fps
        self._frames = chosen
        self._strips = [(key, _strip(dataset.pictures(episode, key, chosen))) for key in dataset.cameras]
        self._curves: list[tuple[str, dict[str, Any]]] = []
        tracks = {}
        for key in (STATE, ACTION):
            if key in dataset.info.features:
                tracks[key] = np.asarray(dataset.numbers(episode, key)).reshape(where.length, -1)
        for d in range(max((t.shape[1] for t in tracks.values()), default=0)):
            names = [dataset.feature(key).names for key in tracks]
            name = next((n[d] for n in names if d < len(n)), f"[{d}]")
            curves = {key: values[:, d] for key, values in tracks.items() if d < values.shape[1]}
            self._curves.append((name, curves))
        rows = -(-len(self._curves) // _COLUMNS)
        self._strip_in = [_WIDTH_IN * strip.shape[0] / strip.shape[1] + 0.25 for _, strip in self._strips]
        self._plot_rows = rows
        self.height_in = 0.6 + sum(self._strip_in) + rows * _ROW_IN

    def draw(self, box: Any) -> None:
        """Draw into a matplotlib subfigure."""
        box.suptitle(self._title, fontsize=12, x=0.01, ha="left")
        heights = [*self._strip_in, *([_ROW_IN] * self._plot_rows)]
        grid = box.add_gridspec(len(heights), _COLUMNS, height_ratios=heights)
        for row, (key, strip) in enumerate(self._strips):
            axes = box.add_subplot(grid[row, :])
            axes.imshow(strip)
            axes.set_axis_off()
            axes.set_title(f"{key}, frames {', '.join(map(str, self._frames))}", fontsize=8, loc="left", pad=2)
        for i, (name, curves) in enumerate(self._curves):
            axes = box.add_subplot(grid[len(self._strips) + i // _COLUMNS, i % _COLUMNS])
            for key, values in curves.items():
                axes.plot(np.arange(len(values)) / self._fps, values, label=key, linewidth=1.0)
            axes.set_title(name, fontsize=8, pad=2)
            axes.tick_params(labelsize=7)
            if not i:
                axes.legend(fontsize=7)


def _strip(pictures: Sequence[Picture]) -> Picture:
    """Frames side by side, all of one height."""
    scaled = []
    for rgb in pictures:
        height = min(_STRIP_PX, rgb.shape[0])
        width = max(1, round(rgb.shape[1] * height / rgb.shape[0]))
        scaled.append(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA))
    strip: Picture = np.concatenate(scaled, axis=1)
    return strip
