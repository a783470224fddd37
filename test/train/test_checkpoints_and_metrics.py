"""Checkpoints are whole or not there; metrics have each step once; a growing loss is noticed."""

from __future__ import annotations

import json
import math
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tqdm import TMonitor

from f1_ros.errors import CheckpointError, TrainingError
from f1_ros.train import checkpoints as module
from f1_ros.train.checkpoints import Checkpoints
from f1_ros.train.metrics import LossWatch, MetricsLog, read_metrics

TENSORS = {"weights/a": torch.arange(6.0).reshape(2, 3), "weights/b": torch.ones(1)}


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoints:
    """Checkpoints of steps 10 and 20."""
    store = Checkpoints(tmp_path / "checkpoints", keep=3)
    store.save(10, TENSORS, {"n": 1})
    store.save(20, {name: tensor + 1 for name, tensor in TENSORS.items()}, {"n": 2})
    return store


def test_the_newest_is_read_and_the_one_before_it_when_asked(kept: Checkpoints) -> None:
    newest, previous = kept.load(), kept.load(previous=True)
    assert newest is not None
    assert previous is not None
    assert (newest.step, newest.state) == (20, {"n": 2})
    assert (previous.step, previous.state) == (10, {"n": 1})
    assert torch.equal(previous.tensors["weights/a"], TENSORS["weights/a"])


def test_a_run_that_wrote_none_has_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").load() is None
    with pytest.raises(CheckpointError, match="no checkpoint before"):
        Checkpoints(tmp_path / "none").load(previous=True)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3, 4):
        store.save(step, TENSORS, {})
    assert store.steps() == [3, 4]
    store.drop_after(3)
    assert store.steps() == [3]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255), st.sampled_from(["tensors.safetensors", "state.json"]))
def test_tensors_are_never_other_than_what_was_written(tmp_path_factory, place: int, change: int, name: str) -> None:
    store = Checkpoints(tmp_path_factory.mktemp("run"))
    path = store.save(3, TENSORS, {"n": 1}) / name
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= change
    path.write_bytes(data)
    if name == "tensors.safetensors":
        with pytest.raises(CheckpointError, match="step-00000003 is damaged"):
            store.load()
        return
    try:
        read = store.load()
    except CheckpointError:
        return
    assert read is not None
    assert torch.equal(read.tensors["weights/a"], TENSORS["weights/a"])


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_a_damaged_one_is_refused_and_names_the_older_one(kept: Checkpoints, name: str) -> None:
    path = kept.folder / "step-00000020" / name
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"step-00000020 is damaged .*go on from step 10 with --resume-previous"):
        kept.load()
    path.unlink()
    with pytest.raises(CheckpointError, match="step-00000020 is damaged"):
        kept.load()


def test_a_half_written_one_does_not_count(kept: Checkpoints) -> None:
    (kept.folder / ".step-00000030.partial").mkdir()
    (kept.folder / ".step-00000030.partial" / "tensors.safetensors").write_bytes(b"half")
    newest = kept.load()
    assert newest is not None
    assert newest.step == 20
    kept.save(30, TENSORS, {})
    assert kept.steps() == [10, 20, 30]


def test_too_little_room_is_told_before_anything_is_written(kept: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(
        CheckpointError, match=r"step-00000030 cannot be written: 1 MB are needed.*from step 20"
    ) as raised:
        kept.save(30, TENSORS, {})
    assert "Make room" in raised.value.remedy
    assert [path.name for path in sorted(kept.folder.iterdir())] == ["step-00000010", "step-00000020"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk that fills up: nothing grows beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_leaves_the_older_ones(kept: Checkpoints) -> None:
    large = {"weights/a": torch.ones(50_000)}
    with files_of_at_most(100_000), pytest.raises(CheckpointError, match="step-00000030 cannot be written"):
        kept.save(30, large, {})
    assert [path.name for path in sorted(kept.folder.iterdir())] == ["step-00000010", "step-00000020"]
    newest = kept.load()
    assert newest is not None
    assert newest.step == 20
    kept.save(30, large, {})
    assert kept.steps() == [10, 20, 30]


def test_metrics_that_do_not_fit_stop_the_run_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # TensorBoard writes in a thread of its own, which dies of it; that is told by what is asked of it next.
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    before = set(threading.enumerate())
    with ExitStack() as disk, MetricsLog(tmp_path, 0, 5, quiet=True) as log:
        log.write("train", 1, {"loss": 0.5})
        disk.enter_context(files_of_at_most(100))  # only now: its thread may write at once, or later
        with pytest.raises(TrainingError, match=r"metrics.jsonl or .* cannot be written .*Make room"):
            log.write("train", 2, {"loss": 0.5, "text": "x" * 100})
    for thread in set(threading.enumerate()) - before:
        if not isinstance(thread, TMonitor):
            thread.join(10.0)
            assert not thread.is_alive()
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1]


def test_metrics_of_steps_that_are_run_again_stand_once(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0, 5, quiet=True) as log:
        for step in (1, 2, 3):
            log.write("train", step, {"loss": step / 2})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')  # cut off by a kill
    with MetricsLog(tmp_path, 2, 5, quiet=True) as log:
        log.write("train", 3, {"loss": 9.0})
    assert [(row["step"], row["loss"]) for row in read_metrics(tmp_path / "metrics.jsonl")] == [
        (1, 0.5),
        (2, 1.0),
        (3, 9.0),
    ]


def test_numbers_also_go_to_tensorboard_each_step_once(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0, 5, quiet=True) as log:
        for step in (1, 2, 3, 4):
            log.write("train", step, {"loss": step / 2})
    with MetricsLog(tmp_path, 2, 5, quiet=True) as log:  # goes on from the checkpoint of step 2
        log.write("train", 3, {"loss": 0.25})
        log.write("held_out", 3, {"loss": 0.5, "action_error": {"by_step": [1.0]}})
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert board.Tags()["scalars"] == ["train/loss", "held_out/loss"]
    assert [(e.step, e.value) for e in board.Scalars("train/loss")] == [(1, 0.5), (2, 1.0), (3, 0.25)]
    assert [(e.step, e.value) for e in board.Scalars("held_out/loss")] == [(3, 0.5)]


def test_without_tensorboard_the_lines_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as where the package is not installed
    with MetricsLog(tmp_path, 0, 5, quiet=True) as log:
        log.write("train", 1, {"loss": 0.5})
    assert [row["loss"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [0.5]
    assert not (tmp_path / "tensorboard").exists()


def test_the_watch_notices_what_is_no_number_and_what_grows() -> None:
    assert LossWatch(10.0).problem(math.nan) == "The loss is nan"
    assert LossWatch(10.0).problem(math.inf) == "The loss is inf"
    watch = LossWatch(10.0, window=3)
    assert [watch.problem(loss) for loss in (5.0, 1.0, 1.0, 1.0, 15.0, 3.0)] == [None] * 6
    assert watch.problem(200.0) == "The mean loss of 3 steps is 72.67, 73 times its lowest"


def test_the_watch_goes_on_from_its_state() -> None:
    one, other = LossWatch(10.0, window=2), LossWatch(10.0, window=2)
    for loss in (1.0, 1.0, 12.0):
        assert one.problem(loss) is None
    other.restore(json.loads(json.dumps(one.state())))
    assert other.problem(12.0) == one.problem(12.0) is not None
