"""Asks its way to a profile of a robot whose messages are known: `f1-ros robot new`.

Questions come one after the other, each with a key; answers come from a person (`Prompts`) or from a YAML file by key
(`Answers`). An empty answer to a question about a measured value leaves it open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from f1_ros.errors import ProfileError
from f1_ros.robots.parts import (
    COMPRESSED_IMAGE,
    END_STATE,
    FLOAT_ARRAY,
    FRANKA_GRASP,
    GRIPPER_COMMAND,
    IMAGE,
    JOINT_CONTROL,
    JOINT_STATE,
    ROBOT_CMD,
    ROBOT_STATUS,
    TRAJECTORY,
)

OPEN = "asked for by `f1-ros robot new` and not known yet"
LIMITS = ("lower", "upper", "velocity", "acceleration", "jerk")


@dataclass(frozen=True)
class Kind:
    """How an arm or a gripper is spoken to: what for, and the types of its commands and its state."""

    help: str
    command: str
    state: str = JOINT_STATE


ARMS: Mapping[str, Kind] = {
    "joint_state": Kind("targets as JointState, each tick: crisp_controllers, Genie-1", JOINT_STATE),
    "trajectory": Kind("ros2_control's joint_trajectory_controller", TRAJECTORY),
    "forward": Kind("ros2_control's forward_command_controller, above an impedance layer", FLOAT_ARRAY),
    "arx_x5": Kind("ARX X5, open_double_arm", JOINT_CONTROL, ROBOT_STATUS),
    "arx_acone": Kind("ARX AC-one, v2_joint_control", ROBOT_STATUS, ROBOT_STATUS),
    "arx_single": Kind("a single ARX arm", ROBOT_CMD, ROBOT_STATUS),
}
GRIPPERS: Mapping[str, Kind] = {
    "none": Kind("no gripper", ""),
    "action": Kind("action GripperCommand", GRIPPER_COMMAND),
    "franka": Kind("franka_gripper's grasp and move", FRANKA_GRASP),
    "streamed": Kind("JointState of its own", JOINT_STATE),
    "genie": Kind("JointState of its own, state by genie_msgs/EndState", JOINT_STATE, END_STATE),
    "in_arm": Kind("part of its arm's messages: ARX", ""),
}


class Asker(Protocol):
    """Answers questions."""

    def ask(self, key: str, question: str, default: object = None) -> Any:
        """The answer: text, number, list, or None where there is none."""
        ...

    def done(self) -> None:
        """All has been asked."""
        ...


class Prompts:
    """A person at a terminal. Answers are read as YAML, so that `1.5` is a number and `[a, b]` or `a, b` a list."""

    def __init__(self, read: Callable[[str], str], say: Callable[[str], object]) -> None:
        self._read, self._say = read, say

    def ask(self, key: str, question: str, default: object = None) -> Any:
        """Ask until it can be read."""
        shown = (
            "" if default is None else f" [{', '.join(map(str, default)) if isinstance(default, list) else default}]"
        )
        while True:
            text = self._read(f"{question}{shown}: ").strip()
            if not text:
                return default
            try:
                return yaml.safe_load(f"[{text}]" if "," in text and not text.startswith("[") else text)
            except yaml.YAMLError:
                self._say(f"'{text}' cannot be read. Write a word, a number, or values with commas between them.")

    def done(self) -> None:
        """Nothing is left over."""


class Answers:
    """A mapping of answers by key.

    Raises:
        ProfileError: (from `ask` and `done`) if a key is missing that has no default, or is of no question.
    """

    def __init__(self, answers: object, source: str) -> None:
        if not isinstance(answers, dict):
            raise ProfileError(f"{source} holds no answers.", remedy="Write 'key: value' lines.")
        self._left, self._source = dict(answers), source

    def ask(self, key: str, question: str, default: object = None) -> Any:
        """The answer of that key, or the default."""
        return self._left.pop(key, default)

    def done(self) -> None:
        """Refuse answers that nobody has asked for."""
        if self._left:
            raise ProfileError(
                f"{self._source}: nothing was asked that '{next(iter(self._left))}' answers.",
                remedy="Take it out, or correct the key; questions depend on the answers before them.",
            )


def ask_profile(name: str, asker: Asker) -> dict[str, Any]:
    """Ask for everything that a profile says; gives it as plain data.

    Args:
        name: of the profile.
        asker: who answers.

    Raises:
        ProfileError: if an answer makes no sense.
    """
    open_keys: dict[str, str] = {}
    data: dict[str, Any] = {
        "name": name,
        "embodiment": _text(asker, "embodiment", "What policies call this robot", name),
        "description": _text(asker, "description", "One line about it", name),
    }
    kind = _choice(asker, "arm_kind", "How are its arms commanded", ARMS, "joint_state")
    names = _list(asker, "arms", "Names of its arms", ["arm"])
    data["arms"] = [_arm(asker, arm, kind, i, open_keys) for i, arm in enumerate(names)]
    data["grippers"] = []
    for arm in data["arms"]:
        gripper = _gripper(asker, arm, len(names) > 1, len(data["grippers"]), open_keys)
        data["grippers"] += [gripper] if gripper else []
    data["cameras"] = [_camera(asker, camera) for camera in _list(asker, "cameras", "Names of its cameras", [])]
    data["rates"] = {
        "control": float(_number(asker, "control_hz", "Commands per second, Hz", 100.0)),
        "status": 10.0,
    }
    data["timeouts"] = {
        "joint_state": float(_number(asker, "state_timeout", "Silence of the joint state that is a fault, s", 0.2)),
        "gripper_state": 2.0, "policy": 1.0, "teleop": 0.5,
    }  # fmt: skip
    data["safe_action"] = "hold"
    data["silence"] = asker.ask(
        "silence", "What the robot does when commands stop: keeps_target or stops; empty if unknown"
    )
    if data["silence"] is None:
        open_keys["silence"] = OPEN
    data["max_tracking_error"] = float(
        _number(asker, "max_tracking_error", "Distance between command and joint that is a fault, rad", 0.25)
    )
    refused = asker.ask(
        "refused_beyond", "The robot refuses targets further than this from its joints, rad; empty: none"
    )
    data |= {"refused_beyond": float(refused)} if refused is not None else {}
    data["scale"] = float(_number(asker, "scale", "Part of its speed and acceleration to begin with", 0.2))
    data["position_margin"] = 0.01
    data["open"] = open_keys
    asker.done()
    return data


def write(data: Mapping[str, Any], path: Path) -> None:
    """Write a profile as YAML.

    Raises:
        ProfileError: if the file cannot be written.
    """
    text = yaml.safe_dump(dict(data), sort_keys=False, default_flow_style=None, width=118)
    try:
        path.write_text(f"# Check after editing: f1-ros robot check {path}\n{text}", encoding="utf-8")
    except OSError as error:
        raise ProfileError(f"{path} cannot be written ({error.strerror}).", remedy="Give --out.") from error


def _arm(asker: Asker, name: str, kind: str, index: int, open_keys: dict[str, str]) -> dict[str, Any]:
    joints = _list(asker, f"{name}.joints", f"Joints of '{name}', in the order of its messages", None)
    arm: dict[str, Any] = {"name": name, "joints": [{"name": joint} for joint in joints]}
    for limit in LIMITS:
        values = _list(asker, f"{name}.{limit}", f"{limit} of each, in rad and s; empty if unknown", [])
        if values and len(values) not in (1, len(joints)):
            raise ProfileError(
                f"{name}.{limit} has {len(values)} values for {len(joints)} joints.",
                remedy="Give one, or one for each.",
            )
        if not values:
            open_keys[f"arms[{index}].joints[*].{limit}"] = OPEN
        for i, joint in enumerate(arm["joints"]):
            joint |= {limit: float(values[i if len(values) > 1 else 0])} if values else {}
    state, command = ARMS[kind].state, ARMS[kind].command
    arm["state"] = {"topic": _text(asker, f"{name}.state", f"Topic of its state ({state})", None), "type": state}
    arm["command"] = {"topic": _text(asker, f"{name}.command", f"Topic of commands ({command})", None), "type": command}
    if command == TRAJECTORY:
        arm["command"]["rate_hz"] = float(_number(asker, f"{name}.trajectory_hz", "Trajectories per second, Hz", 10.0))
    if command == FLOAT_ARRAY:
        below = "What its commands drive: impedance or simulation (nothing else may)"
        arm["command"]["below"] = _text(asker, f"{name}.below", below, "impedance")
    return arm


def _gripper(
    asker: Asker, arm: Mapping[str, Any], several: bool, index: int, open_keys: dict[str, str]
) -> dict[str, Any] | None:
    key = arm["name"]
    in_arm = arm["command"]["type"] in (JOINT_CONTROL, ROBOT_STATUS, ROBOT_CMD)
    kind = _choice(asker, f"{key}.gripper", f"Gripper of '{key}'", GRIPPERS, "in_arm" if in_arm else "none")
    if kind == "none":
        return None
    chosen = GRIPPERS[kind]
    name = f"{key}_gripper" if several else "gripper"
    state: dict[str, Any] = {"topic": arm["state"]["topic"], "type": arm["state"]["type"]}
    command: dict[str, Any] = {"topic": arm["command"]["topic"], "type": arm["command"]["type"]}
    if kind != "in_arm":
        topic = _text(asker, f"{key}.gripper_state", f"Topic of its state ({chosen.state})", None)
        where = "Name of its action" if "/action/" in chosen.command else "Topic of its commands"
        target = _text(asker, f"{key}.gripper_command", f"{where} ({chosen.command})", None)
        state = {"topic": topic, "type": chosen.state}
        command = {"action" if "/action/" in chosen.command else "topic": target, "type": chosen.command}
    state["joints"] = _list(asker, f"{key}.gripper_joints", "Joints whose sum gives its opening", [f"{name}_joint"])
    if command["type"] == JOINT_STATE:
        command["joint"] = _text(asker, f"{key}.gripper_joint", "Its name in the command", state["joints"][0])
    for part, holder in (("state", state), ("command", command)):
        for end in ("closed", "open"):
            value = asker.ask(f"{key}.gripper_{part}_{end}", f"Value of its {part} when {end}; empty if unknown")
            if value is None:
                open_keys[f"grippers[{index}].{part}.{end}"] = OPEN
            else:
                holder[end] = float(value)
    width = float(_number(asker, f"{key}.gripper_width", "Opening width when open, m", None))
    on_change = {"hysteresis": width / 10.0, "min_interval_s": 0.3} if "action" in command else {}
    carried = {"arm": key} if several else {}
    return {"name": name, **carried, "closed": 0.0, "open": width, "state": state, "command": command, **on_change}


def _camera(asker: Asker, name: str) -> dict[str, Any]:
    topic = _text(asker, f"{name}.topic", f"Topic of camera '{name}'", None)
    size = _list(asker, f"{name}.size", "Width and height of its pictures, px", [640, 480])
    rate = float(_number(asker, f"{name}.rate_hz", "Its rate, Hz", 30.0))
    kind = COMPRESSED_IMAGE if topic.endswith("/compressed") else IMAGE
    return {"name": name, "topic": topic, "type": kind, "sizes": [size], "rate_hz": rate, "min_rate_hz": rate / 2.0}


def _text(asker: Asker, key: str, question: str, default: str | None) -> str:
    return str(_needed(asker.ask(key, question, default), key))


def _number(asker: Asker, key: str, question: str, default: float | None) -> float:
    value = _needed(asker.ask(key, question, default), key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProfileError(f"'{key}' is {value!r}, not a number.", remedy="Give a number.")
    return value


def _list(asker: Asker, key: str, question: str, default: list[Any] | None) -> list[Any]:
    value = _needed(asker.ask(key, question, default), key)
    return list(value) if isinstance(value, list) else [value]


def _choice(asker: Asker, key: str, question: str, known: Mapping[str, Kind], default: str) -> str:
    told = "; ".join(f"{name}: {kind.help}" for name, kind in known.items())
    value = _text(asker, key, f"{question} ({told})", default)
    if value not in known:
        raise ProfileError(f"'{key}' is '{value}'.", remedy=f"Choose from {', '.join(known)}.")
    return value


def _needed(value: Any, key: str) -> Any:
    if value is None:
        raise ProfileError(f"'{key}' has no answer.", remedy="Answer it: it cannot be left open.")
    return value
