"""How an episode begins: which seed, when the cube comes, and from where. Shared by recording and evaluation.

Training and evaluation never share a seed: training seeds are even, evaluation seeds odd.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from f1_ros.errors import SimulationError
from f1_ros.sim.lockstep import STEP_NS, StepDriver
from f1_ros.sim.world import BeltWorld

PREROLL_STEPS = 9
"""Steps for which the arm stands still at the start, so that an image history exists."""

PREROLL_PHASE = -1
"""What a recording's `phase` says during the pre-roll."""

REST_STEPS = 3
"""Recorded after the task is done: a policy learns that nothing is left to do."""

MAX_ATTEMPTS = 60
"""Of the expert, in an episode that is to be kept."""

Arrival = Literal["ride", "drop"]
Kept = TypeVar("Kept")
_ATTEMPTS = 100  # more than `MAX_ATTEMPTS`
_EPISODES = 1_000_000


def training_seed(seed: int, episode: int, attempt: int = 0) -> int:
    """World seed of a training episode's attempt: even."""
    return 2 * ((seed * _EPISODES + episode) * _ATTEMPTS + attempt)


def evaluation_seed(seed: int, episode: int) -> int:
    """World seed of an evaluation episode: odd."""
    return 2 * ((seed * _EPISODES + episode) * _ATTEMPTS) + 1


def first_kept(attempt: Callable[[int, int], Kept | None], seed: int, episode: int, remedy: str) -> Kept:
    """The first attempt at a training episode that can be kept, each with a world seed of its own.

    Args:
        attempt: takes the world seed and the attempt's number, from 1; gives nothing if the expert failed.
        seed: of the recording.
        episode: its number.
        remedy: what to do if all fail.

    Raises:
        SimulationError: if the expert fails 60 times.
    """
    for number in range(MAX_ATTEMPTS):
        kept = attempt(training_seed(seed, episode, number), number + 1)
        if kept is not None:
            return kept
    raise SimulationError(f"The expert failed {MAX_ATTEMPTS} times in episode {episode}.", remedy=remedy)


@dataclass(frozen=True)
class EpisodeStart:
    """When and where the cube comes.

    Attributes:
        drop_step: step at which the cube is let go onto the belt; the pre-roll is steps 0 .. 8.
        position: (x, y) m where it is let go.
    """

    drop_step: int
    position: tuple[float, float]

    @staticmethod
    def ride(world: BeltWorld) -> EpisodeStart:
        """The cube rides in from the start of the pre-roll.

        It is let go upstream, so that at the end of the pre-roll, when the arm may start, its position is drawn from
        the configuration's ranges whatever the belt's speed and direction: one picture tells nothing of them. With a
        cover, which tells the direction, it is from the part of the range that leaves time to pick the cube.
        """
        x, y = world.draw_start()
        if world.config.cover:
            y = world.place_cover(y).start_y
        return EpisodeStart(0, (x, y - world.belt_speed * PREROLL_STEPS * STEP_NS * 1e-9))

    @staticmethod
    def drop(world: BeltWorld, step: int) -> EpisodeStart:
        """The cube appears at `step` within the configuration's ranges, as it does in a stream of cubes."""
        return EpisodeStart(step, world.draw_start())


def covered_steps(world: BeltWorld) -> int:
    """Steps after the pre-roll until the cube has left its cover and can be picked; 0 without a cover."""
    return 0 if world.cover is None else math.ceil(world.cover.free_s * 1e9 / STEP_NS)


def run_preroll(world: BeltWorld, driver: StepDriver, start: EpisodeStart) -> None:
    """Hold the arm still for the pre-roll while the belt runs; drop the cube when it is due."""
    hold = world.state
    for step in range(PREROLL_STEPS):
        if step == start.drop_step:
            world.drop_cube(start.position)
        driver.step(np.array(hold))
