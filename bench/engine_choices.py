"""What fewer flow steps and fewer scales of foresight cost and gain: time, actions, and cubes on the belt.

    python bench/engine_choices.py [--episodes 100] [--rounds 7] [--out DIR]

Each choice is an engine's configuration (`flow_steps`, `foresight_scales`) of the shipped policy. Time: of an
inference, one thread, the choices in turn, the least of the rounds' medians. Actions: against those of the network's
own steps and scales, same draws, on the observations that the policy brings along. Cubes: as `f1-ros sim eval` with a
delay of 0.15 s for all of them, so that what a choice costs shows and not what its time gains.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engine import BELT, HERE, measure

from f1_ros.cli.report import Report, Result
from f1_ros.engine import open_engine
from f1_ros.engine.checking import shipped_observations
from f1_ros.engine.protocol import Engine
from f1_ros.errors import F1Error
from f1_ros.sim.config import load_belt_config
from f1_ros.sim.evaluate import EvaluationSettings, evaluate

OWN = "own"
CHOICES: dict[str, dict[str, int]] = {
    OWN: {},
    "flow_steps_1": {"flow_steps": 1},
    "flow_steps_2": {"flow_steps": 2},
    "flow_steps_10": {"flow_steps": 10},
    "scales_1": {"foresight_scales": 1},
    "scales_2": {"foresight_scales": 2},
    "flow_steps_2_scales_1": {"flow_steps": 2, "foresight_scales": 1},
}
DELAY_S = 0.15
SPEEDS = (0.08, 0.30)


def actions_mrad(policy: Path, engine: Engine, own: Engine) -> float:
    """The 95th percentile of the worst joint's difference from the network's own choice, mrad."""
    recorded, _ = shipped_observations(policy)
    joints = [i for i, name in enumerate(engine.spec.action_names) if "joint" in name]
    apart = [
        np.abs(
            engine.infer(one.observation, one.instruction, seed).actions
            - own.infer(one.observation, one.instruction, seed).actions
        )[:, joints]
        for seed, one in enumerate(recorded)
    ]
    return float(np.percentile(np.concatenate(apart), 95, axis=0).max() * 1e3)


def cubes(policy: Path, engine: Path, episodes: int) -> dict[str, Any]:
    """Success on the belt with its interval."""
    belt = dataclasses.replace(load_belt_config(None), speed=SPEEDS)
    settings = EvaluationSettings(
        policy, episodes, seed=1, belt=belt, delay_s=DELAY_S, exact_delay=True, until_binned=False, engine=str(engine)
    )
    found = evaluate(settings, workers=1)
    low, high = found.interval
    return {"picked": found.successes, "of": episodes, "low": low, "high": high, "failures": found.failures}


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", type=Path, default=BELT, help="in place of models/f1_belt")
    parser.add_argument("--backend", choices=("torch", "onnxruntime"), default="onnxruntime", help="what runs it")
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=list(CHOICES), help="which (default all)")
    parser.add_argument("--rounds", type=int, default=7, help="of each choice (default 7)")
    parser.add_argument("--count", type=int, default=8, help="inferences of a round (default 8)")
    parser.add_argument("--episodes", type=int, default=100, help="on the belt, of each choice; 0: none (default 100)")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results, raw = [], {}
    try:
        with tempfile.TemporaryDirectory() as name:
            files, engines = {}, {}
            for choice in dict.fromkeys([OWN, *args.choices]):
                files[choice] = Path(name) / f"{choice}.yaml"
                lines = [f"backend: {args.backend}", *(f"{k}: {v}" for k, v in CHOICES[choice].items())]
                files[choice].write_text("\n".join(lines) + "\n", encoding="utf-8")
                engines[choice] = open_engine(
                    args.policy, str(files[choice]), 1, say=lambda line: print(line, file=sys.stderr, flush=True)
                )
            times = measure(args.policy, engines, args.rounds, args.count)
            for choice, engine in engines.items():
                raw[choice] = {"stage_ms": times[choice]}
                apart = actions_mrad(args.policy, engine, engines[OWN])
                results.append(Result(f"{choice}_ms", times[choice]["total"], "ms"))
                results.append(Result(f"{choice}_actions_p95", apart, "mrad"))
                if args.episodes:
                    raw[choice]["belt"] = found = cubes(args.policy, files[choice], args.episodes)
                    results.append(Result(f"{choice}_picked", found["picked"], f"of {args.episodes}"))
                    print(f"{choice}: {found}", file=sys.stderr, flush=True)
    except F1Error as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    conditions = {"backend": args.backend, "nice": os.nice(0), "load_average_1_min": os.getloadavg()[0]}
    report = Report("python bench/engine_choices.py", results, {"conditions": conditions, "choices": raw})
    return report.conclude(args.out / "engine_choices.json")


if __name__ == "__main__":
    raise SystemExit(main())
