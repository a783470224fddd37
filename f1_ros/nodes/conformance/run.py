"""`f1-ros robot conformance`: the profile by itself, the robot's topics, then everything that moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from f1_ros.errors import BringUpError, ProfileError
from f1_ros.nodes.conformance.probe import ConformanceProbe
from f1_ros.nodes.conformance.rig import Person, Rig
from f1_ros.nodes.conformance.stops import hand_over, stops
from f1_ros.nodes.conformance.system import Subject
from f1_ros.nodes.conformance.trials import grippers, joints, limits
from f1_ros.nodes.interfaces import interface
from f1_ros.robots.check import find_problems
from f1_ros.robots.choose import transport_for
from f1_ros.robots.conformance import Check, Finding, Mistake, not_run
from f1_ros.robots.conformance_mapping import judge_known_limits, judge_order
from f1_ros.robots.conformance_streams import (
    expected_endpoints,
    judge_camera,
    judge_command_rate,
    judge_endpoints,
    judge_state_rates,
    known_limits,
)
from f1_ros.robots.profile import RobotProfile
from f1_ros.supervisor import Supervisor

START_S, FOUND_S, READY_S, LISTEN_S = 60.0, 10.0, 20.0, 3.0
"""How long a twin may take to speak, topics to be found, the action node to command; how long is listened, s."""
STOPS = frozenset({Check.SAFE_ACTION, Check.SILENCE, Check.NAN, Check.SECOND_PUBLISHER, Check.RECOVERY})
COMMANDED = frozenset(Check) - {Check.PROFILE, Check.PACKAGES, Check.TOPICS, Check.CAMERAS}
"""Checks that need a robot which is commanded."""


def run_conformance(
    subject: Subject,
    checks: frozenset[Check],
    person: Person,
    logs: Path,
    say: Callable[[Finding], object],
) -> list[Finding]:
    """Make the checks.

    Args:
        subject: what is tried.
        checks: which; the profile itself, its packages and topics are looked at in any case.
        person: beside the robot.
        logs: folder for logs.
        say: takes each finding as it comes.

    Raises:
        BringUpError: if the system does not come up.
    """
    findings: list[Finding] = []

    def take(found: Iterator[Finding]) -> bool:
        """Whether all is well."""
        before = len(findings)
        for finding in found:
            findings.append(finding)
            say(finding)
        return all(finding.ok for finding in findings[before:])

    if take(check_profile(subject.profile)) and take(check_packages(subject.profile)):
        take(_in_the_system(subject, checks, person, logs))
    else:
        later = [check for check in checks if check not in (Check.PROFILE, Check.PACKAGES)]
        take(not_run(check, "", "the profile cannot be used") for check in later)
    return findings


def check_profile(profile: RobotProfile) -> Iterator[Finding]:
    """What `f1-ros robot check` says."""
    problems = find_problems(profile)
    for problem in problems:
        unit = "another unit" in problem.problem or problem.key.endswith(".unit")
        mistake = Mistake.UNIT if unit else None
        yield Finding(Check.PROFILE, problem.key, None, "", "", problem.problem, mistake, problem.remedy)
    if not problems:
        yield Finding(Check.PROFILE, profile.name, 0, "problems", "0")


def check_packages(profile: RobotProfile) -> Iterator[Finding]:
    """Whether every message type can be imported."""
    missing: dict[str, ProfileError] = {}
    types = transport_for(profile).types
    for kind in types:
        try:
            interface(kind)
        except ProfileError as error:
            missing.setdefault(kind.partition("/")[0], error)
    for package, why in missing.items():
        yield Finding(Check.PACKAGES, package, None, "", "", why.problem, Mistake.PACKAGE, why.remedy)
    if not missing:
        yield Finding(Check.PACKAGES, "message types", len(types), "", "all there")


def _in_the_system(subject: Subject, checks: frozenset[Check], person: Person, logs: Path) -> Iterator[Finding]:
    profile = subject.profile
    cameras = None if subject.twin is None else [camera.name for camera in subject.twin.cameras]
    with (
        Supervisor(subject.describe(), log_dir=logs) as system,
        ConformanceProbe(profile, transport_for(profile), cameras) as probe,
    ):
        rig = Rig(system, probe, profile, person)
        sound = True
        for finding in _listen(rig, subject, checks):
            sound = sound and (finding.ok or finding.check is Check.CAMERAS)
            yield finding
        why = "" if not checks & COMMANDED else _unready(rig, sound or subject.twin is not None)
        if why:
            yield from (not_run(check, "", why) for check in Check if check in checks & COMMANDED)
            return
        if Check.COMMANDS in checks:
            stamps = [command.stamp_ns for command in probe.trace.commands]
            yield from (judge_command_rate(profile, topic, stamps) for topic in profile.command_topics)
        if Check.STATE in checks and subject.twin is not None:
            rig.settle()
            yield from judge_order(profile, probe.snapshot())
        yield from _moving(rig, checks)


def _unready(rig: Rig, sound: bool) -> str:
    """Why nothing can be moved; empty if it can."""
    if not sound:
        return "a robot is not moved while what stands above is wrong"
    statuses = rig.probe.trace.statuses
    if rig.wait(lambda: len(rig.probe.trace.commands) > 100, READY_S):
        return ""
    why = statuses[-1].reason if statuses else "the action node says nothing"
    return f"the action node does not command the robot: {why}"


def _listen(rig: Rig, subject: Subject, checks: frozenset[Check]) -> Iterator[Finding]:
    """What can be told before anything moves."""
    probe, profile = rig.probe, rig.profile
    if subject.twin is not None and not rig.wait(lambda: probe.has_truth and probe.description, START_S):
        raise BringUpError("The twin does not say where its joints are.", remedy=f"Look into {rig.system.log_dir}.")
    expected = expected_endpoints(profile, transport_for(profile))
    rig.wait(lambda: all(finding.value for finding in judge_endpoints(expected, probe.endpoints(expected))), FOUND_S)
    yield from judge_endpoints(expected, probe.endpoints(expected))
    if checks & {Check.STATE, Check.CAMERAS}:
        rig.pause(LISTEN_S)
    if Check.STATE in checks:
        yield from judge_state_rates(profile, {topic: list(stamps) for topic, stamps in probe.stamps.items()})
    if Check.CAMERAS in checks:
        for camera in profile.cameras:
            trial = probe.camera(camera.name)
            if trial.picture is not None:
                trial = replace(trial, recognised=rig.person.shown(camera.name, trial.picture))
            yield from judge_camera(camera, trial)
    if Check.LIMITS in checks:
        yield from judge_known_limits(profile, known_limits(probe.description) if probe.description else {})


def _moving(rig: Rig, checks: frozenset[Check]) -> Iterator[Finding]:
    if Check.JOINTS in checks:
        yield from joints(rig)
    if Check.GRIPPERS in checks:
        yield from grippers(rig)
    if Check.LIMITS in checks:
        yield from limits(rig)
    if STOPS & checks:
        yield from stops(rig, checks)
    if Check.HAND_OVER in checks:
        yield from hand_over(rig)
