"""The transport of robots that speak messages and actions of ROS 2 itself; others build on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from f1_ros.errors import ProfileError
from f1_ros.robots.messages import (
    ENCODERS,
    READERS,
    Conversion,
    Encoder,
    Reader,
    Slots,
    StreamedGripper,
    read_joint_state_by_order,
)
from f1_ros.robots.parts import GRIPPER_COMMAND, JOINT_STATE, TRAJECTORY, Gripper
from f1_ros.robots.profile import JOINT_COMMAND, RobotProfile
from f1_ros.robots.transport import (
    Extra,
    GripperGoal,
    Incoming,
    Message,
    Outgoing,
    Reading,
    RobotRequest,
    Stream,
    Targets,
)


class RosTransport:
    """A `Transport` with JointState, JointTrajectory or arrays for arms, and GripperCommand for grippers.

    Args:
        profile: the robot.

    Raises:
        ProfileError: if a gripper's conversion is still open.
    """

    encoders: Mapping[str, Encoder] = ENCODERS
    readers: Mapping[str, Reader] = READERS

    def __init__(self, profile: RobotProfile) -> None:
        self.profile = profile
        self._grippers = {gripper.name: gripper for gripper in profile.grippers}
        self._to_raw = {gripper.name: Conversion.of(gripper, "command") for gripper in profile.grippers}
        self._to_width = {gripper.name: Conversion.of(gripper, "state") for gripper in profile.grippers}
        self._outgoing = self._find_outgoing()
        self._slots = self._find_slots()
        self._kinds = {out.topic: out.type for out in self._outgoing}
        self._incoming = self._find_incoming()
        self._reading = {source.topic: self._reader(source) for source in self._incoming}

    # -- what there is ------------------------------------------------------------------------------------------------

    @property
    def incoming(self) -> tuple[Incoming, ...]:
        """See `Transport`."""
        return self._incoming

    @property
    def outgoing(self) -> tuple[Outgoing, ...]:
        """See `Transport`."""
        return self._outgoing

    @property
    def streams(self) -> tuple[Stream, ...]:
        """See `Transport`."""
        return tuple(Stream(g.name, g.command.speed) for g in self.profile.grippers if g.command.streamed)

    @property
    def gripper_actions(self) -> dict[str, dict[str, str]]:
        """See `Transport`."""
        return {g.name: self._actions_of(g) for g in self.profile.grippers if not g.command.streamed}

    @property
    def trajectory_hz(self) -> float:
        """See `Transport`."""
        return max((arm.command.rate_hz for arm in self.profile.arms if arm.command.type == TRAJECTORY), default=0.0)

    @property
    def types(self) -> tuple[str, ...]:
        """See `Transport`."""
        requests = [*self.enable(), *self.recover(), *(r for extra in self.extras() for r in extra.requests)]
        used = [
            *(source.type for source in self.incoming),
            *(out.type for out in self.outgoing),
            *(kind for actions in self.gripper_actions.values() for kind in actions.values()),
            *([self.status_topic[1]] if self.status_topic else []),
            *(request.type for request in requests),
        ]
        return tuple(dict.fromkeys(used))

    @property
    def status_topic(self) -> tuple[str, str] | None:
        """See `Transport`."""
        return None

    # -- what comes in ------------------------------------------------------------------------------------------------

    def read(self, topic: str, message: Any) -> Reading:
        """See `Transport`."""
        return self._reading[topic](message)

    def streamed(self, topic: str, reading: Reading) -> dict[str, float]:
        """See `Transport`. A gripper's reading is the sum of its joints: for Franka's hand of both fingers."""
        if len(reading.names) != len(reading.positions):
            return {}
        values: dict[str, float] | None = None
        found = {}
        for gripper in self.profile.grippers:
            if gripper.state.topic != topic:
                continue
            values = dict(zip(reading.names, reading.positions, strict=True)) if values is None else values
            if all(joint in values for joint in gripper.state.joints):
                raw = sum(values[joint] for joint in gripper.state.joints)
                found[gripper.name] = self._to_width[gripper.name].to_width(raw)
        return found

    # -- what goes out ------------------------------------------------------------------------------------------------

    def command_messages(self, targets: Targets) -> tuple[Message, ...]:
        """See `Transport`."""
        return tuple(
            Message(topic, self.encoders[self._kinds[topic]].encode(slots, targets))
            for topic, slots in self._slots.items()
            if (self._kinds[topic] == TRAJECTORY) == (targets.path is not None)
        )

    def gripper_goal(self, name: str, width: float, before: float | None = None) -> GripperGoal:
        """See `Transport`. For Franka's hand the position is half the width."""
        gripper = self.gripper(name)
        fields = {"position": self._to_raw[name].to_raw(width), "max_effort": gripper.command.max_effort}
        return GripperGoal(gripper.command.action, GRIPPER_COMMAND, {"command": fields})

    # -- what people ask for ------------------------------------------------------------------------------------------

    def trouble(self, message: Any) -> str:
        """See `Transport`."""
        return ""

    def enable(self) -> tuple[RobotRequest, ...]:
        """See `Transport`."""
        return ()

    def recover(self) -> tuple[RobotRequest, ...]:
        """See `Transport`."""
        return ()

    def extras(self) -> tuple[Extra, ...]:
        """See `Transport`."""
        return ()

    def describe(self, name: str) -> str:
        """See `Transport`."""
        gripper = self._grippers.get(name)
        if gripper is not None and not gripper.command.streamed:
            return self._describe_goal(gripper)
        for topic, slots in self._slots.items():
            kind = self._kinds[topic]
            for row, streamed in slots.grippers:
                if streamed.name == name:
                    to_raw = streamed.conversion
                    where = self.encoders[kind].place(row, streamed.joint)
                    return f"{topic} {where}, {to_raw.raw_closed:g} closed to {to_raw.raw_open:g} open, streamed"
            for row, column in zip(slots.rows, slots.columns, strict=True):
                if self.profile.joints[column] == name:
                    return f"{topic} {self.encoders[kind].place(int(row), slots.names[row])}"
        raise ProfileError(f"Profile '{self.profile.name}' sends no '{name}'.", remedy="See its 'action_names'.")

    def _describe_goal(self, gripper: Gripper) -> str:
        to_raw = self._to_raw[gripper.name]
        ends = f"{to_raw.raw_closed:g} closed to {to_raw.raw_open:g} open, on change"
        return f"{gripper.command.action} command.position, {ends}"

    # -- construction -------------------------------------------------------------------------------------------------

    def gripper(self, name: str) -> Gripper:
        """The gripper of that name.

        Raises:
            ProfileError: if there is none.
        """
        if name not in self._grippers:
            raise ProfileError(
                f"Profile '{self.profile.name}' has no gripper '{name}'.",
                remedy=f"Choose from {', '.join(self._grippers) or 'none'}.",
            )
        return self._grippers[name]

    def _actions_of(self, gripper: Gripper) -> dict[str, str]:
        return {gripper.command.action: gripper.command.type}

    def _find_outgoing(self) -> tuple[Outgoing, ...]:
        topics: dict[str, Outgoing] = {}
        for arm in self.profile.arms:
            topics.setdefault(arm.command.topic, Outgoing(arm.command.topic, arm.command.type, arm.command.latched))
        for gripper in self.profile.grippers:
            if gripper.command.streamed:
                topics.setdefault(gripper.command.topic, Outgoing(gripper.command.topic, gripper.command.type))
        if JOINT_COMMAND in self.profile.command_topics:
            topics[JOINT_COMMAND] = Outgoing(JOINT_COMMAND, JOINT_STATE)
        return tuple(topics.values())

    def _find_incoming(self) -> tuple[Incoming, ...]:
        topics: dict[str, Incoming] = {}
        for arm in self.profile.arms:
            topics.setdefault(arm.state.topic, Incoming(arm.state.topic, arm.state.type, joints=True))
        for gripper in self.profile.grippers:
            topics.setdefault(gripper.state.topic, Incoming(gripper.state.topic, gripper.state.type, joints=False))
        return tuple(topics.values())

    def _reader(self, source: Incoming) -> Callable[[Any], Reading]:
        arms = [arm for arm in self.profile.arms if arm.state.topic == source.topic]
        names = [joint.name for arm in arms for joint in arm.joints]
        names += [j for g in self.profile.grippers if g.state.topic == source.topic for j in g.state.joints]
        by_order = source.type == JOINT_STATE and any(not arm.state.named for arm in arms)
        return partial(read_joint_state_by_order if by_order else self.readers[source.type], tuple(names))

    def _find_slots(self) -> dict[str, Slots]:
        return {out.topic: self._slots_of(out.topic) for out in self._outgoing}

    def _slots_of(self, topic: str) -> Slots:
        """Arm after arm, the joints and then the grippers of each; grippers of arms elsewhere last."""
        names: list[str] = []
        rows: list[int] = []
        columns: list[int] = []
        grippers: list[tuple[int, StreamedGripper]] = []
        rest = [g for g in self.profile.grippers if g.command.streamed and g.command.topic == topic]

        def take(carried: Iterable[Gripper]) -> None:
            for gripper in carried:
                joint = gripper.command.joint or gripper.name
                grippers.append((len(names), StreamedGripper(gripper.name, joint, self._to_raw[gripper.name])))
                names.append(joint)
                rest.remove(gripper)

        first = 0
        for arm in self.profile.arms:
            if topic in (arm.command.topic, JOINT_COMMAND):
                rows += range(len(names), len(names) + len(arm.joints))
                columns += range(first, first + len(arm.joints))
                names += [joint.name for joint in arm.joints]
                take([g for g in rest if g.arm in ("", arm.name)])
            first += len(arm.joints)
        take(list(rest))
        return Slots(tuple(names), np.array(rows, dtype=np.intp), np.array(columns, dtype=np.intp), tuple(grippers))
