"""The gripper's target from presses of a button."""

from __future__ import annotations

from f1_ros.robots.parts import Gripper
from f1_ros.teleop.inputs import GripperPress


class GripperTarget:
    """Nothing is asked of the gripper before something has been pressed: it may hold something. Not thread-safe.

    Args:
        gripper: its widths.
    """

    def __init__(self, gripper: Gripper) -> None:
        self._gripper = gripper
        self._width: float | None = None

    def step(self, press: GripperPress | None, width: float | None, *, followed: bool) -> float | None:
        """The opening width to ask for, m; None: nothing.

        Args:
            press: what has been pressed since the last step.
            width: last commanded or measured opening, m; None if neither is known.
            followed: the arm follows the device; while it does not, presses count for nothing.
        """
        closed, opened = self._gripper.closed, self._gripper.open
        if not followed:
            self._width = None
        elif press is GripperPress.TOGGLE:
            now = self._width if self._width is not None else opened if width is None else width
            self._width = closed if now > (closed + opened) / 2 else opened
        elif press is not None:
            self._width = opened if press is GripperPress.OPEN else closed
        return self._width
