"""How far a compiled engine may be from PyTorch in float32, by precision; what it was held to stands in its record.

A stage is held to the bounds of its own precision, with the reference's inputs. The whole is held to those of its
coarsest stage. An action's error is in rad (m for a gripper). Its bounds are from the robot's profile: a joint may be
where it would be so many control periods earlier or later at its highest speed, a gripper so many times its hysteresis
from where it should be. Where codes may flip, a chunk's far steps now and then go another way, and a gripper closes a
step sooner: so nearly all errors (95 of 100) have one bound and the largest has another, which grippers do not have.
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
        action: largest error of any action, rad or m; None: no bound.
        usual: 95th percentile of an action's errors over all steps, in control periods or hysteresis.
        largest: largest error of a joint, in control periods.
    """

    cosine: float
    error: float
    flips: float
    codes: float
    action: float | None
    usual: float
    largest: float


BOUNDS: dict[Precision, Bounds] = {  # from the finest to the coarsest
    # The order of summation: nothing else may differ.
    "fp32": Bounds(cosine=1 - 1e-8, error=1e-4, flips=0.0, codes=0.0, action=1e-4, usual=0.1, largest=0.1),
    # Two to three times what the shipped policy shows where products are rounded to 11 and to 8 bits (docs/gpu.md).
    "fp16": Bounds(cosine=1 - 5e-6, error=0.02, flips=0.02, codes=0.02, action=None, usual=0.05, largest=0.2),
    "bf16": Bounds(cosine=1 - 3e-4, error=0.2, flips=0.06, codes=0.06, action=None, usual=0.15, largest=1.0),
    "int8": Bounds(cosine=0.995, error=0.5, flips=0.1, codes=0.1, action=None, usual=0.5, largest=3.0),
}


def loosest(precisions: Iterable[Precision]) -> Bounds:
    """The bounds of an engine whose stages have these precisions."""
    used = set(precisions)
    return next(bounds for precision, bounds in reversed(BOUNDS.items()) if precision in used)


@dataclass(frozen=True)
class ActionBounds:
    """Of one action, rad or m.

    Attributes:
        usual: 95th percentile of its errors.
        largest: largest error; None: no bound.
    """

    usual: float
    largest: float | None


def action_bounds(bounds: Bounds, names: Iterable[str], profile: RobotProfile) -> dict[str, ActionBounds]:
    """The bounds of each action.

    Raises:
        ConfigError: if an action is neither a joint nor a gripper of the profile.
    """
    periods = {
        name: speed / profile.rates.control for name, speed in zip(profile.joints, profile.limits.velocity, strict=True)
    }
    hysteresis = {gripper.name: gripper.hysteresis for gripper in profile.grippers}
    found = {}
    for name in names:
        unit = periods.get(name, hysteresis.get(name))
        if unit is None:
            raise ConfigError(
                f"Profile '{profile.name}' has no {name}.", remedy="Give the profile that the policy was trained for."
            )
        absolute = math.inf if bounds.action is None else bounds.action
        largest = min(absolute, bounds.largest * unit) if name in periods else bounds.action
        found[name] = ActionBounds(min(absolute, bounds.usual * unit), largest)
    return found
