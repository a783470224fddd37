"""What the demo and the benchmark write down while the system runs, and the figures that follow from it."""

from __future__ import annotations

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
class CubeCounts:
    """Cubes since the simulation's start: dropped onto the belt, picked, fallen into the bin, got away."""

    spawned: int = 0
    picked: int = 0
    binned: int = 0
    missed: int = 0


@dataclass
class Recording:
    """Everything seen, in order of arrival. One thread appends, others read.

    Attributes:
        joint_names: the arm's joints, order of `commanded` and `measured`.
        commanded: (stamp ns, (joints,) rad) of every command.
        measured: (stamp ns, (joints,) rad) of every joint state.
        frames: (stamp ns, (S, S, 3) uint8 RGB) of camera 0, preprocessed as the policy's history.
        foresights: (target stamp ns, (S, S, 3) uint8 RGB) of every decoded prediction.
        widths: (stamp ns, (grippers,) m) measured opening widths.
        cubes: (stamp ns, (7,) position m and quaternion w x y z in the base frame) while there is a cube.
        statuses: status messages of the action node.
        faults: (stamp ns, reason) whenever the action node went to FAULT.
        model_latencies: (stamp ns of its observation, latency s) of every action chunk.
        counted: (stamp ns, cube counts) whenever they changed.
        switch_ns: when the policy took over, ns on the ROS clock; None before.
        counts_at_switch: cube counts at that instant.
    """

    joint_names: tuple[str, ...] = ()
    commanded: list[tuple[int, Array]] = field(default_factory=list)
    measured: list[tuple[int, Array]] = field(default_factory=list)
    frames: list[tuple[int, Picture]] = field(default_factory=list)
    foresights: list[tuple[int, Picture]] = field(default_factory=list)
    widths: list[tuple[int, Array]] = field(default_factory=list)
    cubes: list[tuple[int, Array]] = field(default_factory=list)
    statuses: list[StatusSample] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)
    model_latencies: list[tuple[int, float]] = field(default_factory=list)
    counted: list[tuple[int, CubeCounts]] = field(default_factory=list)
    switch_ns: int | None = None
    counts_at_switch: CubeCounts = field(default_factory=CubeCounts)

    @property
    def counts(self) -> CubeCounts:
        """Newest cube counts."""
        return self.counted[-1][1] if self.counted else CubeCounts()

    @property
    def picked_by_teleop(self) -> int:
        """Cubes picked before the switch."""
        return self.counts.picked if self.switch_ns is None else self.counts_at_switch.picked

    @property
    def picked_by_policy(self) -> int:
        """Cubes picked since the switch."""
        return 0 if self.switch_ns is None else self.counts.picked - self.counts_at_switch.picked

    @property
    def missed_by_policy(self) -> int:
        """Cubes that got away since the switch."""
        return 0 if self.switch_ns is None else self.counts.missed - self.counts_at_switch.missed

    @property
    def ended_for_policy(self) -> int:
        """Cubes since the switch whose end is known: in the bin, or got away."""
        now, then = self.counts, self.counts_at_switch
        return 0 if self.switch_ns is None else now.binned + now.missed - then.binned - then.missed

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
    """The figures of a run, by the names that every report uses."""
    statuses = recording.statuses
    missed = statuses[-1].missed - statuses[0].missed if statuses else None
    windows = [s.period_error_p99_s * 1e3 for s in statuses if s.ticks > 0]
    picked_teleop, picked_policy = recording.picked_by_teleop, recording.picked_by_policy
    return [
        Result("cubes_policy", picked_policy, "cubes", ">= 1", picked_policy >= 1),
        Result("cubes_teleop", picked_teleop, "cubes", ">= 1", picked_teleop >= 1),
        Result("faults", len(recording.faults)),
        Result("ticks_missed", missed, "ticks", None),
        Result("period_error_p99_ms", max(windows, default=None), "ms", None),
        Result("camera_to_command_p50_ms", median(recording.camera_to_command_ms()), "ms", None),
        Result("model_latency_p50_ms", median(recording.model_latencies_ms()), "ms", None),
    ]


def median(values: list[float]) -> float | None:
    """Median, or None of nothing."""
    return float(np.median(values)) if values else None
