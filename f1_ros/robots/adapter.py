"""Between f1_ros's vectors and a robot's own messages, without ROS: the nodes copy these fields to and fro.

    adapter = adapter_for(profile)
    adapter.arm_commands(command.position, command.velocity)    fields of each arm's command message
    adapter.gripper_goal("gripper", 0.03)                       value for the gripper's action
    adapter.gripper_width("gripper", names, positions)          opening width from the gripper's state message
    adapter.state(arm_positions, widths)                        the state vector of observations

To add a robot whose messages differ, write a class with these methods beside `JointStateAdapter`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ObservationError, ProfileError
from f1_ros.robots.profile import Gripper, RobotProfile

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ArmCommand:
    """Fields of one arm's command message.

    Attributes:
        topic: where it goes.
        type: its message type.
        names: joint names.
        positions: rad, one for each name.
        velocities: rad/s, one for each name.
    """

    topic: str
    type: str
    names: tuple[str, ...]
    positions: tuple[float, ...]
    velocities: tuple[float, ...]


@dataclass(frozen=True)
class GripperGoal:
    """Fields of one gripper's goal: the action's name, its type, the position to send and the largest effort, N."""

    action: str
    type: str
    position: float
    max_effort: float


class RobotAdapter(Protocol):
    """What a node needs to talk to a robot. Pure: no method keeps anything between calls."""

    def arm_commands(self, position: Array, velocity: Array) -> tuple[ArmCommand, ...]:
        """One message for each arm; position and velocity are (joints,) rad, rad/s in the order of profile.joints."""
        ...

    def gripper_goal(self, name: str, width: float) -> GripperGoal:
        """The goal that opens a gripper to a width, m."""
        ...

    def gripper_width(self, name: str, names: Sequence[str], positions: Sequence[float]) -> float | None:
        """Opening width (m) from a state message; None if the message does not speak of that gripper."""
        ...

    def state(self, joints: Mapping[str, float], widths: Mapping[str, float]) -> Array:
        """The state vector in the order of profile.state_names: rad for joints, m for grippers."""
        ...


class JointStateAdapter:
    """A robot with JointState topics and GripperCommand actions: the Franka.

    Args:
        profile: the robot.

    Raises:
        ProfileError: if a gripper's conversion is still open.
    """

    def __init__(self, profile: RobotProfile) -> None:
        self._profile = profile
        self._grippers = {gripper.name: gripper for gripper in profile.grippers}
        for gripper in profile.grippers:
            for part, low, high in (
                ("state", gripper.state.closed, gripper.state.open),
                ("command", gripper.command.closed, gripper.command.open),
            ):
                if low is None or high is None:
                    raise ProfileError(
                        f"Profile '{profile.name}': {part} of gripper '{gripper.name}' is still open.",
                        remedy="Measure it at both ends of the stroke and write it into the profile.",
                    )

    def arm_commands(self, position: Array, velocity: Array) -> tuple[ArmCommand, ...]:
        """One message for each arm, its joints in the profile's order."""
        commands, first = [], 0
        for arm in self._profile.arms:
            last = first + len(arm.joints)
            commands.append(
                ArmCommand(
                    topic=arm.command.topic,
                    type=arm.command.type,
                    names=tuple(joint.name for joint in arm.joints),
                    positions=tuple(position[first:last].tolist()),
                    velocities=tuple(velocity[first:last].tolist()),
                )
            )
            first = last
        return tuple(commands)

    def gripper_goal(self, name: str, width: float) -> GripperGoal:
        """The goal for a width (m), which is clipped to the stroke: for Franka's hand half the width."""
        gripper = self._gripper(name)
        opened = (width - gripper.closed) / (gripper.open - gripper.closed)
        path = gripper.command
        assert path.closed is not None  # checked at construction
        assert path.open is not None
        return GripperGoal(
            action=path.action,
            type=path.type,
            position=path.closed + min(max(opened, 0.0), 1.0) * (path.open - path.closed),
            max_effort=path.max_effort,
        )

    def gripper_width(self, name: str, names: Sequence[str], positions: Sequence[float]) -> float | None:
        """Opening width, m: for Franka's hand the sum of both fingers.

        Not clipped: a reading outside the stroke is the robot's, and shows a wrong mapping.
        """
        gripper = self._gripper(name)
        values = dict(zip(names, positions, strict=False))
        if any(joint not in values for joint in gripper.state.joints):
            return None
        raw, closed, opened = sum(values[j] for j in gripper.state.joints), gripper.state.closed, gripper.state.open
        assert closed is not None  # checked at construction
        assert opened is not None
        return gripper.closed + (raw - closed) / (opened - closed) * (gripper.open - gripper.closed)

    def state(self, joints: Mapping[str, float], widths: Mapping[str, float]) -> Array:
        """The state vector.

        Raises:
            ObservationError: if a joint or gripper of the layout is not given.
        """
        given = {**joints, **widths}
        missing = [name for name in self._profile.state_names if name not in given]
        if missing:
            raise ObservationError(
                f"State of {', '.join(missing)} is not known.",
                remedy="Check the state topics of the profile: f1-ros robot check, ros2 topic echo.",
            )
        return np.array([given[name] for name in self._profile.state_names], dtype=np.float64)

    def _gripper(self, name: str) -> Gripper:
        if name not in self._grippers:
            raise ProfileError(
                f"Profile '{self._profile.name}' has no gripper '{name}'.",
                remedy=f"Choose from {', '.join(self._grippers) or 'none'}.",
            )
        return self._grippers[name]


def adapter_for(profile: RobotProfile) -> RobotAdapter:
    """The adapter that speaks a profile's message types.

    Raises:
        ProfileError: if a conversion of the profile is still open.
    """
    return JointStateAdapter(profile)
