"""What the demo and the benchmark write down while the system runs, and the figures that follow from it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from f1_ros.cli.report import Result

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class StatusSample:
    """One status message of the action node.

    Attributes:
        time_ns: stamp on the ROS clock, ns.
        mode: "HOLD", "TELEOP", "POLICY", "CORRECTION" or "FAULT".
        source: what the last command came from.
        reason: why the arm is held; empty when it is not.
        period_s: control period asked for, s.
        period_error_p99_s: 99th percentile of |period error| over the last 10 s, s.
        ticks: control ticks since activation.
        missed: ticks left out because they were late, since activation.
        limited: ticks in which the limiter changed the command, since activation.
        camera_to_command_s: from the newest used observation's stamp to its first command, s; 0 if there is none.
    """

    time_ns: int
    mode: str
    source: str
    reason: str
    period_s: float
    period_error_p99_s: float
    ticks: int
    missed: int
    limited: int
    camera_to_command_s: float


@dataclass(frozen=True)
class Counts:
    """What a simulation counts of its robot's work since its start.

    Attributes:
        done: tasks done; at the belt, cubes picked.
        lost: tasks whose thing is out of reach; at the belt, cubes that got away.
        ended: tasks of which nothing more is to come; at the belt, cubes in the bin or away.
        stages: stages that are done of the present task; 0 at the belt.
        refused: commands that the robot did not follow.
    """

    done: int = 0
    lost: int = 0
    ended: int = 0
    stages: int = 0
    refused: int = 0

    def since(self, before: Counts) -> Counts:
        """What has been counted after `before`; stages are those of the present task."""
        return Counts(
            self.done - before.done,
            self.lost - before.lost,
            self.ended - before.ended,
            self.stages,
            self.refused - before.refused,
        )


@dataclass
class Recording:
    """Everything seen, in order of arrival. One thread appends, others read.

    Attributes:
        arms: names of each arm's joints; one arm after the other they are the order of `commanded` and `measured`.
        commanded: (stamp ns, (joints,) rad) of every command.
        measured: (stamp ns, (joints,) rad) of every joint state.
        frames: (stamp ns, (S, S, 3) uint8 RGB) of camera 0, preprocessed as the policy's history.
        pictures: (stamp ns, (H, W, 3) uint8 RGB) of camera 0 as policies see it, for the video: some 10 a second. None
            where the scene is drawn afterwards.
        foresights: (target stamp ns, (S, S, 3) uint8 RGB) of every decoded prediction.
        widths: (stamp ns, (grippers,) m) measured opening widths.
        cubes: (stamp ns, (7,) position m and quaternion w x y z in the base frame) while there is a cube.
        statuses: status messages of the action node.
        faults: (stamp ns, reason) whenever the action node went to FAULT.
        model_latencies: (stamp ns of its observation, latency s) of every action chunk.
        counted: (stamp ns, counts) whenever they changed.
        switch_ns: when the policy took over, ns on the ROS clock; None before.
        counts_at_switch: counts at that instant.
    """

    arms: tuple[tuple[str, ...], ...] = ()
    commanded: list[tuple[int, Array]] = field(default_factory=list)
    measured: list[tuple[int, Array]] = field(default_factory=list)
    frames: list[tuple[int, Picture]] = field(default_factory=list)
    pictures: list[tuple[int, Picture]] = field(default_factory=list)
    foresights: list[tuple[int, Picture]] = field(default_factory=list)
    widths: list[tuple[int, Array]] = field(default_factory=list)
    cubes: list[tuple[int, Array]] = field(default_factory=list)
    statuses: list[StatusSample] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)
    model_latencies: list[tuple[int, float]] = field(default_factory=list)
    counted: list[tuple[int, Counts]] = field(default_factory=list)
    switch_ns: int | None = None
    counts_at_switch: Counts = field(default_factory=Counts)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of all joints, arm after arm."""
        return tuple(name for arm in self.arms for name in arm)

    @property
    def counts(self) -> Counts:
        """Newest counts."""
        return self.counted[-1][1] if self.counted else Counts()

    @property
    def before_policy(self) -> Counts:
        """What was counted before the switch."""
        return self.counts if self.switch_ns is None else self.counts_at_switch

    @property
    def by_policy(self) -> Counts:
        """What has been counted since the switch; nothing before it."""
        return Counts() if self.switch_ns is None else self.counts.since(self.counts_at_switch)

    def counts_at(self, now_ns: int) -> Counts:
        """What had been counted at an instant: since the switch if it is later, since the start otherwise."""
        at = bisect_right([stamp for stamp, _ in self.counted], now_ns) - 1
        counts = self.counted[at][1] if at >= 0 else Counts()
        switched = self.switch_ns is not None and now_ns >= self.switch_ns
        return counts.since(self.counts_at_switch) if switched else counts

    def rate_hz(self) -> float:
        """Commands per second over the last second of status messages; NaN before there are two."""
        recent = [s for s in self.statuses[-11:] if s.time_ns >= self.statuses[-1].time_ns - 1_000_000_000]
        if len(recent) < 2 or recent[-1].time_ns == recent[0].time_ns:
            return float("nan")
        return (recent[-1].ticks - recent[0].ticks) / ((recent[-1].time_ns - recent[0].time_ns) * 1e-9)

    def since_switch(self) -> list[StatusSample]:
        """Status messages under the policy."""
        return [s for s in self.statuses if self.switch_ns is not None and s.time_ns >= self.switch_ns]

    def model_latencies_ms(self) -> list[float]:
        """Model latency of each action chunk under the policy, ms."""
        return [s * 1e3 for ns, s in self.model_latencies if self.switch_ns is not None and ns >= self.switch_ns]

    def camera_to_command_ms(self) -> list[float]:
        """Time from camera to command of each status message that has a new one, ms."""
        times = [s.camera_to_command_s * 1e3 for s in self.since_switch() if s.camera_to_command_s > 0]
        return [t for i, t in enumerate(times) if i == 0 or t != times[i - 1]]


def figures(recording: Recording) -> list[Result]:
    """The figures of a run that every robot has, by the names that every report uses."""
    statuses = recording.statuses
    missed = statuses[-1].missed - statuses[0].missed if statuses else None
    windows = [s.period_error_p99_s * 1e3 for s in statuses if s.ticks > 0]
    return [
        Result("faults", len(recording.faults)),
        Result("ticks_missed", missed, "ticks", None),
        Result("period_error_p99_ms", max(windows, default=None), "ms", None),
        Result("camera_to_command_p50_ms", median(recording.camera_to_command_ms()), "ms", None),
        Result("model_latency_p50_ms", median(recording.model_latencies_ms()), "ms", None),
    ]


def median(values: list[float]) -> float | None:
    """Median, or None of nothing."""
    return float(np.median(values)) if values else None
