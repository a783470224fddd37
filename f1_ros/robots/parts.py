"""The parts of a robot profile: what one YAML file may say of arms, grippers, cameras and all that goes with them.

Types and keys only; `f1_ros.robots.profile` puts them together and `f1_ros.robots.check` judges what they mean.
Units: rad, m, s, Hz. A value that no source gives is `null`, and the profile's `open` names its key with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from f1_ros.control.kinematics import Chain, Frame, JointFrame
from f1_ros.control.workspace import Workspace

JOINT_STATE = "sensor_msgs/msg/JointState"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
FLOAT_ARRAY = "std_msgs/msg/Float64MultiArray"
JOINT_CONTROL = "arm_control/msg/JointControl"
POS_CMD = "arm_control/msg/PosCmd"
ROBOT_STATUS = "arx5_arm_msg/msg/RobotStatus"
ROBOT_CMD = "arx5_arm_msg/msg/RobotCmd"
END_STATE = "genie_msgs/msg/EndState"
GRIPPER_COMMAND = "control_msgs/action/GripperCommand"
FRANKA_GRASP = "franka_msgs/action/Grasp"

StateType = Literal["sensor_msgs/msg/JointState", "arx5_arm_msg/msg/RobotStatus"]
GripperStateType = Literal["sensor_msgs/msg/JointState", "arx5_arm_msg/msg/RobotStatus", "genie_msgs/msg/EndState"]
CommandType = Literal[
    "sensor_msgs/msg/JointState",
    "trajectory_msgs/msg/JointTrajectory",
    "std_msgs/msg/Float64MultiArray",
    "arm_control/msg/JointControl",
    "arx5_arm_msg/msg/RobotStatus",
    "arx5_arm_msg/msg/RobotCmd",
]
GripperCommandType = Literal[
    "control_msgs/action/GripperCommand",
    "franka_msgs/action/Grasp",
    "sensor_msgs/msg/JointState",
    "arm_control/msg/JointControl",
    "arx5_arm_msg/msg/RobotStatus",
    "arx5_arm_msg/msg/RobotCmd",
]


@dataclass(frozen=True)
class Joint:
    """One joint: its name in ROS messages and its limits in `unit`, unit/s, unit/s^2 and unit/s^3; None is open."""

    name: str
    lower: float | None = None
    upper: float | None = None
    velocity: float | None = None
    acceleration: float | None = None
    jerk: float | None = None
    unit: str = "rad"


@dataclass(frozen=True)
class StateTopic:
    """A topic that carries measured joints.

    Attributes:
        topic: absolute name.
        type: message type.
        rate_hz: rate that is expected of it; 0 if it is not periodic, or no source gives it.
        named: its joints go by their names; false: a JointState without names to rely on, whose positions are those of
            the profile's joints on this topic, in their order.
    """

    topic: str
    type: StateType
    rate_hz: float = 0.0
    named: bool = True


@dataclass(frozen=True)
class CommandTopic:
    """A topic that targets go out on. Arms that name the same one share its message, in the profile's order.

    Attributes:
        topic: absolute name.
        type: message type.
        rate_hz: of a trajectory: how often the remaining plan is sent; otherwise each control tick sends one, and the
            rate only says what the robot expects.
        latched: durability transient local, as the receiver asks for.
        below: of a `forward_command_controller`: what its commands drive, which must be a simulation or an impedance
            layer: it neither interpolates nor watches, and raw position steps trip an arm's reflexes.
    """

    topic: str
    type: CommandType
    rate_hz: float = 0.0
    latched: bool = False
    below: Literal["", "simulation", "impedance"] = ""


@dataclass(frozen=True)
class Kinematics:
    """An arm's chain from its base to its tool, as its URDF describes it (`config/kinematics/*.yaml`).

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
        ready: pose to start work from, one value for each joint, rad; empty: none is known.
        kinematics: the arm's chain; what is Cartesian (teleoperation by a twist, a workspace) needs it. In YAML its
            name in config/kinematics, or the path of a file, from the profile's folder.
        workspace: box in the arm's base frame that the tool must not leave.
    """

    name: str
    joints: tuple[Joint, ...]
    state: StateTopic
    command: CommandTopic
    ready: tuple[float, ...] = ()
    kinematics: Kinematics | None = None
    workspace: Workspace | None = None

    @property
    def chain(self) -> Chain | None:
        """The arm's kinematic chain; None where the profile does not describe it."""
        return None if self.kinematics is None else Chain(self.kinematics.joints, self.kinematics.tool)


