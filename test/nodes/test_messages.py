"""Every type survives its message bit by bit, and a malformed message is refused by name."""

from __future__ import annotations

import array
from pathlib import Path

import numpy as np
import pytest
from f1_msgs.msg import ActionChunk as ActionChunkMsg
from f1_msgs.msg import Foresight as ForesightMsg
from f1_msgs.msg import Observation as ObservationMsg
from f1_msgs.srv import SetMode
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message

from f1_ros.control.arbiter import Mode
from f1_ros.control.chunk import ActionChunk
from f1_ros.engine.protocol import Foresight
from f1_ros.errors import ChunkError, ObservationError
from f1_ros.nodes import conversions
from f1_ros.observe.observation import Observation

MSG_ROOT = Path(__file__).parents[2] / "msg"


def observation() -> Observation:
    rng = np.random.default_rng(3)
    return Observation(
        stamp_ns=12_500_000_000,
        cameras=("front", "wrist"),
        camera_stamps_ns=(12_500_000_000, 12_497_000_000),
        images=rng.uniform(-1, 1, (2, 3, 8, 8)).astype(np.float32),
        history=rng.integers(0, 256, (3, 3, 6, 6), dtype=np.uint8),
        history_stamps_ns=(12_300_000_000, 12_400_000_000, 12_500_000_000),
        state_names=("j1", "j2", "gripper"),
        state=np.array([0.1, -2.0, 0.04]),
    )


def chunk() -> ActionChunk:
    return ActionChunk(
        robot="franka",
        stamp_ns=5_000_000_000,
        start_ns=5_050_000_000,
        step_ns=50_000_000,
        joint_names=("j1", "gripper"),
        positions=np.array([[0.1, 0.08], [0.1 + 1e-15, 0.0], [-3.0, 0.04]]),
        latency_ns=123_456_789,
    )


def observation_msg() -> ObservationMsg:
    return over_the_wire(conversions.observation_to_msg(observation(), "franka", now_ns=12_540_000_000))


def over_the_wire(msg):
    return deserialize_message(serialize_message(msg), type(msg))


def test_an_observation_arrives_as_it_was_sent() -> None:
    sent = observation()
    got = conversions.observation_from_msg(observation_msg())
    np.testing.assert_array_equal(got.images, sent.images)
    np.testing.assert_array_equal(got.history, sent.history)
    np.testing.assert_array_equal(got.state, sent.state)
    assert got.images.dtype == np.float32
    assert got.history.dtype == np.uint8
    assert (got.stamp_ns, got.cameras, got.camera_stamps_ns) == (sent.stamp_ns, sent.cameras, sent.camera_stamps_ns)
    assert (got.history_stamps_ns, got.state_names) == (sent.history_stamps_ns, sent.state_names)


def test_an_observation_says_its_skew_its_age_and_the_robot() -> None:
    msg = observation_msg()
    assert (msg.skew.sec, msg.skew.nanosec) == (0, 3_000_000)
    assert (msg.age.sec, msg.age.nanosec) == (0, 40_000_000)
    assert msg.header.frame_id == "franka"


def test_an_image_field_holds_the_bytes_row_by_row_in_rgb_order() -> None:
    msg = observation_msg()
    sent = observation()
    assert (msg.images[1].encoding, msg.images[1].step, msg.images[1].header.frame_id) == ("32FC3", 96, "wrist")
    pixels = np.frombuffer(msg.images[1].data, dtype="<f4").reshape(8, 8, 3)
    assert pixels[2, 5, 1] == sent.images[1, 1, 2, 5]
    assert msg.history[0].data[(1 * 6 + 4) * 3 + 2] == sent.history[0, 2, 1, 4]


def test_a_big_endian_sender_is_understood() -> None:
    msg = observation_msg()
    for image in msg.images:
        image.is_bigendian = 1
        image.data = array.array("B", np.frombuffer(image.data, dtype="<f4").astype(">f4").tobytes())
    np.testing.assert_array_equal(conversions.observation_from_msg(msg).images, observation().images)


