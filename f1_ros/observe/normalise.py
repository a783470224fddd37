"""Normalisation of state and actions by a dataset's statistics, padded to the model's width.

    mean_std   (x - mean) / (std + 1e-8)
    min_max    (x - min) / (max - min + 1e-8)              -> [0, 1]
    quantile   (x - q01) / (q99 - q01 + 1e-8) * 2 - 1      -> [-1, 1]

as in the released F1 code, but for dimensions that never move in the data: there the division would turn a
millionth of a radian of noise into a hundred standard deviations, so they stay at the value that the formula gives for
the constant, and come back as the constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ConfigError

Array = NDArray[np.float64]

EPSILON = 1e-8
CONSTANT = 1e-6
"""A dimension whose standard deviation or range (rad, m) is not above this is taken as constant."""

# mode -> (key of the offset, key of the upper end or None, gain, bias): y = (x - offset) / scale * gain + bias
_MODES: dict[str, tuple[str, str, float, float]] = {
    "mean_std": ("mean", "std", 1.0, 0.0),
    "min_max": ("min", "max", 1.0, 0.0),
    "quantile": ("q01", "q99", 2.0, -1.0),
}


@dataclass(frozen=True)
class Normaliser:
    """Normalises vectors of `dim` numbers and pads them with zeros to `size`. Make it with `from_stats`.

    Attributes:
        offset: (dim,) what is subtracted, in the vector's units.
        scale: (dim,) what is divided by; 0 marks a constant dimension.
        gain: factor after the division.
        bias: added last.
        size: width of the model's vectors.
    """

    offset: Array
    scale: Array
    gain: float
    bias: float
    size: int

    @classmethod
    def from_stats(cls, stats: Mapping[str, Any], size: int, key: str = "statistics") -> Normaliser:
        """Read one entry of stats.json: {"mode": "mean_std" | "min_max" | "quantile", "mean": [...], ...}.

        Args:
            stats: the entry; only the lists that its mode needs have to be there.
            size: width of the model's vectors (32 for the full-size model).
            key: name of the entry ("observation.state", "action"), for errors.

        Raises:
            ConfigError: naming `key` and the list, on an unknown mode, a list that is missing, not numbers, NaN or of
                another length, a negative std, an upper end below the lower one, or more dimensions than `size`.
        """
        mode = stats.get("mode")
        if mode not in _MODES:
            raise ConfigError(
                f"stats.json: {key}.mode is {mode!r}, expected one of {', '.join(_MODES)}.",
                remedy="Name the mode that the policy was trained with.",
            )
        first, second, gain, bias = _MODES[mode]
        offset, other = _numbers(stats, first, key), _numbers(stats, second, key)
        if offset.shape != other.shape or not 1 <= offset.size <= size:
            raise ConfigError(
                f"stats.json: {key}.{first} has {offset.size} numbers and {key}.{second} {other.size}; expected the "
                f"same number, 1 to {size}.",
                remedy="Compute the statistics from the dataset that the policy was trained on.",
            )
        spread = other if mode == "mean_std" else other - offset
        if (spread < 0).any():
            raise ConfigError(
                f"stats.json: {key}.{second}[{int(np.argmax(spread < 0))}] is negative or below {key}.{first}.",
                remedy="Compute the statistics anew: a standard deviation or a range cannot be negative.",
            )
        return cls(offset, np.where(spread > CONSTANT, spread + EPSILON, 0.0), gain, bias, size)

    @property
    def dim(self) -> int:
        """Numbers in a vector before padding."""
        return self.offset.size

    def normalise(self, values: NDArray[Any] | Sequence[float]) -> NDArray[np.float32]:
        """(..., dim) in rad and m -> (..., size) float32, zeros behind `dim`.

        Raises:
            ConfigError: if the last axis is not `dim` long.
        """
        array = np.asarray(values, np.float64)
        if array.ndim == 0 or array.shape[-1] != self.dim:
            raise ConfigError(
                f"A vector of shape {array.shape} meets statistics of {self.dim} dimensions.",
                remedy="Check that the policy's state and action layout is the profile's.",
            )
        moving = self.scale > 0
        scaled = np.where(moving, (array - self.offset) / np.where(moving, self.scale, 1.0), 0.0)
        padded = np.zeros((*array.shape[:-1], self.size), np.float32)
        padded[..., : self.dim] = scaled * self.gain + self.bias
        return padded

    def denormalise(self, values: NDArray[Any]) -> Array:
        """(..., size) -> (..., dim) float64 in rad and m; the padding is cut off.

        Raises:
            ConfigError: if the last axis is not `size` long.
        """
        array = np.asarray(values, np.float64)
        if array.ndim == 0 or array.shape[-1] != self.size:
            raise ConfigError(
                f"A model output of shape {array.shape} meets a normaliser for vectors of {self.size}.",
                remedy="Check the model's action width in config.json.",
            )
        result: Array = (array[..., : self.dim] - self.bias) / self.gain * self.scale + self.offset
        return result


def _numbers(stats: Mapping[str, Any], name: str, key: str) -> Array:
    if name not in stats:
        raise ConfigError(f"stats.json: {key}.{name} is missing.", remedy="Compute the statistics anew.")
    try:
        array = np.asarray(stats[name], np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"stats.json: {key}.{name} is not a list of numbers ({error}).", remedy="Write a flat list of numbers."
        ) from error
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ConfigError(
            f"stats.json: {key}.{name} is not a flat list of finite numbers (shape {array.shape}).",
            remedy="Write a flat list of finite numbers, one for each dimension.",
        )
    return array
