"""Frames that belong together leave together, once, and one lost frame costs one set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.errors import ConfigError
from f1_ros.observe.order import Order
from f1_ros.observe.synchroniser import FrameSet, FrameSynchroniser

MS = 1_000_000
Frame = tuple[str, int]


def run(synchroniser: FrameSynchroniser[Frame], arrivals: list[tuple[str, int]]) -> list[tuple[int, ...]]:
    """Add frames (camera, stamp in ms) in order; give the stamps in ms of the sets that came out."""
    sets = []
    for camera, stamp in arrivals:
        added = synchroniser.add(camera, stamp * MS, (camera, stamp), 0)
        if added.frame_set is not None:
            sets.append(tuple(stamped.frame[1] for stamped in added.frame_set.frames))
    return sets


def test_frames_within_the_tolerance_make_a_set_as_soon_as_it_is_complete() -> None:
    synchroniser: FrameSynchroniser[str] = FrameSynchroniser(["front", "wrist"], 10 * MS)
    assert synchroniser.add("wrist", 3 * MS, "w", 20 * MS).frame_set is None
    ready = synchroniser.add("front", 0, "f", 25 * MS).frame_set
    assert isinstance(ready, FrameSet)
    assert ready.cameras == ("front", "wrist")
    assert [stamped.frame for stamped in ready.frames] == ["f", "w"]
    assert [stamped.received_ns for stamped in ready.frames] == [25 * MS, 20 * MS]
    assert (ready.stamp_ns, ready.skew_ns) == (0, 3 * MS)


def test_the_tolerance_is_inclusive() -> None:
    assert run(FrameSynchroniser(["a", "b"], 10 * MS), [("a", 0), ("b", 10)]) == [(0, 10)]
    assert run(FrameSynchroniser(["a", "b"], 10 * MS), [("a", 0), ("b", 11)]) == []


def test_the_spread_of_all_cameras_counts_not_the_distance_to_the_first() -> None:
    assert run(FrameSynchroniser(["a", "b", "c"], 10 * MS), [("a", 10), ("b", 2), ("c", 18)]) == []


def test_one_camera_passes_each_frame_on() -> None:
    assert run(FrameSynchroniser(["a"], 0), [("a", 0), ("a", 33), ("a", 66)]) == [(0,), (33,), (66,)]


@pytest.mark.parametrize("lost", ["a", "b", "c"])
def test_one_lost_frame_costs_one_set(lost: str) -> None:
    cameras = ["a", "b", "c"]
    arrivals = [(c, 50 * k + 4 * cameras.index(c)) for k in range(10) for c in cameras if (c, k) != (lost, 4)]
    assert run(FrameSynchroniser(cameras, 10 * MS), arrivals) == [
        (50 * k, 50 * k + 4, 50 * k + 8) for k in range(10) if k != 4
    ]


def test_a_delayed_camera_still_gets_every_set() -> None:
    # Camera b's frames arrive 150 ms after a's.
    arrivals = sorted([(50 * k, "a", 50 * k) for k in range(20)] + [(50 * k + 150, "b", 50 * k) for k in range(20)])
    sets = run(FrameSynchroniser(["a", "b"], 5 * MS), [(camera, stamp) for _, camera, stamp in arrivals])
    assert sets == [(50 * k, 50 * k) for k in range(20)]


def test_of_several_complete_sets_the_newest_goes_out_and_older_frames_are_dropped() -> None:
    synchroniser: FrameSynchroniser[Frame] = FrameSynchroniser(["a", "b"], 5 * MS)
    assert run(synchroniser, [("a", 0), ("a", 50), ("a", 100), ("b", 100)]) == [(100, 100)]
    assert run(synchroniser, [("b", 50)]) == []  # late: its partner is gone with the older frames
    assert run(synchroniser, [("a", 150), ("b", 150)]) == [(150, 150)]


def test_a_fast_camera_gives_the_frame_closest_to_the_slow_one() -> None:
    arrivals = [("fast", 67), ("fast", 83), ("fast", 100), ("slow", 85)]
    assert run(FrameSynchroniser(["fast", "slow"], 20 * MS), arrivals) == [(83, 85)]


def test_cameras_of_30_and_20_hz_give_20_sets_a_second() -> None:
    arrivals = sorted([(round(1000 * k / 30), "fast") for k in range(60)] + [(50 * k + 1, "slow") for k in range(40)])
    sets = run(FrameSynchroniser(["fast", "slow"], 20 * MS), [(camera, stamp) for stamp, camera in arrivals])
    assert [slow for _, slow in sets] == [50 * k + 1 for k in range(40)]
    assert max(abs(fast - slow) for fast, slow in sets) <= 18


def test_repeated_stamps_are_told_and_not_used() -> None:
    synchroniser: FrameSynchroniser[str] = FrameSynchroniser(["a", "b"], 5 * MS)
    assert synchroniser.add("a", 50 * MS, "first", 0).order is Order.NEXT
    assert synchroniser.add("a", 50 * MS, "again", 0).order is Order.DUPLICATE
    ready = synchroniser.add("b", 50 * MS, "b", 0).frame_set
    assert ready is not None
    assert ready.frames[0].frame == "first"
    assert synchroniser.add("a", 50 * MS, "used", 0).order is Order.DUPLICATE


def test_an_overtaken_frame_takes_its_place() -> None:
    synchroniser: FrameSynchroniser[Frame] = FrameSynchroniser(["a", "b"], 5 * MS)
    assert run(synchroniser, [("a", 50), ("a", 0), ("b", 0), ("b", 50)]) == [(0, 0), (50, 50)]


def test_a_clock_set_back_forgets_that_camera_and_is_told() -> None:
    synchroniser: FrameSynchroniser[str] = FrameSynchroniser(["a", "b"], 5 * MS)
    for camera in ("a", "b"):
        synchroniser.add(camera, 10_000 * MS, "before", 0)
    assert synchroniser.add("a", 100 * MS, "after", 0).order is Order.RESET
    assert synchroniser.add("b", 10_050 * MS, "before", 0).frame_set is None
    added = synchroniser.add("b", 100 * MS, "after", 0)
    assert added.order is Order.RESET
    assert added.frame_set is not None


def test_a_clock_set_back_by_little_is_noticed_by_the_third_frame() -> None:
    synchroniser: FrameSynchroniser[str] = FrameSynchroniser(["a"], 0)
    synchroniser.add("a", 300 * MS, "before", 0)
    orders = [synchroniser.add("a", stamp * MS, "after", 0).order for stamp in (0, 50, 100, 150)]
    assert orders == [Order.LATE, Order.LATE, Order.RESET, Order.NEXT]


def test_one_stamp_from_the_future_costs_only_its_own_frame() -> None:
    arrivals = [("a", 0), ("b", 0), ("a", 9_999_999), ("b", 50), ("a", 100), ("b", 100), ("a", 150), ("b", 150)]
    assert run(FrameSynchroniser(["a", "b"], 5 * MS), arrivals) == [(0, 0), (100, 100), (150, 150)]


@pytest.mark.parametrize("arguments", [([], 1, 1), (["a", "a"], 1, 1), (["a"], -1, 1), (["a"], 1, 0)])
def test_nonsense_settings_are_refused(arguments: tuple[list[str], int, int]) -> None:
    with pytest.raises(ConfigError, match="cannot be matched"):
        FrameSynchroniser(*arguments)


@given(
    arrivals=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 400)), max_size=80),
    tolerance=st.integers(0, 60),
    depth=st.integers(1, 6),
)
def test_whatever_arrives_sets_are_right_and_memory_is_bounded(
    arrivals: list[tuple[str, int]], tolerance: int, depth: int
) -> None:
    synchroniser: FrameSynchroniser[int] = FrameSynchroniser("abc", tolerance * MS, depth)
    used: dict[str, set[int]] = {camera: set() for camera in "abc"}
    last = dict.fromkeys("abc", -1)
    for number, (camera, stamp) in enumerate(arrivals):
        added = synchroniser.add(camera, stamp * MS, number, 0)
        if added.order is Order.RESET:
            last[camera] = -1
        assert all(synchroniser.waiting(name) <= depth for name in "abc")
        if added.frame_set is None:
            continue
        assert added.frame_set.skew_ns <= tolerance * MS
        assert number in [stamped.frame for stamped in added.frame_set.frames]  # nothing is held back
        for name, stamped in zip(added.frame_set.cameras, added.frame_set.frames, strict=True):
            assert arrivals[stamped.frame] == (name, stamped.stamp_ns // MS)
            assert stamped.frame not in used[name]
            assert stamped.stamp_ns > last[name]
            used[name].add(stamped.frame)
            last[name] = stamped.stamp_ns


@given(
    lost=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 29)), max_size=25),
    phases=st.lists(st.integers(0, 40), min_size=3, max_size=3),
    jitter=st.lists(st.integers(-4, 4), min_size=90, max_size=90),
    delays=st.lists(st.integers(0, 120), min_size=3, max_size=3),
)
def test_every_set_there_is_goes_out(
    lost: set[tuple[int, int]], phases: list[int], jitter: list[int], delays: list[int]
) -> None:
    # Period 50 ms, jitter 4 ms, tolerance 20 ms: a frame is in one possible set at most, so the best count is known
    # by trying all combinations.
    stamps = [[50 * k + phases[c] + jitter[30 * c + k] for k in range(30) if (c, k) not in lost] for c in range(3)]
    possible = [
        (a, b, c)
        for a in stamps[0]
        for b in stamps[1]
        if abs(a - b) <= 20
        for c in stamps[2]
        if max(a, b, c) - min(a, b, c) <= 20
    ]
    arrivals = sorted((stamp + delays[c], "abc"[c], stamp) for c in range(3) for stamp in stamps[c])
    sets = run(FrameSynchroniser("abc", 20 * MS), [(camera, stamp) for _, camera, stamp in arrivals])
    assert sets == possible
