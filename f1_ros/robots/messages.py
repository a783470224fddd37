"""Messages that carry joints: how their fields are made of vectors, and read.

An `Encoder` makes the fields of one message type, a `Reader` reads those of one. `Slots` says what the message on one
topic carries: arm joints and streamed grippers, in order. ARX's own are in `arx.py`, AgiBot's in `genie.py`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from f1_ros.errors import ProfileError
from f1_ros.robots.parts import FLOAT_ARRAY, JOINT_STATE, TRAJECTORY, Gripper
from f1_ros.robots.transport import Array, Fields, Reading, Targets

NDIndex = np.ndarray[Any, np.dtype[np.intp]]

SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Conversion:
    """Between an opening width (m) and the robot's own value, linear between the ends that the profile gives."""

    closed: float
    open: float
    raw_closed: float
    raw_open: float

    @classmethod
    def of(cls, gripper: Gripper, part: str) -> Conversion:
        """The conversion of a gripper's `state` or `command`.

        Raises:
            ProfileError: if an end is still open.
        """
        holder = getattr(gripper, part)
        if holder.closed is None or holder.open is None:
            raise ProfileError(
                f"{part.capitalize()} of gripper '{gripper.name}' is still open.",
                remedy="Measure it at both ends of the stroke and write it into the profile.",
            )
        return cls(gripper.closed, gripper.open, holder.closed, holder.open)

    def to_raw(self, width: float) -> float:
        """The robot's value for a width, which is clipped to the stroke."""
        opened = (width - self.closed) / (self.open - self.closed)
        return self.raw_closed + min(max(opened, 0.0), 1.0) * (self.raw_open - self.raw_closed)

    def to_width(self, raw: float) -> float:
        """The width for a value of the robot's. Not clipped: one outside the stroke shows a wrong mapping."""
        part = (raw - self.raw_closed) / (self.raw_open - self.raw_closed)
        return self.closed + part * (self.open - self.closed)


@dataclass(frozen=True)
class StreamedGripper:
    """A gripper in a message: its name in f1_ros, its name in the message, and the conversion of its commands."""

    name: str
    joint: str
    conversion: Conversion


@dataclass(frozen=True, eq=False)
class Slots:
    """What the message on one topic carries.

    Attributes:
        names: names of all entries, in the message's order: joints, and grippers by their names in the message.
        rows: where in the message each of the joints is.
        columns: index of each of these joints in profile.joints.
        grippers: row and gripper.
    """

    names: tuple[str, ...]
    rows: NDIndex
    columns: NDIndex
    grippers: tuple[tuple[int, StreamedGripper], ...] = field(default=())

    def values(self, joints: Array, streamed: Mapping[str, float] | None) -> Array:
        """(entries,) values in the message's order; grippers in the robot's own unit, 0 without `streamed`."""
        out = np.zeros(len(self.names))
        out[self.rows] = joints[self.columns]
        if streamed is not None:
            for row, gripper in self.grippers:
                out[row] = gripper.conversion.to_raw(streamed[gripper.name])
        return out


Reader = Callable[[Sequence[str], Any], Reading]
"""Reads a state message, given what it carries, in its order, where it gives no names."""


class Encoder(Protocol):
    """Commands of one message type."""

    def encode(self, slots: Slots, targets: Targets) -> Fields:
        """The fields of a command."""
        ...

    def place(self, row: int, name: str) -> str:
        """Where an entry stands in a command, such as `position[3]`."""
        ...


class JointStateEncoder:
    """sensor_msgs/JointState: names, positions, velocities."""

    def encode(self, slots: Slots, targets: Targets) -> Fields:
        """Names, positions and, where there are arm joints, velocities."""
        fields: dict[str, Any] = {
            "name": slots.names,
            "position": array("d", slots.values(targets.position, targets.streamed).tobytes()),
        }
        if len(slots.rows):
            fields["velocity"] = array("d", slots.values(targets.velocity, None).tobytes())
        return fields

    def place(self, row: int, name: str) -> str:
        """The position of that name."""
        return f"position[{row}] ({name})"


class TrajectoryEncoder:
    """trajectory_msgs/JointTrajectory for joint_trajectory_controller: the remaining plan, from now on.

    Its stamp stays 0: it begins when it arrives, and replaces the one before. Positions alone would be interpolated
    linearly; with velocities it is cubic. The last velocity is 0, others are refused by Jazzy's controller.
    """

    def encode(self, slots: Slots, targets: Targets) -> Fields:
        """Joint names and points; at rest at the end."""
        assert targets.path is not None  # the node sends trajectories at their own rate
        points = []
        for i, (position, velocity) in enumerate(targets.path, start=1):
            last = i == len(targets.path)
            ns = round(i * targets.step_s * SECOND_NS)
            points.append(
                {
                    "positions": array("d", slots.values(position, targets.streamed).tobytes()),
                    "velocities": array("d", slots.values(0.0 * velocity if last else velocity, None).tobytes()),
                    "time_from_start": {"sec": ns // SECOND_NS, "nanosec": ns % SECOND_NS},
                }
            )
        return {"joint_names": slots.names, "points": points}

    def place(self, row: int, name: str) -> str:
        """The position of that name in each point."""
        return f"points[].positions[{row}] ({name})"


class FloatArrayEncoder:
    """std_msgs/Float64MultiArray for forward_command_controller: positions alone, in the controller's joint order."""

    def encode(self, slots: Slots, targets: Targets) -> Fields:
        """Positions."""
        return {"data": array("d", slots.values(targets.position, targets.streamed).tobytes())}

    def place(self, row: int, name: str) -> str:
        """The entry of that index."""
        return f"data[{row}]"


def read_joint_state(names: Sequence[str], message: Any) -> Reading:
    """What a JointState says, by its own names."""
    return Reading(message.name, message.position, message.velocity)


def read_joint_state_by_order(names: Sequence[str], message: Any) -> Reading:
    """What a JointState says whose names are not relied on."""
    return Reading(names, message.position, message.velocity if len(message.velocity) == len(names) else ())


ENCODERS: Mapping[str, Encoder] = {
    JOINT_STATE: JointStateEncoder(),
    TRAJECTORY: TrajectoryEncoder(),
    FLOAT_ARRAY: FloatArrayEncoder(),
}
READERS: Mapping[str, Reader] = {JOINT_STATE: read_joint_state}
