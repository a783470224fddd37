"""What can be set about the twins' worlds, read from `config/sim/genie1.yaml` and `config/sim/arx_lift2.yaml`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from f1_ros.errors import ConfigError
from f1_ros.sim.config import Range


@dataclass(frozen=True)
class Genie1Config:
    """Settings of Genie-1's table. Lengths in m, in the frame of the robot's foot: x forward, y left, z up.

    Attributes:
        world: names the world.
        bar_x, bar_y: ranges of the middle of the bar at its start.
        bar_yaw: greatest turn of the bar about z at its start, rad.
        bar_mass: kg.
        hand_shift: greatest offset of each hand from its place of rest along x, y and z at the start.

    Raises:
        ConfigError: on crossed ranges, values that are not finite, or values out of range.
    """

    world: Literal["genie1"] = "genie1"
    bar_x: Range = (0.640, 0.665)
    bar_y: Range = (0.12, 0.20)
    bar_yaw: float = 0.10
    bar_mass: float = 0.08
    hand_shift: float = 0.015

    def __post_init__(self) -> None:
        _check_ranges(self)
        _within(self, "bar_x", 0.62, 0.68)
        _within(self, "bar_y", 0.08, 0.22)
        _within(self, "bar_yaw", 0.0, 0.4)
        _within(self, "bar_mass", 0.01, 0.5)
        _within(self, "hand_shift", 0.0, 0.03)


@dataclass(frozen=True)
class Lift2Config:
    """Settings of LIFT II's belt. Lengths in m, in the frame of the robot's chassis: x forward, y along the belt, z up.

    Attributes:
        world: names the world.
        speed: least and greatest speed of the belt, m/s; its direction is drawn.
        cube_x, cube_y: ranges of the cube's position when the pre-roll ends, across and along the belt.
        cube_mass: kg.
        hand_shift: greatest offset of each hand from its place of rest along x, y and z at the start.

    Raises:
        ConfigError: on crossed ranges, values that are not finite, or values out of range.
    """

    world: Literal["arx_lift2"] = "arx_lift2"
    speed: Range = (0.04, 0.15)
    cube_x: Range = (0.42, 0.48)
    cube_y: Range = (0.10, 0.28)
    cube_mass: float = 0.06
    hand_shift: float = 0.02

    def __post_init__(self) -> None:
        _check_ranges(self)
        _within(self, "speed", 0.0, 0.4)
        _within(self, "cube_x", 0.41, 0.49)
        _within(self, "cube_y", -0.10, 0.40)
        _within(self, "cube_mass", 0.01, 0.5)
        _within(self, "hand_shift", 0.0, 0.03)


TwinConfig = Genie1Config | Lift2Config


def _check_ranges(config: TwinConfig) -> None:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, tuple) and not value[0] <= value[1]:  # so written that NaN fails
            _refuse(config, field.name, "give two finite numbers, the smaller one first")


def _within(config: TwinConfig, name: str, least: float, most: float) -> None:
    value = getattr(config, name)
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(math.isfinite(number) and least <= number <= most for number in numbers):
        _refuse(config, name, f"stay within {least:g} and {most:g}")


def _refuse(config: TwinConfig, name: str, remedy: str) -> None:
    raise ConfigError(
        f"Configuration of world {config.world}: {name} is {getattr(config, name)}.", remedy=f"Set {name}: {remedy}."
    )
