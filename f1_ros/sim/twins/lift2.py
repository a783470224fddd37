"""LIFT II at a moving belt: the left arm picks the cube and puts it into the bin, then the right arm presses a button.

The button counts only with the cube in the bin, and stays down once it was pressed far enough.
"""

from __future__ import annotations

import numpy as np

from f1_ros.sim.episodes import PREROLL_STEPS
from f1_ros.sim.kinematics import Array
from f1_ros.sim.scene import GROUP_CUBE, GROUP_STATIC
from f1_ros.sim.twins.config import Lift2Config
from f1_ros.sim.twins.model import build_scene, thing_bin, thing_box
from f1_ros.sim.twins.tables import LIFT2
from f1_ros.sim.twins.world import Thing, TwinWorld

BELT_TOP = 0.55
BELT_X, BELT_HALF_X = 0.45, 0.07
CUBE_HALF = 0.0225
CUBE_REST_Z = BELT_TOP + CUBE_HALF
SHELF_TOP = 0.50
BIN_CENTRE = (0.27, 0.06)
BIN_HALF = (0.055, 0.075)
BIN_WALL = 0.05
BUTTON = (0.29, -0.20, SHELF_TOP + 0.045)
"""Top of the button when it is up, m."""

BUTTON_TRAVEL, BUTTON_PRESSED = 0.014, 0.009
REACH_Y = (-0.12, 0.45)
"""A cube beyond this has left the left arm's part of the belt, m."""

HELD_WIDTH = 0.052
_PICKED = 0.08  # above its rest height, as at the Franka's belt, m
_PREROLL_S = PREROLL_STEPS * 0.05
_DOWN: Array = np.diag([-1.0, 1.0, -1.0])


