"""The judge of faults: what is as declared passes, and each planted failure is reported."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest

from f1_ros.cli.faults import report
from f1_ros.faults.catalogue import choose
from f1_ros.faults.fault import Fault
from f1_ros.faults.judge import CommandSample, Diagnosis, Outcome, StatusSample, Trace, judge
from f1_ros.faults.run import Results
from f1_ros.robots.profile import load_profile

PROFILE = load_profile("franka_fr3")
MS = 1_000_000
PERIOD_NS = 10 * MS
SENT_NS = 1_000_000_000_000  # the system's clock is ahead of the ROS clock by this
NOTICED = 20  # tick


def fault(name: str) -> Fault:
    return choose([name], PROFILE)[0]


LOST = fault("joint_state_lost")


def trace(reason: str = "no joint state of fr3_joint1 for 0.2 s", part: str = "action_node: control") -> Trace:
    """The arm moves at 0.5 rad/s; the fault comes at tick 5, is noticed in tick 20, and braked at 5 rad/s^2."""
    made, position = Trace(), np.array(PROFILE.ready)
    for tick in range(80):
        speed = 0.5 if tick < NOTICED else max(0.0, 0.5 - 0.05 * (tick - NOTICED + 1))
        velocity = np.zeros(7)
        velocity[0] = speed
        position = position + velocity * 0.01
        stamp_ns = tick * PERIOD_NS
        made.commands.append(CommandSample(SENT_NS + stamp_ns, stamp_ns, position, velocity))
        if tick % 10 == 2:
            stopped = tick > NOTICED
            mode, since_ns = ("FAULT", NOTICED * PERIOD_NS) if stopped else ("TELEOP", 0)
            made.statuses.append(StatusSample(SENT_NS + stamp_ns, mode, since_ns, reason if stopped else "", tick, 0))
    made.diagnoses.append(Diagnosis(SENT_NS + 300 * MS, part, 2, f"FAULT: {reason}"))
    made.injected_ns, made.cleared_ns = SENT_NS + 5 * PERIOD_NS, SENT_NS + 70 * PERIOD_NS
    return made


def judged(made: Trace, what: Fault = LOST, missed_share: float = 0.0) -> Outcome:
    return judge(what, made, PROFILE.limits, missed_share)


def test_a_fault_that_is_handled_as_declared_passes_with_its_figures() -> None:
    outcome = judged(trace())
    assert outcome.ok, outcome.problems
    assert outcome.noticed_s == pytest.approx(0.15)
    assert outcome.periods == 0.0
    assert outcome.rest_s == pytest.approx(0.09)
    assert outcome.named_s == pytest.approx(0.25)
    assert outcome.speed == pytest.approx(0.5)


def command(made: Trace, tick: int, speed: float | None = None, offset: float = 0.0) -> None:
    old = made.commands[tick]
    velocity = old.velocity.copy()
    velocity[0] = velocity[0] if speed is None else speed
    made.commands[tick] = dataclasses.replace(old, velocity=velocity, position=old.position + offset)


def status(made: Trace, which: int, **changes: object) -> None:
    made.statuses[which] = dataclasses.replace(made.statuses[which], **changes)  # type: ignore[arg-type]


def late(made: Trace) -> None:
    made.commands = [
        dataclasses.replace(c, sent_ns=c.sent_ns + 400 * MS) if c.stamp_ns >= NOTICED * PERIOD_NS else c
        for c in made.commands
    ]


def never_noticed(made: Trace) -> None:
    made.statuses = [s for s in made.statuses if s.mode == "TELEOP"]


def goes_on_for_three_ticks(made: Trace) -> None:
    for tick in range(NOTICED, NOTICED + 3):
        command(made, tick, speed=0.5 + 0.01 * (tick - NOTICED + 1))


PLANTED: dict[str, tuple[Callable[[Trace], object], str]] = {
    "never noticed": (never_noticed, "not noticed: the mode is TELEOP"),
    "noticed late": (late, r"noticed after 0\.55 s, declared are 0\.4 s"),
    "another reason": (lambda t: status(t, 2, reason="NaN"), "says 'NaN', not 'no joint state'"),
    "brakes late": (goes_on_for_three_ticks, r"brakes 3\.0 control periods after that"),
    "speeds up": (lambda t: command(t, NOTICED + 4, speed=0.45), "speeds up while it brakes"),
    "moves again": (lambda t: command(t, 60, speed=0.02), "moves again by itself"),
    "never at rest": (lambda t: [command(t, k, speed=0.1) for k in range(28, 80)], "does not come to rest"),
    "a jump": (lambda t: command(t, 40, offset=0.05), "a step's velocity is .* of its limit beyond it"),
    "too fast": (lambda t: command(t, 10, speed=3.0), "velocity is .* of its limit beyond it"),
    "a jerk": (lambda t: command(t, 10, speed=0.7), "acceleration is .* of its limit beyond it"),
    "outside": (lambda t: [command(t, k, offset=4.0) for k in range(80)], "position is .* of its limit beyond it"),
    "recovers by itself": (lambda t: status(t, 6, mode="TELEOP"), "goes from FAULT to TELEOP without a request"),
    "not named": (lambda t: t.diagnoses.clear(), "not named: nothing like 'no joint state'"),
    "another dies": (lambda t: t.deaths.append("sim_node"), "sim_node died as well"),
    "ticks missed": (lambda t: status(t, 6, missed=4), "4 of 54 ticks missed meanwhile"),
    "nonsense taken": (lambda t: t.refused.append("policy_node takes seed = -1"), "takes seed"),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_failure_is_reported_as_failed(planted: str) -> None:
    plant, says = PLANTED[planted]
    made = trace()
    plant(made)
    outcome = judged(made)
    assert not outcome.ok
    assert any(re.search(says, problem) for problem in outcome.problems), outcome.problems
    results = Results([outcome])
    assert report([LOST], results).exit_status == 1


def test_chunks_from_before_a_switch_may_not_move_the_arm_at_all() -> None:
    before = fault("chunk_from_before_the_switch")
    made = trace(reason="no usable action chunk for 1 s")
    made.diagnoses = [Diagnosis(SENT_NS + 300 * MS, "action_node: chunks", 1, "Refused: before switch.")]
    assert judged(made, before).problems == ["moves, from HOLD"]
    for tick in range(80):
        command(made, tick, speed=0.0)
        made.commands[tick] = dataclasses.replace(made.commands[tick], position=made.commands[0].position)
    assert judged(made, before).ok


def test_named_too_late_and_only_at_a_level_of_warning_or_more() -> None:
    made = trace()
    made.diagnoses[0] = dataclasses.replace(made.diagnoses[0], sent_ns=made.injected_ns + 9_000 * MS)
    assert any("named after 9.00 s" in problem for problem in judged(made).problems)
    made.diagnoses[0] = dataclasses.replace(made.diagnoses[0], level=0)
    assert any("not named" in problem for problem in judged(made).problems)


def test_what_the_machine_misses_anyway_is_not_the_faults() -> None:
    made = trace()
    status(made, 6, missed=4)
    assert judged(made, missed_share=0.2).ok


def test_ticks_are_counted_anew_once_nothing_is_sent_and_those_before_still_count() -> None:
    made = trace()
    for index in (6, 7):
        status(made, index, ticks=index)
    assert judged(made).ok
    status(made, 5, missed=3)
    assert any("3 of 43 ticks missed" in problem for problem in judged(made).problems)


def test_a_fault_that_the_robot_shall_ride_out_may_not_stop_it() -> None:
    floods = fault("leader_floods")
    made = trace()
    assert any("does not go on: FAULT" in problem for problem in judged(made, floods).problems)
    made.statuses = [dataclasses.replace(s, mode="TELEOP", reason="") for s in made.statuses]
    outcome = judged(made, floods)
    assert outcome.ok, outcome.problems
    assert outcome.noticed_s is None


def test_silence_is_a_safe_action_only_if_nothing_is_sent_and_nothing_goes_on_by_itself() -> None:
    stops = fault("clock_stops")
    made = trace(part="action_node: clock", reason="Stands still: no command")
    made.commands = [c for c in made.commands if c.sent_ns < made.injected_ns + 30 * MS]
    made.statuses = made.statuses[:2]
    assert judged(made, stops).ok, judged(made, stops).problems
    made.commands.append(dataclasses.replace(made.commands[-1], sent_ns=made.injected_ns + 600 * MS))
    assert any("still commanded to move" in problem for problem in judged(made, stops).problems)


def test_a_clock_set_back_counts_from_the_first_command_of_the_new_time() -> None:
    reset = fault("clock_reset")
    made = trace(reason="holding", part="action_node: clock")
    made.diagnoses = [Diagnosis(SENT_NS + 300 * MS, "action_node: clock", 1, "Was set back: in HOLD")]
    back_ns = 15 * PERIOD_NS
    made.commands = [
        dataclasses.replace(c, stamp_ns=c.stamp_ns - back_ns) if c.stamp_ns >= NOTICED * PERIOD_NS else c
        for c in made.commands
    ]
    made.statuses = [dataclasses.replace(s, mode="HOLD", mode_ns=0) if s.mode == "FAULT" else s for s in made.statuses]
    outcome = judged(made, reset)
    assert outcome.ok, outcome.problems
    assert (outcome.noticed_s, outcome.periods) == (pytest.approx(0.15), 0.0)
