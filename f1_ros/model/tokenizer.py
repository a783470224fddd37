"""The visual tokenizer: a frame becomes token maps at rising scales, and back (VAR's multi-scale residual VQ-VAE).

Scale k's codes describe what the scales before it left over. Letters in shapes: N frames, C code width, P side of the
finest token map, p_k side of scale k's, L = sum of p_k^2 codes a frame. Formulas: Tian et al., "Visual Autoregressive
Modeling", arXiv 2404.02905, algorithms 1 and 2; the convolutional network is that of VQGAN (arXiv 2012.09841).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f1_ros.model.config import TokenizerConfig


class ResBlock(nn.Module):
    """Two group-normed 3x3 convolutions around a shortcut."""

    def __init__(self, c_in: int, c_out: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, c_in, eps=1e-6)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, c_out, eps=1e-6)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, h, w) -> (N, c_out, h, w)."""
        h = self.conv1(F.silu(self.norm1(x)))
        out: Tensor = self.nin_shortcut(x) + self.conv2(F.silu(self.norm2(h)))
        return out


class AttnBlock(nn.Module):
    """Single-head self-attention over the pixels of a map."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c, h, w) -> the same shape."""
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=-1)  # each (N, h w, c)
        weights = (q @ k.transpose(1, 2) * q.shape[-1] ** -0.5).softmax(-1)
        out: Tensor = x + self.proj_out((weights @ v).transpose(1, 2).reshape(x.shape))
        return out


class Mid(nn.Module):
    """The middle of encoder and decoder."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.block_1 = ResBlock(channels, channels, groups)
        self.attn_1 = AttnBlock(channels, groups)
        self.block_2 = ResBlock(channels, channels, groups)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c, h, w) -> the same shape."""
        out: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return out


class Downsample(nn.Module):
    """Halve the resolution by a strided convolution, padded on the right and below."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c, h, w) -> (N, c, h/2, w/2)."""
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class Upsample(nn.Module):
    """Double the resolution by repeating pixels, then convolve."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c, h, w) -> (N, c, 2 h, 2 w)."""
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


class Level(nn.Module):
    """Residual blocks at one resolution, each followed by attention at the coarsest one."""

    def __init__(self, c_in: int, c_out: int, blocks: int, groups: int, attend: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResBlock(c_in if i == 0 else c_out, c_out, groups) for i in range(blocks))
        self.attn = nn.ModuleList(AttnBlock(c_out, groups) for _ in range(blocks if attend else 0))

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, h, w) -> (N, c_out, h, w)."""
        for i, block in enumerate(self.block):
            x = block(x)
            if len(self.attn) > 0:
                x = self.attn[i](x)
        return x


class DownLevel(Level):
    """A level of the encoder; all but the coarsest halve the resolution at their end."""

    def __init__(self, c_in: int, c_out: int, blocks: int, groups: int, coarsest: bool) -> None:
        super().__init__(c_in, c_out, blocks, groups, attend=coarsest)
        self.downsample = nn.Identity() if coarsest else Downsample(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, h, w) -> (N, c_out, h/2, w/2)."""
        out: Tensor = self.downsample(super().forward(x))
        return out


class UpLevel(Level):
    """A level of the decoder; all but the finest double the resolution at their end."""

    def __init__(self, c_in: int, c_out: int, blocks: int, groups: int, coarsest: bool, finest: bool) -> None:
        super().__init__(c_in, c_out, blocks, groups, attend=coarsest)
        self.upsample = nn.Identity() if finest else Upsample(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, h, w) -> (N, c_out, 2 h, 2 w)."""
        out: Tensor = self.upsample(super().forward(x))
        return out


class Encoder(nn.Module):
    """Frames (N, 3, S, S) -> features (N, C, P, P)."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.patch = config.patch
        widths = [config.ch * m for m in config.ch_mult]
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(3 * config.patch**2, config.ch, 3, padding=1)
        self.down = nn.ModuleList()
        for i, width in enumerate(widths):
            before = widths[i - 1] if i > 0 else config.ch
            self.down.append(DownLevel(before, width, config.num_res_blocks, config.norm_groups, coarsest=i == last))
        self.mid = Mid(widths[-1], config.norm_groups)
        self.norm_out = nn.GroupNorm(config.norm_groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], config.z_channels, 3, padding=1)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, S, S) -> (N, C, P, P)."""
        x = self.conv_in(F.pixel_unshuffle(frames, self.patch))
        for level in self.down:
            x = level(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(self.mid(x))))
        return out


class Decoder(nn.Module):
    """Features (N, C, P, P) -> frames (N, 3, S, S)."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.patch = config.patch
        widths = [config.ch * m for m in config.ch_mult]
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(config.z_channels, widths[-1], 3, padding=1)
        self.mid = Mid(widths[-1], config.norm_groups)
        self.up = nn.ModuleList()
        for i, width in enumerate(widths):
            before, blocks = widths[min(i + 1, last)], config.num_res_blocks + 1
            self.up.append(UpLevel(before, width, blocks, config.norm_groups, coarsest=i == last, finest=i == 0))
        self.norm_out = nn.GroupNorm(config.norm_groups, widths[0], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[0], 3 * config.patch**2, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, P, P) -> (N, 3, S, S)."""
        x = self.mid(self.conv_in(features))
        for level in reversed(self.up):
            x = level(x)
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(x))), self.patch)


class Phi(nn.Conv2d):
    """phi(h) = h / 2 + conv3x3(h) / 2, which mends an upsampled token map."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """(N, C, P, P) -> the same shape."""
        return 0.5 * h + 0.5 * super().forward(h)


class Quantiser(nn.Module):
    """The codebook and the phi convolutions."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.z_channels)
        self.phi = nn.ModuleList(Phi(config.z_channels) for _ in range(config.share_quant_resi))


