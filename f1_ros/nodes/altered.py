"""Messages altered on purpose: what `f1_ros.faults.alterations` names, done to real messages."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Time

from f1_ros.nodes.conversions import SECOND_NS, to_duration, to_ns, to_time

UNKNOWN_ENCODING = "rgb16"
"""A name that sensor_msgs has, and that no node here converts."""
FAR_RAD = 10.0
OTHER_ROBOT = "another_robot"


def noisy(msg: Any, count: int) -> Any:
    """Change the last bits of one value: a real sensor never gives the same frame twice, a simulated one may."""
    if msg.data:
        msg.data[-1] = msg.data[-1] & 0xFC | count & 3
    return msg


def shifted(msg: Any, seconds: float) -> Any:
    """All stamps of a message, `seconds` later."""
    stamps: list[tuple[Any, str]] = [(msg, "clock")] if hasattr(msg, "clock") else [(msg.header, "stamp")]
    if hasattr(msg, "trajectory"):
        stamps.append((msg.trajectory.header, "stamp"))
    for owner, field in stamps:
        setattr(owner, field, _later(getattr(owner, field), seconds))
    return msg


def restamped(msg: Any, like: Any) -> Any:
    """A message with another's stamp."""
    msg.header.stamp = like.header.stamp
    return msg


def _later(stamp: Time, seconds: float) -> Time:
    return to_time(max(0, to_ns(stamp) + round(seconds * SECOND_NS)))


def _black(msg: Any) -> Any:
    msg.data = array("B", bytes(len(msg.data)))
    return msg


def _half_size(msg: Any) -> Any:
    msg.width, msg.height = msg.width // 2, msg.height // 2
    msg.step //= 2
    msg.data = msg.data[: msg.step * msg.height]
    return msg


def _unknown_encoding(msg: Any) -> Any:
    msg.encoding = UNKNOWN_ENCODING
    return msg


def _truncated(msg: Any) -> Any:
    msg.data = msg.data[: len(msg.data) // 2]
    return msg


def _nan_joint(msg: Any) -> Any:
    msg.position[0] = float("nan")
    return msg


def _foreign_joints(msg: Any) -> Any:
    msg.name = [f"other_{name}" for name in msg.name]
    return msg


def _nan_step(msg: Any) -> Any:
    msg.trajectory.points[-1].positions[0] = float("nan")
    return msg


def _no_steps(msg: Any) -> Any:
    msg.trajectory.points = []
    return msg


def _ragged(msg: Any) -> Any:
    msg.trajectory.points[-1].positions = msg.trajectory.points[-1].positions[:-1]
    return msg


def _far(msg: Any) -> Any:
    for point in msg.trajectory.points:
        point.positions[0] += FAR_RAD
    return msg


def _of_another_robot(msg: Any) -> Any:
    msg.header.frame_id = OTHER_ROBOT
    return msg


def _other_period(msg: Any) -> Any:
    step_ns = 2 * to_ns(msg.step_period)
    msg.step_period = to_duration(step_ns)
    for i, point in enumerate(msg.trajectory.points):
        point.time_from_start = to_duration(i * step_ns)
    return msg


STATELESS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("camera", "black"): _black,
    ("camera", "size"): _half_size,
    ("camera", "encoding"): _unknown_encoding,
    ("camera", "truncate"): _truncated,
    ("joints", "nan"): _nan_joint,
    ("joints", "foreign"): _foreign_joints,
    ("chunk", "nan"): _nan_step,
    ("chunk", "empty"): _no_steps,
    ("chunk", "ragged"): _ragged,
    ("chunk", "far"): _far,
    ("chunk", "foreign"): _of_another_robot,
    ("chunk", "period"): _other_period,
}
"""Alterations that look at one message alone, by the link's kind and their name."""
