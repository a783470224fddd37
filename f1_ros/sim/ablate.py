"""Evaluating the arms of a study under the same conditions: cells of arm, training seed and condition.

    cells = Cells(Path("bench/results/ablation/cells.jsonl"))
    evaluate_cells(wanted, cells, workers=2)

A cell that is done is not done again, unless its policy or its condition has changed: so a study can be stopped, and
gone on with anywhere.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from f1_ros.engine.continuity import Continuity
from f1_ros.engine.protocol import ForesightUse
from f1_ros.errors import ConfigError
from f1_ros.sim.config import BeltConfig, load_belt_config
from f1_ros.sim.evaluate import EvaluationSettings, episode_runner
from f1_ros.sim.pool import run_jobs
from f1_ros.sim.results import EpisodeResult

EVALUATION_SEED = 1
_JOB_EPISODES = 10


@dataclass(frozen=True)
class Condition:
    """What arms are evaluated under.

    Attributes:
        arms: which.
        belt: belt configuration, relative to the study's file; None for the packaged one.
        speed: range of belt speeds, m/s; the belt's own if None.
        delay_s: time that the scene moves on during an inference, s, whatever the inference takes here.
        foresight: see `ForesightUse`.
        reaction: also measure the reaction to a belt that turns round.
        near_delay_s, continuity: see `PolicyRunner`.
        seeds: training seeds; all of the study's if None.
        episodes: of a cell; what is asked for if None.
    """

    arms: tuple[str, ...]
    belt: str | None = None
    speed: tuple[float, float] | None = None
    delay_s: float = 0.15
    foresight: ForesightUse = "own"
    reaction: bool = False
    near_delay_s: float | None = None
    continuity: Continuity = "auto"
    seeds: tuple[int, ...] | None = None
    episodes: int | None = None

    def belt_config(self, folder: Path) -> BeltConfig:
        """The world of the condition; `folder` is the study's."""
        belt = load_belt_config(None if self.belt is None else folder / self.belt)
        return belt if self.speed is None else dataclasses.replace(belt, speed=self.speed)


@dataclass(frozen=True)
class Cell:
    """One arm's policy of one training seed under one condition."""

    condition: str
    arm: str
    seed: int
    settings: EvaluationSettings

    @property
    def key(self) -> dict[str, Any]:
        """What tells it from other cells, and whether a result is still its own."""
        assert self.settings.policy is not None
        return {**self.place, "policy": policy_hash(self.settings.policy)}

    @property
    def place(self) -> dict[str, Any]:
        """Its key without the policy: what a result is of, whichever policy the arm had then."""
        settings = {k: v for k, v in dataclasses.asdict(self.settings).items() if k != "policy"}
        return {
            "condition": self.condition,
            "arm": self.arm,
            "seed": self.seed,
            "settings": json.loads(json.dumps(settings)),
        }


@dataclass(frozen=True)
class CellResult:
    """A finished cell; lists have one entry an episode.

    Attributes:
        condition, arm, seed: of the cell.
        delay_s: delay that was in force, s.
        picked: success. speed: of the belt, m/s, signed.
        time_to_pick_s: s; None where nothing was picked. jerk_rms: of the commands, rad/s^3.
        reaction_s: reaction to a belt that turns round, s; None where none was measured, or the cube was held by then.
        failures: reasons of failures with their counts.
        latency_ms: median latency of an inference on the machine of the evaluation, ms.
    """

    condition: str
    arm: str
    seed: int
    delay_s: float
    picked: list[bool]
    speed: list[float]
    time_to_pick_s: list[float | None]
    jerk_rms: list[float | None]
    reaction_s: list[float | None]
    failures: dict[str, int]
    latency_ms: float


