"""What a profile says of topics and messages: whether each message can carry what it is to carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from f1_ros.robots.parts import (
    FLOAT_ARRAY,
    FRANKA_GRASP,
    JOINT_CONTROL,
    JOINT_STATE,
    ROBOT_CMD,
    ROBOT_STATUS,
    TRAJECTORY,
    Arm,
    Gripper,
)
from f1_ros.robots.problem import Problem, check_ros_name
from f1_ros.robots.profile import RobotProfile

ARX_JOINTS = 6
"""Joints of an ARX arm: its messages have room for these and a gripper, no more and no fewer."""
_ARX = (JOINT_CONTROL, ROBOT_STATUS, ROBOT_CMD)
_MOST_TRAJECTORIES_HZ = 25.0


def topic_problems(profile: RobotProfile) -> Iterator[Problem]:
    """Everything that is wrong with names, types and the sharing of topics."""
    for i, arm in enumerate(profile.arms):
        yield from _arm(arm, f"arms[{i}]", profile)
    for i, gripper in enumerate(profile.grippers):
        yield from _gripper(gripper, f"grippers[{i}]", profile)
    names: dict[str, str] = {}
    if profile.body is not None:
        names |= {"body.topic": profile.body.topic, "body.state": profile.body.state}
    if profile.franka is not None:
        names |= {"franka.state": profile.franka.state, "franka.recovery": profile.franka.recovery}
        if profile.franka.manager:
            names["franka.manager"] = profile.franka.manager
        elif profile.franka.hardware or profile.franka.controller or profile.franka.instead_of:
            yield Problem(
                "franka.manager", "is not given", "Name the controller_manager that switches hardware and controllers."
            )
    if profile.arx is not None:
        names["arx.requests"] = profile.arx.requests
    for key, name in names.items():
        yield from check_ros_name(key, name)


def _arm(arm: Arm, key: str, profile: RobotProfile) -> Iterator[Problem]:
    state, command = arm.state, arm.command
    yield from check_ros_name(f"{key}.state.topic", state.topic)
    yield from check_ros_name(f"{key}.command.topic", command.topic)
    for other in profile.arms:
        if other.command.topic == command.topic and other.command != command:
            yield Problem(
                f"{key}.command", f"differs from that of arm '{other.name}' on its topic", "Write it alike for both."
            )
        if other.state.topic == state.topic and other.state != state:
            yield Problem(f"{key}.state", f"differs from that of arm '{other.name}' on its topic", "Write it alike.")
    together = [a for a in profile.arms if a.command.topic == command.topic]
    for part, kind in (("state", state.type), ("command", command.type)):
        if kind in _ARX and len(arm.joints) != ARX_JOINTS:
            yield Problem(f"{key}.{part}.type", f"{kind} carries {ARX_JOINTS} joints", "Choose the arm's own message.")
    if command.type in _ARX and len(together) > 1:
        yield Problem(f"{key}.command.topic", f"{command.type} is of one arm", "Give each arm its own topic.")
    if state.type != JOINT_STATE and not state.named:
        yield Problem(f"{key}.state.named", f"{state.type} has no names", "Leave it out.")
    if command.type == FLOAT_ARRAY:
        yield from _forward(command.below, f"{key}.command.below", profile)
    elif command.below:
        yield Problem(f"{key}.command.below", "is for std_msgs/msg/Float64MultiArray", "Leave it out.")
    if command.type == TRAJECTORY and not 1.0 <= command.rate_hz <= min(_MOST_TRAJECTORIES_HZ, profile.rates.control):
        yield Problem(
            f"{key}.command.rate_hz",
            f"{command.rate_hz:g} Hz is no rate for trajectories, each of which replaces the one before",
            f"Give 1 to {_MOST_TRAJECTORIES_HZ:g} Hz, such as 10.",
        )


def _forward(below: str, key: str, profile: RobotProfile) -> Iterator[Problem]:
    """A forward_command_controller passes on what it gets, raw, until the next message."""
    if not below:
        yield Problem(
            key,
            "is not given: a forward_command_controller neither interpolates nor watches, and raw position steps trip "
            "an arm's reflexes",
            "Write 'impedance' if an impedance layer follows its commands, 'simulation' if a simulation does. "
            "Otherwise use an impedance controller or joint_trajectory_controller.",
        )
    elif below == "simulation" and profile.simulated is None:
        yield Problem(key, "is a simulation, and this is not one", "Run it with the simulation, or write 'impedance'.")


def _gripper(gripper: Gripper, key: str, profile: RobotProfile) -> Iterator[Problem]:
    path = gripper.command
    yield from check_ros_name(f"{key}.state.topic", gripper.state.topic)
    arms = {arm.name: arm for arm in profile.arms}
    if (gripper.arm or len(arms) > 1) and gripper.arm not in arms:
        yield Problem(f"{key}.arm", f"'{gripper.arm}' is no arm", f"Choose from {', '.join(arms)}.")
        return
    wanted, other = ("topic", "action") if path.streamed else ("action", "topic")
    yield from check_ros_name(f"{key}.command.{wanted}", getattr(path, wanted))
    if getattr(path, other):
        yield Problem(f"{key}.command.{other}", f"is not used with {path.type}", f"Leave it out; give '{wanted}'.")
    fastest = 5.0 if path.streamed else 1.0  # a target may go in a step, a Franka's hand itself does not
    if (path.streamed or path.type == FRANKA_GRASP) and not 0.0 < path.speed <= fastest:
        problem = f"{path.speed:g} m/s is not in (0, {fastest:g}]"
        yield Problem(f"{key}.command.speed", problem, "Give a speed such as 0.1.")
    if path.streamed:
        yield from _streamed(gripper, key, profile)
    elif gripper.min_interval_s <= 0.0:
        yield Problem(
            f"{key}.min_interval_s",
            "is not given; actions hang if streamed to",
            "Give 0.1 or more.",
        )


def _streamed(gripper: Gripper, key: str, profile: RobotProfile) -> Iterator[Problem]:
    path = gripper.command
    carriers = [arm for arm in profile.arms if arm.command.topic == path.topic]
    if path.type == JOINT_STATE and not path.joint:
        yield Problem(f"{key}.command.joint", "is not given", "Give the gripper's name in the message.")
    if carriers and path.type != carriers[0].command.type:
        yield Problem(f"{key}.command.type", f"is not that of arm '{carriers[0].name}' on its topic", "Write it alike.")
    if path.type in _ARX:
        own = {arm.name for arm in carriers} if gripper.arm else {""} if carriers else set()
        if gripper.arm not in own:
            yield Problem(
                f"{key}.command.topic", f"{path.type} carries its own arm's gripper", "Give that arm's topic."
            )
        sharing = Counter(g.command.topic for g in profile.grippers)
        if sharing[path.topic] > 1:
            yield Problem(f"{key}.command.topic", f"{path.type} carries one gripper", "Give each its arm's topic.")
        if gripper.state.type == ROBOT_STATUS and len(gripper.state.joints) != 1:
            yield Problem(f"{key}.state.joints", f"{ROBOT_STATUS} has one motor", "Name one.")
