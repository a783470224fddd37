"""Values that go out each tick beside the joints: widths of grippers that are streamed to, the height of a lift.

streamed = StreamedValues(transport.streams, period_s=0.01)
streamed.measured("left_gripper", 0.04)                where it is found
values = streamed.step({"left_gripper": 0.0})          every tick; send the values
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f1_ros.robots.transport import Stream


class StreamedValues:
    """Leads each value to its target no faster than its speed, from where it is found. Not thread-safe.

    Args:
        streams: the values.
        period_s: time between two steps, s.
    """

    def __init__(self, streams: Iterable[Stream], period_s: float) -> None:
        self._most = {stream.name: stream.speed * period_s for stream in streams}
        self._targets = {stream.name: stream.target for stream in streams}
        self._values: dict[str, float] = {}

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the values that have not been measured yet: what they would be sent as is not known."""
        return tuple(name for name in self._most if name not in self._values)

    def measured(self, name: str, value: float, *, follow: bool = False) -> None:
        """A value has been measured, m.

        Args:
            name: its name; others are passed over.
            value: what it is.
            follow: nothing goes out now, so the next command begins there; otherwise only the first one counts.
        """
        if name in self._most and math.isfinite(value) and (follow or name not in self._values):
            self._values[name] = value

    def step(self, commanded: Mapping[str, float | None]) -> dict[str, float]:
        """The values of this tick, m.

        Args:
            commanded: where each is to be, m; None, or not named: where it was commanded last, or is.
        """
        for name, value in self._values.items():
            target = commanded.get(name)
            if target is None:
                target = self._targets[name]
            if target is not None:
                most = self._most[name]
                self._values[name] = value + min(max(target - value, -most), most)
        return dict(self._values)
