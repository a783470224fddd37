"""Messages of several streams in the order of their stamps, whatever the order in which they arrive.

    merge = StampMerge({"front": patience_ns, "joints": patience_ns})
    merge.begin()                                   from now on in order; before, everything goes through at once
    merge.add("front", stamp_ns, frame)             every message
    for stream, stamp_ns, item in merge.release():  those that no other stream can still bring anything before
    merge.silent()                                  streams that the others have left behind: they hold up the rest

Stamps rise within a stream, so once every stream has come as far as an instant, what lies before it is complete. Two
deliveries of the same messages therefore give the same sequence, as long as none is later than its stream's patience.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from f1_ros.errors import ConfigError
from f1_ros.observe.health import MS, SECOND_NS
from f1_ros.observe.order import Order, StampOrder

T = TypeVar("T")


class StampMerge(Generic[T]):
    """Puts streams in order. Not thread-safe.

    Args:
        patience_ns: for each stream by name, how far the others' stamps may run ahead of it (and its own stamps leap)
            before it counts as lost, ns.

    Raises:
        ConfigError: without streams.
    """

    def __init__(self, patience_ns: Mapping[str, int]) -> None:
        if not patience_ns:
            raise ConfigError("There is no stream to put in order.", remedy="Name at least one.")
        self._patience_ns = dict(patience_ns)
        self._places = {stream: place for place, stream in enumerate(patience_ns)}
        self._orders = {stream: StampOrder() for stream in patience_ns}
        self._newest: dict[str, int] = {}
        self._waiting: list[tuple[int, int, int, str, T]] = []
        self._count = 0
        self._strict = False
        self._cut: dict[str, str] = {}

    @property
    def newest_ns(self) -> int | None:
        """The newest stamp of all, ns; None before the first message."""
        return max(self._newest.values(), default=None)

    @property
    def complete_ns(self) -> int | None:
        """Up to where every stream has come, ns; None while one of them has not been heard of."""
        return min(self._newest.values()) if len(self._newest) == len(self._places) else None

    def begin(self) -> None:
        """Hold messages until they are in order."""
        self._strict = True

    def end(self) -> None:
        """Let messages through as they come; streams that were cut off are heard again."""
        self._strict = False
        self._cut.clear()

    def add(self, stream: str, stamp_ns: int, item: T) -> Order:
        """Take a message. One that repeats a stamp or comes after a later one of its stream is dropped.

        While messages are held in order, a stream whose stamps go back or leap by more than its patience is cut off:
        nothing more is taken of it, and it is silent once the others have gone on for as long.

        Raises:
            KeyError: if there is no such stream.
        """
        before = self._newest.get(stream)
        order = self._orders[stream].judge(stamp_ns)
        if order in (Order.DUPLICATE, Order.LATE):
            return order
        if self._strict and before is not None:
            if order is Order.RESET:
                self._cut.setdefault(stream, "its stamps went back: its clock was set back")
            elif stamp_ns - before > self._patience_ns[stream]:
                self._cut.setdefault(stream, f"nothing came for {(stamp_ns - before) / SECOND_NS:.2f} s")
            if stream in self._cut:
                return order
        self._newest[stream] = stamp_ns
        self._count += 1
        heapq.heappush(self._waiting, (stamp_ns, self._places[stream], self._count, stream, item))
        return order

    def release(self) -> Iterator[tuple[str, int, T]]:
        """Give what is in order, oldest first: stream, stamp (ns) and message."""
        complete_ns = self.complete_ns
        while self._waiting:
            stamp_ns, _, _, stream, item = self._waiting[0]
            if self._strict and (complete_ns is None or stamp_ns > complete_ns):
                return
            heapq.heappop(self._waiting)
            yield stream, stamp_ns, item

    def silent(self) -> dict[str, str]:
        """Streams that count as lost, and why."""
        newest_ns = self.newest_ns
        if newest_ns is None:
            return dict.fromkeys(self._places, "nothing has come yet")
        found = {}
        for stream, patience_ns in self._patience_ns.items():
            came = self._newest.get(stream)
            if came is None:
                found[stream] = "nothing has come yet"
            elif newest_ns - came > patience_ns:
                found[stream] = self._cut.get(stream, f"nothing comes any more for over {patience_ns * MS / 1e3:g} s")
        if len(self._cut) == len(self._places):
            return dict(self._cut)
        return found
