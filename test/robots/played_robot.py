"""A robot that is played: it takes what a profile's transport sends as the real one would, and answers in its messages.

What it is follows from its own packaged profile; what it is taken for, from the profile that is tried. Nothing here is
ROS: messages are the transports' own fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

from f1_ros.robots.choose import transport_for
from f1_ros.robots.conformance import STEP_RAD, GripperTrial, JointTrial, Snapshot
from f1_ros.robots.files import profile_path, read_profile
from f1_ros.robots.messages import Conversion
from f1_ros.robots.parts import END_STATE, JOINT_STATE, ROBOT_STATUS, Gripper
from f1_ros.robots.profile import RobotProfile
from f1_ros.robots.transport import Targets

Change = Callable[[dict[str, Any]], object]


def planted(folder: Path, name: str, change: Change | None = None) -> Path:
    """A copy of a packaged profile, with a mistake in it, beside its simulation's values."""
    source = profile_path(name)
    data = yaml.safe_load(source.read_text())
    if change is not None:
        change(data)
    overlay = source.parent / "sim" / source.name
    if overlay.is_file():
        (folder / "sim").mkdir(exist_ok=True)
        (folder / "sim" / source.name).write_text(overlay.read_text())
    copy = folder / source.name
    copy.write_text(yaml.safe_dump(data, sort_keys=False))
    return copy


class PlayedRobot:
    """Goes at once where it is told, within its own limits."""

    def __init__(self, tried: RobotProfile, name: str, *, state_factor: float = 1.0) -> None:
        self.tried, self.own = tried, read_profile(profile_path(name), simulated=True)
        self._transport, self._state_factor = transport_for(tried), state_factor
        limits = self.own.limits
        span = zip(self.own.joints, limits.lower, limits.upper, strict=True)
        # Each joint somewhere else, so that none can be taken for another.
        self.joints = {n: lo + (0.3 + 0.4 * i / 14) * (hi - lo) for i, (n, lo, hi) in enumerate(span)}
        self.widths = {g.name: 0.3 * g.open for g in self.own.grippers}

    # -- as the tried profile sees it ---------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Truth, and what the tried profile's transport reads in the robot's messages."""
        measured: dict[str, float] = {}
        for source in self._transport.incoming:
            message = self._state_message(source.topic, source.type)
            if message is None:
                continue
            reading = self._transport.read(source.topic, message)
            if source.joints and len(reading.names) == len(reading.positions):
                pairs = zip(reading.names, reading.positions, strict=True)
                measured |= {n: float(v) for n, v in pairs if n in self.tried.joints}
            measured |= self._transport.streamed(source.topic, reading)
        return Snapshot(measured, {**self.joints, **self.widths})

    def command(self, joints: Mapping[str, float], widths: Mapping[str, float]) -> None:
        """Send a tick of the tried profile's commands."""
        position = np.array([joints[name] for name in self.tried.joints])
        streamed = {g.name: widths[g.name] for g in self.tried.grippers if g.command.streamed}
        for message in self._transport.command_messages(Targets(position, np.zeros_like(position), streamed)):
            self._take(message.topic, message.fields)
        for gripper in self.tried.grippers:
            if not gripper.command.streamed:
                goal = self._transport.gripper_goal(gripper.name, widths[gripper.name])
                self._take_goal(goal.action, goal.fields)

    def joint_trial(self, joint: str) -> JointTrial:
        """Move one joint, by name, as the tried profile has it."""
        before = self.snapshot()
        joints = {name: before.measured[name] for name in self.tried.joints}
        widths = {g.name: before.measured.get(g.name, g.open) for g in self.tried.grippers}
        self.command({**joints, joint: joints[joint] + STEP_RAD}, widths)
        after = self.snapshot()
        self.command(joints, widths)
        return JointTrial(joint, STEP_RAD, before, after)

    def gripper_trial(self, gripper: Gripper) -> GripperTrial:
        """Tell a gripper three widths."""
        now = self.snapshot().measured
        joints = {name: now[name] for name in self.tried.joints}
        widths = {g.name: g.open for g in self.tried.grippers}
        asked = (gripper.closed, (gripper.closed + gripper.open) / 2.0, gripper.open)
        reached = []
        for width in asked:
            self.command(joints, {**widths, gripper.name: width})
            reached.append(self.snapshot())
        return GripperTrial(gripper.name, asked, (reached[0], reached[1], reached[2]))

    # -- as the robot is ----------------------------------------------------------------------------------------------

    def _state_message(self, topic: str, kind: str) -> Any:
        arms = [arm for arm in self.own.arms if arm.state.topic == topic]
        grippers = [g for g in self.own.grippers if g.state.topic == topic]
        if not any(part.state.type == kind for part in (*arms, *grippers)):
            return None  # another type never arrives
        names = [joint.name for arm in arms for joint in arm.joints]
        values = [self._state_factor * self.joints[name] for name in names]
        for gripper in grippers:
            raw = Conversion.of(gripper, "state").to_raw(self.widths[gripper.name])
            names += gripper.state.joints
            values += [raw / len(gripper.state.joints)] * len(gripper.state.joints)
        if kind == JOINT_STATE:
            return SimpleNamespace(name=names, position=values, velocity=[0.0] * len(values))
        if kind == ROBOT_STATUS:
            return SimpleNamespace(joint_pos=values, joint_vel=[0.0] * len(values))
        assert kind == END_STATE
        return SimpleNamespace(end_state=[SimpleNamespace(position=value) for value in values])

    def _take(self, topic: str, fields: Mapping[str, Any]) -> None:
        values = list(fields.get("joint_pos", fields.get("position", ())))
        limits = self.own.limits
        for arm in (arm for arm in self.own.arms if arm.command.topic == topic):
            by_name = dict(zip(fields.get("name", ()), values, strict=False)) if arm.state.named else {}
            for joint in arm.joints:
                i = self.own.joints.index(joint.name)
                value = by_name[joint.name] if by_name else values.pop(0)
                self.joints[joint.name] = float(np.clip(value, limits.lower[i], limits.upper[i]))
        named = dict(zip(fields.get("name", ()), fields.get("position", ()), strict=False))
        for gripper in (g for g in self.own.grippers if g.command.streamed and g.command.topic == topic):
            self._open(gripper, float(named.get(gripper.command.joint, values[0])))

    def _take_goal(self, action: str, fields: Mapping[str, Any]) -> None:
        for gripper in self.own.grippers:
            if action in transport_for(self.own).gripper_actions[gripper.name]:
                self._open(gripper, float(fields["width"] if "width" in fields else fields["command"]["position"]))

    def _open(self, gripper: Gripper, raw: float) -> None:
        width = Conversion.of(gripper, "command").to_width(raw)
        self.widths[gripper.name] = float(np.clip(width, gripper.closed, gripper.open))
