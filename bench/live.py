"""The running system, for benchmarks that measure it from outside: brought up, watched through its topics, ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from f1_msgs.msg import ControlStatus
from f1_msgs.srv import SetMode
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future

from f1_ros.cli.engine import prepare_system
from f1_ros.errors import BringUpError
from f1_ros.nodes.polled import PolledSubscription
from f1_ros.nodes.qos import COMMAND, DIAGNOSTICS
from f1_ros.processes import BringUp
from f1_ros.supervisor import Supervisor

HERE = Path(__file__).resolve().parent
START_TIMEOUT_S = 90.0
ASK_PERIOD_S = 0.3
EVERY = QoSProfile(depth=2000, reliability=ReliabilityPolicy.RELIABLE)


class Sent(PolledSubscription[Any]):
    """When each message of a topic was published, as its publisher's middleware says; its content stays unread."""

    def __init__(self, node: Node, kind: type[Any], topic: str) -> None:
        """Subscribe."""
        super().__init__(node, kind, topic, EVERY)
        self.sent_ns: list[int] = []

    def take_times(self) -> None:
        """Take what has come."""
        with self._subscription.handle:
            while (taken := self._subscription.handle.take_message(self._subscription.msg_type, True)) is not None:
                self.sent_ns.append(taken[1]["source_timestamp"])


class Watcher:
    """A node of the benchmark's own, spun by hand."""

    def __init__(self, name: str = "bench") -> None:
        """Join the domain of the environment."""
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node(name, namespace="bench", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.statuses: list[ControlStatus] = []
        self.faults: list[str] = []
        self.diagnostics: dict[str, dict[str, str]] = {}
        self.node.create_subscription(ControlStatus, "/f1/status", self._on_status, COMMAND)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS)
        self._set_mode = self.node.create_client(SetMode, "/f1/set_mode")
        self._request: Future | None = None
        self._asked_s = float("-inf")

    def spin(self, seconds: float, meanwhile: Callable[[], object] | None = None) -> None:
        """Receive for a while, calling `meanwhile` every 20 ms or so."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left, 0.02))
            if meanwhile is not None:
                meanwhile()

    def until(self, done: Callable[[], object], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
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
        """Ask for POLICY, out of FAULT by way of HOLD, until it is in force; whether it is."""
        if not self.statuses:
            return False
        mode = self.statuses[-1].mode
        if self._request is not None and self._request.done():
            self._request = None
        due = time.monotonic() - self._asked_s > ASK_PERIOD_S
        if mode != ControlStatus.POLICY and due and self._request is None and self._set_mode.service_is_ready():
            self._asked_s = time.monotonic()
            wanted = ControlStatus.HOLD if mode == ControlStatus.FAULT else ControlStatus.POLICY
            self._request = self._set_mode.call_async(SetMode.Request(mode=wanted))
        return bool(mode == ControlStatus.POLICY)

    def close(self) -> None:
        """Leave."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def _on_status(self, msg: ControlStatus) -> None:
        if msg.mode == ControlStatus.FAULT and self.statuses and self.statuses[-1].mode != ControlStatus.FAULT:
            self.faults.append(msg.reason)
        self.statuses.append(msg)

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            figures = {pair.key: pair.value for pair in status.values}
            self.diagnostics[status.name] = {"message": status.message, **figures}


@contextmanager
def running(bringup: BringUp, logs: Path) -> Iterator[tuple[Supervisor, Watcher]]:
    """Bring a system up in a domain of this process's own. A process named in `bench/` is run from there."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    prepare_system(bringup)

    def command(executable: str) -> list[str]:
        own = HERE / f"{executable}.py"
        return [sys.executable, *([str(own)] if own.exists() else ["-m", f"f1_ros.nodes.{executable}"])]

    with Supervisor(bringup, log_dir=logs, command=command) as system:
        watcher = Watcher()
        try:
            yield system, watcher
        finally:
            watcher.close()


def alive(system: Supervisor) -> None:
    """Look after the processes.

    Raises:
        BringUpError: if one has died.
    """
    for death in system.poll(0.0):
        raise BringUpError(death.notice, remedy=f"Look into {system.log_dir}.")


def percentiles(values: NDArray[np.float64]) -> dict[str, float]:
    """Percentiles of a distribution, by name."""
    marks = (1, 5, 25, 50, 75, 90, 95, 99, 99.9, 100)
    return {f"p{q:g}": float(np.percentile(values, q)) for q in marks} if len(values) else {}
