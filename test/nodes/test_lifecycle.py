"""How a node's process starts and ends, whatever the node does."""

from __future__ import annotations

import ast
import signal
from pathlib import Path

import pytest
from rclpy.lifecycle import LifecycleNode

import f1_ros.nodes
from f1_ros.errors import ConfigError
from f1_ros.nodes.parameters import NodeParameter, policy_dir

ODD = Path(__file__).with_name("odd_node.py")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_the_node_down_through_its_life_cycle(ros, number: int) -> None:
    process = ros.start(ODD)
    ros.until(lambda: "active" in ros.log(process), "active")
    process.send_signal(number)
    assert process.wait(timeout=10.0) == 0
    assert ros.log(process).index("deactivated") < ros.log(process).index("cleaned up")


@pytest.mark.parametrize(
    ("parameters", "status", "says"),
    [
        ({"behaviour": "refuse"}, 2, "The file is wrong. Remedy: Correct it."),
        ({"behaviour": "bug"}, 1, "nobody expected this"),
        ({"behaviour": "crash"}, 1, "in a callback"),
        ({"behaviour": "stand still", "start_within": 1.0}, 1, "in configure"),
        ({"rate": 0.0}, 2, "Give 'rate' a float within 0.1 .. 10.0 (A rate, Hz.)."),
        ({"rate": "fast"}, 2, "Give 'rate' a float within 0.1 .. 10.0 (A rate, Hz.)."),
    ],
)
def test_a_node_that_cannot_run_ends_its_process_and_says_why(ros, parameters: dict, status: int, says: str) -> None:
    process = ros.start(ODD, **parameters)
    ros.until(lambda: process.poll() is not None, "the process ends")
    assert process.returncode == status
    assert says in ros.log(process)


def test_a_node_that_progresses_may_take_longer_than_one_that_stands_still(ros) -> None:
    process = ros.start(ODD, behaviour="take its time", start_within=1.0)
    ros.until(lambda: "active" in ros.log(process), "active")
    assert ros.stop(process) == 0


def test_a_node_that_hangs_at_its_end_is_ended_hard(ros) -> None:
    process = ros.start(ODD, behaviour="hang")
    ros.until(lambda: "active" in ros.log(process), "active")
    assert ros.stop(process) == 1


def test_a_numeric_parameter_has_bounds() -> None:
    with pytest.raises(ConfigError, match="both bounds"):
        NodeParameter("rate", 1.0, "A rate, Hz.")
    with pytest.raises(ConfigError, match="both bounds"):
        NodeParameter("name", "x", "A name.", lower=0, upper=1)


def test_a_policy_is_found_from_here_or_below_the_share_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert policy_dir("mine") == Path("mine")
    assert policy_dir("models/f1_belt").parts[-2:] == ("models", "f1_belt")
    assert policy_dir("models/f1_belt").is_absolute()
    assert policy_dir("/somewhere") == Path("/somewhere")


def test_no_node_overwrites_what_rclpy_keeps_in_it(ros) -> None:
    # rclpy goes by what is in `_subscriptions`, `_timers` and others: overwritten, the node is deaf, its clock stands.
    kept = {*vars(ros.node), *dir(LifecycleNode)}
    found = []
    for path in Path(f1_ros.nodes.__path__[0]).glob("*.py"):
        classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
        for node in classes:
            if {"ManagedNode", "Node", "LifecycleNode"} & {getattr(base, "id", "") for base in node.bases}:
                stored = [a for a in ast.walk(node) if isinstance(a, ast.Attribute) and isinstance(a.ctx, ast.Store)]
                found += [f"{path.name}:{a.lineno} self.{a.attr}" for a in stored if a.attr in kept]
    assert found == []
