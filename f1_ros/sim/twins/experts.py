"""Scripted experts of the twins' tasks: the joint positions and openings to be reached 50 ms later.

They go by the state alone, without memory, as the belt's expert, so that what they do can be learnt from it; of the
clock they know what a history tells as well: that a thing has just come.

    expert = open_expert(world)
    action = expert.act(disturbance=np.zeros((2, 3)))      action.target, action.phase
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from f1_ros.sim.episodes import PREROLL_STEPS
from f1_ros.sim.expert import STEP_S
from f1_ros.sim.kinematics import Array
from f1_ros.sim.lockstep import STEP_TICKS
from f1_ros.sim.twins import genie1, lift2
from f1_ros.sim.twins.model import SERVO_LAG_S
from f1_ros.sim.twins.world import TwinWorld

_GAIN = 4.2  # 1/s, closes the offset to what is to be taken
_TRAVEL_GAIN = 3.5  # 1/s, between places
_SPEED = 0.40  # m/s
_APPROACH_SPEED = 0.35  # m/s, on top of the thing's velocity
_DESCEND_WITHIN, _CLOSE_WITHIN = 0.02, 0.012  # m
_TOGETHER, _TOGETHER_SPEED = 0.05, 0.06  # m, m/s: how far both hands lift the bar, and how fast at least
_LOOK_TICKS = PREROLL_STEPS * STEP_TICKS
"""A cube that has just come is looked at for a history's length: sooner no picture tells where it goes."""
_PRESS_WITHIN, _PRESS_SPEED = 0.02, 0.20  # m, m/s


class Phase(IntEnum):
    """What the hands are doing; of both, the one that leads."""

    WAIT = 0
    APPROACH = 1
    DESCEND = 2
    CLOSE = 3
    CARRY = 4
    RECEIVE = 5
    RELEASE = 6
    PRESS = 7
    RETURN = 8


@dataclass(frozen=True)
class TwinAction:
    """One command of an expert.

    Attributes:
        target: joints (rad) and openings (m) in the robot's order, to be reached at the end of the step.
        phase: what it is doing.
    """

    target: Array
    phase: Phase


@dataclass(frozen=True)
class _Wish:
    """What a hand shall do: velocity of its tool (3,) m/s, and opening, m."""

    velocity: Array
    width: float


class TwinExpert(ABC):
    """A scripted expert of one world. Not thread-safe: it looks at the world."""

    def __init__(self, world: TwinWorld) -> None:
        """Look at this world."""
        self._kinematics = world.kinematics
        self._world = world

    def act(self, disturbance: Array | None = None) -> TwinAction:
        """The action as of now; `disturbance` (2, 3) m/s is added to the tools' velocities."""
        world = self._world
        wishes, phase = self._decide()
        joints, targets, first = world.joint_positions, [], 0
        for arm, (kinematics, wish) in enumerate(zip(self._kinematics, wishes, strict=True)):
            here = joints[first : first + len(kinematics.rest)]
            first += len(here)
            velocity = wish.velocity if disturbance is None else wish.velocity + disturbance[arm]
            step = kinematics.joint_step(here, velocity * (STEP_S + SERVO_LAG_S))
            targets.append(np.clip(here + step, kinematics.lower, kinematics.upper))
        return TwinAction(world.join(np.concatenate(targets), np.array([wish.width for wish in wishes])), phase)

    @abstractmethod
    def _decide(self) -> tuple[tuple[_Wish, _Wish], Phase]: ...

    def _rest(self, arm: int, width: float) -> _Wish:
        return _Wish(_travel(self._world.rest_tools()[arm] - self._world.tool_positions[arm]), width)


