"""Splices between chunks in randomised runs: our timeline, a naive switch, lerobot's ActionQueue, on the same chunks.

    python bench/splices.py [--runs 10000] [--peers PYTHON] [--out DIR]

bench/splice_runs.py says what a run is. What counts is the largest step between two commands anywhere in a run, over
the largest one inside the chunks that were taken: from one command to the next as that strategy makes them of one chunk
alone. The timeline interpolates at the control rate, so its steps are the chunks' own, shared out over the ticks; the
naive switch holds each step of the newest chunk until the next is due; the queue gives an action a step period.
The timeline also gets what it has to refuse: chunks for another robot, with another step period, from before a switch.

Without the environment of `make bench-peers` the queue is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from splice_runs import JOINTS, NS, SECONDS, Run, draw_run

from f1_ros.cli.report import Report, Result
from f1_ros.control.chunk import ActionChunk
from f1_ros.control.controller import BLEND_ACCELERATION
from f1_ros.control.timeline import ChunkTimeline, PushOutcome
from f1_ros.robots.profile import load_profile

mpl.use("Agg")
from matplotlib import pyplot as plt

Array = NDArray[np.float64]
HERE = Path(__file__).parent
PEERS = HERE.parent / os.environ.get("PEERS_VENV", ".venv-peers") / "bin" / "python"
NAMES = tuple(f"j{i}" for i in range(JOINTS))
GOAL = 1.1
EXAMPLE = 0  # the run of the plot


@dataclass(frozen=True)
class Outcome:
    """What one strategy made of one run.

    Attributes:
        ratio: largest step between two commands over the largest inside the chunks that were taken.
        gaps: ticks without a command, or with one past the plan's end, though a valid chunk was there.
        distance: root mean square distance from where the newest chunk wants the arm, rad.
        trace: (time s, position of the first joint rad) of each command.
    """

    ratio: float
    gaps: int
    distance: float
    trace: tuple[tuple[float, float], ...] = ()


class Naive:
    """Switches to a newer chunk at once, and holds each step until the next is due."""

    def __init__(self, run: Run) -> None:
        self._run, self._chunk = run, -1

    def push(self, chunk: int, now_ns: int) -> bool:
        """Take a chunk; whether it was usable."""
        newer = self._chunk < 0 or self._run.stamps_ns[chunk] > self._run.stamps_ns[self._chunk]
        if not newer or self._run.end_ns(chunk) < now_ns:
            return False
        self._chunk = chunk
        return True

    def sample(self, now_ns: int) -> tuple[Array, bool] | None:
        """Where the arm is to be, and whether the chunk is at its end."""
        if self._chunk < 0:
            return None
        steps, run = self._run.positions[self._chunk], self._run
        due = (now_ns - int(run.stamps_ns[self._chunk])) // run.step_ns - 1
        return steps[min(max(due, 0), len(steps) - 1)], now_ns > run.end_ns(self._chunk)

    def inside(self, chunk: int) -> float:
        """The largest step inside a chunk, rad."""
        return float(self._run.largest[chunk])


class Ours:
    """The chunk timeline as the controller of a Franka has it; its limiter comes after that and is not in here."""

    def __init__(self, run: Run) -> None:
        self._run, self._strays = run, 0
        self._timeline = ChunkTimeline(
            "bench", NAMES, blend_acceleration=BLEND_ACCELERATION * min(FRANKA.limits.acceleration)
        )
        self._timeline.clear(epoch_ns=0)

    def push(self, chunk: int, now_ns: int) -> bool:
        """Take a chunk; whether it was usable. After each comes one that is not."""
        stamp_ns, step_ns = int(self._run.stamps_ns[chunk]), self._run.step_ns
        made = ActionChunk("bench", stamp_ns, stamp_ns + step_ns, step_ns, NAMES, self._run.positions[chunk])
        taken = self._timeline.push(made, now_ns) is PushOutcome.ACCEPTED
        self._strays += 1
        robot = "other" if self._strays % 3 == 0 else "bench"
        other_ns = step_ns + (self._strays % 3 == 1) * step_ns
        before_ns = -1 if self._strays % 3 == 2 else now_ns
        stray = ActionChunk(robot, before_ns, now_ns, other_ns, NAMES, self._run.positions[0] + 1.0)
        if self._timeline.stamp_ns is not None and self._timeline.push(stray, now_ns) is PushOutcome.ACCEPTED:
            raise RuntimeError(f"The timeline has taken a chunk that it must refuse: {stray}")
        return taken

    def sample(self, now_ns: int) -> tuple[Array, bool] | None:
        """Where the arm is to be, and whether the plan is at its end."""
        sample = self._timeline.sample(now_ns)
        return None if sample is None else (sample.position, sample.exhausted)

    def inside(self, chunk: int) -> float:
        """The largest step inside a chunk, rad."""
        return float(self._run.largest[chunk]) * NS / self._run.step_ns / self._run.rate_hz


FRANKA = load_profile("franka_fr3")
STRATEGIES: dict[str, Callable[[Run], Ours | Naive]] = {"timeline": Ours, "naive_switch": Naive}
QUEUE = "action_queue"


def play(run: Run, strategy: Naive | Ours) -> Outcome:
    """Play a run at its control rate."""
    arrivals, newest, valid_until_ns = list(reversed(run.arrivals)), -1, -1
    before: Array | None = None
    largest = inside = 0.0
    gaps, squares, trace = 0, list[float](), list[tuple[float, float]]()
    for tick in range(round(SECONDS * run.rate_hz)):
        now_ns = round(tick * NS / run.rate_hz)
        while arrivals and arrivals[-1][0] <= now_ns:
            _, chunk = arrivals.pop()
            valid_until_ns = max(valid_until_ns, run.end_ns(chunk))
            if strategy.push(chunk, now_ns):
                newest, inside = chunk, max(inside, strategy.inside(chunk))
        sample = strategy.sample(now_ns)
        gaps += (sample is None or sample[1]) and now_ns <= valid_until_ns
        if sample is None:
            continue
        position = sample[0]
        if before is not None:
            largest = max(largest, float(np.abs(position - before).max()))
        squares.append(float(np.square(position - run.wanted(newest, now_ns)).mean()))
        trace.append((now_ns / NS, float(position[0])))
        before = position
    ratio = largest / inside if inside else 0.0
    return Outcome(ratio, gaps, float(np.sqrt(np.mean(squares or [0.0]))), tuple(trace))


def play_seed(seed: int, *, keep_trace: bool = False) -> tuple[float, dict[str, Outcome]]:
    """Both of ours on one run, and the run's checksum."""
    run = draw_run(seed)
    outcomes = {name: play(run, make(run)) for name, make in STRATEGIES.items()}
    if not keep_trace:
        outcomes = {name: Outcome(o.ratio, o.gaps, o.distance) for name, o in outcomes.items()}
    return run.checksum, outcomes


