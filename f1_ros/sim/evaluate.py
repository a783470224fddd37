"""How often a policy, or a scripted expert, succeeds: unseen episodes, in lock step, with a given delay.

    result = evaluate(EvaluationSettings(policy=Path("models/f1_belt"), episodes=100, seed=7, delay_s=0.15))
    result.success_rate, result.interval, result.failures

At the belt: the arm holds still for 0.45 s while the belt runs and the cube rides in; then the policy has 60 steps of
50 ms, and with a cover as many more as the cube needs to leave it. Success: the cube is 8 cm above its rest height at
three checks of 50 ms in a row; in task "colour" the cube that the instruction names. Picking another one is a failure
and ends the episode. Of the twins' tasks see `f1_ros.sim.twins.episodes`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from f1_ros.engine.continuity import Continuity
from f1_ros.engine.protocol import Engine, ForesightUse
from f1_ros.errors import ConfigError, PolicyStoppedError
from f1_ros.robots.profile import RobotProfile, load_profile
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.episodes import PREROLL_STEPS, EpisodeStart, covered_steps, evaluation_seed
from f1_ros.sim.expert import Expert, WorldState
from f1_ros.sim.lockstep import STEP_NS, STEP_TICKS, Driver, SimWorld, StepDriver
from f1_ros.sim.measures import CommandedWorld, FailureWatch, reaction_time, rms_jerk
from f1_ros.sim.policy_runner import PolicyRunner
from f1_ros.sim.pool import run_jobs
from f1_ros.sim.results import EpisodeResult, Evaluation, Reversal, Stream
from f1_ros.sim.scene import TICK_NS
from f1_ros.sim.twins.episodes import ExpertDriver, TwinEpisodes
from f1_ros.sim.twins.opening import open_twin
from f1_ros.sim.world import BeltWorld
from f1_ros.sim.worlds import WorldConfig, open_world

EPISODE_STEPS = 60
BIN_STEPS = 50
"""Steps after a pick in which the cube may still come into the bin (a detail, not part of success)."""

CALIBRATION_RUNS = 20
REVERSAL_S = (0.2, 0.8)
"""When the belt turns round, from the policy's first tick, s: during the approach."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What to evaluate.

    Attributes:
        policy: policy directory, or None for the scripted expert.
        episodes: how many.
        seed: of the evaluation; its episodes are never training episodes, whatever the seed.
        world: the world; its ranges are its own.
        delay_s: time that the scene moves on during an inference, s. Where the policy's measured latency (median of 20
            runs before the first episode, rounded up to a control tick) is longer, that is used.
        near_delay_s, continuity: see `PolicyRunner`.
        exact_delay: use `delay_s` even where the measured latency is longer.
        until_binned: go on after a pick until the cube is in the bin (a detail, not part of success).
        replan_steps: steps between inferences.
        sudden: the cube drops onto the belt at the start, instead of riding in while the arm holds still.
        stream_s: let cubes, or a twin's tasks, come one after the other for so long, s, instead of one; an episode is
            then a stream.
        instruction: None: what the world asks for in task "colour", else the policy's default.
        reaction: run each episode a second time with the belt turned round during the approach; see `Reversal`.
        foresight: what the policy's action expert is given: its "own" foresight, none ("skipped"), or foresight
            whose tokens were "shuffled": what foresight is worth to it.
        engine: what runs the policy, see `f1_ros.engine.open_engine`.
        threads: threads of the engine.

    Raises:
        ConfigError: on values out of range.
    """

    policy: Path | None
    episodes: int
    seed: int = 0
    world: WorldConfig = field(default_factory=BeltConfig)
    delay_s: float = 0.15
    near_delay_s: float | None = None
    continuity: Continuity = "auto"
    exact_delay: bool = False
    until_binned: bool = True
    replan_steps: int = 3
    sudden: bool = False
    stream_s: float | None = None
    instruction: str | None = None
    reaction: bool = False
    foresight: ForesightUse = "own"
    engine: str = "torch"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigError(f"--episodes is {self.episodes}.", remedy="Give 1 or more.")
        if self.seed < 0:
            raise ConfigError(f"--seed is {self.seed}.", remedy="Give 0 or more.")
        if not (math.isfinite(self.delay_s) and 0.0 <= self.delay_s <= 2.0):
            raise ConfigError(f"--delay is {self.delay_s} s.", remedy="Give 0 to 2 s.")
        if self.replan_steps < 1:
            raise ConfigError(f"--replan is {self.replan_steps} steps.", remedy="Give 1 or more.")
        if not isinstance(self.world, BeltConfig) and (self.sudden or self.reaction or self.instruction is not None):
            raise ConfigError(
                f"World {self.world.world} has one task, which begins with the arms at rest.",
                remedy="Leave out --sudden, --reaction and --instruction.",
            )
        if self.sudden and isinstance(self.world, BeltConfig) and self.world.cover:
            raise ConfigError(
                "With a cover the cube rides in; it cannot drop in suddenly.", remedy="Leave out --sudden."
            )
        if self.stream_s is not None:
            if not (math.isfinite(self.stream_s) and 1.0 <= self.stream_s <= 3600.0):
                raise ConfigError(f"--stream is {self.stream_s} s.", remedy="Give 1 to 3600 s.")
            if self.sudden or self.reaction or not self.until_binned:
                raise ConfigError(
                    "A stream of cubes has no single pick.", remedy="Leave out --sudden, --reaction and --picks-only."
                )
        if self.foresight != "own" and self.policy is None:
            raise ConfigError("The scripted expert has no foresight.", remedy="Leave out --foresight.")
        if self.threads < 1:
            raise ConfigError(f"--threads is {self.threads}.", remedy="Give 1 or more.")


def evaluate(
    settings: EvaluationSettings,
    *,
    workers: int | None = 1,
    cluster: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run all episodes; the same settings give the same picks, whatever the number of workers, here or elsewhere.

    Args:
        settings: what to evaluate.
        workers: processes, as `f1_ros.sim.pool.run_jobs` takes them; each loads the policy.
        cluster: address of a Ray cluster to work on; None for this machine. Latency is measured on this machine.
        progress: called with the episodes done and those picked.

    Raises:
        ConfigError: on settings that make no sense. CheckpointError: if the policy cannot be loaded.
    """
    delay_s, latency = settings.delay_s, None
    if settings.policy is not None:
        latency = measured_latency_ms(settings)
        if not settings.exact_delay:
            delay_s = max(delay_s, math.ceil(latency * 1e6 / TICK_NS) * TICK_NS * 1e-9)
    settings = dataclasses.replace(settings, delay_s=min(delay_s, 2.0))
    results: list[EpisodeResult] = []
    jobs, folders = range(settings.episodes), [] if settings.policy is None else [settings.policy]
    if folders and Path(settings.engine).is_dir():
        folders.append(Path(settings.engine))
    with run_jobs(partial(_start, settings), jobs, workers=workers, cluster=cluster, folders=folders) as runs:
        for _, result in runs:
            results.append(result)
            if progress is not None:
                progress(len(results), sum(r.picked for r in results))
    return Evaluation(sorted(results, key=lambda r: r.episode), settings.delay_s, latency)


