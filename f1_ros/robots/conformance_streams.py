"""Whether the robot's topics are those of the profile: names, types, rates, and which camera is which."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ProfileError
from f1_ros.robots.camera import Camera
from f1_ros.robots.conformance import Check, Finding, Mistake
from f1_ros.robots.profile import JOINT_COMMAND, RobotProfile
from f1_ros.robots.transport import Transport

RATE_WITHIN = 0.2
"""A rate may differ by this part from what the profile says."""
SAME_PICTURE = 0.02
"""Mean difference (of 1) up to which two pictures are the same one: nothing, but for what compression does to them."""
MIN_STAMPS = 5


class Role(Enum):
    """What the robot does with a topic or an action; the value says what is missing where no one does."""

    PUBLISHES = "nobody publishes it"
    SUBSCRIBES = "nobody subscribes to it"
    SERVES = "nobody serves it"


@dataclass(frozen=True)
class Endpoint:
    """A topic or an action of the robot: name, what the robot does with it, and type."""

    name: str
    role: Role
    type: str


@dataclass(frozen=True, eq=False)
class CameraTrial:
    """What was seen of a camera.

    Attributes:
        camera: its name in the profile.
        stamps_ns: of its pictures, ns, in the order of arrival.
        picture: (H, W, 3) uint8 RGB, one of them; None if none came.
        rendered: what the twin's cameras saw at the same instant, by the twin's names; empty on a robot.
        trouble: why it cannot be decoded, if so.
        recognised: on a robot, whether the person says that the picture is this camera's; None: nobody was asked.
    """

    camera: str
    stamps_ns: Sequence[int]
    picture: NDArray[np.uint8] | None = None
    rendered: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    trouble: str = ""
    recognised: bool | None = None


def expected_endpoints(profile: RobotProfile, transport: Transport) -> tuple[Endpoint, ...]:
    """Every topic and action that the robot must have."""
    found = [Endpoint(source.topic, Role.PUBLISHES, source.type) for source in transport.incoming]
    found += [Endpoint(o.topic, Role.SUBSCRIBES, o.type) for o in transport.outgoing if o.topic != JOINT_COMMAND]
    for actions in transport.gripper_actions.values():
        found += [Endpoint(name, Role.SERVES, kind) for name, kind in actions.items()]
    found += [Endpoint(camera.topic, Role.PUBLISHES, camera.type) for camera in profile.cameras]
    if transport.status_topic is not None:
        found.append(Endpoint(transport.status_topic[0], Role.PUBLISHES, transport.status_topic[1]))
    found += [Endpoint(r.name, Role.SERVES, r.type) for r in transport.recover() if r.kind == "action"]
    return tuple(found)


def judge_endpoints(expected: Sequence[Endpoint], found: Sequence[Endpoint]) -> Iterator[Finding]:
    """Whether each topic and action is there with its type; `found` is what the robot's processes have."""
    for wanted in expected:
        types = sorted({f.type for f in found if (f.name, f.role) == (wanted.name, wanted.role)})
        problem, mistake, remedy = "", None, ""
        if not types:
            problem = wanted.role.value
            remedy = "Start the robot's driver; compare the name with `ros2 topic list` and `ros2 action list`."
        elif types != [wanted.type]:
            problem = f"the robot has {', '.join(types)}, the profile {wanted.type}"
            mistake, remedy = Mistake.TYPE, "Write the robot's type into the profile."
        yield Finding(Check.TOPICS, wanted.name, ", ".join(types) or None, "", wanted.type, problem, mistake, remedy)


def judge_state_rates(profile: RobotProfile, stamps_ns: Mapping[str, Sequence[int]]) -> Iterator[Finding]:
    """Whether state topics arrive at the profile's rates, and forward in time."""
    rates = {arm.state.topic: arm.state.rate_hz for arm in profile.arms}
    for gripper in profile.grippers:
        rates[gripper.state.topic] = rates.get(gripper.state.topic) or gripper.state.rate_hz
    for topic, wanted in rates.items():
        yield _rate(Check.STATE, topic, stamps_ns.get(topic, ()), wanted, "state.rate_hz")


def judge_command_rate(profile: RobotProfile, topic: str, stamps_ns: Sequence[int]) -> Finding:
    """Whether commands go out at the rate that the profile says the robot expects."""
    declared = max((arm.command.rate_hz for arm in profile.arms if arm.command.topic == topic), default=0.0)
    return _rate(
        Check.COMMANDS, topic, stamps_ns, declared or profile.rates.control, "rates.control or command.rate_hz"
    )