def set_nan(msg: ObservationMsg) -> None:
    msg.images[0].data[:4] = array.array("B", np.array([np.nan], dtype="<f4").tobytes())


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda m: setattr(m, "cameras", []), "cameras"),
        (lambda m: setattr(m, "cameras", ["front", "front"]), "each once"),
        (lambda m: m.images.pop(), "1 images"),
        (lambda m: m.camera_stamps.pop(), "1 stamps"),
        (lambda m: setattr(m.camera_stamps[1], "sec", 99), "two different stamps"),
        (lambda m: setattr(m.header.stamp, "sec", 99), "two different stamps"),
        (lambda m: setattr(m.images[1], "encoding", "rgb8"), "'rgb8'"),
        (lambda m: setattr(m.images[1], "width", 7), "7x8"),
        (lambda m: setattr(m.images[0], "step", 7), "step 7"),
        (lambda m: m.images[0].data.pop(), "767 bytes"),
        (set_nan, "outside"),
        (lambda m: setattr(m, "history", []), "no history"),
        (lambda m: m.history.reverse(), "rise"),
        (lambda m: m.history.pop(), "rise"),
        (lambda m: m.history[0].data.append(0), "109 bytes"),
        (lambda m: m.state.pop(), "state"),
        (lambda m: m.state.__setitem__(0, float("nan")), "nan"),
    ],
)
def test_a_malformed_observation_is_refused_and_said_why(damage, says: str) -> None:
    msg = observation_msg()
    damage(msg)
    with pytest.raises(ObservationError, match=says):
        conversions.observation_from_msg(msg)


SMALL = st.integers(0, 20)


@given(
    st.lists(st.sampled_from(["front", "wrist", ""]), max_size=3), SMALL, SMALL, SMALL, st.binary(max_size=40), SMALL
)
def test_no_observation_message_makes_anything_but_an_observation_error(
    cameras: list[str], height: int, width: int, step: int, data: bytes, keep: int
) -> None:
    msg = observation_msg()
    msg.cameras = cameras
    for image in [*msg.images, *msg.history][keep % 5 :]:
        image.height, image.width, image.step, image.data = height, width, step, array.array("B", data)
    with pytest.raises(ObservationError):
        conversions.observation_from_msg(msg)


def test_a_chunk_arrives_as_it_was_sent() -> None:
    msg = over_the_wire(conversions.chunk_to_msg(chunk(), sequence=7, policy="belt", instruction="pick it"))
    got = conversions.chunk_from_msg(msg)
    np.testing.assert_array_equal(got.positions, chunk().positions)
    assert (got.robot, got.stamp_ns, got.start_ns) == ("franka", 5_000_000_000, 5_050_000_000)
    assert (got.step_ns, got.joint_names, got.latency_ns) == (50_000_000, ("j1", "gripper"), 123_456_789)
    assert (msg.sequence, msg.policy, msg.instruction) == (7, "belt", "pick it")


def test_a_chunk_is_a_trajectory_that_starts_when_its_first_step_is_due() -> None:
    trajectory = conversions.chunk_to_msg(chunk(), sequence=0, policy="", instruction="").trajectory
    assert (trajectory.header.stamp.sec, trajectory.header.stamp.nanosec) == (5, 50_000_000)
    assert [point.time_from_start.nanosec for point in trajectory.points] == [0, 50_000_000, 100_000_000]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda m: setattr(m.trajectory, "points", []), "shape"),
        (lambda m: setattr(m.trajectory, "joint_names", []), "joints"),
        (lambda m: setattr(m.trajectory, "joint_names", ["j1", "j1"]), "each once"),
        (lambda m: m.trajectory.points[1].positions.append(0.0), "without a position"),
        (lambda m: m.trajectory.points[1].positions.__setitem__(0, float("inf")), "infinity"),
        (lambda m: setattr(m.trajectory.points[2].time_from_start, "sec", 1), "multiples"),
        (lambda m: setattr(m.step_period, "nanosec", 1), "multiples"),
        (lambda m: [setattr(m.step_period, "nanosec", 0), m.trajectory.points.__delitem__(slice(1, 3))], "step period"),
    ],
)
def test_a_malformed_chunk_is_refused_and_said_why(damage, says: str) -> None:
    msg = over_the_wire(conversions.chunk_to_msg(chunk(), sequence=0, policy="", instruction=""))
    damage(msg)
    with pytest.raises(ChunkError, match=says):
        conversions.chunk_from_msg(msg)


