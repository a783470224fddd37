"""The compiled MuJoCo model of the belt, with the indices that the rest of `sim/` uses."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files

import mujoco
import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import SimulationError
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.franka import FR3, FrankaArm
from f1_ros.sim.tasks import COLOURS, CUBE_RGB, Colour

PHYSICS_STEP_S = 0.002
TICK_STEPS = 5
TICK_NS = 10_000_000
BELT_TOP = 0.06
CUBE_HALF = 0.02
CUBE_REST_Z = BELT_TOP + CUBE_HALF
COVER_X, COVER_Z = (0.33, 0.60), 0.112
COVER_HALF_Z = 0.002
BELOW_FLOOR = -1.0
BIN_CENTRE = (0.70, 0.0)
BIN_HALF = (0.076, 0.106)
BIN_WALL_Z = 0.08
GRIPPER_OPEN = 0.08
_PARKED_GAP = 0.2  # between cubes that are not in play, m
PARKED = (50.0, 0.0, CUBE_HALF)
"""Where a cube lies that is not in play: on the floor, behind every camera's horizon."""

CUBE_GEOMS = ("cube", *(f"cube_{colour}" for colour in COLOURS[1:]))
"""The cubes in the order of `COLOURS`; a scene for a single cube has the first one only."""

GROUP_STATIC, GROUP_ARM, GROUP_HAND, GROUP_CUBE, GROUP_UNSEEN = range(5)


@dataclass(frozen=True)
class CubeJoint:
    """Where a cube's free joint is.

    Attributes:
        qpos, qvel: first index of its 7 positions and 6 velocities.
        colour: in task "colour", else None.
        parked_y: where along y it lies while it is not in play, relative to `PARKED`, m.
    """

    qpos: int
    qvel: int
    colour: Colour | None
    parked_y: float


@dataclass(frozen=True)
class Scene:
    """A compiled model and where its parts are in `qpos`, `qvel` and `ctrl`.

    Attributes:
        model: the compiled model; its colours, friction and mass are the configuration's.
        arm: whose names and ranges the arm's joints have.
        arm_qpos, arm_qvel: (7,) indices of the arm's joints.
        finger_qpos: (2,) indices of the finger joints, each half of the opening width.
        belt_qpos, belt_qvel: index of the belt's slide joint.
        cubes: the cubes' free joints, in the order of `CUBE_GEOMS`.
        tool_site: id of the site between the fingertips.
    """

    model: mujoco.MjModel
    arm: FrankaArm
    arm_qpos: NDArray[np.intp]
    arm_qvel: NDArray[np.intp]
    finger_qpos: NDArray[np.intp]
    belt_qpos: int
    belt_qvel: int
    cubes: tuple[CubeJoint, ...]
    tool_site: int

    @property
    def blind_cameras(self) -> tuple[str, ...]:
        """Cameras that do not see the arm which carries them."""
        return ("wrist",)

    @property
    def cube_qpos(self) -> int:
        """First index in `qpos` of the first cube's free joint."""
        return self.cubes[0].qpos

    @property
    def cube_qvel(self) -> int:
        """First index in `qvel` of the first cube's free joint."""
        return self.cubes[0].qvel


def set_friction(model: mujoco.MjModel, friction: float) -> None:
    """Set the sliding friction of cubes and belt. A cube in the hand has the pads' own, where that is higher."""
    for name in (*cube_geoms(model), "belt"):
        model.geom(name).friction[0] = friction


def cube_geoms(model: mujoco.MjModel) -> tuple[str, ...]:
    """Names of the cubes' geoms that a compiled scene has."""
    return tuple(n for n in CUBE_GEOMS if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, n) >= 0)


