"""What public sources say of the twins' joints: names, order, frames, limits; and what no source says, marked so.

Frames: the URDFs of AgibotTech/genie_sim (G1) and of arx5-interface (X5). Limits of the X5: real-stanford/arx5-sdk,
since its URDF has placeholders. A profile of the same robot (config/robots) must agree with these tables.

The twin's own, because no source gives it: accelerations and jerks, the grippers' shape, where LIFT II carries its
arms, wheels and cameras, and where Genie-1's head camera sits.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from f1_ros.control.kinematics import Chain, Frame, JointFrame, Vector3
from f1_ros.control.limits import JointLimits

_QUARTER = math.pi / 2


@dataclass(frozen=True)
class TwinJoint:
    """A joint of a twin.

    Attributes:
        name: as the robot calls it.
        frame: origin and axis in the joint before.
        lower, upper: rad, or m of a slide.
        velocity: largest, rad/s or m/s.
    """

    name: str
    frame: JointFrame
    lower: float
    upper: float
    velocity: float


@dataclass(frozen=True)
class TwinGripper:
    """A parallel gripper.

    Attributes:
        name: as the robot's profile calls it.
        joint: name of the joint in the robot's messages.
        open: largest opening between the fingers, m; closed is 0.
        tool: the point between the fingertips in the last joint's frame; z away from the hand, y across the opening.
    """

    name: str
    joint: str
    open: float
    tool: Frame


@dataclass(frozen=True)
class TwinArm:
    """An arm with its gripper.

    Attributes:
        name: "left" or "right".
        base: frame of the arm's base in the body that carries it.
        joints: from the base on.
        gripper: at its end.
        rest: posture from which inverse kinematics starts, rad.
        hand_camera: name of the camera at the hand.
    """

    name: str
    base: Frame
    joints: tuple[TwinJoint, ...]
    gripper: TwinGripper
    rest: tuple[float, ...]
    hand_camera: str

    @property
    def chain(self) -> Chain:
        """From the arm's base to the point between the fingertips."""
        return Chain([joint.frame for joint in self.joints], self.gripper.tool)


@dataclass(frozen=True)
class TwinRobot:
    """A robot with two arms.

    Attributes:
        name: of its profile.
        arms: left, then right.
        body: joints below and beside the arms: lift, waist, head. They stand still in lock-step worlds.
        body_rest: where they stand, rad or m.
        acceleration, jerk: largest of every arm joint, rad/s2 and rad/s3: the twin's own, no source gives them.
    """

    name: str
    arms: tuple[TwinArm, TwinArm]
    body: tuple[TwinJoint, ...]
    body_rest: tuple[float, ...]
    acceleration: float = 10.0
    jerk: float = 5000.0

    @property
    def joints(self) -> tuple[TwinJoint, ...]:
        """All arm joints, arm after arm."""
        return tuple(joint for arm in self.arms for joint in arm.joints)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of all arm joints, arm after arm."""
        return tuple(joint.name for joint in self.joints)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Order of state and action: the left arm's joints, its gripper, the right arm's joints, its gripper."""
        return tuple(n for arm in self.arms for n in (*(j.name for j in arm.joints), arm.gripper.name))

    @property
    def limits(self) -> JointLimits:
        """Of all arm joints in the order of `joints`."""
        joints = self.joints
        return JointLimits(
            lower=tuple(j.lower for j in joints),
            upper=tuple(j.upper for j in joints),
            velocity=tuple(j.velocity for j in joints),
            acceleration=(self.acceleration,) * len(joints),
            jerk=(self.jerk,) * len(joints),
        )


def _genie_arm(side: str, first: int, sign: float, shoulder: float) -> tuple[TwinJoint, ...]:
    """Joints of an arm of Genie-1; `sign` is 1 on the left and -1 on the right, `shoulder` the first joint's z, m."""
    frames = (
        JointFrame((0.0, 0.0, shoulder)),
        JointFrame(rpy=(-_QUARTER, 0.0, sign * _QUARTER)),
        JointFrame((0.0, -0.305, 0.0), (-_QUARTER, sign * _QUARTER, math.pi)),
        JointFrame(rpy=(-_QUARTER, 0.0, math.pi)),
        JointFrame((0.0, -0.1975, 0.0), (-_QUARTER, 0.0, -math.pi)),
        JointFrame(rpy=(-_QUARTER, 0.0, 0.0)),
        JointFrame((0.0, -0.1805, 0.0), (_QUARTER, 0.0, 0.0)),
    )
    second = (-2.09, 1.48) if sign > 0 else (-1.48, 2.09)
    limits = ((-3.14, 3.14), second, (-3.10, 3.10), (-1.48, 1.48), (-3.10, 3.10), (-1.74, 1.74), (-3.10, 3.10))
    return tuple(
        TwinJoint(f"idx{first + i}_arm_{side}_joint{i + 1}", frame, lower, upper, 3.14)
        for i, (frame, (lower, upper)) in enumerate(zip(frames, limits, strict=True))
    )


