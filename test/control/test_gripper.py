"""Gripper commands: on change, with hysteresis, and always to the end of the stroke."""

from dataclasses import replace

from f1_ros.control.gripper import GripperGate
from f1_ros.robots.profile import load_profile

SECOND = 1_000_000_000
GRIPPER = replace(load_profile("franka_fr3").grippers[0], hysteresis=0.01, min_interval_s=0.3)


def sent(*targets: float, every_s: float = 1.0) -> list[float]:
    gate = GripperGate(GRIPPER)
    widths = [gate.update(width, SECOND + round(i * every_s * SECOND)) for i, width in enumerate(targets)]
    return [width for width in widths if width is not None]


def test_the_first_target_is_sent_and_then_only_changes() -> None:
    assert sent(0.05, 0.05, 0.055, 0.045, 0.03, 0.03) == [0.05, 0.03]


def test_noise_around_a_target_sends_nothing() -> None:
    assert sent(*[0.04, 0.049, 0.031] * 20) == [0.04]


def test_targets_near_an_end_mean_that_end() -> None:
    assert sent(0.005, 0.0, 0.009) == [0.0]
    assert sent(0.075, 0.012, 0.008) == [0.08, 0.012, 0.0]
    assert sent(-0.5, 3.0) == [0.0, 0.08]


def test_commands_keep_their_distance_in_time_and_the_last_target_wins() -> None:
    assert sent(0.0, 0.08, 0.0, 0.08, 0.08, every_s=0.1) == [0.0, 0.08]
    gate = GripperGate(GRIPPER)
    assert gate.update(0.0, 0) == 0.0
    assert gate.update(0.08, SECOND // 10) is None
    assert gate.update(0.04, SECOND // 2) == 0.04
    assert gate.sent == 0.04


def test_after_forget_the_target_is_sent_again() -> None:
    gate = GripperGate(GRIPPER)
    gate.update(0.0, 0)
    gate.forget()
    assert gate.update(0.0, 1) == 0.0
