"""Jobs on processes of this machine: order, exceptions, lost workers, and an end that leaves nobody behind."""

import os
import pickle
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from f1_ros.cli.main import main
from f1_ros.errors import ConfigError, F1Error, LimitError, SimulationError
from f1_ros.sim.pool import ATTEMPTS, run_jobs

sys.path.append(str(Path(__file__).parent))  # workers get this path
import pool_jobs as jobs


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("workers", [None, 1, 2])
def test_every_job_is_done_once(marks: Path, workers: int | None) -> None:
    with run_jobs(partial(jobs.square, marks), range(2, 7), workers=workers) as results:
        assert sorted(results) == [(i, (i + 2) ** 2) for i in range(5)]
    assert [jobs.attempts(marks, job) for job in range(2, 7)] == [1] * 5
    pids = {path.read_text() for path in marks.iterdir()}
    assert (str(os.getpid()) in pids) == (workers != 2)


def test_results_come_as_they_are_ready_or_in_order(marks: Path) -> None:
    with run_jobs(partial(jobs.first_after_third, marks), range(4), workers=2) as results:
        assert next(results) == (1, 1)
        assert sorted(results) == [(0, 0), (2, 2), (3, 3)]
    with run_jobs(partial(jobs.first_after_third, marks), range(4), workers=2, ordered=True) as results:
        assert list(results) == [(i, i) for i in range(4)]


def test_jobs_are_taken_as_they_are_needed(marks: Path) -> None:
    for ordered, most in ((True, 4), (False, 2)):
        taken: list[int] = []
        coming = (taken.append(i) or i for i in range(100))
        with run_jobs(partial(jobs.first_after_third, marks), coming, workers=2, ordered=ordered) as results:
            next(results)
        assert 2 <= len(taken) <= most


def test_a_worker_uses_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with run_jobs(jobs.environment, ["OMP_NUM_THREADS"], workers=2) as results:
        [(_, (pid, threads))] = results
    assert pid != os.getpid()
    assert threads == "1"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_comes_out_as_it_is_and_is_not_tried_again(marks: Path, workers: int) -> None:
    with (
        pytest.raises(ConfigError, match="Job 5 is wrong") as caught,
        run_jobs(partial(jobs.refuses, marks), [5], workers=workers) as results,
    ):
        next(results)
    assert caught.value.remedy == "Give another."
    assert jobs.attempts(marks, 5) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_start_of_a_worker_raises_comes_out_as_well(workers: int) -> None:
    with (
        pytest.raises(ConfigError, match="There is no policy"),
        run_jobs(jobs.refuses_to_start, [0], workers=workers) as results,
    ):
        next(results)


def test_an_exception_that_cannot_be_copied_is_told() -> None:
    with (
        pytest.raises(SimulationError, match=r"(?s)cannot be sent.*raise Stubborn\(1, 2\)"),
        run_jobs(jobs.raises_stubborn, [0], workers=2) as results,
    ):
        next(results)


@pytest.mark.parametrize("error", [F1Error("a", remedy="b"), LimitError("c: 100 %.", remedy="d")])
def test_errors_are_copied_whole(error: F1Error) -> None:
    error.add_note("n")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.problem, copy.remedy) == (str(error), error.problem, error.remedy)
    assert copy.__notes__ == ["n"]


def test_a_killed_worker_costs_its_own_job_an_attempt_and_no_other(marks: Path) -> None:
    start = partial(jobs.killed_at, marks, {1, 4}, 1)
    with run_jobs(start, range(6), workers=2, ordered=True) as results:
        assert list(results) == [(i, i) for i in range(6)]
    assert [jobs.attempts(marks, job) for job in range(6)] == [1, 2, 1, 1, 2, 1]


def test_a_job_that_always_kills_its_worker_is_named(marks: Path) -> None:
    start = partial(jobs.killed_at, marks, {8}, 99)
    with (
        pytest.raises(SimulationError, match=r"Job 1 \(8\) lost its worker 3 times.*exit code -9"),
        run_jobs(start, [7, 8, 9], workers=2) as results,
    ):
        list(results)
    assert jobs.attempts(marks, 8) == ATTEMPTS == 3


PROGRAM = """
import sys
from functools import partial
from pathlib import Path

sys.path.append(sys.argv[1])
import pool_jobs
from f1_ros.sim.pool import run_jobs

if __name__ == "__main__":
    with run_jobs(partial(pool_jobs.sleeps, Path(sys.argv[2])), range(9), workers=2) as results:
        print(list(results))
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_program(marks: Path, ending: signal.Signals, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    root = Path(__file__).parents[2]
    program = subprocess.Popen(
        [sys.executable, file, Path(__file__).parent, marks],
        start_new_session=True, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )  # fmt: skip
    jobs.wait_until(lambda: jobs.attempts(marks, 0) and jobs.attempts(marks, 1))
    pids = [int(path.read_text()) for path in marks.iterdir()]
    if ending is signal.SIGINT:
        os.killpg(program.pid, ending)  # as a terminal does
    else:
        program.send_signal(ending)
    _, errors = program.communicate(timeout=10)
    assert errors.count("Traceback") == (ending is signal.SIGINT)  # the program's own, and none of a worker
    jobs.wait_until(lambda: not any(jobs.running(pid) for pid in pids))


def test_workers_end_with_the_block(marks: Path) -> None:
    with run_jobs(partial(jobs.only_first_ends, marks), range(9), workers=2) as results:
        assert next(results) == (0, 0)
        pids = [int(path.read_text()) for path in marks.iterdir()]
        assert len(pids) == 2
        assert all(map(jobs.running, pids))
    assert not any(map(jobs.running, pids))


@pytest.mark.parametrize("workers", [0, -1, 257])
def test_a_number_of_workers_that_makes_no_sense_is_refused(workers: int) -> None:
    with pytest.raises(ConfigError, match=f"--workers is {workers}"), run_jobs(jobs.environment, [], workers=workers):
        pass


@pytest.mark.parametrize(
    ("address", "message"),
    [("nonsense", "--ray is 'nonsense'"), ("127.0.0.1:1", "cannot be used"), ("127.0.0.1:99999", "cannot be used")],
)
def test_an_address_without_a_cluster_is_refused_in_one_line(
    address: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sim", "eval", "--expert", "--episodes", "1", "--ray", address]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Remedy:" in error


def test_without_ray_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["sim", "record", "--out", str(tmp_path / "new"), "--episodes", "1", "--ray", "auto"]) == 2
    assert "pip install 'f1_ros[ray]'" in capsys.readouterr().err
