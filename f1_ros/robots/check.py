"""What a robot profile's values mean together: units, limits, names and what is still open."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

from f1_ros.control.kinematics import Chain
from f1_ros.control.workspace import ArmWorkspace, Workspace
from f1_ros.robots.camera import Camera
from f1_ros.robots.check_topics import topic_problems
from f1_ros.robots.files import matches
from f1_ros.robots.parts import COMPRESSED_IMAGE, Arm, Gripper, Joint, Kinematics
from f1_ros.robots.problem import Problem, check_ros_name, repeated
from f1_ros.robots.profile import RobotProfile

_WIDEST_GRIPPER_M = 1.0
_LONGEST_SLIDE_M = 3.0


def find_problems(profile: RobotProfile) -> list[Problem]:
    """Everything that is wrong with a profile whose keys and types are right; open values come last."""
    found = [
        *_names(profile),
        *(p for i, arm in enumerate(profile.arms) for p in _arm(arm, f"arms[{i}]", profile)),
        *(p for i, gripper in enumerate(profile.grippers) for p in _gripper(gripper, f"grippers[{i}]")),
        *(p for i, camera in enumerate(profile.cameras) for p in _camera(camera, f"cameras[{i}]")),
        *_layout(profile, "state_names", profile.state_names),
        *_layout(profile, "action_names", profile.action_names),
        *_numbers(profile),
        *_fixed(profile),
        *topic_problems(profile),
    ]
    return found + list(_open(profile))


def _names(profile: RobotProfile) -> Iterator[Problem]:
    for key in ("name", "embodiment"):
        name = getattr(profile, key)
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            yield Problem(key, f"'{name}' is not a plain name", "Use lower-case letters, digits and _.")
    if not profile.arms:
        yield Problem("arms", "there is no arm", "Give at least one arm with its joints.")
    kinds = {
        "arms": [arm.name for arm in profile.arms],
        "cameras": [camera.name for camera in profile.cameras],
        "joints and grippers": [
            *profile.joints,
            *(g.name for g in profile.grippers),
            *(joint.name for joint in profile.fixed),
        ],
        "gripper actions": [g.command.action for g in profile.grippers if not g.command.streamed],
        "camera topics": [camera.topic for camera in profile.cameras],
    }
    for kind, names in kinds.items():
        for name in repeated(names):
            yield Problem(kind, f"'{name}' is given twice", "Give every one its own name.")


def _arm(arm: Arm, key: str, profile: RobotProfile) -> Iterator[Problem]:
    if not arm.joints:
        yield Problem(f"{key}.joints", "there is no joint", "Give the joints in the order of the command message.")
    for name, rate in (("state", arm.state.rate_hz), ("command", arm.command.rate_hz)):
        if rate < 0.0:
            yield Problem(f"{key}.{name}.rate_hz", f"{rate} Hz is negative", "Give 0 where it is not periodic.")
    if len(arm.ready) not in (0, len(arm.joints)):
        yield Problem(
            f"{key}.ready", f"has {len(arm.ready)} values for {len(arm.joints)} joints", "Give one for each joint."
        )
    if arm.kinematics is not None:
        yield from _kinematics(arm, arm.kinematics, f"{key}.kinematics")
    if arm.workspace is not None:
        yield from _workspace(arm, arm.workspace, key)
    for i, joint in enumerate(arm.joints):
        problems = list(_joint(joint, f"{key}.joints[{i}]", profile.position_margin))
        yield from problems
        if problems or i >= len(arm.ready) or joint.lower is None or joint.upper is None:
            continue
        low, high = joint.lower + profile.position_margin, joint.upper - profile.position_margin
        if not low <= arm.ready[i] <= high:
            yield Problem(
                f"{key}.ready[{i}]",
                f"{arm.ready[i]} is outside the limits {low:g} .. {high:g} of {joint.name}",
                "Give a pose inside the limits (less position_margin).",
            )


def _kinematics(arm: Arm, kinematics: Kinematics, key: str) -> Iterator[Problem]:
    frames = kinematics.joints
    if len(frames) != len(arm.joints):
        yield Problem(
            f"{key}.joints", f"has {len(frames)} frames for {len(arm.joints)} joints", "Give one for each joint."
        )
    for i, (frame, joint) in enumerate(zip(frames, arm.joints, strict=False)):
        if not any(frame.axis):
            yield Problem(f"{key}.joints[{i}].axis", "has no length", "Give the axis of the URDF, such as [0, 0, 1].")
        if frame.slides != (joint.unit == "m"):
            yield Problem(
                f"{key}.joints[{i}].slides", f"does not fit unit {joint.unit}", "A slide is in m, another joint in rad."
            )
    origins = {f"joints[{i}]": frame.xyz for i, frame in enumerate(frames)} | {"tool": kinematics.tool.xyz}
    for name, xyz in origins.items():
        if max(map(abs, xyz)) > _LONGEST_SLIDE_M:
            yield Problem(f"{key}.{name}.xyz", f"{list(xyz)} looks like another unit", "Is it mm? Convert to m.")


def _workspace(arm: Arm, box: Workspace, key: str) -> Iterator[Problem]:
    if arm.kinematics is None:
        yield Problem(f"{key}.workspace", "needs the arm's chain", "Describe it under 'kinematics', as its URDF does.")
        return
    if not arm.ready:
        yield Problem(f"{key}.workspace", "needs a pose inside it", "Give 'ready', a pose to start work from.")
        return
    if list(_kinematics(arm, arm.kinematics, key)) or len(arm.ready) != len(arm.joints):
        return  # reported already
    chain = Chain(arm.kinematics.joints, arm.kinematics.tool)
    if not ArmWorkspace(arm.name, slice(len(arm.joints)), chain, box).inside(np.array(arm.ready)):
        tool = [round(float(x), 3) for x in chain.pose(arm.ready)[0]]
        yield Problem(f"{key}.workspace", f"does not hold the arm at 'ready', its tool at {tool} m", "Widen the box.")


def _joint(joint: Joint, key: str, margin: float) -> Iterator[Problem]:
    if joint.unit == "deg":
        yield Problem(f"{key}.unit", "degrees are not used here", "Convert the limits (pi / 180) and write unit: rad.")
        return
    if joint.unit not in ("rad", "m"):
        yield Problem(f"{key}.unit", f"'{joint.unit}' is not a unit", "Write rad, or m for a slide.")
        return
    # A joint that turns further than a full turn either way, or a slide of several metres, is in another unit.
    most = 2.0 * math.pi if joint.unit == "rad" else _LONGEST_SLIDE_M
    other = "degrees; convert to rad" if joint.unit == "rad" else "millimetres; convert to m"
    for name in ("lower", "upper"):
        value = getattr(joint, name)
        if value is not None and abs(value) > most:
            yield Problem(
                f"{key}.{name}", f"{value:g} {joint.unit} of {joint.name} looks like another unit", f"Is it {other}?"
            )
    if joint.lower is not None and joint.upper is not None and joint.lower + margin >= joint.upper - margin:
        less = f" with position_margin {margin:g}" if joint.lower < joint.upper else ""
        yield Problem(
            key, f"limits of {joint.name} are crossed: {joint.lower:g} .. {joint.upper:g}{less}", "Swap or mend them."
        )
    plausible = {"velocity": 20.0 * math.pi, "acceleration": 1e3, "jerk": 1e6}
    for name, most in plausible.items():
        value = getattr(joint, name)
        if value is not None and not 0.0 < value <= most:
            yield Problem(
                f"{key}.{name}",
                f"{value:g} of {joint.name} is not in (0, {most:g}]",
                f"Give a positive limit in {joint.unit} and seconds.",
            )


def _gripper(gripper: Gripper, key: str) -> Iterator[Problem]:
    if gripper.unit != "m":
        yield Problem(f"{key}.unit", f"'{gripper.unit}' is not used here", "Convert the widths and write unit: m.")
        return
    if not 0.0 <= gripper.closed < gripper.open:
        yield Problem(
            key, f"widths are crossed: closed {gripper.closed:g}, open {gripper.open:g}", "Give 0 <= closed < open."
        )
    elif gripper.open > _WIDEST_GRIPPER_M:
        yield Problem(f"{key}.open", f"{gripper.open:g} m looks like another unit", "Is it mm? Convert to m.")
    elif not 0.0 < gripper.hysteresis < gripper.open - gripper.closed:
        yield Problem(
            f"{key}.hysteresis", f"{gripper.hysteresis:g} m is not inside the stroke", "Give about a tenth of it."
        )
    if gripper.min_interval_s < 0.0:
        yield Problem(f"{key}.min_interval_s", f"{gripper.min_interval_s:g} s is negative", "Give 0 or more.")
    if gripper.command.max_effort < 0.0:
        yield Problem(f"{key}.command.max_effort", "is negative", "Give 0 to leave it to the gripper, or newtons.")
    if not gripper.state.joints:
        yield Problem(f"{key}.state.joints", "there is no joint", "Name the joints whose sum gives the opening.")
    for part, low, high in (
        ("state", gripper.state.closed, gripper.state.open),
        ("command", gripper.command.closed, gripper.command.open),
    ):
        if low is not None and low == high:
            yield Problem(f"{key}.{part}", f"closed and open are both {low:g}", "Give the values at both ends.")


def _camera(camera: Camera, key: str) -> Iterator[Problem]:
    yield from check_ros_name(f"{key}.topic", camera.topic)
    last = camera.topic.rpartition("/")[2]
    # What image_transport and the cameras' drivers call their topics; others, as a simulator's, are free in theirs.
    if last.startswith(("compressed", "image")) and (last == "compressed") != (camera.type == COMPRESSED_IMAGE):
        yield Problem(
            f"{key}.type",
            f"{camera.type} does not fit the topic {camera.topic}",
            "A topic that ends in /compressed carries CompressedImage, image_raw and its like carry Image.",
        )
    if not camera.sizes or any(side <= 0 for size in camera.sizes for side in size):
        yield Problem(f"{key}.sizes", f"{list(camera.sizes)} is no picture size", "Give [width, height] pairs in px.")
    if not 0.0 < camera.min_rate_hz <= camera.rate_hz:
        yield Problem(
            f"{key}.min_rate_hz",
            f"{camera.min_rate_hz:g} Hz is not in (0, {camera.rate_hz:g}]",
            "Give a rate below it.",
        )
    yield from _view(camera, key)


def _view(camera: Camera, key: str) -> Iterator[Problem]:
    """What policies are to see of a camera's pictures."""
    if camera.camera_info:
        yield from check_ros_name(f"{key}.camera_info", camera.camera_info)
    elif camera.rectify:
        yield Problem(
            f"{key}.camera_info", "is not given, and pictures are to be rectified", "Name its CameraInfo topic."
        )
    if (crop := camera.crop) is None:
        return
    if len(camera.sizes) > 1:
        yield Problem(f"{key}.sizes", "are several, and a crop is in pixels of one", "Give the size that it is set to.")
    for width, height in camera.sizes:
        if (
            min(crop.x, crop.y) < 0
            or min(crop.width, crop.height) < 1
            or (crop.x + crop.width > width or crop.y + crop.height > height)
        ):
            yield Problem(
                f"{key}.crop",
                f"columns {crop.x} to {crop.x + crop.width} and rows {crop.y} to {crop.y + crop.height} are not in a "
                f"{width}x{height} picture",
                "Give a box inside it: x and y of its top left corner, width and height, px.",
            )


