"""Stops, silence, hand-over and recovery, judged on commands and statuses that are played."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from f1_ros.faults.judge import CommandSample, StatusSample, Trace
from f1_ros.robots.conformance import Check, Finding
from f1_ros.robots.conformance_stops import (
    HandOver,
    SilenceTrial,
    StopTrial,
    judge_hand_over,
    judge_recovery,
    judge_silence,
    judge_stop,
)
from f1_ros.robots.profile import load_profile

FRANKA = load_profile("franka_fr3")
MS = 1_000_000
PERIOD_NS = 10 * MS


def wrong(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.ok]


def braking(speed: float = 0.5, deceleration: float = 5.0, before: int = 30, after: int = 60) -> list[CommandSample]:
    """The last joint goes at a speed, and brakes from tick `before` on."""
    commands, position, velocity = [], 0.0, speed
    for i in range(before + after):
        if i >= before:
            velocity = max(0.0, velocity - deceleration * 0.01)
        position += velocity * 0.01
        vectors = np.zeros(7), np.zeros(7)
        vectors[0][:] = [0.0, -0.7, 0.0, -2.0, 0.0, 1.5, position]
        vectors[1][6] = velocity
        commands.append(CommandSample(i * PERIOD_NS, i * PERIOD_NS, *vectors))
    return commands


def stop(commands: list[CommandSample], mode: str = "FAULT", **changes: Any) -> StopTrial:
    statuses = [StatusSample(0, "TELEOP", 1, "", 0, 0), StatusSample(320 * MS, mode, 300 * MS, "NaN came", 0, 0)]
    trace = Trace(commands, statuses, injected_ns=290 * MS, cleared_ns=900 * MS)
    values: dict[str, Any] = {"reason": "NaN", "within_s": 0.5, "robot_off": 0.001, "robot_drift": 0.0, **changes}
    return StopTrial(Check.NAN, "NaN from the leader arm", trace, **values)


def test_a_stop_as_declared_passes() -> None:
    finding = judge_stop(FRANKA, stop(braking()))
    assert finding.problem == ""
    assert finding.value == pytest.approx(0.01, abs=0.011)


@pytest.mark.parametrize(
    ("trial", "says"),
    [
        (stop(braking(), mode="TELEOP"), "not noticed"),
        (stop(braking(), reason="silence"), "FAULT says 'NaN came', not 'silence'"),
        (stop(braking(deceleration=0.2)), "does not come to rest"),
        (stop(braking(deceleration=40.0)), "acceleration is"),
        (stop(braking(), robot_off=0.1), "the robot rests 0.100 rad from its last command"),
        (stop(braking(), robot_drift=0.1), "the robot went on moving by 0.100 rad"),
        (stop(braking(), robot_off=float("nan")), "the robot rests nan rad"),
        (stop(braking(speed=0.0)), "the arm was not moving"),
    ],
)
def test_a_stop_that_is_not_as_declared_is_told(trial: StopTrial, says: str) -> None:
    assert says in judge_stop(FRANKA, trial).problem


def test_with_a_rival_a_robot_that_obeys_nobody_may_rest_wherever_the_command_has_been_since_and_no_farther() -> None:
    trial = replace(stop(braking(before=60)), check=Check.SECOND_PUBLISHER)
    trial.trace.injected_ns = 290 * MS
    assert judge_stop(FRANKA, replace(trial, robot_off=0.15)).problem == ""
    assert "rests 0.250 rad" in judge_stop(FRANKA, replace(trial, robot_off=0.25)).problem
    assert "rests 0.150 rad" in judge_stop(FRANKA, replace(trial, robot_off=0.15, check=Check.NAN)).problem


@pytest.mark.parametrize(
    ("trial", "says"),
    [
        (SilenceTrial(0.005, 0.0, 0.5, "no command for 1.2 s"), ""),
        (SilenceTrial(0.3, 0.0, 0.5, "no command for 1.2 s"), "which it is declared to keep"),
        (SilenceTrial(0.005, 0.2, 0.5, "no command for 1.2 s"), "went on moving by 0.200 rad"),
        (SilenceTrial(0.005, 0.0, 0.0, "no command for 1.2 s"), "was not moving"),
        (SilenceTrial(0.005, 0.0, 0.5, "holding"), "afterwards the action node says 'holding'"),
    ],
)
def test_silence_ends_as_the_profile_declares(trial: SilenceTrial, says: str) -> None:
    problem = judge_silence(FRANKA, trial).problem
    assert says in problem
    assert bool(says) == bool(problem)


def over(commands: list[CommandSample], **changes: Any) -> HandOver:
    statuses = [StatusSample(0, changes.pop("mode", "TELEOP"), 0, changes.pop("reason", ""), 0, 0)]
    return HandOver("to the leader", commands, statuses, **{"wanted": "TELEOP", "off": 0.0, **changes})


def test_a_hand_over_without_a_jump_passes_and_a_jump_is_told() -> None:
    commands = braking(speed=0.3)
    assert judge_hand_over(FRANKA, over(commands, speed_within=0.4)).problem == ""
    assert "0.300 rad/s, 0.100 rad/s are allowed" in judge_hand_over(FRANKA, over(commands, speed_within=0.1)).problem
    assert "0.100 rad from what is asked for" in judge_hand_over(FRANKA, over(commands, off=0.1)).problem
    assert "ends in FAULT (NaN)" in judge_hand_over(FRANKA, over(commands, mode="FAULT", reason="NaN")).problem
    jumped = [
        *commands[:40],
        *(CommandSample(c.sent_ns, c.stamp_ns, c.position + 0.2, c.velocity) for c in commands[40:]),
    ]
    assert "a step's velocity" in judge_hand_over(FRANKA, over(jumped)).problem
    assert "ends in silence" in judge_hand_over(FRANKA, HandOver("x", commands, [], "TELEOP", 0.0)).problem


def test_a_recovery_that_is_refused_or_moves_the_arm_is_told() -> None:
    assert judge_recovery("NaN", "", 0.001, 0.1).ok
    assert judge_recovery("NaN", "No joint state yet.", 0.0, 25.0).problem == "No joint state yet."
    assert judge_recovery("NaN", "", 0.1, 0.1).problem == "the arm moved by 0.100 rad"