class Genie1Expert(TwinExpert):
    """Left picks the bar, right takes it over and bins it."""

    def __init__(self, world: genie1.Genie1World) -> None:
        """Look at this world."""
        super().__init__(world)
        self._genie = world
        self._open = world.robot.arms[0].gripper.open

    def _decide(self) -> tuple[tuple[_Wish, _Wish], Phase]:
        world = self._genie
        left, right = world.tool_positions
        held_left, held_right = world.holds(0), world.holds(1)
        if held_left and held_right:
            return self._release()
        if held_right:
            return (self._leave(), self._bin(right)), Phase.CARRY
        if held_left:
            return self._hand_over(left, right)
        if world.thing_place() == "table" and not self._over_bin(world.thing_position):
            wish, phase = self._pick(left)
            return (wish, self._rest(1, self._open)), phase
        return (self._rest(0, self._open), self._rest(1, self._open)), Phase.RETURN

    def _pick(self, left: Array) -> tuple[_Wish, Phase]:
        world = self._genie
        grip = world.grip(0)
        offset, width = grip[:2] - left[:2], float(world.gripper_widths[0])
        distance = float(np.linalg.norm(offset))
        low = left[2] - genie1.BAR_REST_Z < 0.012
        closing = width < 0.10 and distance < 2 * _CLOSE_WITHIN
        if low and (distance < _CLOSE_WITHIN or closing):
            phase, height, opening = Phase.CLOSE, genie1.BAR_REST_Z, 0.0
        elif distance < _DESCEND_WITHIN:
            phase, height, opening = Phase.DESCEND, genie1.BAR_REST_Z, self._open
        else:
            phase, height, opening = Phase.APPROACH, genie1.BAR_REST_Z + 0.07, self._open
        return _Wish(np.append(_towards(offset, _GAIN, _APPROACH_SPEED), _climb(height - left[2])), opening), phase

    def _hand_over(self, left: Array, right: Array) -> tuple[tuple[_Wish, _Wish], Phase]:
        world = self._genie
        away = genie1.HAND_OVER - world.thing_position
        velocity = _travel(away)
        if left[2] < genie1.BAR_REST_Z + 0.05:  # up first: the bar must not rub along the table
            velocity[:2] = 0.0
        distance = float(np.linalg.norm(away))
        if distance > 0.10:
            return (_Wish(velocity, 0.0), self._rest(1, self._open)), Phase.CARRY
        offset = world.grip(1) - right
        gap, width = float(np.linalg.norm(offset)), float(world.gripper_widths[1])
        settled = distance < 0.025
        close = settled and (gap < _CLOSE_WITHIN or (width < 0.10 and gap < 2 * _CLOSE_WITHIN))
        receive = _Wish(_towards(offset, _GAIN, _APPROACH_SPEED), 0.0 if close else self._open)
        return (_Wish(velocity, 0.0), receive), Phase.RECEIVE

    def _release(self) -> tuple[tuple[_Wish, _Wish], Phase]:
        """Both lift the bar a little: it shows that both hold it, and gives the right fingers time. Then one lets go.

        Let go at once, the bar falls whenever a policy's right hand is a tenth of a second later than it thinks.
        """
        short = genie1.HAND_OVER[2] + _TOGETHER - self._genie.thing_position[2]
        if short > 0.0:
            up = np.array([0.0, 0.0, max(_climb(short), _TOGETHER_SPEED)])
            return (_Wish(up, 0.0), _Wish(up, 0.0)), Phase.RECEIVE
        still = np.zeros(3)
        return (_Wish(still, self._open), _Wish(still, 0.0)), Phase.RELEASE

    def _leave(self) -> _Wish:
        """Back off along the bar, once the fingers are wide enough not to drag it."""
        if self._genie.gripper_widths[0] < 0.06:
            return _Wish(np.zeros(3), self._open)
        return self._rest(0, self._open)

    def _bin(self, right: Array) -> _Wish:
        world = self._genie
        bar = world.thing_position
        clear = world.gripper_widths[0] > 0.06 and world.tool_positions[0][1] - right[1] > 0.12
        if not clear and world.gripper_widths[0] < 0.10:
            return _Wish(np.zeros(3), 0.0)
        goal = np.array([*genie1.BIN_CENTRE, genie1.TABLE_TOP + 0.10])
        over = float(np.linalg.norm(goal[:2] - bar[:2])) < 0.02 and abs(bar[2] - goal[2]) < 0.03
        return _Wish(_travel(goal - bar), self._open if over else 0.0)

    def _over_bin(self, position: Array) -> bool:
        return bool(np.linalg.norm(position[:2] - genie1.BIN_CENTRE) < 0.05)


