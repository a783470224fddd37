"""What can be lost or go astray: sources that fall silent, the joint state, the arm itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.arbiter import Cause, Guard, Mode, Problem
from f1_ros.control.device import TeleopDevice
from f1_ros.control.measured import MeasuredState
from f1_ros.robots.profile import RobotProfile

Array = NDArray[np.float64]

# A command that waits for its joint for longer than this (s) has a joint that does not follow, not one that lags.
_WAITS_S = 0.5


class Watch:
    """Knows when each source was last heard of, and what that means for the mode. Not thread-safe.

    Args:
        profile: its timeouts and its largest tracking error are what counts as lost.
        measured: the arm's measured state.
        device: the teleoperation device.
    """

    def __init__(self, profile: RobotProfile, measured: MeasuredState, device: TeleopDevice) -> None:
        self._profile = profile
        self._measured = measured
        self._device = device
        self._chunk_ns: int | None = None
        self._since_ns = 0
        self._waits_since_ns: int | None = None

    def heard_chunk(self, now_ns: int) -> None:
        """A usable action chunk has arrived."""
        self._chunk_ns = now_ns

    def entered(self, now_ns: int) -> None:
        """A mode has been entered: its source has its timeout from now on."""
        self._since_ns = now_ns
        self._waits_since_ns = None

    def stepped(self, waits: bool, now_ns: int) -> None:
        """A command has been decided; `waits` if it is held back since a joint lags behind."""
        if not waits:
            self._waits_since_ns = None
        elif self._waits_since_ns is None:
            self._waits_since_ns = now_ns

    def forget(self) -> None:
        """Know nothing again, as at the start."""
        self._chunk_ns = None
        self._since_ns = 0
        self._waits_since_ns = None

    def problem(self, mode: Mode, commanded: Array, now_ns: int) -> Problem | None:
        """What makes the mode in force impossible, or None.

        Args:
            mode: the mode in force.
            commanded: (joints,) last commanded position, rad.
            now_ns: the time now, ns.
        """
        lost = self._state_problem(now_ns)
        if lost is not None:
            return lost
        error = np.abs(self._measured.position - commanded)
        worst = int(error.argmax())
        joint, most = self._profile.joints[worst], self._profile.max_tracking_error
        if error[worst] > most:
            return Cause.TRACKING, f"{joint} is {error[worst]:.2f} rad from its command (max_tracking_error {most:g})"
        if self._waits_since_ns is not None and now_ns - self._waits_since_ns > _WAITS_S * 1e9:
            return Cause.TRACKING, f"{joint} does not follow: its command has waited for it for {_WAITS_S:g} s"
        if mode is Mode.POLICY and self._no_chunk(now_ns, self._since_ns):
            return Cause.POLICY_SILENT, f"no usable action chunk for {self._profile.timeouts.policy:g} s"
        if mode.follows_device and (silent := self._device.silent(now_ns, self._since_ns)):
            return Cause.TELEOP_SILENT, silent
        return None

    def obstacle(self, guard: Guard, now_ns: int) -> str:
        """What stands against a guard now, with the remedy; empty if it holds.

        A source that fell silent is none against leaving FAULT: HOLD needs no source.
        """
        if guard is Guard.ALWAYS:
            return ""
        if self._measured.known:
            lost = self._state_problem(now_ns)
            if lost is not None:
                return f"{lost[1]}. Remedy: see that the robot's driver runs and publishes its joint state."
        elif guard is not Guard.ARM:
            return "No joint state yet. Remedy: start the robot's driver, and check the profile's state topics."
        if guard is Guard.DEVICE:
            return self._device.obstacle(now_ns)
        if guard is Guard.POLICY and self._no_chunk(now_ns, None):
            timeout = self._profile.timeouts.policy
            return f"No usable action chunk in the last {timeout:g} s. Remedy: start its node, then ask again."
        return ""

    def _no_chunk(self, now_ns: int, since_ns: int | None) -> bool:
        known = [ns for ns in (self._chunk_ns, since_ns) if ns is not None]
        return not known or now_ns - max(known) > self._profile.timeouts.policy * 1e9

    def _state_problem(self, now_ns: int) -> Problem | None:
        if not self._measured.finite:
            return Cause.NAN_STATE, "the joint state holds NaN or infinity"
        timeout = self._profile.timeouts.joint_state
        if self._measured.age_s(now_ns) > timeout:
            return Cause.JOINT_STATE_LOST, f"no joint state of {self._measured.stalest()} for {timeout:g} s"
        return None
