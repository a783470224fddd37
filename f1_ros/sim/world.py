"""The belt world: an FR3 with hand, a moving belt, a cube and a bin, stepped one control tick at a time.

    world = BeltWorld(BeltConfig())
    world.reset(seed=7)                          the arm over the belt, the belt running, no cube yet
    world.drop_cube()                            lock-step: the caller says when (stream=False)
    world.step(arm_target, gripper_width)        10 ms: five physics steps of 2 ms
    picture = world.render("front")              96 x 96 RGB

With `stream=True` cubes come by themselves, one after the other, for as long as the world runs.
The same seed and the same commands give the same world, bit by bit.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np

from f1_ros.errors import ConfigError, SimulationError
from f1_ros.sim.camera import Picture, Renderer, RendererKind, Snapshot, open_renderer
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.cover import Cover, plan_cover
from f1_ros.sim.kinematics import ArmKinematics, Array
from f1_ros.sim.looks import Looks, draw_looks
from f1_ros.sim.scene import (
    BELT_TOP,
    BIN_CENTRE,
    BIN_HALF,
    BIN_WALL_Z,
    CUBE_HALF,
    CUBE_REST_Z,
    GRIPPER_OPEN,
    PARKED,
    TICK_NS,
    TICK_STEPS,
    Scene,
    load_scene,
    set_friction,
)
from f1_ros.sim.tasks import ONE_INSTRUCTION

CubePlace = Literal["belt", "air", "bin", "floor"]

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
    """

    position: Array
    velocity: Array
    quaternion: Array
    place: CubePlace
    picked: bool
    age_ns: int


@dataclass(frozen=True)
class Counts:
    """How many cubes came, were picked, landed in the bin, and got away (left the reach, or fell to the floor)."""

    spawned: int = 0
    picked: int = 0
    binned: int = 0
    missed: int = 0


