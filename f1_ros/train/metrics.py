"""What a run tells while it goes on: a line of JSON a step, a progress bar, TensorBoard; and when it must stop.

`metrics.jsonl` holds one object a line: {"kind": "train" or "held_out", "step", "loss", ...}. Lines are flushed as they
are written; a run that resumes drops those after its checkpoint, so that each step stands there once.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from f1_ros.errors import TrainingError

METRICS_FILE = "metrics.jsonl"


class MetricsLog:
    """Writes a run's metrics.

    Args:
        folder: the run's.
        step: the step that the run starts after, 0 for a new run; later lines of an earlier attempt are dropped.
        steps: the step that it ends with.
        quiet: no progress bar.
    """

    def __init__(self, folder: Path, step: int, steps: int, *, quiet: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / METRICS_FILE
        kept = [line for line in read_metrics(self.path) if line["step"] <= step] if step else []
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        os.replace(partial, self.path)
        self._file = self.path.open("a", encoding="utf-8")
        self._bar = tqdm(total=steps, initial=step, unit="step", disable=quiet, dynamic_ncols=True)
        self._board = _tensorboard(folder / "tensorboard", step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        for file in (self._file, self._board):
            if file is not None:
                with contextlib.suppress(OSError):  # what did not fit is still in the buffer, and was told of
                    file.close()

    def advance(self, loss: float) -> None:
        """Move the progress bar by a step."""
        self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._bar.update()

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Write a line; its plain numbers also go to TensorBoard.

        Raises:
            TrainingError: if it cannot be written.
        """
        try:
            self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            self._file.flush()
            if self._board is not None:
                for name, value in values.items():
                    if isinstance(value, int | float):
                        self._board.add_scalar(f"{kind}/{name}", value, step)
        except OSError as error:
            raise TrainingError(
                f"{self.path} or TensorBoard's file beside it cannot be written ({error}).",
                remedy="Make room, then start the same command again: it goes on from its newest checkpoint.",
            ) from error

    def say(self, text: str) -> None:
        """Print a line above the progress bar."""
        tqdm.write(text)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; a last line that was cut off by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]  # what follows the last line break was not finished


class LossWatch:
    """Notices a loss that is no number, or that grows far beyond what it was.

    Args:
        factor: the mean of the last steps may be at most this many times the lowest such mean.
        window: steps in a mean.
    """

    def __init__(self, factor: float, window: int = 20) -> None:
        self.factor = factor
        self.window = window
        self._recent: list[float] = []
        self._lowest = math.inf

    def problem(self, loss: float) -> str | None:
        """Take the loss of a step; gives what is wrong with it, or None."""
        if not math.isfinite(loss):
            return f"The loss is {loss}"
        self._recent = [*self._recent, loss][-self.window :]
        if len(self._recent) < self.window:
            return None
        mean = sum(self._recent) / self.window
        self._lowest = min(self._lowest, mean)
        if mean > self.factor * self._lowest:
            return f"The mean loss of {self.window} steps is {mean:.4g}, {mean / self._lowest:.0f} times its lowest"
        return None

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, as plain values."""
        return {"recent": self._recent, "lowest": self._lowest if math.isfinite(self._lowest) else None}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        self._recent = [float(value) for value in state["recent"]]
        self._lowest = math.inf if state["lowest"] is None else float(state["lowest"])


def _tensorboard(folder: Path, step: int) -> Any:
    """A TensorBoard writer, or None where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