def ask_queue(python: Path, asked: list[dict[str, object]], processes: int) -> Iterator[Outcome]:
    """The queue's outcomes, in the order of the questions, from processes in the peers' environment."""
    with TemporaryDirectory() as folder:
        running = []
        for i in range(processes):
            questions, answers = Path(folder, f"{i}.in"), Path(folder, f"{i}.out")
            questions.write_text("".join(json.dumps(line) + "\n" for line in asked[i::processes]), encoding="utf-8")
            with questions.open() as stdin, answers.open("w") as stdout:
                command = [str(python), str(HERE / "action_queue.py")]
                running.append((subprocess.Popen(command, stdin=stdin, stdout=stdout), answers))
        found: dict[int, Outcome] = {}
        for process, answers in running:
            if process.wait():
                raise SystemExit(f"{python} bench/action_queue.py ended with {process.returncode}: see above.")
            for line in answers.read_text(encoding="utf-8").splitlines():
                answer = json.loads(line)
                trace = tuple((when, position) for when, position in answer.get("trace", ()))
                found[answer["seed"]] = Outcome(answer["ratio"], answer["gaps"], answer["distance"], trace)
    return (found[int(str(line["seed"]))] for line in asked)


def figures(name: str, outcomes: list[Outcome]) -> list[Result]:
    """The figures of one strategy; the goals are the timeline's."""
    ratios = np.array([outcome.ratio for outcome in outcomes])
    above, gaps = int((ratios > GOAL).sum()), sum(outcome.gaps for outcome in outcomes)
    ours, worst = name == "timeline", float(ratios.max())
    p50, p99 = (float(value) for value in np.percentile(ratios, (50, 99)))
    return [
        Result(f"{name}_step_max", worst, "", f"<= {GOAL}" if ours else None, not ours or worst <= GOAL),
        Result(f"{name}_step_p99", p99),
        Result(f"{name}_step_p50", p50),
        Result(f"{name}_runs_above_{GOAL}", above),
        Result(f"{name}_gap_ticks", gaps, "", "0" if ours else None, not ours or gaps == 0),
        Result(f"{name}_distance_rms", float(np.mean([outcome.distance for outcome in outcomes])), "rad"),
    ]


