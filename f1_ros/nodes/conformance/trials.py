"""Trials of the mapping: each joint alone, grippers, limits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from f1_ros.errors import BringUpError
from f1_ros.nodes.conformance.rig import Rig
from f1_ros.robots.conformance import (
    STEP_RAD,
    Check,
    Finding,
    GripperTrial,
    JointTrial,
    LimitTrial,
    Snapshot,
    not_run,
)
from f1_ros.robots.conformance_mapping import judge_gripper, judge_joint, judge_limit
from f1_ros.robots.parts import Gripper

BEYOND_RAD = 0.3
"""How far beyond its limit a joint is asked to be: less than what the action node refuses as another robot's."""
_FAST = 2.0  # rad/s, on the long way to a limit, where the joint's own limit lets it
_GRIPPER_S = 4.0


def joints(rig: Rig) -> Iterator[Finding]:
    """Move each joint there and back, towards the middle of its range."""
    for column, name in enumerate(rig.profile.joints):
        try:
            yield _joint(rig, column, name)
        except BringUpError as error:
            yield not_run(Check.JOINTS, name, error.problem)


def _joint(rig: Rig, column: int, name: str) -> Finding:
    anchor = rig.engage()
    middle = (rig.lower[column] + rig.upper[column]) / 2.0
    by = STEP_RAD if anchor[column] <= middle else -STEP_RAD
    rig.confirm(f"Move joint {name} by {by:+g} rad ({np.degrees(by):+.0f} degrees) and back")
    before = rig.probe.snapshot()
    end = anchor.copy()
    end[column] += by
    rig.go(end)
    trouble, after = rig.reason, _settled(rig)
    seen = rig.person.saw(f"Did {name} move by about {np.degrees(by):+.0f} degrees, in its positive sense, and alone?")
    if rig.probe.mode == "TELEOP":
        rig.go(anchor)
    return judge_joint(rig.profile, JointTrial(name, by, before, after, trouble, seen))


def _settled(rig: Rig) -> Snapshot:
    """Where everything is, once the action node has said so after the motion."""
    before = rig.probe.status
    rig.wait(lambda: rig.probe.status is not before, 1.0)
    return rig.probe.snapshot()


def grippers(rig: Rig) -> Iterator[Finding]:
    """Close each gripper, open it half, and open it."""
    for gripper in rig.profile.grippers:
        try:
            yield from _gripper(rig, gripper)
        except BringUpError as error:
            yield not_run(Check.GRIPPERS, gripper.name, error.problem)


def _gripper(rig: Rig, gripper: Gripper) -> list[Finding]:
    rig.engage()
    rig.confirm(f"Close gripper {gripper.name}, open it half, and open it; keep fingers and things away")
    asked = (gripper.closed, (gripper.closed + gripper.open) / 2.0, gripper.open)
    reached = []
    for width in asked:
        rig.probe.widths = {**rig.probe.widths, gripper.name: width}
        rig.pause(gripper.min_interval_s + 0.5)
        _rests(rig, gripper.name)
        reached.append(_settled(rig))
    seen = rig.person.saw(f"Did {gripper.name} close, open half and open, and no other gripper?")
    return judge_gripper(rig.profile, GripperTrial(gripper.name, asked, (reached[0], reached[1], reached[2]), seen))


def _rests(rig: Rig, gripper: str) -> None:
    """Wait until a gripper has stopped."""
    last = float("nan")

    def rests() -> bool:
        nonlocal last
        rig.pause(0.3)
        now = rig.probe.snapshot()
        width = (now.truth or now.measured).get(gripper, 0.0)
        moved, last = abs(width - last), width
        return moved < 1e-4

    rig.wait(rests, _GRIPPER_S)


def limits(rig: Rig) -> Iterator[Finding]:
    """Lead the last joint of each arm to beyond its limits: turning there moves the arm least."""
    first = 0
    for arm in rig.profile.arms:
        column = first + len(arm.joints) - 1
        first = column + 1
        name = arm.joints[-1].name
        for side, limit in ((1.0, rig.upper[column]), (-1.0, rig.lower[column])):
            try:
                yield _limit(rig, column, name, float(limit), side)
            except BringUpError as error:
                yield not_run(Check.LIMITS, name, error.problem)


def _limit(rig: Rig, column: int, name: str, limit: float, side: float) -> Finding:
    anchor = rig.engage()
    asked = limit + side * BEYOND_RAD
    rig.confirm(f"Turn joint {name} from {anchor[column]:.2f} rad to its limit at {limit:.2f} rad, and back")
    trace = rig.probe.begin()
    end = anchor.copy()
    end[column] = asked
    rig.go(end, _FAST)
    trouble = rig.reason
    if "FAULT" not in trouble:
        trouble = ""
    commanded = max((side * float(c.position[column]) for c in trace.commands), default=float("nan")) * side
    reached = float(rig.probe.joints_now()[column])
    rig.probe.begin()
    if rig.probe.mode == "TELEOP":
        rig.go(anchor, _FAST)
    return judge_limit(LimitTrial(name, asked, limit, commanded, reached, trouble))
