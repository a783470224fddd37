"""AgiBot Genie-1: grippers that say their state in genie_msgs/EndState. All else is JointState.

Sources: three agreeing client programs; genie_sim. The robot refuses targets that are further than 0.2618 rad from its
measured joints: the limiter holds commands back before (`RobotProfile.refused_beyond`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from f1_ros.robots.messages import READERS, Reader
from f1_ros.robots.parts import END_STATE
from f1_ros.robots.ros import RosTransport
from f1_ros.robots.transport import Reading


def read_end_state(names: Sequence[str], message: Any) -> Reading:
    """Positions of the motors of one gripper, in its own unit."""
    return Reading(names, [motor.position for motor in message.end_state])


class GenieTransport(RosTransport):
    """A `Transport` for Genie-1 and for its simulator."""

    readers: Mapping[str, Reader] = {**READERS, END_STATE: read_end_state}
