"""Who may move the arm: the table of modes, and the machine that runs on it."""

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.cli.modes import as_markdown
from f1_ros.control.arbiter import ASK, TRANSITIONS, Arbiter, Cause, Event, Guard, Mode

WRONG = (Cause.TRACKING, "off by 1 rad")
PATHS = {
    Mode.HOLD: (),
    Mode.TELEOP: (Event.ASK_TELEOP,),
    Mode.POLICY: (Event.ASK_POLICY,),
    Mode.CORRECTION: (Event.ASK_POLICY, Event.TOUCHED),
}


def arbiter_in(mode: Mode) -> Arbiter:
    arbiter = Arbiter()
    if mode is Mode.FAULT:
        arbiter.happened(problem=WRONG)
    else:
        for event in PATHS[mode]:
            assert arbiter.happened({event}) is not None
    assert arbiter.mode is mode
    return arbiter


def happen(arbiter: Arbiter, event: Event, obstacle=lambda guard: ""):
    return arbiter.happened(() if event is Event.CAUSE else {event}, obstacle, WRONG if event is Event.CAUSE else None)


def test_the_document_shows_the_table() -> None:
    document = (Path(__file__).parents[2] / "docs" / "safety.md").read_text()
    shown = re.search(r"<!-- f1-ros robot modes -->\n\n(.*?)\n<!-- end -->", document, re.DOTALL)
    assert shown is not None
    assert shown[1] == as_markdown()
    for row in TRANSITIONS:
        assert (
            f"| {row.start.name} | {row.event.value} | {row.guard.value} | {row.end.name} | {row.priority} |"
            in shown[1]
        )
        assert re.search(rf"^ +{row.start.name} --> {row.end.name}: .*{row.event.value}", shown[1], re.MULTILINE)


def test_it_starts_in_hold() -> None:
    assert (Arbiter().mode, Arbiter().event, Arbiter().cause) == (Mode.HOLD, None, None)


@pytest.mark.parametrize("mode", Mode)
def test_it_does_what_the_table_says_and_nothing_else(mode) -> None:
    rows = {row.event: row for row in TRANSITIONS if row.start is mode}
    assert len(rows) == sum(row.start is mode for row in TRANSITIONS)  # one answer to each event
    for event in Event:
        arbiter = arbiter_in(mode)
        assert happen(arbiter, event) == rows.get(event)
        assert arbiter.mode is (rows[event].end if event in rows else mode)
        if event in rows:
            assert arbiter.event is event


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row.start.name} {row.event.name}")
def test_a_guard_that_does_not_hold_keeps_the_mode(row) -> None:
    arbiter = arbiter_in(row.start)
    asked = []

    def obstacle(guard: Guard) -> str:
        asked.append(guard)
        return "" if guard is Guard.ALWAYS else "no"

    happened = happen(arbiter, row.event, obstacle)
    assert asked == [row.guard]
    assert (happened is None) is (row.guard is not Guard.ALWAYS)
    assert arbiter.mode is (row.end if row.guard is Guard.ALWAYS else row.start)


def test_what_the_table_promises() -> None:
    for row in TRANSITIONS:
        assert row.start is not row.end
        if row.start is Mode.FAULT:  # left by a request for HOLD alone
            assert (row.event, row.end) == (Event.ASK_HOLD, Mode.HOLD)
        if row.end is Mode.POLICY:  # nothing but a request lets the policy move the arm
            assert row.event is Event.ASK_POLICY
        if row.end in (Mode.TELEOP, Mode.CORRECTION):
            assert row.guard is Guard.DEVICE
    for mode in set(Mode) - {Mode.FAULT}:
        mine = {row.event: row for row in TRANSITIONS if row.start is mode}
        for event in (Event.CAUSE, Event.ASK_FAULT):  # always possible, before all else
            assert (mine[event].guard, mine[event].end) == (Guard.ALWAYS, Mode.FAULT)
            assert all(mine[event].priority < r.priority for r in mine.values() if r.end is not Mode.FAULT)
        if mode is not Mode.HOLD:
            assert (mine[Event.ASK_HOLD].guard, mine[Event.ASK_HOLD].end) == (Guard.ALWAYS, Mode.HOLD)


@given(mode=st.sampled_from(Mode), events=st.sets(st.sampled_from(sorted(set(Event) - {Event.CAUSE}, key=str))))
def test_of_what_happens_at_once_the_first_by_priority_decides(mode, events) -> None:
    mine = [row for row in TRANSITIONS if row.start is mode and row.event in events]
    happened = arbiter_in(mode).happened(events)
    assert (happened is None) is (not mine)
    if happened is not None:
        assert happened in mine
        assert happened.priority == min(row.priority for row in mine)


@pytest.mark.parametrize(("mode", "wanted"), list(itertools.product(Mode, Mode)))
def test_a_request_is_answered_by_the_table_and_a_refusal_has_a_remedy(mode, wanted) -> None:
    arbiter = arbiter_in(mode)
    possible = wanted is mode or any(row.start is mode and row.event is ASK[wanted] for row in TRANSITIONS)
    reply = arbiter.request(wanted)
    assert reply.success is possible
    assert arbiter.mode is reply.mode is (wanted if possible else mode)
    assert ("Remedy: " in reply.message) is not possible


def test_an_obstacle_refuses_with_its_words() -> None:
    reply = Arbiter().request(Mode.POLICY, lambda guard: "No chunk. Remedy: start it.")
    assert (reply.success, reply.message, reply.mode) == (False, "No chunk. Remedy: start it.", Mode.HOLD)


def test_asking_for_the_mode_in_force_succeeds_whatever_stands_against_entering_it() -> None:
    assert arbiter_in(Mode.POLICY).request(Mode.POLICY, lambda guard: "No chunk.").success


def test_the_first_cause_of_a_fault_stays_on_record_and_is_counted_once() -> None:
    arbiter = arbiter_in(Mode.FAULT)
    arbiter.happened(problem=(Cause.NAN_STATE, "later"))
    assert (arbiter.cause, arbiter.detail) == WRONG
    assert arbiter.faults == {cause.value: int(cause is Cause.TRACKING) for cause in Cause}
    assert arbiter.request(Mode.HOLD).success
    assert (arbiter.cause, arbiter.detail) == (None, "")
    assert arbiter.request(Mode.FAULT).success
    assert (arbiter.cause, arbiter.detail) == (Cause.REQUESTED, "stopped on request")
