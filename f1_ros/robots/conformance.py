"""What conformance asks of a robot and its profile, what was seen when it was tried, and what that showed.

    trial = JointTrial("fr3_joint1", 0.1, before, after)     what the running system did
    judge_joint(profile, trial)                              a Finding: as it should be, or what is wrong with what

Trials hold plain figures, so that recorded ones can be judged without a robot. Of a simulated twin a trial has the
truth: every joint and gripper by the twin's own names, whatever the profile takes them for. Of a robot it has not, and
the person who stands beside it says what moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

STEP_RAD = 0.1
"""How far each joint is moved, rad: well below every profile's max_tracking_error, well above what is read as rest."""
STILL_RAD = 0.02
"""What counts as not having moved, and as being where it was commanded, rad."""


class Check(Enum):
    """The checks, in the order in which they are made; the value is for people and for the JSON file."""

    PROFILE = "profile"
    PACKAGES = "packages"
    TOPICS = "topics"
    STATE = "state"
    CAMERAS = "cameras"
    LIMITS = "limits"
    COMMANDS = "commands"
    JOINTS = "joints"
    GRIPPERS = "grippers"
    SAFE_ACTION = "safe_action"
    SILENCE = "silence"
    NAN = "nan"
    SECOND_PUBLISHER = "second_publisher"
    RECOVERY = "recovery"
    HAND_OVER = "hand_over"


ASKED: Mapping[Check, str] = {
    Check.PROFILE: "nothing is wrong with the profile, and nothing it needs is open",
    Check.PACKAGES: "every message type that it needs can be imported",
    Check.TOPICS: "each topic and action of the profile is there, with the profile's type",
    Check.STATE: "joint and gripper states arrive at the profile's rate, and are read in the right order and unit",
    Check.CAMERAS: "each camera arrives at its rate and size, and is the one that its name says",
    Check.LIMITS: "the profile allows nothing that the robot does not; a command beyond is cut, and not gone to",
    Check.COMMANDS: "the action node commands the robot, at the profile's rate",
    Check.JOINTS: "each joint moves alone, in the right direction, by the commanded angle",
    Check.GRIPPERS: "each gripper opens and closes with the right sign and range, and says so",
    Check.SAFE_ACTION: "FAULT from motion brakes the arm within its limits and holds it",
    Check.SILENCE: "a source that falls silent is a FAULT; without commands the robot does what the profile declares",
    Check.NAN: "NaN from a leader arm or from a policy is a FAULT",
    Check.SECOND_PUBLISHER: "a second publisher of commands is a FAULT",
    Check.RECOVERY: "FAULT is left by asking for HOLD, without a motion, and the arm can be moved again",
    Check.HAND_OVER: "from HOLD to a leader that stands elsewhere, to the policy and back, without a jump",
}
"""What each check asks."""


class Mistake(Enum):
    """Mistakes of a profile that are told by name; the value is for people and for the JSON file."""

    SWAPPED_ARMS = "swapped arms"
    SIGN = "sign"
    UNIT = "radians for degrees"
    GRIPPER_RANGE = "gripper range"
    CAMERA_ORDER = "camera order"
    JOINT_ORDER = "joint order"
    RATE = "wrong rate"
    TYPE = "wrong topic type"
    LIMIT = "limit too wide"
    PACKAGE = "missing vendor package"


@dataclass(frozen=True)
class Finding:
    """What a check showed of one thing.

    Attributes:
        check: the check.
        subject: joint, gripper, camera, topic or case that it is about.
        value: the figure, or what was found in words; None where nothing could be.
        unit: its unit.
        goal: what is asked of it; empty where nothing is.
        problem: what is not as it should be, in words; empty if all is.
        mistake: the profile's mistake, where it can be told.
        remedy: what to do about it.
    """

    check: Check
    subject: str
    value: float | int | str | None
    unit: str = ""
    goal: str = ""
    problem: str = ""
    mistake: Mistake | None = None
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether all is as it should be."""
        return not self.problem


@dataclass(frozen=True)
class Snapshot:
    """Where everything is, at rest.

    Attributes:
        measured: joints (rad) and opening widths of grippers (m) by the profile's names, as the action node reads them.
        truth: the same by the twin's names, as the simulation has them; empty on a robot.
    """

    measured: Mapping[str, float]
    truth: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class JointTrial:
    """One joint was commanded to move, alone.

    Attributes:
        joint: its name in the profile.
        by: how far the command moved, rad.
        before, after: where everything was at rest.
        trouble: what the action node said was wrong, if anything.
        seen: on a robot, whether the person saw this joint move, alone; None where nobody was asked.
    """

    joint: str
    by: float
    before: Snapshot
    after: Snapshot
    trouble: str = ""
    seen: bool | None = None


@dataclass(frozen=True)
class GripperTrial:
    """A gripper was told three widths, one after the other.

    Attributes:
        gripper: its name in the profile.
        asked: what it was told, m: closed, half, open.
        reached: where everything was after each.
        seen: on a robot, whether the person saw it close, open half and open; None where nobody was asked.
    """

    gripper: str
    asked: tuple[float, float, float]
    reached: tuple[Snapshot, Snapshot, Snapshot]
    seen: bool | None = None


@dataclass(frozen=True)
class LimitTrial:
    """A joint was commanded slowly to beyond its limit.

    Attributes:
        joint: its name.
        asked: where the leader arm asked it to be, rad.
        limit: the profile's limit on that side, less its margin, rad.
        commanded: the furthest command that went out, rad.
        reached: where the joint came to: the twin's truth, or as measured, rad.
        trouble: what the action node said was wrong, if anything.
    """

    joint: str
    asked: float
    limit: float
    commanded: float
    reached: float
    trouble: str = ""


def not_run(check: Check, subject: str, why: str) -> Finding:
    """A check that could not be made: it has not passed."""
    return Finding(check, subject, None, problem=f"not run: {why}", remedy="Mend what stands above, then run again.")
