"""Which transport speaks to a robot: it follows from the messages that the profile names."""

from __future__ import annotations

from f1_ros.robots.arx import ArxTransport
from f1_ros.robots.franka import FrankaTransport
from f1_ros.robots.genie import GenieTransport
from f1_ros.robots.parts import FRANKA_GRASP
from f1_ros.robots.profile import RobotProfile
from f1_ros.robots.ros import RosTransport
from f1_ros.robots.transport import Transport


def transport_for(profile: RobotProfile) -> Transport:
    """The transport that speaks a profile's messages.

    Raises:
        ProfileError: if a conversion of the profile is still open.
    """
    kinds: set[str] = {arm.command.type for arm in profile.arms} | {arm.state.type for arm in profile.arms}
    kinds |= {kind for g in profile.grippers for kind in (g.state.type, g.command.type)}
    packages = {kind.partition("/")[0] for kind in kinds}
    if packages & {"arm_control", "arx5_arm_msg"} or profile.arx is not None or profile.body is not None:
        return ArxTransport(profile)
    if profile.franka is not None or FRANKA_GRASP in kinds:
        return FrankaTransport(profile)
    if "genie_msgs" in packages:
        return GenieTransport(profile)
    return RosTransport(profile)
