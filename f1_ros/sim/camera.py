"""Pictures of a simulated world without a screen: a ray camera on the CPU, and OpenGL through EGL where it is present.

Both render from a `Snapshot` with an `MjData` of their own, so a thread or process may render while another one
steps the physics:

    renderer = open_renderer(scene, kind="auto")
    picture = renderer.render(world.snapshot(), "front", 96, 96)      (96, 96, 3) uint8 RGB
    renderer.close()
"""

from __future__ import annotations

import copy
import importlib
from dataclasses import dataclass
from typing import Literal, Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ConfigError, SimulationError
from f1_ros.sim.looks import Looks
from f1_ros.sim.scene import GROUP_ARM, GROUP_CUBE, GROUP_HAND, GROUP_STATIC, GROUP_UNSEEN

Picture = NDArray[np.uint8]
RendererKind = Literal["ray", "egl", "auto"]
_SKY = 190.0  # grey level where a ray hits nothing
_CORNERS = np.array([(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])


@dataclass(frozen=True)
class Snapshot:
    """A copy of the world's state at one instant, enough to draw it.

    Attributes:
        time_ns: time since the world's reset, ns.
        qpos: MuJoCo's generalised positions.
        looks: what its episode looks like; None: as the scene was compiled.
    """

    time_ns: int
    qpos: NDArray[np.float64]
    looks: Looks | None = None


class Drawable(Protocol):
    """A scene as the renderers need it; `f1_ros.sim.scene` names the groups of its geoms."""

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled model."""
        ...

    @property
    def blind_cameras(self) -> tuple[str, ...]:
        """Cameras that look away from the arm which carries them: the ray camera does not cast its geoms for these."""
        ...


class Renderer(Protocol):
    """Draws snapshots. Not thread-safe: one renderer per thread."""

    def render(self, snapshot: Snapshot, camera: str, width: int, height: int) -> Picture:
        """Picture (height, width, 3) uint8 RGB.

        Raises:
            ConfigError: if there is no such camera, or the size is not positive.
        """
        ...

    def close(self) -> None:
        """Free what the renderer holds."""
        ...


def open_renderer(scene: Drawable, kind: RendererKind = "ray") -> Renderer:
    """Open a renderer: "ray" works everywhere and is deterministic, "egl" needs EGL, "auto" takes EGL if present.

    Raises:
        ConfigError: on an unknown kind.
        SimulationError: if EGL is asked for and absent.
    """
    if kind == "ray":
        return RayRenderer(scene)
    if kind == "egl":
        return EglRenderer(scene)
    if kind == "auto":
        try:
            return EglRenderer(scene)
        except SimulationError:
            return RayRenderer(scene)
    raise ConfigError(f"Unknown renderer '{kind}'.", remedy="Choose ray, egl or auto.")


@dataclass
class _View:
    """What is kept for one camera and size: ray directions in its frame, and the background from where it was last."""

    rays: NDArray[np.float64]  # (pixels, 3), unit length
    moving: NDArray[np.intp]  # ids of the moving geoms that it may see
    pose: NDArray[np.float64] | None = None  # (12,) position and rotation that the background was seen from
    background: NDArray[np.uint8] | None = None  # (pixels, 3)
    depth: NDArray[np.float64] | None = None  # (pixels,), m, infinite where no geom is


class RayRenderer:
    """Casts rays against the scene's geoms, with Lambert shading and no shadows.

    Static geoms are cast for every pixel, but only once while a camera stands still. Moving geoms are cast only
    for the pixels in which their bounding boxes appear, and shown where they are nearer than the static ones.

    MuJoCo's rays see a mesh only within its bounding sphere, so the fingers' upper ends are missing in the wrist
    picture where OpenGL shows them. Policies trained on one renderer's pictures should be run on the same one's.
    """

    def __init__(self, scene: Drawable) -> None:
        self._scene = scene
        self._model = model = copy.copy(scene.model)  # its own, since each episode may look different
        self._data = mujoco.MjData(model)
        self._looks: Looks | None = None
        self._views: dict[tuple[int, int, int], _View] = {}
        self._ambient = float(model.vis.headlight.ambient[0])
        self._take_light()
        self._drawn: Snapshot | None = None

    def render(self, snapshot: Snapshot, camera: str, width: int, height: int) -> Picture:
        """See `Renderer.render`."""
        index = camera_id(self._scene, camera, width, height)
        if snapshot is not self._drawn:
            self._dress(snapshot.looks)
            self._data.qpos[:] = snapshot.qpos
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_camlight(self._model, self._data)
            self._drawn = snapshot
        view = self._views.get((index, width, height))
        if view is None:
            blind = camera in self._scene.blind_cameras
            groups = (GROUP_HAND, GROUP_CUBE) if blind else (GROUP_ARM, GROUP_HAND, GROUP_CUBE)
            moving = np.flatnonzero(np.isin(self._model.geom_group, groups))
            view = _View(camera_rays(float(self._model.cam_fovy[index]), width, height), moving)
            self._views[index, width, height] = view
        pose = np.append(self._data.cam_xpos[index], self._data.cam_xmat[index])
        still = view.pose is not None and np.array_equal(pose, view.pose)
        if view.background is None or view.depth is None or not still:
            view.background, view.depth = self._cast(index, view.rays, (GROUP_STATIC,))
            view.pose = pose
        picture, depth = view.background.copy(), view.depth
        pixels = self._pixels_of(index, view.moving, width, height)
        if len(pixels):
            groups = tuple(np.unique(self._model.geom_group[view.moving]).tolist())
            colours, nearer = self._cast(index, view.rays[pixels], groups)
            front = nearer < depth[pixels]
            picture[pixels[front]] = colours[front]
        return picture.reshape(height, width, 3)

    def close(self) -> None:
        """See `Renderer.close`."""
        self._views.clear()

    def _dress(self, looks: Looks | None) -> None:
        if looks is None or looks == self._looks:
            return
        looks.apply(self._model)
        self._looks = looks
        self._take_light()
        for view in self._views.values():  # what was kept shows the last episode's
            view.background = view.depth = None

    def _take_light(self) -> None:
        lamp = self._model.light("lamp")
        self._to_light = -lamp.dir / np.linalg.norm(lamp.dir)
        self._diffuse = float(lamp.diffuse[0])

    def _pixels_of(self, index: int, geoms: NDArray[np.intp], width: int, height: int) -> NDArray[np.intp]:
        """Pixels (row-major indices) within the geoms' projected bounding boxes."""
        model, data = self._model, self._data
        centre, half = model.geom_aabb[geoms, :3], model.geom_aabb[geoms, 3:]
        local = centre[:, None] + half[:, None] * _CORNERS  # (geoms, 8, 3)
        world = np.einsum("gij,gcj->gci", data.geom_xmat[geoms].reshape(-1, 3, 3), local) + data.geom_xpos[geoms, None]
        seen = (world - data.cam_xpos[index]) @ data.cam_xmat[index].reshape(3, 3)
        ahead = -seen[..., 2]
        scale = height / (2 * np.tan(np.radians(model.cam_fovy[index]) / 2)) / np.maximum(ahead, 1e-3)
        column, row = seen[..., 0] * scale + width / 2, height / 2 - seen[..., 1] * scale
        mask = np.zeros((height, width), dtype=bool)
        for i in np.flatnonzero((ahead > 1e-3).any(axis=1)):
            left, right = max(int(column[i].min()) - 1, 0), min(int(column[i].max()) + 2, width)
            top, bottom = max(int(row[i].min()) - 1, 0), min(int(row[i].max()) + 2, height)
            if left < right and top < bottom:
                mask[top:bottom, left:right] = True
        return np.flatnonzero(mask)

    def _cast(
        self, index: int, rays: NDArray[np.float64], groups: tuple[int, ...]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        model, data, count = self._model, self._data, len(rays)
        shown = np.zeros(6, np.uint8)
        shown[list(groups)] = 1
        world_rays = np.ascontiguousarray(rays @ data.cam_xmat[index].reshape(3, 3).T).ravel()
        geoms = np.empty(count, np.int32)
        depth = np.empty(count)
        normals = np.empty(3 * count)
        origin = data.cam_xpos[index].copy()
        mujoco.mj_multiRay(model, data, origin, world_rays, shown, True, -1, geoms, depth, normals, count, 1e6)
        shade = self._ambient + self._diffuse * np.maximum(normals.reshape(-1, 3) @ self._to_light, 0.0)
        colours = np.minimum(model.geom_rgba[geoms, :3] * shade[:, None], 1.0) * 255.0 + 0.5
        colours[geoms < 0] = _SKY
        depth[geoms < 0] = np.inf
        return colours.astype(np.uint8), depth


class EglRenderer:
    """Draws with OpenGL through EGL, without shadows. It stays with the thread that made it, as its GL context does.

    Raises:
        SimulationError: if EGL or its driver is absent.
    """

    def __init__(self, scene: Drawable) -> None:
        self._scene = scene
        self._model = model = copy.copy(scene.model)
        self._data = mujoco.MjData(model)
        self._largest = int(model.vis.global_.offwidth), int(model.vis.global_.offheight)
        try:
            # MuJoCo's own Renderer takes the platform from MUJOCO_GL when it is first imported: too late for us.
            self._gl = importlib.import_module("mujoco.egl").GLContext(*self._largest)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except (ImportError, AttributeError, RuntimeError, OSError, mujoco.FatalError) as error:
            raise SimulationError(
                f"EGL cannot be opened: {error}.",
                remedy="Install libegl1 and libgl1-mesa-dri, or use the ray renderer.",
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._drawing = mujoco.MjvScene(model, maxgeom=1000)
        self._drawing.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False  # as the ray camera, and several times faster
        self._drawing.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = [group != GROUP_UNSEEN for group in range(len(self._options.geomgroup))]

    def render(self, snapshot: Snapshot, camera: str, width: int, height: int) -> Picture:
        """See `Renderer.render`; at most 1280 x 960."""
        view = mujoco.MjvCamera()
        view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        view.fixedcamid = camera_id(self._scene, camera, width, height)
        if width > self._largest[0] or height > self._largest[1]:
            raise ConfigError(
                f"A picture of {width} x {height} px was asked for.",
                remedy=f"EGL draws up to {self._largest[0]} x {self._largest[1]} px.",
            )
        model, data = self._model, self._data
        if snapshot.looks is not None:
            snapshot.looks.apply(model)
        data.qpos[:] = snapshot.qpos
        mujoco.mj_forward(model, data)
        mujoco.mjv_updateScene(model, data, self._options, None, view, mujoco.mjtCatBit.mjCAT_ALL, self._drawing)
        self._gl.make_current()
        area = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(area, self._drawing, self._context)
        picture = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(picture, None, area, self._context)
        return np.flipud(picture).copy()

    def close(self) -> None:
        """See `Renderer.close`."""
        self._context.free()
        self._gl.free()


def camera_id(scene: Drawable, camera: str, width: int, height: int) -> int:
    """Index of a camera.

    Raises:
        ConfigError: if there is no such camera, or the picture's size is not positive.
    """
    index = int(mujoco.mj_name2id(scene.model, mujoco.mjtObj.mjOBJ_CAMERA, camera))
    if index < 0:
        names = ", ".join(scene.model.camera(i).name for i in range(scene.model.ncam))
        raise ConfigError(f"The world has no camera '{camera}'.", remedy=f"Choose one of: {names}.")
    if width < 1 or height < 1:
        raise ConfigError(f"A picture of {width} x {height} px was asked for.", remedy="Give a positive size.")
    return index


def camera_rays(fovy_deg: float, width: int, height: int) -> NDArray[np.float64]:
    """Unit directions (height * width, 3) of a pinhole camera's pixel centres, row by row from the top left.

    In the camera's frame as MuJoCo has it: x right, y up, looking along -z.
    """
    top = np.tan(np.radians(fovy_deg) / 2)
    x = (np.arange(width) + 0.5 - width / 2) * (2 * top / height)
    y = (height / 2 - np.arange(height) - 0.5) * (2 * top / height)
    X, Y = np.meshgrid(x, y)
    rays = np.stack([X, Y, -np.ones_like(X)], axis=-1).reshape(-1, 3)
    return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True), dtype=np.float64)
