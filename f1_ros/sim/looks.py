"""What an episode looks like, where that is drawn: colours, light, the front camera's pose, and where a cover lies.

looks = draw_looks(config, scene.model, rng)
looks.apply(model)                            model: a renderer's own copy
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from f1_ros.sim.config import BeltConfig, Rgb
from f1_ros.sim.scene import BELOW_FLOOR, COVER_HALF_Z, COVER_X, COVER_Z, CUBE_GEOMS, cube_geoms

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Looks:
    """The looks of one episode.

    Attributes:
        cube_rgb: colour of each cube of the scene, 0..1.
        light: direction in which the light shines, of length 1, in the base frame.
        diffuse: light that a surface facing the lamp has on top of the ambient light.
        camera_position: of the front camera, in the base frame, m.
        camera_quaternion: w x y z of the front camera in the base frame; it looks along its -z, its x is right.
        cover: y of both edges of the panel over the belt, the lower one first, m; None where there is none (yet).
    """

    cube_rgb: tuple[Rgb, ...]
    light: Vector
    diffuse: float
    camera_position: Vector
    camera_quaternion: tuple[float, float, float, float]
    cover: tuple[float, float] | None = None

    def apply(self, model: mujoco.MjModel) -> None:
        """Give a renderer's own copy of the model these looks."""
        for name, rgb in zip(cube_geoms(model), self.cube_rgb, strict=True):
            model.geom(name).rgba[:3] = rgb
        model.light("lamp").dir[:] = self.light
        model.light("lamp").diffuse[:] = self.diffuse
        model.camera("front").pos[:] = self.camera_position
        model.camera("front").quat[:] = self.camera_quaternion
        panel = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, "cover")
        if panel >= 0:
            low, high = self.cover if self.cover is not None else (0.0, 0.01)
            z = COVER_Z if self.cover is not None else BELOW_FLOOR
            model.geom_pos[panel] = (sum(COVER_X) / 2, (low + high) / 2, z)
            model.geom_size[panel] = ((COVER_X[1] - COVER_X[0]) / 2, (high - low) / 2, COVER_HALF_Z)
            model.geom_aabb[panel, 3:] = model.geom_size[panel]  # rays look for a geom within its bounds only
            model.geom_rbound[panel] = np.linalg.norm(model.geom_size[panel])


def draw_looks(config: BeltConfig, model: mujoco.MjModel, rng: np.random.Generator) -> Looks:
    """Draw an episode's looks around those of the compiled model.

    What is drawn of one thing does not depend on whether another varies as well.
    """
    cubes = [model.geom(name) for name in cube_geoms(model)]
    tints = rng.uniform(-1.0, 1.0, (len(CUBE_GEOMS), 3)) * config.cube_rgb_spread
    turn, shift, tilt = rng.uniform(-1.0, 1.0, (3, 3)) * np.array(
        [[config.light_turn], [config.camera_shift], [config.camera_turn]]
    )
    front = model.camera("front")
    quaternion = np.zeros(4)
    mujoco.mju_mulQuat(quaternion, front.quat, _quaternion(tilt))
    light = np.zeros(3)
    mujoco.mju_rotVecQuat(light, model.light("lamp").dir, _quaternion(turn))
    return Looks(
        cube_rgb=tuple(_vector(np.clip(cube.rgba[:3] + tints[i], 0.0, 1.0)) for i, cube in enumerate(cubes)),
        light=_vector(light),
        diffuse=config.diffuse * float(rng.uniform(*config.light_gain)),
        camera_position=_vector(front.pos + shift),
        camera_quaternion=(quaternion[0], quaternion[1], quaternion[2], quaternion[3]),
    )


def _quaternion(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternion (4,) of a rotation vector (3,) in rad."""
    quaternion = np.zeros(4)
    angle = float(np.linalg.norm(turn))
    mujoco.mju_axisAngle2Quat(quaternion, turn / max(angle, 1e-12), angle)
    return quaternion


def _vector(values: NDArray[np.float64]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])
