"""Genie-1 at a table: a bar lies on the left; the left hand picks it, hands it to the right one, which bins it.

The hands point down and open along x, towards and away from the robot; the bar lies along y, so both can hold it at
once, each at an end.
"""

from __future__ import annotations

import math

import numpy as np

from f1_ros.sim.kinematics import Array
from f1_ros.sim.twins.config import Genie1Config
from f1_ros.sim.twins.model import build_scene, thing_bin, thing_box
from f1_ros.sim.twins.tables import GENIE1
from f1_ros.sim.twins.world import Thing, TwinWorld

TABLE_TOP = 0.55
BAR_HALF = (0.016, 0.070, 0.016)
BAR_REST_Z = TABLE_TOP + BAR_HALF[2]
GRIP_Y = 0.042
"""From the bar's middle to where a hand takes it, m."""

BIN_CENTRE = (0.65, -0.20)
BIN_HALF = (0.055, 0.092)
BIN_WALL = 0.05
HAND_OVER = np.array([0.65, 0.0, TABLE_TOP + 0.13])
"""Where the bar's middle is while it changes hands, m."""

HELD_WIDTH = 0.045
_LIFTED = 0.05  # m
_REST_Z = TABLE_TOP + 0.14
_LEFT_DOWN: Array = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
_RIGHT_DOWN: Array = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


class Genie1World(TwinWorld):
    """Genie-1's task; see `TwinWorld`."""

    stages = ("picked", "handed_over", "binned")
    cameras = ("head", "hand_left", "hand_right")
    instruction = "hand the bar over and put it into the bin"

    def __init__(self, config: Genie1Config) -> None:
        """Build the world."""
        things = (
            thing_box("table", (0.22, 0.45, 0.02), ".46 .40 .34 1", position=(0.68, 0.0, TABLE_TOP - 0.02))
            + thing_bin((*BIN_CENTRE, TABLE_TOP), BIN_HALF, BIN_WALL, ".13 .38 .72 1")
            + thing_box("bar", BAR_HALF, ".93 .16 .10 1", mass=config.bar_mass)
        )
        self._task = config
        super().__init__(config, build_scene(GENIE1, things), "bar", (_LEFT_DOWN, _RIGHT_DOWN))

    def rest_tools(self) -> tuple[Array, Array]:
        """See `TwinWorld.rest_tools`."""
        return np.array([0.65, 0.20, _REST_Z]), np.array([0.65, -0.15, _REST_Z])

    def grip(self, arm: int) -> Array:
        """Where hand 0 (left) or 1 (right) takes the bar, (3,) m."""
        along: Array = self._data.body("bar").xmat.reshape(3, 3)[:, 1] * (GRIP_Y if arm == 0 else -GRIP_Y)
        return self.thing_position + along

    def holds(self, arm: int) -> bool:
        """Whether a hand has closed on the bar."""
        near = float(np.linalg.norm(self.grip(arm) - self.tool_positions[arm])) < 0.03
        return near and bool(self.gripper_widths[arm] < HELD_WIDTH)

    def thing_place(self) -> Thing:
        """See `TwinWorld.thing_place`."""
        x, y, z = self.thing_position
        if abs(x - BIN_CENTRE[0]) < BIN_HALF[0] and abs(y - BIN_CENTRE[1]) < BIN_HALF[1] and z < TABLE_TOP + BIN_WALL:
            return "bin"
        if z < TABLE_TOP:
            return "floor"
        return "table" if z < BAR_REST_Z + 0.01 else "air"

    @property
    def lost(self) -> bool:
        """See `TwinWorld.lost`."""
        return self.thing_place() == "floor"

    def _begin(self, rng: np.random.Generator) -> None:
        task = self._task
        x, y = float(rng.uniform(*task.bar_x)), float(rng.uniform(*task.bar_y))
        self.put_thing((x, y, BAR_REST_Z + 0.001), float(rng.uniform(-1.0, 1.0)) * task.bar_yaw)

    def _drive(self) -> None:
        """Nothing moves by itself."""

    def _stage_holds(self, stage: int) -> bool:
        if stage == 0:
            return bool(self.thing_position[2] > BAR_REST_Z + _LIFTED) and self.holds(0)
        if stage == 1:
            alone = self.holds(1) and not self.holds(0)
            return alone and bool(self.thing_position[2] > BAR_REST_Z + _LIFTED / 2)
        still = math.hypot(*self.thing_velocity[:2]) < 0.05
        return self.thing_place() == "bin" and still and not self.holds(1)
