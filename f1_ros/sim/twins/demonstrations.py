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
    task.npy               (N,) int8                 which task of its episode, ascending from 0
    episode.npy            (N,) int32                ascending

Pre-roll, noise and labels are as at the belt. Episodes in which the task was not done are dropped and tried again.

With more than one task an episode is as it is live (`f1_ros.sim.twins.rounds`): the expert takes over at any time, the
hands go back when a task is done and wait there for the next one, which comes after 0.3 to 2.5 s; what goes by on a
belt, or falls, is left to go, once; some tasks are broken off and laid out anew, wherever the hands are; and in some a
hand opens or closes for a moment when it should not. A policy that has seen the first task alone knows neither the way
back nor how to wait, nor what to do with a hand that is closed around nothing.
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
from f1_ros.sim.kinematics import Array
from f1_ros.sim.lockstep import STEP_TICKS, Disturbance, StepDriver
from f1_ros.sim.twins.config import TwinConfig
from f1_ros.sim.twins.episodes import EPISODE_STEPS
from f1_ros.sim.twins.experts import open_expert
from f1_ros.sim.twins.opening import open_twin
from f1_ros.sim.twins.rounds import TaskRounds
from f1_ros.sim.twins.tables import expert_limits
from f1_ros.sim.twins.world import TwinWorld

NOISE_LEVELS = (0.0, 0.015, 0.03, 0.045)
"""As at the belt, m/s, but half: both hands are pushed, and from 0.06 on the experts fail more often than not."""
_PAUSE = (6, 51)  # steps, from one task's end to the next one
_LONGEST_IDLE = 60  # steps
_BROKEN_OFF_SHARE = 0.35
_REST_AT_LAST = 30  # steps
_SLIP = (3, 17)  # steps
_SLIP_SHARE = 0.6
_FLUNG = 0.7
"""An arm that is to go so far in a step, rad, has been flung by what it pressed: nothing to be learnt from."""
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
    task: NDArray[np.int8]
    belt_speed: float | None
    noise: float
    attempts: int
    done_step: int
    instruction: str


@dataclass(frozen=True)
class _Course:
    """What an episode of several tasks is beside them, in steps; of one task nothing.

    Attributes:
        idle: the hands stand still for so long before the recording begins.
        broken_off: at which step the task is laid out anew whatever the hands do; -1: never.
        rest: recorded after the last task.
        lost: how many tasks may be lost on the way.
        slip: steps in which a hand does the opposite of what it is told.
        slips: that hand, 0 or 1.
    """

    idle: int = 0
    broken_off: int = -1
    rest: int = REST_STEPS
    lost: int = 0
    slip: range = range(0)
    slips: int = 0

    @staticmethod
    def draw(rng: np.random.Generator, hands: NDArray[np.int64]) -> _Course:
        idle = int(rng.integers(0, _LONGEST_IDLE)) if rng.random() < 0.5 else 0
        broken_off = PREROLL_STEPS + int(rng.integers(10, 80)) if rng.random() < _BROKEN_OFF_SHARE else -1
        first = PREROLL_STEPS + int(rng.integers(5, 150))
        slip = range(first, first + int(rng.integers(*_SLIP))) if rng.random() < _SLIP_SHARE else range(0)
        return _Course(idle, broken_off, rest=_REST_AT_LAST, lost=1, slip=slip, slips=int(rng.choice(hands)))

    def executed(self, world: TwinWorld, target: Array, step: int) -> Array:
        """What is carried out of a target."""
        if step not in self.slip:
            return target
        joints, widths = world.split(target)
        largest = world.robot.arms[self.slips].gripper.open
        widths[self.slips] = largest if widths[self.slips] < largest / 2 else 0.0
        return world.join(joints, widths)


def demonstrate_task(world: TwinWorld, seed: int, episode: int, tasks: int = 1) -> TwinEpisode:
    """Run the expert until so many tasks are done, with a new world seed after each failure.

    Raises:
        SimulationError: if the expert fails 60 times.
    """
    noise = NOISE_LEVELS[episode % len(NOISE_LEVELS)]
    remedy = "Narrow the ranges of the world's configuration."
    return first_kept(partial(_attempt, world, noise, tasks), seed, episode, remedy)


