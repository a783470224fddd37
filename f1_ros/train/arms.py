"""Policies that differ in one thing each, trained alike: the arms of a study.

    Study(load_study(Path("config/train/ablation.yaml")), folder, device="cuda").run(("full", "history"), seeds=(1,))

All arms of a seed share the tokenizer, and those with the same labels the first part of their training too. Whatever
is finished is not done again, so that a study can be stopped anywhere, and gone on with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from f1_ros.config import load_yaml
from f1_ros.errors import ConfigError
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.sim.ablate import Condition
from f1_ros.sim.config import load_belt_config
from f1_ros.sim.demonstrations import record
from f1_ros.train.belt import BeltTraining, DemonstrationSettings, open_device
from f1_ros.train.belt_policy import BeltPolicy, Recording
from f1_ros.train.demonstrations import Demonstrations
from f1_ros.train.policy import Phase
from f1_ros.train.policy_loop import PolicyRun, train_together
from f1_ros.train.tokenizer import encode_all, train_tokenizer

PHASES: tuple[Phase, ...] = ("video", "warm", "joint")


@dataclass(frozen=True)
class StudyRecording:
    """Demonstrations that arms learn from.

    Attributes:
        demonstrations: how many, from which seed.
        belt: belt configuration, relative to the study's file; None for the packaged one.
        tokenizer: whether the tokenizer learns from its pictures too.
    """

    demonstrations: DemonstrationSettings
    belt: str | None = None
    tokenizer: bool = True


@dataclass(frozen=True)
class Arm:
    """What one arm does otherwise than the study's `base`; what is not given is as there.

    Attributes:
        recording: name of the recording that it learns from.
        network: the network's `config.json`, relative to the study's file.
        past_images: see `PolicySpec`.
        history: whether the generation expert sees the history.
        action_sees_history: see `F1Config`.
        foresight: whether it predicts foresight.
        video_steps, labels, prefix_steps_max, near_steps, warm_steps, steps: see `PolicyTraining`.
        seeds: training seeds; the study's if None.
    """

    recording: str = "plain"
    network: str | None = None
    past_images: tuple[int, ...] | None = None
    history: bool = True
    action_sees_history: bool = True
    foresight: bool = True
    video_steps: int = 0
    labels: int | None = None
    prefix_steps_max: int = 0
    near_steps: int = 0
    warm_steps: int | None = None
    steps: int | None = None
    seeds: tuple[int, ...] | None = None

    @property
    def series(self) -> str:
        """What arms with few labels are grouped by."""
        if self.video_steps:
            return "foresight from videos"
        return "foresight" if self.foresight else "history" if self.history else "neither"


@dataclass(frozen=True)
class Plots:
    """Which conditions the plots show.

    Attributes:
        speed: conditions that differ in belt speed alone.
        delay: conditions that differ in delay alone.
        labels: condition under which arms with few labels are compared.
    """

    speed: tuple[str, ...] = ()
    delay: tuple[str, ...] = ()
    labels: str = ""


@dataclass(frozen=True)
class StudyConfig:
    """`config/train/ablation.yaml`.

    Attributes:
        base: the training that all arms share.
        recordings: by name.
        arms: by name.
        conditions: what arms are evaluated under (`f1_ros.sim.ablate`), by name.
        plots: which of them the plots show.
        seeds: training seeds.
        folder: where the file is; not a key of it.
    """

    base: BeltTraining
    recordings: dict[str, StudyRecording]
    arms: dict[str, Arm]
    conditions: dict[str, Condition] = field(default_factory=dict)
    plots: Plots = field(default_factory=Plots)
    seeds: tuple[int, ...] = (1, 2, 3)
    folder: Path = field(default=Path("."))

    def __post_init__(self) -> None:
        for name, arm in self.arms.items():
            if arm.recording not in self.recordings:
                raise ConfigError(
                    f"arms.{name}.recording is {arm.recording}.",
                    remedy=f"Name one of the recordings: {', '.join(self.recordings)}.",
                )
        for name, condition in self.conditions.items():
            unknown = [arm for arm in condition.arms if arm not in self.arms]
            if unknown:
                raise ConfigError(
                    f"conditions.{name}.arms names {', '.join(unknown)}, which is no arm.",
                    remedy=f"Name some of: {', '.join(self.arms)}.",
                )
        if not any(recording.tokenizer for recording in self.recordings.values()):
            raise ConfigError("No recording is for the tokenizer.", remedy="Set tokenizer of one of them.")

    def network(self, arm: Arm) -> F1Config:
        """The arm's network."""
        config = F1Config.from_json(self.folder / (arm.network or self.base.network))
        return dataclasses.replace(config, use_history=arm.history, action_sees_history=arm.action_sees_history)

    def training(self, arm: Arm, seed: int) -> BeltTraining:
        """The arm's training."""
        policy = dataclasses.replace(
            self.base.policy,
            foresight=arm.foresight,
            video_steps=arm.video_steps,
            labels=arm.labels,
            prefix_steps_max=arm.prefix_steps_max,
            near_steps=arm.near_steps,
            warm_steps=self.base.policy.warm_steps if arm.warm_steps is None else arm.warm_steps,
            steps=self.base.policy.steps if arm.steps is None else arm.steps,
        )
        past = self.base.spec.past_images if arm.past_images is None else arm.past_images
        spec = dataclasses.replace(self.base.spec, past_images=past)
        return dataclasses.replace(self.base, seed=seed, policy=policy, spec=spec)


