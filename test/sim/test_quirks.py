"""What the twins' robots refuse, hold, drop or stop at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.sim.reflex import STREAMED_GOALS, GripperHang, Reflex, RobotMode
from f1_ros.sim.twins.quirks import FEEDBACK_LIMIT, ArxArm, FeedbackRule, LiftBody
from f1_ros.sim.twins.tables import LIFT2

SECOND = 1_000_000_000
TICK = 10_000_000
HERE = np.zeros(14)


def arm(motor_open: float = 5.0) -> ArxArm:
    return ArxArm(LIFT2.arms[0], np.array([0.0, 1.0, 1.0, 0.0, 0.0, 0.0]), 0.088, motor_open)


def test_genie_follows_a_target_within_its_limit_and_refuses_and_counts_one_beyond() -> None:
    rule = FeedbackRule(HERE)
    near = np.full(14, 0.26)
    assert rule.take(near, HERE)
    far = near.copy()
    far[13] = 0.27
    assert not rule.take(far, HERE)
    assert rule.target.tolist() == near.tolist()  # refused as a whole: no joint of it is followed
    assert rule.refused == 1


@pytest.mark.parametrize("wrong", [[0.0] * 13, [0.0] * 16, [], [*[0.0] * 13, float("nan")]])
def test_genie_refuses_a_message_of_another_robot_or_without_a_number(wrong) -> None:
    rule = FeedbackRule(HERE)
    assert not rule.take(wrong, HERE)
    assert rule.refused == 1


@given(st.lists(st.floats(), min_size=14, max_size=14))
def test_whatever_comes_genie_never_follows_a_target_beyond_its_limit(positions) -> None:
    rule = FeedbackRule(HERE)
    rule.take(positions, HERE)
    assert (np.abs(rule.target) <= FEEDBACK_LIMIT).all()


def test_an_arx_arm_keeps_its_last_target_for_ever() -> None:
    quirk = arm()
    quirk.take([0.1, 1.1, 1.2, 0.3, 0.4, 0.5, 2.5, 99.0])
    for _ in range(1000):
        held = quirk.tick(np.zeros(6))
    assert held == pytest.approx([0.1, 1.1, 1.2, 0.3, 0.4, 0.5])
    assert quirk.width == pytest.approx(0.044)


@given(st.lists(st.floats(width=32), min_size=8, max_size=8))
def test_whatever_comes_an_arx_arm_stays_within_its_joints(joint_pos) -> None:
    quirk = arm()
    quirk.take(joint_pos)
    joints = LIFT2.arms[0].joints
    assert all(j.lower <= held <= j.upper for j, held in zip(joints, quirk.tick(np.zeros(6)), strict=True))
    assert 0.0 <= quirk.width <= 0.088


def test_the_ac_ones_gripper_reads_negative_when_open() -> None:
    quirk = arm(motor_open=-3.4)
    assert quirk.motor(0.088) == pytest.approx(-3.4)
    quirk.take([0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 5.0])  # an X5's command for open
    assert quirk.width == 0.0
    quirk.take([0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -3.4])
    assert quirk.width == pytest.approx(0.088)


def test_gravity_compensation_lets_the_arm_go_and_home_takes_it_back() -> None:
    quirk = arm()
    quirk.request([1, 0])
    pushed = np.full(6, 0.2)
    assert quirk.tick(pushed).tolist() == pushed.tolist()
    quirk.take([0.5] * 8)
    assert quirk.tick(pushed).tolist() == pushed.tolist()
    quirk.request([0, 1])
    assert quirk.tick(pushed).tolist() == [0.0] * 6
    quirk.take([0.5] * 8)
    assert quirk.tick(pushed).tolist() == [0.5] * 6


def test_wheels_stop_after_three_tenths_of_a_second_of_silence_and_the_lift_does_not() -> None:
    body = LiftBody(LIFT2.body[0], 0.20)
    body.take(0.40, [0.0, 2.0, 2.0, 2.0, 2.0, 0.0], 3, now_ns=SECOND)
    assert body.velocity(SECOND + 290_000_000).tolist() == pytest.approx([0.16, 0.0, 0.0])
    assert body.velocity(SECOND + 310_000_000).tolist() == [0.0, 0.0, 0.0]
    for tick in range(400):
        height = body.tick(0.01)
        if tick == 99:
            assert height == pytest.approx(0.30)  # 0.1 m/s
    assert height == pytest.approx(0.40)


def test_wheels_turn_only_in_their_mode_and_by_their_own_fields() -> None:
    body = LiftBody(LIFT2.body[0], 0.20)
    body.take(0.20, [0.0, 2.0, 2.0, 2.0, 2.0, 0.0], 0, now_ns=0)
    assert body.velocity(0).tolist() == [0.0, 0.0, 0.0]
    body.take(9.0, [0.0, -1.0, 1.0, -1.0, 1.0, 0.0], 3, now_ns=0)
    forward, left, turning = body.velocity(0)
    assert (forward, left) == (0.0, 0.0)
    assert turning > 0
    assert body.target == LIFT2.body[0].upper


VELOCITY = (2.62,) * 7


def test_a_franka_follows_a_moving_target_even_if_some_of_it_is_lost() -> None:
    reflex = Reflex(np.zeros(7), VELOCITY)
    stamp = SECOND
    for lost in (1, 1, 8, 1, 3):  # ticks since the one before
        stamp += lost * TICK
        reflex.take(reflex.target + 2.62 * 0.01 * lost, stamp, np.zeros(7))
        assert reflex.mode is RobotMode.MOVE


def test_a_step_in_the_target_is_a_reflex_and_the_arm_stays_until_error_recovery() -> None:
    reflex, measured = Reflex(np.zeros(7), VELOCITY), np.full(7, 0.01)
    step = np.array([0.2, 0, 0, 0, 0, 0, 0])
    reflex.take(step, SECOND, measured)
    assert (reflex.mode, reflex.count) == (RobotMode.REFLEX, 1)
    assert reflex.target.tolist() == measured.tolist()
    reflex.take(measured, 2 * SECOND, measured)
    assert reflex.mode is RobotMode.REFLEX
    reflex.recover(measured)
    reflex.take(measured + 0.02, 3 * SECOND, measured)
    assert reflex.mode is RobotMode.MOVE
    assert reflex.target.tolist() == pytest.approx((measured + 0.02).tolist())


def test_a_target_that_is_not_a_number_is_not_looked_at() -> None:
    reflex = Reflex(np.zeros(7), VELOCITY)
    reflex.take(np.full(7, np.nan), SECOND, np.zeros(7))
    assert reflex.mode is RobotMode.MOVE
    assert reflex.target.tolist() == [0.0] * 7


def test_a_gripper_that_is_streamed_to_hangs_until_it_is_homed_and_one_told_on_change_does_not() -> None:
    hand = GripperHang()
    assert not any(hand.goal(k * 300_000_000) for k in range(20))  # as the profile's shortest interval
    assert [hand.goal(60 * SECOND + k * TICK) for k in range(STREAMED_GOALS + 1)][-1]
    assert hand.goal(100 * SECOND)
    hand.home()
    assert not hand.goal(101 * SECOND)