@dataclass(frozen=True)
class GripperState:
    """Where a gripper's opening is read: `closed` and `open` are the sums of `joints` at the ends of its width.

    Messages without names (RobotStatus, EndState) give their gripper's positions in the order of `joints`.
    """

    topic: str
    type: GripperStateType
    joints: tuple[str, ...]
    closed: float | None = None
    open: float | None = None
    rate_hz: float = 0.0


@dataclass(frozen=True)
class GripperCommandPath:
    """Where a gripper's commands go: `closed` and `open` are the command values at the ends of its width.

    Attributes:
        type: action type, which is told on change; or a message type, which is streamed with the arms' targets.
        closed: command value at the width `closed`.
        open: command value at the width `open`.
        action: name of the action server; franka_msgs' `move` is beside its `grasp`.
        topic: of a streamed gripper; its arm's own command topic where one message carries both.
        joint: of a JointState: the gripper's name in it.
        max_effort: largest effort, N; 0 leaves it to the gripper.
        speed: of franka_msgs' actions, and of a streamed gripper how fast its target moves at most, m/s.
    """

    type: GripperCommandType
    closed: float | None = None
    open: float | None = None
    action: str = ""
    topic: str = ""
    joint: str = ""
    max_effort: float = 0.0
    speed: float = 0.1

    @property
    def streamed(self) -> bool:
        """Its commands are part of a message that goes out each tick."""
        return "/action/" not in self.type


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
        arm: the arm that carries it, where there are several.
    """

    name: str
    closed: float
    open: float
    state: GripperState
    command: GripperCommandPath
    hysteresis: float = 0.001
    min_interval_s: float = 0.0
    unit: str = "m"
    arm: str = ""


@dataclass(frozen=True)
class FixedJoint:
    """A joint that f1_ros does not move: where it must be for policy and cameras to see what they were made for.

    Attributes:
        name: its name.
        value: where it stands, in `unit`.
        lower: lowest position.
        upper: highest position.
        unit: rad, or m for a slide.
    """

    name: str
    value: float
    lower: float
    upper: float
    unit: Literal["rad", "m"] = "rad"


@dataclass(frozen=True)
class Body:
    """Lift and base of an ARX LIFT (arm_control/PosCmd).

    Attributes:
        topic: where their commands go.
        state: topic where the lift's height is read, likewise a PosCmd.
        lower: lowest height, m.
        upper: highest height, m.
        height: where the lift is to be, m; null: it stays where it is found.
        waist: what is sent as the waist beside the height, rad.
        speed: how fast the lift's target moves at most, m/s.
        wheels: keep the wheels at rest by commands; false: do not speak to them. With neither height nor wheels nothing
            is sent.
    """

    topic: str
    state: str
    lower: float
    upper: float
    height: float | None = None
    waist: float = 0.0
    speed: float = 0.02
    wheels: bool = False

    @property
    def commanded(self) -> bool:
        """Whether anything is sent to it."""
        return self.height is not None or self.wheels


@dataclass(frozen=True)
class Franka:
    """What a Franka has beside its joints: modes, error recovery and ros2_control's controllers.

    Attributes:
        state: topic of franka_msgs/FrankaRobotState, whose robot_mode tells of reflex and user stop.
        recovery: action franka_msgs/ErrorRecovery.
        manager: name of ros2_control's controller_manager; empty: controllers are left to their launch file.
        hardware: hardware component to be made active after a recovery; empty: none.
        controller: controller that takes our commands, to be activated; empty: none.
        instead_of: controllers that are deactivated for it.
    """

    state: str
    recovery: str
    manager: str = ""
    hardware: str = ""
    controller: str = ""
    instead_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arx:
    """What ARX's nodes do on request only.

    Attributes:
        requests: topic (std_msgs/Int32MultiArray): first 1 gravity compensation, second 1 home.
    """

    requests: str


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
