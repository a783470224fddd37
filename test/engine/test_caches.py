"""What is computed once: when it is known, when it is not, and that it changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from f1_ros.engine import open_engine
from f1_ros.engine.caches import KEPT_FRAMES, FrameCache, TextCache
from f1_ros.observe.observation import Observation

Encode = Callable[[int], Tensor]


def encoder(stamps: Sequence[int], asked: list[int]) -> Encode:
    """A frame's encoding is its stamp; says which were asked for."""

    def encode(index: int) -> Tensor:
        asked.append(stamps[index])
        return torch.full((2, 3), float(stamps[index]))

    return encode


def get(cache: FrameCache, *stamps: int) -> tuple[list[float], list[int]]:
    """What comes back, and what had to be encoded for it."""
    asked: list[int] = []
    found = cache.get(stamps, encoder(stamps, asked))
    assert found.shape == (1, len(stamps), 2, 3)
    return found[0, :, 0, 0].tolist(), asked


def test_a_frame_is_encoded_once() -> None:
    cache = FrameCache()
    assert get(cache, 10, 20, 30) == ([10, 20, 30], [10, 20, 30])
    assert get(cache, 20, 30, 40) == ([20, 30, 40], [40])
    assert get(cache, 20, 30, 40) == ([20, 30, 40], [])


def test_a_frame_that_stands_for_several_is_encoded_once() -> None:
    assert get(FrameCache(), 10, 10, 20) == ([10, 10, 20], [10, 20])


def test_a_clock_that_jumps_back_empties_the_cache() -> None:
    cache = FrameCache()
    get(cache, 10, 20, 30)
    assert get(cache, 0, 10, 20) == ([0, 10, 20], [0, 10, 20])


def test_a_jump_ahead_keeps_what_is_still_asked_for() -> None:
    cache = FrameCache()
    get(cache, 10, 20, 30)
    assert get(cache, 30, 900, 910)[1] == [900, 910]


@given(st.lists(st.integers(-50, 400), min_size=1, max_size=60))
def test_whatever_the_stamps_frames_are_their_own_and_few_are_kept(starts: list[int]) -> None:
    cache = FrameCache()
    for start in starts:
        stamps = (start, start + 3, start + 6, start + 9)
        assert get(cache, *stamps)[0] == [float(stamp) for stamp in stamps]
        assert len(cache) <= KEPT_FRAMES


def test_an_instruction_is_read_once_until_it_changes() -> None:
    read: list[str] = []

    def tokenise(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        read.extend(texts)
        return torch.tensor([[len(texts[0])]]), torch.ones(1, 1, dtype=torch.bool)

    cache = TextCache(tokenise, lambda tokens: tokens.float())
    for text in ("pick", "pick", "place it", "pick"):
        words, mask = cache.get(text)
        assert words.tolist() == [[len(text)]]
        assert mask.all()
    assert read == ["pick", "place it", "pick"]


@pytest.fixture(params=["torch", "onnxruntime"])
def engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param) if request.param == "torch" else str(request.getfixturevalue("compiled_dir"))


def walk(observation: Observation, count: int) -> list[Observation]:
    """Observations one stride apart, whose frames come one by one."""
    draw = np.random.default_rng(7)
    frames = list(observation.history)
    found = []
    for i in range(count):
        stamps = tuple(100 + 50 * (i + k) for k in range(3))
        found.append(
            dataclasses.replace(
                observation,
                stamp_ns=stamps[-1],
                history=np.stack(frames[-3:]),
                history_stamps_ns=stamps,
                images=draw.uniform(-1, 1, observation.images.shape).astype(np.float32),
            )
        )
        frames.append(draw.integers(0, 255, observation.history.shape[1:]).astype(np.uint8))
    return found


def test_an_engine_that_remembers_answers_as_one_that_does_not(
    policy_dir: Path, observation: Observation, engine_name: str
) -> None:
    remembering = open_engine(policy_dir, engine_name)
    words = ["pick", "pick", "the cube", "pick", "pick"]
    seen = walk(observation, 5)
    seen = [*seen[:4], seen[1]]  # the clock jumps back at last
    for i, (looked, text) in enumerate(zip(seen, words, strict=True)):
        anew = open_engine(policy_dir, engine_name)
        one, other = (engine.infer(looked, text, seed=i) for engine in (remembering, anew))
        assert np.array_equal(one.actions, other.actions)
        assert one.foresight is not None and other.foresight is not None
        assert np.array_equal(one.foresight.codes, other.foresight.codes)


def test_observations_that_may_not_be_written_to_are_read_all_the_same(
    policy_dir: Path, observation: Observation, engine_name: str
) -> None:
    """As they come out of a message."""
    for array in (observation.images, observation.history, observation.state):
        array.flags.writeable = False
    open_engine(policy_dir, engine_name).infer(observation, "pick", seed=0)
