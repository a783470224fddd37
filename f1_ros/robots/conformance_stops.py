"""How the arm is stopped and handed over: what was recorded of commands and statuses, against what is declared.

The judging of a stop is that of `f1-ros faults run` (`f1_ros.faults.judge`): when it was noticed, that braking begins
within two control periods, that nothing speeds up or moves again, and that every step keeps the limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from f1_ros.faults.fault import Action, Base, Fault, Leader
from f1_ros.faults.judge import CommandSample, StatusSample, Trace, beyond, judge
from f1_ros.robots.conformance import STILL_RAD, Check, Finding
from f1_ros.robots.profile import RobotProfile

NOTICED_LATE_S = 0.4
"""On top of a timeout: a message under way, a tick, and a busy machine."""
_ALL_MISSED = 1.0  # ticks missed are for `f1-ros faults run`: here the machine may be any
LEAST_SPEED = 0.02  # rad/s


@dataclass(frozen=True)
class StopTrial:
    """The arm was moving, and something was done that must stop it.

    Attributes:
        check: the check that it is of.
        subject: what was done.
        trace: commands and statuses, from before that on.
        reason: what FAULT must say.
        within_s: when it must have been noticed at the latest, s.
        robot_off: afterwards, at rest: how far the robot is from its last command, rad.
        robot_drift: how far it still moved after that, rad.
    """

    check: Check
    subject: str
    trace: Trace
    reason: str
    within_s: float
    robot_off: float
    robot_drift: float


@dataclass(frozen=True)
class SilenceTrial:
    """The arm was moving, and the action node fell silent, as when it dies.

    Attributes:
        off: at rest afterwards: how far the robot is from the last command, rad.
        drift: how far it still moved after that, rad.
        speed: of the last command, rad/s.
        then: what the action node said when it went on.
    """

    off: float
    drift: float
    speed: float
    then: str


@dataclass(frozen=True)
class HandOver:
    """The arm was handed from one source to another.

    Attributes:
        subject: from what to what.
        commands: what went out meanwhile.
        statuses: what the action node said meanwhile.
        wanted: mode in which it must end.
        off: in the end: how far the arm is from what the new source asks for, rad.
        speed_within: rad/s that the hand-over may reach at most; 0: the limits alone.
    """

    subject: str
    commands: Sequence[CommandSample]
    statuses: Sequence[StatusSample]
    wanted: str
    off: float
    speed_within: float = 0.0


def _untaken(trial: StopTrial) -> float:
    """How far the commands went that a robot need not have taken, rad: with a rival it may obey nobody at once."""
    if trial.check is not Check.SECOND_PUBLISHER:
        return 0.0
    since = [command.position for command in trial.trace.commands if command.sent_ns >= trial.trace.injected_ns]
    return float(np.abs(np.array(since) - since[-1]).max()) if since else 0.0


def judge_stop(profile: RobotProfile, trial: StopTrial) -> Finding:
    """Whether the arm was braked within its limits, for the right reason, and was then held."""
    fault = Fault(
        trial.subject.replace(" ", "_"), trial.subject, Base.TELEOP, Leader(trial.subject), Action.FAULT,
        trial.within_s, "declared", None, trial.reason,
    )  # fmt: skip
    outcome = judge(fault, trial.trace, profile.limits, _ALL_MISSED)
    problems = list(outcome.problems)
    before = [command for command in trial.trace.commands if command.sent_ns <= trial.trace.injected_ns]
    speed = float(np.abs(before[-1].velocity).max()) if before else 0.0
    if speed < LEAST_SPEED:
        problems.append(f"the arm was not moving ({speed:.3f} rad/s)")
    if not trial.robot_off <= STILL_RAD + _untaken(trial):
        problems.append(f"the robot rests {trial.robot_off:.3f} rad from its last command")
    if not trial.robot_drift <= STILL_RAD:
        problems.append(f"the robot went on moving by {trial.robot_drift:.3f} rad")
    remedy = "Do not run this robot before it is mended: see docs/safety.md and the action node's log."
    return Finding(
        trial.check, trial.subject, outcome.noticed_s, "s to FAULT", f"<= {trial.within_s:.2f}", "; ".join(problems),
        None, remedy if problems else "",
    )  # fmt: skip


def judge_silence(profile: RobotProfile, trial: SilenceTrial) -> Finding:
    """Whether the robot does what the profile declares once commands stop coming."""
    declared = profile.silence
    problem, remedy = "", "Mend 'silence' in the profile, and read in docs/safety.md what it means for your stop."
    if trial.speed < LEAST_SPEED:
        problem, remedy = f"the arm was not moving ({trial.speed:.3f} rad/s)", "Run it again."
    elif not trial.drift <= STILL_RAD:
        problem = f"the robot went on moving by {trial.drift:.3f} rad"
    elif declared == "keeps_target" and not trial.off <= STILL_RAD:
        problem = f"the robot rests {trial.off:.3f} rad from its last target, which it is declared to keep"
    elif "no command for" not in trial.then:
        problem, remedy = f"afterwards the action node says '{trial.then}'", "See the action node's log."
    return Finding(
        Check.SILENCE, "the commands stop", trial.off, "rad from the last", str(declared), problem, None,
        remedy if problem else "",
    )  # fmt: skip


def judge_hand_over(profile: RobotProfile, trial: HandOver) -> Finding:
    """Whether the arm went over to the new source without a jump, and follows it."""
    problems = list(beyond(trial.commands, profile.limits, round(1e9 / profile.rates.control)))
    speeds = [float(np.abs(command.velocity).max()) for command in trial.commands]
    fastest = max(speeds, default=0.0)
    if not trial.statuses or trial.statuses[-1].mode != trial.wanted:
        said = trial.statuses[-1] if trial.statuses else None
        problems.append(f"ends in {said.mode if said else 'silence'}{f' ({said.reason})' if said else ''}")
    elif not trial.off <= STILL_RAD:
        problems.append(f"is {trial.off:.3f} rad from what is asked for")
    if trial.speed_within and fastest > trial.speed_within * 1.001:
        problems.append(f"goes at {fastest:.3f} rad/s, {trial.speed_within:.3f} rad/s are allowed")
    remedy = "See `teleop` in the profile, and docs/safety.md." if problems else ""
    goal = f"<= {trial.speed_within:.3g}" if trial.speed_within else "within the limits"
    return Finding(Check.HAND_OVER, trial.subject, fastest, "rad/s", goal, "; ".join(problems), None, remedy)


def judge_recovery(subject: str, refusal: str, moved: float, takes_s: float) -> Finding:
    """Whether FAULT was left by a request.

    Args:
        subject: after what, or how.
        refusal: why HOLD was refused to the last; empty if it was granted.
        moved: how far the arm moved by that, rad.
        takes_s: how long it took to be granted, s.
    """
    problem = refusal or (f"the arm moved by {moved:.3f} rad" if not moved <= STILL_RAD else "")
    remedy = "See the reason; the robot may have to be recovered first (service `recover`)." if problem else ""
    return Finding(Check.RECOVERY, subject, takes_s, "s", "no motion", problem, None, remedy)
