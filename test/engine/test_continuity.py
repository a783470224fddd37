"""What the next chunk is told of the plan that runs while it is computed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.control.chunk import ActionChunk
from f1_ros.engine.continuity import RECENT, DelayEstimate, check_continuity, running_plan
from f1_ros.engine.protocol import EngineInfo, PolicySpec
from f1_ros.errors import ConfigError

MS = 1_000_000
SPEC = PolicySpec(
    name="toy",
    robot="toy",
    cameras=("front",),
    image_size=8,
    history_resize=8,
    history_size=8,
    history_offsets=(0,),
    foresight_offset=1,
    step_s=0.05,
    first_step_offset=1,
    state_names=("j1", "j2"),
    action_names=("j1", "j2"),
    chunk_size=6,
    trained_prefix_steps=4,
)


def plan(start_ns: int = 1_050 * MS) -> ActionChunk:
    """Steps 0, 1, .. 5 of joint 1 and their tenfold of joint 2, due from 1.05 s to 1.3 s."""
    steps = np.arange(6.0)
    return ActionChunk("toy", 1_000 * MS, start_ns, 50 * MS, ("j1", "j2"), np.stack([steps, 10 * steps], axis=1))


@pytest.mark.parametrize(
    ("stamp_ms", "effect_ms", "expected"),
    [
        (1_000, 1_150, [0, 1, 2]),
        (1_000, 1_149, [0, 1]),
        (1_000, 1_049, []),
        (1_050, 1_200, [1, 2, 3]),
        (1_020, 1_170, [0.4, 1.4, 2.4]),  # between the plan's steps
        (1_000, 1_900, [0, 1, 2, 3]),  # no more than it was trained for
        (1_200, 1_900, [4, 5]),  # and none beyond the plan's end
        (1_300, 1_900, []),
        (900, 1_900, []),  # the clock was set back
        (5_000, 5_200, []),
    ],
)
def test_committed_are_the_steps_due_before_the_next_chunk_takes_effect(
    stamp_ms: int, effect_ms: int, expected: list[float]
) -> None:
    running = running_plan(plan(), SPEC, stamp_ms * MS, effect_ms * MS)
    if not expected:
        assert running is None
        return
    assert running is not None
    assert not running.guided
    assert running.committed == len(expected)
    assert running.actions[:, 0] == pytest.approx(expected)
    assert running.actions[:, 1] == pytest.approx([10 * value for value in expected])


@pytest.mark.parametrize(
    ("stamp_ms", "effect_ms", "committed", "expected"),
    [
        (1_000, 1_150, 3, [0, 1, 2, 3, 4, 5]),
        (1_120, 1_200, 1, [2.4, 3.4, 4.4]),
        (1_200, 1_900, 2, [4, 5]),  # all that is known is committed
        (1_000, 1_049, 0, []),
        (1_300, 1_900, 0, []),
        (900, 1_900, 0, []),
    ],
)
def test_guidance_gets_all_that_is_left_of_the_plan(
    stamp_ms: int, effect_ms: int, committed: int, expected: list[float]
) -> None:
    spec = dataclasses.replace(SPEC, trained_prefix_steps=0)
    running = running_plan(plan(), spec, stamp_ms * MS, effect_ms * MS, "guided")
    if not expected:
        assert running is None
        return
    assert running is not None
    assert running.guided
    assert running.committed == committed
    assert running.actions[:, 0] == pytest.approx(expected)


def test_a_policy_that_was_not_trained_for_it_is_told_nothing() -> None:
    spec = dataclasses.replace(SPEC, trained_prefix_steps=0)
    assert running_plan(plan(), spec, 1_000 * MS, 1_150 * MS) is None
    assert running_plan(plan(), SPEC, 1_000 * MS, 1_150 * MS, "plain") is None


def test_what_a_policy_cannot_do_is_refused_by_name() -> None:
    eager = EngineInfo("torch", guides=True)
    check_continuity(SPEC, "trained", eager)
    check_continuity(SPEC, "guided", eager)
    with pytest.raises(ConfigError, match=r"not trained to plan.*prefix_steps_max"):
        check_continuity(dataclasses.replace(SPEC, trained_prefix_steps=0), "trained", eager)
    with pytest.raises(ConfigError, match="near steps"):
        check_continuity(dataclasses.replace(SPEC, trained_near_steps=1), "guided", eager)


def test_guidance_by_an_engine_without_gradients_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"onnxruntime fp32 has none.*engine torch"):
        check_continuity(SPEC, "guided", EngineInfo("onnxruntime"))
    check_continuity(SPEC, "auto", EngineInfo("onnxruntime"))


@given(
    st.integers(0, 3_000 * MS),
    st.integers(-500 * MS, 3_000 * MS),
    st.sampled_from(["auto", "trained", "guided", "plain"]),
)
def test_whatever_the_times_there_are_never_more_than_can_be_taken(stamp_ns: int, delay_ns: int, how: str) -> None:
    running = running_plan(plan(), SPEC, stamp_ns, stamp_ns + delay_ns, how)
    if running is None:
        return
    assert running.committed <= len(running.actions) <= (6 if running.guided else 4)
    assert (running.actions >= 0).all()
    assert (running.actions[:, 0] <= 5).all()
    assert (np.diff(running.actions[:, 0]) > 0).all()


DELAYS_NS = st.integers(0, 10**10)


@given(st.lists(DELAYS_NS, max_size=2 * RECENT), st.lists(DELAYS_NS, min_size=RECENT, max_size=RECENT))
def test_the_delay_is_one_of_the_latest_chunks_whatever_came_before(before: list[int], latest: list[int]) -> None:
    estimate, fresh = DelayEstimate(), DelayEstimate()
    for delay_ns in (*before, *latest):
        estimate.add(delay_ns)
    for delay_ns in latest:
        fresh.add(delay_ns)
    assert estimate.delay_ns == fresh.delay_ns  # nothing of the older ones stays, not even their largest
    assert sum(delay_ns > estimate.delay_ns for delay_ns in latest) <= 5
    assert min(latest) <= estimate.delay_ns <= max(latest)


@given(
    st.lists(st.integers(50 * MS, 200 * MS), min_size=RECENT - 4, max_size=RECENT - 4),
    st.lists(st.integers(1_000 * MS, 10**12), max_size=4),
    st.randoms(use_true_random=False),
)
def test_a_few_stalls_do_not_raise_the_delay(usual: list[int], stalls: list[int], random) -> None:
    estimate, delays_ns = DelayEstimate(), usual + stalls
    random.shuffle(delays_ns)
    for delay_ns in delays_ns:
        estimate.add(delay_ns)
    assert estimate.delay_ns <= max(usual)


def test_a_clock_that_was_set_back_gives_no_negative_delay() -> None:
    estimate = DelayEstimate()
    assert estimate.delay_ns is None
    estimate.add(-5 * MS)
    assert estimate.delay_ns == 0
