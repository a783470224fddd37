"""Workers as processes of this machine.

Each has a pipe of its own, so that the loss of one is seen at once, and costs its own job only. (The standard library's
process pools give up all jobs then, or wait for ever.)
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from f1_ros.sim.pool.crew import Lost, Outcome, Start, Worker, raised

_END_S = 5.0  # a process that is told to end and is not gone by then is killed
_GONE = (EOFError, BrokenPipeError, ConnectionResetError)


class Processes:
    """Up to `size` processes, each begun when there is a job for it.

    Args:
        start: see `f1_ros.sim.pool.run_jobs`.
        folders: what it is called with.
        size: most processes.
    """

    def __init__(self, start: Start, folders: Sequence[Path], size: int) -> None:
        self._start, self._folders, self._size = start, list(folders), size
        self._context = multiprocessing.get_context("spawn")
        self._idle: list[Connection] = []
        self._busy: dict[Connection, int] = {}
        self._processes: dict[Connection, SpawnProcess] = {}

    @property
    def size(self) -> int:
        """Most processes."""
        return self._size

    def begin(self, index: int, job: Any) -> None:
        """Send a job to a process that has none."""
        pipe = self._idle.pop() if self._idle else self._hire()
        self._busy[pipe] = index
        with suppress(*_GONE):  # it is gone: `wait` will find that out
            pipe.send(job)

    def wait(self) -> tuple[int, Outcome]:
        """Wait for a process to answer, or to be gone."""
        pipe = next(p for p in wait(list(self._busy)) if isinstance(p, Connection))
        index = self._busy.pop(pipe)
        try:
            outcome: Outcome = pipe.recv()
        except _GONE:
            process = self._processes.pop(pipe)
            pipe.close()
            return index, Lost(f"its process ended with exit code {_end(process)}")
        self._idle.append(pipe)
        return index, outcome

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        for process in self._processes.values():
            process.terminate()
        for pipe, process in self._processes.items():
            _end(process)
            pipe.close()
        self._processes.clear()

    def _hire(self) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()  # the only other end is now the process's: the pipe ends when it does
        self._processes[ours] = process
        with suppress(*_GONE):
            ours.send((self._start, self._folders))
        return ours


def _end(process: SpawnProcess) -> int | None:
    """Wait for a process that is about to end; its exit code."""
    process.join(_END_S)
    if process.exitcode is None:
        process.kill()
        process.join()
    code = process.exitcode
    process.close()
    return code


def _serve(pipe: Connection) -> None:
    """A process's life: one job after the other, until nobody is there to give one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the one that gave the jobs ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch are imported, which the next line may do
    with suppress(*_GONE):
        try:
            worker = Worker(*pipe.recv())
            while True:
                pipe.send(worker.do(pipe.recv()))
        except _GONE:
            raise
        except Exception as error:  # noqa: BLE001 - what cannot be pickled, or not be read here, raises anything
            pipe.send(raised(error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
