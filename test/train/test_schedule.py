"""Learning rate, moving average and resumable state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from f1_ros.errors import CheckpointError
from f1_ros.train.schedule import (
    MovingAverage,
    cosine_rate,
    images_to_float,
    load_state,
    save_state,
    step_generators,
)


def test_rate_warms_up_to_its_peak_and_falls_to_the_floor() -> None:
    rates = [cosine_rate(s, steps=100, warmup=10, peak=1.0, floor=0.1) for s in (0, 9, 10, 55, 100, 500)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.55, 0.1, 0.1])


def test_a_step_draws_the_same_whenever_it_is_run() -> None:
    (numpy_a, torch_a), (numpy_b, torch_b) = step_generators(3, 7), step_generators(3, 7)
    assert numpy_a.integers(1000, size=5).tolist() == numpy_b.integers(1000, size=5).tolist()
    assert torch.equal(torch.rand(5, generator=torch_a), torch.rand(5, generator=torch_b))
    other, _ = step_generators(3, 8)
    assert other.integers(10**9) != step_generators(3, 7)[0].integers(10**9)


def test_moving_average_follows_the_weights() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(module.weight, 0.0)
    average = MovingAverage(module, decay=0.5)
    torch.nn.init.constant_(module.weight, 1.0)
    average.update(module)  # first update: decay min(0.5, 2 / 11)
    assert average.shadow["weight"].item() == pytest.approx(1 - 2 / 11)


def test_a_damaged_state_is_refused_with_a_remedy(tmp_path) -> None:
    path = tmp_path / "run.pt"
    save_state(path, {"step": 3, "x": torch.ones(2)})
    assert load_state(path)["step"] == 3
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="Delete it"):
        load_state(path)


def test_pixels_become_minus_one_to_one() -> None:
    picture = np.zeros((1, 2, 3), dtype=np.uint8)
    picture[0, 1] = [255, 51, 0]
    out = images_to_float(picture)
    assert out.shape == (3, 1, 2)
    assert out[:, 0, 1].tolist() == pytest.approx([1.0, -0.6, -1.0])
