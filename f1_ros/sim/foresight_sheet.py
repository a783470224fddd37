"""A picture of what a policy foresees on the belt, beside what really came: one row an instant of an episode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from f1_ros.engine.protocol import InferenceResult
from f1_ros.errors import ConfigError
from f1_ros.observe.observation import Observation
from f1_ros.robots.profile import load_profile
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.episodes import PREROLL_STEPS, EpisodeStart, covered_steps, evaluation_seed
from f1_ros.sim.evaluate import EPISODE_STEPS, EvaluationSettings, open_policy
from f1_ros.sim.policy_runner import PolicyRunner
from f1_ros.sim.world import BeltWorld

Picture = NDArray[np.uint8]
_TILE_IN = 2.0
_EVERY = 2  # inferences between two rows: neighbours look alike


def draw_foresight(settings: EvaluationSettings, path: Path, *, rows: int = 6) -> int:
    """Run an episode (the one that an evaluation of this seed begins with) and draw what was foreseen in it.

    Args:
        settings: policy, seed and belt count.
        path: picture file to write.
        rows: at most so many, spread over the episode.

    Returns:
        Rows drawn.

    Raises:
        ConfigError: if the policy foresees nothing, or the file cannot be written.
    """
    engine = open_policy(settings)
    spec = engine.spec
    foreseen: list[tuple[int, int, Picture]] = []

    def keep(observation: Observation, result: InferenceResult) -> None:
        if result.foresight is not None:
            picture = engine.decode_foresight(result.foresight)
            foreseen.append((observation.stamp_ns, result.foresight.target_stamp_ns, picture))

    belt = settings.world
    if not isinstance(belt, BeltConfig):
        raise ConfigError(f"World {belt.world} cannot be drawn here.", remedy="Give a configuration of the belt.")
    world = BeltWorld(belt)
    world.reset(evaluation_seed(settings.seed, 0))
    runner = PolicyRunner(
        world,
        engine,
        load_profile(world.profile),
        delay_s=settings.delay_s,
        replan_steps=settings.replan_steps,
        instruction=settings.instruction,
        on_result=keep,
    )
    start = EpisodeStart.ride(world)
    runner.begin(settings.seed)
    if belt.task != "one" and settings.instruction is None:
        runner.instruct(world.instruction)
    camera, size = spec.cameras[0], spec.history_size
    came: dict[int, Picture] = {}
    for step in range(PREROLL_STEPS + EPISODE_STEPS + covered_steps(world)):
        if step == start.drop_step:
            world.drop_cube(start.position)
        came[world.time_ns] = world.render(camera, size, size)
        if step < PREROLL_STEPS:
            runner.hold()
        else:
            runner.step()
        if world.counts.binned or world.counts.missed:
            break
    shown = [(came[now], came[then], seen) for now, then, seen in foreseen if then in came][::_EVERY]
    if not shown:
        raise ConfigError(
            f"{settings.policy} foresees nothing.", remedy="Choose a policy that was trained with foresight."
        )
    chosen = [shown[i] for i in np.unique(np.linspace(0, len(shown) - 1, min(rows, len(shown))).astype(int))]
    _draw(chosen, spec.foresight_offset * spec.step_s, path)
    return len(chosen)


def _draw(rows: list[tuple[Picture, Picture, Picture]], ahead_s: float, path: Path) -> None:
    # Lying down: an instant is a column, so that the sheet fits a page.
    figure = Figure(figsize=(_TILE_IN * len(rows), _TILE_IN * 3 + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, len(rows), squeeze=False)
    for i, (axis_row, title) in enumerate(zip(axes, ("now", f"{ahead_s:.1f} s later", "foreseen"), strict=True)):
        for axis, pictures in zip(axis_row, rows, strict=True):
            axis.imshow(pictures[i])
            axis.set_xticks([])
            axis.set_yticks([])
        axis_row[0].set_ylabel(title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=80)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be written ({error}).", remedy="Give a .png file that is writable.") from None
