"""How far a compiled engine may be from PyTorch in float32, by precision; what it was held to stands in its record.

A stage is held to the bounds of its own precision, with the reference's inputs. The whole is held to those of its
coarsest stage. An action's error is in rad (m for a gripper) and has two bounds, of which the smaller counts: one as it
is, and one from the robot's profile, in control periods: a joint may be where it would be that many periods earlier or
later at its highest speed, a gripper that many times its hysteresis from where it should be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from f1_ros.engine.config import Precision
from f1_ros.errors import ConfigError
from f1_ros.robots.profile import RobotProfile


@dataclass(frozen=True)
class Bounds:
    """Largest differences that are let through; see `comparison.Figures`.

    Attributes:
        cosine: least one, of every output of a stage.
        error: largest one, of every output of a stage.
        flips: share of codes, of every output of a stage.
        codes: share of foresight's codes that come out otherwise with the same draws, end to end.
        action: largest error of an action, rad or m.
        periods: the same in control periods at the joint's highest speed, or in the gripper's hysteresis.
    """

    cosine: float
    error: float
    flips: float
    codes: float
    action: float
    periods: float


BOUNDS: dict[Precision, Bounds] = {
    # The order of summation: nothing else may differ.
    "fp32": Bounds(cosine=1 - 1e-8, error=1e-4, flips=0.0, codes=0.0, action=1e-4, periods=0.1),
    "int8": Bounds(cosine=0.99, error=1.0, flips=0.1, codes=0.2, action=math.inf, periods=1.0),
}


def loosest(precisions: Iterable[Precision]) -> Bounds:
    """The bounds of an engine whose stages have these precisions."""
    return BOUNDS["int8" if "int8" in set(precisions) else "fp32"]


def action_bounds(bounds: Bounds, names: Iterable[str], profile: RobotProfile) -> dict[str, float]:
    """Largest error of each action, rad or m.

    Raises:
        ConfigError: if an action is neither a joint nor a gripper of the profile.
    """
    speeds = dict(zip(profile.joints, profile.limits.velocity, strict=True))
    hysteresis = {gripper.name: gripper.hysteresis for gripper in profile.grippers}
    unit = {name: speed / profile.rates.control for name, speed in speeds.items()} | hysteresis
    unknown = [name for name in names if name not in unit]
    if unknown:
        raise ConfigError(
            f"Profile '{profile.name}' has no {', '.join(unknown)}.",
            remedy="Give the profile that the policy was trained for.",
        )
    return {name: min(bounds.action, bounds.periods * unit[name]) for name in names}
