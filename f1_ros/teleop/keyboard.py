"""The keyboard of a terminal. A terminal tells of keys pressed and repeated, never of keys released.

A motion key moves the arm for a moment, and on while the terminal repeats it: the keys are hold-to-run by themselves,
so there is no deadman beside them.
"""

from __future__ import annotations

import os
import termios
import tty
from types import TracebackType

import numpy as np

from f1_ros.control.arbiter import Mode
from f1_ros.errors import ConfigError
from f1_ros.teleop.inputs import Array, GripperPress, TeleopInput

KEYS = (
    "w/s x, a/d y, r/f z, u/o roll, i/k pitch, j/l yaw, g gripper; "
    "t TELEOP, p POLICY, c CORRECTION, space HOLD, x FAULT"
)
"""What the keys do, for people; in each pair the first one is the positive direction."""

_MOTION = {key: (axis, sign) for axis, pair in enumerate(("ws", "ad", "rf", "uo", "ik", "jl"))
           for key, sign in zip(pair, (1.0, -1.0), strict=True)}  # fmt: skip
_ASKS = {"t": Mode.TELEOP, "p": Mode.POLICY, "c": Mode.CORRECTION, " ": Mode.HOLD, "x": Mode.FAULT}
_KEY_S = 0.15  # a terminal repeats a held key about 30 times a second, after a first pause of some 0.5 s


class Keyboard:
    """Keys as they come."""

    def __init__(self) -> None:
        """Take nothing for pressed."""
        self._pressed: dict[int, tuple[float, float]] = {}  # axis: sign, until when
        self._gripper: GripperPress | None = None
        self._asks: Mode | None = None

    def on_key(self, key: str, now_s: float) -> None:
        """Take a key; others than KEYS stop all motion."""
        if key in _MOTION:
            axis, sign = _MOTION[key]
            self._pressed[axis] = sign, now_s + _KEY_S
            return
        self._pressed.clear()
        if key == "g":
            self._gripper = GripperPress.TOGGLE
        self._asks = _ASKS.get(key, self._asks)

    def read(self, now_s: float) -> TeleopInput:
        """What the person asks for."""
        twist: Array = np.zeros(6)
        for axis, (sign, until_s) in self._pressed.items():
            twist[axis] = sign if now_s < until_s else 0.0
        read = TeleopInput(twist, None, self._gripper, self._asks)
        self._gripper = self._asks = None
        return read


class Terminal:
    """A terminal whose keys come at once and unseen; Ctrl-C still reaches its foreground processes.

    Args:
        path: the terminal's device, such as /dev/pts/3; empty: the process's own.

    Raises:
        ConfigError: if it is no terminal or cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path or "/dev/tty"

    def __enter__(self) -> Terminal:
        """Open it."""
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            self._before = termios.tcgetattr(self._file)
            tty.setcbreak(self._file, termios.TCSANOW)
        except (OSError, termios.error) as error:
            raise ConfigError(
                f"{self._path} cannot be used as a terminal ({error}).",
                remedy="Start it from a terminal, or name one (the command `tty` says its path).",
            ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave it as it was."""
        termios.tcsetattr(self._file, termios.TCSANOW, self._before)
        os.close(self._file)

    def pressed(self) -> str:
        """The keys pressed since the last call. Does not block."""
        try:
            return os.read(self._file, 256).decode(errors="ignore")
        except BlockingIOError:
            return ""
