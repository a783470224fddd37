"""Trials of what stops the arm, of recovery, and of handing over: always with the last joint of the first arm."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from f1_ros.errors import BringUpError
from f1_ros.nodes.conformance.motions import Motion, nan_at, ramp, still, swing
from f1_ros.nodes.conformance.rig import MODE_S, Rig
from f1_ros.nodes.conformance.system import ACTION_NODE
from f1_ros.robots.choose import transport_for
from f1_ros.robots.conformance import Check, Finding, not_run
from f1_ros.robots.conformance_stops import (
    NOTICED_LATE_S,
    HandOver,
    SilenceTrial,
    StopTrial,
    judge_hand_over,
    judge_recovery,
    judge_silence,
    judge_stop,
)

SWING_S = 2.5
RIVAL_S = 1.2
"""DDS tells of a publisher within 0.5 s, and the action node looks every 0.5 s."""
OWN_MEANS = "by the robot's own means"
_AFTER_S = 0.5
_APART = 0.2
"""How far from the arm a new source stands, rad."""
_ALIGN_SPEED = 3.0
"""1/s: while the approach is blended into the leader's own motion, of the distance at which that begins."""


@dataclass(frozen=True)
class _Stop:
    """One way to stop the arm: who moves it, what is done and undone, what FAULT says and when."""

    check: Check
    name: str
    reason: str
    within_s: float
    inject: Callable[[], object]
    by_policy: bool = False
    clear: Callable[[], object] = lambda: None


def stops(rig: Rig, checks: Collection[Check]) -> Iterator[Finding]:
    """Stop the arm in each way that the checks ask for, and recover each time."""
    joint = len(rig.profile.arms[0].joints) - 1
    for stop in _ways(rig, joint):
        if stop.check not in checks and not (stop.check is Check.SAFE_ACTION and Check.RECOVERY in checks):
            continue
        try:
            yield from _try(rig, stop, joint, recovery=Check.RECOVERY in checks)
        except BringUpError as error:
            yield not_run(stop.check, stop.name, error.problem)
    if Check.RECOVERY in checks and transport_for(rig.profile).recover():
        try:
            yield _recover_the_robot(rig)
        except BringUpError as error:
            yield not_run(Check.RECOVERY, OWN_MEANS, error.problem)
    if Check.SILENCE in checks:
        try:
            yield _silence(rig, joint)
        except BringUpError as error:
            yield not_run(Check.SILENCE, "the commands stop", error.problem)


def _ways(rig: Rig, joint: int) -> list[_Stop]:
    probe, timeouts = rig.probe, rig.profile.timeouts
    message_s = 0.1 + NOTICED_LATE_S

    def nan(motion: Motion | None) -> Motion:
        assert motion is not None  # it moves the arm just now
        return nan_at(motion, joint)

    def damage_leader() -> None:
        probe.leader = nan(probe.leader)

    def damage_plan() -> None:
        probe.plan = nan(probe.plan)

    return [
        _Stop(Check.SAFE_ACTION, "FAULT is asked for", "request", message_s, lambda: probe.ask_for("FAULT")),
        _Stop(Check.SILENCE, "the leader arm falls silent", "no leader arm's message", timeouts.teleop + NOTICED_LATE_S,
              lambda: probe.lead(None)),
        _Stop(Check.SILENCE, "the policy falls silent", "no usable action chunk", timeouts.policy + NOTICED_LATE_S,
              lambda: probe.plan_for(None), by_policy=True),
        _Stop(Check.NAN, "NaN from the leader arm", "NaN", message_s, damage_leader),
        _Stop(Check.NAN, "NaN from the policy", "NaN", message_s, damage_plan, by_policy=True),
        _Stop(Check.SECOND_PUBLISHER, "a second publisher of commands", "command topic", RIVAL_S + NOTICED_LATE_S,
              lambda: probe.rival(True), clear=lambda: probe.rival(False)),
    ]  # fmt: skip


def _move(rig: Rig, joint: int, *, by_policy: bool) -> None:
    """Swing the joint by the leader or by the policy, until it is well under way."""
    probe, anchor = rig.probe, rig.engage()
    motion = swing(anchor, joint, rig.swing_speed(joint), SWING_S)
    if by_policy:
        probe.plan_for(still(anchor))
        rig.pause(0.3)
        refusal = rig.ask("POLICY", 5.0)
        if refusal:
            raise BringUpError(f"POLICY is refused: {refusal}", remedy="See the action node's log.")
        probe.plan_for(motion)
    under_way = rig.until_moving(still(anchor) if by_policy else motion, joint)
    if not under_way:
        raise BringUpError(f"the arm does not move: {rig.reason}", remedy="See the action node's log.")


def _try(rig: Rig, stop: _Stop, joint: int, *, recovery: bool) -> Iterator[Finding]:
    rig.confirm(f"Swing joint {rig.profile.joints[joint]} to and fro; in motion: {stop.name}")
    probe = rig.probe
    try:
        _move(rig, joint, by_policy=stop.by_policy)
        trace = probe.begin()
        trace.injected_ns = time.time_ns()
        stop.inject()
        rig.wait(lambda: probe.mode == "FAULT", stop.within_s + 1.0)
        rig.pause(_AFTER_S)
        rig.settle()
        rested = probe.joints_now()
        off = float(np.abs(rested - rig.commanded).max())
        rig.pause(_AFTER_S)
        drift = float(np.abs(probe.joints_now() - rested).max())
        trace.cleared_ns = time.time_ns()
        probe.begin()  # the recording of the stop ends here
    finally:
        stop.clear()
        probe.plan_for(None)
        probe.lead(None)
    yield judge_stop(rig.profile, StopTrial(stop.check, stop.name, trace, stop.reason, stop.within_s, off, drift))
    if recovery:
        yield _recover(rig, stop.name)


