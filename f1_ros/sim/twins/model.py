"""MJCF of the twins: joints from the tables, links as capsules, hands with pads, as plain text for MuJoCo.

Links collide with nothing; the pads of the fingers, what lies about and what it lies on do. Gravity of the robot is
compensated as its own controller does. Masses and servo gains are the twin's own.

Geom groups as in the belt's scene (`f1_ros.sim.scene`), since the renderers go by them. Lengths in m, angles in rad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from f1_ros.control.kinematics import Frame, Vector3
from f1_ros.errors import SimulationError
from f1_ros.sim.scene import GROUP_ARM, GROUP_CUBE, GROUP_HAND, GROUP_STATIC, GROUP_UNSEEN
from f1_ros.sim.twins.tables import GENIE1, GENIE1_ARM_BASE, LIFT2, TwinArm, TwinJoint, TwinRobot

_HEAD = """<mujoco model="{name}">
  <compiler angle="radian" eulerseq="XYZ" autolimits="true"/>
  <option timestep="0.002" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <statistic center="0.4 0 0.6" extent="1.4"/>
  <visual>
    <global offwidth="1280" offheight="960" azimuth="140" elevation="-25"/>
    <map znear="0.02" zfar="20"/>
    <headlight ambient="0.45 0.45 0.45" diffuse="0 0 0" specular="0 0 0"/>
  </visual>
  <default>
    <default class="robot"><joint armature="0.1" damping="0.5" frictionloss="0.2"/></default>
    <default class="seen"><geom contype="0" conaffinity="0" mass="0"/></default>
    <default class="finger"><joint type="slide" armature="0.1" damping="0.5"/></default>
    <default class="pad"><geom type="box" mass="0" friction="1.5 0.05 0.001" condim="4"/></default>
    <default class="thing"><geom friction="1.2 0.005 0.0001" condim="4"/></default>
  </default>
  <worldbody>
    <light name="lamp" type="directional" pos="0.5 -1 3" dir="-0.3 0.35 -0.9" diffuse="0.6 0.6 0.6" ambient="0 0 0"
           specular="0 0 0"/>
    <geom name="floor" type="plane" size="8 8 0.1" group="0" rgba=".60 .58 .54 1"/>
