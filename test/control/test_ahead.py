"""The plan from a command on, as a trajectory: limited, one after the other, and at rest at its end."""

import numpy as np
import pytest
from control_rig import PROFILE, READY, Rig

from f1_ros.control.ahead import STEP_S, Ahead
from f1_ros.control.arbiter import Mode

LIMITS = PROFILE.limits


def assert_limited(path: np.ndarray, rig: Rig) -> None:
    """Points are within the limits, and so is the way between them, the first of which begins at the command."""
    position = np.vstack([rig.commands[-1].position, path[:, 0]])
    velocity = np.vstack([rig.commands[-1].velocity, path[:, 1]])
    assert (position >= np.array(LIMITS.lower) - 1e-8).all()
    assert (position <= np.array(LIMITS.upper) + 1e-8).all()
    assert (np.abs(velocity) <= np.array(LIMITS.velocity) * (1 + 1e-9)).all()
    assert (np.abs(np.diff(velocity, axis=0)) <= np.array(LIMITS.acceleration) * STEP_S * (1 + 1e-9)).all()
    assert (np.abs(np.diff(position, axis=0)) <= np.array(LIMITS.velocity) * STEP_S * (1 + 1e-9)).all()


def test_in_policy_it_is_the_rest_of_the_chunk_and_then_rest() -> None:
    rig = Rig()
    rig.start(Mode.POLICY)
    rig.chunk(rig.arm, speed=0.4)
    rig.tick(20)
    rig.chunk(rig.arm, speed=0.4)
    rig.tick(10)
    ahead = Ahead(rig.controller, 10.0)
    path = ahead.path(rig.commands[-1], rig.now_ns)
    assert_limited(path, rig)
    assert 0.3 < len(path) * STEP_S < 3.0
    assert np.abs(path[-1, 1]).max() < 1e-6
    # As long as the plan lasts the arm comes where the controller itself leads it.
    for i in range(4):
        rig.tick(5)
        np.testing.assert_allclose(rig.commands[-1].position, path[i, 0], atol=2e-3)


def test_in_hold_it_is_the_place_where_the_arm_stops() -> None:
    rig = Rig()
    rig.start(Mode.POLICY)
    for _ in range(3):
        rig.chunk(rig.arm, speed=0.5)
        rig.tick(10)
    assert rig.ask(Mode.HOLD).success
    rig.tick()
    ahead = Ahead(rig.controller, 10.0)
    path = ahead.path(rig.commands[-1], rig.now_ns)
    assert_limited(path, rig)
    rig.tick(60)
    np.testing.assert_allclose(path[-1, 0], rig.commands[-1].position, atol=0.02)
    at_rest = ahead.path(rig.commands[-1], rig.now_ns)
    assert at_rest.shape == (1, 2, 7)
    np.testing.assert_array_equal(at_rest[0, 0], rig.commands[-1].position)


def test_behind_a_device_it_goes_on_for_two_steps_and_brakes() -> None:
    rig = Rig()
    rig.start(Mode.TELEOP)
    target = READY.copy()
    for _ in range(60):
        target = target + 0.004
        rig.teleop(target)
        rig.tick()
    command = rig.commands[-1]
    assert command.velocity.min() > 0.1
    path = Ahead(rig.controller, 10.0).path(command, rig.now_ns)
    assert_limited(path, rig)
    np.testing.assert_allclose(path[0, 0], command.position + command.velocity * STEP_S, atol=5e-3)
    assert np.abs(path[-1, 1]).max() < 1e-6
    assert (path[-1, 0] > command.position).all()


@pytest.mark.parametrize(("rate_hz", "every"), [(10.0, 10), (25.0, 4), (100.0, 1)])
def test_it_is_due_at_its_rate_from_the_first_tick_on(rate_hz, every) -> None:
    ahead = Ahead(Rig().controller, rate_hz)
    due = [ahead.due() for _ in range(3 * every)]
    assert due == [i % every == 0 for i in range(3 * every)]
