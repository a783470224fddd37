"""Jobs on a Ray cluster of two machines (here two Ray nodes of one CPU each): the same as on this machine."""

import importlib
import json
import os
import secrets
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from f1_ros.cli.main import main
from f1_ros.errors import ConfigError, SimulationError
from f1_ros.sim import demonstrations
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.demonstrations import ARRAYS
from f1_ros.sim.evaluate import EvaluationSettings, evaluate
from f1_ros.sim.pool import cluster as pool_cluster
from f1_ros.sim.pool import run_jobs

ROOT = Path(__file__).parents[2]
sys.path.append(str(Path(__file__).parent))
import pool_jobs as jobs  # noqa: E402

NODE = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 150_000_000}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Its sockets lie there: pytest's own temporary folders have names that are too long for them.
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as temporary:
        patch.setenv("TMPDIR", temporary)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(Path(__file__).parent)]))
        made = Cluster(initialize_head=True, head_node_args=NODE)
        try:
            made.add_node(**NODE)
            yield made
        finally:
            made.shutdown()


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def test_an_evaluation_is_the_same_on_a_cluster(cluster: Cluster) -> None:
    settings = EvaluationSettings(policy=None, episodes=4, seed=3, world=BeltConfig(speed=(0.2, 0.3)))
    progress: list[tuple[int, int]] = []
    there = evaluate(
        settings, workers=None, cluster=cluster.address, progress=lambda done, picked: progress.append((done, picked))
    )
    assert there == evaluate(settings)
    assert [done for done, _ in progress] == [1, 2, 3, 4]
    assert not ray.is_initialized()


def test_recorded_arrays_are_the_same_on_a_cluster_to_the_byte(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demonstrations, "PART_EPISODES", 1)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)  # where "auto" leads, should others run on this machine
    command = ["sim", "record", "--episodes", "3", "--seed", "7"]
    assert main([*command, "--out", str(tmp_path / "there"), "--ray", "auto"]) == 0
    assert main([*command, "--out", str(tmp_path / "here"), "--workers", "1"]) == 0
    here, there = files(tmp_path / "here"), files(tmp_path / "there")
    assert set(here) == {f"{name}.npy" for name in ARRAYS} | {"meta.json"}
    assert here == there


def here_and_there(command: str, cluster: Cluster, patch: pytest.MonkeyPatch, changed: str) -> None:
    """Run a command of docs/data.md, shortened, on the cluster and on this machine."""
    text = (ROOT / "docs" / "data.md").read_text().partition("## On several machines")[2]
    assert f"f1-ros {command} --ray auto\n" in text
    patch.chdir(ROOT)
    patch.setenv("RAY_ADDRESS", cluster.address)
    for where in ("--ray auto", "--workers 1"):
        option, _ = where.split()
        assert main([*f"{command} {where}".split(), *changed.format(option.strip("-")).split()]) == 0


