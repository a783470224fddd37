"""The robot profile: everything that f1_ros must know of a robot, in one YAML file (`config/robots/*.yaml`).

    profile = load_profile("franka")            a name in config/robots, or the path of a file
    profile.limits                              JointLimits of all arms, in the order of profile.joints
    profile.action_names                        columns of an action: arm joints and grippers, in the policy's order

The dataclasses below are the schema (types, keys, defaults); `f1_ros.robots.check` judges what they mean together.
Units: rad, m, s, Hz. A value that no source gives is `null`, and `open` names its key with the reason: such a profile
can be checked, but not run, until someone has measured the value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from f1_ros.config import load_yaml
from f1_ros.control.kinematics import Chain, Frame, JointFrame
from f1_ros.control.limits import JointLimits
from f1_ros.control.workspace import ArmWorkspace, Workspace
from f1_ros.errors import ProfileError
from f1_ros.paths import share_dir
from f1_ros.robots.camera import Camera

JOINT_STATE = "sensor_msgs/msg/JointState"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
HELD_BACK_AT = 0.9
"""The limiter holds a command back at this part of `max_tracking_error`; the rest is for noise before it is a fault."""

GRIPPER_COMMAND = "control_msgs/action/GripperCommand"


@dataclass(frozen=True)
class Joint:
    """One joint: its name in ROS messages and its limits in `unit`, unit/s, unit/s^2 and unit/s^3."""

    name: str
    lower: float | None
    upper: float | None
    velocity: float | None
    acceleration: float | None
    jerk: float | None
    unit: str = "rad"


@dataclass(frozen=True)
class JointTopic:
    """A topic that carries joints by name.

    Attributes:
        topic: absolute name.
        type: message type.
        rate_hz: rate that is expected of it; 0 if it is not periodic.
    """

    topic: str
    type: Literal["sensor_msgs/msg/JointState"]
    rate_hz: float = 0.0


@dataclass(frozen=True)
class Kinematics:
    """An arm's chain from its base to its tool, as its URDF describes it.

    Attributes:
        joints: one for each joint of the arm, in the same order.
        tool: where the tool (the point between the fingertips) is in the last joint's frame.
    """

    joints: tuple[JointFrame, ...]
    tool: Frame = field(default_factory=Frame)


@dataclass(frozen=True)
class Arm:
    """Joints that share a state topic and a command topic.

    Attributes:
        name: name of the arm.
        joints: in the order of the command message.
        state: where the measured positions come from.
        command: where target positions go to.
        ready: pose to start work from, one value for each joint, rad.
        kinematics: the arm's chain; what is Cartesian (teleoperation by a twist, a workspace) needs it.
        workspace: box in the arm's base frame that the tool must not leave.
    """

    name: str
    joints: tuple[Joint, ...]
    state: JointTopic
    command: JointTopic
    ready: tuple[float, ...]
    kinematics: Kinematics | None = None
    workspace: Workspace | None = None

    @property
    def chain(self) -> Chain | None:
        """The arm's kinematic chain; None where the profile does not describe it."""
        return None if self.kinematics is None else Chain(self.kinematics.joints, self.kinematics.tool)


@dataclass(frozen=True)
class GripperState:
    """Where a gripper's opening is read: `closed` and `open` are the sums of `joints` at the ends of its width."""

    topic: str
    type: Literal["sensor_msgs/msg/JointState"]
    joints: tuple[str, ...]
    closed: float | None
    open: float | None
    rate_hz: float = 0.0


@dataclass(frozen=True)
class GripperCommandPath:
    """Where a gripper's commands go: `closed` and `open` are the command values at the ends of its width.

    Attributes:
        action: name of the action server.
        type: action type.
        closed: command value at the width `closed`.
        open: command value at the width `open`.
        max_effort: largest effort, N; 0 leaves it to the gripper.
    """

    action: str
    type: Literal["control_msgs/action/GripperCommand"]
    closed: float | None
    open: float | None
    max_effort: float = 0.0


@dataclass(frozen=True)
class Gripper:
    """A gripper, which f1_ros knows by its opening width.

    Attributes:
        name: its name in the state and action layouts.
        closed: width when closed, m.
        open: width when fully open, m.
        state: where its opening is read.
        command: where its commands go.
        hysteresis: a new width is sent once it differs by more than this from the last one sent, m.
        min_interval_s: least time between two commands, s: grippers queue what is streamed to them.
        unit: unit of the widths; must be m.
    """

    name: str
    closed: float
    open: float
    state: GripperState
    command: GripperCommandPath
    hysteresis: float
    min_interval_s: float
    unit: str = "m"


@dataclass(frozen=True)
class Timeouts:
    """Silence after which a source counts as lost, s. A lost joint state, teleop or policy in use means FAULT."""

    joint_state: float
    gripper_state: float
    policy: float
    teleop: float


@dataclass(frozen=True)
class Rates:
    """Rates of what f1_ros sends, Hz."""

    control: float
    status: float


@dataclass(frozen=True)
class Teleop:
    """How a teleoperation device takes over from where the arm is, and what lets it move the arm.

    Attributes:
        aligned_within: the device counts as aligned once every joint is this close to it, rad.
        hand_over: what happens until then: `approach` moves the arm to it slowly; `wait` holds the arm until the person
            has brought the device to the arm.
        approach_velocity: fraction of the velocity limit used by `approach`, in (0, 1].
        approach_acceleration: fraction of the acceleration limit used by `approach`, in (0, 1].
        deadman: the device has a deadman: without its messages the arm does not follow it. A deadman that has been
            heard of counts in any case.
        override_motion: while POLICY is in force, moving the device by more than this takes over, rad; 0: never.
        override_deadman: while POLICY is in force, pressing the deadman takes over.
    """

    aligned_within: float = 0.05
    hand_over: Literal["approach", "wait"] = "approach"
    approach_velocity: float = 0.2
    approach_acceleration: float = 0.3
    deadman: bool = False
    override_motion: float = 0.0
    override_deadman: bool = False


