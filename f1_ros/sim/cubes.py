"""The cubes of a belt world: where each is, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np

from f1_ros.sim.kinematics import Array
from f1_ros.sim.scene import (
    BELT_TOP,
    BIN_CENTRE,
    BIN_HALF,
    BIN_WALL_Z,
    CUBE_HALF,
    CUBE_REST_Z,
    PARKED,
    TICK_NS,
    CubeJoint,
)
from f1_ros.sim.tasks import Colour

CubePlace = Literal["belt", "air", "bin", "floor"]
CubeEnd = Literal["picked", "binned", "missed"]

PICKED_HEIGHT = 0.08
PICKED_CHECKS = 3
CHECK_TICKS = 5
_FALL = 0.004  # height above the belt from which a cube is let go, m
_SETTLE_TICKS = 20  # time that a cube must lie in the bin or on the floor before it counts, ticks


@dataclass(frozen=True)
class Cube:
    """A cube in play.

    Attributes:
        position: (3,) m in the base frame.
        velocity: (3,) m/s in the base frame.
        quaternion: (4,) w x y z.
        place: on the belt, in the air (held, or falling), in the bin, or on the floor.
        picked: it was lifted 8 cm above its rest height for three checks of 50 ms.
        age_ns: time since it was dropped onto the belt, ns.
        colour: in task "colour"; None where there is only one cube.
    """

    position: Array
    velocity: Array
    quaternion: Array
    place: CubePlace
    picked: bool
    age_ns: int
    colour: Colour | None = None


@dataclass(frozen=True)
class Counts:
    """How many cubes came, were picked, landed in the bin, and got away (left the reach, or fell to the floor).

    In task "colour" only those that the instructions named.
    """

    spawned: int = 0
    picked: int = 0
    binned: int = 0
    missed: int = 0


class CubeTrack:
    """One of the scene's cubes in a world's data: parked, or in play and followed."""

    def __init__(self, data: mujoco.MjData, joint: CubeJoint) -> None:
        self._data, self._joint = data, joint
        self.in_play = False

    def park(self) -> None:
        """Take it out of play."""
        at, speed_at = self._joint.qpos, self._joint.qvel
        self._data.qpos[at : at + 7] = (PARKED[0], PARKED[1] + self._joint.parked_y, PARKED[2], 1.0, 0.0, 0.0, 0.0)
        self._data.qvel[speed_at : speed_at + 6] = 0.0
        self.in_play = False

    def drop(self, x: float, y: float, yaw: float, belt_speed: float, tick: int) -> None:
        """Drop it onto the belt at (x, y) m, turned by `yaw` rad, moving with the belt."""
        at, speed_at = self._joint.qpos, self._joint.qvel
        self._data.qpos[at : at + 7] = (x, y, CUBE_REST_Z + _FALL, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2))
        self._data.qvel[speed_at : speed_at + 6] = (0.0, belt_speed, 0.0, 0.0, 0.0, 0.0)
        self.in_play, self._picked, self._high_checks, self._still_ticks = True, False, 0, 0
        self._dropped_tick = tick

    def reverse(self) -> None:
        """Turn it round along y if it rides on the belt."""
        if self.in_play and self._place() == "belt":
            self._data.qvel[self._joint.qvel + 1] *= -1.0

    def cube(self, tick: int) -> Cube:
        """The cube as of now; only while it is in play."""
        at, speed_at = self._joint.qpos, self._joint.qvel
        return Cube(
            position=np.array(self._data.qpos[at : at + 3]),
            velocity=np.array(self._data.qvel[speed_at : speed_at + 3]),
            quaternion=np.array(self._data.qpos[at + 3 : at + 7]),
            place=self._place(),
            picked=self._picked,
            age_ns=(tick - self._dropped_tick) * TICK_NS,
            colour=self._joint.colour,
        )

    def follow(self, tick: int, belt_speed: float, reach_y: float) -> CubeEnd | None:
        """Look at it after a tick; say when it counts as picked, as binned, or as missed."""
        if not self.in_play:
            return None
        _, y, z = self._data.qpos[self._joint.qpos : self._joint.qpos + 3]
        if tick % CHECK_TICKS == 0 and not self._picked:
            self._high_checks = self._high_checks + 1 if z > CUBE_REST_Z + PICKED_HEIGHT else 0
            if self._high_checks >= PICKED_CHECKS:
                self._picked = True
                return "picked"
        place = self._place()
        self._still_ticks = self._still_ticks + 1 if place in ("bin", "floor") else 0
        gone = place == "belt" and abs(y) > reach_y and y * belt_speed > 0
        settled = self._still_ticks >= _SETTLE_TICKS
        if settled and place == "bin":
            return "binned"
        return "missed" if gone or settled else None

    def _place(self) -> CubePlace:
        return cube_place(self._data.qpos[self._joint.qpos : self._joint.qpos + 3])


def cube_place(position: Array) -> CubePlace:
    """Where a cube at `position` (3,) m in the base frame is."""
    x, y, z = position
    in_bin = abs(x - BIN_CENTRE[0]) < BIN_HALF[0] and abs(y - BIN_CENTRE[1]) < BIN_HALF[1]
    if in_bin and z < BIN_WALL_Z:
        return "bin"
    if abs(x - 0.45) < 0.10 + CUBE_HALF and abs(z - CUBE_REST_Z) < 0.015:
        return "belt"
    return "floor" if z < BELT_TOP else "air"
