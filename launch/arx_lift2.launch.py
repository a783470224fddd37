"""`ros2 launch f1_ros arx_lift2.launch.py sim:=true`: LIFT II, as `f1_ros.bringup` describes it."""

from launch import LaunchDescription

from f1_ros.launching import describe


def generate_launch_description() -> LaunchDescription:
    return describe("arx_lift2")
