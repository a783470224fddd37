"""The control tick: one source at a time, no jump at any hand-over, and FAULT whenever something is lost."""

from dataclasses import replace

import numpy as np
import pytest
from control_rig import MS, PERIOD_NS, PROFILE, READY, Rig, assert_smooth
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_ros.control.arbiter import Mode
from f1_ros.control.controller import Controller

LIMITS = PROFILE.limits


def test_nothing_is_commanded_before_the_arm_has_spoken() -> None:
    rig = Rig()
    rig.arm_speaks = False
    assert rig.tick(50) is None
    assert rig.controller.mode is Mode.HOLD
    assert rig.controller.reason == "waiting for the first joint state"
    assert not rig.ask(Mode.POLICY).success


def test_the_first_command_is_where_the_arm_is_and_hold_stays_there() -> None:
    rig = Rig(start=READY + 0.1)
    command = rig.tick()
    assert command.position.tolist() == (READY + 0.1).tolist()
    assert (command.mode, command.source, command.reason) == (Mode.HOLD, "hold", "holding")
    assert rig.tick(100).position.tolist() == (READY + 0.1).tolist()


@pytest.mark.parametrize("mode", [Mode.HOLD, Mode.FAULT])
def test_until_commands_are_sent_the_arm_may_be_moved_by_others(mode) -> None:
    rig = Rig()
    rig.tick(5)
    rig.ask(mode)
    moved = READY + 0.3
    rig.now_ns += PERIOD_NS
    rig.joint_state(moved)
    assert rig.controller.tick(rig.now_ns, sending=False).position.tolist() == moved.tolist()
    rig.arm = READY  # from the first command that is sent on, the arm is held where it was then
    assert rig.tick().position.tolist() == moved.tolist()


def test_joint_state_may_come_in_parts_in_any_order_with_other_joints_in_it() -> None:
    controller = Controller(PROFILE)
    names = ["other_joint", *PROFILE.joints[6:2:-1]]
    controller.on_joint_state(names, [9.0, 0.7, 1.5, 0.0, -2.0], [], 1, 0)
    assert controller.tick(2) is None
    controller.on_joint_state(PROFILE.joints[:3], [0.1, 0.2, 0.3], [], 3, 0)
    assert controller.tick(4).position.tolist() == [0.1, 0.2, 0.3, -2.0, 0.0, 1.5, 0.7]


def test_the_policy_moves_the_arm_along_its_chunk() -> None:
    rig = Rig()
    rig.start(Mode.POLICY)
    assert rig.tick().reason == "waiting for a chunk from after the switch"
    rig.tick(10)
    for _ in range(3):
        rig.chunk(rig.controller.commanded, speed=0.2)
        command = rig.tick(20)
    assert (command.source, command.reason) == ("policy", "")
    assert command.velocity.tolist() == pytest.approx([0.2] * 7, abs=0.02)
    assert rig.controller.counters["chunks"] == 3
    assert rig.controller.camera_to_command_ns == 110 * MS
    assert_smooth(rig)


def test_a_chunk_from_before_the_switch_is_not_followed() -> None:
    rig = Rig()
    rig.start(Mode.POLICY)
    rig.chunk(READY + 0.3, age_ms=100)
    assert rig.tick(5).position.tolist() == READY.tolist()
    assert rig.controller.counters["rejected_chunk_before_switch"] == 1


def test_chunks_are_watched_but_not_followed_outside_policy() -> None:
    rig = Rig()
    rig.tick(5)
    rig.chunk(READY + 0.3)
    assert rig.tick(20).position.tolist() == READY.tolist()


def test_a_silent_or_dead_source_cannot_be_switched_to() -> None:
    rig = Rig()
    rig.tick(5)
    for mode, what in ((Mode.POLICY, "usable action chunk"), (Mode.TELEOP, "leader arm's message")):
        reply = rig.ask(mode)
        assert not reply.success
        assert reply.mode is Mode.HOLD
        assert what in reply.message
        assert "Remedy:" in reply.message


def test_a_chunk_in_other_units_is_refused() -> None:
    rig = Rig()
    rig.start(Mode.POLICY)
    rig.chunk(np.rad2deg(READY))
    assert rig.controller.counters["rejected_chunk_out_of_range"] == 1


def test_grippers_are_told_on_change_only() -> None:
    rig = Rig()
    rig.start(Mode.POLICY)
    rig.tick(15)
    for width in (0.08, 0.078, 0.08, 0.01, 0.0, 0.002):
        rig.chunk(READY, gripper=width)
        rig.tick(40)
    assert [c.grippers["gripper"] for c in rig.commands if c.grippers] == [0.08, 0.0]
    assert rig.controller.gripper_commanded == {"gripper": 0.0}


def test_when_mode_and_gripper_were_commanded_is_known() -> None:
    rig = Rig()
    rig.tick(3)
    assert (rig.controller.mode_ns, rig.controller.gripper_commanded_ns) == (0, {"gripper": 0})
    rig.start(Mode.POLICY)
    since = rig.controller.mode_ns
    rig.tick(15)
    rig.chunk(READY, gripper=0.0)
    rig.tick()
    told = rig.now_ns
    rig.tick(20)
    assert 0 < rig.controller.mode_ns == since < told
    assert rig.controller.gripper_commanded_ns == {"gripper": told}
    assert rig.ask(Mode.HOLD).success
    assert rig.controller.mode_ns == rig.now_ns


