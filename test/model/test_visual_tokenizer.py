"""The visual tokenizer: codes, partial sums, and what its training needs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from f1_ros.model.config import TokenizerConfig
from f1_ros.model.tokenizer import VisualTokenizer, resize


def _tokenizer(scales: tuple[int, ...] = (1, 2, 3), phis: int = 4) -> VisualTokenizer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VisualTokenizer(TokenizerConfig(32, 4, 8, phis, (1, 2), 1, patch=2, norm_groups=4), scales)


def _frames(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_shapes() -> None:
    tokenizer = _tokenizer()
    assert (tokenizer.frame_size, tokenizer.tokens) == (12, 14)
    codes = tokenizer.encode(_frames())
    assert codes.shape == (2, 14)
    assert codes.dtype == torch.int64
    assert tokenizer.var_input(codes).shape == (2, 13, 4)
    assert tokenizer.decode(codes).shape == (2, 3, 12, 12)
    assert tokenizer.decode(codes).abs().max() <= 1


def test_coarse_scales_decode_alone() -> None:
    tokenizer = _tokenizer()
    codes = tokenizer.encode(_frames())
    _, f_hats = tokenizer.residual_codes(tokenizer.features(_frames()))
    for scales, count in ((1, 1), (2, 5), (3, 14)):
        expected = tokenizer.decode_features(f_hats[scales - 1]).clamp(-1, 1)
        torch.testing.assert_close(tokenizer.decode(codes[:, :count]), expected)


def test_codes_that_end_within_a_scale_are_refused() -> None:
    with pytest.raises(ValueError, match="4 codes do not end"):
        _tokenizer().decode(torch.zeros(1, 4, dtype=torch.int64))


def test_input_of_the_next_scale_depends_on_the_scales_before_it() -> None:
    tokenizer = _tokenizer()
    codes = tokenizer.encode(_frames())
    whole = tokenizer.var_input(codes)
    torch.testing.assert_close(tokenizer.var_input(codes[:, :1]), whole[:, :4])
    torch.testing.assert_close(tokenizer.var_input(codes[:, :5]), whole)
    last_changed = codes.clone()
    last_changed[:, 5:] = 0
    assert torch.equal(tokenizer.var_input(last_changed), whole)


def test_every_scale_takes_the_nearest_code_of_what_is_left() -> None:
    tokenizer = _tokenizer()
    f = tokenizer.features(_frames()).detach()
    quantised = tokenizer.quantise(f)
    book = tokenizer.quantize.embedding.weight
    parts = tokenizer.split(quantised.codes)
    for code, z in zip(parts, quantised.inputs, strict=True):
        assert torch.equal(torch.cdist(z, book).argmin(1), code.flatten())
    torch.testing.assert_close(quantised.inputs[0], f.mean((2, 3)))
    torch.testing.assert_close(
        quantised.inputs[2], (f - quantised.f_hats[1]).permute(0, 2, 3, 1).flatten(0, 2), rtol=1e-4, atol=1e-5
    )


def test_phi_halves_the_way_to_its_convolution() -> None:
    tokenizer = _tokenizer()
    for phi in tokenizer.quantize.phi:
        phi.weight.data.zero_()
        phi.bias.data.fill_(1.0)
    tokenizer.quantize.embedding.weight.data[3] = torch.tensor([2.0, 0.0, -2.0, 4.0])
    out = tokenizer.residual(torch.tensor([[3]]), 0)  # one code over the whole map
    torch.testing.assert_close(out[0, :, 1, 2], torch.tensor([1.5, 0.5, -0.5, 2.5]))


@pytest.mark.parametrize(
    ("scales", "phis", "indices"),
    [
        ((1, 2, 3, 4, 5, 6, 8, 10, 13, 16), 4, [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]),
        ((1, 2, 3, 4), 4, [0, 1, 2, 3]),
        ((1, 2), 4, [0, 3]),
        ((1, 2, 3, 4, 6), 2, [0, 0, 0, 1, 1]),
    ],
)
def test_phi_of_each_scale(scales: tuple[int, ...], phis: int, indices: list[int]) -> None:
    tokenizer = _tokenizer(scales, phis)
    assert [tokenizer.phi_index(k) for k in range(len(scales))] == indices


def test_training_reaches_codebook_phi_and_both_networks() -> None:
    tokenizer = _tokenizer()
    f = tokenizer.features(_frames())
    _, f_hats = tokenizer.residual_codes(f)
    straight_through = f + (f_hats[-1] - f).detach()
    tokenizer.decode_features(straight_through).square().mean().backward(retain_graph=True)
    assert tokenizer.encoder.conv_in.weight.grad is not None
    assert tokenizer.encoder.conv_in.weight.grad.any()
    assert tokenizer.quantize.embedding.weight.grad is None
    sum((f_hat - f.detach()).square().mean() for f_hat in f_hats).backward()
    for weight in (tokenizer.quantize.embedding.weight, tokenizer.quantize.phi[0].weight):
        assert weight.grad is not None
        assert weight.grad.any()


def test_pixels_pass_through_a_patch_in_place() -> None:
    """The stem sees pixel (y, x) in cell (y // 2, x // 2): a change in one corner stays near it."""
    tokenizer = _tokenizer()
    frame = torch.zeros(1, 3, 12, 12)
    changed = frame.clone()
    changed[0, :, 0, 0] = 1.0
    moved = (
        (
            tokenizer.encoder.conv_in(torch.nn.functional.pixel_unshuffle(changed, 2))
            - tokenizer.encoder.conv_in(torch.nn.functional.pixel_unshuffle(frame, 2))
        )
        .abs()
        .sum(1)[0]
    )
    assert moved[:2, :2].min() > 0
    assert moved[2:, :].max() == 0
    assert moved[:, 2:].max() == 0


@pytest.mark.parametrize(
    ("mode", "old", "new"), [("bicubic", 1, 6), ("bicubic", 4, 16), ("area", 6, 4), ("area", 16, 13)]
)
def test_maps_are_resized_the_same_in_an_exported_graph(mode: str, old: int, new: int) -> None:
    class Resize(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return resize(x, new, mode)

    x = torch.rand(1, 3, old, old, generator=torch.Generator().manual_seed(0))
    exported = torch.export.export(Resize(), (x,)).module()
    assert torch.allclose(exported(x), F.interpolate(x, size=(new, new), mode=mode), atol=1e-6)
