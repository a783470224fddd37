"""What the robot says of itself beside its joints: a reflex, a stop, a clock that is not a simulation's."""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node

from f1_ros.nodes.diagnostics import Diagnostics, Level
from f1_ros.nodes.interfaces import interface
from f1_ros.nodes.polled import PolledSubscription
from f1_ros.robots.profile import RobotProfile
from f1_ros.robots.transport import Transport

PART = "robot"
SILENT_S = 2.0
"""A robot that has said nothing of itself for this long may have stopped unseen."""
SIMULATION_ONLY = "Values of the profile hold in a simulation only, and {who} gives the joint state without /clock"


class RobotWatch:
    """Looked at a few times a second, in the node's executor."""

    def __init__(self, node: Node, profile: RobotProfile, transport: Transport, diagnostics: Diagnostics) -> None:
        """Subscribe to the robot's status, if it has one."""
        self._node, self._profile, self._transport, self._diagnostics = node, profile, transport, diagnostics
        self._status: PolledSubscription[Any] | None = None
        if transport.status_topic is not None:
            topic, kind = transport.status_topic
            self._status = PolledSubscription(node, interface(kind), topic)
        self._heard_s = float("-inf")
        self._says = ""
        self.trouble = ""
        """What stands against commanding the robot, in words; empty if nothing does."""

    @property
    def remedy(self) -> str:
        """What to do about a trouble."""
        if self.foreign_clock():
            return "Set use_sim_time to false for a robot, and give what its profile leaves open."
        requests = ", then call the service 'recover'" if self._transport.recover() else ""
        return f"See why the robot has stopped, and that the way is free{requests}."

    def look(self, commanded: bool) -> str:
        """Take what has come, say on /diagnostics how the robot is, and give its trouble.

        Args:
            commanded: whether commands go out to it; before, those who publish are still being discovered.
        """
        if self._status is not None and (message := self._status.newest()) is not None:
            self._heard_s = time.monotonic()
            self._says = self._transport.trouble(message)
        foreign = self.foreign_clock()
        self.trouble = self._says or (foreign if commanded else "")
        problem = self._says or foreign
        if problem:
            self._diagnostics.set(PART, Level.ERROR, f"{problem[0].upper()}{problem[1:]}.", {"remedy": self.remedy})
        elif self._status is not None and time.monotonic() - self._heard_s > SILENT_S:
            assert self._transport.status_topic is not None
            text = f"No message on {self._transport.status_topic[0]}: reflexes and stops are not seen."
            self._diagnostics.set(PART, Level.WARN, text, {"remedy": "Start its broadcaster, see the profile."})
        elif self._status is not None or self._profile.simulated:
            self._diagnostics.set(PART, Level.OK, "Takes commands.")
        return self.trouble

    def foreign_clock(self) -> str:
        """Why values that hold in a simulation only may not be used; empty if they may, or if there are none.

        Whoever gives the joint state must also give the time: a robot does not, not even while a recording is played.
        """
        if not self._profile.simulated:
            return ""
        clocks = {(i.node_namespace, i.node_name) for i in self._node.get_publishers_info_by_topic("/clock")}
        for source in self._transport.incoming:
            for info in self._node.get_publishers_info_by_topic(source.topic):
                if source.joints and (info.node_namespace, info.node_name) not in clocks:
                    return SIMULATION_ONLY.format(who=f"{info.node_namespace.rstrip('/')}/{info.node_name}")
        return ""

    def close(self) -> None:
        """Unsubscribe."""
        if self._status is not None:
            self._status.close()
