"""`f1-ros robot conformance` with real processes: the Franka's twin passes, and a profile's mistakes are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sensor_msgs.msg import JointState

from f1_ros.cli.conformance import Terminal
from f1_ros.errors import BringUpError
from f1_ros.nodes.conformance.run import check_packages, check_profile
from f1_ros.nodes.conformance.system import subject
from f1_ros.nodes.interfaces import interface
from f1_ros.nodes.qos import COMMAND
from f1_ros.robots.conformance import Check, Mistake
from f1_ros.robots.files import profile_path, read_profile

REPO = Path(__file__).parents[2]
Change = Callable[[dict[str, Any]], object]


def planted(folder: Path, name: str, change: Change) -> Path:
    data = yaml.safe_load(profile_path(name).read_text())
    change(data)
    overlay = profile_path(name).parent / "sim" / f"{name}.yaml"
    if overlay.is_file():
        (folder / "sim").mkdir(exist_ok=True)
        (folder / "sim" / overlay.name).write_text(overlay.read_text())
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def conformance(folder: Path, profile: str | Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run the command; gives what it writes, with the exit status and the output."""
    environment = {**os.environ, "PYTHONPATH": str(REPO), **environment}
    done = subprocess.run(
        [sys.executable, "-m", "f1_ros", "robot", "conformance", str(profile), "--json", str(folder / "out.json"),
         "--log-dir", str(folder / "logs"), *arguments],
        capture_output=True, text=True, check=False, cwd=REPO, env=environment,
    )  # fmt: skip
    assert (folder / "out.json").is_file(), done.stdout + done.stderr
    written: dict[str, Any] = json.loads((folder / "out.json").read_text())
    assert done.returncode == (0 if written["ok"] else 1), done.stderr
    return {**written, "output": done.stdout}


def problems(written: dict[str, Any]) -> dict[str, str]:
    return {f"{f['check']}: {f['subject']}": f["problem"] for f in written["findings"] if not f["ok"]}


def named(written: dict[str, Any]) -> set[str]:
    return set(written["mistakes"])


def test_the_franka_s_twin_passes_its_profile(tmp_path: Path) -> None:
    written = conformance(tmp_path, "franka_fr3")
    assert problems(written) == {}
    assert written["mistakes"] == []
    assert set(written["checks"]) == {check.value for check in Check}
    joints = [f for f in written["findings"] if f["check"] == "joints"]
    assert len(joints) == 7
    assert all(abs(abs(f["value"]) - 0.1) < 0.02 for f in joints)


def test_mistakes_of_a_profile_are_named_in_the_running_system(tmp_path: Path) -> None:
    def mistakes(data: dict[str, Any]) -> None:
        data["arms"][0]["state"]["rate_hz"] = 500
        data["arms"][0]["joints"][6]["upper"] = 3.3
        data["grippers"][0]["command"]["open"] = 0.02
        front, wrist = data["cameras"]
        front["topic"], wrist["topic"] = wrist["topic"], front["topic"]

    path = planted(tmp_path, "franka_fr3", mistakes)
    chosen = [word for name in ("state", "cameras", "limits", "grippers") for word in ("--check", name)]
    written = conformance(tmp_path, path, *chosen)
    assert named(written) == {
        mistake.value for mistake in (Mistake.RATE, Mistake.LIMIT, Mistake.GRIPPER_RANGE, Mistake.CAMERA_ORDER)
    }
    found = problems(written)
    assert found["cameras: view of front"] == "shows what the twin renders for 'wrist'"
    assert "the profile says 500 Hz" in found["state: rate of /franka/joint_states"]
    assert found["limits: fr3_joint7 upper"].startswith("stops at 3.0")
    assert "opens to 0.0" in found["grippers: gripper"]
    assert "[gripper range]" in written["output"]


