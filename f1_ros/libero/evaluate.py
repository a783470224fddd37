"""How often a policy solves LIBERO's tasks: each from its stored initial states, in their order.

found = evaluate(LiberoSettings(policy=Path("runs/libero/policy"), suite="libero_spatial", tasks=(0,), episodes=50))
found.success_rate, found.interval
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from f1_ros.data.embodiment import Ends
from f1_ros.engine import open_engine
from f1_ros.engine.policy import load_spec
from f1_ros.errors import ConfigError
from f1_ros.libero.client import Simulator, libero_python
from f1_ros.libero.film import Film
from f1_ros.libero.layout import ACTION_SIZE, STEP_LIMITS, TASKS
from f1_ros.libero.policy import LiberoPolicy, camera_views, check_gripper
from f1_ros.sim.measures import wilson_interval


@dataclass(frozen=True)
class LiberoSettings:
    """What to evaluate.

    Attributes:
        policy: policy directory.
        suite: one of LIBERO's suites.
        tasks: their numbers in the suite; empty: all.
        episodes: of each task; each starts from another of its stored initial states.
        seed: of the simulator (openpi takes 7, too) and of the policy's draws.
        replan: steps of a chunk to execute before the next inference; None: 5, or the chunk if that is shorter.
        max_steps: an episode's steps; None: the suite's.
        cameras: LIBERO's view of each of the policy's cameras that is not known by name.
        gripper: what the policy gives for a closed and an open gripper.
        python: the Python that has LIBERO; None: that of `make libero`.
        threads: threads of the engine.

    Raises:
        ConfigError: on values out of range.
    """

    policy: Path
    suite: str
    tasks: tuple[int, ...] = ()
    episodes: int = 50
    seed: int = 7
    replan: int | None = None
    max_steps: int | None = None
    cameras: Mapping[str, str] = field(default_factory=dict)
    gripper: Ends = field(default_factory=lambda: Ends(closed=0.0, open=1.0))
    python: Path | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if self.suite not in STEP_LIMITS:
            raise ConfigError(f"--suite is '{self.suite}'.", remedy=f"Give one of: {', '.join(STEP_LIMITS)}.")
        wrong = [task for task in self.tasks if not 0 <= task < TASKS[self.suite]]
        if wrong or len(set(self.tasks)) != len(self.tasks):
            raise ConfigError(
                f"--task is {' '.join(map(str, self.tasks))}; {self.suite} has {TASKS[self.suite]} tasks.",
                remedy=f"Give numbers from 0 to {TASKS[self.suite] - 1}, each once.",
            )
        if self.episodes < 1:
            raise ConfigError(f"--episodes is {self.episodes}.", remedy="Give 1 or more.")
        if self.seed < 0:
            raise ConfigError(f"--seed is {self.seed}.", remedy="Give 0 or more.")
        if self.max_steps is not None and self.max_steps < 1:
            raise ConfigError(f"--max-steps is {self.max_steps}.", remedy="Give 1 or more.")

    @property
    def step_limit(self) -> int:
        """Steps that an episode may take."""
        return self.max_steps or STEP_LIMITS[self.suite]


@dataclass(frozen=True)
class LiberoEpisode:
    """One episode.

    Attributes:
        initial_state: number of the stored state that it began from.
        success: the task was done within the step limit.
        steps: that it took.
        clipped_share: of the numbers of its motions, how many were beyond LIBERO's range.
        reset_s: time that the simulator took to get ready, s.
        step_ms: the same for a step, mean, ms.
        latencies_ms: of each inference, ms.
    """

    initial_state: int
    success: bool
    steps: int
    clipped_share: float
    reset_s: float
    step_ms: float
    latencies_ms: list[float]


@dataclass(frozen=True)
class LiberoTask:
    """All episodes of a task, in order.

    Attributes:
        number: in its suite.
        name: LIBERO's name.
        language: the instruction.
        episodes: the results.
    """

    number: int
    name: str
    language: str
    episodes: list[LiberoEpisode]

    @property
    def successes(self) -> int:
        """Episodes that succeeded."""
        return sum(e.success for e in self.episodes)


@dataclass(frozen=True)
class LiberoEvaluation:
    """All tasks of an evaluation.

    Attributes:
        tasks: in the order asked for.
        versions: of LIBERO and what it runs on.
    """

    tasks: list[LiberoTask]
    versions: dict[str, str]

    @property
    def episodes(self) -> list[LiberoEpisode]:
        """Every task's episodes."""
        return [episode for task in self.tasks for episode in task.episodes]

    @property
    def successes(self) -> int:
        """Episodes that succeeded."""
        return sum(task.successes for task in self.tasks)

    @property
    def success_rate(self) -> float:
        """Share of episodes that succeeded."""
        return self.successes / len(self.episodes)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the success rate."""
        return wilson_interval(self.successes, len(self.episodes))


def evaluate(
    settings: LiberoSettings, *, film: Film | None = None, progress: Callable[[int, int], None] | None = None
) -> LiberoEvaluation:
    """Run all episodes; the same settings give the same results on the same machine.

    Args:
        settings: what to evaluate.
        film: gets every picture that the policy sees, with the task and how it went.
        progress: called with the episodes done and those that succeeded.

    Raises:
        ConfigError: if the policy does not fit LIBERO, or LIBERO is not installed. CheckpointError: if the policy
        cannot be loaded. SimulationError: if LIBERO fails.
    """
    # What cannot work is said before weights are loaded.
    views = camera_views(load_spec(settings.policy), settings.cameras)
    check_gripper(settings.policy, settings.gripper)
    python = libero_python(settings.python)
    engine = open_engine(settings.policy, threads=settings.threads)
    try:
        driver = LiberoPolicy(engine, views=views, gripper=settings.gripper, replan=settings.replan)
        engine.warm_up()
        tasks: list[LiberoTask] = []
        versions: dict[str, str] = {}
        for number in settings.tasks or range(TASKS[settings.suite]):
            # A process for each task: what a task leaks in memory or OpenGL goes with it.
            with Simulator(python) as simulator:
                info = simulator.open(settings.suite, number, settings.seed)
                if settings.episodes > info.initial_states:
                    raise ConfigError(
                        f"--episodes is {settings.episodes}, task {number} of {settings.suite} has "
                        f"{info.initial_states} initial states.",
                        remedy=f"Give at most {info.initial_states}.",
                    )
                versions = info.versions
                task = LiberoTask(number, info.name, info.language, [])
                tasks.append(task)
                for state in range(settings.episodes):
                    task.episodes.append(_episode(simulator, driver, settings, task, state, film))
                    if progress is not None:
                        found = LiberoEvaluation(tasks, versions)
                        progress(len(found.episodes), found.successes)
        return LiberoEvaluation(tasks, versions)
    finally:
        engine.close()


def _episode(
    simulator: Simulator,
    driver: LiberoPolicy,
    settings: LiberoSettings,
    task: LiberoTask,
    state: int,
    film: Film | None,
) -> LiberoEpisode:
    seed = int(np.random.SeedSequence((settings.seed, task.number, state)).generate_state(1)[0])
    driver.begin(task.language, seed)
    began = time.perf_counter()
    seen = simulator.reset(state)
    reset_s = time.perf_counter() - began
    stepping_s, steps, success = 0.0, 0, False
    while steps < settings.step_limit and not success:
        if film is not None:
            film.add(seen.pictures, f"task {task.number}, state {state}, step {steps}")
        action = driver.act(seen)
        began = time.perf_counter()
        seen = simulator.step(action)
        stepping_s += time.perf_counter() - began
        steps += 1
        success = seen.success
    if film is not None:
        film.add(seen.pictures, f"task {task.number}, state {state}: {'done' if success else 'not done'}", hold=True)
    return LiberoEpisode(
        initial_state=state,
        success=success,
        steps=steps,
        clipped_share=driver.clipped / (steps * (ACTION_SIZE - 1)),
        reset_s=reset_s,
        step_ms=stepping_s / steps * 1e3,
        latencies_ms=list(driver.latencies_ms),
    )
