"""Stands in for a policy where its wits do not matter: chunks that keep the Franka where it is, 10 times a second."""

from __future__ import annotations

import numpy as np
import rclpy
from f1_msgs.msg import ActionChunk as ActionChunkMsg
from rclpy.node import Node
from sensor_msgs.msg import JointState

from f1_ros.control.chunk import ActionChunk
from f1_ros.nodes.conversions import chunk_to_msg, to_ns
from f1_ros.nodes.qos import COMMAND, SENSOR

STEP_NS = 50_000_000


class ChunkSource(Node):
    def __init__(self) -> None:
        super().__init__("chunk_source")
        self._sent_ns = self._count = 0
        self._chunks = self.create_publisher(ActionChunkMsg, "/f1/action_chunk", COMMAND)
        self.create_subscription(JointState, "/franka/joint_states", self._on_joint_state, SENSOR)

    def _on_joint_state(self, msg: JointState) -> None:
        now_ns = to_ns(msg.header.stamp)
        if now_ns - self._sent_ns < 2 * STEP_NS:
            return
        self._sent_ns, self._count = now_ns, self._count + 1
        positions = np.tile([*msg.position, 0.08], (16, 1))
        chunk = ActionChunk("franka", now_ns, now_ns + STEP_NS, STEP_NS, (*msg.name, "gripper"), positions)
        self._chunks.publish(chunk_to_msg(chunk, self._count, "test", ""))


if __name__ == "__main__":
    rclpy.init()
    rclpy.spin(ChunkSource())
