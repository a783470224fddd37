"""A robot and cameras that are not there, for measuring the path between them: `f1-ros bench`.

The arm is where it was last commanded to be, the gripper where it was told to go, and the cameras see noise.
"""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Sequence

import numpy as np
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Image, JointState

from f1_ros.errors import ConfigError
from f1_ros.nodes.conversions import image_to_msg, to_time
from f1_ros.nodes.lifecycle import ManagedNode, run
from f1_ros.nodes.parameters import PROFILE, NodeParameter
from f1_ros.nodes.polled import PolledSubscription
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.nodes.realtime import schedule_process
from f1_ros.nodes.sim_gripper import SimGripper
from f1_ros.robots.parts import IMAGE
from f1_ros.robots.profile import load_profile

PICTURES = 4
"""Different pictures of each camera, shown in turn: one that repeats itself would count as frozen."""

PARAMETERS = (
    PROFILE,
    NodeParameter("camera_rate", 30.0, "Pictures of each camera, Hz.", lower=1.0, upper=120.0),
    NodeParameter("image_width", 640, "Width of the pictures, px.", lower=16, upper=1920),
    NodeParameter("image_height", 480, "Height of the pictures, px.", lower=16, upper=1920),
    NodeParameter(
        "realtime_priority",
        20,
        "SCHED_FIFO priority of the process where the system permits it: a robot and cameras keep their time however "
        "busy the computer is; 0: ordinary scheduling.",
        lower=0,
        upper=99,
    ),
)


class StandInNode(ManagedNode):
    """Joint states and pictures on the system's clock; see docs/interfaces.md."""

    def __init__(self) -> None:
        """Create the node."""
        super().__init__("stand_in_node", PARAMETERS)

    def configure(self) -> None:
        """Load the profile and draw the pictures."""
        self._profile = profile = load_profile(self.value("profile"))
        wrong = [camera.name for camera in profile.cameras if camera.type != IMAGE]
        if wrong or len(profile.arms) != 1 or len(profile.grippers) != 1:
            raise ConfigError(
                f"Profile '{profile.name}' has {len(profile.arms)} arms, {len(profile.grippers)} grippers and cameras "
                f"of compressed images {wrong}.",
                remedy="Give one with one arm, one gripper, and cameras of sensor_msgs/msg/Image.",
            )
        noise = np.random.default_rng(0)
        shape = (PICTURES, self.value("image_height"), self.value("image_width"), 3)
        self._pictures = [
            [image_to_msg(picture, 0, camera.name) for picture in noise.integers(0, 256, shape, dtype=np.uint8)]
            for camera in profile.cameras
        ]

    def activate(self) -> None:
        """Let the robot and its cameras run."""
        arm, hand = self._profile.arms[0], self._profile.grippers[0]
        self._position = array("d", arm.ready)
        self._shown = 0
        self._command = PolledSubscription(self, JointState, arm.command.topic, COMMAND)
        self._joints = self.create_publisher(JointState, arm.state.topic, COMMAND)
        self._fingers = self.create_publisher(JointState, hand.state.topic, COMMAND)
        self._images = [self.create_publisher(Image, camera.topic, SENSOR) for camera in self._profile.cameras]
        assert hand.closed is not None  # a profile with an open value is not loaded
        assert hand.open is not None
        self._gripper = SimGripper(self, hand, hand.closed + (hand.open - hand.closed) / 2)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._running = [
            self.create_timer(1.0 / (arm.state.rate_hz or 100.0), self._move, clock=steady),
            self.create_timer(1.0 / self.value("camera_rate"), self._look, clock=steady),
        ]
        if self.value("realtime_priority"):
            schedule_process(self.value("realtime_priority"))

    def deactivate(self) -> None:
        """Stop."""
        for timer in self._running:
            self.destroy_timer(timer)
        for publisher in (self._joints, self._fingers, *self._images):
            self.destroy_publisher(publisher)
        self._command.close()
        self._gripper.close()

    def _move(self) -> None:
        arm, hand = self._profile.arms[0], self._profile.grippers[0]
        command = self._command.newest()
        if command is not None:
            self._position = command.position
        now_ns = time.time_ns()
        self._gripper.step(self._gripper.target, now_ns)
        names = [joint.name for joint in arm.joints]
        joints = JointState(name=names, position=self._position, velocity=array("d", [0.0] * len(names)))
        fingers = JointState(name=list(hand.state.joints))
        fingers.position = array("d", [self._gripper.target / len(hand.state.joints)] * len(hand.state.joints))
        for publisher, message in ((self._joints, joints), (self._fingers, fingers)):
            message.header.stamp = to_time(now_ns)
            publisher.publish(message)

    def _look(self) -> None:
        """Publish a picture of each camera, all of one instant, as cameras do that are triggered together."""
        self._shown = (self._shown + 1) % PICTURES
        stamp = to_time(time.time_ns())
        for publisher, pictures in zip(self._images, self._pictures, strict=True):
            pictures[self._shown].header.stamp = stamp
            publisher.publish(pictures[self._shown])


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see docs/interfaces.md."""
    return run(lambda: [StandInNode()], args)


if __name__ == "__main__":
    sys.exit(main())
