"""Header stamps of one stream: which are new, repeated or late, and when its clock was set back."""

from __future__ import annotations

from enum import Enum

JUMP_NS = 500_000_000
"""A stamp this much older than the newest is a clock set back, not a message that was overtaken."""

PATIENCE = 3
"""So many late stamps in a row, with no new one between, are a clock set back too (a simulation restarted early)."""


class Order(Enum):
    """What a stamp is to the stream before it."""

    NEXT = "next"
    DUPLICATE = "duplicate"
    LATE = "late"
    RESET = "reset"


class StampOrder:
    """Judges the stamps of one stream. A single stamp far in the future harms only the message that bore it."""

    def __init__(self, jump_ns: int = JUMP_NS, patience: int = PATIENCE) -> None:
        self._jump_ns = jump_ns
        self._patience = patience
        self._newest: int | None = None
        self._late = 0

    def judge(self, stamp_ns: int) -> Order:
        """Judge the next message's stamp. RESET: forget what came before, this message is the first of the new."""
        if self._newest is None or stamp_ns > self._newest:
            self._newest, self._late = stamp_ns, 0
            return Order.NEXT
        if stamp_ns == self._newest:
            return Order.DUPLICATE
        self._late += 1
        if self._newest - stamp_ns > self._jump_ns or self._late >= self._patience:
            self._newest, self._late = stamp_ns, 0
            return Order.RESET
        return Order.LATE
