"""The workspace: the tool never leaves the box, an arm found outside comes back in, and one at a wall is not stuck."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from control_rig import PROFILE, READY, Rig
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_ros.control.arbiter import Mode
from f1_ros.control.kinematics import Frame, JointFrame
from f1_ros.control.limits import JointLimits, Limiter
from f1_ros.control.workspace import ArmWorkspace, Chain, Workspace
from f1_ros.errors import LimitError

DT = 0.01
BOX = Workspace((0.2, -0.4, 0.1), (0.5, 0.4, 0.9))
LIMITS = PROFILE.limits


def arm(box: Workspace = BOX) -> ArmWorkspace:
    chain = PROFILE.arms[0].chain
    assert chain is not None
    return ArmWorkspace("arm", slice(0, 7), chain, box)


def outside(workspace: ArmWorkspace, position) -> float:
    """How far (m) the worst point is out of the box; negative inside."""
    points = workspace.points(position)
    return float(max((workspace.box.lower - points).max(), (points - workspace.box.upper).max()))


def poses_inside(workspace: ArmWorkspace, n: int) -> np.ndarray:
    q = np.clip(READY + np.random.default_rng(2).normal(size=(400, 7)) * 0.6, LIMITS.lower, LIMITS.upper)
    return q[workspace.inside(q)][:n]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    elbow=st.booleans(),
    reach=st.sampled_from([0.1, 1.0, 10.0]),
    speed=st.sampled_from([0.0, 1.0, 10.0]),
    every=st.integers(1, 30),
)
def test_the_tool_never_leaves_the_box_whatever_the_targets_are(seed, elbow, reach, speed, every) -> None:
    rng = np.random.default_rng(seed)
    workspace = arm(Workspace((-0.3 if elbow else 0.2, -0.4, 0.1), (0.5, 0.4, 0.9), elbow))
    limiter = Limiter(LIMITS, DT, workspaces=[workspace])
    limiter.reset(READY)
    before = limiter.position
    for k in range(200):
        if k % every == 0:
            target, velocity = READY + rng.normal(size=7) * reach, rng.normal(size=7) * speed
        step = limiter.step(np.full(7, np.nan), velocity) if rng.random() < 0.02 else limiter.step(target, velocity)
        assert outside(workspace, step.position) <= 1e-9
        assert (np.abs(step.velocity) <= np.array(LIMITS.velocity) * (1 + 1e-9)).all()
        assert (np.abs(step.acceleration) <= np.array(LIMITS.acceleration) * (1 + 1e-9)).all()
        assert (np.abs(step.position - before) <= np.array(LIMITS.velocity) * DT * (1 + 1e-9)).all()
        before = step.position


def test_an_arm_that_is_sent_out_of_the_box_at_full_speed_stops_at_its_wall() -> None:
    workspace = arm()
    limiter = Limiter(LIMITS, DT, workspaces=[workspace])
    limiter.reset(READY)
    stretched = READY + np.array([0.0, 0.8, 0.0, 0.8, 0.0, 0.0, 0.0])
    steps = [limiter.step(stretched) for _ in range(200)]
    assert outside(workspace, steps[-1].position) == pytest.approx(0.0, abs=2e-3)
    assert np.abs(steps[-1].velocity).max() < 1e-9
    assert steps[-1].by_workspace
    assert max(outside(workspace, step.position) for step in steps) <= 1e-9
    assert max(np.abs(step.velocity).max() for step in steps) > 1.0


def test_targets_inside_are_reached_however_the_arm_stands_at_a_wall() -> None:
    """The quickest way of each joint by itself may lead out; the straight one is taken then."""
    workspace = arm()
    limiter = Limiter(LIMITS, DT, workspaces=[workspace])
    poses = poses_inside(workspace, 25)
    for start, goal in pairwise(poses):
        limiter.reset(start)
        for _ in range(400):
            step = limiter.step(goal)
        assert step.position == pytest.approx(goal, abs=1e-6)


def test_far_inside_nothing_changes() -> None:
    free, kept = Limiter(LIMITS, DT), Limiter(LIMITS, DT, workspaces=[arm(Workspace((-2.0,) * 3, (2.0,) * 3))])
    rng = np.random.default_rng(0)
    free.reset(READY)
    kept.reset(READY)
    for _ in range(50):
        target = READY + rng.normal(size=7)
        assert kept.step(target).position.tolist() == free.step(target).position.tolist()


def test_an_arm_found_outside_may_only_come_back_in() -> None:
    workspace = arm()
    limiter = Limiter(LIMITS, DT, workspaces=[workspace])
    found = READY + np.array([0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    assert outside(workspace, found) > 0.1
    further = found + np.array([0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
    limiter.reset(found)
    for _ in range(50):
        out = outside(workspace, limiter.step(further).position)
        assert out <= outside(workspace, found) + 1e-9
    limiter.reset(found)
    last = outside(workspace, found)
    for _ in range(300):
        step = limiter.step(READY)
        assert outside(workspace, step.position) <= max(last, 0.0) + 1e-9
        last = outside(workspace, step.position)
    assert step.position == pytest.approx(READY, abs=1e-6)


def test_one_arm_s_wall_does_not_stop_the_other_arm() -> None:
    two = JointLimits(*(column * 2 for column in (LIMITS.lower, LIMITS.upper)), *(c * 2 for c in rates()))
    limiter = Limiter(two, DT, workspaces=[replace(arm(), joints=slice(7, 14))])
    limiter.reset([*READY, *READY])
    stretched = READY + np.array([0.0, 0.8, 0.0, 0.8, 0.0, 0.0, 0.0])
    for _ in range(200):
        step = limiter.step([*stretched, *stretched])
    assert step.position[:7] == pytest.approx(stretched, abs=1e-6)
    assert outside(arm(), step.position[7:]) <= 1e-9


def rates() -> tuple[tuple[float, ...], ...]:
    return LIMITS.velocity, LIMITS.acceleration, LIMITS.jerk


def test_a_slide_counts_with_all_of_its_travel() -> None:
    """A slide's travel lengthens the lever of the joint before it: the shortcut far from walls must know."""
    chain = Chain([JointFrame(), JointFrame(axis=(1.0, 0.0, 0.0), slides=True)], Frame((0.1, 0.0, 0.0)))
    workspace = ArmWorkspace("arm", slice(0, 2), chain, Workspace((-3.0, -0.5, -1.0), (3.0, 0.5, 1.0)))
    limiter = Limiter(
        JointLimits((-3.0, 0.0), (3.0, 2.0), (2.0, 2.0), (5.0, 5.0), (100.0, 100.0)), DT, None, [workspace]
    )
    limiter.reset([0.0, 2.0])
    for _ in range(100):
        assert outside(workspace, limiter.step([3.0, 2.0]).position) <= 1e-9