def _attempt(world: TwinWorld, noise: float, tasks: int, world_seed: int, attempts: int) -> TwinEpisode | None:
    rng = np.random.default_rng([world_seed, 3])
    world.reset(world_seed)
    hands = np.flatnonzero(world.start_widths())  # those that grasp
    course = _Course.draw(rng, hands) if tasks > 1 else _Course()
    driver, expert, rounds = StepDriver(world, expert_limits(world.robot)), open_expert(world), TaskRounds(world)
    driver.reset()
    hold = world.state
    disturbance = Disturbance(np.random.default_rng([world_seed, 2]), noise, (2, 3))
    snapshots: list[Snapshot] = []
    rows: list[tuple[Any, ...]] = []
    done_step, rested, begun, lost_before = -1, 0, -1, 0
    for step in range(-course.idle, PREROLL_STEPS + tasks * EPISODE_STEPS):
        if step == 0:
            lost_before = rounds.lost
        if rounds.begun != begun:
            begun, rounds.pause_ticks = rounds.begun, STEP_TICKS * int(rng.integers(*_PAUSE))
        preroll = step < PREROLL_STEPS
        executed = hold
        if step >= 0:
            clean, pushed = expert.act(), disturbance.next()
            phase = PREROLL_PHASE if preroll else int(clean.phase)
            executed = hold if preroll else course.executed(world, expert.act(pushed).target, step)
            snapshots.append(world.snapshot())
            places = world.thing_position, world.tool_positions
            rows.append((world.state, clean.target, executed, *places, phase, world.stages_done, begun))
        if np.abs(world.split(executed - world.state)[0]).max() > _FLUNG:
            return None
        driver.step(executed)
        rounds.repeat = rounds.done < tasks
        rounds.follow(STEP_TICKS)
        if step == course.broken_off and not world.done:
            rounds.lay_out()
        if rounds.lost - lost_before > course.lost:
            return None
        if rounds.done == tasks:
            done_step, rested = step if done_step < 0 else done_step, rested + 1
            if rested > course.rest:
                break
    if rounds.done < tasks:
        return None
    *floats, phases, stages, numbers = zip(*rows, strict=True)
    state, action, executed_, thing, tools = (np.array(values, np.float32) for values in floats)
    phase_, stage, task = (np.array(values, np.int8) for values in (phases, stages, numbers))
    return TwinEpisode(
        snapshots, state, action, executed_, thing, tools, phase_, stage, task - task[0],
        world.belt_speed, noise, attempts, done_step, world.instruction,
    )  # fmt: skip


def twin_recorder(
    config: TwinConfig, seed: int, tasks: int
) -> Callable[[range], tuple[dict[str, NDArray[Any]], list[dict[str, Any]]]]:
    """Open a world; gives the function that makes the arrays and facts of a range of episodes of so many tasks."""
    world = open_twin(config)
    return partial(_record_part, world, open_renderer(world.scene, "ray"), seed, tasks)


def _record_part(
    world: TwinWorld, renderer: Renderer, seed: int, tasks: int, episodes: range
) -> tuple[dict[str, NDArray[Any]], list[dict[str, Any]]]:
    kept = [demonstrate_task(world, seed, episode, tasks) for episode in episodes]
    arrays: dict[str, NDArray[Any]] = {
        camera: np.stack([renderer.render(s, camera, _SIZE, _SIZE) for e in kept for s in e.snapshots])
        for camera in world.cameras
    }
    for name in (*_FLOATS, "phase", "stage", "task"):
        arrays[name] = np.concatenate([getattr(e, name) for e in kept])
    arrays["episode"] = np.repeat(np.array(episodes, np.int32), [len(e.snapshots) for e in kept])
    facts = [
        {"steps": len(e.snapshots), "belt_speed": e.belt_speed, "noise": e.noise, "attempts": e.attempts,
         "done_step": e.done_step, "instruction": e.instruction}
        for e in kept
    ]  # fmt: skip
    return arrays, facts
