"""What an evaluation in the belt world found: of each episode, and over all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from f1_ros.sim.measures import Failure, TaskFailure, wilson_interval

BANDS = 4


@dataclass(frozen=True)
class Reversal:
    """An episode run again with the belt turned round during the approach.

    Attributes:
        at_s: when it was, from the policy's first tick, s.
        grasped: the fingers were closing by then, so that there was nothing left to react to: it does not count.
        reaction_s: from the reversal to the first command that differs from the run without it by more than 1 mrad in a
            joint, s; None if none does.
        picked: the cube was picked after the reversal.
    """

    at_s: float
    grasped: bool
    reaction_s: float | None
    picked: bool


@dataclass(frozen=True)
class Stream:
    """Cubes, or a twin's tasks, that came one after the other.

    Attributes:
        seconds: how long, s.
        picked: cubes lifted; in task "colour" those that the instruction named. Of a twin tasks done to the last stage.
        binned: cubes that came into the bin, of those. Of a twin as `picked`.
        missed: cubes that left the reach or fell down, of those. Of a twin tasks that were lost or given up.
        wrong: cubes lifted that the instruction did not name.
        faults: how often the controller took the arm from the policy; it was given back at once.
    """

    seconds: float
    picked: int
    binned: int
    missed: int
    wrong: int
    faults: int


@dataclass(frozen=True)
class EpisodeResult:
    """One episode.

    Attributes:
        episode: number, from 0.
        belt_speed: m/s, signed; None in a world without a belt.
        picked: success: the cube is picked, or a twin's whole task is done. So `picked_step` and `time_to_pick_s`.
        picked_step: step of 50 ms at which it was, or None.
        time_to_pick_s: from the policy's first tick to the pick, as seen at steps of 50 ms, s; None without a pick.
        jerk_rms: `measures.rms_jerk` of the commands from the policy's first tick to the pick, or to the end without
            one, rad/s3.
        binned: the cube came into the bin afterwards.
        failure: why there was no success; None on success.
        latencies_ms: of each inference, ms.
        reversal: what happened with the belt turned round; None if that was not asked for.
        stream: the counts of a stream, whose `picked` says whether any was; None for a single task.
        stages: how many stages of a twin's task were done; None at the Franka's belt.
    """

    episode: int
    belt_speed: float | None
    picked: bool
    picked_step: int | None
    time_to_pick_s: float | None
    jerk_rms: float | None
    binned: bool
    failure: Failure | TaskFailure | None
    latencies_ms: list[float]
    reversal: Reversal | None = None
    stream: Stream | None = None
    stages: int | None = None


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
    def stages(self) -> list[float] | None:
        """Share of episodes in which each stage of a twin's task was done, in order; None at the Franka's belt."""
        done = [e.stages for e in self.episodes if e.stages is not None]
        return [sum(d >= s for d in done) / len(done) for s in range(1, max(done, default=0) + 1)] if done else None

    @property
    def time_to_pick_s(self) -> float | None:
        """Mean time to pick over the episodes with a pick, s; None without any."""
        return _mean([e.time_to_pick_s for e in self.episodes if e.picked])

    @property
    def jerk_rms(self) -> float | None:
        """Mean of `EpisodeResult.jerk_rms` over the episodes with a pick, rad/s3; None without any."""
        return _mean([e.jerk_rms for e in self.episodes if e.picked])

    @property
    def failures(self) -> dict[str, int]:
        """Reasons of failures with their counts, most frequent first."""
        return dict(Counter(e.failure for e in self.episodes if e.failure is not None).most_common())

    @property
    def latencies_ms(self) -> list[float]:
        """Every inference's latency, ms."""
        return [ms for e in self.episodes for ms in e.latencies_ms]

    @property
    def reversals(self) -> list[Reversal]:
        """The reversals that count: those before the grasp."""
        return [e.reversal for e in self.episodes if e.reversal is not None and not e.reversal.grasped]

    @property
    def reactions_s(self) -> list[float]:
        """Reaction time of each reversal that counts and that was reacted to, s."""
        return [r.reaction_s for r in self.reversals if r.reaction_s is not None]

    @property
    def streams(self) -> list[Stream]:
        """Each stream."""
        return [e.stream for e in self.episodes if e.stream is not None]

    @property
    def picks_a_minute(self) -> float:
        """Cubes lifted, or tasks done, in a minute, over all streams."""
        return sum(s.picked for s in self.streams) / sum(s.seconds for s in self.streams) * 60.0

    def bands(self, speed: tuple[float, float], count: int = BANDS) -> list[dict[str, float | int]]:
        """Picks by equal bands of belt speed (m/s)."""
        edges = np.linspace(speed[0], speed[1], count + 1) if speed[1] > speed[0] else np.array(speed)
        rows: list[dict[str, float | int]] = []
        for i in range(len(edges) - 1):
            last = i == len(edges) - 2
            inside = [
                e
                for e in self.episodes
                if e.belt_speed is not None
                and edges[i] <= abs(e.belt_speed)
                and (abs(e.belt_speed) < edges[i + 1] or (last or len(edges) == 2))
            ]
            rows.append(
                {"from": float(edges[i]), "to": float(edges[i + 1]), "episodes": len(inside),
                 "picked": sum(e.picked for e in inside)}
            )  # fmt: skip
        return rows


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
