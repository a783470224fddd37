"""FAULT: every cause of it, the safe action that follows, and the one way out."""

import numpy as np
import pytest
from control_rig import MS, PROFILE, READY, Rig, assert_smooth

from f1_ros.control.arbiter import Cause, Mode

LIMITS = PROFILE.limits


def nan_state(rig: Rig) -> None:
    rig.arm_speaks = False
    rig.now_ns += 1
    rig.joint_state([float("nan"), *READY[1:]])


def lost_state(rig: Rig) -> None:
    rig.arm_speaks = False
    rig.tick(20)


def stall(rig: Rig) -> None:
    rig.now_ns += 300 * MS


def hanging_driver(rig: Rig) -> None:
    rig.arm_speaks = False
    for _ in range(22):
        rig.tick()
        rig.controller.on_joint_state(PROFILE.joints, list(READY), [], rig.now_ns, stamp_ns=5)


def blocked_arm(rig: Rig) -> None:
    rig.stiffness = 0.0
    rig.arm = rig.arm + 0.6


FAULTS = {
    "stall": (stall, "stalled", "no command for 0.3 s: the process was stopped"),
    "nan_state": (nan_state, "nan_state", "joint state holds NaN"),
    "lost_state": (lost_state, "joint_state_lost", "no joint state of fr3_joint1 for 0.2 s"),
    "hanging_driver": (hanging_driver, "joint_state_lost", "no joint state"),
    "blocked_arm": (blocked_arm, "tracking", "rad from its command"),
    "nan_chunk": (
        lambda rig: rig.controller.on_invalid_command(Mode.POLICY, "chunk holds NaN"),
        "nan_command",
        "chunk holds NaN",
    ),
    "rival": (
        lambda rig: rig.controller.on_trouble(Cause.RIVAL, "other_node publishes on the command topic as well"),
        "rival",
        "other_node publishes",
    ),
    "robot": (
        lambda rig: rig.controller.on_trouble(Cause.ROBOT, "the robot has stopped by a reflex"),
        "robot",
        "stopped by a reflex",
    ),
    "requested": (lambda rig: rig.ask(Mode.FAULT), "requested", "stopped on request"),
}


@pytest.mark.parametrize("cause", FAULTS)
def test_each_cause_brakes_the_moving_arm_within_two_ticks_and_is_named(cause) -> None:
    rig = Rig()
    rig.start(Mode.POLICY)
    rig.tick(15)
    rig.chunk(rig.controller.commanded, speed=0.4)
    before = rig.tick(30)
    happen, counter, words = FAULTS[cause]
    happen(rig)
    rig.tick(2)
    command = rig.commands[-1]
    assert (command.mode, command.source) == (Mode.FAULT, "hold")
    assert words in command.reason
    assert command.velocity[0] < before.velocity[0] - 0.05
    rest = rig.tick(20)
    assert rest.velocity.tolist() == [0.0] * 7
    assert not rest.grippers
    assert rig.controller.counters[f"fault_{counter}"] == 1
    assert_smooth(rig)


@pytest.mark.parametrize(("mode", "timeout_s"), [(Mode.TELEOP, 0.5), (Mode.POLICY, 1.0)])
def test_a_source_that_falls_silent_is_a_fault_after_its_timeout(mode, timeout_s) -> None:
    rig = Rig()
    rig.start(mode)
    rig.tick(round(timeout_s * 100) - 2)
    assert rig.controller.mode is mode
    command = rig.tick(5)
    assert command.mode is Mode.FAULT
    assert f"for {timeout_s:g} s" in command.reason


def test_the_reason_of_a_fault_is_there_with_the_mode_before_the_next_tick() -> None:
    rig = Rig()
    rig.start(Mode.POLICY)
    rig.tick(2)
    rig.controller.on_invalid_command(Mode.POLICY, "chunk holds NaN")
    assert (rig.controller.mode, rig.controller.reason) == (Mode.FAULT, "chunk holds NaN")