@dataclass(frozen=True)
class RobotProfile:
    """A robot. Made by `load_profile`, which also checks what one dataclass cannot see.

    Attributes:
        name: name of the profile; action chunks carry it.
        description: one line for people.
        arms: joint groups, each with its topics.
        grippers: grippers.
        cameras: cameras.
        state_names: order of the state vector: joints (rad) and grippers (m of opening width).
        action_names: order of an action, likewise.
        rates: rates of what f1_ros sends.
        timeouts: silence after which a source counts as lost.
        match_tolerance_s: largest distance between the stamps of frames that belong together, s.
        safe_action: what FAULT does: `hold` brakes within the limits, then keeps commanding that position.
        max_tracking_error: largest distance between command and measurement before FAULT, rad; commands are held back
            before it.
        scale: factor on velocity, acceleration and jerk limits, in (0, 1]; below 1 for a first bring-up.
        position_margin: distance kept from the position limits, rad.
        splice_speed: how many times as fast as the policy's chunks a joint may be while one chunk leads into the next;
            0: no limit but the arm's own. Smooth by default; where the scene moves, quick is worth more.
        teleop: how a teleoperation device takes over.
        open: key -> why no source gives its value and how to find it.
    """

    name: str
    description: str
    arms: tuple[Arm, ...]
    grippers: tuple[Gripper, ...]
    cameras: tuple[Camera, ...]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    rates: Rates
    timeouts: Timeouts
    match_tolerance_s: float
    safe_action: Literal["hold"]
    max_tracking_error: float
    scale: float = 1.0
    position_margin: float = 0.0
    splice_speed: float = 1.06
    teleop: Teleop = field(default_factory=Teleop)
    open: dict[str, str] = field(default_factory=dict)

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of all arm joints, arm after arm."""
        return tuple(joint.name for arm in self.arms for joint in arm.joints)

    @property
    def ready(self) -> tuple[float, ...]:
        """Pose to start work from, in the order of `joints`, rad."""
        return tuple(value for arm in self.arms for value in arm.ready)

    @property
    def limits(self) -> JointLimits:
        """Limits of all arm joints in the order of `joints`, with `scale` and `position_margin` applied.

        Raises:
            ProfileError: if a limit is still open.
        """
        joints = [joint for arm in self.arms for joint in arm.joints]

        def column(key: str, factor: float = 1.0, shift: float = 0.0) -> tuple[float, ...]:
            return tuple(_given(getattr(j, key), f"{j.name}.{key}") * factor + shift for j in joints)

        return JointLimits(
            lower=column("lower", shift=self.position_margin),
            upper=column("upper", shift=-self.position_margin),
            velocity=column("velocity", self.scale),
            acceleration=column("acceleration", self.scale),
            jerk=column("jerk", self.scale),
        )

    @property
    def lead(self) -> float:
        """Distance from the measured joint at which a command is held back, rad."""
        return HELD_BACK_AT * self.max_tracking_error

    @property
    def workspaces(self) -> tuple[ArmWorkspace, ...]:
        """The workspaces of the arms that have one, for the limiter.

        Raises:
            ProfileError: if an arm has a workspace, but no kinematics.
        """
        found, first = [], 0
        for arm in self.arms:
            joints = slice(first, first + len(arm.joints))
            first = joints.stop
            if arm.workspace is not None:
                if arm.chain is None:
                    raise ProfileError(
                        f"Arm '{arm.name}' has a workspace, but no kinematics.",
                        remedy="Describe its chain under 'kinematics', as its URDF does.",
                    )
                found.append(ArmWorkspace(arm.name, joints, arm.chain, arm.workspace))
        return tuple(found)

    def camera(self, name: str) -> Camera:
        """The camera of that name.

        Raises:
            ProfileError: if there is none.
        """
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise ProfileError(
            f"Profile '{self.name}' has no camera '{name}'.",
            remedy=f"Choose from {', '.join(c.name for c in self.cameras)}, or add it under 'cameras'.",
        )


def profile_path(name_or_path: str | Path) -> Path:
    """Path of a profile: `franka` is `config/robots/franka.yaml`; anything with a folder or a suffix is a path.

    Raises:
        ProfileError: if no profile has that name.
    """
    path = Path(name_or_path)
    if path.suffix or len(path.parts) > 1:
        return path
    folder = share_dir() / "config" / "robots"
    path = folder / f"{name_or_path}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise ProfileError(
            f"There is no robot profile '{name_or_path}'.", remedy=f"Give a name ({known}) or the path of a file."
        )
    return path


def load_profile(name_or_path: str | Path) -> RobotProfile:
    """Load and check a profile.

    Args:
        name_or_path: a name in `config/robots`, or the path of a YAML file.

    Raises:
        ProfileError: naming file, key and remedy, if anything in it is wrong, inconsistent or still open.
    """
    from f1_ros.robots.check import find_problems  # it needs the dataclasses above

    path = profile_path(name_or_path)
    profile = load_yaml(path, RobotProfile, ProfileError)
    problems = find_problems(profile)
    if problems:
        first = problems[0]
        more = f" (and {len(problems) - 1} more: f1-ros robot check {path})" if len(problems) > 1 else ""
        raise ProfileError(f"{path}: key '{first.key}': {first.problem}{more}.", remedy=first.remedy)
    return profile


def _given(value: float | None, key: str) -> float:
    if value is None:
        raise ProfileError(f"Key '{key}' is still open.", remedy="Measure it and write it into the profile.")
    return value
