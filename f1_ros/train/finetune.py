"""A training run from its configuration: network, datasets, statistics, trainer, and the policy directory at the end.

    FineTuneRun(load_train_config(path), Path("runs/mine")).run()      leaves runs/mine/policy

Everything is checked before the first step: that datasets, policy layout and network fit each other, and that the
statistics are there.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from f1_ros.data.embodiment import ACTION_KEYS, STATE_KEYS, Columns
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.data.samples import SampleSpec
from f1_ros.data.sources import DatasetConfig, Mixture, mixture
from f1_ros.engine.policy import STATS_FILE, PolicyFile, load_policy_file
from f1_ros.engine.protocol import PolicySpec
from f1_ros.errors import CheckpointError, ConfigError
from f1_ros.model.checkpoint import load_policy_network, load_visual_tokenizer, read_config
from f1_ros.model.config import F1Config, KeypointConvConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.language import LanguageTokenizer
from f1_ros.observe.geometry import CameraGeometry
from f1_ros.train.batches import Batches, Statistics
from f1_ros.train.export import write_policy
from f1_ros.train.finetune_config import TrainConfig, check_absolute, require
from f1_ros.train.starting_point import StartReport, load_starting_weights
from f1_ros.train.trainer import Trainer

START_FILE = "start.json"
DATASET_STATISTICS = Path("meta") / "stats.json"
_LISTS = ("mean", "std", "min", "max", "q01", "q99")
_RATE_TOLERANCE = 0.02


class FineTuneRun:
    """One run in a folder of its own.

    Args:
        config: what to do.
        folder: metrics, checkpoints, pictures, and at the end `policy`; `start.json` says where a new network's weights
            came from.
        quiet: no progress bar.

    Raises:
        ConfigError: naming key and remedy, if configuration, network and datasets do not fit.
        CheckpointError: if the policy to start from cannot be read. DataError: if a dataset cannot be read.
    """

    def __init__(self, config: TrainConfig, folder: Path, *, quiet: bool = False) -> None:
        require(
            bool(config.datasets), "datasets: none is given.", "Name one in the configuration, or with --dataset DIR."
        )
        self.config, self.folder, self.quiet = config, folder, quiet
        self.file = policy_file(config)
        self.network_config = network_config(config, self.file)
        self.datasets = tuple(
            dataclasses.replace(d, instruction=d.instruction or self.file.spec.default_instruction)
            for d in config.datasets
        )
        for number, dataset in enumerate(self.datasets):
            check_dataset(dataset, self.file.spec, any_rate=self._other_robots and number > 0)
        self.statistics = [statistics_of(dataset, config) for dataset in self.datasets]

    def run(self, *, previous: bool = False) -> Path:
        """Train, from the newest checkpoint if there is one, and write the policy directory.

        Args:
            previous: go on from the checkpoint before the newest.

        Returns:
            The policy directory. Its statistics are those of the first dataset.
        """
        config, network_shape = self.config, self.network_config
        language = _language_folder(config)
        batches = Batches(
            network_shape,
            self.file,
            self.statistics,
            LanguageTokenizer(language, network_shape.tokenizer_max_length, network_shape.und.vocab_size),
            other_robots=self._other_robots,
        )
        network, report = starting_network(config, network_shape)
        trainer = Trainer(
            config,
            network,
            batches,
            self.samples("train", random_crop=config.data.random_crop),
            self.samples("held_out", random_crop=False),
            self.folder,
            quiet=self.quiet,
        )
        if report is not None and trainer.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / START_FILE).write_text(json.dumps(report.as_dict(), indent=1) + "\n", encoding="utf-8")
            print(report.summary(), flush=True)
        network = trainer.run(previous=previous)
        policy = self.folder / "policy"
        if trainer.accelerator.is_main_process:
            file = trained_on(self.file, self.datasets[0])
            write_policy(policy, network, file, self.statistics[0], language)
        return policy

    @property
    def _other_robots(self) -> bool:
        """Whether datasets after the first may be of other robots: what is learnt of them helps the first one's."""
        return self.config.stage != "finetune"

    def samples(self, split: Literal["train", "held_out"], *, random_crop: bool) -> Mixture:
        """The samples of a split."""
        return mixture(self.datasets, sample_spec(self.file.spec, random_crop=random_crop), split)