def _fixed(profile: RobotProfile) -> Iterator[Problem]:
    for i, joint in enumerate(profile.fixed):
        if not joint.lower <= joint.value <= joint.upper:
            yield Problem(
                f"fixed[{i}].value",
                f"{joint.value:g} is outside the limits {joint.lower:g} .. {joint.upper:g} of {joint.name}",
                f"Give a position inside the limits, in {joint.unit}.",
            )
    if (body := profile.body) is None:
        return
    if not 0.0 <= body.lower < body.upper <= _LONGEST_SLIDE_M:
        yield Problem(
            "body", f"limits are crossed: {body.lower:g} .. {body.upper:g} m", "Give 0 <= lower < upper, in m."
        )
    elif body.height is not None and not body.lower <= body.height <= body.upper:
        yield Problem(
            "body.height",
            f"{body.height:g} m is outside {body.lower:g} .. {body.upper:g} m",
            "Give a height inside, or null to keep the lift where it is found.",
        )
    if not 0.0 < body.speed <= 0.5:
        yield Problem("body.speed", f"{body.speed:g} m/s is not in (0, 0.5]", "Give a slow speed, such as 0.02.")


def _layout(profile: RobotProfile, key: str, layout: tuple[str, ...]) -> Iterator[Problem]:
    known = [*profile.joints, *(gripper.name for gripper in profile.grippers)]
    for i, name in enumerate(layout):
        if name not in known:
            yield Problem(f"{key}[{i}]", f"'{name}' is no joint or gripper", f"Choose from {', '.join(known)}.")
    for name in repeated(layout):
        yield Problem(key, f"'{name}' is given twice", "Name each joint and gripper once.")
    for name in known:
        if name not in layout:
            yield Problem(key, f"'{name}' is missing", f"Add '{name}' where the policy has it.")


