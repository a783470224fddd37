"""What the tests of the pool have workers do: a module of its own, which workers import."""

import os
import signal
import time
import uuid
from pathlib import Path

from f1_ros.errors import ConfigError


def square(marks: Path):
    """Squares a number and leaves a mark of each attempt."""
    return lambda job: mark(marks, job) and job * job


def mark(marks: Path, job) -> bool:
    (marks / f"{job}-{uuid.uuid4()}").write_text(str(os.getpid()))
    return True


def attempts(marks: Path, job) -> int:
    return len(list(marks.glob(f"{job}-*")))


def first_after_third(marks: Path):
    """Job 0 ends only when job 2 has begun."""

    def do(job: int) -> int:
        mark(marks, job)
        while job == 0 and not attempts(marks, 2):
            time.sleep(0.01)
        return job

    return do


def environment():
    return lambda name: (os.getpid(), os.environ.get(name))


def killed_at(marks: Path, jobs: set[int], times: int):
    """Some jobs kill their worker the first times."""

    def do(job: int) -> int:
        mark(marks, job)
        if job in jobs and attempts(marks, job) <= times:
            os.kill(os.getpid(), signal.SIGKILL)
        return job

    return do


def refuses(marks: Path):
    def do(job: int) -> None:
        mark(marks, job)
        raise ConfigError(f"Job {job} is wrong.", remedy="Give another.")

    return do


def refuses_to_start() -> None:
    raise ConfigError("There is no policy.", remedy="Give one.")


class Stubborn(Exception):
    """It cannot be copied to another process."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raises_stubborn():
    def do(job: int) -> None:
        raise Stubborn(1, 2)

    return do


def sleeps(marks: Path):
    def do(job: int) -> None:
        mark(marks, job)
        time.sleep(600)

    return do


def only_first_ends(marks: Path):
    def do(job: int) -> int:
        mark(marks, job)
        while job or not attempts(marks, 1):
            time.sleep(0.01)
        return job

    return do


def waits_for_go(marks: Path):
    """Says on which machine of the cluster it is, then waits."""
    import ray

    def do(job: int) -> int:
        mark(marks, f"{job}-{ray.get_runtime_context().get_node_id()}")
        while not (marks / "go").exists():
            time.sleep(0.02)
        return job

    return do


def where(folder: Path):
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return lambda job: (os.getpid(), str(folder), files)


def running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