class Cells:
    """Finished cells in a file, one a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[dict[str, Any]] = []
        if path.exists():
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    self._lines.append(json.loads(line))
                except ValueError as error:
                    raise ConfigError(
                        f"{path}: line {number} is damaged ({error}).",
                        remedy="Delete that line; its cell is done anew.",
                    ) from error

    def find(self, cell: Cell) -> CellResult | None:
        """The cell's result, if it is done; the last one, if the policy is not there to be compared."""
        policy = cell.settings.policy
        wanted = cell.key if policy is not None and is_policy(policy) else cell.place
        found = [line for line in self._lines if wanted.items() <= line["key"].items()]
        return CellResult(**found[-1]["result"]) if found else None

    def add(self, cell: Cell, result: CellResult) -> None:
        """Keep a result, on disk at once."""
        line = {"key": cell.key, "result": dataclasses.asdict(result)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._lines.append(line)


def make_cells(
    conditions: dict[str, Condition],
    folder: Path,
    policy_of: Callable[[str, int], Path],
    seeds: Sequence[int],
    episodes: int,
) -> tuple[list[Cell], list[str]]:
    """Cells of all conditions, and the names of those whose policy is not there: these can be shown, not evaluated.

    Args:
        conditions: by name.
        folder: the study's configuration's.
        policy_of: the policy directory of an arm and a training seed.
        seeds: training seeds.
        episodes: of a cell, where the condition does not say.
    """
    cells, missing = [], []
    for name, condition in conditions.items():
        for seed in seeds:
            if condition.seeds is not None and seed not in condition.seeds:
                continue
            for arm in condition.arms:
                policy = policy_of(arm, seed)
                if not is_policy(policy):
                    missing.append(f"{name}/{arm}-s{seed}")
                settings = EvaluationSettings(
                    policy=policy,
                    episodes=condition.episodes or episodes,
                    seed=EVALUATION_SEED,
                    world=condition.belt_config(folder),
                    delay_s=condition.delay_s,
                    near_delay_s=condition.near_delay_s,
                    continuity=condition.continuity,
                    exact_delay=True,
                    until_binned=False,
                    reaction=condition.reaction,
                    foresight=condition.foresight,
                )
                cells.append(Cell(name, arm, seed, settings))
    return cells, missing


def evaluate_cells(
    wanted: Sequence[Cell],
    cells: Cells,
    *,
    workers: int | None = 1,
    cluster: str | None = None,
    progress: Callable[[CellResult], None] | None = None,
) -> None:
    """Do those of the wanted cells that are not done.

    Args:
        wanted: cells, in the order in which they are to be done.
        cells: where results are kept.
        workers, cluster: see `run_jobs`.
        progress: called with each finished cell.
    """
    todo = [cell for cell in wanted if cells.find(cell) is None]
    policies = list(dict.fromkeys(cell.settings.policy for cell in todo if cell.settings.policy is not None))
    jobs = []
    for index, cell in enumerate(todo):
        count = cell.settings.episodes
        jobs += [_Job(index, first, min(_JOB_EPISODES, count - first)) for first in range(0, count, _JOB_EPISODES)]
    done: dict[int, list[EpisodeResult]] = {}
    start = functools.partial(_Worker, todo, policies)
    with run_jobs(start, jobs, workers=workers, cluster=cluster, folders=policies) as results:
        for job, episodes in results:
            index = jobs[job].cell
            kept = done.setdefault(index, [])
            kept += episodes
            if len(kept) == todo[index].settings.episodes:
                result = _result(todo[index], sorted(done.pop(index), key=lambda e: e.episode))
                cells.add(todo[index], result)
                if progress is not None:
                    progress(result)


@dataclass(frozen=True)
class _Job:
    cell: int
    first: int
    episodes: int


class _Worker:
    """Runs episodes of any cell in one process; opens a policy anew only when the cell changes."""

    def __init__(self, cells: Sequence[Cell], policies: Sequence[Path], *folders: Path) -> None:
        here = dict(zip(policies, folders, strict=True))
        self._settings = [
            dataclasses.replace(c.settings, policy=None if c.settings.policy is None else here[c.settings.policy])
            for c in cells
        ]
        self._open: tuple[int, Callable[[int], EpisodeResult]] | None = None

    def __call__(self, job: _Job) -> list[EpisodeResult]:
        if self._open is None or self._open[0] != job.cell:
            self._open = (job.cell, episode_runner(self._settings[job.cell]))
        return [self._open[1](episode) for episode in range(job.first, job.first + job.episodes)]


def _result(cell: Cell, episodes: list[EpisodeResult]) -> CellResult:
    reversals = [e.reversal for e in episodes]
    failures = [e.failure for e in episodes if e.failure is not None]
    return CellResult(
        condition=cell.condition,
        arm=cell.arm,
        seed=cell.seed,
        delay_s=cell.settings.delay_s,
        picked=[e.picked for e in episodes],
        speed=[round(e.belt_speed, 4) for e in episodes if e.belt_speed is not None],
        time_to_pick_s=[e.time_to_pick_s for e in episodes],
        jerk_rms=[None if e.jerk_rms is None else round(e.jerk_rms, 2) for e in episodes],
        reaction_s=[None if r is None or r.grasped else r.reaction_s for r in reversals],
        failures={reason: failures.count(reason) for reason in sorted(set(failures))},
        latency_ms=round(float(np.median([ms for e in episodes for ms in e.latencies_ms])), 2),
    )


def is_policy(folder: Path) -> bool:
    """Whether a policy was written there."""
    return (folder / "policy.json").exists()


@functools.cache
def policy_hash(folder: Path) -> str:
    """Tells one policy directory's content from another's."""
    digest = hashlib.sha256()
    for name in ("model.safetensors", "policy.json", "stats.json", "config.json"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]
