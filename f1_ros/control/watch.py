"""What can be lost or go astray: sources that fall silent, the joint state, the arm itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.arbiter import Cause, Mode
from f1_ros.control.measured import MeasuredState
from f1_ros.robots.profile import RobotProfile

Array = NDArray[np.float64]

_WHAT = {Mode.TELEOP: "leader arm's message", Mode.POLICY: "usable action chunk"}
# A command that waits for its joint for longer than this (s) has a joint that does not follow, not one that lags.
_WAITS_S = 0.5
_SILENT = {Mode.TELEOP: Cause.TELEOP_SILENT, Mode.POLICY: Cause.POLICY_SILENT}


class Watch:
    """Knows when each source was last heard of, and what that means for the mode. Not thread-safe.

    Args:
        profile: its timeouts and its largest tracking error are what counts as lost.
        measured: the arm's measured state.
    """

    def __init__(self, profile: RobotProfile, measured: MeasuredState) -> None:
        self._profile = profile
        self._measured = measured
        self._timeouts = {Mode.TELEOP: profile.timeouts.teleop, Mode.POLICY: profile.timeouts.policy}
        self._heard_ns: dict[Mode, int] = {}
        self._since_ns = 0
        self._waits_since_ns: int | None = None

    def heard(self, source: Mode, now_ns: int) -> None:
        """A usable message of TELEOP or POLICY has arrived."""
        self._heard_ns[source] = now_ns

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
        self._heard_ns.clear()
        self._since_ns = 0
        self._waits_since_ns = None

    def problem(self, mode: Mode, commanded: Array, now_ns: int) -> tuple[Cause, str] | None:
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
        if mode in _SILENT:
            timeout = self._timeouts[mode]
            if now_ns - max(self._heard_ns.get(mode, 0), self._since_ns) > timeout * 1e9:
                return _SILENT[mode], f"no {_WHAT[mode]} for {timeout:g} s"
        return None

    def obstacle(self, current: Mode, wanted: Mode, now_ns: int) -> str:
        """What stands against a request for a mode, with the remedy; empty if nothing does.

        A source that fell silent is none against leaving FAULT: HOLD needs no source.
        """
        if wanted is Mode.FAULT or (wanted is Mode.HOLD and current is not Mode.FAULT):
            return ""
        if self._measured.known:
            lost = self._state_problem(now_ns)
            if lost is not None:
                return f"{lost[1]}. Remedy: see that the robot's driver runs and publishes its joint state."
        elif wanted is not Mode.HOLD:
            return "No joint state yet. Remedy: start the robot's driver, and check the profile's state topics."
        if wanted in _SILENT:
            timeout, heard_ns = self._timeouts[wanted], self._heard_ns.get(wanted)
            if heard_ns is None or now_ns - heard_ns > timeout * 1e9:
                return f"No {_WHAT[wanted]} in the last {timeout:g} s. Remedy: start its node, then ask again."
        return ""

    def _state_problem(self, now_ns: int) -> tuple[Cause, str] | None:
        if not self._measured.finite:
            return Cause.NAN_STATE, "the joint state holds NaN or infinity"
        timeout = self._profile.timeouts.joint_state
        if self._measured.age_s(now_ns) > timeout:
            return Cause.JOINT_STATE_LOST, f"no joint state of {self._measured.stalest()} for {timeout:g} s"
        return None
