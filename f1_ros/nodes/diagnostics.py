"""What a node says about itself on /diagnostics: at 1 Hz, and at once when something changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from f1_ros.nodes.qos import DIAGNOSTICS

PERIOD_S = 1.0
MIN_INTERVAL_S = 1.0
"""A part that flaps is said in the log at most this often."""


class Level(IntEnum):
    """Levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass
class _Part:
    level: Level
    message: str
    values: dict[str, str] = field(default_factory=dict)
    said: tuple[Level, str] = (Level.OK, "")
    said_s: float = float("-inf")


class Diagnostics:
    """Publishes a node's parts as diagnostic_msgs/DiagnosticArray and logs each change once. Thread-safe.

    Figures that vary belong into `values`; a message that varies would be logged at each change.
    """

    def __init__(self, node: Node, hardware_id: str = "") -> None:
        """Start publishing.

        Args:
            node: the node; statuses are named "<node>: <part>".
            hardware_id: the robot's name; may be set later, where the node does not know it at the start.
        """
        self._node = node
        self.hardware_id = hardware_id
        self._parts: dict[str, _Part] = {}
        self._lock = threading.Lock()
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        # Steady time: a simulation that stands still is worth a diagnosis too.
        self._timer = node.create_timer(PERIOD_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def set(self, part: str, level: Level, message: str, values: Mapping[str, object] | None = None) -> None:
        """Say how a part is.

        Args:
            part: which part, such as "camera front".
            level: how it is.
            message: one sentence, the same as long as the cause is the same.
            values: figures to show beside it.
        """
        texts = {key: _text(value) for key, value in (values or {}).items()}
        with self._lock:
            entry = self._parts.setdefault(part, _Part(level, message))
            entry.level, entry.message, entry.values = level, message, texts
            changed = self._say_if_due(part, entry)
        if changed:
            self._publish([part])

    def close(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _say_if_due(self, part: str, entry: _Part) -> bool:
        """Log a change, unless the part's last change was logged a moment ago; the timer then catches up."""
        now_s = time.monotonic()
        if (entry.level, entry.message) == entry.said or now_s - entry.said_s < MIN_INTERVAL_S:
            return False
        before, entry.said, entry.said_s = entry.said[0], (entry.level, entry.message), now_s
        logger, text = self._node.get_logger(), f"{part}: {entry.message}"
        # rclpy ties a severity to the line that logs it, so each has its own.
        if entry.level is Level.OK:
            if before is not Level.OK:
                logger.info(text)
        elif entry.level is Level.WARN:
            logger.warning(text)
        else:
            logger.error(text)
        return True

    def _tick(self) -> None:
        with self._lock:
            for part, entry in self._parts.items():
                self._say_if_due(part, entry)
            parts = list(self._parts)
        self._publish(parts)

    def _publish(self, parts: list[str]) -> None:
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        with self._lock:
            array.status = [self._status(part, self._parts[part]) for part in parts]
        self._publisher.publish(array)

    def _status(self, part: str, entry: _Part) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=bytes([entry.level]),
            name=f"{self._node.get_name()}: {part}",
            message=entry.message,
            hardware_id=self.hardware_id,
            values=[KeyValue(key=key, value=value) for key, value in entry.values.items()],
        )


def _text(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
