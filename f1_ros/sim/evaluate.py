"""How often a policy, or the scripted expert, picks the cube: unseen episodes, in lock step, with a given delay.

    result = evaluate(EvaluationSettings(policy=Path("models/f1_belt"), episodes=100, seed=7, delay_s=0.15))
    result.success_rate, result.interval, result.failures

An episode: the arm holds still for 0.45 s while the belt runs and the cube rides in; then the policy has 60 steps of
50 ms. Success: the cube is 8 cm above its rest height at three checks of 50 ms in a row.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from f1_ros.engine.protocol import Engine
from f1_ros.errors import ConfigError
from f1_ros.robots.profile import RobotProfile, load_profile
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.episodes import PREROLL_STEPS, EpisodeStart, evaluation_seed
from f1_ros.sim.expert import Expert, WorldState
from f1_ros.sim.lockstep import StepDriver
from f1_ros.sim.policy_runner import PolicyRunner
from f1_ros.sim.pool import run_jobs
from f1_ros.sim.scene import CUBE_REST_Z, TICK_NS
from f1_ros.sim.world import BeltWorld

EPISODE_STEPS = 60
BIN_STEPS = 50
"""Steps after a pick in which the cube may still come into the bin (a detail, not part of success)."""

BANDS = 4
CALIBRATION_RUNS = 20
_Z95 = 1.959963984540054

Failure = Literal["never_reached", "missed_grasp", "slipped", "knocked", "timeout"]


@dataclass(frozen=True)
class EvaluationSettings:
    """What to evaluate.

    Attributes:
        policy: policy directory, or None for the scripted expert.
        episodes: how many.
        seed: of the evaluation; its episodes are never training episodes, whatever the seed.
        belt: the world; speed range and direction are its own.
        delay_s: time that the scene moves on during an inference, s. Where the policy's measured latency (median of 20
            runs before the first episode, rounded up to a control tick) is longer, that is used.
        near_delay_s: see `PolicyRunner`.
        exact_delay: use `delay_s` even where the measured latency is longer.
        until_binned: go on after a pick until the cube is in the bin (a detail, not part of success).
        replan_steps: steps between inferences.
        sudden: the cube drops onto the belt at the start, instead of riding in while the arm holds still.
        instruction: the policy's default if None.
        threads: threads of the engine.

    Raises:
        ConfigError: on values out of range.
    """

    policy: Path | None
    episodes: int
    seed: int = 0
    belt: BeltConfig = field(default_factory=BeltConfig)
    delay_s: float = 0.15
    near_delay_s: float | None = None
    exact_delay: bool = False
    until_binned: bool = True
    replan_steps: int = 3
    sudden: bool = False
    instruction: str | None = None
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
        if self.threads < 1:
            raise ConfigError(f"--threads is {self.threads}.", remedy="Give 1 or more.")


@dataclass(frozen=True)
class EpisodeResult:
    """One episode.

    Attributes:
        episode: number, from 0.
        belt_speed: m/s, signed.
        picked: success.
        picked_step: step of 50 ms at which it was, or None.
        binned: the cube came into the bin afterwards.
        failure: why it was not picked; None on success.
        latencies_ms: of each inference, ms.
    """

    episode: int
    belt_speed: float
    picked: bool
    picked_step: int | None
    binned: bool
    failure: Failure | None
    latencies_ms: list[float]


@dataclass(frozen=True)
class Evaluation:
    """All episodes of an evaluation, in order.

    Attributes:
        episodes: results in the order of their numbers.
        delay_s: delay that was in force, s.
        calibration_ms: latency measured before the first episode, ms; None for the expert.
    """

    episodes: list[EpisodeResult]
    delay_s: float
    calibration_ms: float | None

    @property
    def successes(self) -> int:
        """Episodes with a pick."""
        return sum(e.picked for e in self.episodes)

    @property
    def success_rate(self) -> float:
        """Share of episodes with a pick."""
        return self.successes / len(self.episodes)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the success rate."""
        return wilson_interval(self.successes, len(self.episodes))

    @property
    def binned_rate(self) -> float:
        """Share of episodes in which the cube came into the bin."""
        return sum(e.binned for e in self.episodes) / len(self.episodes)

    @property
    def failures(self) -> dict[str, int]:
        """Reasons of failures with their counts, most frequent first."""
        return dict(Counter(e.failure for e in self.episodes if e.failure is not None).most_common())

    @property
    def latencies_ms(self) -> list[float]:
        """Every inference's latency, ms."""
        return [ms for e in self.episodes for ms in e.latencies_ms]

    def bands(self, speed: tuple[float, float], count: int = BANDS) -> list[dict[str, float | int]]:
        """Picks by equal bands of belt speed (m/s)."""
        edges = np.linspace(speed[0], speed[1], count + 1) if speed[1] > speed[0] else np.array(speed)
        rows: list[dict[str, float | int]] = []
        for i in range(len(edges) - 1):
            last = i == len(edges) - 2
            inside = [
                e
                for e in self.episodes
                if edges[i] <= abs(e.belt_speed) and (abs(e.belt_speed) < edges[i + 1] or (last or len(edges) == 2))
            ]
            rows.append(
                {"from": float(edges[i]), "to": float(edges[i + 1]), "episodes": len(inside),
                 "picked": sum(e.picked for e in inside)}
            )  # fmt: skip
        return rows