def _numbers(profile: RobotProfile) -> Iterator[Problem]:
    ranges: dict[str, tuple[float, float, float, str]] = {
        "rates.control": (profile.rates.control, 10.0, 1000.0, "Hz"),
        "rates.status": (profile.rates.status, 0.1, 100.0, "Hz"),
        "timeouts.joint_state": (profile.timeouts.joint_state, 0.005, 5.0, "s"),
        "timeouts.gripper_state": (profile.timeouts.gripper_state, 0.005, 60.0, "s"),
        "timeouts.policy": (profile.timeouts.policy, 0.01, 60.0, "s"),
        "timeouts.teleop": (profile.timeouts.teleop, 0.01, 10.0, "s"),
        "match_tolerance_s": (profile.match_tolerance_s, 1e-4, 1.0, "s"),
        "max_tracking_error": (profile.max_tracking_error, 1e-3, math.pi, "rad"),
        "scale": (profile.scale, 1e-3, 1.0, "(a fraction)"),
        "position_margin": (profile.position_margin, 0.0, 0.5, "rad"),
        "teleop.aligned_within": (profile.teleop.aligned_within, 1e-4, 0.5, "rad"),
        "teleop.approach_velocity": (profile.teleop.approach_velocity, 1e-3, 1.0, "(a fraction)"),
        "teleop.approach_acceleration": (profile.teleop.approach_acceleration, 1e-3, 1.0, "(a fraction)"),
        "teleop.override_motion": (profile.teleop.override_motion, 0.0, 1.0, "rad"),
    }
    for key, (value, low, high, unit) in ranges.items():
        if not low <= value <= high:
            yield Problem(key, f"{value:g} is out of range", f"Give {low:g} .. {high:g} {unit}.")
    if profile.splice_speed and not 1.0 < profile.splice_speed <= 100.0:
        yield Problem("splice_speed", f"{profile.splice_speed:g} is out of range", "Give 0, or a factor of up to 100.")
    if profile.refused_beyond is not None and not profile.lead < profile.refused_beyond:
        yield Problem(
            "max_tracking_error",
            f"lets commands lead by {profile.lead:.3g} rad, the robot refuses {profile.refused_beyond:g} rad",
            "Lower max_tracking_error below refused_beyond.",
        )
    for i, arm in enumerate(profile.arms):
        if arm.state.rate_hz > 0.0 and profile.timeouts.joint_state * arm.state.rate_hz < 2.0:
            yield Problem(
                "timeouts.joint_state",
                f"{profile.timeouts.joint_state:g} s is under two periods of arms[{i}].state",
                "Give a longer timeout, or a faster state topic.",
            )


