"""The topics that targets go out on: made once no one else publishes there, and watched from then on.

Two nodes on one command topic fight over the arm, and some controllers then ignore both.
"""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher

from f1_ros.nodes.conversions import to_time
from f1_ros.nodes.diagnostics import Diagnostics, Level
from f1_ros.nodes.interfaces import fill, interface
from f1_ros.nodes.qos import COMMAND, LATCHED
from f1_ros.nodes.robot_watch import RobotWatch
from f1_ros.robots.transport import Message, Transport

# From the moment the robot itself has been discovered, others have this long to be: only then is it known whether
# someone else commands it. Participants announce themselves every 3 s; on a loaded machine an announcement may be lost.
DISCOVERY_S = 3.5
PART = "command topic"


class CommandTopics:
    """Publishers of a transport's commands. `look` is the executor's; `filled` the control loop's."""

    def __init__(self, node: Node, transport: Transport, robot: RobotWatch, diagnostics: Diagnostics) -> None:
        """Publish nothing yet.

        Args:
            node: the node.
            transport: what goes out where.
            robot: knows whether the robot is the one that the profile's values are for.
            diagnostics: where rivals are said.
        """
        self._node, self._transport, self._robot, self._diagnostics = node, transport, robot, diagnostics
        self._publishers: dict[str, tuple[Publisher, Any]] = {}
        self._clear_since_s = time.monotonic()
        self.rivals: set[str] = set()
        """Nodes that publish on a command topic as well."""
        self.robot_found = False
        """Someone publishes every joint state."""

    @property
    def open(self) -> bool:
        """Commands can go out."""
        return bool(self._publishers)

    def filled(self, out: Message, stamp_ns: int) -> tuple[Publisher, Any]:
        """The publisher for a message, and the message, filled: the same object each time."""
        publisher, message = self._publishers[out.topic]
        if hasattr(message, "header"):
            message.header.stamp = to_time(stamp_ns)
        return publisher, fill(message, out.fields)

    def look(self) -> str:
        """Look for rivals, and open the topics once there are none; gives what is new to be said of rivals."""
        now_s = time.monotonic()
        rivals = {name for out in self._transport.outgoing for name in self._others_on(out.topic)}
        new = f"{', '.join(sorted(rivals))} publishes on the command topic as well" if rivals - self.rivals else ""
        self.rivals = rivals
        if rivals:
            self._clear_since_s = now_s
            message = f"Also commanded by {', '.join(sorted(rivals))}."
            self._diagnostics.set(PART, Level.ERROR, message, {"remedy": "End the other node."})
            return new
        self._diagnostics.set(PART, Level.OK, "Commanded by this node alone.")
        joints = [source.topic for source in self._transport.incoming if source.joints]
        self.robot_found = all(self._node.count_publishers(topic) for topic in joints)
        if not self.open and (not self.robot_found or self._robot.foreign_clock()):
            self._clear_since_s = now_s
        elif not self.open and now_s - self._clear_since_s > DISCOVERY_S:
            self._publishers = {
                out.topic: (
                    self._node.create_publisher(interface(out.type), out.topic, LATCHED if out.latched else COMMAND),
                    interface(out.type)(),
                )
                for out in self._transport.outgoing
            }
        return ""

    def reason(self) -> str:
        """Why nothing goes out yet, or any more."""
        if self.rivals:
            return f"{', '.join(sorted(self.rivals))} already commands the robot."
        if not self.robot_found:
            topics = ", ".join(source.topic for source in self._transport.incoming if source.joints)
            return f"No joint state yet on {topics}."
        foreign = self._robot.foreign_clock()
        return f"{foreign}." if foreign else "Looking for others that command the robot."

    def close(self) -> None:
        """Publish nothing any more."""
        publishers, self._publishers = self._publishers, {}
        for publisher, _ in publishers.values():
            self._node.destroy_publisher(publisher)

    def _others_on(self, topic: str) -> list[str]:
        node = self._node
        me = node.get_name(), node.get_namespace()
        infos = node.get_publishers_info_by_topic(topic)
        own = 1 if topic in self._publishers else 0
        names = [
            f"{i.node_namespace.rstrip('/')}/{i.node_name}" for i in infos if (i.node_name, i.node_namespace) != me
        ]
        return names + [f"a second {node.get_fully_qualified_name()}"] * (len(infos) - len(names) > own)
