"""Subscriptions that are read without an executor: by a loop at a fixed rate, or by a thread as messages come.

At each wake-up rclpy's executor builds its wait set anew from every entity of its nodes: about half a millisecond a
message, and that while it holds the interpreter's lock, which the loop then waits for. A control loop needs only the
newest joint state at each tick: it takes it from the middleware itself, for some 20 us, and the executor never wakes.
What is to be answered at once, such as pictures, a `Reader` waits for with a wait set of these subscriptions alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Generic, TypeVar

from rclpy.callback_groups import CallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock as ClockMsg

from f1_ros.control.clock import SimClock
from f1_ros.nodes.conversions import to_ns
from f1_ros.nodes.qos import SENSOR

M = TypeVar("M")

WAKE_NS = 50_000_000
"""How often a reader looks whether it is to end, while nothing comes."""
END_WITHIN_S = 1.0
"""How long the end of a reader waits for what it does with a message."""


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
        taken = self.take_with_info()
        return None if taken is None else (taken[0], taken[1]["received_timestamp"])

    def take_with_info(self) -> tuple[M, dict[str, int]] | None:
        """The same with rclpy's message information, as a callback's second argument would be."""
        subscription = self._subscription
        with subscription.handle:  # keeps it from being destroyed meanwhile
            taken: tuple[M, dict[str, int]] | None = subscription.handle.take_message(subscription.msg_type, False)
        return taken

    def newest(self) -> M | None:
        """The newest message, or None if there is no new one; drops the others. Does not block."""
        newest = None
        while (taken := self.take()) is not None:
            newest = taken[0]
        return newest

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    @property
    def handle(self) -> Any:
        """The subscription of rclpy's C++ part."""
        return self._subscription.handle


class Reader:
    """A thread that waits for the messages of subscriptions and does with each what is to be done with it.

    Args:
        node: the node.
        handlers: what is called, in the reader's thread, with a subscription's message and its information.
    """

    def __init__(
        self, node: Node, handlers: Mapping[PolledSubscription[Any], Callable[[Any, dict[str, int]], None]]
    ) -> None:
        self._context = node.context
        self._handlers = dict(handlers)
        self._stopping = threading.Event()
        self._bug: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what has ended the thread, if a bug has: in the executor's thread it ends the process."""
        if self._bug is not None:
            raise self._bug

    def close(self) -> None:
        """End the thread, and unsubscribe. Not from a handler."""
        self._stopping.set()
        self._thread.join(END_WITHIN_S)
        for subscription in self._handlers:
            subscription.close()

    def _run(self) -> None:
        try:
            with self._context.handle:
                wait_set = rclpy_implementation.WaitSet(len(self._handlers), 0, 0, 0, 0, 0, self._context.handle)
            while not self._stopping.is_set() and self._context.ok():
                with ExitStack() as kept:  # from being destroyed meanwhile
                    wait_set.clear_entities()
                    for subscription in self._handlers:
                        kept.enter_context(subscription.handle)
                        wait_set.add_subscription(subscription.handle)
                    wait_set.wait(WAKE_NS)
                while not self._stopping.is_set() and self._take_one_each():
                    pass
        except Exception as bug:
            self._bug = bug
            raise

    def _take_one_each(self) -> bool:
        """Take the oldest message of each subscription; false if none had one."""
        took = False
        for subscription, handle in self._handlers.items():
            taken = subscription.take_with_info()
            if taken is not None:
                took = True
                handle(*taken)
        return took


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