def _add_parts(spec: mujoco.MjSpec, config: BeltConfig) -> None:
    """Add what only some tasks have. Without them the model is the packaged one, to the bit."""
    if config.cover:
        spec.worldbody.add_geom(
            name="cover",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            group=GROUP_STATIC,
            contype=0,
            conaffinity=0,
            pos=(0.0, 0.0, BELOW_FLOOR),  # until an episode says where it lies
            size=(0.01, 0.01, COVER_HALF_Z),
            rgba=(*config.cover_rgb, 1.0),
        )
    if config.task == "colour":
        for i, name in enumerate(CUBE_GEOMS[1:], start=1):
            body = spec.worldbody.add_body(name=name, pos=(PARKED[0], PARKED[1] + i * _PARKED_GAP, PARKED[2]))
            body.add_freejoint(name=name)
            body.add_geom(
                name=name,
                type=mujoco.mjtGeom.mjGEOM_BOX,
                group=GROUP_CUBE,
                size=(CUBE_HALF, CUBE_HALF, CUBE_HALF),
                mass=config.cube_mass,
                friction=(config.friction, 0.005, 0.0001),
                condim=4,
                rgba=(*CUBE_RGB[i], 1.0),
            )


def _become(spec: mujoco.MjSpec, arm: FrankaArm) -> None:
    """Give the packaged scene's FR3 the names and ranges of another arm; an FR3 stays as it is, to the bit."""
    if arm is FR3:
        return
    for old, new, lower, upper in zip(FR3.joints, arm.joints, arm.limits.lower, arm.limits.upper, strict=True):
        joint, actuator = spec.joint(old), spec.actuator(old)
        joint.name = actuator.name = actuator.target = new
        joint.range = (lower, upper)
    for i in range(1, 8):
        spec.body(f"{FR3.prefix}_link{i}").name = f"{arm.prefix}_link{i}"


def load_scene(config: BeltConfig, arm: FrankaArm = FR3) -> Scene:
    """Compile the packaged scene with what the configuration's task adds, its colours, light, friction and cube mass.

    Args:
        config: the belt.
        arm: the arm at it.

    Raises:
        SimulationError: if the packaged scene cannot be read or compiled.
    """
    try:
        with as_file(files("f1_ros.sim") / "assets") as folder:
            spec = mujoco.MjSpec.from_file(str(folder / "fr3_belt.xml"))
            _add_parts(spec, config)
            _become(spec, arm)
            model = spec.compile()
    except (ValueError, FileNotFoundError) as error:
        raise SimulationError(
            f"The packaged scene fr3_belt.xml cannot be compiled: {error}.",
            remedy="Reinstall f1_ros with the pinned mujoco version.",
        ) from error
    cube_rgb = config.cube_rgb if config.task == "one" else CUBE_RGB[0]
    for geom, rgb in (("cube", cube_rgb), ("belt", config.belt_rgb), ("floor", config.floor_rgb)):
        model.geom(geom).rgba[:3] = rgb
    for side in ("near", "far", "left", "right"):
        model.geom(f"bin_{side}").rgba[:3] = config.bin_rgb
    model.geom("bin_floor").rgba[:3] = 0.78 * np.asarray(config.bin_rgb)
    set_friction(model, config.friction)
    cube = model.body("cube")
    scale = config.cube_mass / float(cube.mass[0])
    cube.mass[0] *= scale
    cube.inertia[:] *= scale
    model.light("lamp").dir[:] = np.asarray(config.light) / np.linalg.norm(config.light)
    model.light("lamp").diffuse[:] = config.diffuse
    model.vis.headlight.ambient[:] = config.ambient
    joints = [model.joint(name) for name in arm.joints]
    belt = model.joint("belt")
    cubes = [(model.joint(name), colour) for name, colour in zip(cube_geoms(model), COLOURS, strict=False)]
    return Scene(
        model=model,
        arm=arm,
        arm_qpos=np.array([j.qposadr[0] for j in joints], dtype=np.intp),
        arm_qvel=np.array([j.dofadr[0] for j in joints], dtype=np.intp),
        finger_qpos=np.array([model.joint(f"finger_joint{i}").qposadr[0] for i in (1, 2)], dtype=np.intp),
        belt_qpos=int(belt.qposadr[0]),
        belt_qvel=int(belt.dofadr[0]),
        cubes=tuple(
            CubeJoint(int(j.qposadr[0]), int(j.dofadr[0]), colour if config.task == "colour" else None, i * _PARKED_GAP)
            for i, (j, colour) in enumerate(cubes)
        ),
        tool_site=int(model.site("tool").id),
    )
