"""The arms that can stand at the belt: Franka's FR3 and the Panda (FER) before it, by what tells them apart.

Both have the same joints in the same places (`config/kinematics/franka.yaml` is of both) and the same hand. Names,
ranges and speeds differ; a profile of the same arm (config/robots) must agree with them. Meshes, masses and motors of
the simulated Panda are the FR3's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from f1_ros.control.limits import JointLimits
from f1_ros.errors import ConfigError


@dataclass(frozen=True)
class FrankaArm:
    """An arm of the belt.

    Attributes:
        prefix: what the names of its joints and links begin with.
        profile: name of its packaged profile.
        embodiment: what policies and datasets call it.
        limits: of its seven joints, rad, rad/s, rad/s2, rad/s3.
    """

    prefix: str
    profile: str
    embodiment: str
    limits: JointLimits

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of its joints, from the base on."""
        return tuple(f"{self.prefix}_joint{i}" for i in range(1, 8))

    @property
    def base(self) -> str:
        """Frame in which the belt's positions are given."""
        return f"{self.prefix}_link0"


FR3 = FrankaArm(
    prefix="fr3",
    profile="franka_fr3",
    embodiment="franka",
    limits=JointLimits(
        lower=(-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
        upper=(2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
        velocity=(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
        acceleration=(10.0,) * 7,
        jerk=(5000.0,) * 7,
    ),
)
"""Limits: franka_description; acceleration and jerk: libfranka."""

PANDA = FrankaArm(
    prefix="panda",
    profile="franka_panda",
    embodiment="franka_panda",
    limits=JointLimits(
        lower=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        upper=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
        velocity=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
        acceleration=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
        jerk=(7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0),
    ),
)
"""Limits: franka_description; acceleration and jerk: libfranka's rate limiting for the FER."""

ARMS = (FR3, PANDA)


def arm_with(joints: Sequence[str]) -> FrankaArm:
    """The arm whose joints have these names, in this order.

    Raises:
        ConfigError: if there is none.
    """
    for arm in ARMS:
        if arm.joints == tuple(joints):
            return arm
    known = " or ".join(f"{arm.joints[0]} .. {arm.joints[-1]}" for arm in ARMS)
    raise ConfigError(
        f"No simulated Franka has the joints {', '.join(joints)}.", remedy=f"Name them as the arm does: {known}."
    )
