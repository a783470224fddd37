"""Samples from LeRobot datasets: one or several, with weights, split by whole episodes.

train = mixture([DatasetConfig(Path("a"), weight=3.0), DatasetConfig(Path("b"))], spec, split="train")
held_out = mixture([...], spec, split="held_out")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from f1_ros.data.embodiment import ACTION_KEYS, STATE_KEYS, AnyEmbodiment
from f1_ros.data.lerobot import CACHE_BYTES, LeRobotDataset
from f1_ros.data.samples import Drawn, Sample, SampleSource, SampleSpec
from f1_ros.data.video import Picture
from f1_ros.errors import ConfigError, DataError
from f1_ros.observe.preprocess import BLACK, camera_tensors, history_frames

Split = Literal["train", "held_out", "all"]


@dataclass(frozen=True)
class DatasetConfig:
    """One dataset of a training run.

    Attributes:
        path: its folder.
        weight: how often it is drawn, relative to the others' weights; None for all of them: by their frames, so that
            an epoch shows every frame once.
        held_out: share of its episodes that is never trained on.
        cameras: key in this dataset of each camera that is called otherwise in the SampleSpec.
        embodiment: transform of state and action; None takes them as they are.
        instruction: what to use where the dataset has no words; empty refuses such frames.
    """

    path: Path
    weight: float | None = None
    held_out: float = 0.05
    cameras: dict[str, str] = field(default_factory=dict)
    embodiment: AnyEmbodiment | None = None
    instruction: str = ""

    def __post_init__(self) -> None:
        if self.weight is not None and not 0.0 < self.weight < float("inf"):
            raise ConfigError(f"{self.path}: weight is {self.weight}.", remedy="Give a number above 0.")
        if not 0.0 <= self.held_out < 1.0:
            raise ConfigError(f"{self.path}: held_out is {self.held_out}.", remedy="Give a share from 0 to below 1.")


@dataclass(frozen=True)
class _Read:
    """What was read of a sample: the first camera's history and target, each camera's view, and the rest of `Sample`.

    Attributes:
        crop: where history and target are cropped, (down, right), each 0 to 1.
    """

    episode: int
    frame: int
    seen: list[Picture]
    views: list[Picture]
    crop: tuple[float, float]
    state: NDArray[np.float32]
    actions: NDArray[np.float32]
    action_is_pad: NDArray[np.bool_]
    instruction: str


class EpisodeSamples:
    """Every frame of chosen episodes of a dataset as a sample.

    Args:
        dataset: the dataset.
        spec: what a sample holds.
        episodes: which episodes.
        config: names, transform and words of this dataset.
        number: the dataset's number in its mixture.

    Raises:
        DataError: if the dataset lacks the state, the action, or the camera that has the history.
    """

    def __init__(
        self, dataset: LeRobotDataset, spec: SampleSpec, episodes: Sequence[int], config: DatasetConfig, number: int = 0
    ) -> None:
        self.dataset = dataset
        self.spec = spec
        self.number = number
        self._config = config
        self._episodes = np.array(episodes, np.int64)
        self._ends = np.cumsum(dataset.episodes.lengths[self._episodes])
        self._keys = tuple(config.cameras.get(key, key) for key in spec.cameras)
        transform = config.embodiment
        self._state_keys = STATE_KEYS if transform is None else transform.state_keys
        self._action_keys = ACTION_KEYS if transform is None else transform.action_keys
        for key in (*self._state_keys, *self._action_keys, self._keys[0]):
            dataset.feature(key)
        self._present = np.array([key in dataset.cameras for key in self._keys])
        unknown = sorted(set(config.cameras) - set(spec.cameras))
        if unknown:
            raise ConfigError(
                f"{config.path}: cameras renames {unknown[0]}, which the samples do not have.",
                remedy=f"Rename one of {', '.join(spec.cameras)}.",
            )

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def samples(self, drawn: Sequence[Drawn]) -> list[Sample]:
        """As `SampleSource.samples` says."""
        spec = self.spec
        read = [self._read(index, generator) for index, generator in drawn]
        # Their pictures together: what is paid by call is paid once.
        seen = [rgb for one in read for rgb in one.seen]
        at = [one.crop for one in read for _ in one.seen]
        frames = history_frames(seen, spec.history_resize, spec.history_size, at=at)
        frames = frames.reshape(len(read), -1, *frames.shape[1:])
        views = camera_tensors([rgb for one in read for rgb in one.views], spec.image_size)
        images = views.reshape(len(read), -1, *views.shape[1:])
        if not self._present.all():
            images = np.full((len(read), len(self._keys), *views.shape[1:]), BLACK, np.float32)
            images[:, self._present] = views.reshape(len(read), -1, *views.shape[1:])
        return [
            Sample(
                images=images[i],
                present=self._present,
                history=frames[i, :-1],
                target=frames[i, -1],
                state=one.state,
                actions=one.actions,
                action_is_pad=one.action_is_pad,
                instruction=one.instruction,
                dataset=self.number,
                episode=one.episode,
                frame=one.frame,
            )
            for i, one in enumerate(read)
        ]

    def _read(self, index: int, generator: np.random.Generator) -> _Read:
        """What a sample needs of the dataset."""
        if not 0 <= index < len(self):
            raise DataError(f"{self.dataset.root}: no sample {index} of {len(self)}.", remedy="Count samples from 0.")
        spec, data = self.spec, self.dataset
        place = int(np.searchsorted(self._ends, index, side="right"))
        episode = int(self._episodes[place])
        length = int(data.episodes.lengths[episode])
        frame = index - int(self._ends[place]) + length
        past = [max(0, frame + offset) for offset in spec.history_offsets]
        seen = data.pictures(episode, self._keys[0], [*past, min(length - 1, frame + spec.foresight_offset)])
        others = [key for key, present in zip(self._keys[1:], self._present[1:], strict=True) if present]
        steps = np.arange(frame, frame + spec.chunk_size)
        state, actions = self._vectors(episode, frame, np.minimum(steps, length - 1))
        instruction = data.instruction(episode, frame).strip() or self._config.instruction
        if not instruction:
            raise DataError(
                f"{data.root}, episode {episode}, frame {frame} has no instruction.",
                remedy="Give the dataset's `instruction` in the configuration, or add tasks to the dataset.",
            )
        return _Read(
            episode=episode,
            frame=frame,
            seen=seen,
            views=[seen[-2], *(data.pictures(episode, key, [frame])[0] for key in others)],
            crop=(generator.random(), generator.random()) if spec.random_crop else (0.5, 0.5),
            state=state,
            actions=actions,
            action_is_pad=steps >= length,
            instruction=instruction,
        )

    def _vectors(
        self, episode: int, frame: int, steps: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        state = self._numbers(episode, frame, self._state_keys, frame)
        actions = self._numbers(episode, frame, self._action_keys, steps)
        transform = self._config.embodiment
        if transform is not None:
            state, actions = transform.state().to_robot(state), transform.action().to_robot(actions)
        return np.asarray(state, np.float32), np.asarray(actions, np.float32)

    def _numbers(
        self, episode: int, frame: int, keys: tuple[str, ...], frames: int | NDArray[np.int64]
    ) -> NDArray[np.floating[Any]]:
        """Numbers of features at some frames, one feature after the other, for the sample of a frame."""
        parts = []
        for key in keys:
            rows = self.dataset.numbers(episode, key)
            values = rows.reshape(len(rows), -1)[frames]
            if not np.isfinite(values).all():
                raise DataError(
                    f"{self.dataset.root}, episode {episode}, frame {frame}: {key} is not finite.",
                    remedy="Run `f1-ros data check` and remove the episode.",
                )
            parts.append(values)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


class Mixture:
    """Several sources as one; an epoch has as many samples as they have together.

    Without weights each sample comes once in an epoch. With weights each source gets its share of the epoch, and
    which of its samples come is drawn.

    Raises:
        ConfigError: if there is no source, or not one weight for each or for none.
    """

    def __init__(self, sources: Sequence[SampleSource], weights: Sequence[float | None]) -> None:
        given = [weight for weight in weights if weight is not None]
        if not sources or len(weights) != len(sources) or 0 < len(given) < len(sources):
            raise ConfigError(
                f"{len(sources)} datasets have {len(given)} weights.", remedy="Give each dataset a weight, or none."
            )
        self._sources = tuple(sources)
        lengths = np.array([len(source) for source in sources], np.int64)
        shares = np.array(given) / sum(given) if given else lengths / max(1, lengths.sum())
        self._drawn = bool(given)
        self._ends = np.rint(np.cumsum(shares) * lengths.sum()).astype(np.int64)
        self._ends[-1] = lengths.sum()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def samples(self, drawn: Sequence[Drawn]) -> list[Sample]:
        """As `SampleSource.samples` says."""
        parts: dict[int, list[tuple[int, Drawn]]] = {}
        for position, (index, generator) in enumerate(drawn):
            which = int(np.searchsorted(self._ends, index, side="right"))
            if self._drawn:
                index = int(generator.integers(len(self._sources[which])))
            else:
                index -= int(self._ends[which - 1]) if which else 0
            parts.setdefault(which, []).append((position, (index, generator)))
        made: dict[int, Sample] = {}
        for which, part in parts.items():
            samples = self._sources[which].samples([one for _, one in part])
            made.update(zip([position for position, _ in part], samples, strict=True))
        return [made[position] for position in range(len(drawn))]


def split_episodes(count: int, held_out: float, split: Split) -> list[int]:
    """Episodes of a split. Which ones are held out depends on their number alone, never on a run's seed.

    At least one is held out if any should be and there are two.
    """
    held = min(max(1, round(count * held_out)), count - 1) if held_out > 0.0 else 0
    order = np.random.default_rng(20_250_909).permutation(count)
    chosen = {"train": order[held:], "held_out": order[:held], "all": order}[split]
    return sorted(int(i) for i in chosen)


def mixture(configs: Sequence[DatasetConfig], spec: SampleSpec, split: Split) -> Mixture:
    """Open datasets and mix the samples of a split.

    Raises:
        DataError: naming the dataset, if one cannot be read or has no episode of the split.
        ConfigError: if there are no datasets, or weights for some of them only.
    """
    sources = []
    for number, config in enumerate(configs):
        dataset = LeRobotDataset(config.path, cache_bytes=CACHE_BYTES // len(configs))
        episodes = split_episodes(len(dataset.episodes), config.held_out, split)
        source = EpisodeSamples(dataset, spec, episodes, config, number)
        if not len(source):
            raise DataError(
                f"{config.path} has no episode for the split {split!r}: it has {len(dataset.episodes)}.",
                remedy="Record more episodes, or change held_out.",
            )
        sources.append(source)
    return Mixture(sources, [config.weight for config in configs])
