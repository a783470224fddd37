"""Gamepad and SpaceMouse: `sensor_msgs/Joy`, and the twist that spacenav publishes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from f1_ros.errors import ConfigError
from f1_ros.teleop.inputs import Array, ButtonMap, Buttons, TeleopInput, limited

GAMEPAD_AXES = "+1 +0 +4 +6 +7 +3"
"""The joy package's numbering of an Xbox pad: left stick x and y, right stick z and yaw, cross roll and pitch."""
GAMEPAD_BUTTONS = "deadman=4 close=0 open=1 correction=2 policy=3 hold=6 teleop=7 fault=8"
"""LB deadman, A and B gripper, X correction, Y policy, back hold, start teleop, guide fault."""
SPACEMOUSE_BUTTONS = "deadman=0 toggle=1"
"""Left: deadman; right: gripper."""


def parse_axes(text: str) -> tuple[tuple[int, int], ...]:
    """Read `+1 +0 +4 +6 +7 -3`: for x, y, z, roll, pitch and yaw a sign and the number of an axis, or 0 for none.

    Returns:
        (sign, number) six times; sign 0 for none.

    Raises:
        ConfigError: if it is anything else.
    """
    words = text.split()
    if len(words) != 6 or any(not (w == "0" or (w[0] in "+-" and w[1:].isdecimal())) for w in words):
        raise ConfigError(
            f"'{text}' maps no axes.",
            remedy=f"Write six of sign and axis number, or 0 for none, for x, y, z, roll, pitch, yaw: {GAMEPAD_AXES}",
        )
    return tuple((0, 0) if w == "0" else (1 if w[0] == "+" else -1, int(w[1:])) for w in words)


class Gamepad:
    """A gamepad with a deadman button.

    Args:
        axes: see `parse_axes`.
        buttons: what they do.
        deadzone: deflection that counts as none, in [0, 1).
        timeout_s: silence after which nothing is held, s.
    """

    def __init__(self, axes: Sequence[tuple[int, int]], buttons: ButtonMap, deadzone: float, timeout_s: float) -> None:
        self._axes, self._deadzone, self._timeout_s = tuple(axes), deadzone, timeout_s
        self._buttons = Buttons(buttons)
        self._twist: Array = np.zeros(6)
        self._heard_s = -np.inf

    def on_joy(self, axes: Sequence[float], buttons: Sequence[int], now_s: float) -> None:
        """Take a sensor_msgs/Joy; axes that it does not have are at rest."""
        self._twist = limited([sign * axes[n] if n < len(axes) else 0.0 for sign, n in self._axes], self._deadzone)
        self._buttons.update(buttons)
        self._heard_s = now_s

    def read(self, now_s: float) -> TeleopInput:
        """What the person asks for; a silent device is one that has been let go of."""
        if now_s - self._heard_s > self._timeout_s:
            self._buttons.lost()
        held = self._buttons.held
        twist = self._twist if held else np.zeros(6)
        return TeleopInput(twist, held, *self._buttons.take_presses())


class SpaceMouse:
    """A SpaceMouse as spacenav publishes it: a twist with entries in [-1, 1], and a Joy with the buttons.

    Args:
        buttons: what they do.
        deadzone: deflection that counts as none, in [0, 1).
        timeout_s: silence after which nothing is held, s.
    """

    def __init__(self, buttons: ButtonMap, deadzone: float, timeout_s: float) -> None:
        self._deadzone, self._timeout_s = deadzone, timeout_s
        self._buttons = Buttons(buttons)
        self._twist: Array = np.zeros(6)
        self._twist_s = self._buttons_s = -np.inf

    def on_twist(self, linear: Sequence[float], angular: Sequence[float], now_s: float) -> None:
        """Take a geometry_msgs/Twist: (3,) and (3,)."""
        self._twist = limited([*linear, *angular], self._deadzone)
        self._twist_s = now_s

    def on_joy(self, axes: Sequence[float], buttons: Sequence[int], now_s: float) -> None:
        """Take a sensor_msgs/Joy for its buttons."""
        self._buttons.update(buttons)
        self._buttons_s = now_s

    def read(self, now_s: float) -> TeleopInput:
        """What the person asks for; a silent device is one that has been let go of."""
        if now_s - self._buttons_s > self._timeout_s:
            self._buttons.lost()
        held = self._buttons.held
        moves = held and now_s - self._twist_s <= self._timeout_s
        twist = self._twist if moves else np.zeros(6)
        return TeleopInput(twist, held, *self._buttons.take_presses())
