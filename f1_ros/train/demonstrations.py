"""Recorded demonstrations as training samples: which frames, states and actions belong together.

The recorders are `f1_ros.sim.demonstrations` and, for the twins, `f1_ros.sim.twins.demonstrations`. A recording that
fits is read into memory: drawn at random from a file, its frames leave the page cache again and again, and training
waited for the disk half of its time. A larger one stays memory-mapped, so that memory does not grow with it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ConfigError
from f1_ros.sim.expert import Phase as ExpertPhase

_MEMORY_SHARE = 0.25  # of what is free, for one array
CAMERAS = ("front", "wrist")
"""Of the Franka's belt."""

ARRAYS = ("state", "action", "phase", "episode")
MAYBE = ("executed", "cubes", "instruction", "task")
"""Arrays that only some recordings have."""

PLACES = (("cube", "tool"), ("thing", "tools"))
"""Where things and hands are: at the Franka's belt, and of a twin."""


@dataclass(frozen=True)
class Windows:
    """How far a sample reaches around its step, in steps of the recording.

    Attributes:
        history: offsets of the history frames, oldest first, last 0.
        foresight: offset of the frame to predict.
        chunk: steps in an action chunk.
    """

    history: tuple[int, ...]
    foresight: int
    chunk: int

    def __post_init__(self) -> None:
        if not self.history or self.history[-1] != 0 or list(self.history) != sorted(self.history):
            raise ConfigError(
                f"history offsets {self.history} are not ascending to 0.",
                remedy="Give them oldest first, for example [-9, -6, -3, 0].",
            )
        if self.foresight <= 0 or self.chunk <= 0:
            raise ConfigError(
                f"foresight offset {self.foresight} and chunk size {self.chunk} must be positive.",
                remedy="Correct them in the training configuration.",
            )


class Demonstrations:
    """Demonstrations of one recording directory.

    Args:
        folder: the directory.
        cameras: whose pictures are read, in the policy's order.

    Attributes:
        pictures: (N, H, W, 3) uint8 RGB of each camera.
        state, action: (N, A) float32; measured, and the target for the end of the step (rad, m).
        executed: (N, A) float32; the target that was carried out: `action` with the demonstration's noise. Equal to
            `action` in recordings that do not have it.
        cubes: (N, K, 3) float32, m in the robot's base frame: all cubes by colour, or the one thing that is handled;
            NaN where there is none.
        tools: (N, T, 3) float32, m: point between the fingertips of each hand.
        precise: (N,) bool, steps that need precision: at the belt those of a pick; of a twin all.
        instruction: (N,) int8, index into `instructions`; empty instructions mean the policy's default.
        episode: (N,) int32, ascending.

    Raises:
        ConfigError: if a file is missing or the arrays' lengths differ.
    """

    def __init__(self, folder: Path, cameras: tuple[str, ...] = CAMERAS) -> None:
        arrays: dict[str, NDArray[Any]] = {}
        twin = (folder / f"{PLACES[1][0]}.npy").is_file()
        thing, tool = PLACES[twin]
        for name in (*cameras, *ARRAYS, thing, tool, *MAYBE):
            path = folder / f"{name}.npy"
            if not path.is_file() and name in MAYBE:
                continue
            if not path.is_file():
                raise ConfigError(f"{path} is missing.", remedy="Record demonstrations with `f1-ros sim record`.")
            arrays[name] = np.load(path, mmap_mode=None if _fits(path) else "r", allow_pickle=False)
        lengths = {name: len(a) for name, a in arrays.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise ConfigError(f"{folder}: arrays have different lengths {lengths}.", remedy="Record them again.")
        self.pictures: tuple[NDArray[np.uint8], ...] = tuple(arrays[camera] for camera in cameras)
        self.state = np.asarray(arrays["state"], dtype=np.float32)
        self.action = np.asarray(arrays["action"], dtype=np.float32)
        self.executed = np.asarray(arrays.get("executed", self.action), dtype=np.float32)
        self.cubes = np.asarray(arrays.get("cubes", arrays[thing][:, None]), dtype=np.float32)
        self.tools = np.asarray(arrays[tool] if twin else arrays[tool][:, None], dtype=np.float32)
        self.instruction = np.asarray(arrays.get("instruction", np.zeros(len(self.state), np.int8)))
        self.instructions = _instructions(folder) if "instruction" in arrays else ()
        self.precise = np.ones(len(self.state), np.bool_) if twin else np.asarray(arrays["phase"]) <= ExpertPhase.LIFT
        self.episode = np.asarray(arrays["episode"])
        self.start = np.searchsorted(self.episode, self.episode, side="left").astype(np.int64)
        # Nothing in view tells what the next task will be: a chunk and a foreseen frame end with their task.
        tasks = np.asarray(arrays.get("task", np.zeros(len(self.episode), np.int8)), dtype=np.int64)
        order = self.episode.astype(np.int64) * (int(tasks.max()) + 1) + tasks
        self.end = np.searchsorted(order, order, side="right").astype(np.int64)
        self._steps = np.arange(len(self.episode))

    @property
    def front(self) -> NDArray[np.uint8]:
        """Pictures of the first camera: the one whose history is kept and whose future is foreseen."""
        return self.pictures[0]

    def __len__(self) -> int:
        return len(self.episode)

    def samples(self, windows: Windows) -> NDArray[np.int64]:
        """Steps whose whole history lies in their episode."""
        return self._steps[self._steps + windows.history[0] >= self.start].astype(np.int64)

    def split(self, samples: NDArray[np.int64], held_out: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Split by whole episodes: the last `held_out` share of them is never trained on."""
        last = int(self.episode[-1])
        first_held_out = last + 1 - max(1, round((last + 1) * held_out))
        held = self.episode[samples] >= first_held_out
        return samples[~held], samples[held]

    def history_steps(self, steps: NDArray[np.int64], windows: Windows) -> NDArray[np.int64]:
        """(B, T) steps of the history frames."""
        return steps[:, None] + np.asarray(windows.history, dtype=np.int64)

    def foresight_steps(self, steps: NDArray[np.int64], windows: Windows) -> NDArray[np.int64]:
        """(B,) steps of the frames to predict; a task's last frame stands for what comes after it."""
        return np.minimum(steps + windows.foresight, self.end[steps] - 1)

    def chunk(
        self, steps: NDArray[np.int64], windows: Windows, *, executed: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Action chunks (B, chunk, A), labels or what was executed, and which steps lie past the task (B, chunk)."""
        at = steps[:, None] + np.arange(windows.chunk, dtype=np.int64)
        last = self.end[steps][:, None] - 1
        source = self.executed if executed else self.action
        return source[np.minimum(at, last)], at > last


def _instructions(folder: Path) -> tuple[str, ...]:
    path = folder / "meta.json"
    try:
        return tuple(json.loads(path.read_text(encoding="utf-8"))["instructions"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{path} does not name the recording's instructions ({error}).", remedy="Record it again."
        ) from error


def _fits(path: Path) -> bool:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return path.stat().st_size < _MEMORY_SHARE * free
