"""Demonstrations of the twins' tasks, as arrays like the belt's (`f1_ros.sim.demonstrations.record` writes them).

What is written (N steps of all episodes, one after the other, at 20 Hz):

    CAMERA.npy             (N, 96, 96, 3) uint8      a file for each camera of the world: RGB at the start of the step
    state.npy              (N, n) float32            measured joints (rad) and openings (m) in the robot's order
    action.npy             (N, n) float32            the expert's target for the end of the step, before any limit
    executed.npy           (N, n) float32            the target that was carried out: that of `action` with the noise
    thing.npy              (N, 3) float32            the thing that is handled, in the robot's frame, m
    tools.npy              (N, 2, 3) float32         point between the fingertips of each hand, m
    phase.npy              (N,) int8                 f1_ros.sim.twins.experts.Phase; -1 in the pre-roll
    stage.npy              (N,) int8                 stages of the task that were done
    episode.npy            (N,) int32                ascending

Pre-roll, noise and labels are as at the belt. Episodes in which the task was not done are dropped and tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f1_ros.sim.camera import Renderer, Snapshot, open_renderer
from f1_ros.sim.episodes import PREROLL_PHASE, PREROLL_STEPS, REST_STEPS, first_kept
from f1_ros.sim.lockstep import Disturbance, StepDriver
from f1_ros.sim.twins.config import TwinConfig
from f1_ros.sim.twins.episodes import EPISODE_STEPS
from f1_ros.sim.twins.experts import open_expert
from f1_ros.sim.twins.opening import open_twin
from f1_ros.sim.twins.tables import expert_limits
from f1_ros.sim.twins.world import TwinWorld

NOISE_LEVELS = (0.0, 0.015, 0.03, 0.045)
"""As at the belt, m/s, but half: both hands are pushed, and from 0.06 on the experts fail more often than not."""
_SIZE = 96
_FLOATS = ("state", "action", "executed", "thing", "tools")


@dataclass(frozen=True)
class TwinEpisode:
    """One kept demonstration; arrays as in the module's docstring, with snapshots instead of pictures."""

    snapshots: list[Snapshot]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    executed: NDArray[np.float32]
    thing: NDArray[np.float32]
    tools: NDArray[np.float32]
    phase: NDArray[np.int8]
    stage: NDArray[np.int8]
    belt_speed: float | None
    noise: float
    attempts: int
    done_step: int
    instruction: str


def demonstrate_task(world: TwinWorld, seed: int, episode: int) -> TwinEpisode:
    """Run the expert until the task is done, with a new world seed after each failure.

    Raises:
        SimulationError: if the expert fails 60 times.
    """
    noise = NOISE_LEVELS[episode % len(NOISE_LEVELS)]
    remedy = "Narrow the ranges of the world's configuration."
    return first_kept(partial(_attempt, world, noise), seed, episode, remedy)


def _attempt(world: TwinWorld, noise: float, world_seed: int, attempts: int) -> TwinEpisode | None:
    world.reset(world_seed)
    driver, expert = StepDriver(world, expert_limits(world.robot)), open_expert(world)
    driver.reset()
    hold = world.state
    disturbance = Disturbance(np.random.default_rng([world_seed, 2]), noise, (2, 3))
    snapshots: list[Snapshot] = []
    rows: list[tuple[Any, ...]] = []
    done_step, rested = -1, 0
    for step in range(PREROLL_STEPS + EPISODE_STEPS):
        clean, pushed = expert.act(), disturbance.next()
        preroll = step < PREROLL_STEPS
        phase = PREROLL_PHASE if preroll else int(clean.phase)
        executed = hold if preroll else expert.act(pushed).target
        snapshots.append(world.snapshot())
        rows.append(
            (world.state, clean.target, executed, world.thing_position, world.tool_positions, phase, world.stages_done)
        )
        driver.step(executed)
        if world.lost:
            return None
        if world.done:
            done_step, rested = step if done_step < 0 else done_step, rested + 1
            if rested > REST_STEPS:
                break
    if not world.done:
        return None
    *floats, phases, stages = zip(*rows, strict=True)
    state, action, executed_, thing, tools = (np.array(values, np.float32) for values in floats)
    return TwinEpisode(
        snapshots, state, action, executed_, thing, tools, np.array(phases, np.int8), np.array(stages, np.int8),
        world.belt_speed, noise, attempts, done_step, world.instruction,
    )  # fmt: skip


def twin_recorder(
    config: TwinConfig, seed: int
) -> Callable[[range], tuple[dict[str, NDArray[Any]], list[dict[str, Any]]]]:
    """Open a world; gives the function that makes the arrays and facts of a range of episodes."""
    world = open_twin(config)
    return partial(_record_part, world, open_renderer(world.scene, "ray"), seed)


def _record_part(
    world: TwinWorld, renderer: Renderer, seed: int, episodes: range
) -> tuple[dict[str, NDArray[Any]], list[dict[str, Any]]]:
    kept = [demonstrate_task(world, seed, episode) for episode in episodes]
    arrays: dict[str, NDArray[Any]] = {
        camera: np.stack([renderer.render(s, camera, _SIZE, _SIZE) for e in kept for s in e.snapshots])
        for camera in world.cameras
    }
    for name in (*_FLOATS, "phase", "stage"):
        arrays[name] = np.concatenate([getattr(e, name) for e in kept])
    arrays["episode"] = np.repeat(np.array(episodes, np.int32), [len(e.snapshots) for e in kept])
    facts = [
        {"steps": len(e.snapshots), "belt_speed": e.belt_speed, "noise": e.noise, "attempts": e.attempts,
         "done_step": e.done_step, "instruction": e.instruction}
        for e in kept
    ]  # fmt: skip
    return arrays, facts