def measured_latency_ms(settings: EvaluationSettings) -> float:
    """Median latency of the policy on this machine over 20 inferences, ms.

    The median, because the tail on a shared machine is the machine's, not the policy's; `latencies_ms` tell the rest.
    """
    world = open_world(settings.world)
    runner = open_runner(world, settings, load_profile(world.profile, simulated=True))
    world.reset(evaluation_seed(settings.seed, 0))
    runner.begin(0)
    for _ in range(CALIBRATION_RUNS):
        runner.hold()
        runner.infer_only()
    return float(np.median(runner.latencies_ms))


class _ExpertDriver:
    """The scripted expert behind the runner's interface."""

    def __init__(self, world: BeltWorld) -> None:
        self._world, self._expert, self._driver = world, Expert(world.kinematics), StepDriver(world)

    def begin(self, seed: int) -> None:
        del seed
        self._driver.reset()
        self._still = self._world.state

    def instruct(self, instruction: str) -> None:
        del instruction  # it looks at the world's target

    def hold(self) -> None:
        self._driver.step(self._still)

    def step(self) -> None:
        self._driver.step(self._expert.act(WorldState.of(self._world)).target)


class _Runs:
    """One process's belt and policy."""

    def __init__(self, settings: EvaluationSettings, belt: BeltConfig) -> None:
        self.settings, self.belt = settings, belt
        self.world = CommandedWorld(belt, stream=settings.stream_s is not None)
        self.driver: Driver
        if settings.policy is None:
            self.driver = _ExpertDriver(self.world)
        else:
            self.driver = open_runner(self.world, settings, load_profile(self.world.profile, simulated=True))

    def episode(self, episode: int) -> EpisodeResult:
        if self.settings.stream_s is not None:
            return self._stream(episode, self.settings.stream_s)
        result = self._run(episode)
        if not self.settings.reaction:
            return result
        commands = np.array(self.world.commands)
        rng = np.random.default_rng([evaluation_seed(self.settings.seed, episode), 6])
        ticks = round(float(rng.uniform(*REVERSAL_S)) * 1e9 / TICK_NS)
        began = PREROLL_STEPS * STEP_TICKS
        again = self._run(episode, reverse_tick=began + ticks)
        reversal = Reversal(
            at_s=ticks * TICK_NS / 1e9,
            grasped=self.world.grasped_at_reversal,
            reaction_s=reaction_time(commands, np.array(self.world.commands), began + ticks),
            picked=again.picked,
        )
        return dataclasses.replace(result, reversal=reversal)

    def _run(self, episode: int, reverse_tick: int | None = None) -> EpisodeResult:
        seed = evaluation_seed(self.settings.seed, episode)
        world, driver = self.world, self.driver
        world.reset(seed)
        world.reverse_tick = reverse_tick
        start = EpisodeStart.drop(world, PREROLL_STEPS) if self.settings.sudden else EpisodeStart.ride(world)
        latencies = self._begin(seed)
        watch = FailureWatch(world)
        picked_step: int | None = None
        picked_tick: int | None = None
        stopped = False
        limit = EPISODE_STEPS + covered_steps(world)
        for step in range(PREROLL_STEPS + limit + BIN_STEPS):
            if step == start.drop_step:
                world.drop_cube(start.position)
            if step < PREROLL_STEPS:
                driver.hold()
                continue
            try:
                driver.step()
            except PolicyStoppedError:  # in the lab somebody would go and look: the episode ends here
                stopped = True
                break
            watch.look()
            since = step - PREROLL_STEPS + 1
            if picked_step is None and world.counts.picked:
                picked_step, picked_tick = since, len(world.commands)
            more = BIN_STEPS if self.settings.until_binned else 0
            wrong = picked_step is None and world.wrong_picks > 0
            over = wrong or world.counts.binned or world.counts.missed
            if over or since >= (limit if picked_step is None else picked_step + more):
                break
        picked = picked_step is not None
        return EpisodeResult(
            episode=episode,
            belt_speed=world.belt_speed,
            picked=picked,
            picked_step=picked_step,
            time_to_pick_s=None if picked_step is None else picked_step * STEP_NS / 1e9,
            jerk_rms=rms_jerk(np.array(world.commands[PREROLL_STEPS * STEP_TICKS : picked_tick])),
            binned=world.counts.binned > 0,
            failure=None if picked else "stopped" if stopped else watch.reason(),
            latencies_ms=list(latencies),
        )

    def _begin(self, seed: int) -> list[float]:
        """Hand the arm over; returns where the policy's latencies will stand, ms."""
        self.driver.begin(seed % 2**31)
        self._instruct()
        latencies = self.driver.latencies_ms if isinstance(self.driver, PolicyRunner) else []
        latencies.clear()
        return latencies

    def _instruct(self) -> None:
        if self.belt.task != "one" and self.settings.instruction is None:
            self.driver.instruct(self.world.instruction)

    def _stream(self, episode: int, seconds: float) -> EpisodeResult:
        seed = evaluation_seed(self.settings.seed, episode)
        world, driver = self.world, self.driver
        world.reset(seed)
        latencies = self._begin(seed)
        for _ in range(PREROLL_STEPS):
            driver.hold()
        end_ns, faults = world.time_ns + round(seconds * 1e9), 0
        while world.time_ns < end_ns:
            self._instruct()
            try:
                driver.step()
            except PolicyStoppedError:
                faults += 1
                driver.begin((seed + faults) % 2**31)
        counts = world.counts
        return EpisodeResult(
            episode=episode,
            belt_speed=world.belt_speed,
            picked=counts.picked > 0,
            picked_step=None,
            time_to_pick_s=None,
            jerk_rms=rms_jerk(np.array(world.commands[PREROLL_STEPS * STEP_TICKS :])),
            binned=counts.binned > 0,
            failure=None,
            latencies_ms=list(latencies),
            stream=Stream(seconds, counts.picked, counts.binned, counts.missed, world.wrong_picks, faults),
        )


