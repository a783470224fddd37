"""A person takes over from the policy and gives back: the device, its deadman, and what touching it does."""

from dataclasses import replace

import numpy as np
import pytest
from control_rig import MS, PERIOD_NS, PROFILE, READY, Rig, assert_smooth
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_ros.control.arbiter import Mode

TURN = np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])


def rig_with(**teleop) -> Rig:
    return Rig(replace(PROFILE, teleop=replace(PROFILE.teleop, **teleop)))


def deadman(rig: Rig, held: bool) -> None:
    rig.controller.on_deadman(held, rig.now_ns, rig.now_ns)


def run(rig: Rig, ticks: int, leader=None, *, policy: bool = True, held: bool | None = None):
    """Ticks with a policy that stays where the arm is, a leader at its place, and a deadman in its state."""
    command = None
    for k in range(ticks):
        if policy and k % 5 == 0:
            rig.chunk(rig.arm)
        if leader is not None:
            rig.teleop(leader(k) if callable(leader) else leader)
        if held is not None:
            deadman(rig, held)
        command = rig.tick()
    return command


def in_policy(rig: Rig, leader=READY, held: bool | None = None) -> None:
    run(rig, 5, leader, held=held)
    assert rig.ask(Mode.POLICY).success
    run(rig, 60, leader, held=held)
    assert rig.controller.mode is Mode.POLICY


def push(k: int) -> np.ndarray:
    return READY + 0.02 * k * TURN


# -- asked for --------------------------------------------------------------------------------------------------------


def test_correction_is_asked_for_while_the_policy_runs_and_ends_by_asking_for_it_again() -> None:
    rig = rig_with()
    run(rig, 5, READY)
    assert "takes over from POLICY" in rig.ask(Mode.CORRECTION).message
    in_policy(rig)
    assert rig.ask(Mode.CORRECTION).success
    command = run(rig, 100, READY + 0.03)
    assert (command.mode, command.source, command.reason) == (Mode.CORRECTION, "teleop", "")
    np.testing.assert_allclose(command.position, READY + 0.03, atol=1e-6)
    assert rig.ask(Mode.POLICY).success
    assert rig.tick().mode is Mode.POLICY
    assert_smooth(rig)


def test_the_policy_goes_on_from_where_the_correction_has_left_the_arm_by_newer_chunks_alone() -> None:
    rig = rig_with()
    in_policy(rig)
    assert rig.ask(Mode.CORRECTION).success
    run(rig, 150, lambda k: READY + min(k, 100) / 100 * TURN)
    left = rig.controller.commanded
    assert abs(left[0] - READY[0] - 0.3) < 0.01
    assert rig.ask(Mode.POLICY).success
    refused = rig.controller.counters["rejected_chunk_before_switch"]
    rig.chunk(READY, age_ms=50)  # from an observation before the switch: back to where the policy wanted to go
    command = rig.tick(10)
    assert command.reason == "waiting for a chunk from after the switch"
    assert command.position.tolist() == left.tolist()
    assert rig.controller.counters["rejected_chunk_before_switch"] == refused + 1
    rig.chunk(left, speed=0.1, age_ms=50)
    assert rig.tick(5).reason == ""
    assert_smooth(rig)


def test_a_device_that_falls_silent_or_sends_nan_while_correcting_is_a_fault() -> None:
    for lose, words in (
        (lambda rig: run(rig, 55), "no leader arm's message for 0.5 s"),
        (lambda rig: run(rig, 2, [float("nan")] * 7), "NaN"),
    ):
        rig = rig_with()
        in_policy(rig)
        rig.ask(Mode.CORRECTION)
        run(rig, 5, READY)
        lose(rig)
        assert rig.controller.mode is Mode.FAULT
        assert words in rig.controller.reason


def test_a_policy_that_falls_silent_while_correcting_disturbs_nobody_but_cannot_be_gone_back_to() -> None:
    rig = rig_with()
    in_policy(rig)
    rig.ask(Mode.CORRECTION)
    assert run(rig, 150, READY, policy=False).mode is Mode.CORRECTION
    assert "No usable action chunk" in rig.ask(Mode.POLICY).message
    assert rig.controller.mode is Mode.CORRECTION


# -- touched ----------------------------------------------------------------------------------------------------------