class Quantised(NamedTuple):
    """Features as codes.

    Attributes:
        codes: (N, L) int64, the scales one after the other.
        f_hats: per scale k, what the scales up to k add up to, (N, C, P, P); carries gradients to codebook and phi.
        inputs: per scale k, the vectors that were looked up, (N p_k^2, C), without gradients.
    """

    codes: Tensor
    f_hats: list[Tensor]
    inputs: list[Tensor]


def resize(x: Tensor, side: int, mode: str) -> Tensor:
    """Maps (N, C, p, p) at another side, (N, C, side, side), as `F.interpolate` does it; mode: area or bicubic."""
    if not torch.compiler.is_exporting():
        return F.interpolate(x, size=(side, side), mode=mode)
    # Runtimes differ in their cubic and adaptive kernels, or have slow ones; both are linear in rows and in columns.
    rows = torch.tensor(_RESIZING[mode](x.shape[-1], side), dtype=x.dtype, device=x.device)
    out: Tensor = rows @ x @ rows.T
    return out


def _area(old: int, new: int) -> list[list[float]]:
    """Weights (new, old) of adaptive average pooling along one axis."""
    weights = np.zeros((new, old))
    for i in range(new):
        first, end = i * old // new, -(-(i + 1) * old // new)
        weights[i, first:end] = 1 / (end - first)
    return weights.tolist()


def _bicubic(old: int, new: int) -> list[list[float]]:
    """Weights (new, old) of cubic convolution (Keys 1981, a = -0.75) along one axis, the border repeated."""
    a, weights = -0.75, np.zeros((new, old))
    for i in range(new):
        at = (i + 0.5) * old / new - 0.5
        first = int(np.floor(at)) - 1
        for j in range(first, first + 4):
            d = abs(at - j)
            near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
            weights[i, min(max(j, 0), old - 1)] += near if d <= 1 else far
    return weights.tolist()


_RESIZING = {"area": _area, "bicubic": _bicubic}