def test_every_mode_is_kept_inside_and_says_so() -> None:
    profile = replace(PROFILE, arms=(replace(PROFILE.arms[0], workspace=BOX),))
    for mode in (Mode.TELEOP, Mode.POLICY):
        rig = Rig(profile)
        rig.start(mode)
        stretched = READY + np.array([0.0, 0.8, 0.0, 0.8, 0.0, 0.0, 0.0])
        for _ in range(60):
            rig.teleop(stretched)
            rig.chunk(stretched, age_ms=100)
            rig.tick(5)
        assert rig.controller.mode is mode
        assert rig.controller.reason == "kept inside the workspace"
        assert rig.controller.counters["limited_by_workspace"] > 0
        assert max(outside(arm(), p) for p in rig.positions()) <= 1e-9
        assert outside(arm(), rig.positions()[-1]) > -0.05


def test_a_box_without_an_inside_and_a_chain_of_another_arm_are_refused() -> None:
    with pytest.raises(LimitError, match="no inside"):
        Workspace((0.0, 0.0, 0.0), (1.0, 1.0, 0.0))
    with pytest.raises(LimitError, match="no inside"):
        Workspace((0.0, 0.0, float("nan")), (1.0, 1.0, 1.0))
    with pytest.raises(LimitError, match="7 joints, the arm has 6"):
        Limiter(LIMITS, DT, workspaces=[replace(arm(), joints=slice(0, 6))])
