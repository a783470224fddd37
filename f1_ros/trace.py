"""When each stage on the way from camera to command took place, frame after frame; off unless a node is asked for it.

    trace = Trace(folder, "observation_node")
    trace.mark("matched", stamp_ns)                        now
    trace.mark_system("image sent", stamp_ns, sent_ns)     at an instant that the middleware noted on the system's clock
    trace.flush()                                          now and then, outside the path that is traced

Each process writes a file of its own, one JSON array a line: stage, stamp of the frame (ns on the ROS clock), instant
(ns on the monotonic clock, which is the same for all processes of a machine). `read_traces` merges them.
"""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path

from f1_ros.errors import ConfigError

SUFFIX = ".trace.jsonl"

Marks = dict[int, dict[str, int]]
"""Instant (ns, monotonic) of each stage, by the frame's stamp (ns on the ROS clock)."""


class Trace:
    """Collects in memory, from any thread and without a lock, and writes when told to.

    Args:
        folder: where to; made if it does not exist.
        process: the file's name; a file of that name is written anew.

    Raises:
        ConfigError: if the file cannot be written.
    """

    def __init__(self, folder: Path, process: str) -> None:
        path = folder / f"{process}{SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error}).", remedy="Trace into another folder.") from error
        self._marks: deque[tuple[str, int, int]] = deque()

    def mark(self, stage: str, stamp_ns: int, at_ns: int | None = None) -> None:
        """Note a stage of the frame of this stamp, now or at an instant of the monotonic clock, ns."""
        self._marks.append((stage, stamp_ns, time.monotonic_ns() if at_ns is None else at_ns))

    def mark_system(self, stage: str, stamp_ns: int, system_ns: int) -> None:
        """Note a stage that took place at an instant of the system's clock, ns."""
        self.mark(stage, stamp_ns, system_ns + time.monotonic_ns() - time.time_ns())

    def flush(self) -> None:
        """Write what has been collected. One thread at a time."""
        lines = []
        while self._marks:
            lines.append(json.dumps(self._marks.popleft()) + "\n")
        self._file.writelines(lines)
        self._file.flush()

    def close(self) -> None:
        """Write the rest and close the file."""
        self.flush()
        self._file.close()


def read_traces(folder: Path) -> Marks:
    """Merge the traces of all processes. Of a stage that took place twice for a frame, the first counts.

    Raises:
        ConfigError: if the folder has none, or a line is none of a trace's.
    """
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise ConfigError(f"{folder} holds no trace.", remedy="Start the nodes with their parameter 'trace'.")
    marks: Marks = {}
    for path in files:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                stage, stamp_ns, at_ns = json.loads(line)
                frame = marks.setdefault(int(stamp_ns), {})
                frame[str(stage)] = min(int(at_ns), frame.get(str(stage), int(at_ns)))
            except (ValueError, TypeError) as error:
                raise ConfigError(
                    f"{path}:{number} is no line of a trace.", remedy="End the nodes before reading their traces."
                ) from error
    return marks