def open_policy(settings: EvaluationSettings) -> Engine:
    """Open the policy of the settings, warmed up.

    Raises:
        ConfigError: if the settings name no policy. CheckpointError: as open_engine.
    """
    if settings.policy is None:
        raise ConfigError("No policy is given.", remedy="Give --policy DIR.")
    from f1_ros.engine import open_engine

    engine = open_engine(
        settings.policy, engine=settings.engine, threads=settings.threads, foresight=settings.foresight
    )
    engine.warm_up()
    return engine


def open_runner(world: SimWorld, settings: EvaluationSettings, profile: RobotProfile) -> PolicyRunner:
    """Open the policy of the settings in a world.

    Raises:
        ConfigError: as `open_policy`, or if the policy does not fit the world. CheckpointError: as open_engine.
    """
    return PolicyRunner(
        world,
        open_policy(settings),
        profile,
        delay_s=settings.delay_s,
        near_delay_s=settings.near_delay_s,
        continuity=settings.continuity,
        replan_steps=settings.replan_steps,
        instruction=settings.instruction,
    )


def episode_runner(settings: EvaluationSettings) -> Callable[[int], EpisodeResult]:
    """Open world and policy; gives the function that runs an episode of that number."""
    if isinstance(settings.world, BeltConfig):
        return _Runs(settings, settings.world).episode
    world = open_twin(settings.world)
    if settings.policy is None:
        episodes = TwinEpisodes(world, ExpertDriver(world), [], settings.seed)
    else:
        runner = open_runner(world, settings, load_profile(world.profile, simulated=True))
        episodes = TwinEpisodes(world, runner, runner.latencies_ms, settings.seed)
    return episodes.episode if settings.stream_s is None else partial(episodes.stream, seconds=settings.stream_s)


def _start(settings: EvaluationSettings, *folders: Path) -> Callable[[int], EpisodeResult]:
    """Open the policy, and a compiled engine's directory, where they lie on this worker's machine."""
    if folders:
        settings = dataclasses.replace(settings, policy=folders[0])
    if folders[1:]:
        settings = dataclasses.replace(settings, engine=str(folders[1]))
    return episode_runner(settings)
