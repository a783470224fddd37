"""What a running system consists of: which nodes, with which parameters, in which process, and what a death means.

This is the one description of a bring-up. Two things read it and add nothing of their own:

    launch/franka.launch.py       through launch_ros, on a machine with a whole ROS 2 (`ros2 launch f1_ros ...`)
    f1-ros up franka              through `f1_ros.supervisor`, on a machine that has the wheels alone

Data walks sim (or the robot's own drivers) -> observation -> policy -> action -> the robot's command topic. Each of
them is a process of its own, so that neither images nor inference can make a command late.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from f1_ros.engine.config import everywhere
from f1_ros.errors import BringUpError
from f1_ros.paths import share_dir
from f1_ros.processes import RESTARTS, BringUp, OnExit, Parameter, ProcessSpec

SHIPPED_POLICY = "f1_belt"
NO_POLICY = "none"
EXPERT = "expert"
DEVICES = ("gamepad", "spacemouse", "keyboard")
"""What a person can move the arm with through `teleop_node`."""


@dataclass(frozen=True)
class Argument:
    """One argument of a bring-up, as launch and the command line declare it.

    Attributes:
        name: snake case; `name:=value` for launch, `--name value` with dashes for the command line.
        type: bool, int, float or str.
        default: default value as text.
        help: one line, with the unit.
        alone: on the command line, the value if the argument is given without one; empty: it needs one.
    """

    name: str
    type: type
    default: str
    help: str
    alone: str = ""


def _argument(default: Any, text: str, alone: str = "") -> Any:
    return field(default=default, metadata={"help": text, "alone": alone})


@dataclass(frozen=True)
class FrankaOptions:
    """Arguments of the Franka bring-up. Empty text means: as the profile, the policy or the node has it.

    Raises:
        BringUpError: if an argument is out of range, or a policy's folder does not exist.
    """

    sim: bool = _argument(False, "simulated robot and belt in place of the real robot's drivers")
    profile: str = _argument("franka_fr3", "robot profile: a name in config/robots or a YAML file")
    policy: str = _argument(
        "",
        "policy directory, or a name in models/; none: teleoperation only; empty: f1_belt with sim, otherwise none",
    )
    engine: str = _argument(
        "torch", "what runs the policy: a name in config/engines, a YAML file, or a directory of `f1-ros engine build`"
    )
    allow_unchecked_engine: bool = _argument(
        False, "take a compiled engine that `f1-ros engine check` has not passed on this kind of machine"
    )
    instruction: str = _argument("", "what the policy is told to do; empty: the policy's own default")
    cameras: str = _argument("", "comma-separated cameras for the policy, in its order; empty: the policy's own")
    one_process: bool = _argument(
        False, "observation and policy in one process: images are handed over by reference, less work for the CPU"
    )
    mode: str = _argument("hold", "mode that the action node asks of itself once it runs: hold, teleop or policy")
    control_rate: float = _argument(0.0, "commands per second, Hz; 0: the profile's")
    policy_rate: float = _argument(0.0, "inferences per second at most, Hz; 0: as fast as the policy can")
    seed: int = _argument(0, "seed of the simulation and of the policy's random draws")
    teleop: str = _argument(
        "",
        "what a person moves the arm with: gamepad, spacemouse or keyboard; with sim also expert, a scripted "
        "teleoperator; empty: nothing, or a leader arm's own driver",
        alone=EXPERT,
    )
    belt_speed: float = _argument(0.15, "with sim: speed of the belt, m/s; negative: the other way")
    real_time_factor: float = _argument(1.0, "with sim: simulated seconds per second")
    renderer: str = _argument("ray", "with sim: camera renderer: ray, which policies are trained on, egl or auto")
    view: bool = _argument(False, "with sim: open MuJoCo's viewer (needs a display)")
    record: str = _argument("", "folder of a LeRobot dataset to record episodes into; empty: no recorder")

    def __post_init__(self) -> None:
        checks: list[tuple[bool, str, str]] = [
            (self.mode in ("hold", "teleop", "policy"), f"mode is '{self.mode}'", "Choose hold, teleop or policy."),
            (_finite_at_least(self.control_rate, 0.0), f"control_rate is {self.control_rate} Hz", "Give 0 or more."),
            (_finite_at_least(self.policy_rate, 0.0), f"policy_rate is {self.policy_rate} Hz", "Give 0 or more."),
            (abs(self.belt_speed) <= 1.0, f"belt_speed is {self.belt_speed} m/s", "Give -1 to 1 m/s."),
            (
                _finite_at_least(self.real_time_factor, 0.01),
                f"real_time_factor is {self.real_time_factor}",
                "Give a factor of 0.01 or more.",
            ),
            (
                self.policy_dir is None or self.policy_dir.is_dir(),
                f"policy '{self.policy_dir}' is not a folder",
                "Give the policy's directory (it holds policy.json and model.safetensors).",
            ),
            (
                self.teleop in ("", EXPERT, *DEVICES),
                f"teleop is '{self.teleop}'",
                f"Choose {', '.join((*DEVICES, EXPERT))}, or leave it out.",
            ),
            (
                self.sim or not (self.teleop == EXPERT or self.view),
                f"teleop {EXPERT} and view need the simulation",
                "Add sim (sim:=true or --sim), or use a device, or start the real leader arm's own driver.",
            ),
            (
                self.mode != "policy" or self.policy_dir is not None,
                "mode is 'policy' but no policy is given",
                "Give the policy's directory as well.",
            ),
        ]
        for good, problem, remedy in checks:
            if not good:
                raise BringUpError(f"Argument {problem}.", remedy=remedy)

    @property
    def policy_dir(self) -> Path | None:
        """The policy's directory, or None for teleoperation only."""
        name = self.policy or (SHIPPED_POLICY if self.sim else NO_POLICY)
        if name == NO_POLICY:
            return None
        path = Path(name)
        return path.absolute() if path.is_dir() else share_dir() / "models" / name

    @classmethod
    def arguments(cls) -> tuple[Argument, ...]:
        """All arguments with defaults and help, in order."""
        return tuple(
            Argument(
                f.name,
                type(f.default),
                str(f.default).lower() if type(f.default) is bool else str(f.default),
                str(f.metadata["help"]),
                str(f.metadata["alone"]),
            )
            for f in fields(cls)
        )

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> FrankaOptions:
        """Options from text, as launch and the command line give them; what is missing keeps its default.

        Raises:
            BringUpError: if a name is unknown or a text cannot be read as the argument's type.
        """
        known = {argument.name: argument for argument in cls.arguments()}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise BringUpError(f"Unknown argument {', '.join(unknown)}.", remedy=f"Known are: {', '.join(known)}.")
        typed: dict[str, Any] = {name: _read(known[name], text) for name, text in values.items()}
        return cls(**typed)


