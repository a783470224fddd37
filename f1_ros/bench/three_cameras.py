"""A robot with three cameras and a policy for it, to measure the path between them: the arm follows, no task is done.

The profile is the Franka's with a third camera. The policy has the shipped network's form, with an image more, and
random weights: it takes as long as a trained one, and its chunks leave the arm about where it is.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import yaml

from f1_ros.bringup import franka
from f1_ros.bringup_options import FrankaOptions
from f1_ros.paths import share_dir
from f1_ros.processes import BringUp, OnExit, ProcessSpec

CAMERAS = ("front", "wrist", "side")
CAMERA_HZ = 30.0
_SIDE = {"topic": "/camera/side/color/image_raw", "type": "sensor_msgs/msg/Image", "sizes": [[640, 480]]}
_SPREAD = 1e-4
"""Standard deviation of the actions about the present state, rad: the arm all but stands."""


def write_profile(path: Path) -> None:
    """Write the Franka's profile with a third camera."""
    tree = yaml.safe_load((share_dir() / "config" / "robots" / "franka_fr3.yaml").read_text(encoding="utf-8"))
    tree["cameras"].append({"name": CAMERAS[-1], **_SIDE, "rate_hz": CAMERA_HZ, "min_rate_hz": CAMERA_HZ / 2})
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


def write_three_camera_policy(folder: Path) -> None:
    """Write a policy directory of the shipped policy's form for three cameras, with random weights."""
    import torch

    from f1_ros.engine.policy import load_policy_file
    from f1_ros.model.config import F1Config
    from f1_ros.model.f1 import F1Model
    from f1_ros.train.export import write_policy

    shipped = share_dir() / "models" / "f1_belt"
    network = json.loads((shipped / "config.json").read_text(encoding="utf-8"))
    vision = network["und_expert_config"]["vision_config"]
    past = vision["views"][vision["cameras"] :]
    vision["cameras"] = len(CAMERAS)
    vision["views"] = [*range(len(CAMERAS)), *past]
    file = load_policy_file(shipped)
    spec = dataclasses.replace(file.spec, name="three cameras", cameras=CAMERAS)
    entries = len(spec.state_names)
    stats = {"mode": "mean_std", "mean": [0.0] * entries, "std": [1.0] * entries}
    arm = [float(relative) for relative in file.relative_actions]
    actions = {"mode": "mean_std", "mean": [0.04 * (1.0 - a) for a in arm], "std": [_SPREAD] * entries}
    torch.manual_seed(0)
    write_policy(
        folder,
        F1Model(F1Config.from_dict(network)),
        dataclasses.replace(file, spec=spec),
        {"observation.state": stats, "action": actions},
        shipped,
    )


def describe(folder: Path, control_rate_hz: float = 0.0, one_process: bool = False) -> BringUp:
    """The system, tracing into `folder`, which holds the profile and the policy as well.

    Args:
        folder: where both are written to.
        control_rate_hz: commands per second, Hz; 0: the profile's.
        one_process: observation and policy share a process.
    """
    profile, policy = folder / "three_cameras.yaml", folder / "policy"
    write_profile(profile)
    write_three_camera_policy(policy)
    system = franka(
        FrankaOptions(
            profile=str(profile),
            policy=str(policy),
            mode="policy",
            control_rate=control_rate_hz,
            one_process=one_process,
        )
    )
    robot = ProcessSpec(
        "stand_in_node",
        "stand_in_node",
        OnExit.END_SYSTEM,
        "robot and cameras that are not there",
        {"profile": str(profile), "camera_rate": CAMERA_HZ},
    )
    traced = [
        dataclasses.replace(p, parameters={**p.parameters, "trace": str(trace_folder(folder))})
        for p in system.processes
    ]
    return BringUp("three cameras", (robot, *traced))


def trace_folder(folder: Path) -> Path:
    """Where `describe`'s nodes trace into."""
    return folder / "trace"
