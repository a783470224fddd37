"""Messages come out in the order of their stamps, whatever their delays, and a stream that is lost is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.errors import ConfigError
from f1_ros.observe.merge import StampMerge
from f1_ros.observe.order import Order

MS = 1_000_000
SECOND = 1000 * MS
PATIENCE = {"camera": SECOND, "joints": SECOND, "hand": 2 * SECOND}


def released(merge: StampMerge[str]) -> list[tuple[str, int]]:
    return [(stream, stamp // MS) for stream, stamp, _ in merge.release()]


def begun(**patience: int) -> StampMerge[str]:
    merge = StampMerge[str](patience or PATIENCE)
    merge.begin()
    return merge


@given(st.data())
def test_any_delays_give_the_same_sequence(data: st.DataObject) -> None:
    stamps = {
        stream: sorted(data.draw(st.sets(st.integers(1, 300), min_size=1, max_size=12), label=stream))
        for stream in PATIENCE
    }
    merge, out = begun(), []
    left = {stream: list(of) for stream, of in stamps.items()}
    while any(left.values()):
        stream = data.draw(st.sampled_from([s for s, of in left.items() if of]))
        merge.add(stream, left[stream].pop(0) * MS, "")
        if data.draw(st.booleans()):
            out += released(merge)
    out += released(merge)
    complete = min(of[-1] for of in stamps.values())
    everything = sorted((stamp, list(PATIENCE).index(s), s) for s, of in stamps.items() for stamp in of)
    assert out == [(stream, stamp) for stamp, _, stream in everything if stamp <= complete]
    assert merge.complete_ns == complete * MS


def test_nothing_is_held_before_the_beginning_nor_after_the_end() -> None:
    merge = StampMerge[str](PATIENCE)
    merge.add("camera", 5 * MS, "")
    assert released(merge) == [("camera", 5)]
    assert merge.complete_ns is None
    merge.begin()
    merge.add("camera", 6 * MS, "")
    assert released(merge) == []
    merge.end()
    assert released(merge) == [("camera", 6)]


def test_repeated_and_late_stamps_are_dropped() -> None:
    merge = StampMerge[str]({"camera": SECOND})
    assert [merge.add("camera", stamp * MS, "") for stamp in (10, 10, 8, 20)] == [
        Order.NEXT, Order.DUPLICATE, Order.LATE, Order.NEXT
    ]  # fmt: skip
    assert released(merge) == [("camera", 10), ("camera", 20)]


def test_a_stream_that_the_others_leave_behind_is_lost_after_its_patience() -> None:
    merge = begun()
    assert merge.silent() == dict.fromkeys(PATIENCE, "nothing has come yet")
    for stream in PATIENCE:
        merge.add(stream, SECOND, "")
    merge.add("camera", 2 * SECOND, "")
    assert merge.silent() == {}
    merge.add("camera", 2 * SECOND + 1, "")
    assert merge.silent() == {"joints": "nothing comes any more for over 1 s"}
    merge.add("joints", 2 * SECOND, "")
    assert merge.silent() == {}


@pytest.mark.parametrize(
    ("stamp", "why"),
    [(3 * SECOND, "nothing came for 2.00 s"), (MS, "its stamps went back: its clock was set back")],
)
def test_a_leap_cuts_a_stream_off_so_that_what_was_before_it_is_told_by_the_others(stamp: int, why: str) -> None:
    merge = begun()
    for stream in PATIENCE:
        merge.add(stream, SECOND, "")
    merge.add("camera", stamp, "")
    assert merge.silent() == {}
    merge.add("joints", SECOND + 900 * MS, "")
    merge.add("hand", SECOND + 900 * MS, "")
    assert [stream for stream, _ in released(merge)] == ["camera", "joints", "hand"]
    merge.add("joints", 2 * SECOND + MS, "")
    assert merge.silent() == {"camera": why}
    merge.end()
    merge.add("camera", stamp + MS, "")
    assert ("camera", stamp // MS + 1) in released(merge)


def test_a_clock_that_was_set_back_for_all_ends_it_at_once() -> None:
    merge = begun()
    for stamp in (SECOND, MS):
        for stream in PATIENCE:
            merge.add(stream, stamp, "")
    assert set(merge.silent()) == set(PATIENCE)


def test_there_must_be_a_stream() -> None:
    with pytest.raises(ConfigError, match="no stream"):
        StampMerge[str]({})
