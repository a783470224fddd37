"""Workers on a Ray cluster (https://docs.ray.io), one CPU each.

Addresses: "auto" (the cluster that this machine belongs to), "HOST:PORT" (of its head; this machine must belong to it),
"local" (one that is begun here and ends with the run). A program that is connected to Ray already stays so, and uses
that cluster.

A machine of the cluster needs this very f1_ros, which is checked, and no files: folders that the jobs read are copied
into the cluster's memory once, and each machine lays them out in its temporary folder, by their content. Results come
back through Ray. Ray sends pickled Python between its processes: whoever reaches a cluster's ports can run code on it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import numpy as np

import f1_ros
from f1_ros.errors import ConfigError
from f1_ros.sim.pool.crew import Done, Lost, Outcome, Raised, Start, Worker, raised

_CONNECT_S = 5.0
_WAIT = "RAY_gcs_server_port_wait_time_s"
_PACKAGES = ("mujoco", "numpy", "torch")  # what a result depends on, besides f1_ros
_ADDRESSES = "Give auto, HOST:PORT or local."


class Cluster:
    """Workers on a Ray cluster.

    Args:
        address: see this module.
        start: see `f1_ros.sim.pool.run_jobs`.
        folders: what it is called with, here.
        workers: jobs that run at a time; None: as many as the cluster has CPUs.

    Raises:
        ConfigError: if Ray is missing, the cluster is not to be reached or has no CPU, or a folder cannot be read.
    """

    def __init__(self, address: str, start: Start, folders: Sequence[Path], workers: int | None) -> None:
        self._ray = _import_ray()
        self._connected_before = self._ray.is_initialized()
        self._workers = workers
        self._begun: dict[Any, int] = {}
        if not self._connected_before:
            _connect(self._ray, address, workers)
        try:
            if self._cpus() < 1:
                raise ConfigError(f"The Ray cluster {address} has no CPU.", remedy="Start Ray on more machines.")
            shared = tuple(_share(self._ray, folder) for folder in folders)
            setup = _Setup(uuid4().hex, versions(), self._ray.cloudpickle.dumps(start), shared)
            # In a list Ray leaves it a reference: a worker fetches it once, not with each job.
            self._setup = [self._ray.put(setup)]
            # What is lost is begun again by `run_jobs`, not by Ray: it would do so without end if memory runs out.
            self._do = self._ray.remote(num_cpus=1, max_retries=0)(_do)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """As many as asked for, or as the cluster has CPUs now."""
        return self._workers if self._workers is not None else max(1, self._cpus())

    def begin(self, index: int, job: Any) -> None:
        """Give Ray a job; it waits there for a free CPU."""
        self._begun[self._do.remote(self._setup, job)] = index

    def wait(self) -> tuple[int, Outcome]:
        """Wait for Ray to answer a job."""
        ready, _ = self._ray.wait(list(self._begun), num_returns=1)
        index = self._begun.pop(ready[0])
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(ready[0])
        except errors.RayTaskError as error:  # outside of the job, whose own exceptions come as results
            if isinstance(error.cause, errors.RayError):
                return index, Lost(_line(error.cause))
            cause = str(error.cause).strip().splitlines()[-1:]
            problem = f"A worker of the Ray cluster cannot do a job: {type(error.cause).__name__}: {' '.join(cause)}."
            return index, Raised(ConfigError(problem, remedy=_SAME))
        except errors.RayError as error:
            return index, Lost(_line(error))
        return index, outcome

    def close(self) -> None:
        """End what runs; leave the cluster, unless the program was there before."""
        for job in self._begun:
            with suppress(self._ray.exceptions.RayError):
                self._ray.cancel(job, force=True)
        self._begun.clear()
        if not self._connected_before:
            self._ray.shutdown()

    def _cpus(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 0))


_SAME = "Install the same f1_ros, with the same packages, on every machine of the cluster, and restart Ray there."


def _line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first.rstrip('.')}"


def _import_ray() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(
            f"Ray cannot be imported ({error}).", remedy="Install it: pip install 'f1_ros[ray]', or leave --ray out."
        ) from error


def _connect(ray: ModuleType, address: str, workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address == "local":
            ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
            return
        host, colon, port = address.rpartition(":")
        if colon and port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
        elif address != "auto":
            raise ConfigError(f"--ray is {address!r}.", remedy=_ADDRESSES)
        with _one_attempt():
            ray.init(address=address, **quiet)
    except (OSError, OverflowError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        ray.shutdown()
        raise ConfigError(
            f"The Ray cluster {address} cannot be used: {error}",
            remedy="Start Ray on all its machines, this one too: ray start --head; ray start --address=HOST:PORT.",
        ) from error


@contextmanager
def _one_attempt() -> Iterator[None]:
    """Ray tries once to connect, which takes it 40 s; else it goes on for a quarter of an hour where nobody answers."""
    before = os.environ.get(_WAIT)
    os.environ[_WAIT] = before if before is not None else "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_WAIT]


@dataclass(frozen=True)
class _Shared:
    """A folder's files in the cluster's memory: reference and size by relative name."""

    digest: str
    files: Mapping[str, tuple[Any, int]]


@dataclass(frozen=True)
class _Setup:
    run: str
    versions: str
    start: bytes  # pickled: if it cannot be read on another machine, that is told there
    folders: tuple[_Shared, ...]


def _share(ray: ModuleType, folder: Path) -> _Shared:
    try:
        names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        if not names:
            raise FileNotFoundError("it has no files")
        digest, files = hashlib.sha256(), {}
        for name in names:
            content = np.fromfile(folder / name, np.uint8)
            digest.update(f"{name}\0{content.size}\0".encode())
            digest.update(content.data)
            files[name] = (ray.put(content), content.size)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read: {error}.", remedy="Give a folder with the files.") from error
    return _Shared(digest.hexdigest(), files)


def _lay_out(ray: ModuleType, shared: _Shared) -> Path:
    """The folder on this machine; written but for the files that are there from before."""
    home = Path(tempfile.gettempdir()) / f"f1_ros-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != os.getuid():
        raise ConfigError(f"{home} is another user's.", remedy="Set TMPDIR to a folder of your own, and restart Ray.")
    folder = home / shared.digest
    for name, (content, size) in shared.files.items():
        path = folder / name
        if path.is_file() and path.stat().st_size == size:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several workers may do this at a time: each file is there whole or not at all, and nothing else ever is.
        partial = home / f".{uuid4().hex}"
        ray.get(content).tofile(partial)
        partial.replace(path)
    return folder


@functools.cache
def versions() -> str:
    """What a job's result depends on, besides the job: f1_ros's own code, by its content, and some packages."""
    package, digest = Path(f1_ros.__file__).parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    packages = []
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            packages.append(f"{name} {metadata.version(name)}")
    return ", ".join([f"f1_ros {digest.hexdigest()[:12]}", *packages])


_worker: tuple[str, Worker] | None = None  # of this process, for the run named


def _do(setup: list[Any], job: Any) -> Done | Raised:
    """What Ray calls on a machine of the cluster."""
    global _worker
    import ray

    try:
        given: _Setup = ray.get(setup[0])
        if _worker is None or _worker[0] != given.run:
            _worker = None
            if versions() != given.versions:
                raise ConfigError(
                    f"Machine {socket.gethostname()} of the Ray cluster has {versions()}; here is {given.versions}.",
                    remedy=_SAME,
                )
            start = ray.cloudpickle.loads(given.start)
            _worker = given.run, Worker(start, [_lay_out(ray, folder) for folder in given.folders])
    except ray.exceptions.RayError:
        raise
    except ImportError as error:
        return raised(ConfigError(f"{error} on machine {socket.gethostname()} of the Ray cluster.", remedy=_SAME))
    except Exception as error:  # noqa: BLE001 - as the job's own
        return raised(error)
    return _worker[1].do(job)
