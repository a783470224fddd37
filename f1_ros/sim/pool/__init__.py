"""Independent jobs, such as episodes, on processes of this machine or on a Ray cluster.

    with run_jobs(functools.partial(open_world, config), range(100), workers=4) as results:
        for index, result in results:
            ...

`open_world(config)` is called once in each worker and returns the function that does a job. What comes out is the same
wherever a job runs, as long as it depends on the job alone.

A job whose worker is lost (killed, out of memory, its machine gone) is begun again by another, `ATTEMPTS` times in all.
What a job raises ends the run, and comes out as it is. The workers end with the `with` block, however that ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from f1_ros.errors import ConfigError, SimulationError
from f1_ros.sim.pool.crew import Crew, Lost, Raised
from f1_ros.sim.pool.processes import Processes

Job = TypeVar("Job")
Result = TypeVar("Result")

ATTEMPTS = 3
"""How often a job may be begun, if each time its worker is lost."""

MOST_WORKERS = 256
AHEAD = 2
"""In order: jobs begun and not yet handed over, as a multiple of the workers."""


@contextmanager
def run_jobs(
    start: Callable[..., Callable[[Job], Result]],
    jobs: Iterable[Job],
    *,
    workers: int | None,
    cluster: str | None = None,
    folders: Sequence[Path] = (),
    ordered: bool = False,
) -> Iterator[Iterator[tuple[int, Result]]]:
    """Do all jobs; gives their (index, result) as they come, or in order.

    Args:
        start: called once in each worker with where `folders` lie on its machine; returns the function of a job. A
            function of a module, or a `functools.partial` of one.
        jobs: what the function is called with; taken as workers get free, so that few are in memory at once.
        workers: jobs that run at a time. One on this machine runs in this process, more in one process each. None: on a
            cluster as many as it has CPUs, whatever comes and goes, and here one.
        cluster: address of a Ray cluster, see `f1_ros.sim.pool.cluster`; None for this machine's processes.
        folders: what workers read from disk, such as a policy. Machines of a cluster get a copy.
        ordered: give results in the order of the jobs.

    Raises:
        ConfigError: if the number of workers is out of range, Ray is missing, or the cluster cannot be used.
        SimulationError: naming the job that lost its worker each time.
    """
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise ConfigError(f"--workers is {workers}.", remedy=f"Give 1 to {MOST_WORKERS}.")
    if cluster is None and (workers is None or workers == 1):
        yield _here(start(*folders), jobs)
        return
    crew: Crew
    if cluster is None:
        assert workers is not None
        crew = Processes(start, folders, workers)
    else:
        from f1_ros.sim.pool.cluster import Cluster

        crew = Cluster(cluster, start, folders, workers)
    with closing(crew):
        yield _results(crew, jobs, ordered)


def _here(function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[tuple[int, Result]]:
    for index, job in enumerate(jobs):
        yield index, function(job)


def _results(crew: Crew, jobs: Iterable[Job], ordered: bool) -> Iterator[tuple[int, Any]]:
    coming, again = enumerate(jobs), deque[int]()
    begun: dict[int, Job] = {}  # not yet done; those in `again` wait for a worker
    attempts: dict[int, int] = {}
    done: dict[int, Any] = {}  # in order: waiting for one before them
    following = 0
    while True:
        size = crew.size
        while len(begun) - len(again) < size:
            if again:
                index = again.popleft()
            elif ordered and len(begun) + len(done) >= AHEAD * size:
                break
            elif (new := next(coming, None)) is not None:
                index, begun[new[0]] = new
            else:
                break
            attempts[index] = attempts.get(index, 0) + 1
            crew.begin(index, begun[index])
        if not begun:
            return
        index, outcome = crew.wait()
        if isinstance(outcome, Raised):
            raise outcome.error
        if isinstance(outcome, Lost):
            if attempts[index] == ATTEMPTS:
                raise SimulationError(
                    f"Job {index} ({begun[index]!r}) lost its worker {ATTEMPTS} times, at last: {outcome.reason}.",
                    remedy="Look whether memory ran out (dmesg; on a cluster Ray's logs), and give fewer --workers.",
                )
            again.append(index)
            continue
        del begun[index], attempts[index]
        if not ordered:
            yield index, outcome.result
            continue
        done[index] = outcome.result
        while following in done:
            yield following, done.pop(following)
            following += 1
