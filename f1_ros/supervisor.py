"""Runs the processes of a bring-up on a machine that has no `ros2 launch`, and sees to it that none outlives it.

Why not an existing supervisor: honcho (and the Procfile runners like it) ends everything as soon as one process ends,
but the action node must outlive a dead policy node; it waits 5 s before it kills; its children survive a `kill -9` of
it; and it pipes their output through itself, so that a console held with Ctrl-S would in the end block the process
that commands the robot. Here each process writes to its own log file, and the console only follows those files.

Every process leads a group of its own, so that the terminal's Ctrl-C reaches the supervisor alone and a signal from
it reaches everything that a node may have started. The kernel ends the children (SIGTERM) if the supervisor is killed.

A process that a bug or a signal has ended is started again where its description says so, while the others run on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import BinaryIO, Literal, TextIO

import yaml

from f1_ros.errors import BringUpError
from f1_ros.processes import RESTART_DELAY_S, BringUp, OnExit, ProcessSpec, describe_exit
from f1_ros.processes import environment as bringup_environment

# On a stop: SIGINT at once, SIGTERM and SIGKILL to those left after so many seconds; all has ended within 3 s.
TERM_AFTER_S = 1.5
KILL_AFTER_S = 2.5
POLL_S = 0.05

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)  # loaded here: nothing may be imported between fork and exec


@dataclass(frozen=True)
class Death:
    """A process that has ended by itself.

    Attributes:
        process: its description.
        exit_code: what it returned; negative: the signal that killed it.
    """

    process: ProcessSpec
    exit_code: int

    @property
    def how(self) -> str:
        """The end in words: "exit code 1" or "killed by SIGKILL"."""
        return describe_exit(self.exit_code)

    @property
    def notice(self) -> str:
        """The line to show."""
        return self.process.death_notice(self.exit_code)


class _Child:
    def __init__(self, spec: ProcessSpec, popen: subprocess.Popen[bytes], log: BinaryIO) -> None:
        self.spec = spec
        self.popen = popen
        self.log = log
        self.partial = b""

    def ended(self) -> bool:
        """Whether it has ended; then what it left of its group is killed, before its id can be used again."""
        if self.popen.returncode is not None:
            return True
        if os.waitid(os.P_PID, self.popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        self.signal_group(signal.SIGKILL)
        self.popen.wait()
        return True

    def signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, number)

    def new_lines(self) -> list[str]:
        """Complete lines that it has written since the last call."""
        *lines, self.partial = (self.partial + self.log.read()).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


class Supervisor:
    """Starts a bring-up's processes, follows their output, reports deaths and ends what is left.

    Call every method from the thread that constructed it: Linux ties the children's end to the thread that started
    them.

        with Supervisor(franka(options), log_dir=directory) as system:     starts all
            while system.running:
                for death in system.poll(0.05): ...                        or: return system.run()
                                                                           ends all on leaving the block
    Args:
        bringup: what to run.
        log_dir: folder for a log file and a parameter file for each process; made if missing.
        environment: added to this process's own environment, e.g. ROS_DOMAIN_ID.
        console: where prefixed output goes; None: nowhere but the log files.
        command: start of the command line of an executable's process; the default runs its module by this Python.

    Raises:
        BringUpError: from `start`, if the log folder or a process cannot be made.
    """

    def __init__(
        self,
        bringup: BringUp,
        *,
        log_dir: Path,
        environment: Mapping[str, str] | None = None,
        console: TextIO | None = None,
        command: Callable[[str], list[str]] | None = None,
    ) -> None:
        self.bringup = bringup
        self.log_dir = log_dir
        self._environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "ROS_LOG_DIR": str(log_dir / "ros"),
            **bringup_environment(),
            **(environment or {}),
        }
        self._console = console
        self._command = command or _module_command
        self._children: dict[str, _Child] = {}
        self._restarts: list[tuple[float, ProcessSpec]] = []  # when to start what again, s on the monotonic clock
        self._width = max((len(process.name) for process in bringup.processes), default=0)
        self._ending = False
        self._stopped = False

    def __enter__(self) -> Supervisor:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the system is up: some process lives or will be started again, and none that all need has died."""
        lives = any(child.popen.returncode is None for child in self._children.values())
        return not self._ending and (lives or bool(self._restarts))

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each living process by name."""
        return {name: c.popen.pid for name, c in self._children.items() if c.popen.returncode is None}

    @property
    def exit_codes(self) -> dict[str, int]:
        """Exit code of each ended process by name; negative: the signal that killed it."""
        return {n: c.popen.returncode for n, c in self._children.items() if c.popen.returncode is not None}

    def start(self) -> None:
        """Start every process, in the order of the description."""
        with self._failures_named():
            self.log_dir.mkdir(parents=True, exist_ok=True)
            for process in self.bringup.processes:
                self._children[process.name] = self._start(process, "wb")

    def poll(self, timeout_s: float = POLL_S) -> list[Death]:
        """Follow the output for up to `timeout_s`; return at once with the processes that have died since.

        Processes that are to be started again are, in the calls that follow. The death for good of a process that the
        others need ends `running`; call `stop` then.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            alive = {name for name, child in self._children.items() if child.popen.returncode is None}
            deaths = [
                Death(child.spec, child.popen.returncode)
                for child in self._children.values()
                if child.spec.name in alive and child.ended()
            ]
            self._follow()
            for death in deaths:
                self._say(death.notice)
                again = death.process.restarted(death.exit_code)
                if again is not None:
                    self._restarts.append((time.monotonic() + RESTART_DELAY_S, again))
                else:
                    self._ending |= death.process.on_exit is OnExit.END_SYSTEM
            self._start_again()
            left = deadline - time.monotonic()
            if deaths or left <= 0 or not self._children:
                return deaths
            time.sleep(min(POLL_S, left))

    def run(self) -> int:
        """Run until Ctrl-C, SIGTERM or SIGHUP, or until the system cannot go on; then end all of it.

        Returns:
            0 if it was asked to end, 1 if a death ended it.
        """
        with _stop_signals() as asked:
            while self.running and not asked:
                self.poll()
            if asked:
                self._say(f"{signal.Signals(asked[0]).name}: ending all processes.")
            self.stop()
        return 0 if asked else 1

    def stop(self) -> None:
        """End all processes: SIGINT, then SIGTERM, then SIGKILL, to each group; returns within 3 s. Idempotent."""
        self._ending = True
        steps = [(0.0, signal.SIGINT), (TERM_AFTER_S, signal.SIGTERM), (KILL_AFTER_S, signal.SIGKILL)]
        begin = time.monotonic()
        while left := [child for child in self._children.values() if not child.ended()]:
            if steps and time.monotonic() - begin >= steps[0][0]:
                after_s, number = steps.pop(0)
                for child in left:
                    if after_s:
                        self._say(f"{child.spec.name} still runs after {after_s} s: {number.name}.")
                    child.signal_group(number)
            time.sleep(0.01)
        self._follow()
        for child in self._children.values():
            child.log.close()
        if self._children and not self._stopped:
            codes = ", ".join(f"{name} {describe_exit(code)}" for name, code in self.exit_codes.items())
            self._say(f"ended: {codes}. Logs: {self.log_dir}")
        self._stopped = True

    def _start_again(self) -> None:
        due = [process for due_s, process in self._restarts if due_s <= time.monotonic()]
        if self._ending or not due:
            return
        self._restarts = [(due_s, process) for due_s, process in self._restarts if process not in due]
        with self._failures_named():
            for process in due:
                self._children[process.name].log.close()
                self._children[process.name] = self._start(process, "ab")

    @contextlib.contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BringUpError(
                f"Bring-up '{self.bringup.name}' cannot be started: {error}.",
                remedy="Check that the log folder can be written and that the package is installed.",
            ) from error

    def _start(self, process: ProcessSpec, log_mode: Literal["wb", "ab"]) -> _Child:
        parameters = self.log_dir / f"{process.name}.yaml"
        parameters.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(process.parameters)}}))
        arguments = ["--ros-args", "--params-file", str(parameters)]
        for source, target in process.remappings:
            arguments += ["-r", f"{source}:={target}"]
        path = self.log_dir / f"{process.name}.log"
        with path.open(log_mode) as out:
            written = out.tell()
            popen = subprocess.Popen(
                [*self._command(process.executable), *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self._say(f"{process.name} started (pid {popen.pid}): {process.role}.")
        log = path.open("rb")
        log.seek(written)
        return _Child(process, popen, log)

    def _follow(self) -> None:
        for child in self._children.values():
            if not child.log.closed:
                for line in child.new_lines():
                    self._print(child.spec.name, line)

    def _say(self, line: str) -> None:
        self._print("system", line)

    def _print(self, name: str, line: str) -> None:
        if self._console is not None:
            print(f"{name:>{self._width}} | {line}", file=self._console, flush=True)


def default_log_dir(name: str) -> Path:
    """A new folder's name under ROS's log folder (ROS_LOG_DIR, else ROS_HOME/log, else ~/.ros/log)."""
    home = os.environ.get("ROS_HOME") or "~/.ros"
    base = os.environ.get("ROS_LOG_DIR") or f"{home}/log"
    return Path(base).expanduser() / f"f1_ros-{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def _module_command(executable: str) -> list[str]:
    return [sys.executable, "-m", f"f1_ros.nodes.{executable}"]


def _end_with_parent() -> None:
    # SIGTERM, not SIGKILL: the action node still leaves the robot in its safe action. The nodes end themselves 2 s
    # after it at the latest.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP in a list instead of being ended by them."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
