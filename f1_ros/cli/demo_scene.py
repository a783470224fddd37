"""Draws the scene of a recorded run afterwards: while it runs, the processors have better things to do."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from f1_ros.cli.recording import Array, Picture, Recording

if TYPE_CHECKING:
    from f1_ros.sim.camera import Renderer
    from f1_ros.sim.scene import Scene


CUBE_WITHIN_NS = 150_000_000


@dataclass(frozen=True)
class Moment:
    """What stands where: (7,) joints in rad, opening width in m, (7,) cube pose or None."""

    joints: Array
    width: float
    cube: Array | None


def draw_scene(recording: Recording, times_ns: list[int], width: int, height: int) -> Iterator[Picture]:
    """Yield the scene camera's picture at each instant, (height, width, 3) uint8 RGB.

    Joints, gripper and cube are as recorded nearest to the instant; there is no cube where none was recorded near it.

    Args:
        recording: what was seen; needs joint states and gripper widths.
        times_ns: the instants, ns on the ROS clock.
        width: px.
        height: px.
    """
    moments = [
        Moment(
            joints=recording.measured[_nearest(recording.measured, t)][1],
            width=float(recording.widths[_nearest(recording.widths, t)][1][0]),
            cube=_cube(recording, t),
        )
        for t in times_ns
    ]
    # Spawned, because ROS's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    workers = min(4, len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_open) as pool:
        yield from pool.map(_draw, moments, [width] * len(moments), [height] * len(moments), chunksize=8)


def _nearest(samples: list[tuple[int, Array]], time_ns: int) -> int:
    return int(np.abs(np.array([stamp for stamp, _ in samples], dtype=np.int64) - time_ns).argmin())


def _cube(recording: Recording, time_ns: int) -> Array | None:
    if not recording.cubes:
        return None
    stamp_ns, pose = recording.cubes[_nearest(recording.cubes, time_ns)]
    return pose if abs(stamp_ns - time_ns) <= CUBE_WITHIN_NS else None


class _Worker:
    """The scene and its renderer in a worker process, and the empty scene's positions."""

    def __init__(self) -> None:
        import mujoco

        from f1_ros.sim.camera import open_renderer
        from f1_ros.sim.config import load_belt_config
        from f1_ros.sim.scene import load_scene

        self.scene: Scene = load_scene(load_belt_config())
        self.renderer: Renderer = open_renderer(self.scene, "ray")
        self.empty: Array = np.array(mujoco.MjData(self.scene.model).qpos)


_workers: list[_Worker] = []


def _open() -> None:
    _workers.append(_Worker())


def _draw(moment: Moment, width: int, height: int) -> Picture:
    from f1_ros.sim.camera import Snapshot
    from f1_ros.sim.scene import PARKED

    worker = _workers[0]
    qpos = worker.empty.copy()
    qpos[worker.scene.arm_qpos] = moment.joints
    qpos[worker.scene.finger_qpos] = moment.width / 2
    at = worker.scene.cube_qpos
    qpos[at : at + 7] = moment.cube if moment.cube is not None else (*PARKED, 1.0, 0.0, 0.0, 0.0)
    return worker.renderer.render(Snapshot(0, qpos), "scene", width, height)
