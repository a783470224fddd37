"""Some faults in the live system, as `f1-ros faults run` makes them, and one that is declared wrongly."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from f1_ros.faults.catalogue import choose
from f1_ros.faults.run import run_faults
from f1_ros.robots.profile import load_profile

REPO = Path(__file__).parents[2]


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(102 + os.getpid() % 100))  # beyond those of the other tests
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("PYTHONPATH", str(REPO))


def test_faults_are_handled_as_declared_and_a_wrong_declaration_is_reported(domain: None, tmp_path: Path) -> None:
    # Without a policy, so that nothing here depends on how fast this machine is.
    names = ["joint_state_nan", "joint_state_repeats", "leader_disconnects", "publisher_stopped"]
    faults = list(choose([*names, "publisher_killed"], load_profile("franka_fr3")))
    wrong = dataclasses.replace(faults[-2], name="planted", reason="the moon is full")
    results = run_faults([*faults, wrong], "none", tmp_path, say=lambda line: None)
    outcomes = {outcome.fault: outcome for outcome in results.outcomes}
    assert results.systems == 1
    for name in names:
        outcome = outcomes[name]
        assert outcome.speed is not None
        assert outcome.periods is not None
        assert outcome.periods <= 2.0, outcome
        late = ("noticed after", "named after", "ticks missed")  # a busy machine's
        assert [p for p in outcome.problems if not any(word in p for word in late)] == [], outcome
    killed = outcomes["publisher_killed"]  # it comes back in HOLD, and the robot obeys no one for up to 20 s
    assert killed.ok, killed
    planted = outcomes["planted"]
    assert any("not 'the moon is full'" in problem for problem in planted.problems)
    assert "no command for" in planted.first_try  # it was made twice, and failed twice


def test_the_command_writes_its_figures(domain: None, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "f1_ros", "faults", "run", "leader_nan", "--policy", "none", "--json",
         str(tmp_path / "faults.json"), "--log-dir", str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=REPO,
    )  # fmt: skip
    written = json.loads((tmp_path / "faults.json").read_text())
    assert done.returncode == (0 if written["ok"] else 1), done
    (fault,) = written["faults"]
    assert fault["fault"] == "leader_nan"
    assert fault["noticed_s"] > 0.0
    assert [r["value"] for r in written["results"] if r["name"] == "systems_started"] == [1]


def test_an_unknown_fault_is_refused_with_a_remedy() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "f1_ros", "faults", "run", "gremlins"],
        capture_output=True, text=True, check=False, cwd=REPO,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "f1-ros: There is no fault gremlins. Remedy: See `f1-ros faults list`.\n"