def test_moving_the_leader_takes_over_by_itself_and_its_first_tick_is_known() -> None:
    rig = rig_with(override_motion=0.1)
    in_policy(rig)
    command = run(rig, 30, push)
    assert (command.mode, rig.controller.mode_event) == (Mode.CORRECTION, "the person takes hold of the device")
    first = next(i for i, c in enumerate(rig.commands) if c.mode is Mode.CORRECTION)
    # 0.006 rad a tick: 0.1 rad beyond where it was are reached after 17 ticks and a little, and said by two messages
    assert 15 <= first - 65 <= 25
    (_, _), (_, _), (mode, since_ns) = rig.controller.recent_modes
    assert mode is Mode.CORRECTION
    assert since_ns == rig.now_ns - (len(rig.commands) - 1 - first) * PERIOD_NS
    assert rig.controller.counters["mode_changes"] == 2
    assert_smooth(rig)


def test_by_default_touching_the_device_does_nothing() -> None:
    rig = rig_with()
    in_policy(rig, held=False)
    assert run(rig, 60, push, held=True).mode is Mode.POLICY


def test_a_leader_that_sags_slowly_slips_once_or_follows_the_arm_is_not_being_touched() -> None:
    def slip(k: int) -> np.ndarray:
        return READY + (TURN if k % 50 == 25 else 0.0)

    for leader in (slip, lambda k: READY - 0.0005 * k * np.sign(TURN)):
        rig = rig_with(override_motion=0.1)
        in_policy(rig)
        assert run(rig, 300, leader).mode is Mode.POLICY
    rig = rig_with(override_motion=0.1)
    in_policy(rig)
    for _ in range(100):  # a leader with motors that goes with the arm
        rig.chunk(rig.controller.commanded, speed=0.5)
        rig.teleop(rig.controller.commanded)
        assert rig.tick().mode is Mode.POLICY
    assert np.abs(rig.arm - READY).max() > 0.2
    for k in range(10):  # until someone holds it back
        rig.teleop(rig.controller.commanded - 0.03 * k)
        rig.tick()
    assert rig.controller.mode is Mode.CORRECTION


def test_a_leader_that_is_put_down_after_the_hand_back_does_not_take_over_again() -> None:
    rig = rig_with(override_motion=0.1)
    in_policy(rig)
    run(rig, 40, push)
    assert rig.controller.mode is Mode.CORRECTION
    assert rig.ask(Mode.POLICY).success
    assert run(rig, 30, lambda k: READY + 0.24 * TURN - 0.03 * k * TURN).mode is Mode.POLICY
    assert run(rig, 60, READY).mode is Mode.POLICY
    assert run(rig, 40, push).mode is Mode.CORRECTION  # once it lay still, it counts again


def test_a_device_that_comes_back_elsewhere_is_not_being_touched() -> None:
    rig = rig_with(override_motion=0.1)
    in_policy(rig)
    run(rig, 100)
    assert run(rig, 100, READY + TURN).mode is Mode.POLICY


def test_pressing_the_deadman_takes_over_once_the_device_speaks() -> None:
    rig = rig_with(override_deadman=True)
    run(rig, 5, held=False)
    assert rig.ask(Mode.POLICY).success
    run(rig, 60, held=False)
    assert run(rig, 10, held=True).mode is Mode.POLICY  # no target yet: the policy goes on
    command = run(rig, 2, READY, held=True)
    assert command.mode is Mode.CORRECTION


def test_a_deadman_still_held_from_before_the_hand_back_does_not_take_over_again() -> None:
    rig = rig_with(override_deadman=True)
    in_policy(rig, held=False)
    assert run(rig, 3, READY, held=True).mode is Mode.CORRECTION
    assert rig.ask(Mode.POLICY).success
    assert run(rig, 80, READY, held=True).mode is Mode.POLICY
    assert run(rig, 20, READY, held=False).mode is Mode.POLICY
    assert run(rig, 3, READY, held=True).mode is Mode.CORRECTION


# -- the deadman ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.TELEOP, Mode.CORRECTION])
def test_releasing_the_deadman_holds_the_arm_at_the_next_tick(mode) -> None:
    rig = rig_with()
    in_policy(rig, held=True)
    assert rig.ask(mode).success
    moving = run(rig, 60, lambda k: READY + 0.02 * k * TURN, held=True)
    assert moving.velocity[0] > 0.3
    deadman(rig, False)
    command = rig.tick()
    assert (command.mode, rig.controller.mode_event) == (Mode.HOLD, "the deadman is released")
    assert run(rig, 40, READY, held=True).mode is Mode.HOLD  # pressing it again moves nothing
    assert rig.commands[-1].velocity.tolist() == [0.0] * 7
    assert_smooth(rig)


def test_a_device_is_let_in_only_while_its_deadman_is_held() -> None:
    rig = rig_with()
    run(rig, 5, READY, held=False)
    assert "deadman is not held" in rig.ask(Mode.TELEOP).message
    run(rig, 1, READY, held=True)
    assert rig.ask(Mode.TELEOP).success


