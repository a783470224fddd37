"""The demo's stages: a mode that is asked for until something has come about, while the processes are watched."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from f1_ros.cli.recording import Recording
from f1_ros.errors import BringUpError

if TYPE_CHECKING:
    from f1_ros.nodes.demo_node import DemoWatcher
    from f1_ros.supervisor import Supervisor

LINE_PERIOD_S = 0.5
PLAIN_LINE_PERIOD_S = 5.0  # where the output is a file


@dataclass(frozen=True)
class Stage:
    """A mode, and what it is kept for.

    Attributes:
        says: said when it begins; empty: nothing.
        mode: what is asked for, again and again.
        done: whether what it is for has come about.
        timeout_s: how long that may take in real time, s.
        what: what that is, to follow "waited for".
    """

    says: str
    mode: str
    done: Callable[[Recording], bool]
    timeout_s: float
    what: str


class Stages:
    """Watches the processes while something is awaited, and prints the live line.

    Args:
        system: the running processes.
        watcher: asks for modes.
        recording: what the watcher sees.
        logs: folder of the processes' logs.
        real_time_factor: simulated seconds per second; below 1 everything may take longer.
        line: the live line of a recording, after so many s.
    """

    def __init__(
        self,
        system: Supervisor,
        watcher: DemoWatcher,
        recording: Recording,
        logs: Path,
        real_time_factor: float,
        line: Callable[[Recording, float], str],
    ) -> None:
        self._system, self._watcher, self._recording, self._logs = system, watcher, recording, logs
        self._patience = max(1.0, 1.0 / real_time_factor)
        self._line = line
        self._begin = time.monotonic()
        self._next_line = self._begin
        self._live = sys.stdout.isatty()
        self._line_stands = False

    def pass_through(self, stage: Stage) -> None:
        """Go through a stage, and see to it that it comes to its end.

        Raises:
            BringUpError: if it does not in time, or a process dies.
        """
        if not self.tried(stage):
            self._give_up(stage.timeout_s, stage.what)

    def tried(self, stage: Stage) -> bool:
        """Go through a stage; whether it has come to its end in time.

        Raises:
            BringUpError: if a process dies.
        """
        if stage.says:
            self.say(stage.says)
        return self._reached(lambda: self._watcher.ask_for(stage.mode) and stage.done(self._recording), stage.timeout_s)

    def until(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait without asking for a mode.

        Raises:
            BringUpError: if it does not come about in time, or a process dies.
        """
        if not self._reached(done, timeout_s):
            self._give_up(timeout_s, what)

    def say(self, line: str) -> None:
        """Print a line of its own."""
        self.end_line()
        print(line, flush=True)

    def end_line(self) -> None:
        """End the live line."""
        if self._line_stands:
            print(flush=True)
        self._line_stands = False

    def _reached(self, done: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s * self._patience
        while not done():
            self._watch()
            if time.monotonic() > deadline:
                return False
        return True

    def _give_up(self, timeout_s: float, what: str) -> None:
        self.end_line()
        raise BringUpError(f"Waited {timeout_s:.0f} s for {what}; {self._state()}.", remedy=f"Look into {self._logs}.")

    def _watch(self) -> None:
        deaths = self._system.poll(0.1)
        if deaths:
            self.end_line()
            name = deaths[0].process.name
            raise BringUpError(deaths[0].notice, remedy=f"Look into {self._logs / name}.log.")
        now = time.monotonic()
        if now >= self._next_line and self._recording.statuses:
            self._next_line = now + (LINE_PERIOD_S if self._live else PLAIN_LINE_PERIOD_S)
            line = self._line(self._recording, now - self._begin)
            print(f"\r{line:<140}" if self._live else line, end="" if self._live else "\n", flush=True)
            self._line_stands = self._live

    def _state(self) -> str:
        statuses = self._recording.statuses
        if not statuses:
            return "no status has come from the action node"
        said = [text for text in (statuses[-1].reason, self._watcher.refusal) if text]
        return ": ".join([f"mode {statuses[-1].mode}", *said])
