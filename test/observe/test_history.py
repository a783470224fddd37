"""The history holds the frames at the model's offsets, from cameras of any rate, and says when it cannot."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.errors import ConfigError
from f1_ros.observe.history import FrameGrid, FrameHistory

MS = 1_000_000
STEP = 50 * MS
OFFSETS = (-9, -6, -3, 0)


def play(stamps_ms: list[float], without_set: frozenset[float] = frozenset()) -> dict[int, list[int] | None]:
    """Run frames through grid and history as the builder does; stamps of each observation's history in ms."""
    grid, history = FrameGrid(STEP), FrameHistory[None](OFFSETS, STEP)
    picked: dict[int, list[int] | None] = {}
    for stamp in stamps_ms:
        ns = round(stamp * MS)
        history.add(ns, None)
        if stamp in without_set or not grid.accept(ns):
            continue
        history.mark(ns, None)
        entries = history.pick(ns)
        picked[round(stamp)] = None if entries is None else [round(entry.stamp_ns / MS) for entry in entries]
    return picked


def test_a_simulation_in_lock_step_gives_exactly_the_frames_at_the_offsets() -> None:
    picked = play([50 * k for k in range(30)])
    assert len(picked) == 30
    for k in range(9):
        assert picked[50 * k] is None
    for k in range(9, 30):
        assert picked[50 * k] == [50 * (k - 9), 50 * (k - 6), 50 * (k - 3), 50 * k]


def test_one_lost_frame_is_replaced_by_its_neighbour_and_costs_nothing_else() -> None:
    picked = play([50 * k for k in range(40) if k != 20])
    assert 1000 not in picked
    assert picked[1150] in ([700, 850, 950, 1150], [700, 850, 1050, 1150])
    assert all(picked[50 * k] is not None for k in range(9, 40) if k != 20)


def test_two_lost_frames_in_a_row_leave_no_stand_in_for_the_offset_between_them() -> None:
    picked = play([50 * k for k in range(40) if k not in (19, 20)])
    # The frame wanted is 1000 for 1150: its neighbours are 950 (lost too) and 1050.
    assert picked[1150] == [700, 850, 1050, 1150]
    picked = play([50 * k for k in range(40) if k not in (19, 20, 21)])
    assert picked[1150] is None
    assert picked[1950] == [1500, 1650, 1800, 1950]


def test_frames_whose_set_was_lost_still_serve_as_history() -> None:
    picked = play([50.0 * k for k in range(40)], without_set=frozenset({1000.0}))
    assert 1000 not in picked
    assert picked[1150] == [700, 850, 1000, 1150]


def test_a_30_hz_camera_gives_20_observations_a_second_with_history_within_half_a_frame() -> None:
    picked = play([1000 * k / 30 for k in range(300)])
    assert len(picked) == pytest.approx(200, abs=2)
    for stamp, history in list(picked.items())[15:]:
        assert history is not None
        wanted = [stamp - 450, stamp - 300, stamp - 150, stamp]
        assert max(abs(a - b) for a, b in zip(history, wanted, strict=True)) <= 26


def test_a_60_hz_camera_is_thinned_to_the_step_evenly() -> None:
    picked = play([1000 * k / 60 for k in range(600)])
    gaps = np.diff(list(picked))
    assert len(picked) == pytest.approx(200, abs=2)
    assert gaps.min() >= 49
    assert gaps.max() <= 51


@pytest.mark.parametrize("rate", [19.9, 19.99, 20.01, 20.1])
def test_a_camera_whose_clock_drifts_loses_no_frame(rate: float) -> None:
    jitter = np.random.default_rng(0).uniform(-5, 5, 2000)
    stamps = [1000 * k / rate + jitter[k] for k in range(2000)]
    picked = play(stamps)
    assert len(picked) == 2000
    for history in list(picked.values())[10:]:
        assert history is not None
        assert np.abs(np.diff(history) - 150).max() <= 17


def test_a_fast_cameras_frames_are_encoded_once_if_every_observation_is() -> None:
    seen: set[int] = set()
    foreign = 0
    picked = play([50 * k + 0.3 * (k % 3) for k in range(100)])
    for stamp, history in picked.items():
        seen.add(stamp)
        foreign += sum(past not in seen for past in history or [])
    assert foreign == 0


def test_a_clock_set_back_starts_anew() -> None:
    grid, history = FrameGrid(STEP), FrameHistory[None](OFFSETS, STEP)
    for k in range(20):
        history.add(10_000 * MS + k * STEP, None)
    history.clear()
    assert len(history) == 0
    assert grid.accept(10_000 * MS)
    assert not grid.accept(10_010 * MS)
    assert grid.accept(20 * MS)
    assert not grid.accept(30 * MS)
    assert grid.accept(70 * MS)


def test_memory_is_bounded_whatever_the_rate() -> None:
    history = FrameHistory[None](OFFSETS, STEP)
    for k in range(5000):
        history.add(k * MS, None)  # 1 kHz
    assert len(history) <= 4 * 11


def test_a_single_offset_needs_no_past() -> None:
    history = FrameHistory[None]((0,), STEP)
    history.mark(70 * MS, None)
    entries = history.pick(70 * MS)
    assert entries is not None
    assert [entry.stamp_ns for entry in entries] == [70 * MS]


@pytest.mark.parametrize(
    ("offsets", "step"), [((), STEP), ((-3, -3, 0), STEP), ((0, -3), STEP), ((-3,), STEP), ((0,), 0)]
)
def test_offsets_that_make_no_sense_are_refused(offsets: tuple[int, ...], step: int) -> None:
    with pytest.raises(ConfigError, match="History offsets"):
        FrameHistory[None](offsets, step)


@given(gaps=st.lists(st.integers(1, 220), max_size=120))
def test_a_history_always_rises_to_the_observation_within_the_tolerance(gaps: list[int]) -> None:
    stamps = [float(s) for s in np.cumsum([0, *gaps])]
    for stamp, history in play(stamps).items():
        if history is None:
            continue
        assert history[-1] == stamp
        assert all(a < b for a, b in pairwise(history))
        for past, offset in zip(history, OFFSETS, strict=True):
            assert abs(past - (stamp + 50 * offset)) <= 75


def test_steps_without_a_frame_are_counted() -> None:
    grid = FrameGrid(STEP)
    accepted = [(k, grid.skipped) for k in (0, 1, 3, 6, 7) if grid.accept(k * STEP)]
    assert accepted == [(0, 0), (1, 0), (3, 1), (6, 2), (7, 0)]
    assert grid.accept(0)  # set back: a new grid
    assert grid.skipped == 0
