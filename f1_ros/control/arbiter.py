"""Who may move the arm: five modes, one source a tick, and one table of what may follow what.

    TRANSITIONS     from, event, guard, to, priority: the arbiter does what stands there and nothing else

The diagram and the table in docs/safety.md are made of it (`f1-ros robot modes`). The arbiter has no clock and reads no
messages: the controller tells it what has happened, and whether a guard holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum


class Mode(IntEnum):
    """What the arm follows; the numbers are those of SetMode.srv and ControlStatus.msg."""

    HOLD = 0
    TELEOP = 1
    POLICY = 2
    FAULT = 3
    CORRECTION = 4

    @property
    def follows_device(self) -> bool:
        """The arm follows the person's teleoperation device."""
        return self in (Mode.TELEOP, Mode.CORRECTION)

    def source(self, safe_action: str) -> str:
        """What a command of this mode comes from: hold, teleop, policy, or in FAULT the profile's safe action."""
        return safe_action if self is Mode.FAULT else "teleop" if self.follows_device else self.name.lower()


class Cause(Enum):
    """Why FAULT was entered; the value is the end of its counter's name."""

    NAN_COMMAND = "nan_command"
    NAN_STATE = "nan_state"
    JOINT_STATE_LOST = "joint_state_lost"
    TELEOP_SILENT = "teleop_silent"
    POLICY_SILENT = "policy_silent"
    TRACKING = "tracking"
    RIVAL = "rival"
    ROBOT = "robot"
    STALLED = "stalled"
    REQUESTED = "requested"


Problem = tuple[Cause, str]
"""A cause of FAULT, and what is the matter, for people."""


class Event(Enum):
    """What may change the mode; the value says it in words."""

    CAUSE = "something is wrong"
    ASK_FAULT = "FAULT is asked for"
    CLOCK_BACK = "the clock goes back"
    ASK_HOLD = "HOLD is asked for"
    RELEASED = "the deadman is released"
    TOUCHED = "the person takes hold of the device"
    ASK_TELEOP = "TELEOP is asked for"
    ASK_CORRECTION = "CORRECTION is asked for"
    ASK_POLICY = "POLICY is asked for"


class Guard(Enum):
    """What must be so for a transition; the value says it in words."""

    ALWAYS = ""
    ARM = "the joint state comes"
    DEVICE = "joint state and device come, and its deadman, if it has one, is held"
    POLICY = "joint state and usable chunks come"


@dataclass(frozen=True)
class Transition:
    """One row of the table.

    Attributes:
        start: the mode in force.
        event: what happens.
        guard: what must be so as well; if it is not, the mode stays.
        end: the mode that follows.
        priority: of all that happens in a tick, what has the smallest number decides; the rest is forgotten.
    """

    start: Mode
    event: Event
    guard: Guard
    end: Mode
    priority: int


TRANSITIONS = (
    Transition(Mode.HOLD, Event.CAUSE, Guard.ALWAYS, Mode.FAULT, 0),
    Transition(Mode.TELEOP, Event.CAUSE, Guard.ALWAYS, Mode.FAULT, 0),
    Transition(Mode.POLICY, Event.CAUSE, Guard.ALWAYS, Mode.FAULT, 0),
    Transition(Mode.CORRECTION, Event.CAUSE, Guard.ALWAYS, Mode.FAULT, 0),
    Transition(Mode.HOLD, Event.ASK_FAULT, Guard.ALWAYS, Mode.FAULT, 1),
    Transition(Mode.TELEOP, Event.ASK_FAULT, Guard.ALWAYS, Mode.FAULT, 1),
    Transition(Mode.POLICY, Event.ASK_FAULT, Guard.ALWAYS, Mode.FAULT, 1),
    Transition(Mode.CORRECTION, Event.ASK_FAULT, Guard.ALWAYS, Mode.FAULT, 1),
    Transition(Mode.TELEOP, Event.CLOCK_BACK, Guard.ALWAYS, Mode.HOLD, 2),
    Transition(Mode.POLICY, Event.CLOCK_BACK, Guard.ALWAYS, Mode.HOLD, 2),
    Transition(Mode.CORRECTION, Event.CLOCK_BACK, Guard.ALWAYS, Mode.HOLD, 2),
    Transition(Mode.TELEOP, Event.ASK_HOLD, Guard.ALWAYS, Mode.HOLD, 3),
    Transition(Mode.POLICY, Event.ASK_HOLD, Guard.ALWAYS, Mode.HOLD, 3),
    Transition(Mode.CORRECTION, Event.ASK_HOLD, Guard.ALWAYS, Mode.HOLD, 3),
    Transition(Mode.FAULT, Event.ASK_HOLD, Guard.ARM, Mode.HOLD, 3),
    Transition(Mode.TELEOP, Event.RELEASED, Guard.ALWAYS, Mode.HOLD, 4),
    Transition(Mode.CORRECTION, Event.RELEASED, Guard.ALWAYS, Mode.HOLD, 4),
    Transition(Mode.POLICY, Event.TOUCHED, Guard.DEVICE, Mode.CORRECTION, 5),
    Transition(Mode.HOLD, Event.ASK_TELEOP, Guard.DEVICE, Mode.TELEOP, 6),
    Transition(Mode.POLICY, Event.ASK_TELEOP, Guard.DEVICE, Mode.TELEOP, 6),
    Transition(Mode.CORRECTION, Event.ASK_TELEOP, Guard.DEVICE, Mode.TELEOP, 6),
    Transition(Mode.POLICY, Event.ASK_CORRECTION, Guard.DEVICE, Mode.CORRECTION, 6),
    Transition(Mode.HOLD, Event.ASK_POLICY, Guard.POLICY, Mode.POLICY, 6),
    Transition(Mode.TELEOP, Event.ASK_POLICY, Guard.POLICY, Mode.POLICY, 6),
    Transition(Mode.CORRECTION, Event.ASK_POLICY, Guard.POLICY, Mode.POLICY, 6),
)
"""The state machine. It starts in HOLD."""

