"""Recording the scripted expert as a LeRobot v3.0 dataset: what a user fine-tunes on.

    record_dataset(Path("demos"), episodes=50, seed=1, workers=2)

The demonstrations are those of `f1_ros.sim.demonstrations`, as frames at 20 Hz of 96x96 px from all of the world's
cameras; pictures are kept to the pixel. Workers demonstrate, this process writes, in the episodes' order: so the same
seed gives the same files whatever the number of workers, and a recording that was killed goes on behind its last
finished episode.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f1_ros.data.files import replace_file
from f1_ros.data.recording import Description, Picture
from f1_ros.data.writer import DatasetWriter
from f1_ros.errors import ConfigError
from f1_ros.sim.camera import Renderer, open_renderer
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.demonstrations import Episode, demonstrate
from f1_ros.sim.franka import FR3
from f1_ros.sim.lockstep import STEP_NS
from f1_ros.sim.pool import MOST_WORKERS, run_jobs
from f1_ros.sim.twins.demonstrations import TwinEpisode, demonstrate_task
from f1_ros.sim.twins.world import TwinWorld
from f1_ros.sim.world import BeltWorld
from f1_ros.sim.worlds import WorldConfig, open_world

CAMERAS, NAMES = BeltWorld.cameras, (*FR3.joints, "gripper")
"""Of the FR3 at its belt."""

SIZE = 96


@dataclass(frozen=True)
class _Demonstration:
    """What a worker hands over: (frames, n) state and action, the pictures of each frame by camera, the instruction."""

    state: NDArray[np.float32]
    action: NDArray[np.float32]
    pictures: list[dict[str, Picture]]
    instruction: str


def record_dataset(
    folder: Path,
    episodes: int,
    seed: int,
    *,
    workers: int | None = 2,
    cluster: str | None = None,
    config: WorldConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Record demonstrations until the dataset has `episodes` of them.

    Args:
        folder: a new folder, or one with a recording of the same configuration and seed.
        episodes: how many the dataset shall have.
        seed: of the recording.
        workers: processes, as `f1_ros.sim.pool.run_jobs` takes them.
        cluster: address of a Ray cluster to work on; None for this machine.
        config: the world; the belt with its defaults if not given.
        progress: called with the episodes done and the total.

    Returns:
        Frames of the dataset.

    Raises:
        ConfigError: on arguments out of range, or a folder that holds another recording.
        SimulationError: if the expert cannot do it.
    """
    if episodes < 1 or not (workers is None or 1 <= workers <= MOST_WORKERS) or seed < 0:
        raise ConfigError(
            f"Recording {episodes} episodes with {workers} workers and seed {seed} makes no sense.",
            remedy="Give at least 1 episode, 1 to 256 workers, and a seed of 0 or above.",
        )
    config = config if config is not None else BeltConfig()
    settings: dict[str, Any] = json.loads(json.dumps({"seed": seed, "world": dataclasses.asdict(config)}))
    with DatasetWriter(folder, _describe(open_world(config))) as writer:
        _same_recording(folder / "meta" / "simulation.json", settings, writer.episodes)
        jobs = range(writer.episodes, episodes)
        start = partial(_demonstrator, config, seed)
        with run_jobs(start, jobs, workers=workers, cluster=cluster, ordered=True) as demonstrations:
            for _, made in demonstrations:
                _write(writer, made)
                if progress is not None:
                    progress(writer.episodes, episodes)
        return writer.total_frames


def _write(writer: DatasetWriter, made: _Demonstration) -> None:
    for state, action, pictures in zip(made.state, made.action, made.pictures, strict=True):
        writer.add_frame(state, action, pictures, made.instruction)
    writer.save_episode()


def _same_recording(path: Path, settings: dict[str, Any], episodes: int) -> None:
    """Keep a recording's settings beside it, and refuse to go on with others."""
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != settings:
            raise ConfigError(
                f"{path.parents[1]} holds a recording with another seed or world.",
                remedy="Repeat the command that began it, or choose another folder.",
            )
    elif episodes:
        raise ConfigError(
            f"{path.parents[1]} holds a dataset that was not recorded here.", remedy="Choose another folder."
        )
    else:
        replace_file(path, (json.dumps(settings, indent=1) + "\n").encode())


def _describe(world: BeltWorld | TwinWorld) -> Description:
    return Description(
        fps=1_000_000_000 // STEP_NS,
        robot=world.embodiment,
        state_names=world.state_names,
        action_names=world.state_names,
        cameras=dict.fromkeys(world.cameras, (SIZE, SIZE)),
        pictures="image",
    )


def _demonstrator(config: WorldConfig, seed: int) -> Callable[[int], _Demonstration]:
    world = open_world(config)
    return partial(_demonstrate, world, open_renderer(world.scene, "ray"), seed)


def _demonstrate(world: BeltWorld | TwinWorld, renderer: Renderer, seed: int, episode: int) -> _Demonstration:
    kept: TwinEpisode | Episode
    kept = demonstrate_task(world, seed, episode) if isinstance(world, TwinWorld) else demonstrate(world, seed, episode)
    pictures = [{camera: renderer.render(s, camera, SIZE, SIZE) for camera in world.cameras} for s in kept.snapshots]
    return _Demonstration(kept.state, kept.action, pictures, kept.instruction)
