"""Statistics of a dataset for normalisation, exact and in flat memory.

Quantiles are exact too: the k-th smallest number is bracketed by histograms, each pass over the data narrowing the
bracket a thousandfold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from f1_ros.data.files import replace_file
from f1_ros.data.layout import BOOKKEEPING
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.errors import DataError

Array = NDArray[np.float64]
Mode = Literal["mean_std", "min_max", "quantile"]
QUANTILES = {"q01": 0.01, "q99": 0.99}
_BATCH_ROWS = 65_536
_BINS = 1024
_PASSES = 3
_PICTURES = 64


@dataclass(frozen=True)
class Statistics:
    """Statistics of one feature, an array of one number for each of its dimensions.

    Attributes:
        mean, std, min, max: std is that of the population.
        q01, q99: the smallest value that at least 1 % (99 %) of the frames do not exceed.
        count: frames.
    """

    mean: Array
    std: Array
    min: Array
    max: Array
    q01: Array
    q99: Array
    count: int

    def entry(self, mode: Mode) -> dict[str, Any]:
        """The entry of a policy's stats.json, as `f1_ros.observe.normalise` reads it."""
        lists = {name: getattr(self, name).tolist() for name in ("mean", "std", "min", "max", "q01", "q99")}
        return {"mode": mode, **lists, "count": self.count}


def vector_keys(dataset: LeRobotDataset) -> list[str]:
    """Features that are vectors of numbers, bookkeeping aside."""
    return [
        key
        for key, feature in dataset.info.features.items()
        if not feature.is_camera and feature.dtype != "string" and key not in BOOKKEEPING
    ]


def statistics(dataset: LeRobotDataset, key: str) -> Statistics:
    """Compute the statistics of a feature over all episodes.

    Args:
        dataset: the dataset.
        key: the feature.

    Raises:
        DataError: naming episode and frame if a number is not finite, or if the dataset has no frames.
    """
    count, mean, squares = 0, np.zeros(0), np.zeros(0)
    low, high = np.zeros(0), np.zeros(0)
    for rows in _batches(dataset, key):
        here = rows.mean(0)
        if not count:
            mean, squares = np.zeros_like(here), np.zeros_like(here)
            low, high = rows.min(0), rows.max(0)
        # Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
        total, shift = count + len(rows), here - mean
        squares += ((rows - here) ** 2).sum(0) + shift**2 * (count * len(rows) / total)
        mean = mean + shift * (len(rows) / total)
        low, high, count = np.minimum(low, rows.min(0)), np.maximum(high, rows.max(0)), total
    if not count:
        raise DataError(f"{dataset.root} has no frames.", remedy="Record an episode first.")
    ranks = {name: max(1, int(np.ceil(share * count))) for name, share in QUANTILES.items()}
    found = {name: _Bracket(rank, low, high) for name, rank in ranks.items()}
    for _ in range(_PASSES):
        for rows in _batches(dataset, key):
            for bracket in found.values():
                bracket.count(rows)
        for bracket in found.values():
            bracket.narrow()
    return Statistics(
        mean, np.sqrt(squares / count), low, high, q01=found["q01"].value, q99=found["q99"].value, count=count
    )


def picture_statistics(dataset: LeRobotDataset, key: str) -> dict[str, Any]:
    """Mean, std, min and max of a camera by channel, in [0, 1] and of shape (3, 1, 1), over evenly spread frames."""
    lengths = dataset.episodes.lengths
    frames = int(lengths.sum())
    chosen = np.unique(np.linspace(0, frames - 1, min(frames, _PICTURES)).astype(np.int64))
    ends = np.cumsum(lengths)
    sums, squares, low, high, pixels = np.zeros(3), np.zeros(3), np.full(3, 255.0), np.zeros(3), 0
    for index in chosen:
        episode = int(np.searchsorted(ends, index, side="right"))
        rgb = dataset.pictures(episode, key, [int(index - ends[episode] + lengths[episode])])[0].reshape(-1, 3)
        values = rgb.astype(np.float64)
        sums, squares, pixels = sums + values.sum(0), squares + (values**2).sum(0), pixels + len(values)
        low, high = np.minimum(low, values.min(0)), np.maximum(high, values.max(0))
    mean = sums / pixels
    std = np.sqrt(np.maximum(0.0, squares / pixels - mean**2))
    named = {"mean": mean, "std": std, "min": low, "max": high}
    return {name: (v / 255.0).reshape(3, 1, 1).tolist() for name, v in named.items()} | {"count": [len(chosen)]}


