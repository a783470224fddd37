"""A sample draws the same foresight codes in whatever batch it stands."""

from __future__ import annotations

import pytest
import torch

from f1_ros.model.sampling import RowGenerators, sample_top_k_top_p


def test_a_row_draws_the_same_alone_and_in_company() -> None:
    logits = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0))
    together = sample_top_k_top_p(logits, 0, 0.0, RowGenerators([7, 8, 9]))
    alone = [sample_top_k_top_p(logits[i : i + 1], 0, 0.0, RowGenerators([7 + i])) for i in range(3)]
    assert together.shape == (3, 5)
    assert torch.equal(together, torch.cat(alone))


def test_a_row_goes_on_from_where_it_was() -> None:
    logits = torch.zeros(2, 4, 64)
    generators = RowGenerators([1, 2])
    first, second = (sample_top_k_top_p(logits, 0, 0.0, generators) for _ in range(2))
    assert not torch.equal(first, second)


def test_rows_without_a_generator_of_their_own_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        sample_top_k_top_p(torch.zeros(3, 1, 4), 0, 0.0, RowGenerators([1, 2]))
