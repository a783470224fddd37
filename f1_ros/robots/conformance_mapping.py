"""Whether joints and grippers are those that the profile takes them for: what moved, against what should have.

What can be wrong without an error message: names on the wrong arm, joints in another order than the messages', degrees
for radians, a gripper's ends. A profile has no sign for a joint; where one turns the wrong way, driver or chain are of
another robot, which is named a sign all the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from f1_ros.robots.conformance import STILL_RAD, Check, Finding, GripperTrial, JointTrial, LimitTrial, Mistake, Snapshot
from f1_ros.robots.profile import RobotProfile

DEGREES = 180.0 / math.pi
_ALIKE = 0.2
"""Two figures are alike if they differ by less than this part of the one that is expected."""
_WIDTH_ALIKE = 0.1  # of the stroke
_ORDER_REMEDY = "Bring the joints of the profile into the order of the robot's message."
_ARMS_REMEDY = "Exchange the topics of the two arms in the profile, or the arms' names."
_UNIT_REMEDY = "Convert to rad: where the robot speaks degrees, a node between must convert, both ways."
_SIGN_REMEDY = "A profile has no sign of joints: see that driver, messages and kinematic chain are of this robot."


def judge_order(profile: RobotProfile, at_rest: Snapshot) -> Iterator[Finding]:
    """Whether the joints are read in the right order and unit, arm by arm; needs the truth."""
    for arm in profile.arms:
        names = [joint.name for joint in arm.joints]
        off = {n: abs(at_rest.measured.get(n, math.nan) - at_rest.truth.get(n, math.nan)) for n in names}
        wrong = [n for n in names if not off[n] <= STILL_RAD]
        worst = max((value for value in off.values() if math.isfinite(value)), default=math.nan)
        problem, mistake, remedy = "", None, ""
        if wrong:
            problem, mistake, remedy = _misread(profile, wrong[0], at_rest)
        yield Finding(
            Check.STATE, f"order of {arm.name}", worst, "rad from the truth", f"<= {STILL_RAD:g}", problem, mistake,
            remedy,
        )  # fmt: skip


def judge_joint(profile: RobotProfile, trial: JointTrial) -> Finding:
    """Whether a joint moved alone, in the right direction and by the commanded angle."""
    name, by = trial.joint, trial.by
    truth, measured = _moved(trial.before.truth, trial.after.truth), _moved(trial.before.measured, trial.after.measured)
    moved = truth or {n: measured[n] for n in profile.joints if n in measured}
    own, read = moved.get(name, math.nan), measured.get(name, math.nan)
    problem, mistake, remedy = _mismoved(profile, name, by, moved)
    if not problem and truth and not abs(read - own) <= STILL_RAD:
        problem = f"moved by {own:.3f} rad, the profile reads {read:.3f} rad"
        mistake, remedy = _kind(own, read)
    if not problem and trial.seen is False:
        problem, remedy = "the person did not see it move alone", "See which joint moved; compare names and order."
    if problem and trial.trouble:
        problem += f" ({trial.trouble})"
    elif trial.trouble:
        problem, remedy = trial.trouble, "See the action node's log."
    return Finding(Check.JOINTS, name, own, "rad", f"{by:+g}, alone", problem, mistake, remedy)


def judge_gripper(profile: RobotProfile, trial: GripperTrial) -> list[Finding]:
    """Whether a gripper opens and closes with the right sign and range, and whether its state says so."""
    gripper = next(g for g in profile.grippers if g.name == trial.gripper)
    name, close = gripper.name, _WIDTH_ALIKE * (gripper.open - gripper.closed)
    asked = list(trial.asked)

    def truth_of(gripper_name: str) -> list[float]:
        return [reached.truth.get(gripper_name, math.nan) for reached in trial.reached if reached.truth]

    truth, measured = truth_of(name), [reached.measured.get(name, math.nan) for reached in trial.reached]
    findings = []
    if truth:
        problem, mistake = _widths(asked, truth, close, "opens to {} m when it is told {} m")
        remedy = "See the gripper's command.closed and command.open." if problem else ""
        others = [g.name for g in profile.grippers if g.name != name]
        instead = [other for other in others if not _widths(asked, truth_of(other), close, "")[0]]
        if problem and instead:
            problem, mistake, remedy = f"{instead[0]} moves in its place", Mistake.SWAPPED_ARMS, _ARMS_REMEDY
            truth = truth_of(instead[0])
        findings.append(_widths_finding(name, truth_of(name), problem, mistake, remedy))
    problem, mistake = _widths(truth or asked, measured, close, "says {} m when it is {} m open")
    remedy = "See the gripper's state.closed and state.open." if problem else ""
    if not problem and trial.seen is False:
        problem, remedy = "the person did not see it open and close", "See which gripper moved; compare the topics."
    findings.append(_widths_finding(f"state of {name}", measured, problem, mistake, remedy))
    return findings


def judge_known_limits(profile: RobotProfile, known: Mapping[str, tuple[float, float]]) -> Iterator[Finding]:
    """Whether the profile allows no more than the robot's own description does, arm by arm.

    Args:
        profile: the robot.
        known: lowest and highest position of joints by name, rad, as the robot's URDF has them; empty: none is known.
    """
    for arm in profile.arms:
        wide = {}
        for joint in arm.joints:
            if joint.name in known and joint.lower is not None and joint.upper is not None:
                lower, upper = known[joint.name]
                wide[joint.name] = max(lower - joint.lower, joint.upper - upper)
        if not wide:
            yield Finding(Check.LIMITS, f"range of {arm.name}", "no description is published")
            continue
        worst = max(wide, key=lambda name: wide[name])
        problem, mistake, remedy = "", None, ""
        if wide[worst] > STILL_RAD:
            lower, upper = known[worst]
            problem = f"{worst} is allowed {wide[worst]:.3f} rad more than its {lower:g} .. {upper:g} rad"
            mistake, remedy = Mistake.LIMIT, "Write the robot's own limits into the profile."
        yield Finding(
            Check.LIMITS, f"range of {arm.name}", wide[worst], "rad too wide", f"<= {STILL_RAD:g}", problem, mistake,
            remedy,
        )  # fmt: skip


def judge_limit(trial: LimitTrial) -> Finding:
    """Whether a command beyond a limit was cut there, and whether the joint came there and no further."""
    side = "upper" if trial.asked > trial.limit else "lower"
    outward = 1.0 if side == "upper" else -1.0
    over, short = outward * (trial.commanded - trial.limit), outward * (trial.limit - trial.reached)
    problem, mistake, remedy = "", None, ""
    if over > 1e-6:
        problem = f"was commanded {over:.4f} rad beyond its limit"
    elif short < -STILL_RAD:
        problem = f"went {-short:.3f} rad beyond its limit"
    elif trial.trouble:
        problem, remedy = trial.trouble, "See that the way is free, and the action node's log."
    elif outward * (trial.commanded - trial.reached) > STILL_RAD:
        problem = f"stops at {trial.reached:.3f} rad; the profile allows {trial.limit:.3f} rad"
        mistake, remedy = Mistake.LIMIT, "Write the robot's own limit into the profile."
    elif short > STILL_RAD:
        problem = f"came only to {trial.reached:.3f} rad, its command to {trial.commanded:.3f} rad"
    return Finding(
        Check.LIMITS, f"{trial.joint} {side}", trial.reached, "rad", f"{trial.limit:.4g}", problem, mistake, remedy
    )


def _moved(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: after[name] - value for name, value in before.items() if name in after}


def _alike(value: float, expected: float) -> bool:
    return abs(value - expected) <= _ALIKE * abs(expected)


def _arm_of(profile: RobotProfile, joint: str) -> str:
    return next((arm.name for arm in profile.arms if any(j.name == joint for j in arm.joints)), "")


def _kind(expected: float, value: float) -> tuple[Mistake | None, str]:
    """What a figure in place of another looks like."""
    if _alike(value, -expected):
        return Mistake.SIGN, _SIGN_REMEDY
    if _alike(value, expected * DEGREES) or _alike(value, expected / DEGREES):
        return Mistake.UNIT, _UNIT_REMEDY
    return None, "See the joint's name and place in the profile, and the driver's messages."


def _misread(profile: RobotProfile, name: str, at_rest: Snapshot) -> tuple[str, Mistake | None, str]:
    """How a joint's reading differs from the truth."""
    read, truth = at_rest.measured.get(name, math.nan), at_rest.truth.get(name)
    if truth is None:
        return f"the robot has no {name}", None, "Compare the joints' names with the robot's."
    problem = f"{name} is at {truth:.3f} rad, the profile reads {read:.3f} rad"
    mistake, remedy = _kind(truth, read)
    if mistake is not None:
        return problem, mistake, remedy
    apart = {n: abs(at_rest.truth.get(n, math.inf) - read) for n in profile.joints if n != name}
    others = sorted((n for n in apart if apart[n] <= STILL_RAD), key=lambda n: apart[n])
    if not others:
        return problem, None, remedy
    same_arm = [n for n in others if _arm_of(profile, n) == _arm_of(profile, name)]
    if same_arm:
        return f"{problem}, where {same_arm[0]} is", Mistake.JOINT_ORDER, _ORDER_REMEDY
    return f"{problem}, where {others[0]} is", Mistake.SWAPPED_ARMS, _ARMS_REMEDY