def franka(options: FrankaOptions) -> BringUp:
    """The Franka at the belt: simulated or real, with or without a policy."""
    clock: dict[str, Parameter] = {"use_sim_time": options.sim}
    processes = []
    if options.sim:
        processes.append(
            ProcessSpec(
                name="sim_node",
                executable="sim_node",
                on_exit=OnExit.END_SYSTEM,
                role="simulated robot, belt and cameras",
                parameters={
                    "profile": options.profile,
                    "seed": options.seed,
                    "belt_speed": options.belt_speed,
                    "real_time_factor": options.real_time_factor,
                    "renderer": options.renderer,
                    "view": options.view,
                },
            )
        )
    processes.append(
        ProcessSpec(
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
    )
    if options.policy_dir is not None:
        processes += _perception(options, options.policy_dir, clock)
    if options.teleop in DEVICES:
        processes.append(_device(options))
    elif options.teleop:
        processes.append(
            ProcessSpec(
                name="expert_node",
                executable="expert_node",
                on_exit=OnExit.KEEP_OTHERS,
                role="scripted teleoperator",
                parameters={"profile": options.profile},  # it goes by the stamps of what it hears
                restarts=RESTARTS,
            )
        )
    if options.record:
        processes.append(_recorder(options, clock))
    return BringUp("franka", tuple(processes))


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


def _recorder(options: FrankaOptions, clock: dict[str, Parameter]) -> ProcessSpec:
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


def _perception(options: FrankaOptions, policy_dir: Path, clock: dict[str, Parameter]) -> list[ProcessSpec]:
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
}


def _finite_at_least(value: float, least: float) -> bool:
    return math.isfinite(value) and value >= least


def _read(argument: Argument, text: str) -> bool | int | float | str:
    try:
        if argument.type is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
        value: int | float | str = argument.type(text)
        return value
    except (KeyError, ValueError) as error:
        raise BringUpError(
            f"Argument {argument.name} is '{text}', expected {argument.type.__name__}.",
            remedy=f"{argument.name}: {argument.help} (default {argument.default or 'empty'}).",
        ) from error
