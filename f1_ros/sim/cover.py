"""A cover over a part of the belt: a flat panel under which the cube rides unseen for a drawn time.

    cover = plan_cover(config, rng, belt_speed, start_y)     start_y: where the cube is at the end of the pre-roll
    world.place_cover(cover)

The panel lies above the cube and below the hand at approach height. Nothing collides with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from f1_ros.sim.config import BeltConfig
from f1_ros.sim.scene import BELT_TOP, COVER_Z, CUBE_HALF

FINGERS_Y = 0.070
"""Half of the open hand's width at the fingers along y, with 4 mm to spare, m: so far from a panel it may go down."""

_LOOK_IN, _LOOK_OUT = 0.022, 0.010  # a hand not above the cube sees under an edge: the cube must be this far in, m
_FRONT_Z = 0.62  # height of the front camera, which looks at the belt from y = 0, m
_REACH = 0.60  # a cube must have been picked before it is farther than this along the belt, m
_PICK_S = 0.85  # descending, closing and lifting take the scripted expert this long, s


@dataclass(frozen=True)
class Cover:
    """Where the panel lies, and when it hides the cube; times count from the end of the pre-roll.

    Attributes:
        start_y: y of the cube at the end of the pre-roll, m.
        low_y: y of the panel's edge towards -y, m.
        high_y: y of the panel's edge towards +y, m.
        hidden_from_s: from then on, at the latest, neither camera sees anything of the cube, s.
        hidden_to_s: until then, at the earliest, s.
        free_s: from then on the hand can go down to the cube without touching the panel, s.
    """

    start_y: float
    low_y: float
    high_y: float
    hidden_from_s: float
    hidden_to_s: float
    free_s: float

    @property
    def span(self) -> tuple[float, float]:
        """Both edges along y, the lower one first, m."""
        return self.low_y, self.high_y


def plan_cover(config: BeltConfig, rng: np.random.Generator, belt_speed: float, start_y: float) -> Cover:
    """Draw an episode's cover.

    Args:
        config: its `cover_lead_s` and `cover_s` are drawn from; its `cube_y` is where cubes start.
        rng: what to draw with.
        belt_speed: m/s, signed, not 0.
        start_y: a draw from `config.cube_y`, m. It is scaled to the part of that range from which the cube comes out
            early enough to be picked within the arm's reach, whatever the speed.
    """
    speed, sign = abs(belt_speed), float(np.sign(belt_speed))
    lead, hidden = rng.uniform(*config.cover_lead_s), rng.uniform(*config.cover_s)
    # Along the belt, in its direction. A turned cube is longer.
    half = CUBE_HALF * (np.cos(min(config.cube_yaw, np.pi / 4)) + np.sin(min(config.cube_yaw, np.pi / 4)))
    low, high = sorted(sign * y for y in config.cube_y)
    way = speed * (lead + hidden + _PICK_S) + 3 * half + _LOOK_IN + _LOOK_OUT + FINGERS_Y
    last = min(high, _REACH - way)
    first = min(low, last)
    share = (sign * start_y - low) / (high - low) if high > low else 0.0
    start = first + share * (last - first)
    near = start + speed * lead + half
    # The front camera looks in at a slant: from y = 0, over the panel's edge, at the cube's foot or at its top.
    foot, top = (1 - (COVER_Z - z) / (_FRONT_Z - z) for z in (BELT_TOP, BELT_TOP + 2 * CUBE_HALF))
    tail = max(near / foot, near / top) + _LOOK_IN
    head = tail + 2 * half + speed * hidden
    far = max(head * foot, head * top) + _LOOK_OUT
    edges = sorted((sign * near, sign * far))
    hidden_from = (tail + half - start) / speed
    return Cover(sign * start, edges[0], edges[1], hidden_from, hidden_from + hidden, (far + FINGERS_Y - start) / speed)
