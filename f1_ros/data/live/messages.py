"""What a recorder takes: the fields of the robot's messages, and when they came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from f1_ros.observe.frames import Frame


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """A camera's frame; `received_ns` on the ROS clock."""

    camera: str
    frame: Frame
    received_ns: int


@dataclass(frozen=True, eq=False)
class JointSample:
    """A sensor_msgs/JointState with measured joints (rad, m)."""

    topic: str
    names: Sequence[str]
    positions: Sequence[float]
    received_ns: int


@dataclass(frozen=True, eq=False)
class CommandSample:
    """A sensor_msgs/JointState with an arm's target for the end of the control period, rad."""

    topic: str
    names: Sequence[str]
    positions: Sequence[float]


@dataclass(frozen=True)
class ControlSample:
    """What the control process says about itself (f1_msgs/ControlStatus).

    Attributes:
        mode: the mode in force, as its number there.
        mode_ns: when it came into force, ns.
        source: what the last command came from.
        period_ns: control period, ns.
        widths: commanded opening width of each gripper (m; NaN before the first) and when it was commanded, ns.
    """

    mode: int
    mode_ns: int
    source: str
    period_ns: int
    widths: Mapping[str, tuple[float, int]]


Message = CameraFrame | JointSample | CommandSample | ControlSample
