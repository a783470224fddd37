"""What `f1-ros data check` finds, and what it measures a dataset by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.errors import F1Error

Array = NDArray[np.float64]
STATE, ACTION = "observation.state", "action"
_SAMPLED_ROWS = 100_000
BINARY_VALUES = 3


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        code: what kind of thing, such as "jump".
        severity: "error" ruins a training, "warning" may be meant.
        episode, frame: where it shows (first, or most); None where it concerns all.
        problem: what is wrong, in a sentence.
        remedy: what to do about it.
    """

    code: str
    severity: Literal["error", "warning"]
    episode: int | None
    frame: int | None
    problem: str
    remedy: str

    @property
    def where(self) -> str:
        """The place in words."""
        if self.episode is None:
            return "all episodes"
        return f"episode {self.episode}" + ("" if self.frame is None else f", frame {self.frame}")


@dataclass(frozen=True)
class Track:
    """A vector feature over evenly spread episodes: what thresholds are taken from.

    Attributes:
        key: the feature.
        names: names of its dimensions.
        episodes: (episode index, (frames, d) values) of each sampled episode; rows that are not finite are left out.
        low, high: (d,) 1st and 99th percentile.
        step: (d,) median of the changes from frame to frame that are not zero.
        largest: (d,) median over episodes of the largest change in one; 0 with fewer than three episodes.
        binary: (d,) whether there are only a few different values.
    """

    key: str
    names: tuple[str, ...]
    episodes: list[tuple[int, Array]]
    low: Array
    high: Array
    step: Array
    largest: Array
    binary: NDArray[np.bool_]

    @property
    def gripper(self) -> NDArray[np.bool_]:
        """(d,) which dimensions are a gripper's, by their names."""
        return np.array([any(word in name.lower() for word in ("grip", "finger")) for name in self.names])

    @property
    def span(self) -> Array:
        """(d,) distance of the percentiles."""
        return self.high - self.low


def sample_track(dataset: LeRobotDataset, key: str) -> Track | None:
    """Read a feature of evenly spread episodes, at most about 100,000 frames; None if none of them can be read."""
    lengths = dataset.episodes.lengths
    count = len(lengths)
    share = min(1.0, _SAMPLED_ROWS / max(1, int(lengths.sum())))
    chosen = np.unique(np.linspace(0, count - 1, max(1, round(count * share)) if count else 0).astype(int))
    kept: list[tuple[int, Array]] = []
    for episode in chosen:
        try:
            values = np.asarray(dataset.numbers(int(episode), key), np.float64)
        except F1Error:
            continue  # reported where every episode is read
        values = values.reshape(len(values), -1)
        values = values[np.isfinite(values).all(1)]
        if len(values) > 1:
            kept.append((int(episode), values))
    if not kept:
        return None
    rows = np.concatenate([values for _, values in kept])
    by_episode = [np.abs(np.diff(values, axis=0)) for _, values in kept]
    largest = np.median([c.max(0) for c in by_episode], axis=0) if len(kept) > 2 else np.zeros(rows.shape[1])
    changes = np.concatenate(by_episode)
    changes[changes == 0.0] = np.nan
    still = np.isnan(changes).all(0)
    step = np.zeros(rows.shape[1])
    step[~still] = np.nanmedian(changes[:, ~still], axis=0)
    low, high = np.quantile(rows, [0.01, 0.99], axis=0)
    binary = np.array([len(np.unique(rows[:, d])) <= BINARY_VALUES for d in range(rows.shape[1])])
    names = dataset.feature(key).names
    if len(names) != rows.shape[1]:
        names = tuple(f"{key}[{d}]" for d in range(rows.shape[1]))
    return Track(key, names, kept, low, high, step, largest, binary)


def as_dict(finding: Finding) -> dict[str, Any]:
    """The finding's place in a `--json` file."""
    return {
        "code": finding.code,
        "severity": finding.severity,
        "episode": finding.episode,
        "frame": finding.frame,
        "problem": finding.problem,
        "remedy": finding.remedy,
    }
