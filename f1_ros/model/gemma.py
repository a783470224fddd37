"""The mixture of transformers: Gemma decoders that attend jointly, and the cache of their keys and values.

Each expert has its own norms, projections and MLP for its own tokens; queries, keys and values of all experts that
are present meet in one attention. Letters in shapes: B batch, N tokens of this pass, M tokens attended to (cached
ones and these), H heads, K key and value heads, D head width, W an expert's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f1_ros.model.config import ExpertConfig

ROPE_WAVELENGTH = 10_000.0


class RMSNorm(nn.Module):
    """Gemma's RMS norm: scale by `1 + weight`, computed in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., W) -> the same shape."""
        if torch.compiler.is_exporting():  # in the form that runtimes know and fuse
            wide = x.float()
            scale = (wide.square().mean(-1, keepdim=True) + self.eps).sqrt()
            out: Tensor = (wide / scale * (1.0 + self.weight.float())).to(x.dtype)
            return out
        return F.rms_norm(x.float(), x.shape[-1:], 1.0 + self.weight.float(), self.eps).to(x.dtype)


class Attention(nn.Module):
    """The projections of one expert's attention; the attention itself is joint, see `run_experts`."""

    def __init__(self, config: ExpertConfig) -> None:
        super().__init__()
        width, head = config.hidden_size, config.head_dim
        self.head_dim = head
        self.q_proj = nn.Linear(width, config.num_attention_heads * head, bias=False)
        self.k_proj = nn.Linear(width, config.num_key_value_heads * head, bias=False)
        self.v_proj = nn.Linear(width, config.num_key_value_heads * head, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * head, width, bias=False)

    def queries(self, x: Tensor) -> Tensor:
        """(B, N, W) -> (B, H, N, D)."""
        return self._heads(self.q_proj(x))

    def keys(self, x: Tensor) -> Tensor:
        """(B, N, W) -> (B, K, N, D)."""
        return self._heads(self.k_proj(x))

    def values(self, x: Tensor) -> Tensor:
        """(B, N, W) -> (B, K, N, D)."""
        return self._heads(self.v_proj(x))

    def _heads(self, projected: Tensor) -> Tensor:
        return projected.view(*projected.shape[:2], -1, self.head_dim).transpose(1, 2)


class GatedMLP(nn.Module):
    """Gemma's MLP: down(gelu(gate(x)) * up(x))."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., W) -> the same shape."""
        out: Tensor = self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))
        return out