"""
_INERTIA = '<inertial pos="0 0 0" mass="0.5" diaginertia="0.002 0.002 0.002"/>'
_FINGER_INERTIA = '<inertial pos="0 0 0" mass="0.02" diaginertia="4e-6 4e-6 1e-6"/>'
_ARM_RGB, _JOINT_RGB, _HAND_RGB, _FINGER_RGB = ".92 .93 .94 1", ".45 .48 .52 1", ".70 .73 .76 1", ".25 .25 .26 1"
_GAIN, _DAMPING = 2000.0, 80.0
SERVO_LAG_S = _DAMPING / _GAIN
"""Time by which an arm follows a moving target, s."""


@dataclass(frozen=True)
class TwinScene:
    """A compiled twin and where its parts are in `qpos`, `qvel` and `ctrl`.

    Attributes:
        robot: its table.
        model: the compiled model.
        body_qpos, body_qvel: indices of the body's joints.
        arm_qpos, arm_qvel: indices of all arm joints, arm after arm.
        finger_qpos: (arms, 2) indices of the finger joints, each half of the opening.
        tool_sites: id of the site between the fingertips of each arm.
    """

    robot: TwinRobot
    model: mujoco.MjModel
    body_qpos: NDArray[np.intp]
    body_qvel: NDArray[np.intp]
    arm_qpos: NDArray[np.intp]
    arm_qvel: NDArray[np.intp]
    finger_qpos: NDArray[np.intp]
    tool_sites: tuple[int, int]

    @property
    def blind_cameras(self) -> tuple[str, ...]:
        """Cameras that do not see the arms: none here."""
        return ()


def build_scene(robot: TwinRobot, things: str, actuators: str = "") -> TwinScene:
    """Compile a twin with what stands around it.

    Args:
        robot: its table.
        things: MJCF of what else is in the world.
        actuators: MJCF of the things' own actuators.

    Raises:
        SimulationError: if MuJoCo cannot compile it.
    """
    carrier = {GENIE1.name: _genie1, LIFT2.name: _lift2}[robot.name](robot)
    text = _HEAD.format(name=robot.name) + carrier + things + "  </worldbody>\n" + _ends(robot, actuators)
    try:
        model = mujoco.MjModel.from_xml_string(text + "</mujoco>\n")
    except ValueError as error:
        raise SimulationError(
            f"The twin of {robot.name} cannot be compiled: {error}.",
            remedy="Reinstall f1_ros with the pinned mujoco version.",
        ) from error

    def at(joints: Sequence[TwinJoint], field: str) -> NDArray[np.intp]:
        return np.array([getattr(model.joint(j.name), field)[0] for j in joints], dtype=np.intp)

    fingers = [[model.joint(f"{arm.name}_finger{i}").qposadr[0] for i in (1, 2)] for arm in robot.arms]
    left, right = (int(model.site(f"{arm.name}_tool").id) for arm in robot.arms)
    return TwinScene(
        robot=robot,
        model=model,
        body_qpos=at(robot.body, "qposadr"),
        body_qvel=at(robot.body, "dofadr"),
        arm_qpos=at(robot.joints, "qposadr"),
        arm_qvel=at(robot.joints, "dofadr"),
        finger_qpos=np.array(fingers, dtype=np.intp),
        tool_sites=(left, right),
    )


def _genie1(robot: TwinRobot) -> str:
    lift, pitch, yaw, nod = robot.body
    head = _body(
        "head_yaw", yaw, _capsule((0.0, 0.0, 0.0), (0.03, 0.0, 0.036), 0.03),
        _body(
            "head", nod,
            '<geom class="seen" type="box" group="1" size="0.05 0.04 0.07" pos="-0.03 0.02 0" rgba=".30 .32 .36 1"/>'
            # Looks along x of the joint's frame, whose y points down: 25 degrees below the horizon at zero.
            '<camera name="head" pos="0.04 0 0" xyaxes="0 0 -1 0.4226183 -0.9063078 0" fovy="50"/>',
        ),
    )  # fmt: skip
    arms = _place("arm_base", GENIE1_ARM_BASE, "".join(_arm(arm, 0.04) for arm in robot.arms))
    torso = _capsule((0.0, 0.0, 0.0), (0.0, -0.40, 0.0), 0.075)
    shoulders = _capsule((0.0, -0.305, -0.17), (0.0, -0.305, 0.17), 0.055)
    trunk = _body("torso", pitch, torso + shoulders + head + arms)
    column = _body("column", lift, _capsule((0.0, 0.0, -0.30), (0.131, 0.0, 0.0), 0.06) + trunk)
    foot = _seen("box", (0.22, 0.20, 0.14), (-0.05, 0.0, 0.14), _JOINT_RGB, GROUP_STATIC)
    return f"    {foot}\n{column}"


def _lift2(robot: TwinRobot) -> str:
    (lift,) = robot.body
    camera = (
        '<geom class="seen" type="box" group="1" size="0.02 0.05 0.02" pos="0.02 0 0.62" rgba=".2 .2 .22 1"/>'
        '<camera name="camera_h" pos="0.05 0.04 0.62" xyaxes="0 -1 0 0.9238795 0 0.3826834" fovy="52"/>'
    )
    plate = _seen("box", (0.05, 0.25, 0.02), (0.08, 0.0, -0.02), _JOINT_RGB, GROUP_ARM)
    mast = _capsule((0.0, 0.0, 0.0), (0.0, 0.0, 0.60), 0.025)
    carried = _body("carriage", lift, plate + mast + camera + "".join(_arm(arm, 0.032) for arm in robot.arms))
    column = _capsule((0.0, 0.0, 0.20), (0.0, 0.0, 0.80), 0.045)
    chassis = _seen("box", (0.28, 0.26, 0.07), (-0.12, 0.0, 0.15), _JOINT_RGB, GROUP_ARM)
    wheels = "".join(
        f'<geom class="seen" type="cylinder" group="{GROUP_ARM}" size="0.08 0.02" pos="{x} {y} 0.08" '
        f'euler="1.5707963 0 0" rgba="{_FINGER_RGB}"/>'
        for x in (-0.32, 0.08)
        for y in (-0.28, 0.28)
    )
    # The chassis rolls: its velocity is set at every physics step, as the belt's is.
    joints = "".join(
        f'<joint name="base_{name}" type="{kind}" axis="{axis}" armature="1000"/>'
        for name, kind, axis in (("x", "slide", "1 0 0"), ("y", "slide", "0 1 0"), ("yaw", "hinge", "0 0 1"))
    )
    return (
        f'    <body name="base" gravcomp="1">{joints}'
        f'<inertial pos="0 0 0.2" mass="60" diaginertia="5 5 5"/>{column}{chassis}{wheels}\n{carried}    </body>\n'
    )


def _arm(arm: TwinArm, thickness: float) -> str:
    inner = _hand(arm)
    for index in range(len(arm.joints) - 1, -1, -1):
        joint = arm.joints[index]
        along = arm.joints[index + 1].frame.xyz if index + 1 < len(arm.joints) else _behind(arm.gripper.tool, 0.08)
        radius = thickness * (1.0 - 0.06 * index)
        geoms = _seen("sphere", (1.15 * radius,), (0.0, 0.0, 0.0), _JOINT_RGB, GROUP_ARM)
        if float(np.linalg.norm(along)) > 0.02:
            geoms += _capsule((0.0, 0.0, 0.0), along, radius)
        inner = _body(f"{arm.name}_link{index + 1}", joint, geoms + inner)
    return _place(f"{arm.name}_base", arm.base, inner)


def _hand(arm: TwinArm) -> str:
    """Palm, fingers and camera in the tool's frame: z away from the hand, y across the opening."""
    half = arm.gripper.open / 2
    fingers = "".join(
        f'<body name="{arm.name}_finger{i}" gravcomp="1">{_FINGER_INERTIA}'
        f'<joint name="{arm.name}_finger{i}" class="finger" axis="0 {side} 0" range="0 {half}"/>'
        f'<geom class="seen" type="box" group="{GROUP_HAND}" size="0.011 0.006 0.036" pos="0 {side * 0.006} -0.024" '
        f'rgba="{_FINGER_RGB}"/>'
        f'<geom class="pad" group="{GROUP_UNSEEN}" size="0.010 0.006 0.012" pos="0 {side * 0.006} 0"/></body>'
        for i, side in ((1, 1), (2, -1))
    )
    palm = _seen("box", (0.018, half + 0.016, 0.022), (0.0, 0.0, -0.080), _HAND_RGB, GROUP_HAND)
    # As at the Franka's hand: beside the palm, along the fingers, tilted by 15 degrees towards them.
    camera = (
        f'<camera name="{arm.hand_camera}" pos="0.07 0 -0.075" xyaxes="0 1 0 0.9659258 0 0.258819" fovy="75"/>'
        f'<site name="{arm.name}_tool" size="0.004" group="5"/>'
    )
    return _place(f"{arm.name}_hand", arm.gripper.tool, palm + camera + fingers)


