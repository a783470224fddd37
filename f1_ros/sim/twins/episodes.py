"""Episodes of the twins' tasks, in lock step: what an evaluation and a demonstration have in common, and the former.

An episode: the arms hold still for 0.45 s, so that a history exists; then the task is to be done within 8 s.
"""

from __future__ import annotations

import numpy as np

from f1_ros.errors import PolicyStoppedError
from f1_ros.sim.episodes import PREROLL_STEPS, evaluation_seed
from f1_ros.sim.kinematics import Array
from f1_ros.sim.lockstep import STEP_NS, STEP_TICKS, TICK_S, Driver, StepDriver
from f1_ros.sim.measures import Failure, TaskFailure, rms_jerk
from f1_ros.sim.results import EpisodeResult, Stream
from f1_ros.sim.twins.experts import open_expert
from f1_ros.sim.twins.rounds import GIVE_UP_S, TaskRounds
from f1_ros.sim.twins.tables import expert_limits
from f1_ros.sim.twins.world import TwinWorld

EPISODE_STEPS = 160
"""Steps of 50 ms in which the task is to be done."""

_LONGEST_WAIT_STEPS = 101

_UNDONE: dict[str, TaskFailure] = {
    "picked": "not_picked",
    "handed_over": "not_handed_over",
    "binned": "not_binned",
    "pressed": "not_pressed",
}


class ExpertDriver:
    """The scripted expert behind the runner's interface."""

    def __init__(self, world: TwinWorld) -> None:
        """Drive this world."""
        self._world, self._expert = world, open_expert(world)
        self._driver = StepDriver(world, expert_limits(world.robot))

    def begin(self, seed: int) -> None:
        """See `Driver.begin`."""
        del seed
        self._driver.reset()
        self._still = self._world.state

    def instruct(self, instruction: str) -> None:
        """See `Driver.instruct`; a world has one task."""
        del instruction

    def hold(self) -> None:
        """See `Driver.hold`."""
        self._driver.step(self._still)

    def step(self) -> None:
        """See `Driver.step`."""
        self._driver.step(self._expert.act().target)


class TwinEpisodes:
    """Runs the episodes of an evaluation.

    Args:
        world: the world.
        driver: policy or expert in it.
        latencies_ms: where the policy's latencies stand.
        seed: of the evaluation.
    """

    def __init__(self, world: TwinWorld, driver: Driver, latencies_ms: list[float], seed: int) -> None:
        self._world, self._driver, self._latencies_ms, self._seed = world, driver, latencies_ms, seed

    def episode(self, episode: int) -> EpisodeResult:
        """Run the episode of that number; it ends with the task, or with the thing out of reach."""
        world, driver = self._world, self._driver
        commands = self._begin(evaluation_seed(self._seed, episode))
        done_step, stopped = None, False
        for step in range(1, EPISODE_STEPS + 1):
            try:
                driver.step()
            except PolicyStoppedError:  # in the lab somebody would go and look: the episode ends here
                stopped = True
                break
            if world.done:
                done_step = step
            if world.done or world.lost:
                break
        failure: Failure | TaskFailure | None = None
        if not world.done:
            failure = "stopped" if stopped else "lost" if world.lost else _UNDONE[world.stages[world.stages_done]]
        return EpisodeResult(
            episode=episode,
            belt_speed=world.belt_speed,
            picked=world.done,
            picked_step=done_step,
            time_to_pick_s=None if done_step is None else done_step * STEP_NS / 1e9,
            jerk_rms=rms_jerk(np.array(commands[PREROLL_STEPS * STEP_TICKS :])),
            binned=world.done,
            failure=failure,
            latencies_ms=list(self._latencies_ms),
            stages=world.stages_done,
        )

    def stream(self, episode: int, seconds: float) -> EpisodeResult:
        """Run tasks one after the other for so long, as they come live.

        The arms hold still for up to 5 s more before the driver gets them, as until somebody asks for POLICY: by then a
        belt may be empty. From then on they stay with it; what is lost before counts as nothing.
        """
        world, driver = self._world, self._driver
        seed = evaluation_seed(self._seed, episode)
        commands = self._begin(seed)
        rounds, faults = TaskRounds(world, give_up_ticks=round(GIVE_UP_S / TICK_S)), 0
        for _ in range(int(np.random.default_rng([seed, 4]).integers(0, _LONGEST_WAIT_STEPS))):
            driver.hold()
            rounds.follow(STEP_TICKS)
        rounds.lost = 0
        end_ns = world.time_ns + round(seconds * 1e9)
        while world.time_ns < end_ns:
            try:
                driver.step()
            except PolicyStoppedError:
                faults += 1
                driver.begin((seed + faults) % 2**31)
            rounds.follow(STEP_TICKS)
        return EpisodeResult(
            episode=episode,
            belt_speed=world.belt_speed,
            picked=rounds.done > 0,
            picked_step=None,
            time_to_pick_s=None,
            jerk_rms=rms_jerk(np.array(commands[PREROLL_STEPS * STEP_TICKS :])),
            binned=rounds.done > 0,
            failure=None,
            latencies_ms=list(self._latencies_ms),
            stream=Stream(seconds, rounds.done, rounds.done, rounds.lost, 0, faults),
            stages=world.stages_done,
        )

    def _begin(self, seed: int) -> list[Array]:
        """Hand the arms over, standing still so far; gives where all commands will stand."""
        self._world.reset(seed)
        self._world.commands = commands = list[Array]()
        self._driver.begin(seed % 2**31)
        self._latencies_ms.clear()
        for _ in range(PREROLL_STEPS):
            self._driver.hold()
        return commands