class ExpertLayer(nn.Module):
    """One decoder layer of one expert."""

    def __init__(self, config: ExpertConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = GatedMLP(config.hidden_size, config.intermediate_size)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Residuals and MLP: x (B, N, W) and the heads' output (B, N, H * D) -> (B, N, W)."""
        x = x + self.self_attn.o_proj(attended)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Expert(nn.Module):
    """A Gemma decoder without an output head. `embed_tokens` only where it reads language."""

    def __init__(self, config: ExpertConfig, language: bool = False) -> None:
        super().__init__()
        if language:
            self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
            nn.init.normal_(self.embed_tokens.weight, std=config.hidden_size**-0.5)  # tokens are scaled by sqrt(W)
        self.layers = nn.ModuleList(ExpertLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.head_dim = config.head_dim

    def layer(self, index: int) -> ExpertLayer:
        """One of its layers."""
        return cast(ExpertLayer, self.layers[index])


class KVCache:
    """Keys and values of the tokens seen so far, layer by layer: (B, K, tokens, D), keys already rotated.

    Made with gradients off it writes into buffers of fixed size, so that a flow step costs no copy of the prefix.
    Made with gradients on it concatenates instead: autograd keeps every tensor as it was.
    """

    def __init__(self, layers: int, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._static = not torch.is_grad_enabled()
        self._kv: list[tuple[Tensor, Tensor] | None] = [None] * layers

    def attend_to(self, layer: int, k: Tensor, v: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        """Cached keys and values of a layer followed by these (B, K, N, D); remember these if `keep`.

        The new tokens count as cached after `advance`, which follows once all layers are through.
        """
        start, end = self.length, self.length + k.shape[2]
        kept = self._kv[layer]
        if self._static:
            if kept is None:
                shape = (*k.shape[:2], self.capacity, k.shape[3])
                kept = self._kv[layer] = (k.new_empty(shape), v.new_empty(shape))
            kept[0][:, :, start:end], kept[1][:, :, start:end] = k, v
            return kept[0][:, :, :end], kept[1][:, :, :end]
        if kept is not None:
            k, v = torch.cat([kept[0], k], dim=2), torch.cat([kept[1], v], dim=2)
        if keep:
            self._kv[layer] = (k, v)
        return k, v

    def tensors(self, layer: int) -> tuple[Tensor, Tensor]:
        """Cached keys and values of a layer, (B, K, cached tokens, D)."""
        kept = self._kv[layer]
        if kept is None:
            raise ValueError("the cache is empty")
        return kept[0][:, :, : self.length], kept[1][:, :, : self.length]

    def advance(self, tokens: int) -> None:
        """Count the last `tokens` as cached."""
        self.length += tokens

    def repeat(self, times: int) -> KVCache:
        """The same cache for a batch in which each row stands `times` times, one after the other."""
        cache = KVCache(len(self._kv), self.capacity)
        cache.length = self.length
        cache._static = self._static
        cache._kv = [
            None if kv is None else (kv[0].repeat_interleave(times, 0), kv[1].repeat_interleave(times, 0))
            for kv in self._kv
        ]
        return cache


def rope_angles(positions: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of RoPE's angles for `rotate`, float32 (B, 1, N, D), for positions (B, N).

    Both halves of a head have the same angles; the sine of the first half is negative, as `rotate` needs it.
    """
    half = torch.arange(head_dim // 2, dtype=torch.float32, device=positions.device)
    wavelengths = ROPE_WAVELENGTH ** ((2.0 / head_dim) * half)
    angles = positions[:, None, :, None].float() / wavelengths
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the halves (a, b) of each head of x (B, heads, N, D) against each other, in float32.

    (a cos - b sin, b cos + a sin), written so that it is few operations: small networks are bound by their number.
    """
    cos, sin = rope
    wide = x.float()
    return torch.addcmul(wide * cos, wide.roll(x.shape[-1] // 2, dims=-1), sin).to(x.dtype)


def attention_bias(visible: Tensor) -> Tensor:
    """True where a query may look -> an additive float32 bias, the same shape.

    A large finite number rather than -inf: a row that sees nothing (padding) then averages instead of giving NaN.
    """
    return torch.zeros(visible.shape, device=visible.device).masked_fill_(~visible, torch.finfo(torch.float32).min / 4)


def _joint_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Queries (B, H, N, D), keys and values (B, K, M, D), bias (B, 1, N or 1, M) -> (B, N, H * D)."""
    if torch.compiler.is_exporting():
        return _grouped_attention(q, k, v, bias)
    groups = q.shape[1] // k.shape[1]
    if groups > 1:  # query head h uses KV head h // groups
        k, v = (x[:, :, None].expand(-1, -1, groups, -1, -1).flatten(1, 2) for x in (k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
    return out.transpose(1, 2).flatten(2)


def _grouped_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """`_joint_attention`, written out for an exported graph: the query heads of a KV head are rows of one product."""
    kv_heads, groups, tokens = k.shape[1], q.shape[1] // k.shape[1], q.shape[2]
    rows = (q * q.shape[-1] ** -0.5).reshape(q.shape[0], kv_heads, groups * tokens, q.shape[3])
    scores = (rows @ k.transpose(2, 3)).unflatten(2, (groups, tokens)) + bias[:, :, None].to(q.dtype)
    out: Tensor = scores.softmax(-1).flatten(2, 3) @ v  # (B, K, groups * N, D)
    return out.reshape(q.shape).transpose(1, 2).flatten(2)


def run_experts(
    streams: Sequence[tuple[Expert, Tensor]],
    positions: Tensor,
    bias: Tensor,
    cache: KVCache,
    *,
    keep: bool,
    outputs: int,
) -> Tensor | None:
    """Send tokens through the layers of their experts, with joint attention to each other and to the cache.

    Args:
        streams: each expert with its tokens (B, N_i, W_i), in the order of the sequence.
        positions: RoPE positions of the N = sum of N_i tokens, (B, N).
        bias: additive attention bias, (B, 1, N or 1, cached + N).
        cache: keys and values of earlier tokens.
        keep: whether these tokens stay in the cache.
        outputs: how many of the last stream's last tokens are wanted. What nothing else depends on is not computed
            in the last layer.

    Returns:
        The normed outputs of those tokens, (B, outputs, W of the last expert); None if `outputs` is 0.
    """
    experts = [expert for expert, _ in streams]
    tokens = [x for _, x in streams]
    rope = rope_angles(positions, experts[0].head_dim)
    depth = len(experts[0].layers)
    for i in range(depth):
        layers = [expert.layer(i) for expert in experts]
        normed = [layer.input_layernorm(x) for layer, x in zip(layers, tokens, strict=True)]
        k = torch.cat([m.self_attn.keys(h) for m, h in zip(layers, normed, strict=True)], dim=2)
        v = torch.cat([m.self_attn.values(h) for m, h in zip(layers, normed, strict=True)], dim=2)
        k, v = cache.attend_to(i, rotate(k, rope), v, keep)
        if i == depth - 1:  # from here on only the wanted tokens matter
            if outputs == 0:
                tokens = []
                break
            layers, normed, tokens = layers[-1:], [normed[-1][:, -outputs:]], [tokens[-1][:, -outputs:]]
            rope = (rope[0][:, :, -outputs:], rope[1][:, :, -outputs:])
            bias = bias[:, :, -outputs:]
        q = torch.cat([m.self_attn.queries(h) for m, h in zip(layers, normed, strict=True)], dim=2)
        attended = torch.split(_joint_attention(rotate(q, rope), k, v, bias), [x.shape[1] for x in tokens], dim=1)
        tokens = [m.finish(x, a) for m, x, a in zip(layers, tokens, attended, strict=True)]
    if keep:
        cache.advance(positions.shape[1])
    return experts[-1].norm(tokens[-1]) if tokens else None