def _ends(robot: TwinRobot, actuators: str) -> str:
    """Contacts to leave out, the fingers' coupling, and the servos."""
    names = [arm.name for arm in robot.arms]
    excluded = "".join(f'<exclude body1="{n}_finger1" body2="{n}_finger2"/>' for n in names)
    tendons = "".join(
        f'<fixed name="{n}_fingers"><joint joint="{n}_finger1" coef="0.5"/><joint joint="{n}_finger2" coef="0.5"/>'
        "</fixed>"
        for n in names
    )
    coupled = "".join(
        f'<joint joint1="{n}_finger1" joint2="{n}_finger2" solimp="0.95 0.99 0.001" solref="0.005 1"/>' for n in names
    )
    servos = "".join(f'<position joint="{j.name}" kp="{_GAIN}" kv="{_DAMPING}"/>' for j in robot.joints)
    # Control: half of the opening, m.
    servos += "".join(
        f'<general name="{n}_gripper" tendon="{n}_fingers" forcerange="-140 140" gaintype="fixed" gainprm="1500 0 0" '
        'biastype="affine" biasprm="0 -1500 -150"/>'
        for n in names
    )
    servos += "".join(f'<position joint="{j.name}" kp="20000" kv="2000"/>' for j in robot.body)
    return (
        f"  <contact>{excluded}</contact>\n  <tendon>{tendons}</tendon>\n  <equality>{coupled}</equality>\n"
        f"  <actuator>{servos}{actuators}</actuator>\n"
    )


