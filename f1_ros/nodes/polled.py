"""Subscriptions that a loop at a fixed rate reads by itself, without an executor.

At each wake-up rclpy's executor builds its wait set anew from every entity of its nodes: about half a millisecond a
message, and that while it holds the interpreter's lock, which the loop then waits for. A control loop needs only the
newest joint state at each tick: it takes it from the middleware itself, for some 20 us, and the executor never wakes.
"""

from __future__ import annotations

import time
from typing import Any, Generic, TypeVar

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock as ClockMsg

from f1_ros.control.clock import SimClock
from f1_ros.nodes.conversions import to_ns
from f1_ros.nodes.qos import SENSOR

M = TypeVar("M")


class _LeftToTheLoop(CallbackGroup):
    """A group whose entities no executor may execute, so that none waits for them."""

    def can_execute(self, entity: object) -> bool:
        return False

    def beginning_execution(self, entity: object) -> bool:
        return False

    def ending_execution(self, entity: object) -> None:
        return None


class PolledSubscription(Generic[M]):
    """A subscription without callback; `take` gives what has arrived. One thread takes at a time."""

    def __init__(self, node: Node, kind: type[M], topic: str, qos: QoSProfile = SENSOR) -> None:
        """Subscribe.

        Args:
            node: the node.
            kind: message type.
            topic: its name.
            qos: quality of service; its depth is how many messages are kept between two takes.
        """
        self._node = node
        self._subscription: Any = node.create_subscription(
            kind, topic, _never_called, qos, callback_group=_LeftToTheLoop()
        )

    def take(self) -> tuple[M, int] | None:
        """The oldest message not yet taken and when it arrived (ns on the system's clock), or None. Does not block."""
        subscription = self._subscription
        with subscription.handle:  # keeps it from being destroyed meanwhile
            taken = subscription.handle.take_message(subscription.msg_type, False)
        return None if taken is None else (taken[0], taken[1]["received_timestamp"])

    def newest(self) -> M | None:
        """The newest message, or None if there is no new one; drops the others. Does not block."""
        newest = None
        while (taken := self.take()) is not None:
            newest = taken[0]
        return newest

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)


class PolledSimClock:
    """ROS time from `/clock`, read by the loop that asks for it; a `RosClock`. Not thread-safe."""

    def __init__(self, node: Node) -> None:
        """Subscribe."""
        self._clock = SimClock()
        self._resets = self._last_ns = 0
        self._messages = PolledSubscription(node, ClockMsg, "/clock")

    @property
    def rate(self) -> float:
        """Simulated seconds in a second, as measured."""
        return self._clock.rate

    def at(self, monotonic_ns: int) -> int | None:
        """ROS time (ns) at an instant of the monotonic clock; None while it stands still or is not known."""
        while (taken := self._messages.take()) is not None:
            message, arrived_ns = taken
            age_ns = max(0, time.time_ns() - arrived_ns)
            self._clock.on_clock(to_ns(message.clock), time.monotonic_ns() - age_ns)
        now_ns = self._clock.at(monotonic_ns)
        if now_ns is None:
            return None
        if self._clock.resets == self._resets and now_ns <= self._last_ns:
            # The simulation has stood still for longer than it could be foreseen: wait for it, rather than go back.
            return None
        self._resets, self._last_ns = self._clock.resets, now_ns
        return now_ns

    def close(self) -> None:
        """Unsubscribe."""
        self._messages.close()


def _never_called(message: object) -> None:
    raise AssertionError("A polled subscription has no callback.")
