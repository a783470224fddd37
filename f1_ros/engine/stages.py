"""The network's stages as torch modules with plain tensors at their edges; `layout.py` says what these are.

The maths is `F1Model`'s own: a stage unpacks its tensors, calls the model, and packs what comes back.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from f1_ros.engine.layout import Layout
from f1_ros.engine.protocol import EngineInfo
from f1_ros.model.f1 import F1Model
from f1_ros.model.gemma import KVCache
from f1_ros.model.phases import Prefix


class StageCache(KVCache):
    """A `KVCache` over `kv` (layers, 2, K, tokens, D), which is only read; keeps what is new for `fresh`.

    Args:
        kv: keys and values so far; None: there are none.
        length: how many of its tokens count.
    """

    def __init__(self, kv: Tensor | None = None, length: int = 0) -> None:
        super().__init__(0, length)
        self.length = length
        self._before = None if kv is None else kv[:, :, :, :length]
        self._fresh: list[Tensor] = []

    def attend_to(self, layer: int, k: Tensor, v: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        """See `KVCache`; the batch is 1."""
        if keep:
            self._fresh.append(torch.cat([k, v]))
        if self._before is None:
            return k, v
        before = self._before[layer][:, None]  # (2, 1, K, tokens, D)
        return torch.cat([before[0], k], dim=2), torch.cat([before[1], v], dim=2)

    def fresh(self) -> Tensor:
        """Keys and values of the new tokens (layers, 2, K, new tokens, D)."""
        return torch.stack(self._fresh)


_FORESIGHT = ("gen", "tokenizer", "wm_embeddings", "lvl_embed", "wm_out_layer_norm", "wm_out_proj")


class Stage(nn.Module):
    """One stage of a network. The network's weights are its own: they are shared, not copied.

    Args:
        network: the whole network.
        layout: its shapes.

    Attributes:
        PARTS: modules of the network that the stage needs; the others are left out of it, and so of its export.
    """

    PARTS: tuple[str, ...] = ()

    def __init__(self, network: F1Model, layout: Layout) -> None:
        super().__init__()
        self.network = copy.copy(network)
        self.network._modules = {name: part for name, part in network._modules.items() if name in self.PARTS}
        self.layout = layout

    def prefix(self, kv: Tensor, valid: Tensor, length: int) -> Prefix:
        """What foresight and flow go on from, where the first `length` tokens count."""
        end = valid[:, : self.layout.prefix_tokens].sum(1, keepdim=True) - 1
        imagined = (self.layout.understood, self.layout.prefix_tokens)
        return self.network.go_on(StageCache(kv, length), valid[:, :length], end, imagined)


class ImageTower(Stage):
    """All images of one observation at once."""

    PARTS = ("vision",)

    def forward(self, images: Tensor) -> Tensor:
        """Images (1, n, 3, S, S) in [-1, 1] -> (1, n * tokens, W)."""
        seen: Tensor = self.network.vision(images).tokens.flatten(1, 2)
        return seen


class HistoryEncoder(Stage):
    """One history frame."""

    PARTS = ("tokenizer",)

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Frame (1, 3, H, H) in [-1, 1] -> codes (1, L), VAR inputs (1, L - 1, C)."""
        codes = self.network.tokenizer.encode(frame)
        return codes, self.network.tokenizer.var_input(codes)


class Language(Stage):
    """The instruction's embeddings."""

    PARTS = ("und",)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (1, n) -> (1, n, W)."""
        return self.network.words(tokens)


class ReadPrefix(Stage):
    """The joint pass of the understanding and the generation expert."""

    PARTS = ("und", "temporal_conv", *_FORESIGHT)

    def forward(
        self,
        seen: Tensor,
        image_mask: Tensor,
        words: Tensor,
        language_mask: Tensor,
        history: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """See `F1Model.read`; history: VAR inputs of the frames (1, T, L - 1, C), oldest first."""
        model, cache = self.network, StageCache()
        if history is not None:
            history = model.history_embeds(history)
        prefix = model.read(seen, image_mask, words, language_mask, history, cache)
        if not self.layout.predicts:
            return cache.fresh(), prefix.valid
        return cache.fresh(), prefix.valid, model.foresight_logits(prefix.last)


class ForesightStep(Stage):
    """One scale > 0 of foresight."""

    PARTS = _FORESIGHT

    def __init__(self, network: F1Model, layout: Layout, scale: int) -> None:
        super().__init__(network, layout)
        self.scale = scale

    def forward(self, kv: Tensor, valid: Tensor, codes: Tensor, f_hat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `F1Model.foresight_step`."""
        prefix = self.prefix(kv, valid, self.layout.span(self.scale)[0])
        logits, f_hat = self.network.foresight_step(prefix, self.scale, codes, f_hat)
        assert isinstance(prefix.cache, StageCache)
        return prefix.cache.fresh(), logits, f_hat


class Flow(Stage):
    """One flow step."""

    PARTS = ("act", "state_proj", "action_in_proj", "action_time_mlp_in", "action_time_mlp_out", "action_out_proj")

    def forward(self, kv: Tensor, valid: Tensor, state: Tensor, actions: Tensor, time: Tensor) -> Tensor:
        """See `F1Model.velocity_at`; time: (1, chunk, W) of `F1Model.embed_time`."""
        return self.network.velocity_at(self.prefix(kv, valid, self.layout.tokens), state, actions, time)


class Decoder(Stage):
    """Foresight codes to a picture."""

    PARTS = ("tokenizer",)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (1, F) -> (1, 3, H, H) in [-1, 1]."""
        return self.network.tokenizer.decode(codes)


def make_stages(network: F1Model, layout: Layout) -> Mapping[str, Stage]:
    """The modules of `Layout.signatures`, by name."""
    modules: dict[str, Stage] = {}
    for name in layout.signatures():
        kind, _, scale = name.partition("foresight_")
        if scale:
            modules[name] = ForesightStep(network, layout, int(scale))
        else:
            modules[name] = _STAGES[kind](network, layout)
    return modules


_STAGES: Mapping[str, type[Stage]] = {
    "image_tower": ImageTower,
    "history_encoder": HistoryEncoder,
    "language": Language,
    "prefix": ReadPrefix,
    "flow": Flow,
    "decoder": Decoder,
}


class TorchStages:
    """Runs the stages in eager PyTorch, on the CPU. A `StageRunner`."""

    device = torch.device("cpu")

    def __init__(self, network: F1Model, layout: Layout) -> None:
        self.network = network
        self.layout = layout
        self._modules = make_stages(network, layout)

    @property
    def info(self) -> EngineInfo:
        """Eager float32, through which gradients go."""
        return EngineInfo("torch", guides=True)

    def run(self, stage: str, *inputs: Tensor) -> tuple[Tensor, ...]:
        """See `StageRunner`."""
        out = self._modules[stage](*inputs)
        return out if isinstance(out, tuple) else (out,)

    def close(self) -> None:
        """Free the weights."""
        self.network.to("meta")