def wilson_interval(successes: int, episodes: int) -> tuple[float, float]:
    """95 % Wilson score interval (Wilson 1927) of a share.

    Raises:
        ConfigError: if there are no episodes, or more successes than episodes.
    """
    if episodes < 1 or not 0 <= successes <= episodes:
        raise ConfigError(f"{successes} successes of {episodes} episodes.", remedy="Evaluate at least one episode.")
    p, z2 = successes / episodes, _Z95**2
    centre = (p + z2 / (2 * episodes)) / (1 + z2 / episodes)
    half = _Z95 / (1 + z2 / episodes) * math.sqrt(p * (1 - p) / episodes + z2 / (4 * episodes**2))
    return max(0.0, centre - half), min(1.0, centre + half)


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
    world = BeltWorld(settings.belt)
    runner = open_runner(world, settings, load_profile("franka"))
    world.reset(evaluation_seed(settings.seed, 0))
    runner.begin(0)
    for _ in range(CALIBRATION_RUNS):
        runner.hold()
        runner.infer_only()
    return float(np.median(runner.latencies_ms))


class _Driver(Protocol):
    def begin(self, seed: int) -> None: ...

    def hold(self) -> None: ...

    def step(self) -> None: ...


class _ExpertDriver:
    """The scripted expert behind the runner's interface."""

    def __init__(self, world: BeltWorld) -> None:
        self._world, self._expert, self._driver = world, Expert(world.kinematics), StepDriver(world)

    def begin(self, seed: int) -> None:
        del seed
        self._driver.reset()
        self._still = self._world.state

    def hold(self) -> None:
        self._driver.step(self._still)

    def step(self) -> None:
        self._driver.step(self._expert.act(WorldState.of(self._world)).target)


class _Runs:
    """One process's world and policy."""

    def __init__(self, settings: EvaluationSettings) -> None:
        self.settings = settings
        self.world = BeltWorld(settings.belt)
        self.driver: _Driver
        if settings.policy is None:
            self.driver = _ExpertDriver(self.world)
        else:
            self.driver = open_runner(self.world, settings, load_profile("franka"))

    def episode(self, episode: int) -> EpisodeResult:
        seed = evaluation_seed(self.settings.seed, episode)
        world, driver = self.world, self.driver
        world.reset(seed)
        start = EpisodeStart.drop(world, PREROLL_STEPS) if self.settings.sudden else EpisodeStart.ride(world)
        driver.begin(seed % 2**31)
        latencies = driver.latencies_ms if isinstance(driver, PolicyRunner) else []
        latencies.clear()
        watch = FailureWatch(world)
        picked_step: int | None = None
        for step in range(PREROLL_STEPS + EPISODE_STEPS + BIN_STEPS):
            if step == start.drop_step:
                world.drop_cube(start.position)
            if step < PREROLL_STEPS:
                driver.hold()
                continue
            driver.step()
            watch.look()
            since = step - PREROLL_STEPS + 1
            if picked_step is None and world.counts.picked:
                picked_step = since
            more = BIN_STEPS if self.settings.until_binned else 0
            over = world.counts.binned or world.counts.missed
            if over or since >= (EPISODE_STEPS if picked_step is None else picked_step + more):
                break
        picked = picked_step is not None
        return EpisodeResult(
            episode=episode,
            belt_speed=world.belt_speed,
            picked=picked,
            picked_step=picked_step,
            binned=world.counts.binned > 0,
            failure=None if picked else watch.reason(),
            latencies_ms=list(latencies),
        )


def _start(settings: EvaluationSettings, *policy: Path) -> Callable[[int], EpisodeResult]:
    """Open the policy where it lies on this worker's machine."""
    return _Runs(dataclasses.replace(settings, policy=policy[0]) if policy else settings).episode


class FailureWatch:
    """Looks at the world after each step and says in the end why a cube was not picked."""

    def __init__(self, world: BeltWorld) -> None:
        self._world = world
        self._nearest = math.inf
        self._highest = 0.0
        self._closed = self._knocked = False

    def look(self) -> None:
        """Call once a step."""
        world = self._world
        if not world.cubes:
            return
        cube = world.cubes[0]
        offset = cube.position - world.tool_position
        self._nearest = min(self._nearest, float(np.linalg.norm(offset)))
        self._highest = max(self._highest, float(cube.position[2]) - CUBE_REST_Z)
        self._closed |= world.gripper_width < 0.03
        slid = np.linalg.norm(cube.velocity[:2] - (0.0, world.belt_speed)) > 0.10
        self._knocked |= cube.place == "floor" or bool(cube.place == "belt" and slid and world.gripper_width > 0.045)

    def reason(self) -> Failure:
        """The likeliest reason, the first that holds of: slipped, knocked, missed grasp, never reached, timeout."""
        if self._highest > 0.02:
            return "slipped"
        if self._knocked:
            return "knocked"
        if self._closed:
            return "missed_grasp"
        return "never_reached" if self._nearest > 0.05 else "timeout"


def open_runner(world: BeltWorld, settings: EvaluationSettings, profile: RobotProfile) -> PolicyRunner:
    """Open the policy of the settings in a world.

    Raises:
        ConfigError: if the settings name no policy, or it does not fit the world. CheckpointError: as open_engine.
    """
    if settings.policy is None:
        raise ConfigError("No policy is given.", remedy="Give --policy DIR.")
    from f1_ros.engine import open_engine

    engine: Engine = open_engine(settings.policy, threads=settings.threads)
    engine.warm_up()
    return PolicyRunner(
        world,
        engine,
        profile,
        delay_s=settings.delay_s,
        near_delay_s=settings.near_delay_s,
        replan_steps=settings.replan_steps,
        instruction=settings.instruction,
    )