def draw_plot(path: Path, outcomes: dict[str, list[Outcome]], example: dict[str, Outcome]) -> None:
    """Left a stretch of one run, right the ratios of all runs in order."""
    label = {"timeline": "timeline", "naive_switch": "naive switch", QUEUE: "lerobot ActionQueue"}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for name in reversed(list(outcomes)):
        trace = np.array([(t, p) for t, p in example[name].trace if 1.0 <= t <= 3.0])
        left.step(trace[:, 0], trace[:, 1], where="post", label=label[name], linewidth=2 if name == "timeline" else 1)
        ratios = np.sort([outcome.ratio for outcome in outcomes[name]])
        right.semilogy(100 * np.arange(1, len(ratios) + 1) / len(ratios), ratios, label=label[name])
    left.set(xlabel="time (s)", ylabel="command of one joint (rad)", title="Two seconds of one run")
    right.axhline(GOAL, color="black", linestyle=":", linewidth=1, label=f"goal {GOAL}")
    right.set(xlabel="runs (%)", ylabel="largest step / largest inside chunks", title="All runs, in order")
    left.legend()
    right.legend()
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help=f"randomised runs, {SECONDS:g} s each (default 10000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peers", type=Path, default=PEERS, metavar="PYTHON", help="of `make bench-peers`")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    seeds = range(args.runs)
    with ProcessPoolExecutor(args.processes) as pool:
        played = list(pool.map(play_seed, seeds, chunksize=16))
    outcomes = {name: [found[name] for _, found in played] for name in STRATEGIES}
    _, example = play_seed(EXAMPLE, keep_trace=True)
    if args.peers.exists():
        asked: list[dict[str, object]] = [
            {"seed": seed, "checksum": checksum, "trace": seed == EXAMPLE}
            for seed, (checksum, _) in zip(seeds, played, strict=True)
        ]
        outcomes[QUEUE] = list(ask_queue(args.peers, asked, args.processes))
        example[QUEUE] = outcomes[QUEUE][EXAMPLE]
    else:
        print(f"{args.peers} is not there: without lerobot's queue. `make bench-peers` installs it.", file=sys.stderr)
    results = [result for name, found in outcomes.items() for result in figures(name, found)]
    quantile = partial(np.percentile, q=np.arange(101))
    curves = {name: quantile([o.ratio for o in found]).round(4) for name, found in outcomes.items()}
    details = {"conditions": {"runs": args.runs, "seconds_a_run": SECONDS}, "ratio_percentiles": curves}
    args.out.mkdir(parents=True, exist_ok=True)
    draw_plot(args.out / "splices.png", outcomes, example)
    return Report("make bench", results, details).conclude(args.out / "splices.json")


if __name__ == "__main__":
    raise SystemExit(main())