def test_the_controller_tells_what_status_needs() -> None:
    rig = Rig()
    assert rig.controller.commanded is None
    assert rig.controller.commanded_velocity is None
    rig.start(Mode.POLICY)
    rig.tick(15)
    assert rig.controller.chunk_stamp_ns is None
    rig.chunk(speed=0.2)
    command = rig.tick(10)
    assert rig.controller.commanded.tolist() == command.position.tolist()
    assert rig.controller.commanded_velocity.tolist() == command.velocity.tolist()
    assert rig.controller.chunk_stamp_ns == rig.now_ns - 100 * MS - 9 * PERIOD_NS - PERIOD_NS
    rig.tick(80)
    assert rig.controller.reason == "the chunk is at its end, the next one is overdue"
    assert rig.controller.counters["ticks"] == 110


# -- hand-overs -------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_switching_at_any_time_between_any_sources_never_jumps(seed) -> None:
    """Two moving sources far from each other, bad messages among theirs, and someone who keeps switching."""
    rng = np.random.default_rng(seed)
    rig = Rig()
    rig.tick(3)
    phase, amplitude = rng.uniform(0, 6, size=7), rng.uniform(0.05, 0.4)
    for k in range(400):
        t = k * 0.01
        if k % int(rng.integers(2, 8)) == 0:
            rig.teleop(READY + 0.3 + amplitude * np.sin(1.5 * t + phase), gripper=rng.uniform(0, 0.08))
        if rng.random() < 0.08:
            rig.chunk(
                READY - 0.2 + amplitude * np.cos(t + phase) + rng.normal(size=7) * 0.02,
                rng.normal() * 0.3,
                age_ms=int(rng.integers(0, 400)),
                robot=str(rng.choice(["franka", "arx"], p=[0.9, 0.1])),
            )
        if rng.random() < 0.05:
            rig.ask(Mode(int(rng.integers(0, 3))))
        if rng.random() < 0.01:
            rig.controller.on_invalid_command(Mode.POLICY, "NaN")
        if rig.controller.mode is Mode.FAULT:
            rig.ask(Mode.HOLD)
        command = rig.tick()
        assert command.source == command.mode.name.lower() if command.mode is not Mode.FAULT else "hold"
    assert_smooth(rig)


def test_stopping_a_moving_arm_starts_from_its_velocity() -> None:
    rig = Rig()
    rig.start(Mode.POLICY)
    rig.tick(15)
    rig.chunk(rig.controller.commanded, speed=0.5)
    moving = rig.tick(30)
    assert moving.velocity[0] == pytest.approx(0.5, abs=0.05)
    assert rig.ask(Mode.HOLD).success
    first = rig.tick()
    assert first.velocity[0] == pytest.approx(moving.velocity[0] - 0.09, abs=0.011)  # 10 rad/s^2 less the ramp
    rest = rig.tick(20)
    assert rest.velocity.tolist() == [0.0] * 7
    assert_smooth(rig)


