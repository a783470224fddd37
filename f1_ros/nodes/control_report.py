"""What the control process says about itself: its status message, and its parts for /diagnostics."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
from f1_msgs.msg import ControlStatus
from std_msgs.msg import Header

from f1_ros.control.arbiter import Mode
from f1_ros.control.controller import Controller
from f1_ros.control.loop import RateLoop
from f1_ros.nodes.conversions import SECOND_NS, to_duration, to_time
from f1_ros.nodes.diagnostics import Level
from f1_ros.robots.profile import RobotProfile

Diagnosis: TypeAlias = tuple[str, Level, str, Mapping[str, object]]
"""Part, level, message, figures: the arguments of `Diagnostics.set`."""

Widths: TypeAlias = Mapping[str, tuple[float, int]]
"""Measured opening width (m) of each gripper heard of, and when it was heard, ns."""

SAID_S = 5.0
"""How long a single event (a clock set back, refused chunks) stays in the report, s, so that a person sees it."""

MISSED_PER_WATCH = 2
"""More missed ticks than this between two looks (0.5 s) are worth a warning."""


class ControlReport:
    """Reads controller and loop. Not thread-safe: call it under the lock that keeps the tick out."""

    def __init__(self, profile: RobotProfile, controller: Controller, loop: RateLoop) -> None:
        """Report on these."""
        self._profile = profile
        self._controller = controller
        self._loop = loop
        self._missed = self._resets = self._looked_ns = 0
        self._reset_s = self._refused_s = float("-inf")
        self._refused: dict[str, int] = {}
        self._refusals = ""

    def status(self, now_ns: int, widths: Widths, realtime: bool) -> ControlStatus:
        """Make the status message.

        Args:
            now_ns: time of the newest tick, ns on the ROS clock.
            widths: measured gripper widths.
            realtime: whether the loop runs under SCHED_FIFO.
        """
        controller, stats, counters = self._controller, self._loop.stats(), self._controller.counters
        mode, stamp_ns = controller.mode, controller.chunk_stamp_ns
        commanded, velocity = controller.commanded, controller.commanded_velocity
        none = np.full(len(self._profile.joints), np.nan)
        return ControlStatus(
            header=Header(stamp=to_time(now_ns), frame_id=self._profile.embodiment),
            mode=int(mode),
            mode_stamp=to_time(controller.mode_ns),
            mode_event=controller.mode_event,
            mode_changes=counters["mode_changes"],
            recent_modes=array("B", (int(recent) for recent, _ in controller.recent_modes)),
            recent_mode_stamps=[to_time(since_ns) for _, since_ns in controller.recent_modes],
            source=mode.source(self._profile.safe_action),
            reason=controller.reason,
            period=controller.period_ns / SECOND_NS,
            period_error_p50=stats.period_error_p50_s,
            period_error_p99=stats.period_error_p99_s,
            period_error_max=stats.period_error_max_s,
            realtime=realtime,
            ticks=stats.ticks,
            missed=stats.missed,
            late=stats.late,
            limited=counters["limited"],
            chunks=counters["chunks"],
            dropped=counters["dropped"],
            rejected=counters["rejected"],
            chunk_age=to_duration(-SECOND_NS if stamp_ns is None else now_ns - stamp_ns),
            camera_to_command=to_duration(controller.camera_to_command_ns),
            joint_names=list(self._profile.joints),
            commanded=array("d", none if commanded is None else commanded),
            velocity=array("d", none if velocity is None else velocity),
            measured=array("d", controller.measured),
            gripper_names=[gripper.name for gripper in self._profile.grippers],
            gripper_commanded=array("d", (_known(w) for w in controller.gripper_commanded.values())),
            gripper_commanded_stamps=[to_time(ns) for ns in controller.gripper_commanded_ns.values()],
            gripper_measured=array("d", (widths.get(g.name, (np.nan, 0))[0] for g in self._profile.grippers)),
        )

    def diagnoses(self, now_ns: int, widths: Widths) -> list[Diagnosis]:
        """Judge each part.

        Args:
            now_ns: time of the newest tick, ns on the ROS clock; 0 before the first.
            widths: measured gripper widths.
        """
        return [
            self._mode(),
            self._joint_state(),
            self._deadlines(now_ns),
            self._clock(now_ns),
            self._chunks(),
            *self._gripper_states(now_ns, widths),
        ]

    def _mode(self) -> Diagnosis:
        controller = self._controller
        counters = {name: n for name, n in controller.counters.items() if n}
        if controller.mode is Mode.FAULT:
            remedy = "Remove the cause, then ask for HOLD with set_mode."
            return "control", Level.ERROR, f"FAULT: {controller.reason}", {**counters, "remedy": remedy}
        if controller.commanded is None:
            remedy = "Start the robot's driver; check its joint state topics in the profile."
            return "control", Level.WARN, f"{controller.mode.name}: {controller.reason}", {**counters, "remedy": remedy}
        return "control", Level.OK, controller.mode.name, counters

    def _joint_state(self) -> Diagnosis:
        controller = self._controller
        unknown = [n for n, q in zip(self._profile.joints, controller.measured, strict=True) if not np.isfinite(q)]
        values: dict[str, object] = {"rejected": controller.counters["rejected_state"]}
        if unknown:
            values["remedy"] = "Start the arm's driver; compare its joint names with the profile's."
            return "joint state", Level.ERROR, f"No position of {', '.join(unknown)}.", values
        if controller.commanded is not None:
            values["distance from the command rad"] = float(np.abs(controller.measured - controller.commanded).max())
        return "joint state", Level.OK, "Every joint is known.", values

    def _deadlines(self, now_ns: int) -> Diagnosis:
        stats = self._loop.stats()
        missed, self._missed = stats.missed - self._missed, stats.missed
        values: dict[str, object] = {
            "ticks": stats.ticks,
            "missed": stats.missed,
            "late": stats.late,
            "period error p50 ms": stats.period_error_p50_s * 1e3,
            "period error p99 ms": stats.period_error_p99_s * 1e3,
            "period error p99.9 ms": stats.period_error_p999_s * 1e3,
        }
        if now_ns == 0:
            values["remedy"] = "Start the simulation, or set use_sim_time to false."
            return "deadlines", Level.WARN, "No tick yet: with use_sim_time, is anyone publishing /clock?", values
        if missed > MISSED_PER_WATCH:
            values["remedy"] = "Permit SCHED_FIFO (part scheduling), lower control_rate, or run inference elsewhere."
            return "deadlines", Level.WARN, "Ticks are being missed: the machine is too busy.", values
        return "deadlines", Level.OK, "Kept.", values

    def _clock(self, now_ns: int) -> Diagnosis:
        resets, stands = self._controller.counters["clock_resets"], now_ns and now_ns == self._looked_ns
        if resets > self._resets:
            self._reset_s = time.monotonic()
        self._resets, self._looked_ns = resets, now_ns
        values: dict[str, object] = {"resets": resets}
        if stands:
            values["remedy"] = "Let the simulation run on, or set use_sim_time to false."
            return "clock", Level.ERROR, "Stands still: no command goes out until it moves on.", values
        if time.monotonic() - self._reset_s < SAID_S:
            values["remedy"] = "Ask for a mode again; slew clocks, never step them."
            return "clock", Level.WARN, "Was set back: in HOLD from where the arm is.", values
        return "clock", Level.OK, "Moves on.", values

    def _chunks(self) -> Diagnosis:
        prefix = "rejected_chunk_"
        counts = {name: n for name, n in self._controller.counters.items() if name.startswith(prefix)}
        more = [name for name, n in counts.items() if n > self._refused.get(name, 0)]
        self._refused = counts
        if more:
            self._refused_s = time.monotonic()
            self._refusals = ", ".join(name.removeprefix(prefix).replace("_", " ") for name in more)
        values: dict[str, object] = {name: n for name, n in counts.items() if n}
        if time.monotonic() - self._refused_s < SAID_S:
            values["remedy"] = "Start one policy, the one that was trained for this robot, on this clock."
            return "chunks", Level.WARN, f"Refused: {self._refusals}.", values
        return "chunks", Level.OK, "None is refused.", values

    def _gripper_states(self, now_ns: int, widths: Widths) -> Iterable[Diagnosis]:
        timeout_s = self._profile.timeouts.gripper_state
        for gripper in self._profile.grippers:
            part, heard = f"gripper {gripper.name} state", widths.get(gripper.name)
            if heard is None or now_ns - heard[1] > timeout_s * SECOND_NS:
                remedy = {"remedy": "Start the gripper's driver; check its topic in the profile."}
                yield part, Level.WARN, f"No message on {gripper.state.topic} for {timeout_s:g} s.", remedy
            else:
                yield part, Level.OK, "Comes.", {"width m": heard[0]}


def _known(value: float | None) -> float:
    return float("nan") if value is None else value
