"""A bring-up for `ros2 launch`: starts what `f1_ros.bringup` describes, and adds nothing to it.

Imported by the files in `launch/` alone: no wheel has the `launch` packages.
"""

from __future__ import annotations

from collections.abc import Callable

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
    TimerAction,
)
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from f1_ros.bringup import BRINGUPS
from f1_ros.processes import RESTART_DELAY_S, OnExit, ProcessSpec, environment

Entities = list[LaunchDescriptionEntity]


def node(process: ProcessSpec) -> Node:
    """A process as launch starts it."""
    return Node(
        package="f1_ros",
        executable=process.executable,
        output="screen",
        # Without its type, launch would read a text such as "1" or "yes" as a number or a bool.
        parameters=[
            {name: ParameterValue(value, value_type=type(value)) for name, value in process.parameters.items()}
        ],
        remappings=list(process.remappings),
        on_exit=died(process),
        sigterm_timeout="1.5",  # everything has ended 3 s after Ctrl-C, as under `f1-ros up`
        sigkill_timeout="1.0",
    )


def died(process: ProcessSpec) -> Callable[[ProcessExited, LaunchContext], Entities]:
    """What follows the end of a process."""

    def on_exit(event: ProcessExited, context: LaunchContext) -> Entities:
        if context.is_shutdown:
            return []
        notice = process.death_notice(event.returncode)
        again = process.restarted(event.returncode)
        if again is not None:
            return [LogInfo(msg=notice), TimerAction(period=RESTART_DELAY_S, actions=[node(again)])]
        return [LogInfo(msg=notice)] + ([Shutdown(reason=notice)] if process.on_exit is OnExit.END_SYSTEM else [])

    return on_exit


def describe(robot: str) -> LaunchDescription:
    """The launch description of a robot's bring-up.

    Args:
        robot: its name in `BRINGUPS`.
    """
    bringup = BRINGUPS[robot]

    def nodes(context: LaunchContext) -> Entities:
        values = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in bringup.arguments}
        return [node(process) for process in bringup.build(values).processes]

    declared = [
        DeclareLaunchArgument(argument.name, default_value=argument.default, description=argument.help)
        for argument in bringup.arguments
    ]
    variables = [SetEnvironmentVariable(name, value) for name, value in environment().items()]
    return LaunchDescription([*declared, *variables, OpaqueFunction(function=nodes)])
