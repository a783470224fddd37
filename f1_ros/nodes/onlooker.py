"""Who stands beside a running system and asks for a mode until it is in force, as a person would.

onlooker = Onlooker("bench")
onlooker.until(onlooker.keep_policy, "the policy", timeout_s=90.0)
onlooker.spin(60.0)
onlooker.close()
"""

from __future__ import annotations

import time
from collections.abc import Callable

import rclpy
from f1_msgs.msg import ControlStatus
from f1_msgs.srv import SetMode
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from f1_ros.control.arbiter import Mode
from f1_ros.errors import BringUpError
from f1_ros.nodes.lifecycle import NAMESPACE
from f1_ros.nodes.qos import COMMAND

ASK_PERIOD_S = 0.3


class ModeAsker:
    """Asks the action node for a mode, again and again until it is in force.

    FAULT is left by way of HOLD, as an operator would who sees that its cause is gone.

    Args:
        node: where the client lives; its owner spins it.

    Attributes:
        refusal: why the last request was refused; empty if it was not.
    """

    def __init__(self, node: Node) -> None:
        self._client = node.create_client(SetMode, f"/{NAMESPACE}/set_mode")
        self._request: Future | None = None
        self._asked_s = float("-inf")
        self.refusal = ""

    @property
    def ready(self) -> bool:
        """Whether somebody is there to be asked."""
        return bool(self._client.service_is_ready())

    def ask_for(self, wanted: Mode, now: Mode) -> bool:
        """Ask for a mode, given the one in force; returns whether that is it, without waiting."""
        if self._request is not None and self._request.done():
            response = self._request.result()
            self.refusal = "" if response is None or response.success else response.message
            self._request = None
        due = time.monotonic() - self._asked_s > ASK_PERIOD_S
        if now is not wanted and due and self._request is None and self.ready:
            self._asked_s = time.monotonic()
            mode = Mode.HOLD if now is Mode.FAULT else wanted
            self._request = self._client.call_async(SetMode.Request(mode=mode.value))
        return now is wanted


class Onlooker:
    """A node with a ROS context of its own, spun by hand. Not thread-safe.

    Attributes:
        statuses: of the action node, as they came.
        faults: the reason of each FAULT that it went into.
    """

    def __init__(self, name: str) -> None:
        """Join the domain of the environment."""
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node(name, namespace=name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.statuses: list[ControlStatus] = []
        self.faults: list[str] = []
        self.node.create_subscription(ControlStatus, f"/{NAMESPACE}/status", self._on_status, COMMAND)
        self._asker = ModeAsker(self.node)

    def spin(self, seconds: float, meanwhile: Callable[[], object] | None = None) -> None:
        """Receive for a while, calling `meanwhile` every 20 ms or so."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left, 0.02))
            if meanwhile is not None:
                meanwhile()

    def until(self, done: Callable[[], object], what: str, timeout_s: float) -> None:
        """Receive until something holds.

        Raises:
            BringUpError: if it does not in time.
        """
        end = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > end:
                raise BringUpError(f"Waited {timeout_s:.0f} s for {what}.", remedy="Look into the logs.")
            self._executor.spin_once(timeout_sec=0.02)

    def keep_policy(self) -> bool:
        """Ask for POLICY until it is in force; whether it is."""
        return bool(self.statuses) and self._asker.ask_for(Mode.POLICY, Mode(self.statuses[-1].mode))

    def close(self) -> None:
        """Leave."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def _on_status(self, msg: ControlStatus) -> None:
        if msg.mode == ControlStatus.FAULT and self.statuses and self.statuses[-1].mode != ControlStatus.FAULT:
            self.faults.append(msg.reason)
        self.statuses.append(msg)
