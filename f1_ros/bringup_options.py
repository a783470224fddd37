"""What can be said to a bring-up: its arguments by robot, as launch and the command line declare them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from f1_ros.engine.config import AUTO
from f1_ros.errors import BringUpError
from f1_ros.paths import share_dir
from f1_ros.robots.files import profile_path, read_profile

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
class RobotOptions:
    """Arguments that every robot's bring-up has. Empty text means: as the profile, the policy or the node has it.

    Raises:
        BringUpError: if an argument is out of range, or a policy's folder does not exist.
    """

    shipped_policy: ClassVar[str] = NO_POLICY
    """Policy of models/ that the simulation runs unless told otherwise."""
    shipped_for: ClassVar[str] = ""
    """What that policy calls its robot: another one, by its profile's embodiment, starts without a policy."""

    sim: bool = _argument(False, "simulated robot in place of the real robot's drivers")
    profile: str = _argument("", "robot profile: a name in config/robots or a YAML file")
    policy: str = _argument(
        "",
        "policy directory, or a name in models/; none: no policy; empty: with sim the one that is shipped for this "
        "robot, otherwise none",
    )
    engine: str = _argument(
        AUTO,
        "what runs the policy: auto (compiled if that passes its check, torch otherwise), a name in config/engines, a "
        "YAML file, or a directory of `f1-ros engine build`",
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
    real_time_factor: float = _argument(1.0, "with sim: simulated seconds per second")
    renderer: str = _argument("ray", "with sim: camera renderer: ray, which policies are trained on, egl or auto")
    view: bool = _argument(False, "with sim: open MuJoCo's viewer (needs a display)")
    use_sim_time: bool = _argument(
        False,
        "go by /clock and by what config/robots/sim gives: for a simulator that runs already; sim does so anyway",
    )
    record: str = _argument("", "folder of a LeRobot dataset to record episodes into; empty: no recorder")

    def __post_init__(self) -> None:
        _refuse(
            (self.mode in ("hold", "teleop", "policy"), f"mode is '{self.mode}'", "Choose hold, teleop or policy."),
            (_finite_at_least(self.control_rate, 0.0), f"control_rate is {self.control_rate} Hz", "Give 0 or more."),
            (_finite_at_least(self.policy_rate, 0.0), f"policy_rate is {self.policy_rate} Hz", "Give 0 or more."),
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
            (self.sim or not self.view, "view needs the simulation", "Add sim (sim:=true or --sim)."),
            (
                self.mode != "policy" or self.policy_dir is not None,
                "mode is 'policy' but no policy is given",
                "Give the directory of a policy for this profile's robot as well.",
            ),
        )

    @property
    def policy_dir(self) -> Path | None:
        """The policy's directory, or None for teleoperation only.

        Raises:
            ProfileError: if it depends on the profile, and that cannot be read.
        """
        name = self.policy or (self.shipped_policy if self.sim else NO_POLICY)
        if not self.policy and name != NO_POLICY:
            robot = read_profile(profile_path(self.profile), simulated=True).embodiment
            name = name if robot == self.shipped_for else NO_POLICY
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
    def parse(cls, values: Mapping[str, str]) -> Self:
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


@dataclass(frozen=True)
class FrankaOptions(RobotOptions):
    """Arguments of the Franka's bring-up."""

    shipped_policy: ClassVar[str] = "f1_belt"
    shipped_for: ClassVar[str] = "franka"

    sim: bool = _argument(False, "simulated robot and belt in place of the real robot's drivers")
    profile: str = _argument("franka_fr3", "robot profile: a name in config/robots or a YAML file")
    teleop: str = _argument(
        "",
        "what a person moves the arm with: gamepad, spacemouse or keyboard; with sim also expert, a scripted "
        "teleoperator; empty: nothing, or a leader arm's own driver",
        alone=EXPERT,
    )
    belt_speed: float = _argument(0.15, "with sim: speed of the belt, m/s; negative: the other way")

    def __post_init__(self) -> None:
        """Check what only the Franka's bring-up has, then the rest."""
        _refuse(
            (abs(self.belt_speed) <= 1.0, f"belt_speed is {self.belt_speed} m/s", "Give -1 to 1 m/s."),
            (
                self.teleop in ("", EXPERT, *DEVICES),
                f"teleop is '{self.teleop}'",
                f"Choose {', '.join((*DEVICES, EXPERT))}, or leave it out.",
            ),
            (
                self.sim or self.teleop != EXPERT,
                f"teleop {EXPERT} needs the simulation",
                "Add sim (sim:=true or --sim), or use a device, or start the real leader arm's own driver.",
            ),
        )
        super().__post_init__()


@dataclass(frozen=True)
class Genie1Options(RobotOptions):
    """Arguments of Genie-1's bring-up."""

    shipped_policy: ClassVar[str] = "f1_genie1"
    shipped_for: ClassVar[str] = "genie1"

    profile: str = _argument("genie1", "robot profile: a name in config/robots or a YAML file")


@dataclass(frozen=True)
class ArxLift2Options(RobotOptions):
    """Arguments of LIFT II's bring-up."""

    shipped_policy: ClassVar[str] = "f1_arx_lift2"
    shipped_for: ClassVar[str] = "arx_lift2_x5"

    profile: str = _argument("arx_lift2_x5", "robot profile: a name in config/robots or a YAML file")


def _refuse(*checks: tuple[bool, str, str]) -> None:
    """Raise for the first of (whether it is good, what is wrong, remedy) that is not good."""
    for good, problem, remedy in checks:
        if not good:
            raise BringUpError(f"Argument {problem}.", remedy=remedy)


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
