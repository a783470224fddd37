"""Joint states: by name, at the frames' instant, never invented."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.errors import ConfigError, ObservationError
from f1_ros.observe.joint_state import JointSource, JointStateBuffer, StateChannel, joint_sources
from f1_ros.observe.order import Order
from f1_ros.robots.profile import load_profile

MS = 1_000_000
ELBOW_WRIST = JointSource(
    "/joint_states", (StateChannel("elbow", (("elbow", 1.0),)), StateChannel("wrist", (("wrist", 1.0),))), 100 * MS
)


def test_joints_are_found_by_name_in_any_order() -> None:
    buffer = JointStateBuffer(ELBOW_WRIST)
    buffer.add(0, ["wheel", "wrist", "elbow"], [9.0, 2.0, 1.0])
    assert buffer.at(0).tolist() == [1.0, 2.0]
    buffer.add(10 * MS, ["elbow", "wrist"], [3.0, 4.0])
    assert buffer.at(10 * MS).tolist() == [3.0, 4.0]


def test_positions_between_messages_are_linear() -> None:
    buffer = JointStateBuffer(ELBOW_WRIST)
    for stamp, elbow in ((0, 0.0), (10, 1.0), (20, 3.0)):
        buffer.add(stamp * MS, ["elbow", "wrist"], [elbow, -elbow])
    assert buffer.at(10 * MS).tolist() == [1.0, -1.0]
    np.testing.assert_allclose(buffer.at(14 * MS), [1.8, -1.8])
    np.testing.assert_allclose(buffer.at(5 * MS), [0.5, -0.5])


def test_the_newest_position_is_held_up_to_the_age_limit_and_no_longer() -> None:
    buffer = JointStateBuffer(ELBOW_WRIST)
    buffer.add(0, ["elbow", "wrist"], [0.0, 0.0])
    buffer.add(10 * MS, ["elbow", "wrist"], [1.0, 1.0])
    assert buffer.at(110 * MS).tolist() == [1.0, 1.0]
    with pytest.raises(ObservationError, match=r"/joint_states.*over 100 ms older than the frames"):
        buffer.at(110 * MS + 1)


def test_a_position_measured_at_the_very_instant_before_a_gap_is_given() -> None:
    buffer = JointStateBuffer(ELBOW_WRIST)
    for stamp in (0, 300):
        buffer.add(stamp * MS, ["elbow", "wrist"], [1.0 + stamp, 2.0])
    assert buffer.at(0).tolist() == [1.0, 2.0]


def test_nothing_is_interpolated_over_a_gap_or_before_the_first_message() -> None:
    buffer = JointStateBuffer(ELBOW_WRIST)
    with pytest.raises(ObservationError, match="come not at all"):
        buffer.at(0)
    buffer.add(50 * MS, ["elbow", "wrist"], [0.0, 0.0])
    buffer.add(151 * MS, ["elbow", "wrist"], [1.0, 1.0])
    with pytest.raises(ObservationError, match="gap of over 100 ms"):
        buffer.at(60 * MS)
    with pytest.raises(ObservationError, match="begin only after"):
        buffer.at(49 * MS)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_position_that_is_not_finite_is_refused_by_the_joints_name(bad: float) -> None:
    buffer = JointStateBuffer(ELBOW_WRIST)
    with pytest.raises(ObservationError, match=r"joint 'wrist' is not finite"):
        buffer.add(0, ["elbow", "wrist"], [0.0, bad])
    assert buffer.newest_ns is None


def test_a_joint_that_nobody_needs_may_be_nan() -> None:
    buffer = JointStateBuffer(ELBOW_WRIST)
    buffer.add(0, ["elbow", "wrist", "wheel"], [1.0, 2.0, math.nan])
    assert buffer.at(0).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("names", [["elbow"], ["elbow", "wrist", "wrist"]])
def test_missing_and_repeated_joints_are_refused_every_time(names: list[str]) -> None:
    buffer = JointStateBuffer(ELBOW_WRIST)
    for _ in range(2):
        with pytest.raises(ObservationError, match=r"joint 'wrist' is missing or named twice"):
            buffer.add(0, names, [0.0] * len(names))


def test_names_without_positions_are_refused() -> None:
    with pytest.raises(ObservationError, match="2 joint names with 0 positions"):
        JointStateBuffer(ELBOW_WRIST).add(0, ["elbow", "wrist"], [])


def test_messages_of_other_joints_on_the_same_topic_are_passed_over() -> None:
    buffer = JointStateBuffer(ELBOW_WRIST)
    assert buffer.add(0, ["finger"], [0.1]) is None
    with pytest.raises(ObservationError, match="only with the joints finger"):
        buffer.at(0)
    buffer.add(5 * MS, ["elbow", "wrist"], [1.0, 2.0])
    buffer.add(6 * MS, ["finger"], [0.1])
    assert buffer.at(5 * MS).tolist() == [1.0, 2.0]


def test_a_clock_set_back_forgets_what_came_before() -> None:
    buffer = JointStateBuffer(ELBOW_WRIST)
    buffer.add(60_000 * MS, ["elbow", "wrist"], [1.0, 1.0])
    assert buffer.add(50 * MS, ["elbow", "wrist"], [2.0, 2.0]) is Order.RESET
    assert buffer.at(60 * MS).tolist() == [2.0, 2.0]


def test_only_the_last_messages_are_kept() -> None:
    buffer = JointStateBuffer(ELBOW_WRIST, depth=3)
    for k in range(10):
        buffer.add(k * MS, ["elbow", "wrist"], [k, k])
    assert buffer.at(7 * MS).tolist() == [7.0, 7.0]
    with pytest.raises(ObservationError, match="begin only after"):
        buffer.at(6 * MS)


def test_franka_is_read_from_two_topics_and_its_fingers_add_up_to_a_width() -> None:
    profile = load_profile("franka_fr3")
    arm, hand = joint_sources(profile, profile.state_names)
    assert (arm.topic, hand.topic) == ("/franka/joint_states", "/franka_gripper/joint_states")
    assert [channel.name for channel in arm.channels] == [f"fr3_joint{i}" for i in range(1, 8)]
    buffer = JointStateBuffer(hand)
    buffer.add(0, ["fr3_finger_joint1", "fr3_finger_joint2"], [0.025, 0.03])
    assert buffer.at(0) == pytest.approx([0.055])


def test_a_state_entry_that_the_robot_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="'panda_joint1' cannot be read"):
        joint_sources(load_profile("franka_fr3"), ["panda_joint1"])


@given(
    stamps=st.lists(st.integers(0, 2000), min_size=1, max_size=40),
    positions=st.lists(st.floats(-3, 3), min_size=40, max_size=40),
    at=st.integers(-10, 2200),
)
def test_an_answer_always_lies_between_the_positions_that_were_measured(
    stamps: list[int], positions: list[float], at: int
) -> None:
    buffer = JointStateBuffer(ELBOW_WRIST)
    kept: dict[int, float] = {}
    for stamp, position in zip(stamps, positions, strict=False):
        order = buffer.add(stamp * MS, ["elbow", "wrist"], [position, position])
        if order is Order.RESET:
            kept.clear()
        if order in (Order.NEXT, Order.RESET):
            kept[stamp] = position
    before = [stamp for stamp in kept if stamp <= at]
    after = [stamp for stamp in kept if stamp >= at]
    try:
        value = buffer.at(at * MS)[0]
    except ObservationError:
        assert not before or (at - max(before) > 100 if not after else min(after) - max(before) > 100)
        return
    around = [kept[max(before)], kept[min(after)] if after else kept[max(before)]]
    assert min(around) - 1e-9 <= value <= max(around) + 1e-9
