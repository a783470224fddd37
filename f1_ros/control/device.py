"""The person's teleoperation device: where it wants the arm, whether its deadman is held, whether someone takes hold.

The device sends joint targets. A deadman is a message of its own, so that a pedal can be one: once it has been heard
of, or if the profile says that there is one, the arm follows the device only while it is held.

Taking hold of the device while the policy moves the arm can be enough to take over (the profile's `override_...`):
moving it, or pressing its deadman.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from f1_ros.robots.profile import RobotProfile

Array = NDArray[np.float64]

# A target this far outside the position limits is no overshoot but another unit or another robot.
OUT_OF_RANGE = 0.5
# A device counts as moved against where it was about this long ago: an arm that sags slowly is not being moved.
_RECENT_NS = 1_000_000_000
# After a hand-back the device must have been still for this long before moving it counts.
_CALM_NS = 500_000_000
# Messages in a row that must say so: one alone may be an encoder's slip.
_MOVED_MESSAGES = 2


class Refusal(Enum):
    """Why a device's message is not used; the value is the end of its counter's name."""

    JOINTS = "joints"
    INVALID = "invalid"
    OLD = "old"
    OUT_OF_RANGE = "out_of_range"


class TeleopDevice:
    """The device as last heard of. Not thread-safe. Times are ns on the ROS clock, of arrival unless named stamps.

    Args:
        profile: the robot.
    """

    def __init__(self, profile: RobotProfile) -> None:
        self._joints = profile.joints
        self._gripper_names = tuple(gripper.name for gripper in profile.grippers)
        limits = profile.limits
        self._lower, self._upper = np.array(limits.lower) - OUT_OF_RANGE, np.array(limits.upper) + OUT_OF_RANGE
        self._settings = profile.teleop
        self._timeout_ns = round(profile.timeouts.teleop * 1e9)
        self.forget()

    def forget(self) -> None:
        """Know nothing again, as at the start."""
        self._position: Array | None = None
        self._grippers: dict[str, float] = {}
        self._heard_ns: int | None = None
        self._stamp_ns = self._deadman_stamp_ns = 0
        self._deadman: bool | None = None
        self._was_free = False
        self._deadman_ns: int | None = None
        self._reference: Array | None = None
        self.policy_begins(0)

    # -- what comes in ------------------------------------------------------------------------------------------------

    def take(self, names: Sequence[str], positions: Sequence[float], now_ns: int, stamp_ns: int) -> Refusal | None:
        """Take a message: all arm joints (rad) and any grippers (m of width), by name.

        Args:
            names: joint and gripper names.
            positions: one for each name.
            now_ns: time of arrival.
            stamp_ns: header stamp; 0 if it has none. Older ones than the last, or than the timeout, are refused.

        Returns:
            Why it is not used; None if it is.
        """
        values = dict(zip(names, positions, strict=False))
        if len(names) != len(positions) or any(joint not in values for joint in self._joints):
            return Refusal.JOINTS
        arm = np.array([values[joint] for joint in self._joints], dtype=np.float64)
        grippers = {name: float(values[name]) for name in self._gripper_names if name in values}
        if not (np.isfinite(arm).all() and all(map(math.isfinite, grippers.values()))):
            return Refusal.INVALID
        if stamp_ns and (stamp_ns <= self._stamp_ns or now_ns - stamp_ns > self._timeout_ns):
            return Refusal.OLD
        if (arm < self._lower).any() or (arm > self._upper).any():
            return Refusal.OUT_OF_RANGE
        self._look_whether_moved(arm, now_ns)
        self._position, self._grippers = arm, grippers
        self._heard_ns, self._stamp_ns = now_ns, stamp_ns
        return None

    def on_deadman(self, held: bool, now_ns: int, stamp_ns: int = 0) -> None:
        """The deadman says whether it is held. A stamp that is not newer than the last one is no news."""
        if stamp_ns and stamp_ns <= self._deadman_stamp_ns:
            return
        self._deadman, self._deadman_ns, self._deadman_stamp_ns = held, now_ns, stamp_ns
        self._was_free = self._was_free or not held

    def policy_begins(self, now_ns: int) -> None:
        """POLICY comes into force: what the person still does with the device now is not taking hold of it."""
        self._moved, self._armed, self._calm_since_ns = 0, False, now_ns
        self._was_free = self._deadman is False

    # -- what it means ------------------------------------------------------------------------------------------------

    @property
    def position(self) -> Array | None:
        """Where the device wants the arm, (joints,) rad; None before its first message."""
        return self._position

    @property
    def grippers(self) -> dict[str, float]:
        """Opening widths that its last message asks for, m, by gripper."""
        return self._grippers

    @property
    def has_deadman(self) -> bool:
        """There is a deadman: the profile says so, or it has been heard of."""
        return self._settings.deadman or self._deadman is not None

    @property
    def released(self) -> bool:
        """There is a deadman, and its last word is that it is not held."""
        return self._deadman is False

    def silent(self, now_ns: int, since_ns: int | None = None) -> str:
        """What has not been heard of for its timeout, if anything, in words.

        Args:
            now_ns: the time now.
            since_ns: silence counts from this instant on at the earliest; None: from whenever.
        """
        timeout_s = self._timeout_ns * 1e-9
        for what, last_ns in (("leader arm", self._heard_ns), ("deadman", self._deadman_ns)):
            known = [ns for ns in (last_ns, since_ns) if ns is not None]
            late = not known or now_ns - max(known) > self._timeout_ns
            if late and (what == "leader arm" or self.has_deadman):
                return f"no {what}'s message for {timeout_s:g} s"
        return ""

    def obstacle(self, now_ns: int) -> str:
        """What stands against following the device now, with the remedy; empty if nothing does."""
        silent = self.silent(now_ns)
        if silent:
            return f"{silent[0].upper()}{silent[1:]}. Remedy: start its node, then ask again."
        if self.has_deadman and not self._deadman:
            return "The device's deadman is not held. Remedy: hold it, then ask again."
        return ""

    def touched(self, commanded: Array, now_ns: int) -> bool:
        """Whether the person takes hold of the device, by what the profile lets count as that; for each tick of POLICY.

        A device that goes along with the arm moves as well: it counts only once it is away from the arm.

        Args:
            commanded: (joints,) where the arm is commanded to be, rad.
            now_ns: the time now.
        """
        if self._settings.override_deadman and self._was_free and self._deadman:
            return True
        threshold = self._settings.override_motion
        if not threshold or self._position is None:
            return False
        apart = bool(np.abs(self._position - commanded).max() > threshold)
        if self._moved and apart and not self._armed:
            self._calm_since_ns = now_ns
        self._armed = self._armed or now_ns - self._calm_since_ns >= _CALM_NS
        return self._armed and apart and self._moved >= _MOVED_MESSAGES

    def _look_whether_moved(self, arm: Array, now_ns: int) -> None:
        heard_ns = self._heard_ns
        if self._reference is None or heard_ns is None or now_ns - heard_ns > self._timeout_ns:
            self._reference, self._moved, self._armed, self._calm_since_ns = arm, 0, False, now_ns  # another device?
            return
        moved = bool(np.abs(arm - self._reference).max() > self._settings.override_motion)
        self._moved = self._moved + 1 if moved else 0
        self._reference = self._reference + min(1.0, (now_ns - heard_ns) / _RECENT_NS) * (arm - self._reference)
