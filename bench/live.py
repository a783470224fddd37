"""The running system, for benchmarks that measure it from outside: brought up, watched through its topics, ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from f1_ros.cli.engine import prepare_system
from f1_ros.errors import BringUpError
from f1_ros.nodes.onlooker import Onlooker
from f1_ros.nodes.polled import PolledSubscription
from f1_ros.nodes.qos import DIAGNOSTICS
from f1_ros.processes import BringUp
from f1_ros.supervisor import Supervisor

HERE = Path(__file__).resolve().parent
START_TIMEOUT_S = 90.0
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


class Watcher(Onlooker):
    """An onlooker that also keeps what is on /diagnostics."""

    def __init__(self, name: str = "bench") -> None:
        """Join the domain of the environment."""
        super().__init__(name)
        self.diagnostics: dict[str, dict[str, str]] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS)

    def until(self, done: Callable[[], object], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """See `Onlooker.until`."""
        super().until(done, what, timeout_s)

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