def _mismoved(
    profile: RobotProfile, name: str, by: float, moved: Mapping[str, float]
) -> tuple[str, Mistake | None, str]:
    """How what moved differs from the one joint that should have."""
    own = moved.get(name)
    if own is None:
        return f"the robot has no {name}", None, "Compare the joints' names with the robot's."
    others = {n: moved[n] for n in moved if n != name and n in profile.joints and not abs(moved[n]) <= STILL_RAD}
    if abs(own - by) <= STILL_RAD and not others:
        return "", None, ""
    instead = [n for n, value in others.items() if _alike(abs(value), abs(by))]
    if instead and abs(own) <= STILL_RAD:
        if _arm_of(profile, instead[0]) != _arm_of(profile, name):
            return f"{instead[0]} moves in its place", Mistake.SWAPPED_ARMS, _ARMS_REMEDY
        return f"{instead[0]} moves in its place", Mistake.JOINT_ORDER, _ORDER_REMEDY
    mistake, remedy = _kind(by, own)
    problem = f"moved by {own:.4f} rad instead of {by:+g} rad" if abs(own - by) > STILL_RAD else "does not move alone"
    if others:
        problem += f"; {', '.join(f'{n} by {value:.3f} rad' for n, value in others.items())} as well"
    return problem, mistake, remedy


def _widths(asked: list[float], got: list[float], close: float, says: str) -> tuple[str, Mistake | None]:
    """What is wrong with a gripper's widths (m) for those asked for: closed, half, open."""
    off = [abs(g - a) for g, a in zip(got, asked, strict=True)]
    worst = max(range(len(off)), key=lambda i: off[i] if math.isfinite(off[i]) else math.inf)
    if off[worst] <= close:
        return "", None
    problem = says.format(f"{got[worst]:.3f}", f"{asked[worst]:.3f}")
    if not all(map(math.isfinite, got)):
        return f"{problem}: it is not heard of", None
    spread = max(got) - min(got)
    if got[-1] < got[0] - close:
        return f"{problem}: it goes the other way", Mistake.SIGN
    if spread <= close:
        return f"{problem}: it does not move, as with the wrong sign", Mistake.SIGN
    return problem, Mistake.GRIPPER_RANGE


def _widths_finding(subject: str, got: list[float], problem: str, mistake: Mistake | None, remedy: str) -> Finding:
    shown = ", ".join(f"{width:.3f}" for width in got)
    return Finding(Check.GRIPPERS, subject, shown, "m", "closed, half, open", problem, mistake, remedy)
