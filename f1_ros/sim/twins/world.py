"""A twin and its task, stepped one control tick at a time.

    world = Genie1World(Genie1Config())          see genie1.py and lift2.py for the tasks
    world.reset(seed=7)
    world.step(joints, widths)                   10 ms: five physics steps of 2 ms
    picture = world.render("head")               96 x 96 RGB
    world.stages_done, world.done, world.lost

A task is a sequence of stages; it is done when all are. The same seed and the same commands give the same world, bit by
bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import mujoco
import numpy as np

from f1_ros.errors import SimulationError
from f1_ros.sim.camera import Picture, Renderer, Snapshot, open_renderer
from f1_ros.sim.kinematics import Array
from f1_ros.sim.scene import TICK_NS, TICK_STEPS
from f1_ros.sim.twins.config import TwinConfig
from f1_ros.sim.twins.kinematics import TwinKinematics
from f1_ros.sim.twins.model import TwinScene

CHECK_TICKS = 5
CHECKS = 3
"""What counts must be so at three checks of 50 ms in a row, as at the belt."""

Thing = Literal["table", "belt", "air", "bin", "floor"]


class TwinWorld(ABC):
    """A twin at its task. Not thread-safe; hand `snapshot()` to another thread's renderer.

    Args:
        config: of its task.
        scene: the compiled twin with its task's things.
        thing: name of the thing that is handled.
        rotations: (3, 3) of each hand in the world, in all of the task.

    Attributes:
        kinematics: of each arm.
        stages_done: how many of `stages` are.
        task_ticks: since the task was laid out.
        belt_speed: of a belt, m/s, signed; None where there is none.
        commands: list to which each tick's joint targets are appended; None: they are not kept.
    """

    stages: tuple[str, ...]
    """What is to be done, in this order."""
    cameras: tuple[str, ...]
    """In the order in which policies see them; the first one's history is kept."""
    instruction: str
    belt_speed: float | None = None
    commands: list[Array] | None = None

    def __init__(self, config: TwinConfig, scene: TwinScene, thing: str, rotations: tuple[Array, Array]) -> None:
        self.config, self.scene, self.robot = config, scene, scene.robot
        self.profile = self.embodiment = scene.robot.name
        self.state_names = scene.robot.state_names
        self._data = mujoco.MjData(scene.model)
        self._thing_qpos = int(scene.model.joint(thing).qposadr[0])
        self._thing_qvel = int(scene.model.joint(thing).dofadr[0])
        self._renderer: Renderer | None = None
        self._columns = np.cumsum([0, *(len(arm.joints) for arm in self.robot.arms)])
        self._data.qpos[scene.body_qpos] = self.robot.body_rest
        mujoco.mj_kinematics(scene.model, self._data)
        found = []
        for arm, rotation, rest in zip(self.robot.arms, rotations, self.rest_tools(), strict=True):
            base = self._data.body(f"{arm.name}_base")
            solver = TwinKinematics(arm, base.xpos.copy(), base.xmat.reshape(3, 3).copy(), rotation, np.array(arm.rest))
            solver.rest = solver.solve(rest)
            found.append(solver)
        self.kinematics: tuple[TwinKinematics, TwinKinematics] = (found[0], found[1])
        self.reset(0)

    @abstractmethod
    def rest_tools(self) -> tuple[Array, Array]:
        """Where each hand is before and after its work, (3,) m."""

    @abstractmethod
    def _begin(self, rng: np.random.Generator) -> None:
        """Lay out what the episode begins with; the robot stands already."""

    @abstractmethod
    def _stage_holds(self, stage: int) -> bool:
        """Whether stage `stage` is done as of now; asked of the first one that is not."""

    @abstractmethod
    def thing_place(self) -> Thing:
        """Where the thing is."""

    @property
    @abstractmethod
    def lost(self) -> bool:
        """The thing is where no hand gets it any more."""

    @abstractmethod
    def _drive(self) -> None:
        """Set what moves by itself; called before every physics step."""

    def reset(self, seed: int) -> None:
        """Start anew: hands and things are drawn from the seed.

        Raises:
            SimulationError: if a drawn hand pose is out of the arm's reach.
        """
        scene, data, rng = self.scene, self._data, np.random.default_rng([seed, 0])
        mujoco.mj_resetData(scene.model, data)
        data.qpos[scene.body_qpos] = self.robot.body_rest
        shift = self.config.hand_shift
        joints = [
            solver.solve(tool + rng.uniform(-shift, shift, 3), solver.rest)
            for solver, tool in zip(self.kinematics, self.rest_tools(), strict=True)
        ]
        data.qpos[scene.arm_qpos] = np.concatenate(joints)
        widths = self.start_widths()
        data.qpos[scene.finger_qpos] = widths[:, None] / 2
        count = len(scene.arm_qpos)
        data.ctrl[:count] = data.qpos[scene.arm_qpos]
        data.ctrl[count : count + 2] = widths / 2
        data.ctrl[count + 2 : count + 2 + len(scene.body_qpos)] = self.robot.body_rest
        self._rng = rng
        self._ticks = 0
        self.next_task()

    def next_task(self) -> None:
        """Begin the task anew with things drawn again, the robot staying as it is; what runs live goes on so."""
        self._checks = self.stages_done = self.task_ticks = 0
        self._begin(self._rng)
        self._advance(0)

    def set_body(self, positions: Array) -> None:
        """Send the body's joints (lift, waist, head) to these positions, rad or m, in the order of its table."""
        first = len(self.scene.arm_qpos) + 2
        lower, upper = ([getattr(j, side) for j in self.robot.body] for side in ("lower", "upper"))
        self._data.ctrl[first : first + len(positions)] = np.clip(positions, lower, upper)

    @property
    def body_positions(self) -> Array:
        """Measured joints of the body, rad or m."""
        return np.array(self._data.qpos[self.scene.body_qpos])

    def start_widths(self) -> Array:
        """Opening of each gripper that an episode begins with, (2,) m."""
        return np.array([arm.gripper.open for arm in self.robot.arms])

    def step(self, joints: Array, widths: Array) -> None:
        """Advance one control tick of 10 ms.

        Args:
            joints: positions that the arms' servos follow, arm after arm, rad.
            widths: (2,) opening that each gripper goes to, m.

        Raises:
            SimulationError: on a wrong shape, NaN or infinity, or if the physics diverges.
        """
        target, openings = np.asarray(joints, dtype=np.float64), np.asarray(widths, dtype=np.float64)
        count = len(self.scene.arm_qpos)
        if target.shape != (count,) or openings.shape != (2,) or not np.isfinite([*target, *openings]).all():
            raise SimulationError(
                f"The simulated robot was given joints {target.tolist()} and openings {openings.tolist()}.",
                remedy=f"Command {count} finite joint positions in rad and 2 finite openings in m.",
            )
        lower, upper = (np.concatenate([getattr(k, side) for k in self.kinematics]) for side in ("lower", "upper"))
        self._data.ctrl[:count] = np.clip(target, lower - 0.02, upper + 0.02)
        largest = [arm.gripper.open for arm in self.robot.arms]
        self._data.ctrl[count : count + 2] = np.clip(openings, 0.0, largest) / 2
        self._advance(TICK_STEPS)
        self._ticks += 1
        self.task_ticks += 1
        if self.commands is not None:
            self.commands.append(target.copy())
        self._follow()

    def _follow(self) -> None:
        if self._ticks % CHECK_TICKS or self.done:
            return
        self._checks = self._checks + 1 if self._stage_holds(self.stages_done) else 0
        if self._checks >= CHECKS:
            self.stages_done += 1
            self._checks = 0

    @property
    def done(self) -> bool:
        """All stages are done: success."""
        return self.stages_done == len(self.stages)

    @property
    def time_ns(self) -> int:
        """Simulated time since the reset, ns."""
        return self._ticks * TICK_NS

    @property
    def joint_positions(self) -> Array:
        """Measured arm joints, arm after arm, rad."""
        return np.array(self._data.qpos[self.scene.arm_qpos])

    @property
    def joint_velocities(self) -> Array:
        """Measured velocities of the arm joints, arm after arm, rad/s."""
        return np.array(self._data.qvel[self.scene.arm_qvel])

    @property
    def gripper_widths(self) -> Array:
        """Measured opening of each gripper, (2,) m."""
        return np.array(self._data.qpos[self.scene.finger_qpos].sum(axis=1))

    @property
    def tool_positions(self) -> Array:
        """Point between the fingertips of each hand, (2, 3) m."""
        return np.array(self._data.site_xpos[list(self.scene.tool_sites)])

    @property
    def thing_position(self) -> Array:
        """Middle of the thing that is handled, (3,) m."""
        return np.array(self._data.qpos[self._thing_qpos : self._thing_qpos + 3])

    @property
    def thing_velocity(self) -> Array:
        """Of its middle, (3,) m/s."""
        return np.array(self._data.qvel[self._thing_qvel : self._thing_qvel + 3])

    @property
    def state(self) -> Array:
        """Joints (rad) and openings (m) in the order of the robot's `state_names`."""
        return self.join(self.joint_positions, self.gripper_widths)

    def join(self, joints: Array, widths: Array) -> Array:
        """Joints, arm after arm, and openings in the order of `state_names`: each arm's gripper behind its joints."""
        parts = zip(np.split(joints, self._columns[1:-1]), widths, strict=True)
        return np.concatenate([np.append(part, width) for part, width in parts])

    def split(self, state: Array) -> tuple[Array, Array]:
        """The reverse of `join`: joints, arm after arm, and openings (2,)."""
        grippers = self._columns[1:] + np.arange(2)
        return np.delete(state, grippers), np.asarray(state)[grippers]

    def snapshot(self) -> Snapshot:
        """A copy of the state that a `Renderer` can draw in another thread or process."""
        return Snapshot(self.time_ns, np.array(self._data.qpos))

    def render(self, camera: str, width: int = 96, height: int = 96) -> Picture:
        """Picture of a camera as of now, (height, width, 3) uint8 RGB.

        Raises:
            ConfigError: if there is no such camera.
        """
        if self._renderer is None:
            self._renderer = open_renderer(self.scene, "ray")
        return self._renderer.render(self.snapshot(), camera, width, height)

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def put_thing(self, position: tuple[float, float, float], yaw: float = 0.0, velocity_y: float = 0.0) -> None:
        """Put the thing somewhere, turned by `yaw` rad about z."""
        self._data.qpos[self._thing_qpos : self._thing_qpos + 7] = (
            *position, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2),
        )  # fmt: skip
        self._data.qvel[self._thing_qvel : self._thing_qvel + 6] = (0.0, velocity_y, 0.0, 0.0, 0.0, 0.0)

    def _advance(self, steps: int) -> None:
        for _ in range(steps):
            self._drive()
            mujoco.mj_step(self.scene.model, self._data)
        self._drive()
        if not np.isfinite(self._data.qpos).all():
            raise SimulationError(f"The physics diverged at {self.time_ns / 1e9:.2f} s.", remedy="Reset the world.")
        mujoco.mj_kinematics(self.scene.model, self._data)
