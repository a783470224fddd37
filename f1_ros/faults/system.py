"""The simulated system with the relay in it: `f1-ros up franka --sim`, and a process between robot and nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from f1_ros.bringup import franka
from f1_ros.bringup_options import FrankaOptions
from f1_ros.faults.alterations import links
from f1_ros.observe.health import HealthLimits
from f1_ros.processes import BringUp, OnExit, ProcessSpec
from f1_ros.robots.profile import load_profile

RELAY = "relay_node"


def describe(policy: str, record: Path | None = None, profile: str = "franka_fr3") -> BringUp:
    """The system.

    Args:
        policy: policy directory or name; none: without a policy.
        record: folder of a dataset to record into; None: no recorder.
        profile: robot profile.
    """
    options = FrankaOptions(sim=True, profile=profile, policy=policy, record=str(record or ""))
    between = links(load_profile(profile))
    processes = []
    for process in franka(options).processes:
        renamed = tuple((link.topic, link.source) for link in between if link.sender == process.name)
        parameters = dict(process.parameters)
        if process.name == "observation_node":
            # As on a robot: the relay gives the pictures a sensor's noise.
            parameters["frozen_after"] = HealthLimits().frozen_after
        if process.name == "recorder_node":
            parameters["pictures"] = "image"  # some hundred kilobytes in a few seconds
        processes.append(replace(process, parameters=parameters, remappings=(*process.remappings, *renamed)))
    relay = ProcessSpec(
        name=RELAY,
        executable=RELAY,
        on_exit=OnExit.END_SYSTEM,
        role="messages of the robot, altered on command",
        parameters={"profile": profile},
    )
    return BringUp("faults", (relay, *processes))