@given(
    st.lists(st.lists(st.floats(), max_size=3), max_size=4),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 2**32 - 1),
    st.lists(st.text(max_size=2), max_size=3),
)
def test_a_chunk_message_gives_a_usable_chunk_or_a_chunk_error(
    rows: list[list[float]], sec: int, nanosec: int, names: list[str]
) -> None:
    msg = conversions.chunk_to_msg(chunk(), sequence=0, policy="", instruction="")
    msg.step_period.sec, msg.step_period.nanosec = sec, nanosec
    msg.trajectory.joint_names = names
    msg.trajectory.points = msg.trajectory.points[: len(rows)]
    for point, row in zip(msg.trajectory.points, rows, strict=False):
        point.positions = array.array("d", row)
    try:
        got = conversions.chunk_from_msg(msg)
    except ChunkError:
        return
    assert np.isfinite(got.positions).all()
    assert got.step_ns > 0


def test_a_prediction_arrives_as_it_was_sent() -> None:
    sent = Foresight(codes=np.array([4, 0, 511, 4095, 2]), scale_sizes=(1, 2), target_stamp_ns=2_300_000_001)
    msg = over_the_wire(conversions.foresight_to_msg(sent, stamp_ns=2_000_000_000, camera="front", policy="belt"))
    got = conversions.foresight_from_msg(msg)
    np.testing.assert_array_equal(got.codes, [4, 0, 511, 4095, 2])
    assert (got.scale_sizes, got.target_stamp_ns) == ((1, 2), 2_300_000_001)
    assert (msg.header.stamp.sec, msg.header.frame_id, msg.policy) == (2, "front", "belt")


@given(st.lists(st.integers(0, 9), max_size=4), st.integers(0, 30))
def test_codes_that_do_not_fill_the_scales_are_refused(sizes: list[int], count: int) -> None:
    msg = ForesightMsg(scale_sizes=array.array("H", sizes), codes=array.array("I", [0] * count))
    if sizes and 0 not in sizes and sum(size**2 for size in sizes) == count:
        assert conversions.foresight_from_msg(msg).codes.shape == (count,)
    else:
        with pytest.raises(ObservationError, match="codes for scales"):
            conversions.foresight_from_msg(msg)


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_a_stamp_keeps_every_nanosecond(ns: int) -> None:
    assert conversions.to_ns(conversions.to_time(ns)) == ns


def test_status_and_service_give_the_modes_the_same_numbers() -> None:
    from f1_msgs.msg import ControlStatus

    for name, number in {"HOLD": 0, "TELEOP": 1, "POLICY": 2, "FAULT": 3, "CORRECTION": 4}.items():
        assert getattr(ControlStatus, name) == number
        assert getattr(SetMode.Request, name) == number
        assert Mode[name] == number


def test_every_field_of_every_interface_has_a_comment() -> None:
    for path in [*MSG_ROOT.glob("*.msg"), *MSG_ROOT.glob("srv/*.srv")]:
        commented = False
        for line in path.read_text().splitlines():
            text = line.strip()
            if not text or text == "---":
                commented = False
            elif text.startswith("#"):
                commented = True
            else:
                assert commented or "#" in text or "=" in text, f"{path.name}: {text}"


def test_an_action_chunk_message_holds_nothing_else_than_documented() -> None:
    assert list(ActionChunkMsg.get_fields_and_field_types()) == [
        "header",
        "sequence",
        "policy",
        "instruction",
        "step_period",
        "model_latency",
        "trajectory",
    ]
