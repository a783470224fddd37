"""Checks of the cameras: readable, of the declared size, not frozen, not blank, red where red belongs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from f1_ros.data.findings import STATE, Finding
from f1_ros.data.layout import Feature
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.data.video import Picture, video_rate
from f1_ros.errors import F1Error

EPISODES = 200
"""At most so many evenly spread episodes are looked at, three frames of each camera."""
_BLANK = 2.0  # standard deviation in grey levels
_COLOUR = 12.0  # grey levels between the mean colours of two episodes that are another colour order
Array = NDArray[np.float64]


def pictures(dataset: LeRobotDataset) -> Iterator[Finding]:
    """Check all cameras."""
    count = len(dataset.episodes)
    chosen = np.unique(np.linspace(0, count - 1, min(count, EPISODES)).astype(int))
    for key in dataset.cameras:
        colours: dict[int, Array] = {}
        for episode in (int(e) for e in chosen):
            length = int(dataset.episodes.lengths[episode])
            if not length:
                continue
            frames = sorted({0, length // 2, length - 1})
            try:
                rate = list(_rate(dataset, episode, key))
                yield from rate
                if rate:
                    continue  # its frames are not where the timestamps say
                seen = dataset.pictures(episode, key, frames)
            except F1Error as error:
                yield Finding("unreadable", "error", episode, frames[-1], error.problem, error.remedy)
                continue
            yield from _size(dataset.feature(key), episode, seen[0])
            yield from _content(dataset, episode, key, frames, seen)
            colours[episode] = np.mean([rgb.reshape(-1, 3).mean(0) for rgb in seen], axis=0)
        yield from _channels(key, colours)


def _rate(dataset: LeRobotDataset, episode: int, key: str) -> Iterator[Finding]:
    clip = dataset.episodes[episode].clips.get(key)
    if clip is None:
        return
    rate, fps = video_rate(clip.path), dataset.info.fps
    if abs(rate / fps - 1) > 0.02:
        yield Finding(
            "fps",
            "error",
            episode,
            0,
            f"{key}: the video has {rate:.4g} frames a second, info.json says {fps:.4g}.",
            "Encode the video at the dataset's fps, or correct fps in meta/info.json.",
        )


def _size(feature: Feature, episode: int, rgb: Picture) -> Iterator[Finding]:
    declared = feature.size
    if rgb.shape[:2] == declared:
        return
    turned = rgb.shape[:2] == declared[::-1]
    yield Finding(
        "aspect" if turned else "size",
        "error",
        episode,
        0,
        f"{feature.key}: pictures are {rgb.shape[1]}x{rgb.shape[0]} px, info.json says "
        f"{declared[1]}x{declared[0]}{' (sides exchanged)' if turned else ''}.",
        "Correct the feature's shape and names in meta/info.json (height, width, channels), or record again.",
    )


def _content(
    dataset: LeRobotDataset, episode: int, key: str, frames: list[int], seen: list[Picture]
) -> Iterator[Finding]:
    for frame, rgb in zip(frames, seen, strict=True):
        if rgb.std() < _BLANK:
            yield Finding(
                "blank",
                "error",
                episode,
                frame,
                f"{key} shows one even colour.",
                "Check the camera, and remove the episode.",
            )
            return
    if len(seen) < 3 or STATE not in dataset.info.features:
        return
    state = np.asarray(dataset.numbers(episode, STATE), np.float64).reshape(int(dataset.episodes.lengths[episode]), -1)
    moved = float(np.abs(state[frames] - state[frames[0]]).max())
    if moved > 0.02 and all((rgb == seen[0]).all() for rgb in seen[1:]):
        yield Finding(
            "frozen_picture",
            "error",
            episode,
            frames[1],
            f"{key} shows the same picture from the first frame to the last, though the state moves by {moved:.2g}.",
            "Remove the episode: the camera had stopped.",
        )


def _channels(key: str, colours: dict[int, Array]) -> Iterator[Finding]:
    """Episodes whose mean colour is that of the others with red and blue exchanged."""
    if len(colours) < 3:
        return
    usual = np.median(list(colours.values()), axis=0)
    for episode, colour in colours.items():
        away, exchanged = np.abs(colour - usual).max(), np.abs(colour[::-1] - usual).max()
        if away > _COLOUR and exchanged < away / 3:
            yield Finding(
                "channels",
                "error",
                episode,
                0,
                f"{key}: red and blue seem exchanged: mean colour {colour.round().astype(int).tolist()}, elsewhere "
                f"{usual.round().astype(int).tolist()}.",
                "Compare with `f1-ros data show`; record RGB everywhere (OpenCV gives BGR).",
            )
