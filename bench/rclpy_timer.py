"""The other way to publish commands: an rclpy timer in the process that runs the policy, spun by rclpy's executor.

Started by bench/publisher.py. The policy is our own node with its inference in a thread of its own, as in the running
system; beside it a timer publishes the message that the action node would, holding the arm where it was first seen.
"""

from __future__ import annotations

from array import array

from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState

from f1_ros.nodes.lifecycle import ManagedNode, leave, run
from f1_ros.nodes.parameters import PROFILE, NodeParameter
from f1_ros.nodes.policy_node import PolicyNode
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.robots.profile import load_profile


class TimerNode(ManagedNode):
    """Publishes a command from a timer's callback."""

    def __init__(self) -> None:
        """Create the node."""
        rate = NodeParameter("control_rate", 100.0, "Commands per second, Hz.", lower=1.0, upper=1000.0)
        super().__init__("rclpy_timer", [PROFILE, rate])

    def activate(self) -> None:
        """Publish from the first joint state on."""
        arm = load_profile(self.value("profile")).arms[0]
        self._command: JointState | None = None
        self._commands = self.create_publisher(JointState, arm.command.topic, COMMAND)
        self._states = self.create_subscription(JointState, arm.state.topic, self._on_state, SENSOR)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0 / self.value("control_rate"), self._publish, clock=steady)

    def deactivate(self) -> None:
        """Stop."""
        self.destroy_timer(self._timer)
        self.destroy_subscription(self._states)
        self.destroy_publisher(self._commands)

    def _on_state(self, message: JointState) -> None:
        if self._command is None:
            zeros = array("d", [0.0] * len(message.name))
            self._command = JointState(name=list(message.name), position=message.position, velocity=zeros)

    def _publish(self) -> None:
        if self._command is not None:
            self._command.header.stamp = self.get_clock().now().to_msg()
            self._commands.publish(self._command)


if __name__ == "__main__":
    leave(run(lambda: [PolicyNode(), TimerNode()]))
