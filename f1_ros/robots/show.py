"""What a profile means, in Markdown: `f1-ros robot show` prints it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from f1_ros.robots.choose import transport_for
from f1_ros.robots.parts import Gripper
from f1_ros.robots.profile import RobotProfile
from f1_ros.robots.transport import Transport

ACTION_NUMBERS = 32
"""Width of the released policy's actions: a robot's own come first, the rest is padding."""
SILENCE = {
    "keeps_target": "the robot keeps its last target and nothing stops it",
    "stops": "the robot stops by itself",
    None: "open: nobody has said what the robot does",
}


def describe(profile: RobotProfile) -> str:
    """Where each of the policy's numbers goes, what comes from where, and what happens without commands.

    Args:
        profile: the robot; values may be open.
    """
    transport = transport_for(_with_open_ends(profile))
    lines = [f"# {profile.name}: {profile.description}", "", f"Policies call it `{profile.embodiment}`.", ""]
    lines += ["| number | action | unit | goes to |", "|---|---|---|---|", *_actions(profile, transport)]
    lines += ["", "| comes from | type | what | rate |", "|---|---|---|---|", *_sources(profile)]
    lines += ["", *_rules(profile, transport)]
    return "\n".join(lines) + "\n"


def _actions(profile: RobotProfile, transport: Transport) -> Iterator[str]:
    units = {joint.name: joint.unit for arm in profile.arms for joint in arm.joints}
    for i, name in enumerate(profile.action_names):
        unit = units.get(name, "m of opening width")
        yield f"| {i} | `{name}` | {unit} | {transport.describe(name).replace('nan', '?')} |"
    first, last = len(profile.action_names), ACTION_NUMBERS - 1
    if first < last:
        yield f"| {first} to {last} | | | nowhere: padding of the released policy |"


def _sources(profile: RobotProfile) -> Iterator[str]:
    told: dict[str, tuple[str, list[str], float]] = {}
    for arm in profile.arms:
        _, names, _ = told.setdefault(arm.state.topic, (arm.state.type, [], arm.state.rate_hz))
        names += [joint.name for joint in arm.joints]
    for gripper in profile.grippers:
        _, names, _ = told.setdefault(gripper.state.topic, (gripper.state.type, [], gripper.state.rate_hz))
        ends = (gripper.state.closed, gripper.state.open)
        closed, opened = ("?" if end is None else f"{end:g}" for end in ends)
        names.append(f"{' + '.join(gripper.state.joints)} ({gripper.name}: {closed} closed to {opened} open)")
    for topic, (kind, names, rate) in told.items():
        yield f"| `{topic}` | `{kind}` | {', '.join(names)} | {f'{rate:g} Hz' if rate else 'not known'} |"
    for camera in profile.cameras:
        sizes = ", ".join(f"{w}x{h}" for w, h in camera.sizes)
        yield f"| `{camera.topic}` | `{camera.type}` | camera `{camera.name}`, {sizes} px | {camera.rate_hz:g} Hz |"


def _rules(profile: RobotProfile, transport: Transport) -> Iterator[str]:
    state = "as the action" if profile.state_names == profile.action_names else ", ".join(profile.state_names)
    yield f"- State: {state}."
    yield f"- Commands: {profile.rates.control:g} Hz" + (
        f"; trajectories at {transport.trajectory_hz:g} Hz." if transport.trajectory_hz else "."
    )
    yield f"- Safe action: {profile.safe_action}. Silence: {SILENCE[profile.silence]}."
    if profile.refused_beyond is not None:
        yield (
            f"- The robot refuses targets over {profile.refused_beyond:g} rad from its joints; "
            f"commands are held back at {profile.lead:.3g} rad."
        )
    for joint in profile.fixed:
        yield f"- `{joint.name}` is not moved: it must stand at {joint.value:g} {joint.unit}."
    if profile.body is not None:
        height = "stays where it is found" if profile.body.height is None else f"is led to {profile.body.height:g} m"
        wheels = "are kept at rest" if profile.body.wheels else "are left alone"
        yield f"- The lift {height}; the wheels {wheels} (`{profile.body.topic}`)."
    requests = {"enable": transport.enable(), "recover": transport.recover()}
    requests |= {extra.name: extra.requests for extra in transport.extras()}
    for name, sequence in requests.items():
        if sequence:
            what = ", then ".join(f"{request.what} (`{request.name}`)" for request in sequence)
            yield f"- By request only, service `{name}`: {what}."
    for key, reason in profile.open.items():
        yield f"- Open, `{key}`: {reason}."


def _with_open_ends(profile: RobotProfile) -> RobotProfile:
    """The profile with NaN at the ends of grippers that nobody knows: enough to say where their values go."""

    def known(value: float | None) -> float:
        return math.nan if value is None else value

    def ended(gripper: Gripper) -> Gripper:
        state, command = gripper.state, gripper.command
        return replace(
            gripper,
            state=replace(state, closed=known(state.closed), open=known(state.open)),
            command=replace(command, closed=known(command.closed), open=known(command.open)),
        )

    return replace(profile, grippers=tuple(ended(gripper) for gripper in profile.grippers))
