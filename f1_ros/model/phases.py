"""What the phases of the network hand to each other. Letters in shapes are those of `f1.py`."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from f1_ros.model.gemma import KVCache


@dataclass
class Prefix:
    """What the experts have seen: their cached keys and values, and what later phases need to go on.

    Attributes:
        cache: keys and values; `F1Model.foresight` adds its own.
        valid: (B, cached tokens) bool, false for padding and masked cameras.
        positions: (B, F) RoPE positions of the foresight tokens, the first that of the prefix's own last token;
            (B, 0) without a world model.
        offset: (B, 1) RoPE position of the state token. It counts the foresight tokens whether or not they are run,
            so that a policy can be run without foresight with its action tokens where they were in training.
        hidden: which cached tokens the action expert does not see, first and end: the generation expert's, where
            `F1Config.action_sees_history` is false; else none.
        last: (B, 1, W) output of the generation expert at the prefix's last token; None without a world model.
        keypoints: (B, cameras, 2 K) keypoints of the vision tower; None if it has none.
    """

    cache: KVCache
    valid: Tensor
    positions: Tensor
    offset: Tensor
    hidden: tuple[int, int]
    last: Tensor | None
    keypoints: Tensor | None

    def repeat(self, times: int) -> Prefix:
        """Each row `times` times, one after the other: several noise draws that share one prefix."""
        return Prefix(
            self.cache.repeat(times),
            self.valid.repeat_interleave(times, 0),
            self.positions.repeat_interleave(times, 0),
            self.offset.repeat_interleave(times, 0),
            self.hidden,
            None if self.last is None else self.last.repeat_interleave(times, 0),
            None if self.keypoints is None else self.keypoints.repeat_interleave(times, 0),
        )


@dataclass(frozen=True)
class ForesightOutput:
    """Predicted tokens of the next view.

    Attributes:
        codes: (B, F) int64, the scales one after the other.
        logits: (B, F, V), before top-k and top-p.
    """

    codes: Tensor
    logits: Tensor


@dataclass(frozen=True)
class TrainOutputs:
    """What the joint objective is made of.

    Attributes:
        action_loss: (B draws, chunk, A) squared error of each element's velocity, not masked.
        foresight_logits: (B, F, V), or None if foresight was skipped.
        keypoints: (B, cameras, 2 K), or None.
    """

    action_loss: Tensor
    foresight_logits: Tensor | None
    keypoints: Tensor | None
