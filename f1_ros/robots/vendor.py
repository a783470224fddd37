"""Where the packages of message types come from that a machine may lack."""

from __future__ import annotations

from collections.abc import Mapping

SOURCES: Mapping[str, str] = {
    "arm_control": "ARX's own, in its ROS 2 workspace (github.com/ARXroboticsX: ARX_X5, LIFT)",
    "arx5_arm_msg": "ARX's own, in its ROS 2 workspace (github.com/ARXroboticsX: ARX_X5, ROS2_AC-one_Play)",
    "genie_msgs": "AgiBot's own, with Genie-1's SDK",
    "franka_msgs": "part of franka_ros2 (github.com/frankarobotics/franka_ros2)",
    "controller_manager_msgs": "part of ros2_control (apt: ros-jazzy-controller-manager-msgs)",
    "control_msgs": "apt: ros-jazzy-control-msgs",
    "trajectory_msgs": "part of common_interfaces (apt: ros-jazzy-trajectory-msgs)",
}
"""Package -> where to get it."""


def missing_package(type_name: str) -> tuple[str, str]:
    """Problem and remedy of a message, service or action type whose package is not there.

    Args:
        type_name: such as `arm_control/msg/JointControl`.
    """
    package = type_name.partition("/")[0]
    source = SOURCES.get(package, "of ROS 2 or of the robot's vendor")
    return (
        f"{type_name} cannot be imported: the package {package} is not there.",
        f"Install it and source its workspace before the start; it is {source}. Without the robot, for its simulation "
        "alone, the part of it that f1_ros speaks will do: build test/interfaces of this repository with colcon.",
    )
