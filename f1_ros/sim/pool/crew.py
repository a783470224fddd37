"""What a worker does and says, whatever runs it."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from f1_ros.errors import SimulationError

Start = Callable[..., Callable[[Any], Any]]


@dataclass(frozen=True)
class Done:
    """A job's result."""

    result: Any


@dataclass(frozen=True)
class Raised:
    """What a job, or the start of its worker, raised."""

    error: Exception


@dataclass(frozen=True)
class Lost:
    """A job that nobody will answer for, and why."""

    reason: str


Outcome = Done | Raised | Lost


class Crew(Protocol):
    """Workers that do one job at a time each."""

    @property
    def size(self) -> int:
        """How many jobs may be begun and not yet waited for."""
        ...

    def begin(self, index: int, job: Any) -> None:
        """Have a job done."""
        ...

    def wait(self) -> tuple[int, Outcome]:
        """Wait for a job that was begun: its index and what became of it."""
        ...

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        ...


class Worker:
    """The worker's side: starts with the first job, then does one after the other."""

    def __init__(self, start: Start, folders: Sequence[Path]) -> None:
        self._start, self._folders = start, folders
        self._function: Callable[[Any], Any] | None = None

    def do(self, job: Any) -> Done | Raised:
        """Do a job; what it raises is handed over as well."""
        try:
            if self._function is None:
                self._function = self._start(*self._folders)
            return Done(self._function(job))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the jobs were given
            return raised(error)


def raised(error: Exception) -> Raised:
    """An exception that can be sent to another process; its traceback goes along as a note."""
    trace = "".join(traceback.format_exception(error))
    error.add_note(f"In a worker:\n{trace}")
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - what was made in this line
    except Exception:  # noqa: BLE001 - an exception may do anything when it is copied
        remedy = "Give the exception's class a __reduce__, to see it as it is."
        return Raised(SimulationError(f"A job failed, and what it raised cannot be sent:\n{trace}", remedy=remedy))
    return Raised(error)