def thing_box(
    name: str, half: Vector3, rgba: str, *, mass: float | None = None, position: Vector3 = (0.0, 0.0, 0.0)
) -> str:
    """A box that collides: one that stands still, or, with a mass in kg, one that moves freely."""
    if mass is None:
        return (
            f'    <geom name="{name}" class="thing" type="box" group="{GROUP_STATIC}" size="{_text(half)}" '
            f'pos="{_text(position)}" rgba="{rgba}"/>\n'
        )
    return (
        f'    <body name="{name}" pos="{_text(position)}"><freejoint name="{name}"/><geom name="{name}" class="thing" '
        f'type="box" group="{GROUP_CUBE}" size="{_text(half)}" mass="{mass}" rgba="{rgba}"/></body>\n'
    )


def thing_bin(centre: Vector3, half: tuple[float, float], wall: float, rgba: str) -> str:
    """An open bin, its floor at `centre`, with walls `wall` m high."""
    x, y, z = centre
    thin, up = 0.004, wall / 2
    return (
        thing_box("bin_floor", (half[0], half[1], thin), rgba, position=(x, y, z + thin))
        + thing_box("bin_near", (thin, half[1], up), rgba, position=(x - half[0], y, z + up))
        + thing_box("bin_far", (thin, half[1], up), rgba, position=(x + half[0], y, z + up))
        + thing_box("bin_left", (half[0], thin, up), rgba, position=(x, y + half[1], z + up))
        + thing_box("bin_right", (half[0], thin, up), rgba, position=(x, y - half[1], z + up))
    )


def _place(name: str, frame: Frame, inner: str) -> str:
    return f'<body name="{name}" pos="{_text(frame.xyz)}" euler="{_text(frame.rpy)}" gravcomp="1">{inner}</body>\n'


def _body(name: str, joint: TwinJoint, inner: str, *more: str) -> str:
    frame = joint.frame
    kind = "slide" if frame.slides else "hinge"
    return (
        f'<body name="{name}" pos="{_text(frame.xyz)}" euler="{_text(frame.rpy)}" gravcomp="1" childclass="robot">'
        f'{_INERTIA}<joint name="{joint.name}" type="{kind}" axis="{_text(frame.axis)}" '
        f'range="{joint.lower} {joint.upper}"/>{inner}{"".join(more)}</body>\n'
    )


def _capsule(start: Vector3, end: Vector3, radius: float) -> str:
    return (
        f'<geom class="seen" type="capsule" group="{GROUP_ARM}" size="{radius:.4f}" '
        f'fromto="{_text(start)} {_text(end)}" rgba="{_ARM_RGB}"/>'
    )


def _seen(kind: str, size: Sequence[float], position: Vector3, rgba: str, group: int) -> str:
    return (
        f'<geom class="seen" type="{kind}" group="{group}" size="{_text(size)}" pos="{_text(position)}" rgba="{rgba}"/>'
    )


def _behind(tool: Frame, distance: float) -> Vector3:
    """The point `distance` m before the tool's origin, on the line from the frame's origin."""
    position = np.array(tool.xyz)
    length = float(np.linalg.norm(position))
    x, y, z = position * max(0.0, 1.0 - distance / length)
    return float(x), float(y), float(z)


def _text(values: Sequence[float]) -> str:
    return " ".join(f"{value:.10g}" for value in values)