def test_a_leader_far_away_is_approached_slowly_then_followed() -> None:
    rig = Rig()
    leader = READY + np.array([0.8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    rig.tick(5)
    rig.teleop(leader, gripper=0.0)
    assert rig.ask(Mode.TELEOP).success
    reasons = []
    for _ in range(300):
        rig.teleop(leader, gripper=0.0)
        command = rig.tick()
        reasons.append(command.reason)
    assert reasons[5].startswith("approaching the leader, 0.")
    assert reasons[-1] == ""
    speed = np.abs(rig.velocities()[:, 0])
    assert speed.max() <= 0.21 * 2.62  # approach_velocity of the profile, and a little while it is faded out
    np.testing.assert_allclose(command.position, leader, atol=1e-6)
    # The gripper waited for the arm: it may have been holding something.
    first = next(i for i, c in enumerate(rig.commands) if c.grippers)
    assert np.abs(rig.commands[first].position - leader).max() <= PROFILE.teleop.aligned_within
    assert_smooth(rig)


def test_a_leader_that_moves_is_followed_with_a_message_interval_of_lag() -> None:
    rig = Rig()
    rig.start(Mode.TELEOP)

    def leader(t: float) -> np.ndarray:
        return READY + 0.3 * np.sin(2.0 * t)

    errors = []
    for k in range(600):
        t = k * 0.01
        if k % 3 == 0:
            rig.teleop(leader(t))
        command = rig.tick()
        if k > 300:
            errors.append(np.abs(command.position - leader(t + 0.01 - 0.0375)).max())  # 1.25 intervals
    assert max(errors) < 0.01
    assert_smooth(rig)


def test_a_leader_that_jumps_is_approached_again() -> None:
    rig = Rig()
    rig.start(Mode.TELEOP)
    for _ in range(50):
        rig.teleop(READY)
        rig.tick()
    assert rig.controller.reason == ""
    for _ in range(30):
        rig.teleop(READY + 0.5)
        command = rig.tick()
    assert command.reason.startswith("approaching the leader")
    assert np.abs(rig.velocities()).max() <= 0.2 * 5.26 + 1e-9


# -- what else comes in -----------------------------------------------------------------------------------------------


def test_teleop_messages_that_cannot_be_meant_are_refused_by_cause() -> None:
    rig = Rig()
    rig.tick(5)
    controller, now = rig.controller, rig.now_ns
    controller.on_teleop(PROFILE.joints[:6], [0.0] * 6, now)
    controller.on_teleop(PROFILE.joints, [0.0] * 6, now)
    controller.on_teleop(PROFILE.joints, list(np.rad2deg(READY)), now)
    controller.on_teleop(PROFILE.joints, list(READY), now, now - 600 * MS)
    controller.on_teleop(PROFILE.joints, list(READY), now, now)
    controller.on_teleop(PROFILE.joints, list(READY), now, now)
    counters = controller.counters
    assert counters["rejected_teleop_joints"] == 2
    assert counters["rejected_teleop_out_of_range"] == 1
    assert counters["rejected_teleop_old"] == 2
    assert counters["rejected"] == 5


def test_joint_states_that_cannot_be_used_are_counted_and_do_not_refresh() -> None:
    rig = Rig()
    rig.tick(5)
    rig.arm_speaks = False
    for _ in range(25):
        rig.controller.on_joint_state(PROFILE.joints, [0.0] * 3, [], rig.now_ns)
        rig.controller.on_joint_state(["elsewhere"], [0.0], [], rig.now_ns)
        rig.tick()
    assert rig.controller.mode is Mode.FAULT
    assert rig.controller.counters["rejected_state"] == 50


def test_a_driver_that_starts_anew_with_another_clock_is_heard() -> None:
    rig = Rig()
    rig.tick(5)
    rig.controller.on_joint_state(PROFILE.joints, list(READY + 0.1), [], rig.now_ns, stamp_ns=rig.now_ns - 5 * MS)
    assert rig.controller.measured.tolist() == READY.tolist()  # overtaken on its way
    rig.controller.on_joint_state(PROFILE.joints, list(READY + 0.2), [], rig.now_ns, stamp_ns=7 * MS)
    assert rig.controller.measured.tolist() == (READY + 0.2).tolist()


def test_a_driver_without_velocities_may_write_nan_for_them() -> None:
    rig = Rig()
    rig.controller.on_joint_state(PROFILE.joints, list(READY), [float("nan")] * 7, rig.now_ns)
    assert rig.controller.tick(rig.now_ns).velocity.tolist() == [0.0] * 7


def test_an_arm_that_moves_at_the_start_is_braked_from_its_velocity() -> None:
    rig = Rig()
    rig.controller.on_joint_state(PROFILE.joints, list(READY), [0.5, 99.0, 0, 0, 0, 0, 0], rig.now_ns)
    command = rig.controller.tick(rig.now_ns)
    assert 0.39 < command.velocity[0] < 0.5
    assert command.velocity[1] <= 2.62


def test_two_arms_with_two_grippers_are_one_vector_in_the_layout_s_order() -> None:
    arm, gripper = PROFILE.arms[0], PROFILE.grippers[0]
    left = replace(arm, name="left", joints=tuple(replace(j, name=f"l_{j.name}") for j in arm.joints))
    right = replace(arm, name="right", joints=tuple(replace(j, name=f"r_{j.name}") for j in arm.joints))
    names = (*(j.name for j in left.joints), "left", *(j.name for j in right.joints), "right")
    profile = replace(
        PROFILE,
        name="twin",
        arms=(left, right),
        grippers=(replace(gripper, name="left"), replace(gripper, name="right")),
        state_names=names,
        action_names=names,
    )
    controller = Controller(profile)
    controller.on_joint_state(profile.joints[7:], list(READY + 0.1), [], 1)
    controller.on_joint_state(profile.joints[:7], list(READY), [], 1)
    now = 10 * PERIOD_NS
    assert controller.tick(now).position.tolist() == [*READY, *(READY + 0.1)]
    controller.on_teleop(names, [*READY, 0.0, *(READY + 0.1), 0.08], now)
    assert controller.request_mode(Mode.TELEOP, now).success
    assert controller.tick(now + PERIOD_NS).grippers == {"left": 0.0, "right": 0.08}


def test_chunks_that_no_tick_takes_are_counted_and_named() -> None:
    """Those that wait when the mode changes, and those that newer ones push out between two ticks."""
    rig = Rig()
    rig.start(Mode.POLICY)
    taken = rig.controller.counters["chunks"]
    rig.chunk()
    rig.ask(Mode.HOLD)
    assert rig.controller.counters["rejected_chunk_before_switch"] == 1
    rig.start(Mode.POLICY)
    for age_ms in range(26, 20, -1):
        rig.chunk(age_ms=age_ms)
    rig.tick()
    counters = rig.controller.counters
    assert counters["rejected_chunk_superseded"] == 2
    assert counters["rejected"] + counters["chunks"] - taken == 7
