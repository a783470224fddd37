"""What is measured of an episode: why it failed, how smooth its commands were, and how sure a share of successes is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from f1_ros.errors import ConfigError
from f1_ros.sim.kinematics import Array
from f1_ros.sim.scene import CUBE_REST_Z, TICK_NS
from f1_ros.sim.world import BeltWorld

REACTION = 1e-3
"""A command that differs by more than this is a reaction, rad."""

_OPEN = 0.07  # a hand that is narrower than this is closing, m
_Z95 = 1.959963984540054

Failure = Literal["never_reached", "missed_grasp", "slipped", "knocked", "timeout", "wrong_cube", "stopped"]

TaskFailure = Literal["lost", "not_picked", "not_handed_over", "not_binned", "not_pressed"]
"""Of a twin's task: the thing got where no hand reaches it, or the first stage that was not done in time."""


class CommandedWorld(BeltWorld):
    """A belt world that keeps the arm's commands.

    Attributes:
        commands: the arm's target of every tick since the reset, each (7,) rad; 100 Hz.
        reverse_tick: tick before which the belt turns round; None, as after a reset: it does not.
        grasped_at_reversal: the fingers were closing or closed when it did.
    """

    def reset(self, seed: int) -> None:
        """See `BeltWorld.reset`."""
        self.commands: list[Array] = []
        self.reverse_tick: int | None = None
        self.grasped_at_reversal = False
        super().reset(seed)

    def step(self, joints: Array, widths: Array | float) -> None:
        """See `BeltWorld.step`."""
        if len(self.commands) == self.reverse_tick:
            self.grasped_at_reversal = self.gripper_width < _OPEN
            self.reverse_belt()
        super().step(joints, widths)
        self.commands.append(np.array(joints, dtype=np.float64))


def rms_jerk(commands: Array) -> float | None:
    """Root mean square of the commanded jerk over all ticks and joints, rad/s3; None of fewer than four commands.

    The jerk is the third difference of successive commands over the tick's length to the third power. It takes in all
    that reaches the arm, after the limiter: the lower, the smoother.

    Args:
        commands: (ticks, joints) rad, one every 10 ms.
    """
    if len(commands) < 4:
        return None
    jerk = np.diff(np.asarray(commands), n=3, axis=0) / (TICK_NS * 1e-9) ** 3
    return float(np.sqrt(np.mean(jerk**2)))


def reaction_time(plain: Array, reversed_: Array, tick: int) -> float | None:
    """Time from an event to the first command that differs from those without it by more than `REACTION`, s.

    Args:
        plain: (ticks, joints) rad, commands of the run without the event, one every 10 ms.
        reversed_: the same with it.
        tick: tick before which the event took place.

    Returns:
        None if no command differs while both runs last.
    """
    last = min(len(plain), len(reversed_))
    differs = np.abs(plain[tick:last] - reversed_[tick:last]).max(axis=1, initial=0.0) > REACTION
    return float(np.argmax(differs)) * TICK_NS / 1e9 if differs.any() else None


def wilson_interval(successes: int, episodes: int) -> tuple[float, float]:
    """95 % Wilson score interval (Wilson 1927) of a share.

    Raises:
        ConfigError: if there are no episodes, or more successes than episodes.
    """
    if episodes < 1 or not 0 <= successes <= episodes:
        raise ConfigError(f"{successes} successes of {episodes} episodes.", remedy="Evaluate at least one episode.")
    p, z2 = successes / episodes, _Z95**2
    centre = (p + z2 / (2 * episodes)) / (1 + z2 / episodes)
    half = _Z95 / (1 + z2 / episodes) * math.sqrt(p * (1 - p) / episodes + z2 / (4 * episodes**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float, float]:
    """How much more often the first succeeds than the second in the same episodes: share, and its 95 % interval.

    Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions based on paired data",
    method 10: Wilson's intervals of both shares, joined by their correlation.

    Raises:
        ConfigError: if there are no episodes, or not as many of the one as of the other.
    """
    if len(first) != len(second):
        raise ConfigError(
            f"{len(first)} episodes against {len(second)}.", remedy="Evaluate both with the same episodes and seed."
        )
    n, wins = len(first), (sum(first), sum(second))
    (low1, high1), (low2, high2) = (wilson_interval(k, n) for k in wins)
    p1, p2 = (k / n for k in wins)
    both = sum(a and b for a, b in zip(first, second, strict=True))
    neither = n - sum(wins) + both
    only1, only2 = wins[0] - both, wins[1] - both
    spread = wins[0] * (n - wins[0]) * wins[1] * (n - wins[1])
    covered = float(both * neither - only1 * only2)
    if covered > 0.0:
        covered = max(covered - n / 2.0, 0.0)  # for continuity
    phi = covered / math.sqrt(spread) if spread else 0.0
    below, above = ((p1 - low1), (high2 - p2)), ((high1 - p1), (p2 - low2))
    down, up = (math.sqrt(max(a * a - 2.0 * phi * a * b + b * b, 0.0)) for a, b in (below, above))
    return p1 - p2, p1 - p2 - down, p1 - p2 + up


class FailureWatch:
    """Looks at the world after each step and says in the end why a cube was not picked."""

    def __init__(self, world: BeltWorld) -> None:
        self._world = world
        self._nearest = math.inf
        self._highest = 0.0
        self._closed = self._knocked = False

    def look(self) -> None:
        """Call once a step."""
        world = self._world
        cube = world.target
        if cube is None:
            return
        offset = cube.position - world.tool_position
        self._nearest = min(self._nearest, float(np.linalg.norm(offset)))
        self._highest = max(self._highest, float(cube.position[2]) - CUBE_REST_Z)
        self._closed |= world.gripper_width < 0.03
        slid = np.linalg.norm(cube.velocity[:2] - (0.0, world.belt_speed)) > 0.10
        self._knocked |= cube.place == "floor" or bool(cube.place == "belt" and slid and world.gripper_width > 0.045)

    def reason(self) -> Failure:
        """The likeliest reason, the first that holds of: wrong cube, slipped, knocked, missed grasp, never reached,
        timeout.
        """
        if self._world.wrong_picks:
            return "wrong_cube"
        if self._highest > 0.02:
            return "slipped"
        if self._knocked:
            return "knocked"
        if self._closed:
            return "missed_grasp"
        return "never_reached" if self._nearest > 0.05 else "timeout"
