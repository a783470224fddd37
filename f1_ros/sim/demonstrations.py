"""Recording the scripted expert at the belt, and in any world by `record`, as memory-mappable arrays.

    record(Path("demos"), episodes=1500, seed=1, workers=2)

What is written of the belt, full cycles of wait, pick, carry, release and return (N steps of all episodes, one after
the other, at 20 Hz; of the twins see `f1_ros.sim.twins.demonstrations`):

    front.npy, wrist.npy   (N, 96, 96, 3) uint8      RGB at the start of the step
    state.npy              (N, 8) float32            measured joints (rad), gripper width (m), at the step's start
    action.npy             (N, 8) float32            the expert's target for the end of the step, before any limit
    executed.npy           (N, 8) float32            the target that was carried out: that of `action` with the noise
    cube.npy               (N, 3) float32            cube to be picked, in the base frame, m; NaN where there is none
    tool.npy               (N, 3) float32            point between the fingertips, m
    phase.npy              (N,) int8                 f1_ros.sim.expert.Phase; -1 in the pre-roll
    episode.npy            (N,) int32                ascending
    cubes.npy              (N, 4, 3) float32         task "colour" only: all cubes in the order of `tasks.COLOURS`, m;
                                                     NaN where there is none
    instruction.npy        (N,) int8                 task "colour" only: index into meta.json's "instructions"
    meta.json              configuration, seeds, and of each episode: steps, belt speed, noise, attempts, pick step,
                           instruction, and where a cover lay and when it hid the cube (see `f1_ros.sim.cover.Cover`)

The first 9 steps of an episode are the pre-roll: the arm stands still while the belt runs, so that a history exists;
their labels are what the expert would do. The command that is executed carries Ornstein-Uhlenbeck noise in the tool's
velocity, the recorded label does not: it is the expert's own target, which follows from the measured state alone. (A
label that is limited from the command of the moment depends on a velocity that no policy sees, and cannot be learnt.)
Episodes in which no cube landed in the bin are dropped and tried again with another seed.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ConfigError
from f1_ros.sim.camera import Renderer, Snapshot, open_renderer
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.cover import Cover
from f1_ros.sim.episodes import (
    PREROLL_PHASE,
    PREROLL_STEPS,
    REST_STEPS,
    EpisodeStart,
    covered_steps,
    first_kept,
)
from f1_ros.sim.expert import Expert, Phase, WorldState
from f1_ros.sim.lockstep import NOISE_LEVELS, STEP_NS, Disturbance, StepDriver
from f1_ros.sim.pool import MOST_WORKERS, run_jobs
from f1_ros.sim.tasks import COLOUR_INSTRUCTIONS, COLOURS
from f1_ros.sim.twins.demonstrations import twin_recorder
from f1_ros.sim.twins.experts import Phase as TwinPhase
from f1_ros.sim.world import BeltWorld
from f1_ros.sim.worlds import WorldConfig

ARRAYS = ("front", "wrist", "state", "action", "executed", "cube", "tool", "phase", "episode")
COLOUR_ARRAYS = (*ARRAYS, "cubes", "instruction")
"""What is written for task "colour"."""
PART_EPISODES = 20
MOST_TASKS = 10
_RIDE_SHARE = 0.6
_DROP_WITHIN = 8  # steps around the end of the pre-roll
_MAX_STEPS = 105


@dataclass(frozen=True)
class Episode:
    """One kept demonstration; arrays as in the module's docstring, with snapshots instead of pictures."""

    snapshots: list[Snapshot]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    executed: NDArray[np.float32]
    cube: NDArray[np.float32]
    cubes: NDArray[np.float32]
    tool: NDArray[np.float32]
    phase: NDArray[np.int8]
    belt_speed: float
    noise: float
    attempts: int
    picked_step: int
    instruction: str
    cover: Cover | None


def demonstrate(world: BeltWorld, seed: int, episode: int) -> Episode:
    """Run the expert until a cube is in the bin, with a new world seed after each failure.

    Raises:
        SimulationError: if the expert fails 60 times.
    """
    noise = NOISE_LEVELS[episode % len(NOISE_LEVELS)]
    return first_kept(partial(_attempt, world, noise), seed, episode, "Lower the belt speed in belt.yaml.")


