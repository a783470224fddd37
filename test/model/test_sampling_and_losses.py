"""Drawing foresight codes, and the parts of the training objective, against literal values."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_ros.model.flow import time_embedding
from f1_ros.model.losses import flow_loss, foresight_loss, noised, sample_time
from f1_ros.model.sampling import sample_top_k_top_p

LOGITS = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()


def _drawn(top_k: int, top_p: float, count: int = 400) -> set[int]:
    rows = LOGITS.expand(count, 1, 4)
    return set(sample_top_k_top_p(rows, top_k, top_p, torch.Generator().manual_seed(0)).flatten().tolist())


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (0, 0.0, {0, 1, 2, 3}),
        (900, 1.0, {0, 1, 2, 3}),  # more than there are
        (2, 0.0, {0, 1}),
        (1, 0.95, {0}),
        (0, 0.6, {0, 1}),  # half is not enough, three quarters are
        (0, 0.85, {0, 1, 2}),
        (0, 1e-6, {0}),
        (3, 0.5, {0}),  # of the three kept, the first holds 0.56
    ],
)
def test_likeliest_codes_are_kept(top_k: int, top_p: float, kept: set[int]) -> None:
    assert _drawn(top_k, top_p) == kept


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.floats(0.01, 1.0), st.integers(0, 10))
def test_draws_are_among_the_likeliest_and_follow_the_seed(size: int, top_k: int, top_p: float, seed: int) -> None:
    logits = torch.randn(2, 3, size, generator=torch.Generator().manual_seed(seed))
    drawn = sample_top_k_top_p(logits, top_k, top_p, torch.Generator().manual_seed(seed))
    assert drawn.shape == (2, 3)
    rank = (logits > logits.gather(-1, drawn[..., None])).sum(-1)
    assert (rank < top_k).all()
    assert torch.equal(sample_top_k_top_p(logits, top_k, top_p, torch.Generator().manual_seed(seed)), drawn)


def test_logits_are_left_as_they_were() -> None:
    logits = LOGITS.clone().view(1, 1, 4)
    sample_top_k_top_p(logits, 2, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(logits.flatten(), LOGITS)


def test_noised_point_and_velocity() -> None:
    actions, noise = torch.full((1, 2, 3), 4.0), torch.full((1, 2, 3), -2.0)
    x, velocity = noised(actions, noise, torch.tensor([0.25]))
    assert torch.equal(x, torch.full((1, 2, 3), 2.5))
    assert torch.equal(velocity, torch.full((1, 2, 3), -6.0))


def test_padded_steps_count_as_zero() -> None:
    error = torch.tensor([[[1.0, 3.0], [5.0, 7.0]]])
    assert flow_loss(error).item() == 4.0
    assert flow_loss(error, torch.tensor([[False, True]])).item() == 1.0


def test_foresight_loss_is_the_mean_negative_log_likelihood() -> None:
    logits = LOGITS.expand(1, 2, 4)
    assert foresight_loss(logits, torch.tensor([[0, 3, 2]])).item() == pytest.approx(
        -(math.log(0.5) + math.log(0.1)) / 2
    )


def test_flow_times_have_the_released_distribution() -> None:
    """t = 0.999 u + 0.001 with u ~ Beta(1.5, 1): mean 0.6, P(u < 1/2) = 0.5^1.5."""
    time = sample_time(20000, torch.Generator().manual_seed(0))
    assert time.shape == (20000,)
    assert time.dtype == torch.float32
    assert 0.001 <= time.min()
    assert time.max() <= 1.0
    assert time.mean().item() == pytest.approx(0.999 * 0.6 + 0.001, abs=0.006)
    assert (time < 0.5005).float().mean().item() == pytest.approx(0.3536, abs=0.012)
    assert torch.equal(time, sample_time(20000, torch.Generator().manual_seed(0)))


def test_time_embedding_has_periods_from_4_ms_to_4_s() -> None:
    embedding = time_embedding(torch.tensor([0.001, 1.0]), 4)
    assert embedding.dtype == torch.float64
    # sin and cos of 2 pi t / period for periods 0.004 and 4
    assert embedding[0].tolist() == pytest.approx([1.0, 0.001570796, 0.0, 0.999998766], abs=1e-6)
    assert embedding[1].tolist() == pytest.approx([0.0, 1.0, 1.0, 0.0], abs=1e-6)
