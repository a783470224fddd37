"""`make bench`: training as a user starts it, from a recording of the belt: speed, waiting for data, and memory.

Two runs of `f1-ros train`: the shipped policy is tuned further for a minute, which shows samples a second and for what
share of the time training waits for the loader; and a tiny network takes 2,000 optimiser steps, while the memory of its
process is watched. After the first quarter a straight line through it should lie flat.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from f1_ros.cli.report import Report, Result
from f1_ros.engine.policy import STATS_FILE, load_policy_file
from f1_ros.errors import ConfigError, F1Error
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.sim.dataset import record_dataset
from f1_ros.train.export import write_policy
from f1_ros.train.metrics import METRICS_FILE, read_metrics

HERE = Path(__file__).parent
BELT = HERE.parent / "models" / "f1_belt"
CONFIG = HERE.parent / "config" / "train" / "stage3_finetune.yaml"
FLAT_MB = 5.0
"""What memory may grow in 1,000 steps, MB: less than a batch of the tiny network for every hundred."""


def tiny_policy(folder: Path) -> Path:
    """A policy directory: a network of random weights that trains in milliseconds, the rest as of the belt policy."""
    tree = json.loads((BELT / "config.json").read_text(encoding="utf-8"))
    small = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "head_dim": 8,
        "num_attention_heads": 2,
    }
    tree["und_expert_config"]["text_config"] |= small
    tree["und_expert_config"]["vision_config"] |= {
        "hidden_size": 16,
        "image_size": 32,
        "channels": [4, 4],
        "keypoints": 4,
    }
    for part in (tree["und_expert_config"], tree["und_expert_config"]["vision_config"]):
        part["projection_dim"] = 16
    tree["und_expert_config"]["hidden_size"] = 16
    tree["act_expert_config"] |= small
    vae = {"vocab_size": 16, "z_channels": 4, "ch": 8, "ch_mult": [1, 1], "patch": 4, "norm_groups": 4}
    tree["gen_expert_config"] |= {**small, "pn": "1_2_4", "num_resolutions": 2}
    tree["gen_expert_config"]["vae"] |= vae
    tree |= {"proj_width": 16, "resize_imgs_with_padding": [32, 32], "chunk_size": 4, "num_steps": 2}
    config = F1Config.from_dict(tree)
    file = load_policy_file(BELT)
    spec = dataclasses.replace(
        file.spec, image_size=32, history_resize=32, history_size=config.frame_size, chunk_size=config.chunk_size
    )
    torch.manual_seed(0)
    file = dataclasses.replace(file, spec=spec, step_scale=file.step_scale[: config.chunk_size])
    stats = json.loads((BELT / STATS_FILE).read_text(encoding="utf-8"))
    write_policy(folder, F1Model(config), file, stats, BELT)
    return folder


def train(dataset: Path, out: Path, settings: dict[str, Any]) -> tuple[list[dict[str, Any]], list[tuple[int, float]]]:
    """Run `f1-ros train`, watching it.

    Returns:
        Its metrics, and (step, resident memory in MB) as they were seen.

    Raises:
        ConfigError: if it fails.
    """
    command = [sys.executable, "-m", "f1_ros.cli.main", "train", str(CONFIG), "--quiet"]
    command += ["--dataset", str(dataset), "--out", str(out)]
    for key, value in settings.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    seen: list[tuple[int, float]] = []
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            time.sleep(0.2)
            steps = [row["step"] for row in read_metrics(out / METRICS_FILE) if row["kind"] == "train"]
            if steps:
                seen.append((steps[-1], resident_mb(process.pid)))
    if process.returncode:
        raise ConfigError(f"{' '.join(command)} ended with {process.returncode}.", remedy="See what it printed.")
    return read_metrics(out / METRICS_FILE), [pair for pair in seen if pair[1] > 0.0]


def resident_mb(process: int) -> float:
    """Memory that a process has in use, MB; 0 when it has just ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def speed(rows: list[dict[str, Any]]) -> list[Result]:
    """Figures of the run with the shipped policy, without its first line, which has the start in it."""
    lines = [row for row in rows if row["kind"] == "train"][1:]
    return [
        Result("f1_belt_training", statistics.median(row["samples_per_s"] for row in lines), "samples/s"),
        Result("f1_belt_waiting_share", statistics.median(row["waiting_share"] for row in lines)),
    ]


def memory(seen: list[tuple[int, float]], rows: list[dict[str, Any]]) -> list[Result]:
    """Figures of the run with the tiny network."""
    lines = [row for row in rows if row["kind"] == "train"]
    steps = lines[-1]["step"]
    warm = np.array([pair for pair in seen if pair[0] >= steps / 4])
    slope = float(np.polyfit(warm[:, 0], warm[:, 1], 1)[0]) * 1000.0
    return [
        Result("tiny_steps", steps),
        Result("tiny_training", statistics.median(row["samples_per_s"] for row in lines[1:]), "samples/s"),
        Result("tiny_waiting_share", statistics.median(row["waiting_share"] for row in lines[1:])),
        Result("tiny_memory", float(np.median(warm[:, 1])), "MB"),
        Result("tiny_memory_growth_in_1000_steps", slope, "MB", f"<= {FLAT_MB:g}", slope <= FLAT_MB),
    ]


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=20, help="demonstrations to train on (default 20)")
    parser.add_argument("--steps", type=int, default=60, help="steps of the shipped policy (default 60)")
    parser.add_argument("--tiny-steps", type=int, default=2000, help="steps of the tiny network (default 2000)")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    rare = {"logging.held_out_batches": 1, "logging.held_out_every": 10_000, "logging.pictures": 0}
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            record_dataset(folder / "demos", args.episodes, seed=1)
            settings = {"start.policy": str(BELT), "optimiser.steps": args.steps, "optimiser.warmup": 5, **rare}
            rows, _ = train(folder / "demos", folder / "belt", settings)
            found = speed(rows)
            settings = {"start.policy": str(tiny_policy(folder / "tiny")), "optimiser.steps": args.tiny_steps, **rare}
            settings |= {"optimiser.batch": 8, "logging.save_every": max(args.tiny_steps // 4, 1)}
            rows, seen = train(folder / "demos", folder / "run", settings)
            found += memory(seen, rows)
        details = {
            "nice": os.nice(0),
            "load_average_1_min": os.getloadavg()[0],
            "tiny_memory_mb_by_step": seen[:: max(len(seen) // 100, 1)],
        }
        report = Report("make bench", found, details)
        return report.conclude(args.out / "training.json")
    except F1Error as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
