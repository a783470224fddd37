"""Who may move the arm: four modes, one source a tick, and an explicit table of what may follow what.

    HOLD    ──request──> TELEOP, POLICY, FAULT
    TELEOP  ──request──> HOLD, POLICY, FAULT
    POLICY  ──request──> HOLD, TELEOP, FAULT
    any     ──cause────> FAULT          (NaN, silence, lost joint state, tracking error, a rival, a stall)
    FAULT   ──request──> HOLD           (once no cause persists)

The arbiter has no clock and reads no messages: the controller tells it what is the matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum


class Mode(IntEnum):
    """What the arm follows; the numbers are those of SetMode.srv and ControlStatus.msg."""

    HOLD = 0
    TELEOP = 1
    POLICY = 2
    FAULT = 3


class Cause(Enum):
    """Why FAULT was entered; the value is the end of its counter's name."""

    NAN_COMMAND = "nan_command"
    NAN_STATE = "nan_state"
    JOINT_STATE_LOST = "joint_state_lost"
    TELEOP_SILENT = "teleop_silent"
    POLICY_SILENT = "policy_silent"
    TRACKING = "tracking"
    RIVAL = "rival"
    STALLED = "stalled"
    REQUESTED = "requested"


_MAY_FOLLOW: Mapping[Mode, frozenset[Mode]] = {
    Mode.HOLD: frozenset({Mode.HOLD, Mode.TELEOP, Mode.POLICY, Mode.FAULT}),
    Mode.TELEOP: frozenset({Mode.HOLD, Mode.TELEOP, Mode.POLICY, Mode.FAULT}),
    Mode.POLICY: frozenset({Mode.HOLD, Mode.TELEOP, Mode.POLICY, Mode.FAULT}),
    Mode.FAULT: frozenset({Mode.HOLD, Mode.FAULT}),
}


@dataclass(frozen=True)
class ModeReply:
    """Answer to a request for a mode.

    Attributes:
        success: the mode asked for is in force.
        message: why not, and what to do about it; empty on success.
        mode: the mode in force now.
    """

    success: bool
    message: str
    mode: Mode


class Arbiter:
    """The mode, why it is in force, and how often each cause led to FAULT."""

    def __init__(self) -> None:
        self._mode = Mode.HOLD
        self._cause: Cause | None = None
        self._detail = ""
        self._faults = dict.fromkeys(Cause, 0)

    @property
    def mode(self) -> Mode:
        """The mode in force."""
        return self._mode

    @property
    def cause(self) -> Cause | None:
        """Why FAULT is in force; None in other modes."""
        return self._cause

    @property
    def detail(self) -> str:
        """Words for people on why FAULT is in force; empty in other modes."""
        return self._detail

    @property
    def faults(self) -> dict[str, int]:
        """How often each cause led to FAULT."""
        return {cause.value: count for cause, count in self._faults.items()}

    def fault(self, cause: Cause, detail: str) -> None:
        """Enter FAULT. The first cause stays on record until FAULT is left."""
        if self._mode is Mode.FAULT:
            return
        self._faults[cause] += 1
        self._mode, self._cause, self._detail = Mode.FAULT, cause, detail

    def request(self, mode: Mode, obstacle: str = "") -> ModeReply:
        """Ask for a mode.

        Args:
            mode: the mode wanted; FAULT is a stop on request.
            obstacle: what stands against it now (a silent source, a cause that persists), with the remedy.
        """
        if mode not in _MAY_FOLLOW[self._mode]:
            return ModeReply(
                False,
                f"{self._mode.name} ({self._detail}) is left by HOLD only. Remedy: ask for HOLD first.",
                self._mode,
            )
        if mode is Mode.FAULT:
            self.fault(Cause.REQUESTED, "stopped on request")
        elif mode is not self._mode:
            if obstacle:
                return ModeReply(False, obstacle, self._mode)
            self._mode, self._cause, self._detail = mode, None, ""
        return ModeReply(True, "", self._mode)