def judge_camera(camera: Camera, trial: CameraTrial) -> list[Finding]:
    """Whether a camera arrives at its rate and size, and shows what its name says."""
    rate = rate_of(trial.stamps_ns)
    problem, mistake, remedy = "", None, ""
    if rate is None or trial.picture is None:
        problem = trial.trouble or "too few pictures come"
        remedy = f"See the camera's driver and {camera.topic}."
    elif rate < camera.min_rate_hz:
        problem = f"comes at {rate:.1f} Hz, the profile asks for {camera.min_rate_hz:g} Hz at least"
        mistake, remedy = Mistake.RATE, "Set the driver's rate, or min_rate_hz of what the policy can do with."
    elif not camera.accepts(trial.picture.shape[1], trial.picture.shape[0]):
        problem = f"is {trial.picture.shape[1]}x{trial.picture.shape[0]} px, which the profile does not have"
        remedy = "Set the driver's size, or add it to the camera's sizes."
    arrives = Finding(
        Check.CAMERAS, f"rate of {camera.name}", rate, "Hz", f">= {camera.min_rate_hz:g}", problem, mistake, remedy
    )
    return [arrives, *([] if trial.picture is None else [_which(camera, trial, trial.picture)])]


def known_limits(urdf: str) -> dict[str, tuple[float, float]]:
    """Lowest and highest position of each joint that turns or slides within limits, rad or m, of a robot description.

    Raises:
        ProfileError: if it is no XML.
    """
    try:
        root = ElementTree.fromstring(urdf)  # noqa: S314 - of the robot's own driver, and read for its numbers alone
    except ElementTree.ParseError as error:
        raise ProfileError(
            f"The robot's description cannot be read: {error}.", remedy="See who publishes robot_description."
        ) from error
    found = {}
    for joint in root.iter("joint"):
        limit = joint.find("limit")
        if joint.get("type") in ("revolute", "prismatic") and limit is not None:
            found[str(joint.get("name"))] = float(limit.get("lower", "0")), float(limit.get("upper", "0"))
    return found


def rate_of(stamps_ns: Sequence[int]) -> float | None:
    """Rate of a stream, Hz, by the median of its periods, so that lost messages do not count; None of too few."""
    periods = [b - a for a, b in pairwise(stamps_ns) if b > a]
    return 1e9 / float(np.median(periods)) if len(periods) + 1 >= MIN_STAMPS else None


def _rate(check: Check, topic: str, stamps_ns: Sequence[int], wanted: float, key: str) -> Finding:
    rate, back = rate_of(stamps_ns), sum(b < a for a, b in pairwise(stamps_ns))
    goal = f"{wanted:g} +- {RATE_WITHIN:.0%}" if wanted else "not declared"
    problem, mistake, remedy = "", None, ""
    if rate is None:
        problem, remedy = f"{len(stamps_ns)} messages came, too few", "See the topic's type and the robot's driver."
    elif back:
        problem, remedy = f"{back} stamps go back in time", "See that one driver alone publishes it."
    elif wanted and abs(rate - wanted) > RATE_WITHIN * wanted:
        problem = f"comes at {rate:.1f} Hz, the profile says {wanted:g} Hz"
        mistake, remedy = Mistake.RATE, f"Set the driver's rate, or mend {key}."
    return Finding(check, f"rate of {topic}", rate, "Hz", goal, problem, mistake, remedy)


def _which(camera: Camera, trial: CameraTrial, picture: NDArray[np.uint8]) -> Finding:
    """Whose picture it is."""
    subject, remedy = f"view of {camera.name}", "Exchange the cameras' topics in the profile, or the plugs."
    if not trial.rendered and trial.recognised is None:
        problem = "there is nothing to compare its picture with"
        return Finding(
            Check.CAMERAS, subject, None, "", camera.name, problem, None, "See the twin's log; run it again."
        )
    if not trial.rendered:
        problem = "" if trial.recognised else "the person does not recognise its picture"
        mistake = Mistake.CAMERA_ORDER if problem else None
        return Finding(Check.CAMERAS, subject, "asked", "", "recognised", problem, mistake, remedy if problem else "")
    apart = {name: _apart(picture, other) for name, other in trial.rendered.items()}
    own, nearest = apart.get(camera.name, math.inf), min(apart, key=lambda name: apart[name])
    if own <= SAME_PICTURE and own <= apart[nearest]:
        return Finding(Check.CAMERAS, subject, camera.name, "", camera.name)
    if apart[nearest] <= SAME_PICTURE:
        problem = f"shows what the twin renders for '{nearest}'"
        return Finding(Check.CAMERAS, subject, nearest, "", camera.name, problem, Mistake.CAMERA_ORDER, remedy)
    return Finding(Check.CAMERAS, subject, None, "", camera.name, "shows what no camera of the twin sees", None, remedy)


def _apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean difference of two pictures, of 1; infinite for other sizes."""
    if one.shape != other.shape:
        return math.inf
    return float(np.abs(one.astype(np.int16) - other).mean() / 255.0)
