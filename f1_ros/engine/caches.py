"""What is computed once: history frames by their stamp, and the instruction by its words."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

KEPT_FRAMES = 16
"""History frames lie on a fixed grid of stamps, so a frame is needed for this many strides at most."""


class FrameCache:
    """VAR inputs of history frames (L - 1, C), each computed once and kept by its stamp.

    Stamps that run backward (a clock reset) empty it: other frames may come under stamps that were seen before.
    """

    def __init__(self) -> None:
        self._frames: OrderedDict[int, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._frames)

    def get(self, stamps_ns: Sequence[int], encode: Callable[[int], Tensor]) -> Tensor:
        """VAR inputs of the frames of these stamps, (1, T, L - 1, C).

        Args:
            stamps_ns: oldest first.
            encode: gives the VAR inputs (L - 1, C) of the frame of that index.
        """
        if self._frames and stamps_ns[-1] < next(reversed(self._frames)):
            self._frames.clear()
        for index, stamp in enumerate(stamps_ns):
            if stamp not in self._frames:
                self._frames[stamp] = encode(index)
        frames = torch.stack([self._frames[stamp] for stamp in stamps_ns])[None]
        while len(self._frames) > KEPT_FRAMES:
            self._frames.popitem(last=False)
        return frames

    def clear(self) -> None:
        """Forget all frames."""
        self._frames.clear()


class TextCache:
    """The last instruction as the network reads it: words (1, n, W) and their mask (1, n).

    Args:
        tokenise: texts to tokens and mask, each (1, n).
        embed: tokens to words.
    """

    def __init__(
        self, tokenise: Callable[[Sequence[str]], tuple[Tensor, Tensor]], embed: Callable[[Tensor], Tensor]
    ) -> None:
        self._tokenise, self._embed = tokenise, embed
        self._known: tuple[str, Tensor, Tensor] | None = None

    def get(self, text: str) -> tuple[Tensor, Tensor]:
        """Words and mask of an instruction."""
        if self._known is None or self._known[0] != text:
            tokens, mask = self._tokenise([text])
            self._known = (text, self._embed(tokens), mask)
        return self._known[1], self._known[2]