class VisualTokenizer(nn.Module):
    """Frames (N, 3, S, S) in [-1, 1] <-> codes (N, L).

    Args:
        config: the convolutional network and the codebook.
        scales: sides p_k of the token maps, coarse to fine.
    """

    def __init__(self, config: TokenizerConfig, scales: tuple[int, ...]) -> None:
        super().__init__()
        self.config = config
        self.scales = scales
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = Quantiser(config)
        self.quant_conv = nn.Conv2d(config.z_channels, config.z_channels, 3, padding=1)
        self.post_quant_conv = nn.Conv2d(config.z_channels, config.z_channels, 3, padding=1)

    @property
    def frame_size(self) -> int:
        """S: side of a frame, px."""
        return self.scales[-1] * self.config.downsample

    @property
    def tokens(self) -> int:
        """L: codes a frame."""
        return sum(p * p for p in self.scales)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, S, S) in [-1, 1] -> codes (N, L) int64."""
        return self.quantise(self.features(frames)).codes

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (N, n) of the first scales, or of all -> frames (N, 3, S, S) in [-1, 1]."""
        f_hat = self.empty(codes.shape[0])
        for k, part in enumerate(self.split(codes)):
            f_hat = self.accumulate(f_hat, part, k)
        return self.decode_features(f_hat).clamp(-1, 1)

    def var_input(self, codes: Tensor) -> Tensor:
        """What next-scale prediction reads: codes up to each scale, at the size of the next.

        codes (N, n) of the first m scales -> (N, p_1^2 + ... + p_m^2, C); with all L codes (N, L - 1, C).
        """
        f_hat, inputs = self.empty(codes.shape[0]), []
        for k, part in enumerate(self.split(codes)[: len(self.scales) - 1]):
            f_hat = self.accumulate(f_hat, part, k)
            inputs.append(self.next_input(f_hat, k))
        return torch.cat(inputs, dim=1)

    def features(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, S, S) in [-1, 1] -> continuous features f (N, C, P, P)."""
        out: Tensor = self.quant_conv(self.encoder(frames))
        return out

    def residual_codes(self, f: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features (N, C, P, P) -> codes (N, L) and the partial f_hat of every scale; see `Quantised`."""
        quantised = self.quantise(f)
        return quantised.codes, quantised.f_hats

    def decode_features(self, f_hat: Tensor) -> Tensor:
        """(N, C, P, P) -> frames (N, 3, S, S), not clamped."""
        out: Tensor = self.decoder(self.post_quant_conv(f_hat))
        return out

    def quantise(self, f: Tensor) -> Quantised:
        """Features (N, C, P, P) -> codes, scale by scale on what is left over.

        For a straight-through gradient use `f + (f_hat - f).detach()`.
        """
        book = self.quantize.embedding.weight.detach()  # (V, C)
        left = f.detach()
        f_hat = torch.zeros_like(left)
        codes, f_hats, inputs = [], [], []
        for k, side in enumerate(self.scales):
            small = resize(left, side, "area") if k < len(self.scales) - 1 else left
            z = small.permute(0, 2, 3, 1).flatten(0, 2)  # (N p^2, C)
            distance = torch.addmm(z.square().sum(1, keepdim=True) + book.square().sum(1), z, book.T, alpha=-2)
            code = distance.argmin(1).view(f.shape[0], -1)
            h = self.residual(code, k)
            left = left - h.detach()
            f_hat = f_hat + h
            codes.append(code)
            f_hats.append(f_hat)
            inputs.append(z)
        return Quantised(torch.cat(codes, dim=1), f_hats, inputs)

    def empty(self, batch: int) -> Tensor:
        """f_hat before the first scale: zeros (batch, C, P, P)."""
        book = self.quantize.embedding.weight
        return book.new_zeros(batch, self.config.z_channels, self.scales[-1], self.scales[-1])

    def accumulate(self, f_hat: Tensor, codes: Tensor, k: int) -> Tensor:
        """Add scale k's codes (N, p_k^2) to f_hat (N, C, P, P)."""
        return f_hat + self.residual(codes, k)

    def residual(self, codes: Tensor, k: int) -> Tensor:
        """What scale k's codes (N, p_k^2) stand for, at the finest size: (N, C, P, P)."""
        side, finest = self.scales[k], self.scales[-1]
        h = self.quantize.embedding(codes).transpose(1, 2)
        h = h.reshape(*h.shape[:2], side, side)  # (N, C, p, p)
        if k < len(self.scales) - 1:
            h = resize(h, finest, "bicubic")
        out: Tensor = self.quantize.phi[self.phi_index(k)](h)
        return out

    def next_input(self, f_hat: Tensor, k: int) -> Tensor:
        """f_hat after scale k at the size of scale k + 1, as tokens: (N, p_(k+1)^2, C)."""
        side = self.scales[k + 1]
        return resize(f_hat, side, "area").flatten(2).transpose(1, 2)

    def phi_index(self, k: int) -> int:
        """Which phi scale k uses: the one whose tick is nearest to k / (K - 1), as VAR computes it.

        With an odd number of scales the middle one lies between two ticks, and rounding decides: keep the formula.
        """
        count = len(self.quantize.phi)
        margin = 1 / 3 / count if count == 4 else 1 / 2 / count
        ticks = np.linspace(margin, 1 - margin, count)
        return int(np.argmin(np.abs(ticks - k / (len(self.scales) - 1))))

    def split(self, codes: Tensor) -> tuple[Tensor, ...]:
        """Codes (N, n) -> one (N, p_k^2) a scale.

        Raises:
            ValueError: if n does not end at a scale.
        """
        sizes, total = [], 0
        for side in self.scales:
            if total == codes.shape[1]:
                break
            sizes.append(side * side)
            total += side * side
        if total != codes.shape[1]:
            raise ValueError(f"{codes.shape[1]} codes do not end at one of the scales {self.scales}")
        return torch.split(codes, sizes, dim=1)
