"""The belt world: a Franka with hand, a moving belt, a cube and a bin, stepped one control tick at a time.

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

import mujoco
import numpy as np

from f1_ros.errors import ConfigError, SimulationError
from f1_ros.sim.camera import Picture, Renderer, RendererKind, Snapshot, open_renderer
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.cover import Cover, plan_cover
from f1_ros.sim.cubes import Counts, Cube, CubeTrack
from f1_ros.sim.franka import FR3, FrankaArm
from f1_ros.sim.kinematics import ArmKinematics, Array
from f1_ros.sim.looks import Looks, draw_looks
from f1_ros.sim.scene import (
    BELT_TOP,
    GRIPPER_OPEN,
    TICK_NS,
    TICK_STEPS,
    Scene,
    load_scene,
    set_friction,
)
from f1_ros.sim.tasks import COLOUR_INSTRUCTIONS, ONE_INSTRUCTION, draw_group


class BeltWorld:
    """The world. Not thread-safe; hand `snapshot()` to another thread's renderer.

    Args:
        config: belt, cubes, colours.
        stream: cubes come by themselves; otherwise `drop_cube` drops them.
        renderer: what `render` draws with: "ray", "egl", or "auto" for EGL where it is present.
        arm: the arm at the belt.

    Attributes:
        profile: name of the robot's profile.
        embodiment: what policies and datasets call the robot.
        state_names: order of the state.
        belt_speed: m/s, signed; may be set at any time.
        cover: this episode's cover, or None.
        counts: of the cubes to be picked, since the reset.
        wrong_picks: how often a cube was picked that was not to be, since the reset.

    Raises:
        ConfigError: on a stream of cubes with a cover, which lies where one cube rides.
    """

    cameras = ("front", "wrist")
    """In the order in which policies see them."""

    def __init__(
        self,
        config: BeltConfig | None = None,
        *,
        stream: bool = False,
        renderer: RendererKind = "ray",
        arm: FrankaArm = FR3,
    ) -> None:
        self.config = config if config is not None else BeltConfig()
        self.stream = stream
        if stream and self.config.cover:
            raise ConfigError(
                "A stream of cubes has no cover.", remedy="Set cover: false, or let the cubes come one an episode."
            )
        self.profile, self.embodiment = arm.profile, arm.embodiment
        self.state_names = (*arm.joints, "gripper")
        self.scene: Scene = load_scene(self.config, arm)
        self.kinematics = ArmKinematics(self.scene)
        self._data = mujoco.MjData(self.scene.model)
        self._tracks = tuple(CubeTrack(self._data, joint) for joint in self.scene.cubes)
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
        self._group_rng = np.random.default_rng([seed, 7])
        self._group = draw_group(config, self._group_rng)
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
        self.wrong_picks = 0
        for track in self._tracks:
            track.park()
        self._advance(0)

    def step(self, joints: Array, widths: Array | float) -> None:
        """Advance one control tick of 10 ms.

        Args:
            joints: (7,) joint positions that the servos follow, rad.
            widths: opening width that the gripper goes to, 0 .. 0.08 m; (1,) or a number.

        Raises:
            SimulationError: on a wrong shape, NaN or infinity, or if the physics diverges.
        """
        target, gripper_width = np.asarray(joints, dtype=np.float64), float(np.reshape(widths, ()))
        if target.shape != (7,) or not np.isfinite(target).all() or not np.isfinite(gripper_width):
            raise SimulationError(
                f"The simulated arm was given target {target.tolist()} and gripper width {gripper_width}.",
                remedy="Command 7 finite joint positions in rad and a finite width in m.",
            )
        self._data.ctrl[:7] = np.clip(target, self.kinematics.lower - 0.02, self.kinematics.upper + 0.02)
        self._data.ctrl[7] = np.clip(gripper_width, 0.0, GRIPPER_OPEN) / 2
        self._advance(TICK_STEPS)
        self._ticks += 1
        self._follow_cubes()
        if self._next_drop_tick is not None and self._ticks >= self._next_drop_tick:
            self.drop_cube()

    def drop_cube(self, position: tuple[float, float] | None = None) -> None:
        """Drop a cube onto the belt, moving with it; in task "colour" with those that ride with it.

        Args:
            position: (x, y) m of the one that is to be picked; drawn from the configuration if None.
        """
        if self.stream and self.counts.spawned:
            self._group = draw_group(self.config, self._group_rng)
        x, y = position if position is not None else self.draw_start()
        for track in self._tracks:
            track.park()
        for cube, cube_x, cube_y in ((self._group.target, x, 0.0), *self._group.others):
            yaw = float(self._rng.uniform(-1.0, 1.0)) * self.config.cube_yaw
            self._tracks[cube].drop(cube_x, y + cube_y, yaw, self.belt_speed, self._ticks)
        self._next_drop_tick = None
        self._count(spawned=1)
        self._advance(0)

    def reverse_belt(self) -> None:
        """Turn the belt round at once; what rides on it goes with it."""
        self.belt_speed = -self.belt_speed
        for track in self._tracks:
            track.reverse()

    def draw_start(self) -> tuple[float, float]:
        """Start position (x, y) in m of the cube to be picked, drawn from the configuration."""
        x, y = float(self._rng.uniform(*self.config.cube_x)), float(self._rng.uniform(*self.config.cube_y))
        return x, y + self._group.target_y

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
        return ONE_INSTRUCTION if self.config.task == "one" else COLOUR_INSTRUCTIONS[self._group.target]

    @property
    def looks(self) -> Looks | None:
        """What of the scene's looks is this episode's own; None where the configuration leaves nothing to draw."""
        if self._looks is None or self.cover is None:
            return self._looks
        return dataclasses.replace(self._looks, cover=self.cover.span)

    def clear_cubes(self) -> None:
        """Take all cubes out of play; in a stream the next ones come after the pause."""
        for track in self._tracks:
            track.park()
        if self.stream:
            self._next_drop_tick = self._ticks + self._pause_ticks()

    @property
    def time_ns(self) -> int:
        """Simulated time since the reset, ns."""
        return self._ticks * TICK_NS

    @property
    def joint_positions(self) -> Array:
        """Measured arm joints, (7,) rad."""
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
    def gripper_widths(self) -> Array:
        """The same as (1,), for what drives any robot."""
        return np.array([self.gripper_width])

    def start_widths(self) -> Array:
        """Opening width that an episode begins with, (1,) m."""
        return np.array([GRIPPER_OPEN])

    def join(self, joints: Array, widths: Array) -> Array:
        """Arm joints (7,) rad and opening width (1,) m in the order of `state_names`."""
        return np.append(joints, widths)

    def split(self, state: Array) -> tuple[Array, Array]:
        """The reverse of `join`."""
        return np.array(state[:7]), np.array(state[7:])

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
        """All cubes in play."""
        return tuple(track.cube(self._ticks) for track in self._tracks if track.in_play)

    @property
    def target(self) -> Cube | None:
        """The cube to be picked, while it is in play."""
        track = self._tracks[self._group.target]
        return track.cube(self._ticks) if track.in_play else None

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

    def _pause_ticks(self) -> int:
        return max(1, round(self.config.stream_pause_s * 1e9 / TICK_NS))

    def _count(self, **more: int) -> None:
        now = {name: getattr(self.counts, name) for name in ("spawned", "picked", "binned", "missed")}
        self.counts = Counts(**{name: value + more.get(name, 0) for name, value in now.items()})

    def _follow_cubes(self) -> None:
        for index, track in enumerate(self._tracks):
            end = track.follow(self._ticks, self.belt_speed, self.config.reach_y)
            if index != self._group.target:
                self.wrong_picks += end == "picked"
            elif end is not None:
                self._count(**{end: 1})
                if self.stream and end != "picked":
                    self.clear_cubes()
                    return
            if end in ("binned", "missed"):
                track.park()
