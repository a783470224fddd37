"""`ros2 launch f1_ros franka.launch.py sim:=true`: starts what `f1_ros.bringup` describes, and adds nothing to it."""

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

FRANKA = BRINGUPS["franka"]
Entities = list[LaunchDescriptionEntity]


def node(process: ProcessSpec) -> Node:
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
    def on_exit(event: ProcessExited, context: LaunchContext) -> Entities:
        if context.is_shutdown:
            return []
        notice = process.death_notice(event.returncode)
        again = process.restarted(event.returncode)
        if again is not None:
            return [LogInfo(msg=notice), TimerAction(period=RESTART_DELAY_S, actions=[node(again)])]
        return [LogInfo(msg=notice)] + ([Shutdown(reason=notice)] if process.on_exit is OnExit.END_SYSTEM else [])

    return on_exit


def nodes(context: LaunchContext) -> Entities:
    values = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in FRANKA.arguments}
    return [node(process) for process in FRANKA.build(values).processes]


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(argument.name, default_value=argument.default, description=argument.help)
        for argument in FRANKA.arguments
    ]
    variables = [SetEnvironmentVariable(name, value) for name, value in environment().items()]
    return LaunchDescription([*declared, *variables, OpaqueFunction(function=nodes)])