def policy_file(config: TrainConfig) -> PolicyFile:
    """Layout, timing and action representation of the run's policy.

    Raises:
        ConfigError: if neither the configuration nor the policy to start from has them, or if relative actions meet the
            datasets' statistics. CheckpointError: if the policy to start from has no `policy.json`.
    """
    if config.policy is not None:
        return config.policy
    require(
        config.start.policy is not None,
        "start.policy and start.network are both missing.",
        "Name the policy directory to start from, for example with --set start.policy=models/f1_belt.",
    )
    file = load_policy_file(Path(str(config.start.policy)))
    if config.data.statistics == "dataset":
        check_absolute(file)
    return file


def trained_on(file: PolicyFile, config: DatasetConfig) -> PolicyFile:
    """The policy's file, with the aspect of the pictures that it was trained on: cameras are checked against it.

    A dataset does not tell the field of view: what the file gives is kept where the aspect is that of its pictures.
    """
    dataset = LeRobotDataset(config.path)
    geometry = dict(file.spec.camera_geometry)
    for name in file.spec.cameras:
        key = f"observation.images.{name}"
        key = config.cameras.get(key, key)
        if key not in dataset.cameras:
            continue
        height, width = dataset.feature(key).size
        aspect = width / height
        known = geometry.get(name)
        fov_deg = known.horizontal_fov_deg if known is not None and known.has_aspect(aspect) else None
        geometry[name] = CameraGeometry(round(aspect, 4), fov_deg)
    return dataclasses.replace(file, spec=dataclasses.replace(file.spec, camera_geometry=geometry))


def network_config(config: TrainConfig, file: PolicyFile) -> F1Config:
    """Shape of the run's network. Its chunk is that of the policy: no weight depends on it.

    Raises:
        ConfigError: naming the key of `policy.spec` that does not fit the network.
    """
    if config.start.network is not None:
        shape = F1Config.from_json(config.start.network)
    else:
        shape = read_config(Path(str(config.start.policy)))
    spec = file.spec
    fits = {
        "image_size": (spec.image_size, shape.image_size),
        "history_size": (spec.history_size, shape.frame_size if shape.use_world_model else spec.history_size),
        "history_offsets": (
            len(spec.history_offsets),
            shape.temporal_conv_kernel_size if shape.use_world_model else len(spec.history_offsets),
        ),
    }
    images = shape.vision.images if isinstance(shape.vision, KeypointConvConfig) else None
    if images is not None:
        fits["cameras and past_images"] = (len(spec.cameras) + len(spec.past_images), images)
    for key, names, room in (
        ("state_names", spec.state_names, shape.max_state_dim),
        ("action_names", spec.action_names, shape.max_action_dim),
    ):
        if len(names) > room:  # fewer are filled up with zeros
            fits[key] = (len(names), room)
    for key, (wanted, has) in fits.items():
        require(
            wanted == has,
            f"policy.spec.{key} asks for {wanted}, the network has {has}.",
            f"Change policy.spec.{key}, or start from another network.",
        )
    return dataclasses.replace(shape, chunk_size=spec.chunk_size)


def starting_network(config: TrainConfig, shape: F1Config) -> tuple[F1Model, StartReport | None]:
    """The network with the weights that the run starts from, and for a new one what was taken from `start.weights`.

    Raises:
        ConfigError: if a new network with a world model has no visual tokenizer.
        CheckpointError: if weights cannot be read or do not fit.
    """
    if config.start.policy is not None:
        network = load_policy_network(Path(config.start.policy))
        network.config = shape
        return network, None
    torch.manual_seed(config.seed)
    network = F1Model(shape)
    if shape.vae is not None:
        require(
            config.start.visual_tokenizer is not None,
            "start.visual_tokenizer is missing: foresight is learnt in a trained tokenizer's codes.",
            "Name its file, such as vae_ch160v4096z32.pth.",
        )
        tokenizer = load_visual_tokenizer(Path(str(config.start.visual_tokenizer)), shape.vae, shape.scales)
        network.tokenizer.load_state_dict(tokenizer.state_dict())
    return network, load_starting_weights(network, [Path(source) for source in config.start.weights])


def sample_spec(spec: PolicySpec, *, random_crop: bool) -> SampleSpec:
    """What a policy's samples hold; a dataset's frames are the policy's steps (`check_dataset` makes sure of it)."""
    return SampleSpec(
        cameras=tuple(f"observation.images.{name}" for name in spec.cameras),
        image_size=spec.image_size,
        history_resize=spec.history_resize,
        history_size=spec.history_size,
        history_offsets=spec.history_offsets,
        foresight_offset=spec.foresight_offset,
        chunk_size=spec.chunk_size,
        random_crop=random_crop,
    )


