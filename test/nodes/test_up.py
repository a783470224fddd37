"""The whole system as a user starts and ends it, and what is left of it when a part dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from f1_msgs.msg import ControlStatus
from f1_msgs.srv import SetMode
from sensor_msgs.msg import JointState

from f1_ros.bringup import franka
from f1_ros.bringup_options import FrankaOptions
from f1_ros.nodes.qos import COMMAND
from f1_ros.supervisor import Supervisor

REPO = Path(__file__).parents[2]


def command(executable: str) -> list[str]:
    """The real nodes, but chunks from a source that needs no time to come up."""
    if executable == "perception_node":
        return [sys.executable, str(Path(__file__).with_name("chunk_source.py"))]
    return [sys.executable, "-m", f"f1_ros.nodes.{executable}"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_up_runs_the_system_and_ctrl_c_leaves_nothing_behind(ros: Any, tmp_path: Path) -> None:
    statuses = ros.collect(ControlStatus, "/f1/status", COMMAND)
    said = tmp_path / "said.txt"
    with said.open("wb") as out:
        up = subprocess.Popen(
            [sys.executable, "-m", "f1_ros.cli.main", "up", "franka", "--sim", "--policy", "none", "--teleop", "--mode",
             "teleop",
             "--domain-id", str(ros.domain), "--log-dir", str(tmp_path / "log")],
            stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        ros.until(lambda: statuses and statuses[-1].mode == ControlStatus.TELEOP, "teleoperation runs")
        pids = [int(pid) for pid in re.findall(r"started \(pid (\d+)\)", said.read_text())]
        assert len(pids) == 3
        assert all(map(alive, pids))
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=20.0) == 0
    finally:
        up.kill()
    assert not any(map(alive, pids))
    text = said.read_text()
    assert "SIGINT: ending all processes." in text
    assert "SIGKILL" not in text
    assert sorted(p.name for p in (tmp_path / "log").glob("*.log")) == [
        "action_node.log", "expert_node.log", "sim_node.log"
    ]  # fmt: skip


def test_each_process_that_is_killed_comes_back_and_the_arm_moves_again_by_request_only(
    ros: Any, tmp_path: Path
) -> None:
    statuses = ros.collect(ControlStatus, "/f1/status", COMMAND)
    commands = ros.collect(JointState, "/target_joint", COMMAND)
    system = Supervisor(
        franka(FrankaOptions(sim=True, policy=str(tmp_path), one_process=True, mode="policy")),
        log_dir=tmp_path / "log",
        command=command,
        environment={
            "ROS_DOMAIN_ID": str(ros.domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(REPO),
        },
    )

    def ask(mode: int) -> None:
        def granted() -> bool:
            system.poll(0.0)
            ros.spin(0.2)
            return bool(ros.call(SetMode, "/f1/set_mode", SetMode.Request(mode=mode)).success)

        ros.until(granted, f"mode {mode} is granted")

    with system:
        ros.until(lambda: statuses and statuses[-1].mode == ControlStatus.POLICY, "the policy rules")
        first = system.pids
        os.kill(first["perception_node"], signal.SIGKILL)
        (death,) = wait_for_death(system)
        assert death.notice == (
            "perception_node (cameras and joint state to action chunks) died: killed by SIGKILL. It is started again "
            "in 1 s (at most 5 more times); until then the robot holds by its safe action when commands are missing."
        )
        ros.until(lambda: statuses[-1].mode == ControlStatus.FAULT, "the action node notices")
        assert statuses[-1].reason == "no usable action chunk for 1 s"
        ros.until(lambda: system.poll(0.0) or "perception_node" in system.pids, "it is started again")
        ros.spin(2.5)
        assert statuses[-1].mode == ControlStatus.FAULT  # nobody has asked
        assert np.ptp([c.position for c in commands[-10:]], axis=0).max() < 1e-9
        ask(ControlStatus.HOLD)
        ask(ControlStatus.POLICY)

        os.kill(first["action_node"], signal.SIGKILL)
        (death,) = wait_for_death(system)
        assert death.notice == (
            "action_node (commands to the robot) died: killed by SIGKILL. It is started again in 1 s (at most 5 more "
            "times); until then the robot's own controller holds the last command."
        )
        assert system.running
        statuses.clear()
        ros.until(lambda: system.poll(0.0) or statuses, "it is started again")
        ros.spin(1.0)
        assert statuses[-1].mode in (ControlStatus.HOLD, ControlStatus.FAULT)  # not the initial mode: nobody has asked
        ask(ControlStatus.HOLD)
        ask(ControlStatus.POLICY)
        assert system.pids["sim_node"] == first["sim_node"]

        os.kill(first["sim_node"], signal.SIGKILL)
        (death,) = wait_for_death(system)
        assert death.notice.endswith("died: killed by SIGKILL. The whole system ends.")
        assert not system.running
    assert system.pids == {}


def wait_for_death(system: Supervisor) -> list[Any]:
    end = time.monotonic() + 20.0
    while time.monotonic() < end:
        if found := system.poll(0.1):
            return found
    raise AssertionError("Nobody died.")
