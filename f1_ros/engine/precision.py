"""Precisions, and the bytes that numbers take in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Precision = Literal["fp32", "fp16", "bf16", "fp8", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Numbers:
    """How many numbers.

    Attributes:
        matrices: of linear layers and convolutions.
        others: norms, biases, tables; keys, values and whatever else goes from layer to layer.
    """

    matrices: int = 0
    others: int = 0

    def __add__(self, other: Numbers) -> Numbers:
        return Numbers(self.matrices + other.matrices, self.others + other.others)

    def bytes_in(self, precision: Precision, *, wide: bool = False) -> int:
        """What they take.

        Args:
            precision: one byte is for matrices alone; the others then have two.
            wide: the others have four bytes in any precision, as ONNX Runtime computes on a CPU.
        """
        matrix, other = _BYTES[precision]
        return self.matrices * matrix + self.others * (4 if wide else other)


_BYTES: dict[Precision, tuple[int, int]] = {
    "fp32": (4, 4),
    "fp16": (2, 2),
    "bf16": (2, 2),
    "fp8": (1, 2),
    "int8": (1, 2),
}
