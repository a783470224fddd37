"""Random and adversarial chunks through chunk, timeline and limiter: no limit broken, every refusal named; throughput.

    python bench/limits.py [--chunks 1000000] [--out DIR]

Each chunk is offered to a `Controller` in POLICY as the action node does, and some ticks are run, with an arm that
lags behind, is blocked now and then, and never decelerates harder than its limits. Every command is held against every
limit. A batch of 1000 chunks has one controller; batches are spread over the processors.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f1_ros.cli.report import Report, Result
from f1_ros.control.arbiter import Mode
from f1_ros.control.chunk import ActionChunk
from f1_ros.control.command import Command
from f1_ros.control.controller import Controller
from f1_ros.control.limits import JointLimits, Limiter
from f1_ros.control.workspace import Workspace
from f1_ros.errors import ChunkError
from f1_ros.robots.profile import RobotProfile, load_profile

Array = NDArray[np.float64]

HERE = Path(__file__).parent
BATCH = 1000
TICK_S, TICK_NS = 0.01, 10_000_000
STEP_NS = 50_000_000
LAG_S = 0.1
MOST = 1e-9
"""A command may be this far outside a limit, relative to it: rounding."""

FRANKA = load_profile("franka_fr3")
BOX = Workspace((0.2, -0.4, 0.05), (0.6, 0.4, 0.9))
PROFILES: dict[str, RobotProfile] = {
    "franka": FRANKA,
    "franka at scale 0.2 and a low jerk": replace(
        FRANKA,
        scale=0.2,
        arms=(replace(FRANKA.arms[0], joints=tuple(replace(j, jerk=500.0) for j in FRANKA.arms[0].joints)),),
    ),
    "franka in a workspace": replace(FRANKA, arms=(replace(FRANKA.arms[0], workspace=BOX),)),
}
"""Batches take turns with these."""

READY = np.array([*FRANKA.ready, 0.08])


# -- chunks -----------------------------------------------------------------------------------------------------------


def smooth(rng: np.random.Generator, now: Array) -> dict[str, Any]:
    """A plan as a policy makes it."""
    t = np.linspace(0.0, 1.0, 16)[:, None]
    return {"positions": now + t * rng.normal(size=8) * 0.3 + np.sin(6.0 * t) * rng.normal(size=8) * 0.1}


def anywhere(rng: np.random.Generator, now: Array) -> dict[str, Any]:
    """Steps that have nothing to do with each other, up to the edge of what is taken."""
    limits, reach = FRANKA.limits, rng.choice([0.1, 0.5, 1.0])
    low, high = np.array([*limits.lower, 0.0]) - 0.49, np.array([*limits.upper, 0.08]) + 0.49
    return {"positions": READY + reach * (rng.uniform(low, high, (int(rng.integers(1, 40)), 8)) - READY)}


def extremes(rng: np.random.Generator, now: Array) -> dict[str, Any]:
    """From one position limit to the other and back, in every step."""
    limits = FRANKA.limits
    ends = np.array([[*limits.lower, 0.0], [*limits.upper, 0.08]])
    return {"positions": np.tile(ends, (8, 1)) if rng.random() < 0.5 else np.tile(ends[::-1], (8, 1))}


def jump(rng: np.random.Generator, now: Array) -> dict[str, Any]:
    """A step in the middle of a plan."""
    positions = np.tile(now, (16, 1))
    positions[int(rng.integers(1, 16)) :] += rng.normal(size=8)
    return {"positions": positions}


def denormal(rng: np.random.Generator, now: Array) -> dict[str, Any]:
    """Numbers and differences too small to be normal."""
    return {"positions": now * (rng.random() < 0.5) + np.array([5e-324, -5e-324] * 8)[:, None] * np.ones(8)}


def huge(rng: np.random.Generator, now: Array) -> dict[str, Any]:
    """Finite, and far outside of everything."""
    return {"positions": np.tile(now, (16, 1)) + rng.choice([1e3, 1e20, 1.7e308]) * rng.uniform(-1.0, 1.0, 8)}


def not_finite(rng: np.random.Generator, now: Array) -> dict[str, Any]:
    """One NaN or infinity somewhere."""
    positions = np.tile(now, (16, 1))
    positions[int(rng.integers(16)), int(rng.integers(8))] = rng.choice([np.nan, np.inf, -np.inf])
    return {"positions": positions}


def wrong_shape(rng: np.random.Generator, now: Array) -> dict[str, Any]:
    """No step, a column too few or too many, or no table at all."""
    shapes = [(0, 8), (16, 7), (16, 9), (16, 0), (128,), (2, 8, 8)]
    return {"positions": np.zeros(shapes[int(rng.integers(len(shapes)))])}


def odd_period(rng: np.random.Generator, now: Array) -> dict[str, Any]:
    """A plan in a nanosecond or for three centuries, or with a period that cannot be."""
    return smooth(rng, now) | {"step_ns": int(rng.choice([-1, 0, 1, 1000, 10_000_000, 10**12, 2**62]))}


def odd_time(rng: np.random.Generator, now: Array) -> dict[str, Any]:
    """From the past or the future, by a little or a lot."""
    shift = int(rng.choice([-1, 1])) * int(rng.choice([10**6, 10**8, 10**9, 10**12, 10**18]))
    return smooth(rng, now) | {"shift_ns": shift}


def foreign(rng: np.random.Generator, now: Array) -> dict[str, Any]:
    """For another robot, or its columns in another order."""
    if rng.random() < 0.5:
        return smooth(rng, now) | {"robot": "arx"}
    return smooth(rng, now) | {"joint_names": tuple(rng.permutation(FRANKA.action_names).tolist())}


KINDS: tuple[Callable[[np.random.Generator, Array], dict[str, Any]], ...] = (
    smooth, smooth, smooth, anywhere, anywhere, anywhere, extremes, extremes, jump, jump, denormal, denormal, huge,
    not_finite, wrong_shape, odd_period, odd_time, foreign,
)  # fmt: skip


# -- a batch ----------------------------------------------------------------------------------------------------------


@dataclass
class Arm:
    """Follows with a lag, unless it is blocked; no faster than its limits, and it gains and loses speed within them."""

    position: Array
    velocity: Array = field(default_factory=lambda: np.zeros(7))
    blocked: bool = False

    def follow(self, command: Array, limits: JointLimits) -> None:
        """Move for one tick."""
        wanted = np.zeros(7) if self.blocked else (command - self.position) / LAG_S
        fastest, most = np.array(limits.velocity), np.array(limits.acceleration) * TICK_S
        before = self.velocity
        self.velocity = np.clip(before + np.clip(wanted - before, -most, most), -fastest, fastest)
        moved = self.position + 0.5 * (before + self.velocity) * TICK_S
        # It has stops at its position limits: one that is found outside may be commanded there, see test_limits.
        self.position = np.clip(moved, limits.lower, limits.upper)
        self.velocity = np.where(self.position == moved, self.velocity, 0.0)


@dataclass
class Tally:
    """What came of a batch: counts by name, and how far outside each limit the worst command was, relative to it."""

    counts: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def note(self, limit: str, excess: float) -> None:
        """Note by how much a command is outside a limit; negative is inside."""
        self.worst[limit] = max(self.worst.get(limit, -np.inf), excess)
        self.counts["violations"] += excess > MOST

    def add(self, other: Tally) -> None:
        """Add what came of another batch."""
        self.counts += other.counts
        self.seconds += other.seconds
        for limit, excess in other.worst.items():
            self.worst[limit] = max(self.worst.get(limit, -np.inf), excess)


class Check:
    """Holds each command against every limit, and against the commands before it."""

    def __init__(self, profile: RobotProfile, tally: Tally) -> None:
        """For commands of a profile."""
        limits = profile.limits
        self._profile, self._tally = profile, tally
        self._lower, self._upper = np.array(limits.lower), np.array(limits.upper)
        self._rates = {n: np.array(getattr(limits, n)) for n in ("velocity", "acceleration", "jerk")}
        self._workspaces = profile.workspaces
        self.begin()

    def begin(self) -> None:
        """Forget the commands before: the next one starts from the measured arm."""
        self._before: list[Command] = []

    def __call__(self, command: Command, measured: Array) -> None:
        """Judge a command.

        The rates are what a joint must have had on average in the tick to get from one command to the next.
        """
        p, before, note = command.position, self._before, self._tally.note
        note("position", float((np.maximum(self._lower - p, p - self._upper) / (self._upper - self._lower)).max()))
        found = {"velocity": [command.velocity], "acceleration": [], "jerk": []}
        if before:
            found["velocity"].append((p - before[-1].position) / TICK_S)
            found["acceleration"].append((command.velocity - before[-1].velocity) / TICK_S)
        if len(before) > 1:
            change = command.velocity - 2.0 * before[-1].velocity + before[-2].velocity
            found["jerk"].append(change / TICK_S**2)
        for name, values in found.items():
            for value in values:
                note(name, float((np.abs(value) / self._rates[name]).max()) - 1.0)
        for workspace in self._workspaces:
            box, points = workspace.box, workspace.points(p[workspace.joints])
            side = np.array(box.upper) - np.array(box.lower)
            note("workspace", float((np.maximum(box.lower - points, points - box.upper) / side).max()))
        note("distance_to_measured", float(np.abs(p - measured).max()) / self._profile.max_tracking_error - 1.0)
        self._before = [*before[-1:], command]


def run_batch(seed: int, chunks: int) -> Tally:
    """Offer `chunks` chunks to one controller; the same seed gives the same."""
    rng, tally = np.random.default_rng(seed), Tally()
    profile = list(PROFILES.values())[seed % len(PROFILES)]
    limits, check = profile.limits, Check(profile, tally)
    controller, arm, now_ns = Controller(profile), Arm(np.array(profile.ready)), 10**18
    began = time.process_time()

    def tick() -> None:
        nonlocal now_ns
        now_ns += TICK_NS
        positions, velocities = arm.position.tolist(), arm.velocity.tolist()
        controller.on_joint_state(profile.joints, positions, velocities, now_ns, now_ns)
        measured, command = arm.position, controller.tick(now_ns)
        if command is not None:
            check(command, measured)
            arm.follow(command.position, limits)

    def offer(made: dict[str, Any]) -> None:
        stamp_ns = now_ns - int(rng.integers(0, 40_000_000)) + made.pop("shift_ns", 0)
        values = {
            "robot": profile.embodiment,
            "stamp_ns": stamp_ns,
            "step_ns": STEP_NS,
            "joint_names": profile.action_names,
        }
        values |= {"start_ns": stamp_ns + int(rng.integers(0, 100_000_000))} | made
        try:
            chunk = ActionChunk(**values)
        except ChunkError as error:
            controller.on_invalid_command(Mode.POLICY, error.problem)
            return
        controller.on_chunk(chunk, now_ns)

    def start() -> None:
        """Back to POLICY, as a person would ask for it."""
        arm.blocked = False
        for _ in range(300):
            if controller.mode is Mode.FAULT:
                before = controller.commanded
                controller.request_mode(Mode.HOLD, now_ns)
                if before is not None and (controller.commanded != before).any():
                    check.begin()  # it starts from the measured arm, and says so: see Controller._entered
                    tally.counts["starts_from_measured"] += 1
            if controller.mode is Mode.HOLD:
                offer({"positions": np.tile([*arm.position, 0.08], (16, 1))})
                controller.request_mode(Mode.POLICY, now_ns)
            if controller.mode is Mode.POLICY:
                return
            tick()
        tally.counts["stuck"] += 1

    for _ in range(3):
        tick()
    for _ in range(chunks):
        start()
        kind = KINDS[int(rng.integers(len(KINDS)))]
        offer(kind(rng, np.array([*arm.position, 0.08])))
        tally.counts["offered"] += 1
        if rng.random() < 0.03:
            arm.blocked = not arm.blocked
        for _ in range(int(rng.integers(1, 6) if rng.random() < 0.95 else rng.integers(30, 90))):
            tick()
    tally.seconds = time.process_time() - began
    counters = controller.counters
    tally.counts.update({name: n for name, n in counters.items() if n})
    tally.counts["unnamed"] += tally.counts["offered"] - counters["chunks"] - counters["rejected"]
    return tally


def ticks_a_second(joints: int, ticks: int) -> float:
    """Throughput of the limiter alone with random targets; CPU time."""
    repeat = -(-joints // 7)
    columns = [
        (getattr(FRANKA.limits, n) * repeat)[:joints] for n in ("lower", "upper", "velocity", "acceleration", "jerk")
    ]
    limiter, rng = Limiter(JointLimits(*columns), TICK_S, FRANKA.lead), np.random.default_rng(0)
    start = np.array((FRANKA.ready * repeat)[:joints])
    limiter.reset(start)
    targets, still = start + rng.normal(size=(ticks // 20 + 1, joints)) * 0.3, np.zeros(joints)
    began = time.process_time()
    for k in range(ticks):
        limiter.step(targets[k // 20], still, (limiter.position, still))
    return ticks / (time.process_time() - began)


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=1_000_000, help="chunks in all (default 1000000)")
    parser.add_argument("--seed", type=int, default=0, help="number of the first batch (default 0)")
    parser.add_argument("--ticks", type=int, default=20_000, help="ticks of the timed limiter (default 20000)")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    workers = len(os.sched_getaffinity(0))
    conditions: dict[str, Any] = {"load_average_before": os.getloadavg()[0], "processes": workers}
    speeds = {joints: ticks_a_second(joints, args.ticks) for joints in (7, 16)}
    batches, tally = max(1, args.chunks // BATCH), Tally()
    with ProcessPoolExecutor(workers) as pool:
        for done in pool.map(partial(run_batch, chunks=BATCH), range(args.seed, args.seed + batches)):
            tally.add(done)
    counts = tally.counts
    results = [
        Result("chunks", counts["offered"], "", ">= 1000000", counts["offered"] >= 1_000_000),
        Result("commands", counts["ticks"]),
        Result("outside_a_limit", counts["violations"], "", "0", counts["violations"] == 0),
    ]
    for limit, excess in tally.worst.items():
        results.append(Result(f"worst_{limit}", excess, "of the limit", "<= 1e-9", excess <= MOST))
    results += [
        Result("accepted", counts["chunks"]),
        Result("rejected", counts["rejected"]),
        Result("neither_accepted_nor_named", counts["unnamed"], "", "0", counts["unnamed"] == 0),
        Result("recoveries_that_failed", counts["stuck"], "", "0", counts["stuck"] == 0),
        *(Result(name, n) for name, n in sorted(counts.items()) if name.startswith(("rejected_", "fault_", "limited"))),
        Result("starts_from_measured", counts["starts_from_measured"]),
        Result("chunks_a_second", counts["offered"] / tally.seconds, "1/s of one processor"),
        *(Result(f"limiter_ticks_a_second_{joints}", rate, "1/s") for joints, rate in speeds.items()),
    ]
    details = {"conditions": conditions, "profiles": list(PROFILES), "seconds": tally.seconds}
    return Report("make bench", results, details).conclude(args.out / "limits.json")


if __name__ == "__main__":
    raise SystemExit(main())