def test_a_profile_that_has_a_deadman_wants_to_hear_of_it() -> None:
    rig = rig_with(deadman=True)
    run(rig, 5, READY)
    assert "No deadman's message" in rig.ask(Mode.TELEOP).message


def test_a_deadman_that_falls_silent_is_a_fault() -> None:
    rig = rig_with()
    run(rig, 5, READY, held=True)
    assert rig.ask(Mode.TELEOP).success
    command = run(rig, 55, READY)
    assert command.mode is Mode.FAULT
    assert command.reason == "no deadman's message for 0.5 s"


def test_a_deadman_s_message_that_was_overtaken_is_no_news() -> None:
    rig = rig_with()
    run(rig, 5, READY, held=True)
    assert rig.ask(Mode.TELEOP).success
    deadman(rig, False)
    rig.controller.on_deadman(True, rig.now_ns, rig.now_ns - 5 * MS)
    assert rig.tick().mode is Mode.HOLD


# -- waiting for the leader -------------------------------------------------------------------------------------------


def test_with_wait_the_arm_holds_until_the_leader_is_brought_to_it() -> None:
    rig = rig_with(hand_over="wait")
    run(rig, 5, READY + TURN)
    assert rig.ask(Mode.TELEOP).success
    command = run(rig, 100, READY + TURN)
    assert command.position.tolist() == READY.tolist()
    assert command.reason == "waiting for the leader to be brought to the arm, 0.30 rad away"
    run(rig, 50, lambda k: READY + TURN * (1 - k / 49))
    command = run(rig, 100, lambda k: READY + 0.5 * TURN * min(k, 80) / 80)
    assert command.reason == ""
    np.testing.assert_allclose(command.position, READY + 0.5 * TURN, atol=1e-3)
    assert_smooth(rig)


def test_with_wait_an_arm_taken_over_at_speed_brakes() -> None:
    rig = rig_with(hand_over="wait")
    in_policy(rig, READY - TURN)
    for _ in range(8):
        rig.chunk(rig.controller.commanded, speed=0.8)
        rig.teleop(READY - TURN)
        rig.tick(5)
    assert rig.commands[-1].velocity[0] > 0.6
    assert rig.ask(Mode.CORRECTION).success
    command = run(rig, 40, READY - TURN)
    assert command.mode is Mode.CORRECTION
    assert np.abs(command.velocity).max() < 1e-6
    assert_smooth(rig)


# -- everything at once -----------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    hand_over=st.sampled_from(["approach", "wait"]),
    override=st.sampled_from([0.0, 0.1]),
    has_deadman=st.booleans(),
)
def test_whoever_takes_over_from_whom_and_however_fast_the_arm_never_jumps(
    seed, hand_over, override, has_deadman
) -> None:
    """Some 100 requests a run, and hands that come and go: limits kept, one source a tick, and the log tells which."""
    rng = np.random.default_rng(seed)
    rig = rig_with(hand_over=hand_over, override_motion=override, override_deadman=bool(override))
    rig.tick(3)
    phase, amplitude, rate = rng.uniform(0, 6, size=7), rng.uniform(0.05, 0.4), rng.uniform(0.3, 3.0)
    held, log = True, []
    for k in range(400):
        t = k * 0.01
        if rng.random() < 0.4:
            rig.teleop(
                READY + 0.3 * np.sin(rate * t) + amplitude * np.sin(rate * t + phase), gripper=rng.uniform(0, 0.08)
            )
        if rng.random() < 0.03:
            held = not held
        if has_deadman and rng.random() < 0.3:
            deadman(rig, held)
        if rng.random() < 0.1:
            rig.chunk(
                READY - 0.2 + amplitude * np.cos(rate * t + phase), rng.normal() * 0.3, age_ms=int(rng.integers(400))
            )
        if rng.random() < 0.25:
            rig.ask(Mode(int(rng.choice(5, p=[0.2, 0.25, 0.3, 0.05, 0.2]))))
        command = rig.tick()
        assert command.source == command.mode.source("hold")
        log.append((rig.now_ns, command.mode))
        since = [mode for mode, begin_ns in rig.controller.recent_modes if begin_ns <= rig.now_ns]
        assert since[-1] is command.mode
    assert_smooth(rig)
    changes = [(m, ns) for (_, before), (ns, m) in zip([(0, Mode.HOLD), *log], log, strict=False) if m is not before]
    assert rig.controller.counters["mode_changes"] == len(changes)
    assert [change for change in rig.controller.recent_modes if change[1]] == changes[-16:]