def check_dataset(config: DatasetConfig, spec: PolicySpec, *, any_rate: bool = False) -> None:
    """Refuse a dataset of another rate (unless any will do), or with episodes too short for the chunk.

    Raises:
        ConfigError: naming key and remedy. DataError: if the dataset cannot be read.
    """
    dataset = LeRobotDataset(config.path)
    step_s = 1.0 / dataset.info.fps
    require(
        any_rate or abs(step_s / spec.step_s - 1.0) < _RATE_TOLERANCE,
        f"{config.path} has {dataset.info.fps:g} frames a second, policy.spec.step_s is {spec.step_s:g} s "
        f"({1.0 / spec.step_s:g} a second).",
        f"Set policy.spec.step_s to {step_s:g}, or use a dataset of the policy's rate.",
    )
    lengths = dataset.episodes.lengths
    short = np.flatnonzero(lengths < spec.chunk_size)
    require(
        2 * len(short) <= len(lengths),
        f"policy.spec.chunk_size is {spec.chunk_size}, but {len(short)} of {len(lengths)} episodes of {config.path} "
        f"are shorter (episode {short[0] if len(short) else 0} has {lengths[short[0]] if len(short) else 0} frames).",
        "Lower policy.spec.chunk_size, or record longer episodes.",
    )


def statistics_of(config: DatasetConfig, run: TrainConfig) -> Statistics:
    """What a dataset's vectors are normalised by: its own statistics, or those of the policy to start from.

    Raises:
        ConfigError: naming dataset and remedy, if they are missing. CheckpointError: likewise, of the policy.
    """
    if run.data.statistics == "start":
        return _read_statistics(Path(str(run.start.policy)) / STATS_FILE)
    path = config.path / DATASET_STATISTICS
    if not path.is_file():
        raise ConfigError(
            f"{path} is missing: data.statistics is 'dataset'.",
            remedy=f"Compute them: `f1-ros data stats {config.path} --write`.",
        )
    entries = _read_statistics(path)
    transform = config.embodiment
    features = {
        "observation.state": STATE_KEYS if transform is None else transform.state_keys,
        "action": ACTION_KEYS if transform is None else transform.action_keys,
    }
    out: dict[str, Mapping[str, Any]] = {}
    for key, parts in features.items():
        missing = [part for part in parts if part not in entries]
        if missing:
            raise ConfigError(
                f"{path} has no statistics of '{missing[0]}'.",
                remedy=f"Compute them: `f1-ros data stats {config.path} --write`.",
            )
        entry: Mapping[str, Any] = {
            name: [number for part in parts for number in entries[part][name]]
            for name in _LISTS
            if all(name in entries[part] for part in parts)
        }
        if transform is not None:
            entry = in_robot_terms(entry, transform.action() if key == "action" else transform.state())
        out[key] = {"mode": run.data.normalisation, **entry}
    return out


def in_robot_terms(entry: Mapping[str, Any], columns: Columns) -> dict[str, list[float]]:
    """Statistics of a dataset's vector as those of the robot's: where a gain is negative, ends change places."""
    out: dict[str, list[float]] = {}
    if "mean" in entry:
        out["mean"] = columns.to_robot(np.array(entry["mean"], np.float64)).tolist()
    if "std" in entry:
        spread = np.array(entry["std"], np.float64)[list(columns.order)] * np.abs(columns.gain)
        out["std"] = spread.tolist()
    for low, high in (("min", "max"), ("q01", "q99")):
        if low in entry and high in entry:
            ends = np.stack([columns.to_robot(np.array(entry[name], np.float64)) for name in (low, high)])
            out[low], out[high] = ends.min(0).tolist(), ends.max(0).tolist()
    return out


def _read_statistics(path: Path) -> dict[str, dict[str, Any]]:
    try:
        stats = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}).", remedy="Restore it, or compute it anew.") from error
    if not isinstance(stats, dict):
        raise CheckpointError(f"{path} holds no keys.", remedy="Restore it, or compute it anew.")
    return stats


def _language_folder(config: TrainConfig) -> Path:
    return Path(str(config.start.language or config.start.policy))
