"""MuJoCo's own viewer, fed with snapshots of the world."""

from __future__ import annotations

import importlib
import os
from typing import Any

import mujoco

from f1_ros.errors import SimulationError
from f1_ros.sim.camera import Drawable, Snapshot


class View:
    """A window that shows the newest snapshot. Use it from one thread; closing the window ends only the window."""

    def __init__(self, scene: Drawable, handle: Any, data: mujoco.MjData) -> None:
        """Show a scene in a viewer that has been launched on `data`."""
        self._scene = scene
        self._handle = handle
        self._data = data

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot."""
        if self._handle.is_running():
            with self._handle.lock():
                self._data.qpos[:] = snapshot.qpos
                mujoco.mj_forward(self._scene.model, self._data)
            self._handle.sync()

    def close(self) -> None:
        """Close the window."""
        self._handle.close()


def open_view(scene: Drawable) -> View:
    """Open the window.

    Raises:
        SimulationError: if there is no display.
    """
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise SimulationError("The viewer needs a display, and there is none.", remedy="Set view to false.")
    data = mujoco.MjData(scene.model)
    viewer = importlib.import_module("mujoco.viewer")
    return View(scene, viewer.launch_passive(scene.model, data, show_left_ui=False, show_right_ui=False), data)