ASK: Mapping[Mode, Event] = {
    Mode.HOLD: Event.ASK_HOLD,
    Mode.TELEOP: Event.ASK_TELEOP,
    Mode.POLICY: Event.ASK_POLICY,
    Mode.FAULT: Event.ASK_FAULT,
    Mode.CORRECTION: Event.ASK_CORRECTION,
}

_ROWS: Mapping[Mode, tuple[Transition, ...]] = {
    mode: tuple(sorted((row for row in TRANSITIONS if row.start is mode), key=lambda row: row.priority))
    for mode in Mode
}

_RECENT_MODES = 16

Obstacle = Callable[[Guard], str]
"""What stands against a guard now, with the remedy; empty if it holds."""


def unguarded(_: Guard) -> str:
    """An `Obstacle` that is none."""
    return ""


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


class ModeLog:
    """The modes that commands were of, one after the other. Not thread-safe.

    Between its entries lies what every command came from; a mode that came and went between two ticks had no command.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._recent: deque[tuple[Mode, int]] = deque([(Mode.HOLD, 0)], maxlen=_RECENT_MODES)

    @property
    def recent(self) -> tuple[tuple[Mode, int], ...]:
        """The last 16 modes, the newest last, and when each one's first command was decided, ns; 0: since the start."""
        return tuple(self._recent)

    def note(self, mode: Mode, now_ns: int) -> None:
        """A command of this mode is decided now."""
        if mode is not self._recent[-1][0]:
            self._recent.append((mode, now_ns))
            self.changes += 1

    def restart(self, mode: Mode) -> None:
        """Instants from before mean nothing any more: a mode is in force as since the start."""
        self.note(mode, 0)
        self._recent.clear()
        self._recent.append((mode, 0))


class Arbiter:
    """The mode, why it is in force, and how often each cause led to FAULT. Not thread-safe."""

    def __init__(self) -> None:
        self._mode = Mode.HOLD
        self._event: Event | None = None
        self._cause: Cause | None = None
        self._detail = ""
        self._faults = dict.fromkeys(Cause, 0)

    @property
    def mode(self) -> Mode:
        """The mode in force."""
        return self._mode

    @property
    def event(self) -> Event | None:
        """What led to the mode in force; None at the start."""
        return self._event

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

    def happened(
        self, events: Collection[Event] = (), obstacle: Obstacle = unguarded, problem: Problem | None = None
    ) -> Transition | None:
        """Change the mode as the table says.

        Args:
            events: what has happened at once, but CAUSE.
            obstacle: what stands against a guard.
            problem: what is wrong, if anything is: the event CAUSE. The first one stays on record until FAULT is left.

        Returns:
            The row that applied; None if the mode stays.
        """
        events = {*events, Event.CAUSE} if problem is not None else events
        for row in _ROWS[self._mode]:
            if row.event in events and not obstacle(row.guard):
                self._mode, self._event, self._cause, self._detail = row.end, row.event, None, ""
                if row.end is Mode.FAULT:
                    asked = Cause.REQUESTED, "stopped on request"
                    self._cause, self._detail = asked if problem is None else problem
                    self._faults[self._cause] += 1
                return row
        return None

    def request(self, mode: Mode, obstacle: Obstacle = unguarded) -> ModeReply:
        """Ask for a mode; FAULT is a stop on request. Asking for the one in force changes nothing, and succeeds."""
        event = ASK[mode]
        if mode is self._mode or self.happened({event}, obstacle) is not None:
            return ModeReply(True, "", self._mode)
        guard = next((row.guard for row in _ROWS[self._mode] if row.event is event), None)
        return ModeReply(False, self._no_way(mode) if guard is None else obstacle(guard), self._mode)

    def _no_way(self, mode: Mode) -> str:
        if self._mode is Mode.FAULT:
            return f"FAULT ({self._detail}) is left by HOLD only. Remedy: ask for HOLD first."
        return f"{mode.name} takes over from POLICY, and {self._mode.name} is in force. Remedy: ask for TELEOP."
