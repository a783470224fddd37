"""`f1-ros camera`: whether a robot's cameras give what its policy needs."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from f1_ros.cli.up import add_discovery, discovery

if TYPE_CHECKING:
    from f1_ros.cli.report import Report
    from f1_ros.observe.camera_findings import Findings

SHORTEST_S = 1.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `camera check`."""
    camera = subparsers.add_parser("camera", help="check a robot's cameras")
    commands = camera.add_subparsers(metavar="COMMAND", required=True)
    check = commands.add_parser(
        "check",
        help="rate, jitter, loss, age, skew, exposure and field of view of the cameras, and what to change",
        description="Listen to the cameras of a profile while the robot stands still, and say what to change.",
    )
    check.add_argument("profile", nargs="?", default="franka_fr3", metavar="PROFILE", help="a profile's name or file")
    check.add_argument("--seconds", type=float, default=5.0, metavar="S", help="how long to listen (default 5)")
    check.add_argument("--policy", type=Path, metavar="DIR", help="compare with what this policy was trained on")
    check.add_argument("--json", type=Path, metavar="FILE", help="also write the findings here")
    check.add_argument("--sim-time", action="store_true", help="the cameras are simulated: stamps are of /clock")
    add_discovery(check)
    check.set_defaults(run=run_check)


def run_check(args: argparse.Namespace) -> int:
    """Check the cameras; 0 if nothing is wrong, 1 if anything is."""
    from f1_ros.engine.policy import load_spec
    from f1_ros.errors import ConfigError
    from f1_ros.observe.camera_check import CameraCheck
    from f1_ros.observe.health import SECOND_NS, HealthLimits
    from f1_ros.robots.camera import info_topic
    from f1_ros.robots.profile import load_profile

    if not args.seconds >= SHORTEST_S:
        raise ConfigError(f"--seconds is {args.seconds:g}.", remedy=f"Listen for {SHORTEST_S:g} s or longer.")
    profile = load_profile(args.profile, simulated=args.sim_time)
    spec = None if args.policy is None else load_spec(args.policy)
    cameras = profile.cameras if spec is None else tuple(profile.camera(name) for name in spec.cameras)
    if not cameras:
        raise ConfigError(f"Profile '{profile.name}' has no cameras.", remedy="Name them under 'cameras'.")
    cameras = tuple(replace(camera, camera_info=info_topic(camera)) for camera in cameras)
    if args.sim_time:  # simulations draw at rates of their own, and a scene at rest repeats itself
        cameras = tuple(replace(camera, rate_hz=camera.min_rate_hz) for camera in cameras)
    limits = HealthLimits(frozen_after=0 if args.sim_time else HealthLimits.frozen_after, black_below=16)
    tolerance_ns = round(profile.match_tolerance_s * SECOND_NS)
    check = CameraCheck(cameras, tolerance_ns, limits, None if spec is None else spec.camera_geometry)
    os.environ.update(discovery(args))
    from f1_ros.nodes.camera_listener import listen

    print(f"Listening to {', '.join(camera.name for camera in cameras)}; the robot should stand still.", flush=True)
    findings = check.findings(listen(cameras, check, args.seconds, sim_time=args.sim_time))
    report = make_report(f"f1-ros camera check {args.profile}", findings)
    report.print_table()
    for found in findings:
        for trouble in found.troubles:
            remedy = f" Remedy: {trouble.remedy}" if trouble.remedy else ""
            print(f"- {found.part}: {trouble.problem}.{remedy}")
        for note in found.notes:
            print(f"- {found.part}: note: {note}.")
    report.write(args.json)
    return report.exit_status


def make_report(command: str, findings: tuple[Findings, ...]) -> Report:
    """The findings in the shape of every report."""
    from f1_ros.cli.report import Report, Result

    results = []
    for found in findings:
        results += [
            Result(f"{found.part}.{figure.name}", figure.value, figure.unit, figure.goal or None, figure.ok)
            for figure in found.figures
        ]
        troubles = len(found.troubles)
        results.append(Result(f"{found.part}.troubles", troubles, goal="0", ok=troubles == 0))
    details = {
        found.part: {
            "troubles": [{"problem": trouble.problem, "remedy": trouble.remedy} for trouble in found.troubles],
            "notes": list(found.notes),
        }
        for found in findings
    }
    return Report(command, results, {"findings": details})
