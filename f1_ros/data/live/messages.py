"""What a recorder takes: the fields of the robot's messages, and when they came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from f1_ros.control.arbiter import Mode
from f1_ros.observe.frames import Frame


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """A camera's frame; `received_ns` on the ROS clock."""

    camera: str
    frame: Frame
    received_ns: int


@dataclass(frozen=True, eq=False)
class JointSample:
    """A message with measured joints (rad, m, or a gripper's own unit)."""

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
        modes: the last modes of its commands, and the stamp of the first command of each (ns), the newest last.
        period_ns: control period, ns.
        widths: commanded opening width of each gripper (m; NaN before the first) and when it was commanded, ns.
    """

    modes: tuple[tuple[Mode, int], ...]
    period_ns: int
    widths: Mapping[str, tuple[float, int]]


Message = CameraFrame | JointSample | CommandSample | ControlSample
