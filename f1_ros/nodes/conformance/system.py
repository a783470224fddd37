"""What runs under `f1-ros robot conformance`: the action node with the profile that is tried, and a twin or a robot.

The twin keeps the packaged profile of its robot, whatever the one that is tried says: it is the robot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from f1_ros.bringup import BRINGUPS
from f1_ros.config import read_yaml
from f1_ros.errors import BringUpError, ProfileError
from f1_ros.processes import BringUp, OnExit, Parameter, ProcessSpec
from f1_ros.robots.files import profile_path, read_profile
from f1_ros.robots.profile import RobotProfile

ACTION_NODE = "action_node"
REAL_SCALE = 0.1
"""A robot is moved at this part of the profile's velocities, accelerations and jerks, at most."""

TWINS: Mapping[str, str] = {
    "franka_fr3": "franka",
    "franka_panda": "franka",
    "genie1": "genie1",
    "genie1_simulator": "genie1",
    "arx_lift2_x5": "arx_lift2",
    "arx_lift2_acone": "arx_lift2",
}
"""Packaged profiles of which there is a twin, and the bring-up that starts it."""
ALONE: Mapping[str, Mapping[str, Parameter]] = {"sim_node": {"cubes": False}, "twin_node": {"repeat": False}}
"""With what nothing goes on around the twin."""


@dataclass(frozen=True)
class Subject:
    """What is tried.

    Attributes:
        path: the profile's file.
        profile: what it says.
        twin: the packaged profile that the twin is made for; None: the robot itself is tried.
    """

    path: Path
    profile: RobotProfile
    twin: RobotProfile | None

    def describe(self) -> BringUp:
        """The processes: of a robot the action node alone, its drivers run already."""
        # A process that dies ends the run: what it did before must not be judged together with what comes after.
        end = OnExit.END_SYSTEM
        parameters: dict[str, Parameter] = {"profile": str(self.path), "use_sim_time": self.twin is not None}
        action = ProcessSpec(ACTION_NODE, ACTION_NODE, end, "commands to the robot", parameters)
        if self.twin is None:
            return BringUp("conformance", (action,))
        values = {"sim": "true", "policy": "none", "profile": self.twin.name}
        robot = [
            replace(process, parameters={**process.parameters, **ALONE.get(process.executable, {})}, restarts=0)
            for process in BRINGUPS[TWINS[self.twin.name]].build(values).processes
            if process.name != ACTION_NODE
        ]
        return BringUp("conformance", (*robot, action))


def subject(name_or_path: str, twin: str, *, real: bool, folder: Path) -> Subject:
    """What is to be tried.

    Args:
        name_or_path: a name in config/robots, or a profile's file.
        twin: the packaged profile whose twin is the robot; empty: the one that the profile is named after.
        real: the robot itself, with a copy of the profile that is scaled down.
        folder: where such a copy is written to.

    Raises:
        ProfileError: if the profile cannot be read.
        BringUpError: if there is no such twin.
    """
    path = profile_path(name_or_path).absolute()
    profile = read_profile(path, simulated=not real)
    if real:
        path = slowed(path, folder)
        return Subject(path, read_profile(path), None)
    if (twin or profile.name) not in TWINS:
        raise BringUpError(
            f"There is no twin of '{twin or profile.name}'.",
            remedy=f"Name the one that is your robot's with --twin ({', '.join(TWINS)}), or try the robot with --real.",
        )
    return Subject(path, profile, read_profile(profile_path(twin or profile.name), simulated=True))


def slowed(path: Path, folder: Path) -> Path:
    """A copy of a profile for moving a robot slowly: `scale` at most REAL_SCALE."""
    data: Any = read_yaml(path, ProfileError)
    scale = data.get("scale", 1.0)
    data["scale"] = min(scale, REAL_SCALE) if isinstance(scale, int | float) else scale
    for arm in data["arms"]:
        chain = arm.get("kinematics")
        if isinstance(chain, str) and (Path(chain).suffix or len(Path(chain).parts) > 1):
            arm["kinematics"] = str((path.parent / chain).absolute())
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / path.name
    copy.write_text(yaml.safe_dump(data), encoding="utf-8")
    return copy