def test_a_policy_that_sends_only_unusable_chunks_counts_as_silent() -> None:
    rig = Rig()
    rig.start(Mode.POLICY)
    for _ in range(12):
        rig.chunk(robot="arx")
        rig.tick(10)
    assert rig.controller.counters["fault_policy_silent"] == 1
    assert rig.controller.counters["rejected_chunk_wrong_robot"] >= 9


def test_a_nan_from_the_leader_is_a_fault_in_teleop_and_only_counted_elsewhere() -> None:
    rig = Rig()
    rig.tick(5)
    rig.teleop([float("nan")] * 7)
    assert rig.tick().mode is Mode.HOLD
    rig.start(Mode.TELEOP)
    rig.teleop([float("nan")] * 7)
    command = rig.tick()
    assert command.mode is Mode.FAULT
    assert "NaN" in command.reason
    assert rig.controller.counters["rejected_teleop_invalid"] == 2


def test_fault_is_left_by_hold_only_and_not_while_its_cause_persists() -> None:
    rig = Rig()
    rig.start(Mode.POLICY)
    lost_state(rig)
    rig.tick(100)
    rig.chunk()
    for mode in (Mode.POLICY, Mode.TELEOP):
        reply = rig.ask(mode)
        assert not reply.success
        assert "ask for HOLD first" in reply.message
    reply = rig.ask(Mode.HOLD)
    assert not reply.success
    assert "no joint state" in reply.message
    rig.arm_speaks = True
    assert rig.tick(100).mode is Mode.FAULT  # the joint state is back: nobody has asked yet
    assert rig.ask(Mode.HOLD).success
    assert rig.tick().mode is Mode.HOLD
    assert rig.tick().reason == "holding"


def test_leaving_fault_starts_from_the_measured_arm_if_it_was_moved() -> None:
    rig = Rig()
    rig.tick(5)
    rig.ask(Mode.FAULT)
    rig.stiffness = 0.0
    rig.arm = READY + 0.2
    rig.tick(60)
    assert rig.ask(Mode.HOLD).success
    assert rig.tick().position.tolist() == (READY + 0.2).tolist()


def test_leaving_fault_while_still_braking_goes_on_braking() -> None:
    rig = Rig(stiffness=0.1)
    rig.start(Mode.POLICY)
    rig.tick(15)
    rig.chunk(rig.controller.commanded, speed=1.0)
    moving = rig.tick(40)
    assert np.abs(rig.arm - moving.position).max() > 0.05  # it lags by more than what is taken for having been moved
    rig.ask(Mode.FAULT)
    rig.tick(2)
    assert rig.ask(Mode.HOLD).success
    rig.tick(30)
    assert_smooth(rig)


def test_leaving_fault_while_the_arm_still_comes_to_where_it_was_commanded_does_not_jump() -> None:
    rig = Rig(stiffness=0.05)
    rig.start(Mode.POLICY)
    rig.tick(15)
    rig.chunk(rig.controller.commanded, speed=1.0)
    rig.tick(40)
    rig.ask(Mode.FAULT)
    while rig.tick().velocity.any():
        pass
    assert np.abs(rig.arm - rig.controller.commanded).max() > 0.05
    assert rig.ask(Mode.HOLD).success
    rig.tick(30)
    assert_smooth(rig)


def test_the_clock_going_back_starts_over_in_hold() -> None:
    rig = Rig()
    rig.start(Mode.POLICY)
    rig.tick(15)
    rig.chunk(speed=0.3)
    rig.tick(20)
    rig.now_ns = 5_000 * MS
    rig.arm = READY + 0.3
    command = rig.tick()
    assert command is None  # what was measured is of another time
    command = rig.tick(2)
    assert command.mode is Mode.HOLD
    assert command.position.tolist() == (READY + 0.3).tolist()
    assert rig.controller.counters["clock_resets"] == 1
    rig.start(Mode.POLICY)


def test_the_clock_going_back_does_not_clear_a_fault() -> None:
    rig = Rig()
    rig.tick(5)
    rig.ask(Mode.FAULT)
    rig.now_ns = 5_000 * MS
    rig.tick(3)
    assert rig.controller.mode is Mode.FAULT
