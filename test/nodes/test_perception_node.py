"""Cameras to action chunks with a real network, in one process and in two."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from f1_msgs.msg import ActionChunk, Foresight
from sensor_msgs.msg import Image, JointState

from f1_ros.engine.config import EngineConfig
from f1_ros.engine.export import build_engine
from f1_ros.nodes.conversions import chunk_from_msg, image_to_msg, to_ns, to_time
from f1_ros.nodes.qos import COMMAND, SENSOR

ARM = [f"fr3_joint{i}" for i in range(1, 8)]
POSE = [0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854]


class Cameras:
    """The Franka's cameras and joints at rest, 20 Hz."""

    def __init__(self, ros) -> None:
        self.ros = ros
        self.front = ros.node.create_publisher(Image, "/camera/front/color/image_raw", SENSOR)
        self.wrist = ros.node.create_publisher(Image, "/camera/wrist/color/image_rect_raw", SENSOR)
        self.arm = ros.node.create_publisher(JointState, "/franka/joint_states", SENSOR)
        self.hand = ros.node.create_publisher(JointState, "/franka_gripper/joint_states", SENSOR)
        self.picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
        self.count = itertools.count()

    def step(self) -> None:
        now_ns = self.ros.node.get_clock().now().nanoseconds
        fingers = ["fr3_finger_joint1", "fr3_finger_joint2"]
        for publisher, names, positions in ((self.arm, ARM, POSE), (self.hand, fingers, [0.02, 0.02])):
            message = JointState(name=names, position=positions)
            message.header.stamp = to_time(now_ns)
            publisher.publish(message)
        self.picture[0, 0, 0] = next(self.count) % 256  # a camera's frames are never all alike
        for publisher in (self.front, self.wrist):
            publisher.publish(image_to_msg(self.picture, now_ns, "camera"))
        self.ros.spin(0.05)


@pytest.mark.parametrize(
    ("programs", "engine"),
    [
        (("perception_node",), "torch"),
        (("observation_node", "policy_node"), "torch"),
        (("observation_node", "policy_node"), "compiled"),
    ],
)
def test_camera_frames_become_chunks_and_a_predicted_view(
    ros, untrained_policy, tmp_path, programs: tuple[str, ...], engine: str
) -> None:
    if engine == "compiled":
        engine = str(tmp_path / "engine")
        build_engine(untrained_policy, EngineConfig(backend="onnxruntime"), tmp_path / "engine")
    chunks = ros.collect(ActionChunk, "/f1/action_chunk", COMMAND)
    foresights = ros.collect(Foresight, "/f1/foresight", SENSOR)
    pictures = ros.collect(Image, "/f1/foresight/image", SENSOR)
    # A busy machine may take its time: ages are not what is tested here.
    slow = {"max_frame_age": 10.0, "max_observation_age": 60.0, "missing_after": 2.0}
    for_policy = {"engine": engine, "allow_unchecked_engine": engine != "torch", **slow}
    processes = [
        ros.start(program, policy=str(untrained_policy), **(slow if program == "observation_node" else for_policy))
        for program in programs
    ]
    cameras = Cameras(ros)
    ros.until(lambda: len(chunks) > 1 and foresights and pictures, "chunks, foresight and its picture", cameras.step)
    chunk = chunk_from_msg(chunks[-1])
    assert chunk.robot == "franka"
    assert chunk.joint_names == (*ARM, "gripper")
    assert chunk.positions.shape == (16, 8)
    assert (chunk.start_ns - chunk.stamp_ns, chunk.step_ns) == (50_000_000, 50_000_000)
    # Joint actions are relative to the state, and the statistics allow them some 0.01 rad.
    assert np.abs(chunk.positions[:, :7] - POSE).max() < 0.2
    assert chunks[-1].instruction == "pick the cube from the belt"
    assert to_ns(chunks[-1].model_latency) > 0
    assert len(foresights[0].codes) == sum(size * size for size in foresights[0].scale_sizes)
    assert (pictures[0].width, pictures[0].height, pictures[0].encoding) == (96, 96, "rgb8")
    assert [ros.stop(process) for process in processes] == [0] * len(programs)