def test_an_fr3_s_limit_is_too_wide_for_a_panda(tmp_path: Path) -> None:
    """And its hand, which grasps to close and moves to open, does as it is told."""
    path = planted(tmp_path, "franka_panda", lambda data: data["arms"][0]["joints"][6].update(upper=3.0159))
    written = conformance(tmp_path, path, "--check", "limits", "--check", "grippers")
    assert named(written) == {Mistake.LIMIT.value}
    found = problems(written)
    assert set(found) == {"limits: range of arm", "limits: panda_joint7 upper"}
    assert "2.8973 rad" in found["limits: range of arm"]


def test_joints_in_another_order_are_named_in_the_running_system(tmp_path: Path) -> None:
    def mistake(data: dict[str, Any]) -> None:
        joints = data["arms"][0]["joints"]  # Genie-1's messages are read by their order
        joints[3], joints[5] = joints[5], joints[3]

    path = planted(tmp_path, "genie1", mistake)
    written = conformance(tmp_path, path, "--check", "state")
    assert named(written) == {Mistake.JOINT_ORDER.value}
    assert list(problems(written)) == ["state: order of left"]


def test_swapped_arms_and_a_gripper_s_sign_are_named_in_the_running_system(tmp_path: Path) -> None:
    def mistake(data: dict[str, Any]) -> None:
        for pair in (data["arms"], data["grippers"]):
            left, right = pair
            for key in ("state", "command"):
                left[key]["topic"], right[key]["topic"] = right[key]["topic"], left[key]["topic"]
        data["grippers"][0]["command"]["open"] = 3.4  # as an X5's, which is positive

    written = conformance(tmp_path, planted(tmp_path, "arx_lift2_acone", mistake), "--check", "grippers")
    found = {f["subject"]: f["mistake"] for f in written["findings"] if f["check"] == "grippers"}
    assert found["right_gripper"] == Mistake.SWAPPED_ARMS.value
    assert found["left_gripper"] == Mistake.SIGN.value


def test_a_wrong_type_is_named_though_nothing_then_moves(tmp_path: Path) -> None:
    def mistake(data: dict[str, Any]) -> None:
        data["arms"][0]["command"] |= {"type": "trajectory_msgs/msg/JointTrajectory", "rate_hz": 10}

    written = conformance(tmp_path, planted(tmp_path, "franka_fr3", mistake), "--check", "topics")
    assert named(written) == {Mistake.TYPE.value}
    assert list(problems(written)) == ["topics: /target_joint"]


def test_a_missing_vendor_package_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    package = tmp_path / "hidden" / "genie_msgs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('not installed')\n")
    written = conformance(tmp_path, "genie1", PYTHONPATH=f"{package.parent}:{REPO}")
    assert named(written) == {Mistake.PACKAGE.value}
    assert not (tmp_path / "logs").exists()
    assert "genie_msgs is not there" in written["output"]
    assert written["checks"]["joints"]["passed"] is False


def test_degrees_in_a_profile_are_named(tmp_path: Path) -> None:
    def mistake(data: dict[str, Any]) -> None:
        data["arms"][0]["joints"][0] |= {"lower": -157.2, "upper": 157.2}

    profile = read_profile(planted(tmp_path, "franka_fr3", mistake), simulated=True)
    findings = list(check_profile(profile))
    assert {finding.mistake for finding in findings} == {Mistake.UNIT}
    assert all(finding.remedy for finding in findings)


def test_a_package_that_is_there_is_no_finding_against_it() -> None:
    interface.cache_clear()
    (finding,) = check_packages(read_profile(profile_path("franka_fr3"), simulated=True))
    assert finding.ok


def test_a_robot_is_moved_slowly_whatever_its_profile_says(tmp_path: Path) -> None:
    tried = subject("franka_fr3", "", real=True, folder=tmp_path)
    assert tried.profile.scale == 0.1
    assert tried.profile.limits.velocity[0] == pytest.approx(0.262)
    (process,) = tried.describe().processes
    assert process.name == "action_node"
    assert process.parameters == {"profile": str(tmp_path / "franka_fr3.yaml"), "use_sim_time": False}

    slow = planted(tmp_path, "franka_fr3", lambda data: data.update(scale=0.05))
    assert subject(str(slow), "", real=True, folder=tmp_path / "copy").profile.scale == 0.05


