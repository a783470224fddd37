"""What is asked for at the belt, in words and in cubes.

Task "one": a single cube comes, and is to be picked. Task "colour": two or three cubes of different colours ride
together, and the one that the instruction names is to be picked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from f1_ros.sim.config import BeltConfig, Rgb

Colour = Literal["red", "green", "blue", "yellow"]

COLOURS: tuple[Colour, ...] = ("red", "green", "blue", "yellow")
CUBE_RGB: tuple[Rgb, ...] = ((0.93, 0.16, 0.10), (0.14, 0.66, 0.20), (0.16, 0.24, 0.92), (0.95, 0.84, 0.12))
"""Colours of the cubes of task "colour", in the order of `COLOURS`."""

ONE_INSTRUCTION = "pick the cube from the belt"
COLOUR_INSTRUCTIONS = tuple(f"pick the {colour} cube" for colour in COLOURS)

_GAP_Y = (0.11, 0.14)  # between the middles of neighbours along y: room for the fingers, m


@dataclass(frozen=True)
class Group:
    """Cubes that ride together. Cubes are named by their index in `COLOURS`; task "one" has cube 0 alone.

    Attributes:
        target: the one to be picked.
        target_y: where it is relative to the middle of the group, along y, m.
        others: the others: index, x in m, and y relative to the target, m.
    """

    target: int = 0
    target_y: float = 0.0
    others: tuple[tuple[int, float, float], ...] = ()


def draw_group(config: BeltConfig, rng: np.random.Generator) -> Group:
    """Draw which cubes come, in which order, how far apart, and which of them counts; nothing is drawn for "one"."""
    if config.task == "one":
        return Group()
    count = int(rng.integers(2, 4))
    cubes = rng.permutation(len(COLOURS))[:count]
    y = np.concatenate([[0.0], np.cumsum(rng.uniform(*_GAP_Y, count - 1))])
    y -= y[-1] / 2
    x = rng.uniform(*config.cube_x, count)
    place = int(rng.integers(count))
    others = tuple((int(cubes[i]), float(x[i]), float(y[i] - y[place])) for i in range(count) if i != place)
    return Group(int(cubes[place]), float(y[place]), others)
