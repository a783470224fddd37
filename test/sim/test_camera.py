"""Cameras: the cube is seen where it is, pictures are deterministic, and rendering never touches the physics."""

import threading

import numpy as np
import pytest

from f1_ros.errors import ConfigError, SimulationError
from f1_ros.sim.camera import EglRenderer, RayRenderer, camera_rays, open_renderer
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.world import BeltWorld


@pytest.fixture
def world() -> BeltWorld:
    world = BeltWorld(BeltConfig(speed=(0.1, 0.1), direction=1))
    world.reset(3)
    return world


def red(picture) -> np.ndarray:
    r, g, b = (picture[..., i].astype(int) for i in range(3))
    return (r > 100) & (g < 60) & (b < 60)


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_the_cube_is_seen_when_it_is_there_and_not_before(world, camera) -> None:
    assert not red(world.render(camera)).any()
    world.drop_cube((0.45, 0.0))
    assert red(world.render(camera)).sum() >= 10


def test_the_front_camera_sees_the_cube_where_a_pinhole_puts_it(world) -> None:
    # Camera at (1.12, 0, .62), looking at (.44, 0, .10) with 64 degrees over 96 rows; image right is +y.
    forward = np.array([-0.68, 0.0, -0.52]) / np.hypot(0.68, 0.52)
    up = np.array([-0.52, 0.0, 0.68]) / np.hypot(0.68, 0.52)
    focal = 48 / np.tan(np.radians(32))
    for y in (-0.12, 0.0, 0.12):
        world.drop_cube((0.45, y))
        rows, columns = np.nonzero(red(world.render("front")))
        offset = np.array([0.45, y, 0.084]) - [1.12, 0.0, 0.62]
        depth = offset @ forward
        assert columns.mean() + 0.5 == pytest.approx(48 + focal * y / depth, abs=1.0)
        assert rows.mean() + 0.5 == pytest.approx(48 - focal * (offset @ up) / depth, abs=1.5)


def test_pictures_are_rgb_of_the_size_asked_for(world) -> None:
    picture = world.render("scene", 64, 48)
    assert picture.shape == (48, 64, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 10


def test_the_belt_hides_nothing_of_the_bin_and_the_bin_nothing_of_the_belt(world) -> None:
    world.drop_cube((0.54, 0.0))  # at the belt's edge beside the bin
    assert red(world.render("front")).sum() >= 10


def test_rendering_leaves_the_world_as_it_was(world) -> None:
    world.drop_cube()
    twin = BeltWorld(world.config)
    twin.reset(3)
    twin.drop_cube()
    joints = world.joint_positions
    for _ in range(10):
        world.step(joints, 0.08)
        world.render("front")
        world.render("wrist")
        twin.step(joints, 0.08)
    assert np.array_equal(world.snapshot().qpos, twin.snapshot().qpos)


def test_a_snapshot_keeps_its_moment_while_the_world_moves_on(world) -> None:
    world.drop_cube((0.45, 0.0))
    renderer = RayRenderer(world.scene)
    snapshot = world.snapshot()
    before = renderer.render(snapshot, "front", 96, 96)
    for _ in range(50):
        world.step(world.joint_positions, 0.08)
    after = RayRenderer(world.scene).render(snapshot, "front", 96, 96)
    assert np.array_equal(before, after)
    assert not np.array_equal(before, world.render("front"))


def test_another_thread_may_render_while_the_world_steps(world) -> None:
    world.drop_cube((0.45, 0.0))
    snapshot = world.snapshot()
    expected = RayRenderer(world.scene).render(snapshot, "wrist", 96, 96)
    pictures = []

    def draw() -> None:
        renderer = open_renderer(world.scene, "ray")
        pictures.extend(renderer.render(snapshot, "wrist", 96, 96) for _ in range(10))
        renderer.close()

    thread = threading.Thread(target=draw)
    thread.start()
    while thread.is_alive():
        world.step(world.joint_positions, 0.08)
    thread.join()
    assert len(pictures) == 10
    assert all(np.array_equal(picture, expected) for picture in pictures)


def test_moving_geoms_cast_for_their_pixels_alone_give_the_picture_of_all_rays(world) -> None:
    world.drop_cube((0.45, 0.0))
    renderer = RayRenderer(world.scene)
    picture = renderer.render(world.snapshot(), "front", 96, 96)
    everything = BeltWorld(world.config)
    whole = RayRenderer(everything.scene)
    whole._pixels_of = lambda index, geoms, width, height: np.arange(width * height)
    assert np.array_equal(picture, whole.render(world.snapshot(), "front", 96, 96))


def test_camera_noise_is_seeded() -> None:
    pictures = []
    for _ in range(2):
        world = BeltWorld(BeltConfig(noise=5.0))
        world.reset(1)
        pictures.append(world.render("front"))
    clean = BeltWorld()
    clean.reset(1)
    assert np.array_equal(*pictures)
    assert 1.0 < np.abs(pictures[0].astype(int) - clean.render("front")).mean() < 10.0


def test_rays_go_through_pixel_centres() -> None:
    rays = camera_rays(90.0, 2, 2).reshape(2, 2, 3)
    assert rays[0, 0] == pytest.approx(np.array([-0.5, 0.5, -1]) / np.sqrt(1.5))
    assert rays[1, 1] == pytest.approx(np.array([0.5, -0.5, -1]) / np.sqrt(1.5))


def test_unknown_cameras_sizes_and_renderers_are_refused(world) -> None:
    with pytest.raises(ConfigError, match=r"no camera 'back'.*front, scene, wrist"):
        world.render("back")
    with pytest.raises(ConfigError, match="0 x 96"):
        world.render("front", 0, 96)
    with pytest.raises(ConfigError, match="'vulkan'"):
        open_renderer(world.scene, "vulkan")


def test_egl_where_present_draws_nearly_the_same_and_auto_falls_back_where_not(world) -> None:
    world.drop_cube((0.45, 0.0))
    snapshot = world.snapshot()
    ray = RayRenderer(world.scene).render(snapshot, "front", 96, 96).astype(int)
    try:
        renderer = EglRenderer(world.scene)
    except SimulationError:
        assert isinstance(open_renderer(world.scene, "auto"), RayRenderer)
        return
    picture = renderer.render(snapshot, "front", 96, 96)
    assert np.abs(picture - ray).mean() < 8
    with pytest.raises(ConfigError, match="1280 x 960"):
        renderer.render(snapshot, "front", 4000, 4000)
    renderer.close()
