"""The robot profile: everything that f1_ros must know of a robot, in one YAML file (`config/robots/*.yaml`).

    profile = load_profile("franka_fr3")        a name in config/robots, or the path of a file
    profile.limits                              JointLimits of all arms, in the order of profile.joints
    profile.action_names                        columns of an action: arm joints and grippers, in the policy's order

`RobotProfile` and its parts (`f1_ros.robots.parts`) are the schema: types, keys, defaults; `f1_ros.robots.check` judges
what they mean together, `f1_ros.robots.files` reads them. A value that no source gives is `null`, and `open` names its
key with the reason: such a profile can be checked, and run in a simulation that gives the value, but not on a robot,
until someone has measured it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from f1_ros.control.limits import JointLimits
from f1_ros.control.workspace import ArmWorkspace
from f1_ros.errors import ProfileError
from f1_ros.robots.camera import Camera
from f1_ros.robots.parts import (
    JOINT_STATE,
    Arm,
    Arx,
    Body,
    FixedJoint,
    Franka,
    Gripper,
    Rates,
    Teleop,
    Timeouts,
)

JOINT_COMMAND = "joint_command"
"""Topic, in the nodes' namespace, on which joint targets can be read where the robot's own messages are others."""
HELD_BACK_AT = 0.9
"""The limiter holds a command back at this part of `max_tracking_error`; the rest is for noise before it is a fault."""


@dataclass(frozen=True)
class RobotProfile:
    """A robot. Made by `load_profile`, which also checks what one dataclass cannot see.

    Attributes:
        name: name of the profile.
        embodiment: what policies call this robot: their `robot`, which action chunks and datasets carry. Profiles of
            robots that take the same actions share it. A file that does not give it means the name.
        description: one line for people.
        arms: joint groups, each with its topics.
        grippers: grippers.
        cameras: cameras.
        state_names: order of the state vector: joints (rad) and grippers (m of opening width). A file need not give it:
            arm after arm, the joints and then the grippers of each.
        action_names: order of an action, likewise.
        rates: rates of what f1_ros sends.
        timeouts: silence after which a source counts as lost.
        match_tolerance_s: largest distance between the stamps of frames that belong together, s.
        safe_action: what FAULT does: `hold` brakes within the limits, then keeps commanding that position.
        silence: what the robot does when commands stop coming: it keeps the last target, or stops by itself.
        max_tracking_error: largest distance between command and measurement before FAULT, rad; commands are held back
            before it.
        scale: factor on velocity, acceleration and jerk limits, in (0, 1]; below 1 for a first bring-up.
        position_margin: distance kept from the position limits, rad.
        splice_speed: how many times as fast as the policy's chunks a joint may be while one chunk leads into the next;
            0: no limit but the arm's own. Smooth by default; where the scene moves, quick is worth more.
        teleop: how a teleoperation device takes over.
        refused_beyond: the robot refuses targets further than this from its measured joints, rad; null: it does not.
        fixed: joints that f1_ros does not move, and where they must be.
        body: lift and base of an ARX LIFT.
        franka: modes, error recovery and controllers of a Franka.
        arx: what ARX's nodes do on request.
        open: key -> why no source gives its value, or why it is unconfirmed, and how to find it; `[*]` in a key stands
            for every index, `*` for every name.
        simulated: of a profile that was loaded for a simulation: keys whose values are good for nothing else. None: for
            a robot. No key of a file.
    """

    name: str
    embodiment: str
    description: str
    arms: tuple[Arm, ...]
    grippers: tuple[Gripper, ...]
    cameras: tuple[Camera, ...]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    rates: Rates
    timeouts: Timeouts
    safe_action: Literal["hold"]
    max_tracking_error: float
    silence: Literal["keeps_target", "stops"] | None = None
    match_tolerance_s: float = 0.02
    scale: float = 1.0
    position_margin: float = 0.0
    splice_speed: float = 1.06
    teleop: Teleop = field(default_factory=Teleop)
    refused_beyond: float | None = None
    fixed: tuple[FixedJoint, ...] = ()
    body: Body | None = None
    franka: Franka | None = None
    arx: Arx | None = None
    open: dict[str, str] = field(default_factory=dict)
    simulated: tuple[str, ...] | None = None

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of all arm joints, arm after arm."""
        return tuple(joint.name for arm in self.arms for joint in arm.joints)

    @property
    def ready(self) -> tuple[float, ...]:
        """Pose to start work from, in the order of `joints`, rad; shorter where an arm has none."""
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
    def command_topics(self) -> dict[str, tuple[str, ...]]:
        """Topics of JointState that show what the arms are commanded, with their joints; for who records or watches.

        Where a robot takes other messages, the action node says the same on `JOINT_COMMAND`.
        """
        if any(arm.command.type != JOINT_STATE for arm in self.arms):
            return {JOINT_COMMAND: self.joints}
        found: dict[str, tuple[str, ...]] = {}
        for arm in self.arms:
            joints = tuple(joint.name for joint in arm.joints)
            found[arm.command.topic] = found.get(arm.command.topic, ()) + joints
        return found

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


def load_profile(name_or_path: str | Path, *, simulated: bool = False) -> RobotProfile:
    """Load and check a profile.

    Args:
        name_or_path: a name in `config/robots`, or the path of a YAML file.
        simulated: the robot is a simulation: its open values are taken from the file of the same name in the folder
            `sim` beside the profile, and the profile says which.

    Raises:
        ProfileError: naming file, key and remedy, if anything in it is wrong, inconsistent or still open.
    """
    from f1_ros.robots.check import find_problems  # they need the dataclass above
    from f1_ros.robots.files import profile_path, read_profile

    path = profile_path(name_or_path)
    profile = read_profile(path, simulated=simulated)
    problems = find_problems(profile)
    if problems:
        first = problems[0]
        more = f" (and {len(problems) - 1} more: f1-ros robot check {path})" if len(problems) > 1 else ""
        raise ProfileError(f"{path}: key '{first.key}': {first.problem}{more}.", remedy=first.remedy)
    return profile


def profile_for(embodiment: str) -> RobotProfile:
    """The packaged profile of the robot that policies call so; what it leaves open is as in its simulation.

    Args:
        embodiment: such as `franka`, from a policy's file.

    Raises:
        ProfileError: if none is packaged.
    """
    from f1_ros.robots.files import profile_path, read_profile  # they need the dataclass above

    folder = profile_path("franka_fr3").parent
    known = {read_profile(path).embodiment: path for path in sorted(folder.glob("*.yaml"), reverse=True)}
    if embodiment not in known:
        raise ProfileError(
            f"No robot profile in {folder} has the embodiment '{embodiment}'.",
            remedy=f"Give the path of its profile (known: {', '.join(sorted(known))}).",
        )
    return load_profile(known[embodiment], simulated=True)


def _given(value: float | None, key: str) -> float:
    if value is None:
        raise ProfileError(f"Key '{key}' is still open.", remedy="Measure it and write it into the profile.")
    return value
