"""Following a leader arm whose messages come late and in bursts, as from a busy machine."""

from __future__ import annotations

import numpy as np

from f1_ros.control.leader import LeaderFollower
from f1_ros.control.limits import Limiter
from f1_ros.robots.profile import load_profile

PROFILE = load_profile("franka_fr3")
READY = np.array(PROFILE.ready)
TICK_NS = 10_000_000


def furthest_from_leader(arrivals: list[int], leader_speed: float, ticks: int) -> float:
    """Largest distance between command and leader, rad, for a leader at constant speed heard of in some ticks."""
    follower = LeaderFollower(PROFILE.limits, PROFILE.teleop, 0.01)
    limiter = Limiter(PROFILE.limits, 0.01)
    limiter.reset(READY)
    follower.message(READY, 0)
    follower.engage(READY, np.zeros(7))
    furthest = 0.0
    for k in range(1, ticks):
        leader = READY + leader_speed * k * 0.01
        if k in arrivals:
            follower.message(leader, k * TICK_NS)
        target = follower.target((k + 1) * TICK_NS)
        assert target is not None
        furthest = max(furthest, float(np.abs(limiter.step(*target).position - leader).max()))
    return furthest


def test_a_pause_and_a_burst_do_not_make_the_arm_run_past_the_leader() -> None:
    # Once, a leader's position that jumped between two messages was taken for a speed, and led the arm half a radian
    # beyond a leader that moves at 0.5 rad/s.
    steady = list(range(1, 60))
    with_gaps = [k for k in steady if not (20 <= k < 42)] + list(range(60, 160))
    assert furthest_from_leader(with_gaps, leader_speed=0.5, ticks=160) < 0.5 * 0.22 + 0.06


def test_an_arm_engaged_at_speed_brakes_at_once() -> None:
    follower = LeaderFollower(PROFILE.limits, PROFILE.teleop, 0.01)
    follower.message(READY, 0)
    follower.engage(READY, np.full(7, -2.0))
    lowest = 0.0
    for k in range(100):
        follower.message(READY, k * TICK_NS)
        target = follower.target((k + 1) * TICK_NS)
        assert target is not None
        lowest = min(lowest, float((target[0] - READY).min()))
    # 2 rad/s at 10 rad/s^2 takes 0.2 rad; at the approach's own 3 rad/s^2 it would take 0.67 rad.
    assert -0.25 < lowest < -0.15
