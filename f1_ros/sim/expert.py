"""A scripted expert that picks cubes from the moving belt and drops them into the bin.

It answers to the measured state alone: no clock and no memory, so that what it does in a state is always the same and
can be learnt from. Every 50 ms it names the joint positions to be reached 50 ms later. The arm's servos follow with a
lag of 0.1 s, so the targets lead the wanted tool velocity by both.

    expert = Expert(world.kinematics)
    action = expert.act(WorldState.of(world))     action.target (8,), action.phase
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from f1_ros.sim.cover import FINGERS_Y
from f1_ros.sim.cubes import Cube
from f1_ros.sim.kinematics import ArmKinematics, Array
from f1_ros.sim.scene import BELT_TOP, BIN_CENTRE, CUBE_REST_Z, GRIPPER_OPEN
from f1_ros.sim.world import BeltWorld

STEP_S = 0.05
SERVO_LAG_S = 0.10

HOVER = np.array([0.45, 0.0, BELT_TOP + 0.20])
"""Where the tool waits for the next cube, m."""

_GAIN = 4.2  # 1/s, closes the offset to the cube
_TRAVEL_GAIN = 3.5  # 1/s, to the bin and back
_APPROACH_SPEED = 0.45  # m/s, on top of the cube's velocity
_TRAVEL_SPEED = 0.7  # m/s, to the bin and back
_LIFT_SPEED = 0.45  # m/s
_DESCEND_WITHIN = 0.03  # m
_CLOSE_WITHIN = 0.012  # m
_APPROACH_Z = CUBE_REST_Z + 0.07  # tool height while the offset is closed, m
_CARRY_Z = CUBE_REST_Z + 0.13
_CLEAR_Z = CUBE_REST_Z + 0.05  # above this a held cube may travel sideways, m
_HELD_WIDTH = 0.045  # a 4 cm cube between the pads, m
_HELD_WITHIN = 0.025  # tool to cube, m
_RELEASE_WITHIN = 0.04  # tool to the bin's centre, m
_REACH_Y = 0.62  # m


class Phase(IntEnum):
    """What the expert is doing."""

    WAIT = 0
    APPROACH = 1
    DESCEND = 2
    CLOSE = 3
    LIFT = 4
    CARRY = 5
    RELEASE = 6
    RETURN = 7


@dataclass(frozen=True)
class WorldState:
    """What the expert looks at.

    Attributes:
        joints: (7,) rad.
        gripper_width: m.
        cube: the cube to be picked, or None.
        cover: y of both edges of a panel over the belt, the lower one first, m; None without one.
    """

    joints: Array
    gripper_width: float
    cube: Cube | None
    cover: tuple[float, float] | None = None

    @staticmethod
    def of(world: BeltWorld) -> WorldState:
        """The state of a world as of now."""
        cover = None if world.cover is None else world.cover.span
        return WorldState(world.joint_positions, world.gripper_width, world.target, cover)


@dataclass(frozen=True)
class ExpertAction:
    """One command of the expert.

    Attributes:
        target: (8,) joint positions (rad) and gripper width (m) to be reached at the end of the step.
        phase: what it is doing.
    """

    target: Array
    phase: Phase


class Expert:
    """The scripted expert. Not thread-safe (it uses the kinematics' own data)."""

    def __init__(self, kinematics: ArmKinematics) -> None:
        self._kinematics = kinematics

    def act(self, state: WorldState, disturbance: Array | None = None) -> ExpertAction:
        """The action in a state; `disturbance` (3,) m/s is added to the tool velocity (for noisy demonstrations)."""
        tool, _ = self._kinematics.tool(state.joints)
        velocity, width, phase = self._decide(tool, state)
        if disturbance is not None:
            velocity = velocity + disturbance
        step = self._kinematics.joint_step(state.joints, velocity * (STEP_S + SERVO_LAG_S))
        joints = np.clip(state.joints + step, self._kinematics.lower, self._kinematics.upper)
        return ExpertAction(np.append(joints, width), phase)

    def _decide(self, tool: Array, state: WorldState) -> tuple[Array, float, Phase]:
        """Wanted tool velocity (3,) m/s, gripper width m, phase."""
        cube = state.cube
        if cube is not None:
            near = float(np.linalg.norm(cube.position - tool)) < _HELD_WITHIN
            to_bin = np.array(BIN_CENTRE) - tool[:2]
            over_bin = float(np.linalg.norm(to_bin)) < _RELEASE_WITHIN
            if near and over_bin:
                return _travel(np.append(to_bin, _CARRY_Z - tool[2])), GRIPPER_OPEN, Phase.RELEASE
            if near and state.gripper_width < _HELD_WIDTH:
                return self._carry(tool, to_bin)
            if cube.place == "belt" and not (abs(cube.position[1]) > _REACH_Y):
                return self._pick(tool, state.gripper_width, cube, state.cover)
        away = HOVER - tool
        phase = Phase.WAIT if np.linalg.norm(away) < 0.04 else Phase.RETURN
        return _travel(away), GRIPPER_OPEN, phase

    def _carry(self, tool: Array, to_bin: Array) -> tuple[Array, float, Phase]:
        up = float(np.clip(_GAIN * (_CARRY_Z - tool[2]), -_LIFT_SPEED, _LIFT_SPEED))
        if tool[2] < _CLEAR_Z:
            return np.array([0.0, 0.0, up]), 0.0, Phase.LIFT
        return np.append(_travel(to_bin), up), 0.0, Phase.CARRY

    def _pick(
        self, tool: Array, width: float, cube: Cube, cover: tuple[float, float] | None
    ) -> tuple[Array, float, Phase]:
        offset = cube.position[:2] - tool[:2]
        distance = float(np.linalg.norm(offset))
        low = tool[2] - CUBE_REST_Z < 0.01
        closing = width < 0.06 and distance < 2 * _CLOSE_WITHIN
        if low and (distance < _CLOSE_WITHIN or closing):
            phase, height, opening = Phase.CLOSE, CUBE_REST_Z, 0.0
        elif distance < _DESCEND_WITHIN and _beyond(cover, cube, tool):
            phase, height, opening = Phase.DESCEND, CUBE_REST_Z, GRIPPER_OPEN
        else:
            phase, height, opening = Phase.APPROACH, _APPROACH_Z, GRIPPER_OPEN
        velocity = np.zeros(3)
        velocity[:2] = _towards(offset, _GAIN, _APPROACH_SPEED) + (0.0, cube.velocity[1])
        velocity[2] = np.clip(_GAIN * (height - tool[2]), -_APPROACH_SPEED, _APPROACH_SPEED)
        return velocity, opening, phase


def _beyond(cover: tuple[float, float] | None, cube: Cube, tool: Array) -> bool:
    """Whether the hand can go down to the cube without touching the panel, now and while the cube rides on."""
    if cover is None:
        return True
    if cube.velocity[1] > 0:
        return bool(min(cube.position[1], tool[1]) - FINGERS_Y > cover[1])
    return bool(max(cube.position[1], tool[1]) + FINGERS_Y < cover[0])


def _towards(offset: Array, gain: float, speed: float) -> Array:
    """Velocity that closes an offset (m) at a gain (1/s), no faster than `speed` (m/s)."""
    velocity = gain * offset
    return velocity * min(1.0, speed / max(float(np.linalg.norm(velocity)), 1e-9))


def _travel(offset: Array) -> Array:
    return _towards(offset, _TRAVEL_GAIN, _TRAVEL_SPEED)
