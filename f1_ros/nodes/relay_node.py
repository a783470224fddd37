"""The relay of `f1-ros faults run`: stands between the simulated robot and the nodes, and alters messages on command.

What is not altered passes as the bytes that came, undecoded; only pictures are given a sensor's noise. The parameter
`alter` says what is done, as `f1_ros.faults.alterations` writes it; empty: nothing.
"""

from __future__ import annotations

import copy
import sys
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from f1_msgs.msg import ActionChunk, Observation
from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock as ClockMsg
from sensor_msgs.msg import Image, JointState

from f1_ros.errors import ConfigError
from f1_ros.faults.alterations import Alteration, Link, links, parse
from f1_ros.nodes.altered import STATELESS, noisy, restamped, shifted
from f1_ros.nodes.lifecycle import ManagedNode, run
from f1_ros.nodes.parameters import PROFILE, NodeParameter
from f1_ros.nodes.qos import COMMAND, JOINT_HISTORY, OBSERVATION, SENSOR
from f1_ros.robots.profile import load_profile

HELD_BACK_PERIOD_S = 0.005

KINDS: dict[str, tuple[Any, QoSProfile, QoSProfile]] = {  # type, what it is subscribed to with, and published with
    "camera": (Image, SENSOR, SENSOR),
    "joints": (JointState, JOINT_HISTORY, COMMAND),
    "clock": (ClockMsg, SENSOR, SENSOR),
    "observation": (Observation, OBSERVATION, OBSERVATION),
    "chunk": (ActionChunk, COMMAND, COMMAND),
}


class RelayNode(ManagedNode):
    """Passes the messages of the links on, altered where it is told to."""

    def __init__(self) -> None:
        """Create the node."""
        parameter = NodeParameter("alter", "", "What is done to which link; empty: nothing.", live=True, check=_refuse)
        super().__init__("relay_node", (PROFILE, parameter))
        self._links: tuple[Link, ...] = ()
        self._alterations: dict[str, Alteration] = {}
        self._first: dict[str, Any] = {}  # of each link, the first message since its alteration began
        self._passed: dict[str, bytes] = {}  # of each link, the last message from before its alteration
        self._newest: dict[str, Any] = {}  # of each camera
        self._counts: dict[str, int] = {}
        self._held_back: deque[tuple[float, str, Any]] = deque()
        self._outputs: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._timer: Any = None
        self.add_post_set_parameters_callback(lambda _: self._read())

    def configure(self) -> None:
        """Make the publishers."""
        self._links = links(load_profile(self.value("profile")))
        for link in self._links:
            kind, _, qos = KINDS[link.kind]
            self._outputs[link.name] = self.create_publisher(kind, link.topic, qos)
        self._read()

    def activate(self) -> None:
        """Pass on."""
        for link in self._links:
            kind, qos, _ = KINDS[link.kind]
            # As bytes: decoding and encoding a joint state costs more than all the rest of its way.
            take = partial(self._on_bytes, link, kind)
            self._inputs.append(self.create_subscription(kind, link.source, take, qos, raw=True))
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(HELD_BACK_PERIOD_S, self._release, clock=steady)
        self._timer.cancel()

    def deactivate(self) -> None:
        """Pass nothing on."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None

    def cleanup(self) -> None:
        """Free the publishers."""
        for publisher in self._outputs.values():
            self.destroy_publisher(publisher)
        self._outputs = {}

    def _read(self) -> None:
        alterations = parse(self.value("alter"), self._links) if self._links else ()
        self._alterations = {alteration.link: alteration for alteration in alterations}
        self._first, self._counts = {}, {}
        if self._timer is not None and not any(a.how == "delay" for a in alterations):
            self._held_back.clear()
            self._timer.cancel()
        elif self._timer is not None:
            self._timer.reset()

    def _on_bytes(self, link: Link, kind: Any, data: bytes) -> None:
        alteration = self._alterations.get(link.name)
        if alteration is not None and alteration.how == "drop":
            return
        if alteration is None and link.kind != "camera":
            self._passed[link.name] = data
            self._outputs[link.name].publish(data)
            return
        msg = deserialize_message(data, kind)
        self._counts[link.name] = count = self._counts.get(link.name, 0) + 1
        if link.kind == "camera":
            self._newest[link.name] = noisy(msg, count)
        if alteration is None:
            self._outputs[link.name].publish(msg)
        elif alteration.how == "delay":
            self._held_back.append((time.monotonic() + alteration.figure, link.name, msg))
        elif (altered := self._altered(link, alteration, msg)) is not None:
            self._outputs[link.name].publish(altered)

    def _altered(self, link: Link, alteration: Alteration, msg: Any) -> Any:
        """The message instead, or None for none."""
        how, first = alteration.how, self._first.setdefault(link.name, msg)
        if (link.kind, how) in STATELESS:
            return STATELESS[link.kind, how](msg)
        if how == "shift":
            return shifted(msg, alteration.figure)
        if how == "freeze":
            return restamped(first, msg)
        if how == "repeat":
            return first
        if how == "old":
            data = self._passed.get(link.name)
            return None if data is None else deserialize_message(data, KINDS[link.kind][0])
        if how == "stick":
            return restamped(first, msg)
        if how == "thin":
            return msg if self._counts[link.name] % int(alteration.figure) == 0 else None
        if how == "swap":
            others = [other for name, other in self._newest.items() if name != link.name]
            return restamped(copy.deepcopy(others[0]), msg) if others else None
        assert how == "offset"
        msg.position[0] += alteration.figure
        return msg

    def _release(self) -> None:
        now_s = time.monotonic()
        while self._held_back and self._held_back[0][0] <= now_s:
            _, name, msg = self._held_back.popleft()
            self._outputs[name].publish(msg)


def _refuse(text: str) -> str | None:
    """Say why the parameter `alter` is refused, or None; the links' names are those of the Franka's profile."""
    try:
        parse(text, links(load_profile("franka_fr3")))
    except ConfigError as error:
        return str(error)
    return None


def main(args: Sequence[str] | None = None) -> int:
    """Run the relay; see docs/faults.md."""
    return run(lambda: [RelayNode()], args)


if __name__ == "__main__":
    sys.exit(main())
