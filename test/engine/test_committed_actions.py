"""Which of the running plan's actions are committed when the next chunk is asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.control.chunk import ActionChunk
from f1_ros.engine.committed import committed_actions
from f1_ros.engine.protocol import PolicySpec

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
    actions = committed_actions(plan(), SPEC, stamp_ms * MS, effect_ms * MS)
    assert actions.shape == (len(expected), 2)
    assert actions[:, 0] == pytest.approx(expected)
    assert actions[:, 1] == pytest.approx([10 * value for value in expected])


def test_a_policy_that_was_not_trained_for_it_gets_none() -> None:
    spec = dataclasses.replace(SPEC, trained_prefix_steps=0)
    assert committed_actions(plan(), spec, 1_000 * MS, 1_150 * MS).shape == (0, 2)


@given(st.integers(0, 3_000 * MS), st.integers(-500 * MS, 3_000 * MS))
def test_whatever_the_times_there_are_never_more_than_can_be_taken(stamp_ns: int, delay_ns: int) -> None:
    actions = committed_actions(plan(), SPEC, stamp_ns, stamp_ns + delay_ns)
    assert len(actions) <= 4
    assert (actions >= 0).all()
    assert (actions[:, 0] <= 5).all()
    assert (np.diff(actions[:, 0]) > 0).all()
