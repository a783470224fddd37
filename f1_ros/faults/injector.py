"""Makes a fault in the live system, and takes it back."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from f1_ros.errors import BringUpError
from f1_ros.faults.fault import (
    Fault,
    FullDisk,
    Killed,
    Leader,
    Nonsense,
    OutOfMemory,
    Relayed,
    Rival,
    Stopped,
    Throttled,
)
from f1_ros.faults.system import RELAY

if TYPE_CHECKING:
    from f1_ros.nodes.fault_probe import FaultProbe

STARTED_AGAIN_S = 5.0
EPISODE_S = 5.0

_FREE = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class Injector:
    """Makes one fault at a time.

    Args:
        probe: what asks the nodes, and plays leader and rival.
        pids: process id by name, now.
        pause: waits for so many seconds, while the system is looked after.
    """

    def __init__(self, probe: FaultProbe, pids: Callable[[], dict[str, int]], pause: Callable[[float], None]) -> None:
        self._probe, self._pids, self._pause = probe, pids, pause
        self._undo: Callable[[], None] = lambda: None

    def prepare(self, fault: Fault) -> None:
        """What must run before the fault can come: an episode, for a full disk.

        Raises:
            BringUpError: if the recorder refuses.
        """
        if not isinstance(fault.injection, FullDisk):
            return
        # The first one opens the dataset, which may take a busy machine so long that it ends for want of frames.
        self._probe.begin_episode()
        self._probe.drop_episode()
        self._pause(1.0)
        refusal = self._probe.begin_episode()
        if refusal:
            raise BringUpError(f"No episode can be begun: {refusal}", remedy="See the recorder's log.")
        self._pause(EPISODE_S)

    def make(self, fault: Fault) -> tuple[int, list[str]]:
        """Make it.

        Returns:
            When it was made, ns on the system's clock, and what is wrong already (nonsense that was accepted).

        Raises:
            BringUpError: if the process that it is to strike does not run, or the relay refuses.
        """
        injection, now_ns = fault.injection, time.time_ns()
        match injection:
            case Relayed():
                refusal = self._probe.set_parameter(RELAY, "alter", injection.alterations)
                if refusal:
                    raise BringUpError(
                        f"The relay refuses '{injection.alterations}': {refusal}", remedy="Report a bug."
                    )
                self._undo = lambda: self._pass_all()
            case Leader():
                self._probe.leader = injection.how
                self._undo = self._probe.swing
            case Rival():
                self._probe.rival(True)
                self._undo = lambda: self._probe.rival(False)
            case Nonsense():
                return now_ns, self._probe.ask_for_nonsense()
            case FullDisk(process=process, size=size):
                return now_ns, self._full_disk(self._pid(process), size)
            case _:
                return self._strike(injection, self._pid(injection.process)), []
        return now_ns, []

    def take_back(self) -> None:
        """Undo it, as far as it can be: a process that was killed is the supervisor's."""
        undo, self._undo = self._undo, lambda: None
        undo()

    def _full_disk(self, pid: int, size: int) -> list[str]:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        def room() -> None:
            _unlimited(pid, resource.RLIMIT_FSIZE)
            self._probe.drop_episode()

        self._undo = room
        return [] if self._probe.keep_episode() else ["the recorder says that it has kept an episode"]

    def _strike(self, injection: Killed | Stopped | Throttled | OutOfMemory, pid: int) -> int:
        now_ns = time.time_ns()
        match injection:
            case Killed():
                os.kill(pid, signal.SIGKILL)
            case Stopped(for_s=for_s):
                os.kill(pid, signal.SIGSTOP)
                if for_s:
                    self._pause(for_s)
                    now_ns = time.time_ns()
                    os.kill(pid, signal.SIGCONT)
                else:
                    self._undo = lambda: os.kill(pid, signal.SIGCONT)
            case Throttled():
                self._undo = _throttled(pid, injection)
            case OutOfMemory(process=process, size=size):
                os.kill(pid, signal.SIGKILL)
                deadline = time.monotonic() + STARTED_AGAIN_S
                while self._pids().get(process) in (None, pid) and time.monotonic() < deadline:
                    self._pause(0.02)
                next_pid = self._pid(process)
                resource.prlimit(next_pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
        return now_ns

    def _pass_all(self) -> None:
        self._probe.set_parameter(RELAY, "alter", "")

    def _pid(self, process: str) -> int:
        pid = self._pids().get(process)
        if pid is None:
            raise BringUpError(f"{process} does not run.", remedy="See its log: it cannot be struck.")
        return pid


def _throttled(pid: int, how: Throttled) -> Callable[[], None]:
    """Let a process run for a part of the time; gives what ends that."""
    stop = threading.Event()

    def throttle() -> None:
        while not stop.is_set():
            os.kill(pid, signal.SIGSTOP)
            stop.wait(how.period_s - how.run_s)
            os.kill(pid, signal.SIGCONT)
            stop.wait(how.run_s)

    thread = threading.Thread(target=throttle, name="throttle", daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()

    return end


def _unlimited(pid: int, kind: int) -> None:
    try:
        resource.prlimit(pid, kind, _FREE)
    except ProcessLookupError:
        return  # it did not survive its limit: the supervisor has started another