def write_dataset_statistics(dataset: LeRobotDataset, stop: Callable[[], bool] = lambda: False) -> Path | None:
    """Write the dataset's own `meta/stats.json`, cameras included.

    Args:
        dataset: the dataset.
        stop: asked between two features: whether to leave off.

    Returns:
        Its path; None if it was left off, and nothing written.

    Raises:
        DataError: if a frame cannot be read or a number is not finite.
    """
    entries: dict[str, Any] = {}
    for key in vector_keys(dataset):
        if stop():
            return None
        entry = statistics(dataset, key).entry("mean_std")
        del entry["mode"]
        entries[key] = entry | {"count": [entry["count"]]}
    for key in dataset.cameras:
        if stop():
            return None
        entries[key] = picture_statistics(dataset, key)
    path = dataset.root / "meta" / "stats.json"
    replace_file(path, (json.dumps(entries, indent=1) + "\n").encode())
    return path


class _Bracket:
    """Where the `rank`-th smallest number of each dimension lies: low <= it <= high, ever narrower."""

    def __init__(self, rank: int, low: Array, high: Array) -> None:
        self._rank = rank
        self._edges = np.linspace(low, high, _BINS + 1)  # (edges, dimensions)
        self.value = low
        self._restart()

    def count(self, rows: Array) -> None:
        """Sort rows (n, dimensions) into the bins."""
        for d in range(rows.shape[1]):
            edges, column = self._edges[:, d], rows[:, d]
            self._below[d] += int((column < edges[0]).sum())
            inside = column[(column >= edges[0]) & (column <= edges[-1])]
            place = np.minimum(np.searchsorted(edges, inside, side="right") - 1, _BINS - 1)
            self._counts[:, d] += np.bincount(place, minlength=_BINS)
            np.minimum.at(self._least[:, d], place, inside)

    def narrow(self) -> None:
        """Go on within the bin that holds the rank."""
        places = np.argmax(self._below + np.cumsum(self._counts, 0) >= self._rank, 0)
        dims = np.arange(len(places))
        self.value = self._least[places, dims]
        self._edges = np.linspace(self._edges[places, dims], self._edges[places + 1, dims], _BINS + 1)
        self._restart()

    def _restart(self) -> None:
        shape = (_BINS, self._edges.shape[1])
        self._counts = np.zeros(shape, np.int64)
        self._least = np.full(shape, np.inf)
        self._below = np.zeros(shape[1], np.int64)


def _batches(dataset: LeRobotDataset, key: str) -> Iterator[Array]:
    """All rows of a feature, in pieces of about 65,000."""
    kept: list[Array] = []
    rows = 0
    for episode in range(len(dataset.episodes)):
        values = np.asarray(dataset.numbers(episode, key), np.float64).reshape(
            int(dataset.episodes.lengths[episode]), -1
        )
        bad = np.flatnonzero(~np.isfinite(values).all(1))
        if len(bad):
            raise DataError(
                f"{dataset.root}, episode {episode}, frame {bad[0]}: {key} is not finite.",
                remedy="Run `f1-ros data check` and remove the episode.",
            )
        kept.append(values)
        rows += len(values)
        if rows >= _BATCH_ROWS:
            yield np.concatenate(kept)
            kept, rows = [], 0
    if rows:
        yield np.concatenate(kept)