def record(
    folder: Path,
    episodes: int,
    seed: int,
    *,
    workers: int | None = 2,
    cluster: str | None = None,
    config: WorldConfig | None = None,
    tasks: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Record demonstrations into `folder`; finished parts of an interrupted recording are kept.

    Args:
        folder: where to; must be new, or hold an interrupted recording of the same configuration and seed.
        episodes: how many to keep.
        seed: of the recording; the same seed gives the same arrays, whatever the number of workers, here or elsewhere.
        workers: processes, as `f1_ros.sim.pool.run_jobs` takes them.
        cluster: address of a Ray cluster to work on; None for this machine.
        config: the world; the belt with its defaults if not given.
        tasks: that a twin's expert does in an episode, one after the other.
        progress: called with the episodes done and the total.

    Returns:
        Number of steps recorded.

    Raises:
        ConfigError: on arguments out of range, or a folder that holds another recording.
        SimulationError: if the expert cannot do it.
    """
    config = config if config is not None else BeltConfig()
    if episodes < 1 or not (workers is None or 1 <= workers <= MOST_WORKERS) or seed < 0:
        raise ConfigError(
            f"Recording {episodes} episodes with {workers} workers and seed {seed} makes no sense.",
            remedy="Give at least 1 episode, 1 to 256 workers, and a seed of 0 or above.",
        )
    belt = isinstance(config, BeltConfig)
    if not 1 <= tasks <= (1 if belt else MOST_TASKS):
        raise ConfigError(
            f"Recording {tasks} tasks in an episode makes no sense.",
            remedy=f"Give 1 for the Franka's belt, 1 to {MOST_TASKS} for a twin.",
        )
    phases: type[IntEnum] = Phase if belt else TwinPhase
    colour = isinstance(config, BeltConfig) and config.task == "colour"
    meta = {"episodes": episodes, "seed": seed, "step_s": STEP_NS * 1e-9, "preroll_steps": PREROLL_STEPS,
            "phases": {p.name.lower(): int(p) for p in phases} | {"preroll": PREROLL_PHASE},
            "config": dataclasses.asdict(config),
            **({"instructions": COLOUR_INSTRUCTIONS} if colour else {}),
            **({} if belt else {"tasks": tasks})}  # fmt: skip
    meta = json.loads(json.dumps(meta))
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        _check_folder(folder, meta)
        (folder / "recording.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
        _record_parts(folder, meta, config, workers, cluster, progress)
        return _merge(folder, list(range(0, episodes, PART_EPISODES)), meta)


def _record_parts(
    folder: Path,
    meta: dict[str, Any],
    config: WorldConfig,
    workers: int | None,
    cluster: str | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    episodes, seed = int(meta["episodes"]), int(meta["seed"])
    firsts = range(0, episodes, PART_EPISODES)
    open_parts = [first for first in firsts if not _part(folder, first).is_dir()]
    done = episodes - sum(min(PART_EPISODES, episodes - first) for first in open_parts)
    jobs = [range(first, min(first + PART_EPISODES, episodes)) for first in open_parts]
    start: Callable[[], Callable[[range], _Part]]
    if isinstance(config, BeltConfig):
        start = partial(_recorder, config, seed)
    else:
        start = partial(twin_recorder, config, seed, int(meta["tasks"]))
    with run_jobs(start, jobs, workers=workers, cluster=cluster) as parts:
        for index, part in parts:
            _write_part(_part(folder, open_parts[index]), *part)
            done += len(jobs[index])
            if progress is not None:
                progress(done, episodes)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep a second recording out of the folder; the lock goes with the process, however it ends."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"Another process is recording into {folder}.", remedy="Wait for it, or choose another folder."
            ) from None
        yield
        (folder / ".lock").unlink()


def _attempt(world: BeltWorld, noise: float, world_seed: int, attempts: int) -> Episode | None:
    rng = np.random.default_rng([world_seed, 2])
    world.reset(world_seed)
    if rng.random() < _RIDE_SHARE or world.config.cover:
        start = EpisodeStart.ride(world)
    else:
        start = EpisodeStart.drop(world, PREROLL_STEPS + int(rng.integers(-_DROP_WITHIN, _DROP_WITHIN + 1)))
    driver, expert = StepDriver(world), Expert(world.kinematics)
    driver.reset()
    hold = world.state
    rows: list[tuple[Any, ...]] = []
    snapshots: list[Snapshot] = []
    disturbance = Disturbance(rng, noise, (3,))
    picked_step, waited = -1, 0
    for step in range(_MAX_STEPS + covered_steps(world)):
        if step == start.drop_step:
            world.drop_cube(start.position)
        state = WorldState.of(world)
        clean = expert.act(state)
        preroll = step < PREROLL_STEPS
        snapshots.append(world.snapshot())
        cube = state.cube.position if state.cube is not None else np.full(3, np.nan)
        phase = PREROLL_PHASE if preroll else int(clean.phase)
        pushed = disturbance.next()
        executed = hold if preroll else expert.act(state, pushed).target
        rows.append((world.state, clean.target, executed, cube, _all_cubes(world), world.tool_position, phase))
        driver.step(executed)
        if world.counts.picked and picked_step < 0:
            picked_step = step
        if world.counts.missed:
            return None
        waited = waited + 1 if world.counts.binned and clean.phase is Phase.WAIT else 0
        if waited == REST_STEPS:
            break
    if not (world.counts.picked and world.counts.binned):
        return None
    state_, action, executed_, cube_, cubes, tool, phase_ = zip(*rows, strict=True)
    return Episode(
        snapshots,
        np.array(state_, np.float32),
        np.array(action, np.float32),
        np.array(executed_, np.float32),
        np.array(cube_, np.float32),
        np.array(cubes, np.float32),
        np.array(tool, np.float32),
        np.array(phase_, np.int8),
        world.belt_speed,
        noise,
        attempts,
        picked_step,
        world.instruction,
        world.cover,
    )


def _all_cubes(world: BeltWorld) -> NDArray[np.float64]:
    """(4, 3) m: position of each cube in the order of `COLOURS`, NaN where there is none."""
    positions = np.full((len(COLOURS), 3), np.nan)
    for cube in world.cubes:
        positions[COLOURS.index(cube.colour) if cube.colour is not None else 0] = cube.position
    return positions


def _part(folder: Path, first: int) -> Path:
    return folder / "parts" / f"{first:07d}"


_Part = tuple[dict[str, NDArray[Any]], list[dict[str, Any]]]  # arrays by name, and the facts of each episode


def _recorder(config: BeltConfig, seed: int) -> Callable[[range], _Part]:
    world = BeltWorld(config)
    return partial(_record_part, world, open_renderer(world.scene, "ray"), seed)


def _record_part(world: BeltWorld, renderer: Renderer, seed: int, episodes: range) -> _Part:
    kept = [demonstrate(world, seed, episode) for episode in episodes]
    frames = {
        camera: np.stack([renderer.render(s, camera, 96, 96) for e in kept for s in e.snapshots])
        for camera in ("front", "wrist")
    }
    arrays: dict[str, NDArray[Any]] = dict(frames)
    for name in ("state", "action", "executed", "cube", "tool", "phase"):
        arrays[name] = np.concatenate([getattr(e, name) for e in kept])
    lengths = [len(e.snapshots) for e in kept]
    arrays["episode"] = np.repeat(np.array(episodes, np.int32), lengths)
    if world.config.task == "colour":
        arrays["cubes"] = np.concatenate([e.cubes for e in kept])
        asked = [COLOUR_INSTRUCTIONS.index(e.instruction) for e in kept]
        arrays["instruction"] = np.repeat(np.array(asked, np.int8), lengths)
    facts = [
        {"steps": len(e.snapshots), "belt_speed": e.belt_speed, "noise": e.noise, "attempts": e.attempts,
         "picked_step": e.picked_step, "instruction": e.instruction,
         **({} if e.cover is None else {"cover": dataclasses.asdict(e.cover)})}
        for e in kept
    ]  # fmt: skip
    return arrays, facts


def _write_part(target: Path, arrays: dict[str, NDArray[Any]], facts: list[dict[str, Any]]) -> None:
    unfinished = target.with_suffix(".partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(unfinished / f"{name}.npy", array, allow_pickle=False)
    (unfinished / "episodes.json").write_text(json.dumps(facts), encoding="utf-8")
    unfinished.rename(target)  # a part is there whole or not at all


def _check_folder(folder: Path, meta: dict[str, Any]) -> None:
    if (folder / "meta.json").exists():
        raise ConfigError(f"{folder} holds a finished recording.", remedy="Choose another folder, or remove it.")
    note = folder / "recording.json"
    if note.exists() and json.loads(note.read_text(encoding="utf-8")) != meta:
        raise ConfigError(
            f"{folder} holds an interrupted recording with other settings.",
            remedy="Repeat the command that began it, or choose another folder.",
        )


def _parts(folder: Path, firsts: list[int], name: str) -> Iterator[NDArray[Any]]:
    for first in firsts:
        yield np.load(_part(folder, first) / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def _merge(folder: Path, firsts: list[int], meta: dict[str, Any]) -> int:
    total = sum(len(a) for a in _parts(folder, firsts, "episode"))
    for name in sorted(path.stem for path in _part(folder, firsts[0]).glob("*.npy")):
        first = next(_parts(folder, firsts, name))
        out = np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=first.dtype, shape=(total, *first.shape[1:])
        )
        at = 0
        for part in _parts(folder, firsts, name):
            out[at : at + len(part)] = part
            at += len(part)
        out.flush()
    facts = [f for first in firsts for f in json.loads((_part(folder, first) / "episodes.json").read_text("utf-8"))]
    meta = {**meta, "steps": total, "attempts": sum(f["attempts"] for f in facts), "per_episode": facts}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder / "parts")
    (folder / "recording.json").unlink()
    return total
