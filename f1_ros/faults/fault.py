"""What a fault is: how it is made, when it must be noticed and why then, and what the robot must do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from f1_ros.errors import ConfigError

CONTROL_PERIODS = 2
"""The safe action begins within so many control periods of the detection."""


class Base(Enum):
    """What the arm does when the fault comes; the value is the mode's name."""

    TELEOP = "TELEOP"  # follows a leader that swings to and fro
    POLICY = "POLICY"
    HOLD = "HOLD"


class Action(Enum):
    """What the robot does about a fault; the values are for people."""

    FAULT = "FAULT: brakes to rest within its limits, stays there until a request"
    HOLD = "HOLD: brakes to rest from where the arm is, until a request"
    SILENT = "no command that moves goes out: the robot's own controller holds the last; then FAULT or HOLD"
    GOES_ON = "goes on as before, within its limits"


@dataclass(frozen=True)
class Relayed:
    """Messages are altered on their way: `alterations` as `alterations.parse` reads them."""

    alterations: str


@dataclass(frozen=True)
class Killed:
    """A process is ended by SIGKILL; the supervisor starts it again."""

    process: str


@dataclass(frozen=True)
class Stopped:
    """A process is stopped by SIGSTOP until the fault is over; `for_s` of 0: for as long as it is watched."""

    process: str
    for_s: float = 0.0


@dataclass(frozen=True)
class Throttled:
    """A process runs for `run_s` in each `period_s`, and is stopped for the rest."""

    process: str
    run_s: float
    period_s: float


@dataclass(frozen=True)
class OutOfMemory:
    """A process is killed, as the kernel does when memory runs out; the next may have `size` bytes (RLIMIT_AS).

    A limit set on a process that has all it needs is not felt: its arrays lie where the last ones were.
    """

    process: str
    size: int


@dataclass(frozen=True)
class FullDisk:
    """No file of a process can grow beyond `size` bytes (prlimit, RLIMIT_FSIZE) when an episode is to be kept."""

    process: str
    size: int


@dataclass(frozen=True)
class Leader:
    """The leader arm misbehaves: `silent`, `nan`, `floods`, `far`, `jumps` or `partial`."""

    how: str


@dataclass(frozen=True)
class Rival:
    """Another node publishes on the command topic."""


@dataclass(frozen=True)
class Nonsense:
    """Every node is asked to take parameters, an instruction and a mode that make no sense; all must be refused."""


Injection: TypeAlias = (
    Relayed | Killed | Stopped | Throttled | OutOfMemory | FullDisk | Leader | Rival | Nonsense
)  # fmt: skip


@dataclass(frozen=True)
class Named:
    """How a fault stands on /diagnostics.

    Attributes:
        part: name of the status, "<node>: <part>".
        words: what its message holds, at level WARN or ERROR.
        within_s: from the injection, s.
    """

    part: str
    words: str
    within_s: float


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: its name for the command line.
        what: what goes wrong, in a sentence.
        base: what the arm does before.
        injection: how it is made.
        action: what the robot does.
        within_s: from the injection to when the control process must have noticed, s: by design, not by measurement.
            For GOES_ON, how long it is watched.
        why: where that time comes from.
        named: how it stands on /diagnostics; None where nobody is to be told, or another says so.
        reason: what the reason of the mode holds, for FAULT.
        asks: a mode that is asked for once the fault is there; "" for none.
        note: what else there is to know, for people.

    Raises:
        ConfigError: if a time is not positive, or FAULT has no reason.
    """

    name: str
    what: str
    base: Base
    injection: Injection
    action: Action
    within_s: float
    why: str
    named: Named | None
    reason: str = ""
    asks: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.within_s <= 0 or (self.named is not None and self.named.within_s <= 0):
            raise ConfigError(f"Fault '{self.name}' has a time that is not positive.", remedy="Give it a time.")
        if (self.action is Action.FAULT) != bool(self.reason):
            raise ConfigError(
                f"Fault '{self.name}': a reason is for FAULT, and FAULT needs one.", remedy="Say what the reason holds."
            )

    @property
    def records(self) -> bool:
        """Whether it needs a recorder in the system."""
        return isinstance(self.injection, FullDisk)

    @property
    def strikes(self) -> str | None:
        """Name of the process that it ends, stops or starves; None if it harms none."""
        kinds = (Killed, Stopped, Throttled, OutOfMemory)
        return self.injection.process if isinstance(self.injection, kinds) else None
