"""A node in threads of its own that watches a running system, for what judges it: faults and conformance."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from f1_msgs.msg import ControlStatus
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from f1_ros.faults.judge import Trace
from f1_ros.nodes.lifecycle import NAMESPACE

MODES = {int(getattr(ControlStatus, name)): name for name in ("HOLD", "TELEOP", "POLICY", "FAULT", "CORRECTION")}
NUMBERS = {name: number for number, name in MODES.items()}

ALL = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
"""No command may be lost here: what is judged are the steps between them."""

_FRESH_NS = 500_000_000


class Watcher:
    """A node with a ROS context of its own, between `with` and its end.

    Args:
        name: the node's name.
        period_ns: control period of what is watched, ns.
        source: runs in a second thread, and plays what the system hears, until `_stop` is set.
    """

    def __init__(self, name: str, period_ns: int, source: Callable[[], None]) -> None:
        self.trace = Trace(period_ns=period_ns)
        """What has been seen; grows from the start on, and `begin` replaces it."""
        self._lock = threading.Lock()
        self._context = Context()
        self._context.init()
        self._node = Node(name, namespace=NAMESPACE, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=run, name=thread, daemon=True)
            for thread, run in (("watcher", self._spin), ("source", source))
        ]

    def __enter__(self) -> Self:
        """Start."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        """End, and free the node."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    @property
    def mode(self) -> str:
        """The mode that the action node last said is in force; empty if it has said nothing for 0.5 s."""
        statuses = self.trace.statuses
        fresh = statuses and time.time_ns() - statuses[-1].sent_ns < _FRESH_NS
        return statuses[-1].mode if fresh else ""

    def begin(self) -> Trace:
        """Begin a new recording; the last half second of the one before is its beginning. Gives the new one."""
        since_ns = time.time_ns() - _FRESH_NS
        with self._lock:
            old = self.trace
            self.trace = Trace(
                [c for c in old.commands if c.sent_ns > since_ns],
                [s for s in old.statuses if s.sent_ns > since_ns],
                [],
                period_ns=old.period_ns,
            )
        return self.trace

    def _spin(self) -> None:
        # Not `executor.spin`: shutting an executor down while another thread spins it raises in that thread.
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.1)
