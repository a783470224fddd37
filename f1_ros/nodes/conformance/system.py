"""What runs under `f1-ros robot conformance`: the action node with the profile that is tried, and a twin or a robot.

The twin keeps the packaged profile of its robot, whatever the one that is tried says: it is the robot.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class Subject:
    """What is tried.

    Attributes:
        path: the profile's file.
        profile: what it says.
        bringup: name of the bring-up that starts its twin; empty for a robot.
        twin: the packaged profile that the twin keeps; None: the robot itself is tried.
    """

    path: Path
    profile: RobotProfile
    bringup: str
    twin: RobotProfile | None

    def describe(self) -> BringUp:
        """The processes: of a robot the action node alone, its drivers run already."""
        if self.twin is None:
            parameters: dict[str, Parameter] = {"profile": str(self.path)}
            node = ProcessSpec(ACTION_NODE, ACTION_NODE, OnExit.END_SYSTEM, "commands to the robot", parameters)
            return BringUp("conformance", (node,))
        built = BRINGUPS[self.bringup].build({"policy": "none", "sim": "true", "profile": str(self.path)})
        processes = []
        for process in built.processes:
            parameters = dict(process.parameters)
            if process.name != ACTION_NODE:
                parameters["profile"] = self.twin.name
                if process.executable == "sim_node":
                    parameters["cubes"] = False
            # A process that dies ends the run: what it did before must not be judged together with what comes after.
            processes.append(replace(process, parameters=parameters, restarts=0))
        return BringUp("conformance", tuple(processes))


def subject(name_or_path: str, bringup: str, *, real: bool, folder: Path) -> Subject:
    """What is to be tried.

    Args:
        name_or_path: a name in config/robots, or a profile's file.
        bringup: the bring-up that starts its twin; empty: the one whose name begins the profile's.
        real: the robot itself, with a copy of the profile that is scaled down.
        folder: where such a copy is written to.

    Raises:
        ProfileError: if the profile cannot be read.
        BringUpError: if no bring-up starts its twin.
    """
    path = profile_path(name_or_path).absolute()
    profile = read_profile(path, simulated=not real)
    if real:
        path = slowed(path, folder)
        return Subject(path, read_profile(path), "", None)
    found = bringup or next((known for known in BRINGUPS if profile.name.startswith(known)), "")
    if found not in BRINGUPS:
        raise BringUpError(
            f"No bring-up starts a twin of profile '{profile.name}'.",
            remedy=f"Name one with --bringup: {', '.join(BRINGUPS)}.",
        )
    return Subject(path, profile, found, _packaged(profile.name, found))


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


def _packaged(name: str, bringup: str) -> RobotProfile:
    """The packaged profile of that name, or else the bring-up's own."""
    try:
        return read_profile(profile_path(name), simulated=True)
    except ProfileError:
        default = next(a.default for a in BRINGUPS[bringup].arguments if a.name == "profile")
        return read_profile(profile_path(default), simulated=True)
