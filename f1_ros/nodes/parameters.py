"""Node parameters, declared in one table: default, unit, range, and whether they may change while the node runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from f1_ros.errors import ConfigError
from f1_ros.paths import share_dir

Value = bool | int | float | str
MAX_INSTRUCTION = 500


@dataclass(frozen=True)
class NodeParameter:
    """One parameter of a node.

    Attributes:
        name: its name.
        default: its default; also gives the type.
        description: what it does, with the unit.
        lower: smallest value allowed (numbers only); with `upper`, makes NaN and infinity refused too.
        upper: largest value allowed (numbers only).
        live: whether it may be changed while the node runs; if not, the node refuses the change.
        check: says why a value is refused, or returns None; for what a range cannot say.
    """

    name: str
    default: Value
    description: str
    lower: float | None = None
    upper: float | None = None
    live: bool = False
    check: Callable[[Any], str | None] | None = None

    def __post_init__(self) -> None:
        number = isinstance(self.default, int | float) and not isinstance(self.default, bool)
        if number != (self.lower is not None) or number != (self.upper is not None):
            raise ConfigError(
                f"Parameter '{self.name}' needs both bounds if it is a number, and none otherwise.",
                remedy="Give `lower` and `upper` together.",
            )

    def descriptor(self) -> ParameterDescriptor:
        """Give the parameter's descriptor, as `ros2 param describe` shows it."""
        descriptor = ParameterDescriptor(name=self.name, description=self.description, read_only=not self.live)
        if self.lower is None or self.upper is None:
            return descriptor
        if isinstance(self.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=self.lower, to_value=self.upper)]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(self.lower), to_value=int(self.upper))]
        return descriptor


def declare(node: Node, parameters: Iterable[NodeParameter]) -> None:
    """Declare parameters on a node and refuse nonsense, now and while it runs.

    Raises:
        ConfigError: if a value given at start has the wrong type, is out of its range or refused by its check.
    """
    table = {p.name: p for p in parameters}

    def accept(changes: list[Any]) -> SetParametersResult:
        for change in changes:
            known = table.get(change.name)
            reason = known.check(change.value) if known is not None and known.check is not None else None
            if reason is not None:
                return SetParametersResult(successful=False, reason=f"Parameter '{change.name}': {reason}")
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(accept)
    for parameter in table.values():
        try:
            node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())
        except ParameterException as error:
            kind = type(parameter.default).__name__
            bounds = "" if parameter.lower is None else f" within {parameter.lower} .. {parameter.upper}"
            raise ConfigError(
                f"{node.get_fully_qualified_name()}: {error}",
                remedy=f"Give '{parameter.name}' a {kind}{bounds} ({parameter.description}).",
            ) from error


PROFILE = NodeParameter("profile", "franka_fr3", "Robot profile: a name in config/robots, or the path of a YAML file.")
TRACE = NodeParameter(
    "trace", "", "Folder into which the node writes when each stage of a frame took place (f1-ros bench); empty: off."
)
POLICY = NodeParameter("policy", "models/f1_belt", "Policy directory; if not found from here, below share/f1_ros.")


def policy_dir(value: str) -> Path:
    """Find the policy directory that parameter `policy` names."""
    path = Path(value).expanduser()
    return path if path.is_absolute() or path.is_dir() else share_dir() / path


def refuse_instruction(text: str) -> str | None:
    """Say why an instruction is refused, or None."""
    if len(text) > MAX_INSTRUCTION:
        return f"an instruction of {len(text)} characters; use at most {MAX_INSTRUCTION}."
    if not text.isprintable():
        return "an instruction with line breaks or control characters; write it in one line."
    return None
