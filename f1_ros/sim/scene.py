"""The compiled MuJoCo model of the belt, with the indices that the rest of `sim/` uses."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files

import mujoco
import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import SimulationError
from f1_ros.sim.config import BeltConfig

ARM_JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))
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
PARKED = (50.0, 0.0, CUBE_HALF)
"""Where a cube lies that is not in play: on the floor, behind every camera's horizon."""

CUBE_GEOMS = ("cube",)

GROUP_STATIC, GROUP_ARM, GROUP_HAND, GROUP_CUBE, GROUP_UNSEEN = range(5)


@dataclass(frozen=True)
class Scene:
    """A compiled model and where its parts are in `qpos`, `qvel` and `ctrl`.

    Attributes:
        model: the compiled model; its colours, friction and mass are the configuration's.
        arm_qpos, arm_qvel: (7,) indices of fr3_joint1..7.
        finger_qpos: (2,) indices of the finger joints, each half of the opening width.
        belt_qpos, belt_qvel: index of the belt's slide joint.
        cube_qpos, cube_qvel: first index of the cube's free joint (7 and 6 numbers).
        tool_site: id of the site between the fingertips.
    """

    model: mujoco.MjModel
    arm_qpos: NDArray[np.intp]
    arm_qvel: NDArray[np.intp]
    finger_qpos: NDArray[np.intp]
    belt_qpos: int
    belt_qvel: int
    cube_qpos: int
    cube_qvel: int
    tool_site: int


def set_friction(model: mujoco.MjModel, friction: float) -> None:
    """Set the sliding friction of cubes and belt. A cube in the hand has the pads' own, where that is higher."""
    for name in (*CUBE_GEOMS, "belt"):
        model.geom(name).friction[0] = friction


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


def load_scene(config: BeltConfig) -> Scene:
    """Compile the packaged scene with the configuration's colours, light, friction and cube mass.

    Raises:
        SimulationError: if the packaged scene cannot be read or compiled.
    """
    try:
        with as_file(files("f1_ros.sim") / "assets") as folder:
            spec = mujoco.MjSpec.from_file(str(folder / "fr3_belt.xml"))
            _add_parts(spec, config)
            model = spec.compile()
    except (ValueError, FileNotFoundError) as error:
        raise SimulationError(
            f"The packaged scene fr3_belt.xml cannot be compiled: {error}.",
            remedy="Reinstall f1_ros with the pinned mujoco version.",
        ) from error
    for geom, rgb in (("cube", config.cube_rgb), ("belt", config.belt_rgb), ("floor", config.floor_rgb)):
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
    arm = [model.joint(name) for name in ARM_JOINTS]
    belt, cube_joint = model.joint("belt"), model.joint("cube")
    return Scene(
        model=model,
        arm_qpos=np.array([j.qposadr[0] for j in arm], dtype=np.intp),
        arm_qvel=np.array([j.dofadr[0] for j in arm], dtype=np.intp),
        finger_qpos=np.array([model.joint(f"finger_joint{i}").qposadr[0] for i in (1, 2)], dtype=np.intp),
        belt_qpos=int(belt.qposadr[0]),
        belt_qvel=int(belt.dofadr[0]),
        cube_qpos=int(cube_joint.qposadr[0]),
        cube_qvel=int(cube_joint.dofadr[0]),
        tool_site=int(model.site("tool").id),
    )
