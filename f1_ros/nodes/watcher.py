"""Nodes in threads of their own that watch a running system: for the demo, and to judge faults and conformance."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

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


_N = TypeVar("_N", bound=Node)


class NodeThread(Generic[_N]):
    """Runs a node in a thread of its own, with a ROS context of its own, between `with` and its end.

    Args:
        make: makes the node in that context.
    """

    def __init__(self, make: Callable[[Context], _N]) -> None:
        self._context = Context()
        self._context.init()
        self._node = make(self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._stop = threading.Event()
        self._bug: Exception | None = None
        self._threads = [threading.Thread(target=self._spin, name=self._node.get_name(), daemon=True)]

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

    def check(self) -> None:
        """Raise in the caller's thread what has ended the node's."""
        if self._bug is not None:
            raise self._bug

    def _spin(self) -> None:
        # Not `executor.spin`: shutting an executor down while another thread spins it raises in that thread.
        try:
            while not self._stop.is_set():
                self._executor.spin_once(timeout_sec=0.1)
        except Exception as bug:
            self._bug = bug
            raise


class Watcher(NodeThread[Node]):
    """A node that keeps what is to be judged.

    Args:
        name: the node's name.
        period_ns: control period of what is watched, ns.
        source: runs in a second thread, and plays what the system hears, until `_stop` is set.
    """

    def __init__(self, name: str, period_ns: int, source: Callable[[], None]) -> None:
        super().__init__(lambda context: Node(name, namespace=NAMESPACE, context=context))
        self.trace = Trace(period_ns=period_ns)
        """What has been seen; grows from the start on, and `begin` replaces it."""
        self._lock = threading.Lock()
        self._threads.append(threading.Thread(target=source, name="source", daemon=True))

    @property
    def mode(self) -> str:
        """The mode that the action node last said is in force; empty if it has said nothing for 0.5 s.

        Raises what has ended the node's thread.
        """
        self.check()
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
