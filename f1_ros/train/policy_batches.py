"""Batches of the belt policy's training, and the statistics that normalise them.

Everything but the pictures is laid out once for all steps of a recording, so that a batch is a look-up. On a graphics
card the pictures lie there too: a training step then needs nothing from the host.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f1_ros.engine.policy import PolicyFile
from f1_ros.model.config import F1Config
from f1_ros.observe.normalise import Normaliser
from f1_ros.train.demonstrations import Demonstrations, Windows
from f1_ros.train.schedule import images_to_float


class Pictures:
    """Frames (N, H, W, 3) uint8 of one camera: in the host's memory or file for a CPU, else on the device."""

    def __init__(self, frames: NDArray[np.uint8], device: torch.device) -> None:
        self._host = frames
        self._there = None if device.type == "cpu" else torch.from_numpy(np.asarray(frames)).to(device)

    def __call__(self, steps: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [-1, 1] at steps (B,)."""
        if self._there is None:
            return images_to_float(self._host[steps.numpy()])
        return self._there[steps].movedim(-1, -3).float().div_(127.5).sub_(1.0)


class SharedPictures:
    """The cameras' frames of a recording on a device, once for all that train on it there."""

    def __init__(self, data: Demonstrations, device: torch.device) -> None:
        self.cameras = [Pictures(frames, device) for frames in data.pictures]


class PolicyBatches:
    """Makes batches of a recording: normalised, padded to the network's sizes.

    Args:
        data: the recording.
        pictures: its frames, on the device where the batches shall be.
        windows: how far a sample reaches.
        config: the network's.
        stats: the policy's statistics.
        file: the policy's representation of actions.
        codes: (N, L) the front frames' tokens; None without history and foresight.
        device: where the batches shall be.
    """

    def __init__(
        self,
        data: Demonstrations,
        pictures: SharedPictures,
        windows: Windows,
        config: F1Config,
        stats: dict[str, dict[str, Any]],
        file: PolicyFile,
        codes: NDArray[np.int16] | None,
        device: torch.device,
    ) -> None:
        self.file, self.stats = file, stats
        self._pictures = pictures
        states = Normaliser.from_stats(stats["observation.state"], config.max_state_dim)
        actions = Normaliser.from_stats(stats["action"], config.max_action_dim)
        steps = np.arange(len(data), dtype=np.int64)
        history = np.maximum(data.history_steps(steps, windows), data.start[:, None])
        self._history = torch.from_numpy(history).to(device)
        chunk, pad = data.chunk(steps, windows)
        done = data.chunk(steps, windows, executed=True)[0]
        places = [data.cubes, *(data.cubes - tool[:, None] for tool in np.moveaxis(data.tools, 1, 0))]
        places += [data.cubes - data.cubes[history[:, i]] for i in file.spec.past_images]
        place = np.concatenate([p.reshape(len(data), -1) for p in places], axis=1) * 10.0
        tables: dict[str, NDArray[Any]] = {
            "state": states.normalise(data.state).astype(np.float32),
            "actions": actions.normalise(file.to_network(chunk, data.state)).astype(np.float32),
            "executed": actions.normalise(file.to_network(done, data.state)).astype(np.float32),
            "pad": pad,
            "place": place.astype(np.float32),
            "instruction": data.instruction.astype(np.int64),
        }
        self._tables = {name: torch.from_numpy(np.ascontiguousarray(t)).to(device) for name, t in tables.items()}
        self._codes = None if codes is None else torch.from_numpy(np.array(codes)).to(device)
        self._ahead = torch.from_numpy(data.foresight_steps(steps, windows)).to(device)
        self._foresight_tokens = config.foresight_tokens

    def __call__(self, steps: Tensor) -> dict[str, Tensor]:
        """Batch of the given steps (B,) int64.

        Returns:
            images (B, cameras + past, 3, S, S), state (B, d), actions (B, chunk, A) as labelled and executed
            (B, chunk, A) as carried out, pad (B, chunk) bool, instruction (B,) index; place (B, cubes (3 + 3 tools +
            3 past)): each cube, cube minus each tool, and cube minus what it was at each past image, in dm (NaN without
            cube); with codes also history_codes (B, T, L) and target_codes (B, F).
        """
        batch = {name: table[steps] for name, table in self._tables.items()}
        history = self._history[steps]
        seen = [pictures(steps) for pictures in self._pictures.cameras]
        seen += [self._pictures.cameras[0](history[:, i]) for i in self.file.spec.past_images]
        batch["images"] = torch.stack(seen, dim=1)
        if self._codes is not None:
            batch["history_codes"] = self._codes[history].long()
            batch["target_codes"] = self._codes[self._ahead[steps]][:, : self._foresight_tokens].long()
        return batch


def step_scale(
    data: Demonstrations, samples: NDArray[np.int64], windows: Windows, relative: NDArray[np.bool_]
) -> tuple[float, ...]:
    """`PolicyFile.step_scale` of a recording: how far relative actions go by each step, the last step being 1."""
    chunk, pad = data.chunk(samples, windows)
    away = (chunk - data.state[samples][:, None])[..., relative]
    rms = [float(np.sqrt(np.square(away[~pad[:, i], i]).mean())) for i in range(windows.chunk)]
    return tuple(value / rms[-1] for value in rms)


def statistics(
    data: Demonstrations,
    samples: NDArray[np.int64],
    picks: NDArray[np.int64],
    windows: Windows,
    file: PolicyFile,
) -> dict[str, dict[str, Any]]:
    """`stats.json` of a recording: states of all samples; actions, as the network gives them, of the picks alone.

    The way to the bin is longer than any other and needs the least precision: scaled by it, a pick would be coarse.
    """
    chunk, pad = data.chunk(picks, windows)
    actions = file.to_network(chunk, data.state[picks])
    return {"observation.state": _statistics(data.state[samples]), "action": _statistics(actions[~pad])}


def _statistics(values: NDArray[np.floating[Any]]) -> dict[str, Any]:
    values = values.astype(np.float64)
    low, high = np.quantile(values, [0.01, 0.99], axis=0)
    return {
        "mode": "mean_std",
        "mean": values.mean(axis=0).tolist(),
        "std": values.std(axis=0).tolist(),
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
        "q01": low.tolist(),
        "q99": high.tolist(),
    }
