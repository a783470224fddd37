"""What a person asks for with a device: one form for gamepad, SpaceMouse and keyboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.arbiter import Mode
from f1_ros.errors import ConfigError

Array = NDArray[np.float64]

ASKS: Mapping[str, Mode] = {mode.name.lower(): mode for mode in Mode}
"""Buttons that ask for a mode are called as it is."""


class GripperPress(Enum):
    """What has been pressed for the gripper; the values are the buttons' names."""

    OPEN = "open"
    CLOSE = "close"
    TOGGLE = "toggle"


@dataclass(frozen=True, eq=False)
class TeleopInput:
    """What a person asks for now.

    Attributes:
        twist: (6,) velocity x, y, z and rotation rate about x, y, z of the tool in the base frame, as fractions of the
            largest, each in [-1, 1].
        held: the deadman is held; None: the device has none.
        gripper: what has been pressed for the gripper since the last look, if anything.
        asks: the mode asked for since the last look, if any.
    """

    twist: Array
    held: bool | None
    gripper: GripperPress | None
    asks: Mode | None


class Device(Protocol):
    """A device; messages reach it by methods of its own. Not thread-safe. `now_s` is the caller's, on one clock."""

    def read(self, now_s: float) -> TeleopInput:
        """What the person asks for now."""
        ...


BUTTONS = ("deadman", *(press.value for press in GripperPress), *ASKS)
"""What a button can do: hold the deadman, open, close or toggle the gripper, or ask for a mode."""


@dataclass(frozen=True)
class ButtonMap:
    """Which button does what.

    Attributes:
        numbers: button number by what it does, see BUTTONS.

    Raises:
        ConfigError: if a button can do nothing of the kind, or has a negative number, or there is no deadman.
    """

    numbers: Mapping[str, int]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.numbers) - set(BUTTONS))
        if unknown or any(number < 0 for number in self.numbers.values()):
            raise ConfigError(
                f"A button cannot be mapped to {', '.join(unknown) or 'a negative number'}.",
                remedy=f"Map {', '.join(BUTTONS)} to buttons from 0 on.",
            )
        if "deadman" not in self.numbers:
            raise ConfigError(
                "No button is the deadman.", remedy="Name one, such as deadman=4: the arm moves only while it is held."
            )

    @classmethod
    def parse(cls, text: str) -> ButtonMap:
        """Read `deadman=4 close=0 open=1`.

        Raises:
            ConfigError: if it cannot be read, or as above.
        """
        numbers = {}
        for word in text.split():
            name, _, number = word.partition("=")
            if not number.isdecimal() or name in numbers:
                raise ConfigError(
                    f"'{word}' maps no button, or one that is mapped already.",
                    remedy="Write name=number pairs with spaces between, such as deadman=4 close=0 open=1.",
                )
            numbers[name] = int(number)
        return cls(numbers)


class Buttons:
    """Buttons as last heard of: what is held, and what has been pressed since the last look."""

    def __init__(self, mapping: ButtonMap) -> None:
        """Take nothing for held or pressed."""
        self._numbers = mapping.numbers
        self._down: frozenset[str] = frozenset()
        self._gripper: GripperPress | None = None
        self._asks: Mode | None = None

    def update(self, buttons: Sequence[int]) -> None:
        """Take all buttons (1: pressed); one that the device does not have is not pressed."""
        down = frozenset(name for name, n in self._numbers.items() if n < len(buttons) and buttons[n] == 1)
        for name in sorted(down - self._down):
            if name in ASKS:
                self._asks = ASKS[name]
            elif name != "deadman":
                self._gripper = GripperPress(name)
        self._down = down

    def lost(self) -> None:
        """The device has fallen silent: nothing is held."""
        self._down = frozenset()

    @property
    def held(self) -> bool:
        """The deadman is held."""
        return "deadman" in self._down

    def take_presses(self) -> tuple[GripperPress | None, Mode | None]:
        """What has been pressed for the gripper, and the mode asked for, since the last call."""
        taken = self._gripper, self._asks
        self._gripper = self._asks = None
        return taken


def limited(values: Sequence[float], deadzone: float) -> Array:
    """Deflections in [-1, 1]: what is not finite or within the dead zone is 0, the rest begins at 0 at its edge."""
    v = np.asarray(values, dtype=np.float64)
    v = np.clip(np.where(np.isfinite(v), v, 0.0), -1.0, 1.0)
    scaled: Array = np.sign(v) * np.maximum(0.0, np.abs(v) - deadzone) / (1.0 - deadzone)
    return scaled
