"""Normalisation as in the released code, with literal values, and what bad statistics say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.errors import ConfigError
from f1_ros.observe.normalise import Normaliser

STATS: dict[str, Any] = {
    "mean": [1.0, -2.0, 0.3],
    "std": [0.5, 2.0, 0.0],
    "min": [0.0, -4.0, 0.3],
    "max": [2.0, 4.0, 0.3],
    "q01": [0.0, -4.0, 0.3],
    "q99": [2.0, 4.0, 0.3],
}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("mean_std", [1.0, 2.0, 0.0, 0.0, 0.0]),
        ("min_max", [0.75, 0.75, 0.0, 0.0, 0.0]),
        ("quantile", [0.5, 0.5, -1.0, 0.0, 0.0]),
    ],
)
def test_each_mode_scales_pads_with_zeros_and_comes_back(mode: str, expected: list[float]) -> None:
    normaliser = Normaliser.from_stats({"mode": mode, **STATS}, 5)
    result = normaliser.normalise([1.5, 2.0, 0.3])
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)
    np.testing.assert_allclose(normaliser.denormalise(result), [1.5, 2.0, 0.3], atol=1e-6)


@pytest.mark.parametrize("mode", ["mean_std", "min_max", "quantile"])
def test_a_joint_that_never_moved_does_not_blow_up(mode: str) -> None:
    normaliser = Normaliser.from_stats({"mode": mode, **STATS}, 3)
    assert abs(normaliser.normalise([1.0, 0.0, 0.9])[2]) <= 1
    assert normaliser.denormalise(np.array([0.0, 0.0, 50.0]))[2] == pytest.approx(0.3)


def test_a_whole_chunk_is_normalised_at_once() -> None:
    normaliser = Normaliser.from_stats({"mode": "min_max", **STATS}, 32)
    chunk = normaliser.normalise(np.tile([2.0, 4.0, 0.3], (16, 1)))
    assert chunk.shape == (16, 32)
    np.testing.assert_allclose(normaliser.denormalise(chunk), np.tile([2.0, 4.0, 0.3], (16, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"mode": "zscore"}, "action.mode is 'zscore'"),
        ({"mode": None}, "action.mode is None"),
        ({"std": None}, "action.std"),
        ({"std": [0.5, 2.0]}, "action.mean has 3 numbers and action.std 2"),
        ({"std": [0.5, float("nan"), 1.0]}, "action.std is not a flat list of finite numbers"),
        ({"std": [0.5, -2.0, 1.0]}, r"action.std\[1\] is negative"),
        ({"std": "half"}, "action.std is not a list of numbers"),
        ({"mean": [[1.0, 2.0, 3.0]]}, "action.mean is not a flat list"),
        ({"mean": [], "std": []}, "0 numbers"),
        ({"mode": "quantile", "q99": [2.0, -5.0, 0.3]}, r"action.q99\[1\] is negative or below action.q01"),
    ],
)
def test_bad_statistics_are_refused_naming_the_key(change: dict[str, Any], cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        Normaliser.from_stats({"mode": "mean_std", **STATS, **change}, 5, "action")


def test_missing_statistics_and_too_narrow_a_model_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"action\.q01 is missing"):
        Normaliser.from_stats({"mode": "quantile", "mean": [1.0]}, 5, "action")
    with pytest.raises(ConfigError, match="1 to 2"):
        Normaliser.from_stats({"mode": "mean_std", **STATS}, 2)


def test_vectors_of_another_length_are_refused() -> None:
    normaliser = Normaliser.from_stats({"mode": "mean_std", **STATS}, 5)
    with pytest.raises(ConfigError, match="3 dimensions"):
        normaliser.normalise([1.0, 2.0])
    with pytest.raises(ConfigError, match="vectors of 5"):
        normaliser.denormalise(np.zeros(3))


@given(
    mode=st.sampled_from(["mean_std", "min_max", "quantile"]),
    low=st.lists(st.floats(-10, 10), min_size=1, max_size=8),
    spread=st.floats(1e-3, 10),
    share=st.floats(-1, 2),
)
def test_what_is_normalised_comes_back(mode: str, low: list[float], spread: float, share: float) -> None:
    high = [value + spread for value in low]
    stats = {"mode": mode, "mean": low, "std": [spread] * len(low), "min": low, "max": high, "q01": low, "q99": high}
    normaliser = Normaliser.from_stats(stats, 32)
    values = np.array(low) + share * spread
    np.testing.assert_allclose(normaliser.denormalise(normaliser.normalise(values)), values, atol=1e-5)
