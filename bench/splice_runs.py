"""Randomised runs of chunks for bench/splices.py. Needs numpy alone: the peers' process draws the same ones.

A run is some seconds of an arm that follows chunks: a smooth motion of seven joints, and chunks that predict it. Each
starts from where the arm lags behind its command, is off by an error of its own, and is late by a latency with a heavy
tail. Some are lost, come twice, or are held back and come in a burst or out of order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
JOINTS = 7
SECONDS = 5.0
NS = 1_000_000_000


@dataclass(frozen=True)
class Run:
    """What happens in one run.

    Attributes:
        rate_hz: control rate.
        phase_s: first tick of a consumer that has a rate of its own, s.
        step_ns: step period of the chunks, ns.
        stamps_ns: (chunks,) when each was observed, ns; its first step is due one step later.
        positions: (chunks, steps, joints) rad.
        arrivals: (when, which chunk) in the order of arrival, ns.
    """

    rate_hz: float
    phase_s: float
    step_ns: int
    stamps_ns: NDArray[np.int64]
    positions: Array
    arrivals: list[tuple[int, int]]

    @cached_property
    def largest(self) -> Array:
        """(chunks,) largest change of any joint from one step of a chunk to the next, rad."""
        largest: Array = np.abs(np.diff(self.positions, axis=1)).max(axis=(1, 2))
        return largest

    @property
    def checksum(self) -> float:
        """Tells two runs apart."""
        return float(self.positions.sum() + sum(when / NS for when, _ in self.arrivals))

    def end_ns(self, chunk: int) -> int:
        """When the last step of a chunk is due, ns."""
        return int(self.stamps_ns[chunk]) + self.positions.shape[1] * self.step_ns

    def wanted(self, chunk: int, now_ns: int) -> Array:
        """Where a chunk wants the arm, linear between its steps, constant before and after them."""
        steps = self.positions[chunk]
        at = min(max((now_ns - int(self.stamps_ns[chunk])) / self.step_ns - 1.0, 0.0), len(steps) - 1.0)
        i = min(int(at), len(steps) - 2)
        found: Array = steps[i] + (at - i) * (steps[i + 1] - steps[i])
        return found


def draw_run(seed: int) -> Run:
    """Draw a run."""
    g = np.random.default_rng(seed)
    step_s, steps = float(g.uniform(0.02, 0.1)), int(g.integers(8, 51))
    median_s = g.uniform(0.02, min(0.25, 0.4 * steps * step_s))
    stamps, arrivals = _deliveries(g, median_s)
    amplitude, omega = g.uniform(0.05, 0.3, (3, JOINTS)), 2 * np.pi * g.uniform(0.05, 0.5, (3, JOINTS))
    phase = g.uniform(0, 2 * np.pi, (3, JOINTS))
    ahead = step_s * np.arange(1, steps + 1)
    angle = omega * (stamps[:, None, None, None] + ahead[:, None, None]) + phase
    positions = (amplitude * np.sin(angle)).sum(axis=2)
    # The observed arm is behind its command, and a plan leads from there to where the command would have gone.
    velocity = (amplitude * omega * np.cos(omega * stamps[:, None, None] + phase)).sum(axis=1)
    lag_s = g.uniform(0.0, 0.12)
    positions -= lag_s * velocity[:, None, :] * np.exp(-ahead / 0.3)[:, None]
    # Chunks disagree: over a run of the shipped policy on the belt by 0.03 rad in the median, by 0.2 rad in one of ten.
    scale = 0.0 if g.uniform() < 0.2 else 10 ** g.uniform(-2.5, -1.5)
    size = np.minimum(scale * g.lognormal(0.0, 1.48, len(stamps)), 0.6)
    towards = g.normal(size=(len(stamps), JOINTS))
    error = size[:, None] * towards / np.abs(towards).max(axis=1, keepdims=True)
    drift = g.normal(0, 0.05 * g.uniform(), (len(stamps), JOINTS))
    positions += error[:, None, :] + drift[:, None, :] * (1 - np.exp(-ahead / 0.5))[:, None]
    return Run(
        rate_hz=float(g.choice([50, 100, 200, 250, 500])),
        phase_s=float(g.uniform(0, step_s)),
        step_ns=round(step_s * NS),
        stamps_ns=np.round(stamps * NS).astype(np.int64),
        positions=positions,
        arrivals=arrivals,
    )


def _deliveries(g: np.random.Generator, median_s: float) -> tuple[Array, list[tuple[int, int]]]:
    stamps, arrivals, held = list[float](), list[tuple[float, int]](), list[int]()
    stamp_s = 0.0
    while stamp_s < SECONDS:
        latency_s = median_s * g.lognormal(0.0, 0.4) * (5.0 if g.uniform() < 0.03 else 1.0)
        chunk, fate, arrives_s = len(stamps), g.uniform(), stamp_s + latency_s
        stamps.append(stamp_s)
        if fate < 0.04:
            held.append(chunk)  # goes out in a burst with the next that is neither held nor lost
        elif fate > 0.07:  # between them: lost
            arrivals += [(arrives_s, c) for c in (*held, chunk)]
            held = []
            if fate > 0.97:
                arrivals.append((arrives_s + g.uniform(0, 0.1), chunk))
            elif fate > 0.94:
                arrivals[-1] = (arrives_s + g.uniform(0, 3.0) * median_s, chunk)
        stamp_s += max(latency_s, 1 / 30)
    arrivals.sort(key=lambda arrival: arrival[0])
    return np.array(stamps), [(round(when * NS), chunk) for when, chunk in arrivals]
