"""From camera to command with three cameras of 640x480, stage by stage, against lerobot's async_inference.

    python bench/latency.py [--seconds 60] [--out DIR]

Ours is `f1-ros bench latency` at the profile's control rate and at 500 Hz, where a command waits for its tick a fifth
as long. Then lerobot's policy server and client (bench/lerobot_async.py, in an environment of its own, .venv-peers)
with the same rate of frames and a policy that takes as long as ours took, at 30 and at 100 control steps a second; the
better one counts. Its frames come from memory, ours through DDS. Both are also asked how long after an event at any
time the first command from pictures taken after it comes (bench/reaction.py measures that in the simulated system).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from live import HERE, percentiles
from numpy.typing import NDArray

from f1_ros.bench.latency import P50_MS, P99_MS
from f1_ros.cli.report import Report, Result
from f1_ros.errors import ConfigError, F1Error

TIMES_LOWER = 3.0
PEER = Path(os.environ.get("PEERS_VENV") or HERE.parent / ".venv-peers") / "bin" / "python"
Array = NDArray[np.float64]


def ours(seconds: float, rate_hz: float, folder: Path) -> dict[str, Any]:
    """Run `f1-ros bench latency`; gives its report.

    Raises:
        ConfigError: if it fails.
    """
    path = folder / f"{rate_hz:g}.json"
    command = [sys.executable, "-m", "f1_ros", "bench", "latency", "--seconds", str(seconds), "--json", str(path)]
    done = subprocess.run([*command, "--control-rate", str(rate_hz)], check=False)
    if not path.exists():
        raise ConfigError(f"{' '.join(command)} ended with {done.returncode}.", remedy="See what it printed.")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def lerobot(seconds: float, model_ms: float, fps: int) -> Array:
    """Run lerobot's; gives (frames, 2): when a frame was captured and when its first action was sent, s.

    Raises:
        ConfigError: if it fails.
    """
    command = [str(PEER), str(HERE / "lerobot_async.py"), str(seconds), str(model_ms), str(fps)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as here:  # it writes a folder of logs to where it is
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=here)
    if done.returncode:
        raise ConfigError(f"lerobot_async.py: {done.stderr[-500:]}", remedy="Make its environment, .venv-peers, anew.")
    return np.array(json.loads(done.stdout.splitlines()[-1]))


def reaction_ms(captured: Array, commanded: Array) -> float:
    """Mean time from an event at any instant to the first command of a frame captured after it, ms.

    An event between two frames waits for the first command of the later one or of a newer.
    """
    first = np.minimum.accumulate(commanded[::-1])[::-1]
    gaps, waits = np.diff(captured), first[1:] - captured[1:]
    return float((gaps * (waits + gaps / 2.0)).sum() / gaps.sum() * 1e3)


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run (default 60)")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as name:
            runs = {rate: ours(args.seconds, rate, Path(name)) for rate in (100.0, 500.0)}
        results, raw = [], {}
        for rate, run in runs.items():
            raw[f"ours_{rate:g}_hz"] = {"stages": run["stages"], **run["raw"]}
            results += [Result(**{**r, "name": f"{r['name']}_{rate:g}_hz"}) for r in run["results"]]
        figures = {r["name"]: r["value"] for r in runs[100.0]["results"]}
        frames = np.array(runs[100.0]["raw"]["captured_commanded_s"])
        results.append(Result("reaction_mean_ms_100_hz", reaction_ms(*frames.T), "ms"))
        if PEER.exists():
            peers = {fps: lerobot(args.seconds, figures["model_p50_ms"], fps) for fps in (30, 100)}
            paths = {fps: np.diff(p, axis=1)[:, 0] * 1e3 - figures["model_p50_ms"] for fps, p in peers.items()}
            best = min(paths, key=lambda fps: float(np.median(paths[fps])))
            p50, p99 = (float(q) for q in np.percentile(paths[best], (50, 99)))
            times = p50 / figures["camera_to_command_less_model_p50_ms"]
            results += [
                Result("lerobot_fps", best),
                Result("lerobot_camera_to_command_less_model_p50_ms", p50, "ms"),
                Result("lerobot_camera_to_command_less_model_p99_ms", p99, "ms"),
                Result("times_lower_than_lerobot", times, "", f">= {TIMES_LOWER:g}", times >= TIMES_LOWER),
                Result("lerobot_reaction_mean_ms", reaction_ms(*peers[best].T), "ms"),
            ]
            raw |= {f"lerobot_{fps}_fps_less_model_ms": percentiles(path) for fps, path in paths.items()}
        else:
            results.append(Result("times_lower_than_lerobot", "not measured: there is no .venv-peers"))
        goals = {"goals": f"p50 <= {P50_MS:g} ms, p99 <= {P99_MS:g} ms", "load_average_1_min": os.getloadavg()[0]}
        return Report("python bench/latency.py", results, {**goals, "raw": raw}).conclude(args.out / "latency.json")
    except F1Error as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
