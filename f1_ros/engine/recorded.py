"""Observations kept in a file, to run engines on: `check.npz` of a policy directory.

    images        (N, C, 3, S, S) uint8: pictures of the policy's cameras
    history       (N, T, 3, H, H) uint8
    state         (N, d) float64, rad and m
    instruction   (N,) text
    cameras, state_names   what these are of

Pictures are kept in 8 bits; where a camera's was resized to the model's size this rounds it, for every engine alike.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from f1_ros.data.samples import Sample, SampleSource
from f1_ros.engine.protocol import PolicySpec
from f1_ros.errors import ConfigError, DataError
from f1_ros.observe.observation import Observation

CHECK_FILE = "check.npz"
_KEYS = ("images", "history", "state", "instruction", "cameras", "state_names")
STRIDE_NS = 1_000_000_000_000
"""Distance of the observations' stamps: no history frame of one is that of another."""


@dataclass(frozen=True)
class Recorded:
    """One observation, and what the policy was to do."""

    observation: Observation
    instruction: str


def from_samples(source: SampleSource, spec: PolicySpec, count: int) -> list[Recorded]:
    """Samples of a dataset as observations, spread evenly over it.

    Args:
        source: samples in the policy's sizes, cropped at the centre.
        spec: the policy's.
        count: at most so many.

    Raises:
        ConfigError: if `count` is below 1.
        DataError: if the state is not the policy's, a camera is missing, or a sample cannot be read.
    """
    if count < 1:
        raise ConfigError(f"{count} observations are asked for.", remedy="Give 1 or more.")
    chosen = np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).astype(int))
    draw = np.random.default_rng(0)  # nothing in a sample that is cropped at the centre is random
    samples = source.samples([(int(index), draw) for index in chosen])
    return [_recorded(sample, spec, number) for number, sample in enumerate(samples)]


def _recorded(sample: Sample, spec: PolicySpec, number: int) -> Recorded:
    if not sample.present.all() or sample.state.shape != (len(spec.state_names),):
        raise DataError(
            f"Episode {sample.episode} has {sample.present.sum()} of the cameras {', '.join(spec.cameras)} and "
            f"{len(sample.state)} of {len(spec.state_names)} state numbers.",
            remedy="Give a dataset that was recorded for this policy.",
        )
    pictures = np.clip(np.rint((sample.images + 1.0) * 127.5), 0, 255).astype(np.uint8)
    return Recorded(_observation(spec, number, pictures, sample.history, sample.state), sample.instruction)


def save(path: Path, recorded: Sequence[Recorded]) -> None:
    """Write observations; the file appears whole or not at all.

    Raises:
        ConfigError: if there are none, or the file cannot be written.
    """
    if not recorded:
        raise ConfigError(f"{path}: there are no observations to keep.", remedy="Give at least one.")
    first = recorded[0].observation
    arrays = {
        "images": np.stack([np.rint((r.observation.images + 1.0) * 127.5).astype(np.uint8) for r in recorded]),
        "history": np.stack([r.observation.history for r in recorded]),
        "state": np.stack([r.observation.state for r in recorded]),
        "instruction": np.array([r.instruction for r in recorded]),
        "cameras": np.array(first.cameras),
        "state_names": np.array(first.state_names),
    }
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error}).", remedy="Give a path that is writable.") from error
    finally:
        beside.unlink(missing_ok=True)


def load(path: Path, spec: PolicySpec) -> list[Recorded]:
    """Read observations for a policy.

    Raises:
        DataError: if the file is missing, damaged, or of another policy's cameras, sizes or joints.
    """
    remedy = "Make it anew: f1-ros engine observations --policy DIR --data DATASET --out FILE."
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {key: file[key] for key in _KEYS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} holds no observations ({error}).", remedy=remedy) from error
    count = len(arrays["state"])
    size, side, frames = spec.image_size, spec.history_size, len(spec.history_offsets)
    expected = {
        "images": (count, len(spec.cameras), 3, size, size),
        "history": (count, frames, 3, side, side),
        "state": (count, len(spec.state_names)),
        "instruction": (count,),
    }
    wrong = [f"{key} {arrays[key].shape}" for key, shape in expected.items() if arrays[key].shape != shape]
    for key, names in (("cameras", spec.cameras), ("state_names", spec.state_names)):
        if tuple(arrays[key].tolist()) != names:
            wrong.append(f"{key} {arrays[key].tolist()}")
    wrong += [f"{key} {arrays[key].dtype}" for key in ("images", "history") if arrays[key].dtype != np.uint8]
    if wrong or not count or not np.isfinite(arrays["state"].astype(np.float64)).all():
        raise DataError(
            f"{path} does not fit policy '{spec.name}': {'; '.join(wrong) or 'no, or not finite, states'}.",
            remedy=remedy,
        )
    return [
        Recorded(
            _observation(spec, i, arrays["images"][i], arrays["history"][i], arrays["state"][i]),
            str(arrays["instruction"][i]),
        )
        for i in range(count)
    ]


def _observation(
    spec: PolicySpec,
    number: int,
    pictures: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    history: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    state: np.ndarray[tuple[int, ...], np.dtype[np.floating]],
) -> Observation:
    """An observation as the observation node makes it; its stamps are made up."""
    stamp = (number + 1) * STRIDE_NS
    step_ns = round(spec.step_s * 1e9)
    return Observation(
        stamp_ns=stamp,
        cameras=spec.cameras,
        camera_stamps_ns=(stamp,) * len(spec.cameras),
        images=pictures.astype(np.float32) / np.float32(127.5) - np.float32(1.0),
        history=np.ascontiguousarray(history),
        history_stamps_ns=tuple(stamp + offset * step_ns for offset in spec.history_offsets),
        state_names=spec.state_names,
        state=state.astype(np.float64),
    )