def test_a_robot_moves_only_as_a_person_confirms_and_at_a_tenth_of_its_speed(ros: Any, tmp_path: Path) -> None:
    commands = ros.collect(JointState, "/target_joint", COMMAND)
    ros.start("stand_in_node", camera_rate=1.0)
    # The stand-in has neither Franka's mode nor its recovery, and while a topic is missing no robot is moved.
    out, profile = tmp_path / "out.json", planted(tmp_path, "franka_fr3", lambda data: data.pop("franka"))
    environment = {**os.environ, "PYTHONPATH": str(REPO), "ROS_DOMAIN_ID": str(ros.domain)}
    with subprocess.Popen(
        [sys.executable, "-m", "f1_ros", "robot", "conformance", str(profile), "--real", "--check", "joints",
         "--json", str(out), "--log-dir", str(tmp_path / "logs")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPO, env=environment,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("yes\nn\n" + "no\n" * 6)  # the first joint, which the person then did not see alone
        process.stdin.close()
        ros.until(lambda: process.poll() is not None, "all joints are asked for")
        assert process.returncode == 1, process.stdout.read()
    found = problems(json.loads(out.read_text()))
    assert found["joints: fr3_joint1"] == "the person did not see it move alone"
    refused = [f"joints: fr3_joint{i}" for i in range(2, 8)]
    assert all(found[subject] == "not run: the person did not confirm the motion" for subject in refused)
    positions = np.array([command.position for command in commands])
    assert np.ptp(positions[:, 0]) == pytest.approx(0.1, abs=0.01)
    assert np.ptp(positions[:, 1:], axis=0).max() < 1e-6
    assert max(abs(np.array(command.velocity)).max() for command in commands) <= 0.262


def test_a_robot_whose_topics_are_wrong_is_not_moved(ros: Any, tmp_path: Path) -> None:
    commands = ros.collect(JointState, "/target_joint", COMMAND)
    ros.start("stand_in_node", camera_rate=1.0)
    written = conformance(tmp_path, "franka_fr3", "--real", "--check", "joints", ROS_DOMAIN_ID=str(ros.domain))
    found = problems(written)
    assert found["topics: /action_server/error_recovery"] == "nobody serves it"
    assert found["joints: "] == "not run: a robot is not moved while what stands above is wrong"
    ros.spin(0.5)
    assert np.ptp([command.position for command in commands] or [[0.0]], axis=0).max() < 1e-6


def test_the_twin_keeps_its_own_profile(tmp_path: Path) -> None:
    path = planted(tmp_path, "franka_fr3", lambda data: data.update(scale=0.5))
    tried = subject(str(path), "", real=False, folder=tmp_path)
    parameters = {process.name: process.parameters for process in tried.describe().processes}
    assert set(parameters) == {"sim_node", "action_node"}
    assert parameters["sim_node"]["profile"] == "franka_fr3"
    assert parameters["action_node"]["profile"] == str(path)
    with pytest.raises(BringUpError, match="no twin of 'robot'"):
        subject(str(planted(tmp_path, "franka_fr3", lambda d: d.update(name="robot"))), "", real=False, folder=tmp_path)


def test_only_a_whole_yes_moves_a_robot(tmp_path: Path) -> None:
    answers = iter(["y", "yes ", "YES", "", "no", "y", "n"])
    person = Terminal(lambda question: next(answers), lambda line: None, tmp_path)
    assert [person.confirm("Move") for _ in range(5)] == [False, True, True, False, False]
    assert person.saw("Did it?") is True
    assert person.saw("Did it?") is False

    def nobody(question: str) -> str:
        raise EOFError

    with pytest.raises(BringUpError, match="Nobody answers"):
        Terminal(nobody, lambda line: None, tmp_path).confirm("Move")
