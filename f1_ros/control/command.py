"""What the controller decides each tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.arbiter import Mode

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Command:
    """What goes to the robot this tick.

    Attributes:
        position: (joints,) where the arm is to be at the end of this tick, rad, in the order of profile.joints.
        velocity: (joints,) rad/s.
        grippers: widths to command now by gripper name, m; empty in most ticks (grippers are told on change).
        mode: the mode in force.
        source: what the command came from, see `Mode.source`.
        limited: the limiter changed the command.
        reason: why the arm is held or slowed; empty while it follows its source.
    """

    position: Array
    velocity: Array
    grippers: Mapping[str, float]
    mode: Mode
    source: str
    limited: bool
    reason: str