def _open(profile: RobotProfile) -> Iterator[Problem]:
    values: dict[str, object] = {
        f"arms[{a}].joints[{j}].{name}": getattr(joint, name)
        for a, arm in enumerate(profile.arms)
        for j, joint in enumerate(arm.joints)
        for name in ("lower", "upper", "velocity", "acceleration", "jerk")
    }
    for g, gripper in enumerate(profile.grippers):
        for part, holder in (("", gripper), ("state.", gripper.state), ("command.", gripper.command)):
            for end in ("closed", "open"):
                values[f"grippers[{g}].{part}{end}"] = getattr(holder, end)
    values |= {f"fixed[{i}].value": joint.value for i, joint in enumerate(profile.fixed)}
    values |= {f"cameras[{i}].sizes": [list(size) for size in c.sizes] for i, c in enumerate(profile.cameras)}
    values["silence"] = profile.silence
    reasons = {
        key: reason for pattern, reason in reversed(profile.open.items()) for key in values if matches(pattern, key)
    }
    for pattern in profile.open:
        if not any(matches(pattern, key) for key in values):
            yield Problem(
                f"open.{pattern}",
                "is not a key that can be open",
                "Name a limit, an end of a gripper, a fixed joint's value, a camera's sizes or silence.",
            )
    for key, value in values.items():
        if value is None and (key not in reasons or profile.simulated is not None):
            remedy = "Give it, or name the key under 'open' with the reason."
            if profile.simulated is not None:
                remedy = "Give it in the profile, or for the simulation alone in the folder 'sim' beside it."
            yield Problem(key, "has no value", remedy, is_open=True)
        elif value is None:
            yield Problem(
                key, f"is open: {reasons[key]}", "Find the value, write it, and take it off 'open'.", is_open=True
            )
        elif key in reasons and profile.simulated is None:
            shown = f"{value:g}" if isinstance(value, float) else value
            yield Problem(
                key,
                f"is {shown} but unconfirmed: {reasons[key]}",
                "Confirm it, then take it off 'open'.",
                is_open=True,
            )