def test_a_dataset_is_the_same_on_a_cluster_to_the_byte(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "sim record --format lerobot --episodes 500 --seed 1 --out data/demos"
    here_and_there(command, cluster, monkeypatch, f"--episodes 3 --out {tmp_path}/{{}}")
    assert files(tmp_path / "ray") == files(tmp_path / "workers")
    assert (tmp_path / "ray" / "meta" / "info.json").is_file()


def test_a_policy_picks_the_same_on_machines_that_have_no_copy_of_it(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("f1_ros.sim.evaluate.CALIBRATION_RUNS", 1)
    command = "sim eval --policy models/f1_belt --episodes 1000 --seed 1"
    changed = f"--episodes 1 --exact-delay --picks-only --json {tmp_path}/{{}}"
    here_and_there(command, cluster, monkeypatch, changed)
    there, here = (json.loads((tmp_path / name).read_text())["runs"] for name in ("ray", "workers"))
    assert len(there) == 1
    assert there == here


def test_folders_are_laid_out_whole_by_their_content(cluster: Cluster, tmp_path: Path) -> None:
    folder, copy = tmp_path / "policy", tmp_path / "renamed"
    weights = secrets.token_bytes(10)
    for root in (folder, copy):
        (root / "part").mkdir(parents=True)
        (root / "part" / "weights").write_bytes(weights)
        (root / "empty").touch()

    def seen(root: Path) -> tuple[Path, dict[str, bytes]]:
        with run_jobs(jobs.where, range(4), workers=2, cluster=cluster.address, folders=[root]) as results:
            found = [(where, content) for _, (_, where, content) in results]
        assert found.count(found[0]) == 4
        return Path(found[0][0]), found[0][1]

    where, content = seen(folder)
    assert tmp_path not in where.parents
    assert content == files(folder)
    (where / "part" / "weights").write_bytes(b"torn")
    assert seen(copy) == (where, content)
    (copy / "more").touch()
    assert seen(copy)[0] != where
    for gone in (tmp_path / "nowhere", tmp_path / "nothing"):
        with (
            pytest.raises(ConfigError, match=f"{gone.name} cannot be read"),
            run_jobs(jobs.where, [0], workers=2, cluster=cluster.address, folders=[gone]),
        ):
            pass


def test_a_killed_worker_costs_its_own_job_an_attempt_and_no_other(cluster: Cluster, marks: Path) -> None:
    start = partial(jobs.killed_at, marks, {1, 4}, 1)
    with run_jobs(start, range(6), workers=None, cluster=cluster.address, ordered=True) as results:
        assert list(results) == [(i, i) for i in range(6)]
    assert [jobs.attempts(marks, job) for job in range(6)] == [1, 2, 1, 1, 2, 1]


def test_a_lost_machine_costs_the_job_that_it_had(cluster: Cluster, marks: Path) -> None:
    third = cluster.add_node(**NODE)

    def lose_third() -> None:
        jobs.wait_until(lambda: list(marks.glob(f"*-{third.node_id}-*")))
        cluster.remove_node(third)
        (marks / "go").touch()

    loss = threading.Thread(target=lose_third, daemon=True)
    loss.start()
    start = partial(jobs.waits_for_go, marks)
    with run_jobs(start, range(10, 15), workers=None, cluster=cluster.address) as results:
        assert sorted(results) == [(i, i + 10) for i in range(5)]
    loss.join()
    [lost] = marks.glob(f"*-{third.node_id}-*")
    begun = {job: jobs.attempts(marks, job) for job in range(10, 15)}
    assert begun == {job: 2 if lost.name.startswith(f"{job}-") else 1 for job in range(10, 15)}


def test_a_job_that_always_kills_its_worker_is_named(cluster: Cluster, marks: Path) -> None:
    start = partial(jobs.killed_at, marks, {8}, 99)
    with (
        pytest.raises(SimulationError, match=r"Job 1 \(8\) lost its worker 3 times.*WorkerCrashedError"),
        run_jobs(start, [7, 8, 9], workers=2, cluster=cluster.address) as results,
    ):
        list(results)
    assert jobs.attempts(marks, 8) == 3


def test_workers_end_with_the_block(cluster: Cluster, marks: Path) -> None:
    start = partial(jobs.only_first_ends, marks)
    with run_jobs(start, range(9), workers=2, cluster=cluster.address) as results:
        assert next(results) == (0, 0)
        pids = [int(path.read_text()) for path in marks.iterdir()]
        assert len(pids) == 2
        assert all(map(jobs.running, pids))
    jobs.wait_until(lambda: not any(map(jobs.running, pids)))


def test_exceptions_come_out_as_they_are_and_are_not_tried_again(cluster: Cluster, marks: Path) -> None:
    with (
        pytest.raises(ConfigError, match="Job 5 is wrong") as caught,
        run_jobs(partial(jobs.refuses, marks), [5], workers=2, cluster=cluster.address) as results,
    ):
        next(results)
    assert caught.value.remedy == "Give another."
    assert jobs.attempts(marks, 5) == 1
    with (
        pytest.raises(SimulationError, match=r"(?s)cannot be sent.*Stubborn\(1, 2\)"),
        run_jobs(jobs.raises_stubborn, [0], workers=2, cluster=cluster.address) as results,
    ):
        next(results)


def test_machines_with_another_f1_ros_are_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_cluster, "versions", lambda: "f1_ros of yesterday")
    with (
        pytest.raises(ConfigError, match=r"has f1_ros \w{12}, mujoco .*; here is f1_ros of yesterday"),
        run_jobs(jobs.environment, ["HOME"], workers=2, cluster=cluster.address) as results,
    ):
        next(results)


def test_what_only_this_machine_can_import_is_told(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def start():\n    return abs\n")
    monkeypatch.syspath_prepend(tmp_path)
    only_here = importlib.import_module("only_here")
    with (
        pytest.raises(ConfigError, match="No module named 'only_here' on machine"),
        run_jobs(only_here.start, [0], workers=2, cluster=cluster.address) as results,
    ):
        next(results)


def test_a_program_that_is_connected_stays_so_and_a_worker_uses_one_thread(cluster: Cluster) -> None:
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        for _ in range(2):
            with run_jobs(jobs.environment, ["OMP_NUM_THREADS"], workers=1, cluster="auto") as results:
                [(_, (pid, threads))] = results
            assert pid != os.getpid()
            assert threads == "1"
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_a_cluster_can_begin_here(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "eval", "--expert", "--episodes", "2", "--ray", "local", "--workers", "1", "--goal", "1"]) == 0
    assert "2 of 2 episodes, 2 succeeded" in capsys.readouterr().err
    assert not ray.is_initialized()


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
