"""A robot that does what it is told, behind the topics and types of any profile, in the test's own node."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from f1_msgs.msg import ActionChunk as ActionChunkMsg
from f1_msgs.msg import ControlStatus
from f1_msgs.srv import SetMode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from f1_ros.control.chunk import ActionChunk
from f1_ros.nodes.conversions import chunk_to_msg, to_time
from f1_ros.nodes.interfaces import interface
from f1_ros.nodes.qos import COMMAND, DIAGNOSTICS, SENSOR
from f1_ros.robots.choose import transport_for
from f1_ros.robots.parts import END_STATE, JOINT_STATE
from f1_ros.robots.profile import RobotProfile

ALL = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
STATE_S = 0.01
STEP_NS = 50_000_000


class StandInRobot:
    """Publishes where its joints are, and keeps every command; time is its own and goes on with its states.

    The joints go nowhere by themselves: a test moves `joints` and `raw` (the grippers' own values, by their joints).
    """

    def __init__(self, ros: Any, profile: RobotProfile, clock_node: Any = None) -> None:
        self.ros, self.profile, self.transport = ros, profile, transport_for(profile)
        self.joints = dict(zip(profile.joints, profile.ready or [0.1] * len(profile.joints), strict=False))
        self.raw = {joint: 0.4 for gripper in profile.grippers for joint in gripper.state.joints}
        self.now_ns = 1_000_000_000
        self.silent = False
        self._clock = (clock_node or ros.node).create_publisher(Clock, "/clock", SENSOR)
        self._states = {
            s.topic: (s.type, ros.node.create_publisher(interface(s.type), s.topic, COMMAND))
            for s in self.transport.incoming
        }
        self.commands: dict[str, list[Any]] = {}
        for out in self.transport.outgoing:
            durability = DurabilityPolicy.TRANSIENT_LOCAL if out.latched else DurabilityPolicy.VOLATILE
            qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
            topic = out.topic if out.topic.startswith("/") else f"/f1/{out.topic}"
            self.commands[out.topic] = ros.collect(interface(out.type), topic, qos)
        self.statuses = ros.collect(ControlStatus, "/f1/status", COMMAND)
        self.diagnostics = ros.collect(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        self._chunks = ros.node.create_publisher(ActionChunkMsg, "/f1/action_chunk", COMMAND)
        self._sequence = 0
        ros.node.create_timer(STATE_S, self._tick)

    @property
    def status(self) -> ControlStatus:
        return self.statuses[-1]

    def ask(self, mode: int) -> SetMode.Response:
        return self.ros.call(SetMode, "/f1/set_mode", SetMode.Request(mode=mode))

    def call(self, name: str) -> Trigger.Response:
        return self.ros.call(Trigger, f"/f1/{name}", Trigger.Request())

    def come_up(self, topic: str, count: int = 10) -> list[Any]:
        """Wait for commands on a topic."""
        commands = self.commands[topic]
        self.ros.until(lambda: len(commands) > count, f"commands on {topic}")
        return commands

    def send_chunk(self, target: dict[str, float]) -> None:
        """A chunk that stays at the present joints but for what is named (rad, m of width)."""
        if self.now_ns % (2 * STEP_NS):
            return
        here = {**self.joints, **{g.name: 0.05 for g in self.profile.grippers}, **target}
        positions = np.tile([here[name] for name in self.profile.action_names], (16, 1))
        self._sequence += 1
        chunk = ActionChunk(
            self.profile.embodiment, self.now_ns, self.now_ns + STEP_NS, STEP_NS, self.profile.action_names, positions
        )
        self._chunks.publish(chunk_to_msg(chunk, self._sequence, "test", ""))

    def said(self, part: str) -> str:
        """What the action node last said of a part on /diagnostics."""
        found = [s.message for a in self.diagnostics for s in a.status if s.name == f"action_node: {part}"]
        return found[-1] if found else ""

    def _tick(self) -> None:
        if self.silent:
            return
        self.now_ns += round(STATE_S * 1e9)
        self._clock.publish(Clock(clock=to_time(self.now_ns)))
        for source in self.transport.incoming:
            kind, publisher = self._states[source.topic]
            message = interface(kind)()
            message.header.stamp = to_time(self.now_ns)
            values = {**self.joints, **self.raw}
            names = [j.name for a in self.profile.arms if a.state.topic == source.topic for j in a.joints]
            names += [j for g in self.profile.grippers if g.state.topic == source.topic for j in g.state.joints]
            positions = [values[name] for name in names]
            if kind == JOINT_STATE:
                message.name, message.position = names, array("d", positions)
            elif kind == END_STATE:
                message.end_state = [interface("genie_msgs/msg/MotorState")(position=p) for p in positions]
            else:
                message.joint_pos = np.array(positions)
            publisher.publish(message)
