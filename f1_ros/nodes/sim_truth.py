"""What a simulation knows and no robot tells: where its joints really are, their ranges, and what each camera sees.

By the twin's own names, whatever a profile takes them for: `f1-ros robot conformance` compares the two. It is published
while someone listens.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import mujoco
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from f1_ros.nodes.conversions import image_to_msg
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.sim.camera import Picture

DESCRIBED_EVERY = 50
"""The robot's description goes out with every so manieth of the joints' messages."""


class SimTruth:
    """Publishers of the truth; `publish` is the physics' thread's, `show` the renderer's.

    Args:
        node: the simulation's node.
        model: the compiled model.
        joints: names of the robot's arm joints, as MuJoCo knows them.
        grippers: names of its grippers.
        cameras: names of its cameras.
    """

    def __init__(
        self, node: Node, model: mujoco.MjModel, joints: Sequence[str], grippers: Sequence[str], cameras: Sequence[str]
    ) -> None:
        self._node = node
        self._names = [*joints, *grippers]
        self._joints = node.create_publisher(JointState, "/f1_sim/joints", COMMAND)
        self._description = node.create_publisher(String, "/f1_sim/robot_description", COMMAND)
        self._cameras = {name: node.create_publisher(Image, f"/f1_sim/camera/{name}", SENSOR) for name in cameras}
        self._text = String(data=_description(model, joints))
        self._published = 0

    def publish(self, positions: Iterable[float], widths: Iterable[float], stamp: Any) -> None:
        """Say where everything is: arm joints (rad, or m of a slide) and opening widths of the grippers (m)."""
        if self._joints.get_subscription_count():
            message = JointState(name=self._names, position=array("d", [*positions, *widths]))
            message.header.stamp = stamp
            self._joints.publish(message)
            if self._published % DESCRIBED_EVERY == 0:
                self._description.publish(self._text)
            self._published += 1

    def show(self, camera: str, picture: Picture, stamp_ns: int) -> None:
        """Say what a camera sees: (H, W, 3) uint8 RGB, of an instant in ns."""
        if self._cameras[camera].get_subscription_count():
            self._cameras[camera].publish(image_to_msg(picture, stamp_ns, camera))

    def close(self) -> None:
        """Publish nothing any more."""
        for publisher in (self._joints, self._description, *self._cameras.values()):
            self._node.destroy_publisher(publisher)


def _description(model: mujoco.MjModel, joints: Sequence[str]) -> str:
    """A URDF that tells the joints' ranges, and no more: every joint hangs from the base."""
    root = ElementTree.Element("robot", name="simulated")
    ElementTree.SubElement(root, "link", name="base")
    for name in joints:
        joint = model.joint(name)
        slides = int(model.jnt_type[joint.id]) == mujoco.mjtJoint.mjJNT_SLIDE
        ElementTree.SubElement(root, "link", name=f"{name}_link")
        described = ElementTree.SubElement(root, "joint", name=name, type="prismatic" if slides else "revolute")
        ElementTree.SubElement(described, "parent", link="base")
        ElementTree.SubElement(described, "child", link=f"{name}_link")
        lower, upper = (str(float(value)) for value in model.jnt_range[joint.id])
        ElementTree.SubElement(described, "limit", lower=lower, upper=upper, effort="0", velocity="0")
    return ElementTree.tostring(root, encoding="unicode")