class BeltWorld:
    """The world. Not thread-safe; hand `snapshot()` to another thread's renderer.

    Args:
        config: belt, cubes, colours.
        stream: cubes come by themselves; otherwise `drop_cube` drops one.
        renderer: what `render` draws with: "ray", "egl", or "auto" for EGL where it is present.

    Raises:
        ConfigError: on a stream of cubes with a cover, which lies where one cube rides.
    """

    def __init__(
        self, config: BeltConfig | None = None, *, stream: bool = False, renderer: RendererKind = "ray"
    ) -> None:
        self.config = config if config is not None else BeltConfig()
        self.stream = stream
        if stream and self.config.cover:
            raise ConfigError(
                "A stream of cubes has no cover.", remedy="Set cover: false, or let the cubes come one an episode."
            )
        self.scene: Scene = load_scene(self.config)
        self.kinematics = ArmKinematics(self.scene)
        self._data = mujoco.MjData(self.scene.model)
        self._renderer_kind: RendererKind = renderer
        self._renderer: Renderer | None = None
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Start anew: belt, hand pose, looks and cubes are drawn from the seed; the cube is not on the belt yet.

        Raises:
            SimulationError: if the drawn hand pose is out of the arm's reach.
        """
        config = self.config
        self._rng = np.random.default_rng([seed, 0])
        self._noise_rng = np.random.default_rng([seed, 1])
        self._cover_rng = np.random.default_rng([seed, 3])  # 2 is the recording's
        looks_vary = config.looks_vary or config.cover
        self._looks = draw_looks(config, self.scene.model, np.random.default_rng([seed, 4])) if looks_vary else None
        if config.friction_gain != (1.0, 1.0):
            gain = float(np.random.default_rng([seed, 5]).uniform(*config.friction_gain))
            set_friction(self.scene.model, config.friction * gain)
        mujoco.mj_resetData(self.scene.model, self._data)
        direction = config.direction if config.direction != 0 else int(self._rng.choice((-1, 1)))
        self.belt_speed = float(direction * self._rng.uniform(*config.speed))
        hand = (
            self._rng.uniform(*config.hand_x),
            self._rng.uniform(*config.hand_y),
            BELT_TOP + self._rng.uniform(*config.hand_height),
        )
        joints = self.kinematics.solve(np.array(hand))
        self._data.qpos[self.scene.arm_qpos] = joints
        self._data.qpos[self.scene.finger_qpos] = GRIPPER_OPEN / 2
        self._data.ctrl[:7] = joints
        self._data.ctrl[7] = GRIPPER_OPEN / 2
        self._ticks = 0
        self.cover: Cover | None = None
        self.counts = Counts()
        self._next_drop_tick: int | None = self._pause_ticks() if self.stream else None
        self._in_play = False
        self._park()
        self._advance(0)

    def step(self, arm_target: Array, gripper_width: float) -> None:
        """Advance one control tick of 10 ms.

        Args:
            arm_target: (7,) joint positions that the servos follow, rad.
            gripper_width: opening width that the gripper goes to, 0 .. 0.08 m.

        Raises:
            SimulationError: on a wrong shape, NaN or infinity, or if the physics diverges.
        """
        target = np.asarray(arm_target, dtype=np.float64)
        if target.shape != (7,) or not np.isfinite(target).all() or not np.isfinite(gripper_width):
            raise SimulationError(
                f"The simulated arm was given target {target.tolist()} and gripper width {gripper_width}.",
                remedy="Command 7 finite joint positions in rad and a finite width in m.",
            )
        self._data.ctrl[:7] = np.clip(target, self.kinematics.lower - 0.02, self.kinematics.upper + 0.02)
        self._data.ctrl[7] = np.clip(gripper_width, 0.0, GRIPPER_OPEN) / 2
        self._advance(TICK_STEPS)
        self._ticks += 1
        self._follow_cube()
        if self._next_drop_tick is not None and self._ticks >= self._next_drop_tick:
            self.drop_cube()

    def drop_cube(self, position: tuple[float, float] | None = None) -> None:
        """Drop a cube onto the belt, moving with it; at `position` (x, y) m, or drawn from the configuration."""
        x, y = position if position is not None else self.draw_start()
        yaw = float(self._rng.uniform(-1.0, 1.0)) * self.config.cube_yaw
        data, at = self._data, self.scene.cube_qpos
        data.qpos[at : at + 7] = (x, y, CUBE_REST_Z + _FALL, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2))
        data.qvel[self.scene.cube_qvel : self.scene.cube_qvel + 6] = (0.0, self.belt_speed, 0.0, 0.0, 0.0, 0.0)
        self._in_play, self._picked, self._high_checks, self._still_ticks = True, False, 0, 0
        self._dropped_tick = self._ticks
        self._next_drop_tick = None
        self._count(spawned=1)
        self._advance(0)

    def reverse_belt(self) -> None:
        """Turn the belt round at once; what rides on it goes with it."""
        self.belt_speed = -self.belt_speed
        if self._in_play and self._place() == "belt":
            self._data.qvel[self.scene.cube_qvel + 1] *= -1.0

    def draw_start(self) -> tuple[float, float]:
        """A cube's start position (x, y) in m, drawn from the configuration."""
        return float(self._rng.uniform(*self.config.cube_x)), float(self._rng.uniform(*self.config.cube_y))

    def place_cover(self, start_y: float) -> Cover:
        """Lay this episode's cover over the belt, drawn for a cube that starts at `start_y` m; see `plan_cover`.

        Raises:
            ConfigError: if the configuration has no cover.
        """
        if not self.config.cover:
            raise ConfigError("The belt's configuration has no cover.", remedy="Set cover: true.")
        self.cover = plan_cover(self.config, self._cover_rng, self.belt_speed, start_y)
        return self.cover

    @property
    def instruction(self) -> str:
        """What is asked for in this episode, as a policy is told."""
        return ONE_INSTRUCTION

    @property
    def looks(self) -> Looks | None:
        """What of the scene's looks is this episode's own; None where the configuration leaves nothing to draw."""
        if self._looks is None or self.cover is None:
            return self._looks
        return dataclasses.replace(self._looks, cover=self.cover.span)

    def clear_cube(self) -> None:
        """Take the cube out of play; in a stream the next one comes after the pause."""
        self._in_play = False
        self._park()
        if self.stream:
            self._next_drop_tick = self._ticks + self._pause_ticks()

    @property
    def time_ns(self) -> int:
        """Simulated time since the reset, ns."""
        return self._ticks * TICK_NS

    @property
    def joint_positions(self) -> Array:
        """Measured arm joints fr3_joint1..7, (7,) rad."""
        return np.array(self._data.qpos[self.scene.arm_qpos])

    @property
    def joint_velocities(self) -> Array:
        """Measured arm joint velocities, (7,) rad/s."""
        return np.array(self._data.qvel[self.scene.arm_qvel])

    @property
    def gripper_width(self) -> float:
        """Measured opening width, m."""
        return float(self._data.qpos[self.scene.finger_qpos].sum())

    @property
    def tool_position(self) -> Array:
        """Point between the fingertips, (3,) m in the base frame."""
        return np.array(self._data.site_xpos[self.scene.tool_site])

    @property
    def state(self) -> Array:
        """Arm joints and gripper width, (8,) rad and m: the profile's state layout."""
        return np.append(self.joint_positions, self.gripper_width)

    @property
    def cubes(self) -> tuple[Cube, ...]:
        """The cubes in play: none or one."""
        if not self._in_play:
            return ()
        at, speed_at = self.scene.cube_qpos, self.scene.cube_qvel
        return (
            Cube(
                position=np.array(self._data.qpos[at : at + 3]),
                velocity=np.array(self._data.qvel[speed_at : speed_at + 3]),
                quaternion=np.array(self._data.qpos[at + 3 : at + 7]),
                place=self._place(),
                picked=self._picked,
                age_ns=(self._ticks - self._dropped_tick) * TICK_NS,
            ),
        )

    def snapshot(self) -> Snapshot:
        """A copy of the state that a `Renderer` can draw in another thread or process."""
        return Snapshot(self.time_ns, np.array(self._data.qpos), self.looks)

    def render(self, camera: str, width: int = 96, height: int = 96) -> Picture:
        """Picture of a camera ("front", "wrist", "scene") as of now, (height, width, 3) uint8 RGB.

        Raises:
            ConfigError: if there is no such camera.
        """
        if self._renderer is None:
            self._renderer = open_renderer(self.scene, self._renderer_kind)
        picture = self._renderer.render(self.snapshot(), camera, width, height)
        if self.config.noise > 0:
            noisy = picture + self._noise_rng.normal(0.0, self.config.noise, picture.shape)
            picture = np.clip(noisy, 0, 255).astype(np.uint8)
        return picture

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _advance(self, steps: int) -> None:
        data, scene = self._data, self.scene
        for _ in range(steps):
            # An endless belt: it moves with the set velocity and never gets anywhere.
            data.qpos[scene.belt_qpos] = 0.0
            data.qvel[scene.belt_qvel] = self.belt_speed
            mujoco.mj_step(scene.model, data)
        data.qpos[scene.belt_qpos] = 0.0
        data.qvel[scene.belt_qvel] = self.belt_speed
        if not np.isfinite(data.qpos).all():
            raise SimulationError(
                f"The physics diverged at {self.time_ns / 1e9:.2f} s.", remedy="Reset the world; lower the friction."
            )
        mujoco.mj_kinematics(scene.model, data)

    def _park(self) -> None:
        at, speed_at = self.scene.cube_qpos, self.scene.cube_qvel
        self._data.qpos[at : at + 7] = (*PARKED, 1.0, 0.0, 0.0, 0.0)
        self._data.qvel[speed_at : speed_at + 6] = 0.0

    def _pause_ticks(self) -> int:
        return max(1, round(self.config.stream_pause_s * 1e9 / TICK_NS))

    def _count(self, **more: int) -> None:
        now = {name: getattr(self.counts, name) for name in ("spawned", "picked", "binned", "missed")}
        self.counts = Counts(**{name: value + more.get(name, 0) for name, value in now.items()})

    def _place(self) -> CubePlace:
        return cube_place(self._data.qpos[self.scene.cube_qpos : self.scene.cube_qpos + 3])

    def _follow_cube(self) -> None:
        if not self._in_play:
            return
        at = self.scene.cube_qpos
        _, y, z = self._data.qpos[at : at + 3]
        if self._ticks % CHECK_TICKS == 0 and not self._picked:
            self._high_checks = self._high_checks + 1 if z > CUBE_REST_Z + PICKED_HEIGHT else 0
            if self._high_checks >= PICKED_CHECKS:
                self._picked = True
                self._count(picked=1)
        place = self._place()
        self._still_ticks = self._still_ticks + 1 if place in ("bin", "floor") else 0
        gone = place == "belt" and abs(y) > self.config.reach_y and y * self.belt_speed > 0
        settled = self._still_ticks >= _SETTLE_TICKS
        if settled and place == "bin":
            self._count(binned=1)
        elif gone or settled:
            self._count(missed=1)
        if gone or settled:
            self.clear_cube()


def cube_place(position: Array) -> CubePlace:
    """Where a cube at `position` (3,) m in the base frame is."""
    x, y, z = position
    in_bin = abs(x - BIN_CENTRE[0]) < BIN_HALF[0] and abs(y - BIN_CENTRE[1]) < BIN_HALF[1]
    if in_bin and z < BIN_WALL_Z:
        return "bin"
    if abs(x - 0.45) < 0.10 + CUBE_HALF and abs(z - CUBE_REST_Z) < 0.015:
        return "belt"
    return "floor" if z < BELT_TOP else "air"
