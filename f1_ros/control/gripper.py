"""Gripper commands: sent on change, never streamed."""

from __future__ import annotations

from f1_ros.robots.parts import Gripper


class GripperGate:
    """Decides when a gripper's target is worth a command.

    Grippers take 0.3-1 s a command and queue or hang when streamed to. A target is sent once it differs from the last
    one sent by more than the profile's hysteresis, and not sooner than its interval after it. Targets within a
    hysteresis of fully closed or open mean that end, so that a gripper always gets there.
    """

    def __init__(self, gripper: Gripper) -> None:
        self._gripper = gripper
        self._sent: float | None = None
        self._sent_ns = 0

    @property
    def sent(self) -> float | None:
        """Width last sent, m; None before the first command."""
        return self._sent

    @property
    def sent_ns(self) -> int:
        """When it was sent, ns; 0 before the first command."""
        return self._sent_ns

    def update(self, width: float, now_ns: int) -> float | None:
        """The width to send now (m), or None if there is nothing to send."""
        g = self._gripper
        if width <= g.closed + g.hysteresis:
            width = g.closed
        elif width >= g.open - g.hysteresis:
            width = g.open
        if self._sent is not None and (
            abs(width - self._sent) <= g.hysteresis or now_ns - self._sent_ns < g.min_interval_s * 1e9
        ):
            return None
        self._sent, self._sent_ns = width, now_ns
        return width

    def forget(self) -> None:
        """Send the next target whatever it is: the gripper may have been moved by others, or the clock been reset."""
        self._sent, self._sent_ns = None, 0
