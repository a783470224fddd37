"""What can be set about the belt world: `BeltConfig`, read from `config/sim/belt.yaml`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from f1_ros.config import load_yaml
from f1_ros.errors import ConfigError
from f1_ros.paths import share_dir

Range = tuple[float, float]
Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class BeltConfig:
    """Settings of the belt world. Lengths in m, in the robot's base frame: x forward, y along the belt, z up.

    Attributes:
        task: "one" cube to be picked, or several of which the instruction names one by its "colour".
        speed: least and greatest belt speed of an episode, m/s, both >= 0; the sign is `direction`'s.
        direction: 1 moves the belt to +y, -1 to -y, 0 draws one of the two for each episode.
        cube_x: range of a cube's start position across the belt, m.
        cube_y: range of a cube's start position along the belt, or of the middle of those that ride together, m;
            independent of speed and direction.
        cube_yaw: greatest turn of a cube about z at its start, rad.
        cube_mass: kg.
        friction: sliding friction of cube and belt.
        friction_gain: range of a factor on `friction`, drawn for each episode.
        hand_x, hand_y: ranges of the hand's start position, m.
        hand_height: range of the fingertips' start height above the belt's surface, m.
        stream_pause_s: time between the end of one cube (binned or out of reach) and the next one's start, s.
        reach_y: a cube farther than this from y = 0 has left the reachable part of the belt, m.
        cover: a panel hides the cube for a while before it can be picked; see `f1_ros.sim.cover`.
        cover_s: range of the time for which, at least, neither camera sees anything of the cube, s.
        cover_lead_s: range of the time from the end of the pre-roll until the cube begins to go under the panel, s.
        cube_rgb, belt_rgb, bin_rgb, floor_rgb, cover_rgb: colours, 0..1; the cubes of task "colour" have their own.
        light: direction in which the light shines.
        ambient, diffuse: light that every surface has, and that a surface facing the lamp has on top.
        cube_rgb_spread: greatest change of each channel of a cube's colour, drawn for each episode.
        light_turn: greatest turn of the light's direction about each axis, drawn for each episode, rad.
        light_gain: range of a factor on `diffuse`, drawn for each episode.
        camera_shift: greatest offset of the front camera along each axis, drawn for each episode, m.
        camera_turn: greatest turn of the front camera about each of its axes, drawn for each episode, rad.
        noise: standard deviation of camera noise, in grey levels of 255.

    Raises:
        ConfigError: on crossed ranges, values that are not finite, or values out of range.
    """

    task: Literal["one", "colour"] = "one"
    speed: Range = (0.08, 0.30)
    direction: int = 0
    cube_x: Range = (0.40, 0.50)
    cube_y: Range = (-0.15, 0.15)
    cube_yaw: float = 0.0
    cube_mass: float = 0.06
    friction: float = 1.2
    friction_gain: Range = (1.0, 1.0)
    hand_x: Range = (0.42, 0.48)
    hand_y: Range = (-0.06, 0.06)
    hand_height: Range = (0.17, 0.23)
    stream_pause_s: float = 0.5
    reach_y: float = 0.62
    cover: bool = False
    cover_s: Range = (0.3, 0.6)
    cover_lead_s: Range = (0.05, 0.25)
    cube_rgb: Rgb = (0.93, 0.16, 0.10)
    belt_rgb: Rgb = (0.17, 0.18, 0.20)
    bin_rgb: Rgb = (0.13, 0.38, 0.72)
    floor_rgb: Rgb = (0.60, 0.58, 0.54)
    cover_rgb: Rgb = (0.30, 0.33, 0.37)
    light: tuple[float, float, float] = (-0.3, 0.35, -0.9)
    ambient: float = 0.45
    diffuse: float = 0.60
    cube_rgb_spread: float = 0.0
    light_turn: float = 0.0
    light_gain: Range = (1.0, 1.0)
    camera_shift: float = 0.0
    camera_turn: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        ranges = [field.name for field in dataclasses.fields(self) if field.type == "Range"]
        for name in ranges:
            low, high = getattr(self, name)
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                _refuse(name, (low, high), "give two finite numbers, the smaller one first")
        if self.speed[0] < 0 or self.speed[1] > 1.0:
            _refuse("speed", self.speed, "give speeds from 0 to 1 m/s; the sign is set by `direction`")
        if self.direction not in (-1, 0, 1):
            _refuse("direction", self.direction, "give 1 (+y), -1 (-y) or 0 (either)")
        if not (0.37 <= self.cube_x[0] and self.cube_x[1] <= 0.53):
            _refuse("cube_x", self.cube_x, "keep cubes on the belt: 0.37 to 0.53 m")
        if max(map(abs, self.cube_y)) > 1.4:
            _refuse("cube_y", self.cube_y, "keep cubes on the belt: within 1.4 m of its middle")
        if self.hand_height[0] < 0.05:
            _refuse("hand_height", self.hand_height, "start the hand at least 0.05 m above the belt")
        for name in ("friction_gain", "light_gain"):
            low, high = getattr(self, name)
            if low < 0.1 or high > 10.0:
                _refuse(name, (low, high), "give factors from 0.1 to 10")
        for name, most in (("cube_rgb_spread", 1.0), ("light_turn", 0.5), ("camera_shift", 0.2), ("camera_turn", 0.3)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                _refuse(name, value, f"give a number from 0 to {most:g}")
        for name in ("cover_s", "cover_lead_s"):
            low, high = getattr(self, name)
            if low < 0 or high > 2.0:
                _refuse(name, (low, high), "give times from 0 to 2 s")
        if self.cover and self.task != "one":
            _refuse("cover", True, "use it with task: one; a cover hides a single cube")
        if self.cover and self.speed[0] < 0.05:
            _refuse("cover", True, "let the belt run at 0.05 m/s at least (speed), or a cube never comes out")
        for name in ("cube_mass", "friction", "reach_y", "stream_pause_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                _refuse(name, value, "give a finite number above 0")
        for name in ("cube_yaw", "noise", "ambient", "diffuse"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                _refuse(name, value, "give a finite number, 0 or above")
        for name in ("cube_rgb", "belt_rgb", "bin_rgb", "floor_rgb", "cover_rgb"):
            if not all(0 <= c <= 1 for c in getattr(self, name)):
                _refuse(name, getattr(self, name), "give three numbers from 0 to 1")
        if not (all(map(math.isfinite, self.light)) and self.light[2] < 0):
            _refuse("light", self.light, "give a direction that points down (z below 0)")

    @property
    def looks_vary(self) -> bool:
        """Whether pictures differ from episode to episode in colours, light or the front camera's pose."""
        spread = self.cube_rgb_spread + self.light_turn + self.camera_shift + self.camera_turn
        return spread > 0 or self.light_gain != (1.0, 1.0)


def _refuse(name: str, value: object, remedy: str) -> None:
    raise ConfigError(f"Belt configuration: {name} is {value}.", remedy=f"Set {name}: {remedy}.")


def load_belt_config(path: Path | None = None) -> BeltConfig:
    """Read a belt configuration; without a path the packaged `config/sim/belt.yaml`.

    Raises:
        ConfigError: naming file, key and remedy, if the file is missing or wrong.
    """
    return load_yaml(path if path is not None else share_dir() / "config" / "sim" / "belt.yaml", BeltConfig)
