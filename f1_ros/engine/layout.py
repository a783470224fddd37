"""The stages that a network is cut into, and the tensors at their edges.

Batch is 1 and every shape is fixed. In the order of an inference (P tokens of the prefix, F - 1 of foresight after it,
C code width, V codebook, W an expert's width; `kv` holds keys and values of all layers):

    image_tower      images                                           -> seen
    history_encoder  frame                                            -> codes, inputs           each frame once
    language         tokens                                           -> words                   each text once
    prefix           seen, image_mask, words, language_mask, history  -> kv, valid, logits       of the P tokens
    foresight_K      kv, valid, codes, f_hat                          -> kv, logits, f_hat       of scale K's tokens
    flow             kv, valid, state, actions, time                  -> velocity                each flow step
    decoder          codes                                            -> picture                 for people

The prefix gives the logits of scale 0, foresight_K those of scale K from the codes of scale K - 1. Who runs the stages
keeps `kv` in one buffer for all P + F - 1 tokens, into which the output of prefix and foresight goes at its tokens'
place, and `valid`, which says of each of them whether the flow may look at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from f1_ros.engine.protocol import EngineInfo
from f1_ros.errors import CheckpointError
from f1_ros.model.config import F1Config, KeypointConvConfig

DType = Literal["float32", "int64", "bool"]


@dataclass(frozen=True)
class Port:
    """One tensor at the edge of a stage."""

    name: str
    shape: tuple[int, ...]
    dtype: DType = "float32"


@dataclass(frozen=True)
class Signature:
    """What goes into a stage and what comes out, in order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True)
