"""A recorded run against what its fault declares. Pure: times come with what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.limits import JointLimits
from f1_ros.faults.fault import CONTROL_PERIODS, Action, Base, Fault

Array = NDArray[np.float64]
SECOND_NS = 1_000_000_000

AT_REST = 1e-6  # rad/s
REST_WITHIN_S = 1.0
"""A braking arm is at rest after this: at 5.3 rad/s and 10 rad/s^2 it takes 0.53 s."""
_STAYS = {"FAULT": ("FAULT",), "HOLD": ("HOLD", "FAULT")}
_SLACK = 1e-6  # of a limit, and of a unit: what differences of written numbers cost


@dataclass(frozen=True)
class CommandSample:
    """A command: when it was sent (ns, system's clock), its stamp (ns, ROS clock), position (rad), velocity (rad/s)."""

    sent_ns: int
    stamp_ns: int
    position: Array
    velocity: Array


@dataclass(frozen=True)
class StatusSample:
    """What the action node said: when (ns, system's clock), mode, since when (ns, ROS clock), why, ticks missed."""

    sent_ns: int
    mode: str
    mode_ns: int
    reason: str
    ticks: int
    missed: int


@dataclass(frozen=True)
class Diagnosis:
    """A status on /diagnostics: when (ns, system's clock), "<node>: <part>", level (0 to 3), message."""

    sent_ns: int
    part: str
    level: int
    message: str


@dataclass
class Trace:
    """What was recorded from some time before the injection until its end was judged, in the order of arrival.

    Attributes:
        injected_ns: when the fault was made, ns on the system's clock; for a process that was stopped for a time, when
            it went on.
        cleared_ns: when it was taken back.
        period_ns: control period, ns.
        deaths: processes that have ended, other than the one that the fault ends.
        refused: what the injection itself found wrong (nonsense that was accepted).
    """

    commands: list[CommandSample] = field(default_factory=list)
    statuses: list[StatusSample] = field(default_factory=list)
    diagnoses: list[Diagnosis] = field(default_factory=list)
    injected_ns: int = 0
    cleared_ns: int = 0
    period_ns: int = SECOND_NS // 100
    deaths: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """What a fault did.

    Attributes:
        fault: its name.
        noticed_s: from the injection to the control process's noticing, s; None if it never did, or need not.
        periods: from there to the first command of the safe action, in control periods.
        rest_s: from there to rest, s.
        named_s: from the injection to its name on /diagnostics, s.
        speed: fastest joint when it was noticed, rad/s.
        missed: ticks missed from the injection until it was taken back.
        recovered_s: from the request to the arm's following again, s.
        first_try: what FAULT said the first time, if that was of another cause and it was made a second time.
        problems: what is not as declared; none: the fault is handled.
    """

    fault: str
    noticed_s: float | None = None
    periods: float | None = None
    rest_s: float | None = None
    named_s: float | None = None
    speed: float | None = None
    missed: int = 0
    recovered_s: float | None = None
    first_try: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all was as declared."""
        return not self.problems


def judge(fault: Fault, trace: Trace, limits: JointLimits, missed_share: float) -> Outcome:
    """Compare a run with its fault's declaration.

    Args:
        fault: what was done.
        trace: what was recorded.
        limits: the limits that commands must keep.
        missed_share: share of the ticks that may be missed: what the same system misses while all is well, and a bit.
    """
    outcome = Outcome(fault.name, problems=[*trace.refused])
    outcome.problems += [f"{name} died as well" for name in trace.deaths]
    if fault.action is Action.GOES_ON:
        _goes_on(fault, trace, outcome)
    elif fault.action is Action.SILENT:
        _silent(fault, trace, outcome)
    else:
        _brakes(fault, trace, outcome)
    _named(fault, trace, outcome)
    outcome.problems += beyond(trace.commands, limits, trace.period_ns)
    if fault.strikes != "action_node":
        _missed(trace, outcome, missed_share)
    return outcome


def find_notice(fault: Fault, trace: Trace) -> StatusSample | None:
    """The first status that says that the declared mode is in force, since the injection."""
    mode = "FAULT" if fault.action is Action.FAULT else "HOLD"
    return next((s for s in trace.statuses if s.sent_ns > trace.injected_ns and s.mode == mode), None)


def find_name(fault: Fault, trace: Trace) -> Diagnosis | None:
    """The first status on /diagnostics that names the fault, since the injection."""
    named = fault.named
    if named is None:
        return None
    said = (d for d in trace.diagnoses if d.sent_ns > trace.injected_ns and d.level in (1, 2))
    return next((d for d in said if d.part == named.part and named.words in d.message), None)


def at_rest(commands: Sequence[CommandSample]) -> bool:
    """Whether the last command is to rest."""
    return bool(commands) and bool(np.abs(commands[-1].velocity).max() <= AT_REST)


def beyond(commands: Sequence[CommandSample], limits: JointLimits, period_ns: int) -> list[str]:
    """Which limits the commands break, by words; the differences are of commands that follow each other in a period."""
    problems = []
    for name, worst in (
        ("position", max((_outside(c.position, limits) for c in commands), default=0.0)),
        ("velocity", max((_over(c.velocity, limits.velocity) for c in commands), default=0.0)),
        ("a step's velocity", _steps(commands, period_ns, limits.velocity, lambda a, b: b.position - a.position)),
        ("acceleration", _steps(commands, period_ns, limits.acceleration, lambda a, b: b.velocity - a.velocity)),
    ):
        if worst > _SLACK:
            problems.append(f"{name} is {worst:.3g} of its limit beyond it")
    return problems


def _brakes(fault: Fault, trace: Trace, outcome: Outcome) -> None:
    notice = find_notice(fault, trace)
    if notice is None:
        mode = trace.statuses[-1].mode if trace.statuses else "not heard of"
        outcome.problems.append(f"not noticed: the mode is {mode}")
        return
    if fault.reason not in notice.reason:
        outcome.problems.append(f"FAULT says '{notice.reason}', not '{fault.reason}'")
    first = _first_of_mode(notice, trace)
    if first is None:
        outcome.problems.append("no command since it was noticed")
        return
    held = [c for c in trace.commands if c.sent_ns > trace.injected_ns] if fault.base is Base.HOLD else []
    if not all(at_rest([c]) for c in held):
        outcome.problems.append("moves, from HOLD")
    since, before = trace.commands[first:], trace.commands[first - 1] if first else trace.commands[0]
    began_ns = since[0].stamp_ns if notice.mode_ns == 0 else notice.mode_ns
    outcome.noticed_s = max(0.0, (since[0].sent_ns - trace.injected_ns) / SECOND_NS)
    if outcome.noticed_s > fault.within_s:
        outcome.problems.append(f"noticed after {outcome.noticed_s:.2f} s, declared are {fault.within_s:g} s")
    outcome.speed = float(np.abs(before.velocity).max())
    slower = [_slower(a, b) for a, b in pairwise([before, *since])]
    begins = slower.index(True) if True in slower else None
    ends = next((i for i, c in enumerate(since) if np.abs(c.velocity).max() <= AT_REST), None)
    if begins is None or ends is None:
        outcome.problems.append("does not come to rest")
        return
    outcome.periods = (since[begins].stamp_ns - began_ns) / trace.period_ns
    outcome.rest_s = (since[ends].stamp_ns - began_ns) / SECOND_NS
    if outcome.periods > CONTROL_PERIODS:
        outcome.problems.append(f"brakes {outcome.periods:.1f} control periods after that, not {CONTROL_PERIODS}")
    if outcome.rest_s > REST_WITHIN_S:
        outcome.problems.append(f"at rest {outcome.rest_s:.2f} s after that")
    if not all(slower[begins : ends + 1]):
        outcome.problems.append("speeds up while it brakes")
    if any(np.abs(c.velocity).max() > AT_REST for c in since[ends:]):
        outcome.problems.append("moves again by itself")
    left = next(
        (s.mode for s in trace.statuses if s.sent_ns > notice.sent_ns and s.mode not in _STAYS[notice.mode]), None
    )
    if left is not None:
        outcome.problems.append(f"goes from {notice.mode} to {left} without a request")


def _first_of_mode(notice: StatusSample, trace: Trace) -> int | None:
    """Index of the first command of the mode that a status says is in force."""
    later = [i for i, c in enumerate(trace.commands) if c.sent_ns > trace.injected_ns]
    if notice.mode_ns == 0:  # the clock was set back, and the mode counts from the start
        back = (i for i in later if i and trace.commands[i].stamp_ns < trace.commands[i - 1].stamp_ns)
        return next(back, None)
    return next((i for i in later if trace.commands[i].stamp_ns >= notice.mode_ns), None)


def _silent(fault: Fault, trace: Trace, outcome: Outcome) -> None:
    moving = [c for c in trace.commands if c.sent_ns > trace.injected_ns and np.abs(c.velocity).max() > AT_REST]
    sent = [c.sent_ns for c in moving if c.sent_ns <= trace.cleared_ns]
    outcome.noticed_s = (max(sent, default=trace.injected_ns) - trace.injected_ns) / SECOND_NS
    if outcome.noticed_s > fault.within_s:
        outcome.problems.append(f"the arm was still commanded to move after {outcome.noticed_s:.2f} s")
    later = [s for s in trace.statuses if s.sent_ns > trace.cleared_ns]
    if any(s.mode not in ("FAULT", "HOLD") for s in later[1:]):
        outcome.problems.append("goes on by itself when it is over")


def _goes_on(fault: Fault, trace: Trace, outcome: Outcome) -> None:
    statuses = [s for s in trace.statuses if s.sent_ns > trace.injected_ns]
    wrong = next((s for s in statuses if s.mode != fault.base.value), None)
    if wrong is not None:
        outcome.problems.append(f"does not go on: {wrong.mode} ({wrong.reason})")
    if not statuses:
        outcome.problems.append("no status came")


def _named(fault: Fault, trace: Trace, outcome: Outcome) -> None:
    if fault.named is None:
        return
    found = find_name(fault, trace)
    if found is None:
        outcome.problems.append(f"not named: nothing like '{fault.named.words}' on '{fault.named.part}'")
        return
    outcome.named_s = (found.sent_ns - trace.injected_ns) / SECOND_NS
    if outcome.named_s > fault.named.within_s:
        outcome.problems.append(f"named after {outcome.named_s:.2f} s, declared are {fault.named.within_s:g} s")


def _missed(trace: Trace, outcome: Outcome, share: float) -> None:
    inside = [s for s in trace.statuses if trace.injected_ns <= s.sent_ns <= trace.cleared_ns]
    # While nothing is sent the count begins anew: no robot sees what is late then.
    anew = (i for i, (a, b) in enumerate(pairwise(inside), 1) if b.ticks < a.ticks)
    inside = inside[: next(anew, None)]
    if len(inside) < 2:
        return
    outcome.missed = inside[-1].missed - inside[0].missed
    ticks = inside[-1].ticks - inside[0].ticks
    if outcome.missed > share * (ticks + outcome.missed):
        outcome.problems.append(f"{outcome.missed} of {ticks + outcome.missed} ticks missed meanwhile")


def _slower(before: CommandSample, after: CommandSample) -> bool:
    return bool((np.abs(after.velocity) <= np.abs(before.velocity) + AT_REST).all())


def _outside(position: Array, limits: JointLimits) -> float:
    lower, upper = np.array(limits.lower), np.array(limits.upper)
    return float(np.maximum(lower - position, position - upper).max())


def _over(value: Array, limit: Sequence[float]) -> float:
    return float((np.abs(value) / np.array(limit)).max() - 1.0)


def _steps(
    commands: Sequence[CommandSample],
    period_ns: int,
    limit: Sequence[float],
    change: Callable[[CommandSample, CommandSample], Array],
) -> float:
    worst = 0.0
    for a, b in pairwise(commands):
        if 0 < b.stamp_ns - a.stamp_ns < period_ns * 3 // 2:
            worst = max(worst, _over(change(a, b) / (period_ns / SECOND_NS), limit))
    return worst
