"""A network as its stages run one after the other, with the buffers between them.

    network = StagedNetwork(runner)
    inputs = network.encode(frame)                     each history frame once
    words = network.words(tokens)                      each instruction once
    logits = network.read(images, image_mask, words, language_mask, history)
    codes = network.foresight(logits, draw)
    velocity = network.velocity(state, actions, t)     as often as there are flow steps

What comes back from `read`, `foresight` and `velocity` is of the last observation that was read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from f1_ros.engine.layout import StageRunner
from f1_ros.errors import EngineError
from f1_ros.model.flow import time_embedding

KEPT_TIMES = 256
"""Embedded flow times that are kept: more than a policy's flow steps times its prefix lengths."""


class StagedNetwork:
    """Drives a runner's stages. Keys and values lie in one buffer, which is made once. Not thread-safe.

    Args:
        runner: what runs them.
    """

    def __init__(self, runner: StageRunner) -> None:
        self.runner = runner
        self.layout = layout = runner.layout
        kv, valid = layout.signatures()["flow"].inputs[:2]
        self._kv = torch.zeros(kv.shape, device=runner.device)
        self._valid = torch.zeros(valid.shape, dtype=torch.bool, device=runner.device)
        self._embedded = functools.lru_cache(maxsize=KEPT_TIMES)(self._embed)

    def encode(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """History frame (1, 3, H, H) in [-1, 1] -> codes (1, L), VAR inputs (1, L - 1, C)."""
        codes, inputs = self.runner.run("history_encoder", frame)
        return codes.clone(), inputs.clone()

    def words(self, tokens: Tensor) -> Tensor:
        """Language tokens (1, n) -> (1, n, W)."""
        return self.runner.run("language", tokens)[0].clone()

    def read(
        self,
        images: Tensor,
        image_mask: Tensor,
        words: Tensor,
        language_mask: Tensor,
        history: Tensor | None = None,
    ) -> Tensor | None:
        """Read everything there is to see; see `F1Model.prefix`.

        Args:
            images: (1, n, 3, S, S).
            image_mask: (1, n) bool.
            words: of `words`.
            language_mask: (1, n) bool.
            history: (1, T, L - 1, C), VAR inputs of the frames, oldest first; None for a network without history.

        Returns:
            Logits of foresight's first scale (1, 1, V); None without foresight.
        """
        (seen,) = self.runner.run("image_tower", images)
        more = () if history is None else (history,)
        kv, valid, *logits = self.runner.run("prefix", seen, image_mask, words, language_mask, *more)
        end = self.layout.prefix_tokens
        self._kv[:, :, :, :end] = kv
        self._valid[:, :end] = valid
        self._valid[:, end:] = False
        return logits[0].cpu() if logits else None

    def foresight(self, logits: Tensor, choose: Callable[[int, Tensor], Tensor]) -> list[Tensor]:
        """Predict the next view's tokens, scale by scale; the flow then sees them.

        Args:
            logits: of `read`.
            choose: gives the codes (1, p^2) of a scale from its number and its logits (1, p^2, V).

        Returns:
            The codes of each scale.
        """
        codes: list[Tensor] = []
        f_hat = torch.zeros(self.layout.f_hat, device=self.runner.device)
        for scale in range(len(self.layout.scales)):
            if scale > 0:
                first, end = self.layout.span(scale)
                kv, logits, f_hat = self.runner.run(f"foresight_{scale}", self._kv, self._valid, codes[-1], f_hat)
                self._kv[:, :, :, first:end] = kv
                self._valid[:, first:end] = True
            codes.append(choose(scale, logits.cpu()))
        return codes

    def velocity(self, state: Tensor, actions: Tensor, t: Tensor) -> Tensor:
        """The flow's velocity at actions (1, chunk, A), given the state (1, d); see `F1Model.velocity`.

        t: (1,) the time of all steps, or (1, chunk) one each.
        """
        time = self._embedded(tuple(t.flatten().tolist()))
        return self.runner.run("flow", self._kv, self._valid, state, actions, time)[0].cpu()

    def decode(self, codes: Tensor) -> Tensor:
        """Foresight's codes (1, F) -> picture (1, 3, H, H) in [-1, 1]."""
        return self.runner.run("decoder", codes)[0].cpu()

    def _embed(self, times: Sequence[float]) -> Tensor:
        config = self.layout.config
        if len(times) not in (1, config.chunk_size):
            raise EngineError(
                f"{len(times)} flow times for a chunk of {config.chunk_size}.", remedy="Give one, or one a step."
            )
        with torch.no_grad():
            embedded = time_embedding(torch.tensor([times]), config.act.hidden_size).float()
            return embedded.expand(1, config.chunk_size, -1).contiguous()
