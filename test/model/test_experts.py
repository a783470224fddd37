"""The mixture of transformers' parts against literal values."""

from __future__ import annotations

import pytest
import torch

from f1_ros.model.config import ExpertConfig, KeypointConvConfig
from f1_ros.model.gemma import Expert, KVCache, RMSNorm, attention_bias, rope_angles, rotate, run_experts
from f1_ros.model.towers import KeypointConv


def test_rms_norm_scales_by_one_plus_weight() -> None:
    norm = RMSNorm(2, 1e-6)
    norm.weight.data[:] = torch.tensor([0.0, 1.0])
    # rms of (3, 4) is sqrt(12.5)
    assert norm(torch.tensor([3.0, 4.0])).tolist() == pytest.approx([0.848528, 2.262742], abs=1e-5)


def test_rope_rotates_halves_against_each_other() -> None:
    x = torch.tensor([1.0, 0.0, 0.0, 2.0]).view(1, 1, 1, 4)
    out = rotate(x, rope_angles(torch.tensor([[3]]), 4)).flatten().tolist()
    # angles 3 and 3 / 100: pairs (1, 0) by 3 rad, (0, 2) by 0.03 rad
    assert out == pytest.approx([-0.989992, -0.059991, 0.141120, 1.999100], abs=1e-5)


def test_rope_depends_on_distance_alone() -> None:
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(1, 1, 1, 8, generator=g), torch.randn(1, 1, 1, 8, generator=g)

    def product(a: int, b: int) -> float:
        at = (rope_angles(torch.tensor([[p]]), 8) for p in (a, b))
        return float((rotate(q, next(at)) * rotate(k, next(at))).sum())

    assert product(5, 2) == pytest.approx(product(103, 100), abs=1e-4)


def test_row_that_sees_nothing_stays_finite() -> None:
    bias = attention_bias(torch.zeros(1, 1, 2, 3, dtype=torch.bool))
    assert torch.softmax(bias, -1).flatten().tolist() == pytest.approx([1 / 3] * 6)


def _expert(width: int) -> Expert:
    with torch.random.fork_rng():
        torch.manual_seed(width)
        return Expert(ExpertConfig(width, 2 * width, 2, 2, 1, 4))


@torch.no_grad()
def test_tokens_one_by_one_through_the_cache_equal_all_at_once() -> None:
    experts = (_expert(8), _expert(12))
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(1, 3, 8, generator=g), torch.randn(1, 2, 12, generator=g)
    positions = torch.arange(5)[None]
    causal = attention_bias(torch.ones(5, 5, dtype=torch.bool).tril()[None, None])
    whole = run_experts([(experts[0], x), (experts[1], y)], positions, causal, KVCache(2, 5), keep=True, outputs=2)
    cache, last = KVCache(2, 5), []
    for i in range(5):
        stream = (experts[0], x[:, i : i + 1]) if i < 3 else (experts[1], y[:, i - 3 : i - 2])
        out = run_experts(
            [stream], positions[:, i : i + 1], causal[:, :, i : i + 1, : i + 1], cache, keep=True, outputs=1
        )
        last.append(out)
    assert whole is not None
    torch.testing.assert_close(torch.cat(last[3:], dim=1), whole)


@torch.no_grad()
def test_static_cache_never_moves_its_buffers() -> None:
    expert, cache = _expert(8), KVCache(2, 6)
    addresses = set()
    for i in range(3):
        x = torch.randn(1, 2, 8, generator=torch.Generator().manual_seed(i))
        bias = torch.zeros(1, 1, 1, 2 * (i + 1))
        run_experts([(expert, x)], torch.arange(2)[None] + 2 * i, bias, cache, keep=True, outputs=0)
        addresses.add(cache.tensors(0)[0].data_ptr())
    assert cache.length == 6
    assert len(addresses) == 1


def test_keypoints_point_at_the_heat() -> None:
    """A tower whose heat is the red channel's brightness: the keypoint is where the red square is."""
    tower = KeypointConv(KeypointConvConfig(hidden_size=4, image_size=32, channels=(1, 1), keypoints=1, grid=2))
    for conv in (tower.conv1, tower.conv2, tower.heat):
        conv.weight.data.zero_()
        conv.bias.data.zero_()
    tower.conv1.weight.data[0, 0] = 1.0
    tower.conv2.weight.data[0, 0, 1, 1] = 1.0
    tower.heat.weight.data.fill_(10.0)
    image = torch.zeros(1, 3, 32, 32)
    image[0, 0, 4:8, 24:28] = 1.0  # row cell 1, column cell 6 of 8
    _, keypoints = tower(image)
    assert keypoints[0].tolist() == pytest.approx([2 * 6 / 7 - 1, 2 * 1 / 7 - 1], abs=1e-3)
