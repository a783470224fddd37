"""`ros2 launch f1_ros franka.launch.py sim:=true`: the Franka, as `f1_ros.bringup` describes it."""

from launch import LaunchDescription

from f1_ros.launching import describe


def generate_launch_description() -> LaunchDescription:
    return describe("franka")