def load_study(path: Path) -> StudyConfig:
    """Read a study's configuration.

    Raises:
        ConfigError: naming file, key and remedy.
    """
    return dataclasses.replace(load_yaml(path, StudyConfig), folder=path.parent)


def policy_folder(study: Path, arm: str, seed: int) -> Path:
    """Where an arm's policy of a training seed is, or will be, in a study's folder."""
    return study / "policies" / f"{arm}-s{seed}"


class Study:
    """A study in a folder of its own."""

    def __init__(self, config: StudyConfig, folder: Path, *, device: str = "cpu", together: int = 1) -> None:
        if together < 1:
            raise ConfigError(f"--together is {together}.", remedy="Give 1 or more.")
        self.config, self.folder, self.device, self._together = config, folder, open_device(device), together
        folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(config.base.threads)
        self._recordings: dict[tuple[str, bool], Recording] = {}
        self._alike: dict[tuple[object, ...], BeltPolicy] = {}

    def record(self, names: Iterable[str] | None = None, *, workers: int | None = None) -> None:
        """Record the demonstrations that are not there yet.

        Raises:
            ConfigError: on an unknown recording, or as `f1_ros.sim.demonstrations.record`.
        """
        for name in self.config.recordings if names is None else names:
            if name not in self.config.recordings:
                raise ConfigError(
                    f"There is no recording {name}.", remedy=f"Choose of: {', '.join(self.config.recordings)}."
                )
            settings, folder = self.config.recordings[name], self._demos(name)
            if (folder / "meta.json").exists():
                continue
            wanted, belt = settings.demonstrations, settings.belt

            def progress(done: int, total: int, name: str = name) -> None:
                print(f"{name}: recorded {done}/{total}", flush=True)

            record(
                folder,
                wanted.episodes,
                wanted.seed,
                workers=workers or wanted.workers,
                config=load_belt_config(None if belt is None else self.config.folder / belt),
                progress=progress,
            )

    def train_tokenizer(self) -> None:
        """Train the tokenizer that all arms share, and encode the recordings with it."""
        base = self.config.base
        torch.manual_seed(base.seed)
        network = F1Config.from_json(self.config.folder / base.network)
        tokenizer = F1Model(network).tokenizer.to(self.device)
        seen = [name for name, recording in self.config.recordings.items() if recording.tokenizer]
        front = np.concatenate([Demonstrations(self._demos(name), base.spec.cameras).front for name in seen])
        train_tokenizer(
            tokenizer,
            front,
            base.tokenizer,
            coarse_scales=network.num_resolutions,
            seed=base.seed,
            state_path=self._tokenizer,
        )
        for name in self.config.recordings:
            if (self._demos(name) / "meta.json").exists() and not self._codes(name).exists():
                codes = encode_all(tokenizer, Demonstrations(self._demos(name), base.spec.cameras).front)
                temporary = self._codes(name).with_suffix(".partial.npy")
                np.save(temporary, codes)
                temporary.replace(self._codes(name))

    def train_warm(self, arms: Sequence[str] | None = None, seeds: Sequence[int] | None = None) -> None:
        """Train only the arms' first parts that start from nothing: they need no tokenizer."""
        wanted = [(name, seed) for name, seed in self._wanted(arms, seeds) if not self.config.arms[name].video_steps]
        self._phase("warm", wanted)

    def run(self, arms: Sequence[str] | None = None, seeds: Sequence[int] | None = None) -> None:
        """Train arms and write their policies, `policies/ARM-sSEED`.

        Raises:
            ConfigError: on an unknown arm.
        """
        wanted = self._wanted(arms, seeds)
        for phase in PHASES:
            self._phase(phase, wanted)

    def _wanted(self, arms: Sequence[str] | None, seeds: Sequence[int] | None) -> list[tuple[str, int]]:
        """Arms and seeds that have no policy yet."""
        chosen = list(self.config.arms) if arms is None else list(arms)
        unknown = [name for name in chosen if name not in self.config.arms]
        if unknown:
            raise ConfigError(
                f"There is no arm {', '.join(unknown)}.", remedy=f"Choose of: {', '.join(self.config.arms)}."
            )
        wanted = []
        for seed in seeds or self.config.seeds:
            for name in chosen:
                of_arm = self.config.arms[name].seeds or self.config.seeds
                if seed in of_arm and not (policy_folder(self.folder, name, seed) / "policy.json").exists():
                    wanted.append((name, seed))
        return wanted

    def _phase(self, phase: Phase, wanted: Sequence[tuple[str, int]]) -> None:
        jobs: dict[Path, tuple[str, int]] = {}
        for name, seed in wanted:
            state = self._state(phase, name, seed)
            # Those that are wanted have no policy: a finished run whose policy was lost is written out again.
            if state is not None and (phase == "joint" or not _done(state)):
                jobs.setdefault(state, (name, seed))
        todo = list(jobs.items())
        for first in range(0, len(todo), self._together):
            runs: list[tuple[PolicyRun, BeltPolicy, str, int, Path]] = []
            for state, (name, seed) in todo[first : first + self._together]:
                policy = self._policy(name, seed, phase)
                runs.append((policy.prepare(phase, self._start(phase, name, seed), state), policy, name, seed, state))
            train_together([run for run, *_ in runs])
            for run, policy, name, seed, state in runs:
                run.finish()
                if phase == "joint":
                    policy.export(policy_folder(self.folder, name, seed))
                state.with_suffix(".done").touch()

    def _policy(self, name: str, seed: int, phase: Phase) -> BeltPolicy:
        arm = self.config.arms[name]
        settings = self.config.training(arm, seed)
        if phase == "warm":  # shared by arms with and without a prefix
            plain = dataclasses.replace(settings.policy, prefix_steps_max=0, near_steps=0)
            settings = dataclasses.replace(settings, policy=plain)
        codes = self._codes(arm.recording)
        coded = phase != "warm" or codes.exists()  # the first part does without, and may come before there are any
        if (arm.recording, coded) not in self._recordings:
            cameras = self.config.base.spec.cameras
            opened = Recording(self._demos(arm.recording), cameras, codes if coded else None, self.device)
            self._recordings[arm.recording, coded] = opened
        recording = self._recordings[arm.recording, coded]
        key = (arm.recording, coded, arm.labels, settings.spec.past_images)
        policy = BeltPolicy(
            f"{name}-s{seed}",
            settings,
            self.config.network(arm),
            recording,
            self._tokenizer,
            like=self._alike.get(key),
        )
        self._alike.setdefault(key, policy)
        return policy

    def _start(self, phase: Phase, name: str, seed: int) -> Path | None:
        before = PHASES[: PHASES.index(phase)]
        states = [self._state(earlier, name, seed) for earlier in reversed(before)]
        return next((state for state in states if state is not None), None)

    def _state(self, phase: Phase, name: str, seed: int) -> Path | None:
        """File of a phase's state, shared by the arms that do the same in it; None where an arm has no such phase."""
        arm, base = self.config.arms[name], self.config.base.policy
        past = "" if arm.past_images is None else "-past"
        if phase == "joint":
            return self.folder / f"joint-{name}-s{seed}.pt"
        if phase == "video":
            shield = "" if arm.action_sees_history else "-shielded"
            steps = arm.video_steps
            return self.folder / f"video-{arm.recording}{past}{shield}-{steps}-s{seed}.pt" if steps else None
        steps = base.warm_steps if arm.warm_steps is None else arm.warm_steps
        if not steps:
            return None
        video = "" if not arm.video_steps else f"-{self._stem('video', name, seed)}"
        labels = "" if arm.labels is None else f"-{arm.labels}"
        return self.folder / f"warm-{arm.recording}{past}{labels}-{steps}{video}-s{seed}.pt"

    def _stem(self, phase: Phase, name: str, seed: int) -> str:
        state = self._state(phase, name, seed)
        return "" if state is None else state.stem

    def _demos(self, name: str) -> Path:
        return self.folder / "demos" / name

    def _codes(self, name: str) -> Path:
        return self.folder / f"codes-{name}.npy"

    @property
    def _tokenizer(self) -> Path:
        return self.folder / "tokenizer.pt"


def _done(state: Path) -> bool:
    return state.with_suffix(".done").exists()