def _recover(rig: Rig, after: str) -> Finding:
    """Leave FAULT by a request, and see that the arm stays where it is."""
    begun_s, before = time.monotonic(), rig.probe.joints_now()
    refusal = rig.ask("HOLD")
    takes_s = time.monotonic() - begun_s
    rig.pause(_AFTER_S)
    moved = float(np.abs(rig.probe.joints_now() - before).max())
    return judge_recovery(f"after {after}", refusal, moved, takes_s)


def _recover_the_robot(rig: Rig) -> Finding:
    """Ask for the robot's own recovery, which is harmless while nothing is wrong."""
    rig.confirm("Ask the robot to recover from its errors; nothing should move")
    begun_s, before = time.monotonic(), rig.probe.joints_now()
    refusal = rig.ask("HOLD") or rig.probe.recover()
    takes_s = time.monotonic() - begun_s
    return judge_recovery(OWN_MEANS, refusal, float(np.abs(rig.probe.joints_now() - before).max()), takes_s)


def _silence(rig: Rig, joint: int) -> Finding:
    """Stop the action node in motion, as when it hangs, and let it go on."""
    rig.confirm(f"Swing joint {rig.profile.joints[joint]} to and fro; in motion all commands stop")
    _move(rig, joint, by_policy=False)
    pid, probe = rig.system.pids[ACTION_NODE], rig.probe
    os.kill(pid, signal.SIGSTOP)
    try:
        rig.pause(1.0)
        last = probe.command
        assert last is not None
        rested = probe.joints_now()
        rig.pause(_AFTER_S)
        drift = float(np.abs(probe.joints_now() - rested).max())
    finally:
        os.kill(pid, signal.SIGCONT)
    off = float(np.abs(rested - last.position).max())
    rig.wait(lambda: probe.mode == "FAULT", 3.0)
    then = probe.trace.statuses[-1].reason
    probe.lead(None)
    rig.ask("HOLD")
    return judge_silence(rig.profile, SilenceTrial(off, drift, float(np.abs(last.velocity).max()), then))


def hand_over(rig: Rig) -> Iterator[Finding]:
    """From HOLD to a leader that stands elsewhere, to a policy that wants to be elsewhere, and back to the leader."""
    joint = len(rig.profile.arms[0].joints) - 1
    try:
        rig.confirm(f"Hand joint {rig.profile.joints[joint]} from a leader arm to a policy and back, by {_APART:g} rad")
        rig.engage()
        rig.ask("HOLD")
        rig.probe.lead(None)
        rig.settle()
        yield _to_leader(rig, joint, "from HOLD to a leader that stands elsewhere", rig.commanded.copy())
        yield _to_policy(rig, joint)
        yield _to_leader(rig, joint, "from the policy to a leader that stands elsewhere", rig.commanded.copy())
    except BringUpError as error:
        yield not_run(Check.HAND_OVER, "leader and policy", error.problem)
    finally:
        rig.probe.plan_for(None)


def _elsewhere(rig: Rig, joint: int, anchor: np.ndarray) -> np.ndarray:
    end = anchor.copy()
    middle = (rig.lower[joint] + rig.upper[joint]) / 2.0
    end[joint] += _APART if anchor[joint] <= middle else -_APART
    return end


def _to_leader(rig: Rig, joint: int, subject: str, anchor: np.ndarray) -> Finding:
    """The leader stands elsewhere; where the profile waits for it, it is then brought to the arm."""
    probe, teleop = rig.probe, rig.profile.teleop
    end = _elsewhere(rig, joint, anchor)
    motion, lasts_s = still(end), 0.0
    if teleop.hand_over == "wait":
        motion, lasts_s = ramp(end, anchor, 0.1)
        end = anchor
    probe.lead(motion)
    rig.pause(0.2)
    trace = probe.begin()
    refusal = rig.ask("TELEOP", 5.0)
    if refusal:
        raise BringUpError(f"TELEOP is refused: {refusal}", remedy="See the action node's log.")
    allowed = teleop.approach_velocity * float(rig.velocity[joint])
    rig.pause(lasts_s)
    rig.wait(lambda: not rig.reason, _APART / allowed + 5.0)
    rig.pause(1.0)
    rig.settle()
    off = float(np.abs(rig.commanded - end).max())
    probe.begin()
    speed = allowed + _ALIGN_SPEED * teleop.aligned_within
    return judge_hand_over(rig.profile, HandOver(subject, trace.commands, trace.statuses, "TELEOP", off, speed))


def _to_policy(rig: Rig, joint: int) -> Finding:
    probe = rig.probe
    end = _elsewhere(rig, joint, rig.commanded.copy())
    motion, lasts_s = ramp(rig.commanded.copy(), end, 0.5 * rig.swing_speed(joint))
    trace = probe.begin()
    probe.plan_for(motion)
    rig.pause(0.3)
    refusal = rig.ask("POLICY", min(5.0, MODE_S))
    if refusal:
        raise BringUpError(f"POLICY is refused: {refusal}", remedy="See the action node's log.")
    rig.pause(lasts_s + 1.0)
    rig.settle()
    off = float(np.abs(rig.commanded - end).max())
    probe.begin()
    return judge_hand_over(
        rig.profile, HandOver("from the leader to the policy", trace.commands, trace.statuses, "POLICY", off)
    )
