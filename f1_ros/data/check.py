"""Finding what ruins a fine-tune before it costs a day.

    for finding in check(LeRobotDataset(Path("demos")), Needs(history=9, chunk=16)):
        print(finding.where, finding.problem, finding.remedy)

Every episode's numbers are read, and a few pictures of up to 200 episodes. What is usual is taken from the dataset
itself; a finding is a reason to look, with the place where to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from f1_ros.data import check_numbers, check_pictures
from f1_ros.data.findings import ACTION, STATE, Array, Finding, Track, sample_track
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.engine.protocol import PolicySpec
from f1_ros.errors import ConfigError, F1Error


@dataclass(frozen=True)
class Needs:
    """What training needs of a dataset.

    Attributes:
        history: frames before the first that has its whole history.
        chunk: steps in an action chunk.
        spec: the policy to be trained further, if any.
        stats: that policy's stats.json, and
        source: its path, for messages.
    """

    history: int = 9
    chunk: int = 16
    spec: PolicySpec | None = None
    stats: dict[str, Any] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if self.history < 0 or self.chunk < 1:
            raise ConfigError(
                f"A history of {self.history} and a chunk of {self.chunk} frames make no sample.",
                remedy="Give a history of at least 0 and a chunk of at least 1.",
            )


def check(dataset: LeRobotDataset, needs: Needs, progress: Callable[[int, int], None] | None = None) -> list[Finding]:
    """Check a dataset.

    Args:
        dataset: the dataset.
        needs: what training needs of it.
        progress: called with the episodes read and their number.

    Returns:
        What is wrong, errors first, in the order of episodes.

    Raises:
        ConfigError: if a file of statistics is damaged.
    """
    tracks = {key: sample_track(dataset, key) for key in (STATE, ACTION) if key in dataset.info.features}
    state, action = tracks.get(STATE), tracks.get(ACTION)
    found = [*_description(dataset, needs)]
    for episode in range(len(dataset.episodes)):
        found += _episode(dataset, needs, episode, state, action)
        if progress is not None:
            progress(episode + 1, len(dataset.episodes))
    for track in (state, action):
        if track is not None:
            found += check_numbers.constant(track)
    if state is not None and action is not None:
        found += check_numbers.grippers(state, action)
        found += check_numbers.agreement(state, action)
    found += _statistics(dataset, needs, [track for track in (state, action) if track is not None])
    found += check_pictures.pictures(dataset)
    return sorted(found, key=lambda f: (f.severity != "error", f.code, -1 if f.episode is None else f.episode))


def _description(dataset: LeRobotDataset, needs: Needs) -> Iterator[Finding]:
    info = dataset.info
    for key in (STATE, ACTION):
        if key not in info.features:
            yield _everywhere("missing", f"There is no {key}.", f"Record it, or rename the feature to {key}.")
    if not dataset.cameras:
        yield _everywhere("missing", "There is no camera.", "Record at least one.")
    if not len(dataset.episodes):
        yield _everywhere("missing", "There is no episode.", "Record some.")
    counted = int(dataset.episodes.lengths.sum())
    if counted != info.frames:
        yield _everywhere(
            "index",
            f"info.json counts {info.frames} frames, the episodes have {counted}.",
            "Correct total_frames in meta/info.json.",
        )
    if needs.spec is not None:
        yield from _policy(dataset, needs.spec)


def _policy(dataset: LeRobotDataset, spec: PolicySpec) -> Iterator[Finding]:
    rate, info = 1.0 / spec.step_s, dataset.info
    if abs(rate / info.fps - 1) > 0.02:
        yield _everywhere(
            "fps",
            f"The policy's steps are those of {rate:.4g} Hz, the dataset has {info.fps:.4g} fps.",
            "Record at the policy's rate, or train with offsets that cover the same time.",
        )
    for key, names in ((STATE, spec.state_names), (ACTION, spec.action_names)):
        if key in info.features and info.features[key].names not in ((), names):
            yield _everywhere(
                "order",
                f"{key} is {', '.join(info.features[key].names)}; the policy expects {', '.join(names)}.",
                "Give the dataset an embodiment that puts its numbers into the policy's order (docs/data.md).",
            )
    missing = [camera for camera in spec.cameras if not any(k.endswith(f".{camera}") for k in dataset.cameras)]
    if missing:
        yield _everywhere(
            "missing",
            f"The policy's camera {missing[0]} is none of {', '.join(dataset.cameras)}.",
            "Name the dataset's key for it under `cameras` in the training configuration.",
        )


def _episode(
    dataset: LeRobotDataset, needs: Needs, episode: int, state: Track | None, action: Track | None
) -> Iterator[Finding]:
    length = int(dataset.episodes.lengths[episode])
    if length < needs.history + needs.chunk:
        yield Finding(
            "short",
            "warning",
            episode,
            max(0, length - 1),
            f"The episode has {length} frames; history and chunk need {needs.history + needs.chunk}.",
            "Remove it, or train with a shorter history or chunk: the rest would be padding.",
        )
    try:
        yield from _time(dataset, episode, length)
        yield from _words(dataset, episode)
        values: dict[str, Array] = {}
        for track in (state, action):
            if track is None:
                continue
            rows = np.asarray(dataset.numbers(episode, track.key), np.float64).reshape(length, -1)
            values[track.key] = rows
            yield from check_numbers.not_finite(episode, track.key, track.names, rows)
            yield from check_numbers.jumps(episode, track, rows)
        if state is not None and action is not None:
            yield from check_numbers.frozen(episode, state, action, values[STATE], values[ACTION])
    except F1Error as error:
        yield Finding("unreadable", "error", episode, 0, error.problem, error.remedy)


def _time(dataset: LeRobotDataset, episode: int, length: int) -> Iterator[Finding]:
    fps, times = dataset.info.fps, np.asarray(dataset.numbers(episode, "timestamp"), np.float64)
    wrong = np.flatnonzero(np.asarray(dataset.numbers(episode, "frame_index")) != np.arange(length))
    if len(wrong):
        yield Finding(
            "index",
            "error",
            episode,
            int(wrong[0]),
            "frame_index does not count 0, 1, 2, ...",
            "Number the frames anew; the episode's rows may be mixed up.",
        )
    if length < 2:
        return
    steps = np.diff(times)
    usual = float(np.median(steps))
    back = np.flatnonzero(~(steps > 0))
    if len(back):
        yield Finding(
            "timestamp",
            "error",
            episode,
            int(back[0]) + 1,
            f"The timestamp goes from {times[back[0]]:.4f} to {times[back[0] + 1]:.4f} s.",
            "Remove the episode, or write timestamps anew from frame_index and fps.",
        )
    elif abs(usual * fps - 1) > 0.02:
        yield Finding(
            "fps",
            "error",
            episode,
            1,
            f"Frames are {usual:.4f} s apart, that is {1 / usual:.4g} fps; info.json says {fps:.4g}.",
            "Correct fps in meta/info.json, or the timestamps: history and chunk are counted in frames.",
        )
    elif steps.max() * fps > 1.5:
        frame = int(np.argmax(steps)) + 1
        yield Finding(
            "gap",
            "error",
            episode,
            frame,
            f"Before this frame {steps[frame - 1] * fps - 1:.1f} frames are missing ({steps[frame - 1]:.3f} s).",
            "Split the episode there or remove it: the arm moves on while no frame is recorded.",
        )
    else:
        off = np.abs(times - np.arange(length) / fps) * fps
        if off.max() > 0.5:
            yield Finding(
                "drift",
                "error",
                episode,
                int(np.argmax(off > 0.5)),
                f"The timestamp is off frame_index / fps by more than half a frame here, and by {off.max():.2f} frames "
                "at most.",
                "Record on a fixed grid, or write timestamps anew from frame_index and fps.",
            )


def _words(dataset: LeRobotDataset, episode: int) -> Iterator[Finding]:
    if "task_index" not in dataset.info.features:
        indices, frames = np.zeros(1), np.zeros(1, int)
    else:
        indices, frames = np.unique(np.asarray(dataset.numbers(episode, "task_index")), return_index=True)
    for _, frame in zip(indices, frames, strict=True):
        if not dataset.instruction(episode, int(frame)).strip():
            yield Finding(
                "language",
                "error",
                episode,
                int(frame),
                "The frame has no instruction: its task is empty, or missing in meta/tasks.",
                "Add the task's words, or give the dataset's `instruction` in the training configuration.",
            )
            return


def _statistics(dataset: LeRobotDataset, needs: Needs, tracks: list[Track]) -> Iterator[Finding]:
    path = dataset.root / "meta" / "stats.json"
    if path.is_file():
        own = read_statistics(path)
        for track in tracks:
            if track.key in own:
                yield from check_numbers.statistics_of(own[track.key], "meta/stats.json", track, own=True)
    elif dataset.info.version == "v3.0":
        yield Finding(
            "statistics",
            "warning",
            None,
            None,
            "meta/stats.json is missing, as after a recording that was killed.",
            "Make it with `f1-ros data stats DIR --write`.",
        )
    if needs.stats is not None:
        # A policy's actions may be relative to the state: only the state can be compared.
        for track in tracks:
            if track.key == STATE and STATE in needs.stats:
                yield from check_numbers.statistics_of(needs.stats[STATE], needs.source, track, own=False)


def read_statistics(path: Path) -> dict[str, Any]:
    """Read a stats.json.

    Raises:
        ConfigError: if it is missing or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}).", remedy="Compute it anew.") from error
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise ConfigError(f"{path} does not hold statistics by key.", remedy="Compute it anew.")
    return found


def _everywhere(code: str, problem: str, remedy: str) -> Finding:
    return Finding(code, "error", None, None, problem, remedy)