class Lift2World(TwinWorld):
    """LIFT II's task; see `TwinWorld`.

    Attributes:
        belt_speed: m/s, signed.
        base_velocity: of the chassis: forward and left, m/s, and turning, rad/s. 0 in lock step.
    """

    stages = ("picked", "binned", "pressed")
    cameras = ("camera_h", "camera_l", "camera_r")
    belt_speed: float
    instruction = "put the cube from the belt into the bin and press the button"

    def __init__(self, config: Lift2Config) -> None:
        """Build the world."""
        x, y, z = BUTTON
        things = (
            f'    <body name="belt" pos="{BELT_X} 0.1 {BELT_TOP - 0.01}"><joint name="belt" type="slide" axis="0 1 0" '
            f'damping="0" armature="100"/><geom name="belt" class="thing" type="box" group="{GROUP_STATIC}" '
            f'size="{BELT_HALF_X} 1.5 0.01" mass="10" rgba=".17 .18 .20 1"/></body>\n'
            + thing_box("shelf", (0.09, 0.34, 0.02), ".60 .62 .66 1", position=(0.275, -0.02, SHELF_TOP - 0.02))
            + thing_bin((*BIN_CENTRE, SHELF_TOP), BIN_HALF, BIN_WALL, ".13 .38 .72 1")
            + thing_box("socket", (0.035, 0.035, 0.012), ".25 .26 .28 1", position=(x, y, SHELF_TOP + 0.012))
            + f'    <body name="button" pos="{x} {y} {z}" gravcomp="1"><inertial pos="0 0 0" mass="0.05" '
            f'diaginertia="1e-5 1e-5 1e-5"/><joint name="button" type="slide" axis="0 0 1" '
            f'range="{-BUTTON_TRAVEL} 0" stiffness="120" damping="2" armature="0.01"/>'
            f'<geom name="button" class="thing" type="cylinder" group="{GROUP_CUBE}" size="0.026 0.009" '
            f'pos="0 0 -0.009" mass="0" rgba=".16 .66 .24 1"/></body>\n'
            + thing_box("cube", (CUBE_HALF,) * 3, ".93 .16 .10 1", mass=config.cube_mass)
        )
        self._task = config
        self.belt_speed = 0.0
        self.base_velocity: Array = np.zeros(3)
        scene = build_scene(LIFT2, things)
        joint = scene.model.joint
        self._belt = int(joint("belt").qposadr[0]), int(joint("belt").dofadr[0])
        self._button = int(joint("button").qposadr[0]), int(joint("button").dofadr[0])
        self._base = [
            (int(joint(f"base_{n}").qposadr[0]), int(joint(f"base_{n}").dofadr[0])) for n in ("x", "y", "yaw")
        ]
        super().__init__(config, scene, "cube", (_DOWN, _DOWN))

    def rest_tools(self) -> tuple[Array, Array]:
        """See `TwinWorld.rest_tools`."""
        return np.array([0.42, 0.18, BELT_TOP + 0.14]), np.array([BUTTON[0], BUTTON[1], BUTTON[2] + 0.09])

    def start_widths(self) -> Array:
        """The right hand is closed: it presses."""
        return np.array([self.robot.arms[0].gripper.open, 0.0])

    @property
    def button_down(self) -> float:
        """How far the button is pressed, m."""
        return -float(self._data.qpos[self._button[0]])

    def holds(self) -> bool:
        """Whether the left hand has closed on the cube."""
        near = float(np.linalg.norm(self.thing_position - self.tool_positions[0])) < 0.025
        return near and bool(self.gripper_widths[0] < HELD_WIDTH)

    def thing_place(self) -> Thing:
        """See `TwinWorld.thing_place`."""
        x, y, z = self.thing_position
        if abs(x - BIN_CENTRE[0]) < BIN_HALF[0] and abs(y - BIN_CENTRE[1]) < BIN_HALF[1] and z < SHELF_TOP + BIN_WALL:
            return "bin"
        if abs(x - BELT_X) < BELT_HALF_X + CUBE_HALF and abs(z - CUBE_REST_Z) < 0.015:
            return "belt"
        return "floor" if z < BELT_TOP else "air"

    @property
    def lost(self) -> bool:
        """See `TwinWorld.lost`."""
        place, y = self.thing_place(), self.thing_position[1]
        gone = y > REACH_Y[1] if self.belt_speed > 0 else y < REACH_Y[0]
        return (place == "floor" and bool(abs(self.thing_velocity[2]) < 0.05)) or (place == "belt" and bool(gone))

    def _begin(self, rng: np.random.Generator) -> None:
        task = self._task
        self.belt_speed = float(rng.choice((-1, 1)) * rng.uniform(*task.speed))
        self._latched = False
        self.base_velocity = np.zeros(3)
        x, y = float(rng.uniform(*task.cube_x)), float(rng.uniform(*task.cube_y))
        # It rides in: when the arm may start, where it is tells nothing of where it goes.
        self.put_thing((x, y - self.belt_speed * _PREROLL_S, CUBE_REST_Z + 0.002), velocity_y=self.belt_speed)

    def _drive(self) -> None:
        data = self._data
        data.qpos[self._belt[0]], data.qvel[self._belt[1]] = 0.0, self.belt_speed
        self._latched = self._latched or (self.button_down > BUTTON_PRESSED and self.stages_done == 2)
        if self._latched:
            data.qpos[self._button[0]], data.qvel[self._button[1]] = -BUTTON_TRAVEL, 0.0
        yaw = float(data.qpos[self._base[2][0]])
        forward, left, turning = self.base_velocity
        velocity = (
            forward * np.cos(yaw) - left * np.sin(yaw),
            forward * np.sin(yaw) + left * np.cos(yaw),
            turning,
        )
        for (_, dof), value in zip(self._base, velocity, strict=True):
            data.qvel[dof] = value

    def _stage_holds(self, stage: int) -> bool:
        if stage == 0:
            return bool(self.thing_position[2] > CUBE_REST_Z + _PICKED)
        if stage == 1:
            return self.thing_place() == "bin" and not self.holds()
        return self._latched and self.thing_place() == "bin"