class Layout:
    """A network with a number of images and words: which stages there are, with which shapes.

    Attributes:
        config: the network.
        images: images that it sees at once.
        words: language tokens that it reads.
        foresight: whether foresight is predicted at run time; false leaves its stages out.

    Raises:
        CheckpointError: if the network takes another number of images.
    """

    config: F1Config
    images: int
    words: int
    foresight: bool = True

    def __post_init__(self) -> None:
        wanted = self.config.vision.images if isinstance(self.config.vision, KeypointConvConfig) else None
        if self.images < 1 or wanted not in (None, self.images):
            raise CheckpointError(
                f"config.json takes {wanted or 'one or more'} images, {self.images} are given.",
                remedy="Use the files of one checkpoint.",
            )

    @property
    def understood(self) -> int:
        """Tokens of the understanding expert: those of all images, then the words."""
        return self.images * self.config.vision.tokens + self.words

    @property
    def prefix_tokens(self) -> int:
        """P: tokens of the prefix; those of the generation expert come last."""
        return self.understood + self.config.generation_tokens

    @property
    def scales(self) -> tuple[int, ...]:
        """Sides of the scales that foresight predicts; empty without it."""
        return self.config.scales[: self.config.num_resolutions] if self.predicts else ()

    @property
    def predicts(self) -> bool:
        """Whether there is foresight."""
        return self.foresight and self.config.use_world_model

    @property
    def remembers(self) -> bool:
        """Whether the network reads history frames."""
        return self.config.use_world_model and self.config.use_history

    @property
    def tokens(self) -> int:
        """P + F - 1: all tokens that the flow may look at. Foresight's first is the prefix's last."""
        return self.prefix_tokens + sum(side * side for side in self.scales[1:])

    @property
    def f_hat(self) -> tuple[int, ...]:
        """Shape of f_hat, what the scales so far add up to: (1, C, P, P) with P the side of the finest scale."""
        assert self.config.vae is not None
        return (1, self.config.vae.z_channels, self.config.scales[-1], self.config.scales[-1])

    def span(self, scale: int) -> tuple[int, int]:
        """Where scale > 0's tokens lie among all tokens, first and end."""
        start = self.prefix_tokens + sum(side * side for side in self.scales[1:scale])
        return start, start + self.scales[scale] ** 2

    def signatures(self) -> dict[str, Signature]:
        """Every stage by name, in the order of an inference."""
        config, und = self.config, self.config.und
        seen = Port("seen", (1, self.images * config.vision.tokens, und.hidden_size))
        size = config.image_size
        images = Port("images", (1, self.images, 3, size, size))
        words = Port("words", (1, self.words, und.hidden_size))
        kv, valid = self._kv("kv", self.tokens), Port("valid", (1, self.tokens), "bool")
        prefix_inputs = [
            seen,
            Port("image_mask", (1, self.images), "bool"),
            words,
            Port("language_mask", (1, self.words), "bool"),
        ]
        prefix_outputs = [
            self._kv("prefix_kv", self.prefix_tokens),
            Port("prefix_valid", (1, self.prefix_tokens), "bool"),
        ]
        stages = {"image_tower": Signature((images,), (seen,))}
        if self.remembers:
            stages["history_encoder"] = self._history_encoder()
            prefix_inputs.append(
                Port("history", (1, config.temporal_conv_kernel_size, *stages["history_encoder"].outputs[1].shape[1:]))
            )
        if self.predicts:
            prefix_outputs.append(self._logits(0))
        stages["language"] = Signature((Port("tokens", (1, self.words), "int64"),), (words,))
        stages["prefix"] = Signature(tuple(prefix_inputs), tuple(prefix_outputs))
        for k in range(1, len(self.scales)):
            stages[f"foresight_{k}"] = self._foresight(k, kv, valid)
        chunk = (1, config.chunk_size, config.max_action_dim)
        stages["flow"] = Signature(
            (
                kv,
                valid,
                Port("state", (1, config.max_state_dim)),
                Port("actions", chunk),
                Port("time", (1, config.chunk_size, config.act.hidden_size)),
            ),
            (Port("velocity", chunk),),
        )
        if self.predicts:
            codes = Port("codes", (1, config.foresight_tokens), "int64")
            stages["decoder"] = Signature((codes,), (Port("picture", (1, 3, config.frame_size, config.frame_size)),))
        return stages

    def _kv(self, name: str, tokens: int) -> Port:
        und = self.config.und
        return Port(name, (und.num_hidden_layers, 2, und.num_key_value_heads, tokens, und.head_dim))

    def _logits(self, scale: int) -> Port:
        assert self.config.vae is not None
        return Port(f"logits_{scale}", (1, self.scales[scale] ** 2, self.config.vae.vocab_size))

    def _history_encoder(self) -> Signature:
        config = self.config
        assert config.vae is not None
        return Signature(
            (Port("frame", (1, 3, config.frame_size, config.frame_size)),),
            (
                Port("frame_codes", (1, config.frame_tokens), "int64"),
                Port("frame_inputs", (1, config.frame_tokens - 1, config.vae.z_channels)),
            ),
        )

    def _foresight(self, k: int, kv: Port, valid: Port) -> Signature:
        before = Port(f"codes_{k - 1}", (1, self.scales[k - 1] ** 2), "int64")
        return Signature(
            (kv, valid, before, Port(f"f_hat_{k - 1}", self.f_hat)),
            (self._kv(f"kv_{k}", self.scales[k] ** 2), self._logits(k), Port(f"f_hat_{k}", self.f_hat)),
        )


class StageRunner(Protocol):
    """Runs the stages of one network. Not thread-safe."""

    @property
    def layout(self) -> Layout:
        """Which stages there are, with which shapes."""
        ...

    @property
    def info(self) -> EngineInfo:
        """What this is."""
        ...

    @property
    def device(self) -> torch.device:
        """Where outputs lie, and inputs best do."""
        ...

    def run(self, stage: str, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run one stage.

        Args:
            stage: one of `Layout.signatures`.
            inputs: contiguous tensors on the CPU or on `device`, as its signature has them.

        Returns:
            Its outputs. They may be overwritten when the same stage runs again: copy what is to last.

        Raises:
            EngineError: if the backend fails.
        """
        ...

    def close(self) -> None:
        """Free weights and buffers."""
        ...