_GENIE_HAND = 0.14  # from the last joint to between the fingertips, m: the twin's own

GENIE1 = TwinRobot(
    name="genie1",
    arms=(
        TwinArm(
            "left",
            Frame((0.0, 0.025, 0.0), (-_QUARTER, 0.0, 0.0)),
            _genie_arm("l", 21, 1.0, 0.1859),
            TwinGripper(
                "left_gripper",
                "idx41_gripper_l_outer_joint1",
                0.12,
                Frame((0.0, 0.0, _GENIE_HAND), (0.0, 0.0, -0.5236)),
            ),
            rest=(1.19, -1.474, -0.818, -1.114, 1.197, 0.898, 1.202),
            hand_camera="hand_left",
        ),
        TwinArm(
            "right",
            Frame((0.0, -0.025, 0.0), (-_QUARTER, 0.0, math.pi)),
            _genie_arm("r", 61, -1.0, 0.188),
            TwinGripper(
                "right_gripper",
                "idx81_gripper_r_outer_joint1",
                0.12,
                Frame((0.0, 0.0, _GENIE_HAND), (0.0, 0.0, 0.5236)),
            ),
            rest=(-1.226, 1.448, 0.927, 1.115, 1.837, 0.968, -1.167),
            hand_camera="hand_right",
        ),
    ),
    body=(
        TwinJoint("idx01_body_joint1", JointFrame((0.0, 0.0, 0.3485), slides=True), 0.0, 0.55, 0.1),
        TwinJoint("idx02_body_joint2", JointFrame((0.131, 0.0, 0.0), (-_QUARTER, 0.0, 0.0)), 0.0, 1.571, 3.14),
        TwinJoint("idx11_head_joint1", JointFrame((0.0, -0.441, 0.0), (_QUARTER, 0.0, 0.0)), -1.571, 1.571, 3.14),
        TwinJoint(
            "idx12_head_joint2", JointFrame((0.050238, 0.0, 0.060065), (-_QUARTER, 0.0, 0.0)), -0.349, 0.524, 3.14
        ),
    ),
    body_rest=(0.45, 0.40, 0.0, 0.45),
)
"""Genie-1 (G1, A2D). In the pitch joint's frame, which points y down, the arms' base is 0.305 m up."""

GENIE1_ARM_BASE = Frame((0.0, -0.305, 0.0), (_QUARTER, 0.0, 0.0))
"""Of both arms in the waist's pitch joint."""


def _x5_arm(side: str) -> tuple[TwinJoint, ...]:
    y, z, x = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)
    rows: tuple[tuple[Vector3, float, Vector3, float, float, float], ...] = (
        ((0.0, 0.0, 0.0603), 0.0, z, -3.14, 2.618, 5.0),
        ((0.02, 0.0, 0.0402), 0.0, y, -0.05, 3.5, 5.0),
        ((-0.264, 0.0, 0.0), -math.pi, y, -0.1, 3.2, 5.5),
        ((0.245, 0.0, -0.056), 0.0, y, -1.6, 1.55, 5.5),
        ((0.06575, -0.001, -0.0825), 0.0, z, -1.57, 1.57, 5.0),
        ((0.02845, 0.0, 0.0825), -math.pi, x, -2.0, 2.0, 5.0),
    )
    return tuple(
        TwinJoint(f"{side}_joint{i}", JointFrame(xyz, (roll, 0.0, 0.0), axis), lower, upper, velocity)
        for i, (xyz, roll, axis, lower, upper, velocity) in enumerate(rows, start=1)
    )


_X5_TOOL = Frame((0.145, 0.0, 0.0), (0.0, _QUARTER, 0.0))
_X5_REST = (0.0, 1.2, 1.0, -1.37, 0.0, 0.0)

LIFT2 = TwinRobot(
    name="arx_lift2_x5",
    arms=(
        TwinArm(
            "left", Frame((0.10, 0.20, 0.0)), _x5_arm("left"),
            TwinGripper("left_gripper", "left_motor", 0.088, _X5_TOOL),
            rest=_X5_REST, hand_camera="camera_l",
        ),
        TwinArm(
            "right", Frame((0.10, -0.20, 0.0)), _x5_arm("right"),
            TwinGripper("right_gripper", "right_motor", 0.088, _X5_TOOL), rest=_X5_REST, hand_camera="camera_r",
        ),
    ),
    body=(TwinJoint("lift", JointFrame((0.0, 0.0, 0.45), slides=True), 0.0, 0.48, 0.1),),
    body_rest=(0.20,),
)  # fmt: skip
"""LIFT II with X5 arms. Where the lift carries them is the twin's own: no public model has it."""

ROBOTS = {robot.name: robot for robot in (GENIE1, LIFT2)}


def expert_limits(robot: TwinRobot) -> JointLimits:
    """Limits of demonstrated commands: a policy that imitates them then has room to catch up within the robot's own."""
    return dataclasses.replace(robot.limits.scaled(acceleration=0.75, jerk=0.1))
