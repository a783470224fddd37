"""Who may move the arm: the table of modes."""

import pytest

from f1_ros.control.arbiter import Arbiter, Cause, Mode

ALL = (Mode.HOLD, Mode.TELEOP, Mode.POLICY, Mode.FAULT)


def arbiter_in(mode: Mode) -> Arbiter:
    arbiter = Arbiter()
    if mode is Mode.FAULT:
        arbiter.fault(Cause.TRACKING, "off by 1 rad")
    else:
        assert arbiter.request(mode).success
    return arbiter


def test_it_starts_in_hold() -> None:
    assert Arbiter().mode is Mode.HOLD


@pytest.mark.parametrize(
    ("mode", "allowed"),
    [
        (Mode.HOLD, {Mode.HOLD, Mode.TELEOP, Mode.POLICY, Mode.FAULT}),
        (Mode.TELEOP, {Mode.HOLD, Mode.TELEOP, Mode.POLICY, Mode.FAULT}),
        (Mode.POLICY, {Mode.HOLD, Mode.TELEOP, Mode.POLICY, Mode.FAULT}),
        (Mode.FAULT, {Mode.HOLD, Mode.FAULT}),
    ],
)
def test_what_may_follow_what_on_request(mode, allowed) -> None:
    for wanted in ALL:
        arbiter = arbiter_in(mode)
        reply = arbiter.request(wanted)
        assert reply.success is (wanted in allowed)
        assert arbiter.mode is reply.mode is (wanted if wanted in allowed else mode)
        assert bool(reply.message) is (wanted not in allowed)


def test_an_obstacle_refuses_with_its_words() -> None:
    reply = Arbiter().request(Mode.POLICY, "No chunk. Remedy: start it.")
    assert (reply.success, reply.message, reply.mode) == (False, "No chunk. Remedy: start it.", Mode.HOLD)


def test_asking_for_the_mode_in_force_succeeds_whatever_stands_against_entering_it() -> None:
    assert arbiter_in(Mode.POLICY).request(Mode.POLICY, "No chunk.").success


def test_the_first_cause_of_a_fault_stays_on_record_and_is_counted_once() -> None:
    arbiter = arbiter_in(Mode.FAULT)
    arbiter.fault(Cause.NAN_STATE, "later")
    assert (arbiter.cause, arbiter.detail) == (Cause.TRACKING, "off by 1 rad")
    assert arbiter.faults == {
        "nan_command": 0,
        "nan_state": 0,
        "joint_state_lost": 0,
        "teleop_silent": 0,
        "policy_silent": 0,
        "tracking": 1,
        "rival": 0,
        "stalled": 0,
        "requested": 0,
    }
    assert arbiter.request(Mode.HOLD).success
    assert (arbiter.cause, arbiter.detail) == (None, "")