class Lift2Expert(TwinExpert):
    """Left picks the cube from the moving belt and bins it, right presses the button."""

    def __init__(self, world: lift2.Lift2World) -> None:
        """Look at this world."""
        super().__init__(world)
        self._lift = world
        self._open = world.robot.arms[0].gripper.open

    def _decide(self) -> tuple[tuple[_Wish, _Wish], Phase]:
        world = self._lift
        left, right = world.tool_positions
        place = world.thing_place()
        if place == "bin" and not world.holds():
            wish, phase = self._press(right) if world.stages_done < 3 else (self._rest(1, 0.0), Phase.RETURN)
            return (self._clear(left), wish), phase
        if world.holds():
            wish, phase = self._carry(left)
        elif place == "belt" and not world.lost and world.task_ticks >= _LOOK_TICKS:  # one that has gone by may go
            wish, phase = self._pick(left)
        else:
            wish, phase = self._rest(0, self._open), Phase.RETURN
        return (wish, self._rest(1, 0.0)), phase

    def _pick(self, left: Array) -> tuple[_Wish, Phase]:
        world = self._lift
        cube, width = world.thing_position, float(world.gripper_widths[0])
        offset = cube[:2] - left[:2]
        distance = float(np.linalg.norm(offset))
        low = left[2] - lift2.CUBE_REST_Z < 0.01
        closing = width < 0.07 and distance < 2 * _CLOSE_WITHIN
        if low and (distance < _CLOSE_WITHIN or closing):
            phase, height, opening = Phase.CLOSE, lift2.CUBE_REST_Z, 0.0
        elif distance < _DESCEND_WITHIN:
            phase, height, opening = Phase.DESCEND, lift2.CUBE_REST_Z, self._open
        else:
            phase, height, opening = Phase.APPROACH, lift2.CUBE_REST_Z + 0.07, self._open
        across = _towards(offset, _GAIN, _APPROACH_SPEED) + (0.0, world.thing_velocity[1])
        return _Wish(np.append(across, _climb(height - left[2])), opening), phase

    def _carry(self, left: Array) -> tuple[_Wish, Phase]:
        to_bin = np.array(lift2.BIN_CENTRE) - left[:2]
        over = float(np.linalg.norm(to_bin)) < 0.025
        up = _climb(lift2.CUBE_REST_Z + 0.12 - left[2])
        if over:
            down = _climb(lift2.SHELF_TOP + 0.08 - left[2])
            ready = left[2] < lift2.SHELF_TOP + 0.10
            return _Wish(np.append(_travel(to_bin), down), self._open if ready else 0.0), Phase.RELEASE
        if left[2] < lift2.CUBE_REST_Z + 0.05 and left[0] > lift2.BELT_X - lift2.BELT_HALF_X:  # up first
            return _Wish(np.array([0.0, self._lift.belt_speed, up]), 0.0), Phase.CARRY
        return _Wish(np.append(_travel(to_bin), up), 0.0), Phase.CARRY

    def _clear(self, left: Array) -> _Wish:
        """Up out of the bin, then back."""
        wish = self._rest(0, self._open)
        if left[2] < lift2.SHELF_TOP + 0.13 and np.linalg.norm(left[:2] - lift2.BIN_CENTRE) < 0.06:
            wish.velocity[:2] = 0.0
        return wish

    def _press(self, right: Array) -> tuple[_Wish, Phase]:
        offset = np.array(lift2.BUTTON[:2]) - right[:2]
        above = float(np.linalg.norm(offset)) < _PRESS_WITHIN
        height = lift2.BUTTON[2] - 0.02 if above else lift2.BUTTON[2] + 0.06
        climb = float(np.clip(_climb(height - right[2]), -_PRESS_SPEED, _PRESS_SPEED))
        velocity = np.append(_towards(offset, _GAIN, _APPROACH_SPEED), climb)
        return _Wish(velocity, 0.0), Phase.PRESS


def open_expert(world: TwinWorld) -> TwinExpert:
    """The expert of a world's task."""
    if isinstance(world, genie1.Genie1World):
        return Genie1Expert(world)
    assert isinstance(world, lift2.Lift2World)
    return Lift2Expert(world)


def _towards(offset: Array, gain: float, speed: float) -> Array:
    """Velocity that closes an offset (m) at a gain (1/s), no faster than `speed` (m/s)."""
    velocity = gain * offset
    return velocity * min(1.0, speed / max(float(np.linalg.norm(velocity)), 1e-9))


def _travel(offset: Array) -> Array:
    return _towards(offset, _TRAVEL_GAIN, _SPEED)


def _climb(offset: float) -> float:
    return float(np.clip(_GAIN * offset, -_APPROACH_SPEED, _APPROACH_SPEED))
