"""`ros2 launch f1_ros genie1.launch.py sim:=true`: Genie-1, as `f1_ros.bringup` describes it."""

from launch import LaunchDescription

from f1_ros.launching import describe


def generate_launch_description() -> LaunchDescription:
    return describe("genie1")
