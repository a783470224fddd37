"""What a running system consists of: which nodes, with which parameters, in which process, and what a death means.

This is the one description of a bring-up. Two things read it and add nothing of their own:

    launch/ROBOT.launch.py        through `f1_ros.launching`, on a machine with a whole ROS 2 (`ros2 launch f1_ros ...`)
    f1-ros up ROBOT               through `f1_ros.supervisor`, on a machine that has the wheels alone

Data walks sim (or the robot's own drivers) -> observation -> policy -> action -> the robot's command topic. Each of
them is a process of its own, so that neither images nor inference can make a command late.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from f1_ros.bringup_options import DEVICES, Argument, ArxLift2Options, FrankaOptions, Genie1Options, RobotOptions
from f1_ros.engine.config import everywhere
from f1_ros.processes import RESTARTS, BringUp, OnExit, Parameter, ProcessSpec
from f1_ros.robots.profile import RobotProfile, load_profile
from f1_ros.sim.twins.rounds import GIVE_UP_S


def franka(options: FrankaOptions) -> BringUp:
    """The Franka at the belt: simulated or real, with or without a policy."""
    simulator = ProcessSpec(
        name="sim_node",
        executable="sim_node",
        on_exit=OnExit.END_SYSTEM,
        role="simulated robot, belt and cameras",
        parameters={"profile": options.profile, "belt_speed": options.belt_speed, **_simulation(options)},
    )
    person = []
    if options.teleop in DEVICES:
        person.append(_device(options))
    elif options.teleop:
        person.append(
            ProcessSpec(
                name="expert_node",
                executable="expert_node",
                on_exit=OnExit.KEEP_OTHERS,
                role="scripted teleoperator",
                parameters={"profile": options.profile},  # it goes by the stamps of what it hears
                restarts=RESTARTS,
            )
        )
    return _system("franka", options, simulator, person)


def genie1(options: Genie1Options) -> BringUp:
    """Genie-1 at its table: simulated or real, with or without a policy.

    Raises:
        ProfileError: with `sim`, if the profile cannot be used.
    """
    parameters: dict[str, Parameter] = {"config": "genie1"}
    if options.sim:
        profile = load_profile(options.profile, simulated=True)
        of_simulator = profile.arms[0].command.topic.startswith("/sim/")
        parameters |= {"variant": "simulator" if of_simulator else "robot", **_gripper_unit(profile)}
    return _system("genie1", options, _twin(options, parameters))


def arx_lift2(options: ArxLift2Options) -> BringUp:
    """LIFT II at its belt: simulated or real, with or without a policy.

    Raises:
        ProfileError: with `sim`, if the profile cannot be used.
    """
    parameters: dict[str, Parameter] = {"config": "arx_lift2"}
    if options.sim:
        profile = load_profile(options.profile, simulated=True)
        follows_status = profile.arms[0].command.type == "arx5_arm_msg/msg/RobotStatus"
        parameters["variant"] = "ac_one" if follows_status else "x5"
    return _system("arx_lift2", options, _twin(options, parameters))


def _system(name: str, options: RobotOptions, simulator: ProcessSpec, person: Sequence[ProcessSpec] = ()) -> BringUp:
    clock: dict[str, Parameter] = {"use_sim_time": options.sim or options.use_sim_time}
    action = ProcessSpec(
        name="action_node",
        executable="action_node",
        on_exit=OnExit.END_SYSTEM,
        role="commands to the robot",
        parameters={
            **clock,
            "profile": options.profile,
            "initial_mode": options.mode,
            **({"control_rate": options.control_rate} if options.control_rate else {}),
        },
        restarts=RESTARTS,
        restart_parameters={"initial_mode": "hold"},  # after a death the arm moves by request only
    )
    policy_dir = options.policy_dir
    return BringUp(
        name,
        (
            *([simulator] if options.sim else []),
            action,
            *(_perception(options, policy_dir, clock) if policy_dir is not None else []),
            *person,
            *([_recorder(options, clock)] if options.record else []),
        ),
    )


def _simulation(options: RobotOptions) -> dict[str, Parameter]:
    return {
        "seed": options.seed,
        "real_time_factor": options.real_time_factor,
        "renderer": options.renderer,
        "view": options.view,
    }


def _twin(options: RobotOptions, parameters: Mapping[str, Parameter]) -> ProcessSpec:
    # A policy that has pushed the thing to where it does not reach it would stand before it for ever.
    patience = {"give_up_after": GIVE_UP_S} if options.policy_dir is not None else {}
    return ProcessSpec(
        name="twin_node",
        executable="twin_node",
        on_exit=OnExit.END_SYSTEM,
        role="simulated robot, its task and cameras",
        parameters={**parameters, **_simulation(options), **patience},
    )


def _gripper_unit(profile: RobotProfile) -> dict[str, Parameter]:
    """The unit of Genie-1's grippers is open: the twin's speak what the profile takes it for."""
    state, command = profile.grippers[0].state, profile.grippers[0].command
    assert state.closed is not None  # a profile is loaded without open values
    assert state.open is not None
    assert command.closed is not None
    assert command.open is not None
    return {
        "gripper_closed": state.closed,
        "gripper_open": state.open,
        "gripper_command_closed": command.closed,
        "gripper_command_open": command.open,
    }


def _device(options: FrankaOptions) -> ProcessSpec:
    parameters: dict[str, Parameter] = {"profile": options.profile, "device": options.teleop}
    if options.teleop == "keyboard":
        # The processes of a system lead groups of their own: none of them has the terminal.
        parameters["terminal"] = os.ttyname(sys.stdin.fileno()) if sys.stdin is not None and sys.stdin.isatty() else ""
    return ProcessSpec(
        name="teleop_node",
        executable="teleop_node",
        on_exit=OnExit.KEEP_OTHERS,
        role=f"teleoperation by {options.teleop}",
        parameters=parameters,  # it goes by the stamps of what it hears
    )


def _recorder(options: RobotOptions, clock: dict[str, Parameter]) -> ProcessSpec:
    return ProcessSpec(
        name="recorder_node",
        executable="recorder_node",
        on_exit=OnExit.KEEP_OTHERS,
        role="episodes into a dataset",
        parameters={
            **clock,
            "profile": options.profile,
            "dataset": str(Path(options.record).expanduser().absolute()),
            "policy": str(options.policy_dir or ""),
            "cameras": options.cameras,
            "instruction": options.instruction,
        },
        restarts=RESTARTS,
    )


def _perception(options: RobotOptions, policy_dir: Path, clock: dict[str, Parameter]) -> list[ProcessSpec]:
    """Cameras to observations to action chunks: two processes, or one."""
    common = {**clock, "policy": str(policy_dir)}
    observation: dict[str, Parameter] = {"profile": options.profile, "cameras": options.cameras}
    policy: dict[str, Parameter] = {
        "engine": everywhere(options.engine),
        "allow_unchecked_engine": options.allow_unchecked_engine,
        "seed": options.seed,
        "instruction": options.instruction,
    }
    if options.policy_rate:
        policy["max_rate"] = options.policy_rate
    parts: list[tuple[str, str, dict[str, Parameter]]] = [
        ("observation_node", "cameras and joint state to observations", observation),
        ("policy_node", "observations to action chunks", policy),
    ]
    if options.one_process:
        parts = [("perception_node", "cameras and joint state to action chunks", {**observation, **policy})]
    return [
        ProcessSpec(name, name, OnExit.KEEP_OTHERS, role, {**common, **parameters}, restarts=RESTARTS)
        for name, role, parameters in parts
    ]


@dataclass(frozen=True)
class Description:
    """A bring-up by name: its arguments, and how to build it from their texts."""

    help: str
    arguments: tuple[Argument, ...]
    build: Callable[[Mapping[str, str]], BringUp]


BRINGUPS: Mapping[str, Description] = {
    "franka": Description(
        help="a Franka FR3 with hand: the real one, or the simulated one at its belt (--sim)",
        arguments=FrankaOptions.arguments(),
        build=lambda values: franka(FrankaOptions.parse(values)),
    ),
    "genie1": Description(
        help="an AgiBot Genie-1, both arms: the real one, or the simulated one at its table (--sim)",
        arguments=Genie1Options.arguments(),
        build=lambda values: genie1(Genie1Options.parse(values)),
    ),
    "arx_lift2": Description(
        help="an ARX LIFT II, both arms: the real one, or the simulated one at its belt (--sim)",
        arguments=ArxLift2Options.arguments(),
        build=lambda values: arx_lift2(ArxLift2Options.parse(values)),
    ),
}
