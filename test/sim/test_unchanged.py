"""What the shipped policy was trained on stays as it was: pictures and draws to the bit, motion to 10 micrometres.

The hashes were made before covers, variations and coloured cubes came in. Motion is rounded, since another processor's
linear algebra differs in its last bits.
"""

import hashlib

import numpy as np
import pytest

from f1_ros.sim.camera import RayRenderer
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.demonstrations import demonstrate
from f1_ros.sim.world import BeltWorld


def digest(*arrays) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def rounded(array) -> np.ndarray:
    return np.nan_to_num(np.round(np.asarray(array, dtype=float) * 1e5), nan=-1.0).astype(np.int64)


@pytest.mark.parametrize(
    ("config", "motion", "pictures"),
    [
        (BeltConfig(), "a48dfc6d516e4240", "c9945c7443846b0a"),
        (BeltConfig(cube_yaw=0.5), "8a70e3aa0374285f", "be593beafddeab44"),
    ],
)
def test_demonstrations_are_those_of_the_shipped_policy(config, motion, pictures) -> None:
    world = BeltWorld(config)
    renderer = RayRenderer(world.scene)
    made = [demonstrate(world, 1, episode) for episode in (0, 3)]
    assert digest(*(rounded(getattr(e, n)) for e in made for n in ("state", "action", "cube", "tool"))) == motion
    shots = [s for e in made for s in e.snapshots[::6]]
    assert digest(*(renderer.render(s, c, 96, 96) for s in shots for c in ("front", "wrist"))) == pictures


def test_worlds_are_drawn_and_seen_as_they_were() -> None:
    world = BeltWorld(BeltConfig(noise=3.0))
    world.reset(9)
    speed, start = world.belt_speed, world.draw_start()
    assert (speed, *start) == (-0.14309978599926218, 0.4915380120490508, 0.10811809475486536)
    world.drop_cube(start)
    assert digest(*(world.render(camera) for camera in ("front", "wrist", "scene"))) == "4799bc5043ecf50e"
