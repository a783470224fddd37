"""What a simulated gripper's sensors say, and what it does with commands that come too fast."""

from __future__ import annotations

from f1_ros.robots.parts import Gripper


def gripper_reading(gripper: Gripper, width: float) -> float:
    """What each of a gripper's state joints says at an opening `width` (m): their sum is the profile's reading."""
    state = gripper.state
    assert state.closed is not None  # a profile with an open value is not loaded
    assert state.open is not None
    part = (width - gripper.closed) / (gripper.open - gripper.closed)
    return (state.closed + part * (state.open - state.closed)) / len(state.joints)
