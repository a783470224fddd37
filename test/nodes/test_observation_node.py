"""The observation node as a process of its own, with the test as cameras and robot."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from f1_msgs.msg import Observation
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState

from f1_ros.engine.policy import PolicyFile, save_policy_file
from f1_ros.engine.protocol import PolicySpec
from f1_ros.nodes.conversions import image_to_msg, observation_from_msg, to_ns, to_time
from f1_ros.nodes.qos import DIAGNOSTICS, OBSERVATION, SENSOR
from f1_ros.trace import read_traces

ARM = tuple(f"fr3_joint{i}" for i in range(1, 8))
SPEC = PolicySpec(
    name="toy",
    robot="franka",
    cameras=("front", "wrist"),
    image_size=32,
    history_resize=16,
    history_size=16,
    history_offsets=(-2, 0),
    foresight_offset=6,
    step_s=0.05,
    first_step_offset=1,
    state_names=(*ARM, "gripper"),
    action_names=(*ARM, "gripper"),
    chunk_size=4,
)
STEP_NS = 50_000_000
TOPICS = {"front": "/camera/front/color/image_raw", "wrist": "/camera/wrist/color/image_rect_raw"}
PROFILE = Path(__file__).parents[2] / "config" / "robots" / "franka_fr3.yaml"


class Robot:
    """Cameras and joints at 20 Hz; the observation node and what it says."""

    def __init__(self, ros, folder: Path, wrist=None, **parameters) -> None:
        self.ros = ros
        policy = folder / "policy"
        policy.mkdir()
        save_policy_file(PolicyFile(SPEC, (False,) * 8), policy)
        self.cameras = {
            "front": ros.node.create_publisher(Image, TOPICS["front"], SENSOR),
            "wrist": wrist or ros.node.create_publisher(Image, TOPICS["wrist"], SENSOR),
        }
        self.arm = ros.node.create_publisher(JointState, "/franka/joint_states", SENSOR)
        self.hand = ros.node.create_publisher(JointState, "/franka_gripper/joint_states", SENSOR)
        self.observations = ros.collect(Observation, "/f1/observation", OBSERVATION)
        self.statuses = ros.collect(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        # A busy machine may take its time: ages are not what is tested here.
        slow = {"max_frame_age": 10.0, "missing_after": 2.0}
        self.process = ros.start("observation_node", **{"policy": str(policy), **slow, **parameters})
        self.count = itertools.count()

    def ready(self) -> Robot:
        publishers = (*self.cameras.values(), self.arm, self.hand)
        self.ros.until(lambda: all(p.get_subscription_count() for p in publishers), "the node subscribes")
        self.now_ns = self.ros.node.get_clock().now().nanoseconds
        return self

    def step(self, front=None, wrist=None, arm: bool = True, hand: bool = True) -> int:
        """Send frames and joint states of the next 50 ms; `front` and `wrist` make or replace the messages."""
        self.ros.spin(max(0.0, (self.now_ns + STEP_NS - self.ros.node.get_clock().now().nanoseconds) / 1e9))
        self.now_ns += STEP_NS
        stamp_ns = self.now_ns
        for sign in (-1, 1):
            offset_ns = sign * 10_000_000
            if arm:
                self.joints(self.arm, stamp_ns + offset_ns, ARM, [0.1 * i + sign for i in range(7)])
            if hand:
                self.joints(self.hand, stamp_ns + offset_ns, ("fr3_finger_joint1", "fr3_finger_joint2"), [0.01, 0.02])
        for name, make, later_ns in (("front", front, 0), ("wrist", wrist, 3_000_000)):
            message = (make or self.picture)(stamp_ns + later_ns)
            if message is not None:
                self.cameras[name].publish(message)
        return stamp_ns

    def picture(self, stamp_ns: int, value: int | None = None) -> Image:
        red = next(self.count) % 256 if value is None else value
        return image_to_msg(np.full((96, 96, 3), (red, 0, 255), dtype=np.uint8), stamp_ns, "camera")

    def joints(self, publisher, stamp_ns: int, names, positions) -> None:
        message = JointState(name=list(names), position=positions)
        message.header.stamp = to_time(stamp_ns)
        publisher.publish(message)

    def stamps(self) -> list[int]:
        return [to_ns(message.header.stamp) for message in self.observations]

    def start(self) -> None:
        """Run until observations come."""
        self.ros.until(lambda: self.observations, "an observation", meanwhile=self.step)

    def delivered(self) -> int:
        """Send a step and wait for its observation: a busy machine then loses no frame of its own."""
        stamp_ns = self.step()
        self.ros.until(lambda: stamp_ns in self.stamps(), f"the observation of {stamp_ns}")
        return stamp_ns

    def none_come(self, **how) -> None:
        """Let what is under way arrive; then nothing more may."""
        self.ros.spin(0.5)
        before = len(self.observations)
        for _ in range(10):
            self.step(**how)
        self.ros.spin(0.5)
        assert len(self.observations) == before

    def said(self, part: str, text: str) -> list:
        return [
            status
            for array in self.statuses
            for status in array.status
            if status.name == f"observation_node: {part}" and text in status.message
        ]


@pytest.fixture
def robot(ros, tmp_path):
    return lambda **how: Robot(ros, tmp_path, **how).ready()


def test_an_observation_has_its_frames_stamps_and_the_state_at_its_own_stamp(robot) -> None:
    arms = robot()
    # Joint states 10 ms before and after the stamp differ by 2 rad; half of it is the joint's own value.
    own_state = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.03]
    message = arms.ros.until(
        lambda: next((m for m in arms.observations if np.allclose(m.state, own_state, atol=1e-6)), None),
        "an observation with the state at its own stamp",
        meanwhile=arms.step,
    )
    got = observation_from_msg(message)
    assert message.header.frame_id == "franka"
    assert got.cameras == ("front", "wrist")
    assert (got.camera_stamps_ns[0], got.camera_stamps_ns[1]) == (got.stamp_ns, got.stamp_ns + 3_000_000)
    assert to_ns(message.skew) == 3_000_000
    assert to_ns(message.age) >= 0
    assert got.images.shape == (2, 3, 32, 32)
    assert got.history.shape == (2, 3, 16, 16)
    np.testing.assert_array_equal(got.images[:, 1], -1.0)
    np.testing.assert_array_equal(got.images[:, 2], 1.0)
    np.testing.assert_array_equal(got.history[:, 2], 255)
    assert got.stamp_ns - got.history_stamps_ns[0] == 2 * STEP_NS
    arms.ros.until(lambda: arms.said("observation", "go out"), "the observations on /diagnostics", arms.step)
    arms.ros.until(lambda: arms.said("camera front", "frames arrive"), "the camera on /diagnostics", arms.step)
    refused = arms.ros.set_parameter("/f1/observation_node", "match_tolerance", -1.0)
    assert not refused.successful
    assert arms.ros.stop(arms.process) == 0


def test_a_lost_frame_costs_its_set_and_no_other(robot) -> None:
    arms = robot()
    arms.start()
    before = [arms.delivered() for _ in range(3)]
    lost = arms.step(wrist=lambda stamp_ns: None)
    after = [arms.delivered() for _ in range(3)]
    arms.ros.spin(0.5)
    assert [stamp for stamp in arms.stamps() if stamp >= before[0]] == before + after
    assert lost not in arms.stamps()


def test_a_frozen_camera_is_named_once_and_gives_no_observation(robot) -> None:
    arms = robot(frozen_after=5)
    arms.start()
    frozen = lambda stamp_ns: arms.picture(stamp_ns, value=7)  # noqa: E731
    arms.ros.until(
        lambda: arms.said("camera wrist", "frozen"), "frozen on /diagnostics", lambda: arms.step(wrist=frozen)
    )
    arms.none_come(wrist=frozen)
    assert arms.ros.log(arms.process).count("camera wrist: frozen") == 1
    assert not arms.said("camera front", "frozen")
    arms.observations.clear()
    arms.start()
    arms.ros.until(lambda: arms.said("camera wrist", "frames arrive"), "the camera is well again", arms.step)


def test_without_joint_states_there_is_no_observation_and_the_topic_is_named(robot) -> None:
    arms = robot()
    arms.start()
    arms.ros.until(
        lambda: arms.said("observation", "Topic /franka/joint_states: the newest joint state is"),
        "the lost joint state on /diagnostics",
        lambda: arms.step(arm=False),
    )
    arms.none_come(arm=False)
    assert arms.said("observation", "joint_states")[-1].level == b"\x02"


def test_a_frame_that_cannot_be_used_is_named_with_its_topic(robot) -> None:
    arms = robot()
    arms.start()

    def strange(stamp_ns: int) -> Image:
        message = arms.picture(stamp_ns)
        message.encoding = "smell8"
        return message

    arms.ros.until(
        lambda: arms.said("camera wrist", "smell8"), "the encoding on /diagnostics", lambda: arms.step(wrist=strange)
    )
    assert "/camera/wrist/color/image_rect_raw" in arms.said("camera wrist", "smell8")[0].message
    small = lambda stamp_ns: image_to_msg(np.zeros((48, 64, 3), np.uint8), stamp_ns, "camera")  # noqa: E731
    arms.ros.until(
        lambda: arms.said("camera wrist", "64x48"), "the size on /diagnostics", lambda: arms.step(wrist=small)
    )


def test_compressed_frames_come_as_the_profile_says(ros, tmp_path: Path) -> None:
    profile = yaml.safe_load(PROFILE.read_text())
    profile["cameras"][1] |= {"type": "sensor_msgs/msg/CompressedImage", "topic": "/camera/wrist/compressed"}
    path = tmp_path / "compressed.yaml"
    path.write_text(yaml.safe_dump(profile))
    camera = ros.node.create_publisher(CompressedImage, "/camera/wrist/compressed", SENSOR)
    arms = Robot(ros, tmp_path, wrist=camera, profile=str(path)).ready()

    def jpeg(stamp_ns: int) -> CompressedImage:
        data = cv2.imencode(".jpg", np.full((96, 96, 3), (10, 100, 200), np.uint8))[1]  # blue, green, red
        message = CompressedImage(format="bgr8; jpeg compressed bgr8", data=data.tobytes())
        message.header.stamp = to_time(stamp_ns)
        return message

    ros.until(lambda: arms.observations, "an observation", meanwhile=lambda: arms.step(wrist=jpeg))
    pixel = observation_from_msg(arms.observations[0]).images[1, :, 16, 16]
    np.testing.assert_allclose(pixel, np.array([200, 100, 10]) / 127.5 - 1, atol=0.03)


def test_a_camera_is_rectified_and_cropped_by_the_calibration_that_comes(ros, tmp_path: Path) -> None:
    profile, topic = yaml.safe_load(PROFILE.read_text()), "/camera/front/color/camera_info"
    crop = {"x": 48, "y": 24, "width": 40, "height": 40}
    profile["cameras"][0] |= {"sizes": [[96, 96]], "camera_info": topic, "rectify": True, "crop": crop}
    path = tmp_path / "rectified.yaml"
    path.write_text(yaml.safe_dump(profile))
    calibration = ros.node.create_publisher(CameraInfo, topic, SENSOR)
    arms = Robot(ros, tmp_path, profile=str(path)).ready()

    def halves(stamp_ns: int) -> Image:
        picture = np.full((96, 96, 3), (next(arms.count) % 8, 100, 20), np.uint8)
        picture[:, :48, 1:] = (200, 255)
        return image_to_msg(picture, stamp_ns, "camera")

    step = lambda: arms.step(front=halves)  # noqa: E731
    ros.until(lambda: arms.said("camera front", f"{topic}: nothing has come yet"), "what is missing is named", step)
    arms.none_come(front=halves)
    k = [60.0, 0.0, 47.5, 0.0, 60.0, 47.5, 0.0, 0.0, 1.0]
    info = CameraInfo(width=96, height=96, distortion_model="plumb_bob", d=[-0.3, 0.0, 0.0, 0.0, 0.0], k=k)

    def informed() -> None:
        calibration.publish(info)
        step()

    ros.until(lambda: arms.observations, "an observation", meanwhile=informed)
    right = observation_from_msg(arms.observations[0]).images[0]
    np.testing.assert_allclose(right[1, :, 2:], 100 / 127.5 - 1, atol=0.01)
    np.testing.assert_allclose(right[2, :, 2:], 20 / 127.5 - 1, atol=0.01)


def test_a_policy_of_another_robot_is_refused_at_the_start(ros, tmp_path: Path) -> None:
    profile = tmp_path / "other.yaml"
    profile.write_text(PROFILE.read_text().replace("embodiment: franka ", "embodiment: other ", 1))
    arms = Robot(ros, tmp_path, profile=str(profile))
    ros.until(lambda: arms.process.poll() is not None, "the process ends")
    assert arms.process.returncode == 2
    assert "is for the robot 'franka', the profile's is 'other'" in ros.log(arms.process)


def test_a_traced_node_notes_the_way_of_each_set_in_order(ros, tmp_path: Path) -> None:
    robot = Robot(ros, tmp_path, trace=str(tmp_path / "trace")).ready()
    robot.start()
    stamp_ns = robot.stamps()[-1]
    assert ros.stop(robot.process) == 0
    stages = read_traces(tmp_path / "trace")[stamp_ns]
    in_order = ["image sent", "image received", "image taken", "matched", "preprocessed"]
    assert set(stages) == {"stamp", *in_order}
    assert sorted(in_order, key=stages.__getitem__) == in_order
