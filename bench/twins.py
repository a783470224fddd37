"""The twins' worlds: how often their experts succeed, how long they take, and how fast the worlds run.

    python bench/twins.py [--episodes 100] [--out DIR]

Simulated seconds a second are those of whole episodes with the expert, without pictures; the time for pictures is that
of all cameras together, at 96x96 px, with the arms in motion. The Franka's belt is measured beside them, so that
figures of one machine can be compared with another's.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from f1_ros.cli.report import Report, Result
from f1_ros.sim.camera import open_renderer
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.demonstrations import demonstrate
from f1_ros.sim.episodes import PREROLL_STEPS
from f1_ros.sim.evaluate import EvaluationSettings, episode_runner
from f1_ros.sim.lockstep import STEP_NS
from f1_ros.sim.twins.config import Genie1Config, Lift2Config
from f1_ros.sim.twins.demonstrations import demonstrate_task
from f1_ros.sim.twins.world import TwinWorld
from f1_ros.sim.worlds import WorldConfig, open_world

HERE = Path(__file__).parent
WORLDS: dict[str, WorldConfig] = {"belt": BeltConfig(), "genie1": Genie1Config(), "arx_lift2": Lift2Config()}
GOAL = 0.95
PICTURES = 60


def measure(name: str, config: WorldConfig, episodes: int) -> tuple[list[Result], dict[str, object]]:
    """Figures of one world, and each of its episodes."""
    run = episode_runner(EvaluationSettings(policy=None, episodes=episodes, world=config, until_binned=False))
    results, steps, began = [], 0, time.process_time()
    for episode in range(episodes):
        results.append(run(episode))
        steps += PREROLL_STEPS + (results[-1].picked_step or 0)
    seconds = time.process_time() - began
    rate = sum(r.picked for r in results) / episodes
    times = [r.time_to_pick_s for r in results if r.time_to_pick_s is not None]
    figures = [
        Result(f"{name}_expert_success_rate", rate, goal=f">= {GOAL}", ok=rate >= GOAL),
        Result(f"{name}_expert_time", float(np.mean(times)) if times else None, "s"),
        Result(f"{name}_simulated_seconds_per_cpu_second", steps * STEP_NS * 1e-9 / seconds),
        Result(f"{name}_pictures", picture_ms(config), "ms"),
    ]
    return figures, {"failures": [r.failure for r in results if r.failure], "times_s": times}


def picture_ms(config: WorldConfig) -> float:
    """CPU time of one picture of every camera that a policy sees, ms."""
    world = open_world(config)
    kept = demonstrate_task(world, 1, 0) if isinstance(world, TwinWorld) else demonstrate(world, 1, 0)
    renderer = open_renderer(world.scene, "ray")
    began = time.process_time()
    for snapshot in kept.snapshots[:PICTURES]:
        for camera in world.cameras:
            renderer.render(snapshot, camera, 96, 96)
    return (time.process_time() - began) / len(kept.snapshots[:PICTURES]) * 1e3


def main() -> int:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(
        prog="twins.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=100, metavar="N", help="episodes of each expert (default 100)")
    parser.add_argument("--out", type=Path, default=HERE / "results", metavar="DIR", help="folder for twins.json")
    args = parser.parse_args()
    results: list[Result] = []
    details: dict[str, object] = {}
    for name, config in WORLDS.items():
        figures, details[name] = measure(name, config, args.episodes)
        results += figures
    report = Report(f"bench/twins.py --episodes {args.episodes}", results, {"worlds": details})
    return report.conclude(args.out / "twins.json")


if __name__ == "__main__":
    raise SystemExit(main())
