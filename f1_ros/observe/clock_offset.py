"""How far a sensor's clock is from the host's, and how fast it drifts, from stamps and the instants of reception.

A message is received later than its stamp by the clocks' offset and the time that it took on its way. That time is
never negative and now and then close to its least, so the quickest message of a second shows the offset best (Paxson,
"On calibrating measurements of packet transit times", 1998): the line through these is the offset over time.
"""

from __future__ import annotations

from collections import deque

import numpy as np

SECOND_NS = 1_000_000_000
BLOCK_NS = SECOND_NS
BLOCKS = 60
"""Seconds that are looked at: at 100 ppm a clock drifts by 6 ms in them."""

ENOUGH_BLOCKS = 10
"""Seconds before a drift is told."""

JUMP_NS = 200_000_000
"""Stamps that move further than this against the instants of reception, from one message to the next, were set."""


class ClockOffset:
    """Estimates the offset of one stream's clock. Cheap enough for every message; not thread-safe."""

    def __init__(self) -> None:
        """Know nothing."""
        self._blocks: deque[tuple[int, int]] = deque(maxlen=BLOCKS)  # reception and delay of each second's quickest
        self._block_ns = 0
        self._last: tuple[int, int] | None = None

    def add(self, stamp_ns: int, received_ns: int) -> bool:
        """Take a message's stamp and reception, ns; gives whether its stamps leapt ahead since the message before.

        After a leap, or once either clock has been set back, the estimate begins anew.
        """
        delay_ns, last = received_ns - stamp_ns, self._last
        self._last = received_ns, delay_ns
        ahead = last is not None and delay_ns - last[1] < -JUMP_NS
        if last is None or ahead or received_ns < last[0] or stamp_ns < last[0] - last[1]:
            self._blocks.clear()
        if not self._blocks or received_ns - self._block_ns >= BLOCK_NS:
            self._block_ns = received_ns
            self._blocks.append((received_ns, delay_ns))
        elif delay_ns < self._blocks[-1][1]:
            self._blocks[-1] = received_ns, delay_ns
        return ahead and last is not None and received_ns >= last[0]

    @property
    def ahead_ns(self) -> int | None:
        """Sensor's clock minus host's, less the quickest message's time on its way, ns; None before the first.

        Positive: the sensor's clock is certainly ahead. Negative: it is behind, or its messages take that long.
        """
        return -min(delay for _, delay in list(self._blocks)[-2:]) if self._blocks else None

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the sensor's clock runs than the host's, parts in a million; None before 10 s are known."""
        if len(self._blocks) < ENOUGH_BLOCKS:
            return None
        received, delay = np.array(self._blocks, dtype=np.float64).T
        received -= received[0]
        return float(-np.polyfit(received, delay - delay[0], 1)[0] * 1e6)
