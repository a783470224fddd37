"""Conformance judged on answers that are played: each planted mistake is caught and named, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from played_robot import Change, PlayedRobot, planted

from f1_ros.errors import ProfileError
from f1_ros.robots.choose import transport_for
from f1_ros.robots.conformance import ASKED, Check, Finding, JointTrial, LimitTrial, Mistake, Snapshot
from f1_ros.robots.conformance_mapping import (
    DEGREES,
    judge_gripper,
    judge_joint,
    judge_known_limits,
    judge_limit,
    judge_order,
)
from f1_ros.robots.conformance_streams import (
    CameraTrial,
    Endpoint,
    Role,
    expected_endpoints,
    judge_camera,
    judge_command_rate,
    judge_endpoints,
    judge_state_rates,
    known_limits,
)
from f1_ros.robots.files import read_profile
from f1_ros.robots.profile import RobotProfile, load_profile

NAMES = ["franka_fr3", "franka_panda", "genie1", "genie1_simulator", "arx_lift2_x5", "arx_lift2_acone"]
FRANKA = load_profile("franka_fr3")
MS = 1_000_000


def plant(folder: Path, name: str, change: Change | None = None) -> RobotProfile:
    return read_profile(planted(folder, name, change), simulated=True)


def wrong(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.ok]


def mapping(robot: PlayedRobot) -> list[Finding]:
    """Everything about joints and grippers."""
    findings = list(judge_order(robot.tried, robot.snapshot()))
    findings += [judge_joint(robot.tried, robot.joint_trial(name)) for name in robot.tried.joints]
    for gripper in robot.tried.grippers:
        findings += judge_gripper(robot.tried, robot.gripper_trial(gripper))
    return findings


@pytest.mark.parametrize("name", NAMES)
def test_a_robot_that_is_what_its_profile_says_passes(name: str, tmp_path: Path) -> None:
    robot = PlayedRobot(plant(tmp_path, name), name)
    findings = mapping(robot)
    assert wrong(findings) == []
    assert len([f for f in findings if f.check is Check.JOINTS]) == len(robot.tried.joints)


def test_every_check_says_what_it_asks() -> None:
    assert set(ASKED) == set(Check)


# -- the planted mistakes ---------------------------------------------------------------------------------------------


def swap_arms(data: dict[str, Any]) -> None:
    left, right = data["arms"]
    for key in ("state", "command"):
        left[key]["topic"], right[key]["topic"] = right[key]["topic"], left[key]["topic"]


def test_swapped_arms_are_named(tmp_path: Path) -> None:
    robot = PlayedRobot(plant(tmp_path, "arx_lift2_x5", swap_arms), "arx_lift2_x5")
    finding = judge_joint(robot.tried, robot.joint_trial("left_joint1"))
    assert finding.mistake is Mistake.SWAPPED_ARMS
    assert finding.problem == "right_joint1 moves in its place"


def test_the_grippers_of_swapped_arms_are_named(tmp_path: Path) -> None:
    def swap(data: dict[str, Any]) -> None:
        swap_arms(data)
        left, right = data["grippers"]
        for key in ("state", "command"):
            left[key]["topic"], right[key]["topic"] = right[key]["topic"], left[key]["topic"]

    robot = PlayedRobot(plant(tmp_path, "arx_lift2_x5", swap), "arx_lift2_x5")
    command, state = judge_gripper(robot.tried, robot.gripper_trial(robot.tried.grippers[0]))
    assert (command.problem, command.mistake) == ("right_gripper moves in its place", Mistake.SWAPPED_ARMS)
    assert state.ok, "it reads the gripper that it moves"


def test_arms_whose_commands_alone_are_swapped_are_named(tmp_path: Path) -> None:
    def swap(data: dict[str, Any]) -> None:
        left, right = data["arms"]
        left["command"]["topic"], right["command"]["topic"] = right["command"]["topic"], left["command"]["topic"]

    robot = PlayedRobot(plant(tmp_path, "arx_lift2_x5", swap), "arx_lift2_x5")
    before = robot.snapshot()
    joints = {name: before.measured[name] for name in robot.tried.joints}
    robot.joints |= {name.replace("left", "right"): v for name, v in joints.items() if name.startswith("left")}
    finding = judge_joint(robot.tried, robot.joint_trial("left_joint2"))
    assert finding.mistake is Mistake.SWAPPED_ARMS


def test_the_sign_of_a_gripper_is_named(tmp_path: Path) -> None:
    """An AC-one's motor is negative when open, an X5's is not."""

    def flip(data: dict[str, Any]) -> None:
        data["grippers"][0]["command"]["open"] = 3.4

    robot = PlayedRobot(plant(tmp_path, "arx_lift2_acone", flip), "arx_lift2_acone")
    (gripper, _) = robot.tried.grippers
    findings = judge_gripper(robot.tried, robot.gripper_trial(gripper))
    assert [f.mistake for f in wrong(findings)] == [Mistake.SIGN]
    assert findings[0].subject == "left_gripper"


def test_a_gripper_whose_ends_are_exchanged_goes_the_other_way(tmp_path: Path) -> None:
    def exchange(data: dict[str, Any]) -> None:
        data["grippers"][0]["command"] |= {"closed": 0.04, "open": 0.0}

    robot = PlayedRobot(plant(tmp_path, "franka_fr3", exchange), "franka_fr3")
    findings = judge_gripper(robot.tried, robot.gripper_trial(robot.tried.grippers[0]))
    assert [f.mistake for f in wrong(findings)] == [Mistake.SIGN]
    assert "the other way" in findings[0].problem


def test_a_joint_that_turns_the_wrong_way_is_named() -> None:
    trial = JointTrial(
        "fr3_joint1", 0.1, Snapshot({"fr3_joint1": 0.5}, {"fr3_joint1": 0.5}),
        Snapshot({"fr3_joint1": 0.4}, {"fr3_joint1": 0.4}),
    )  # fmt: skip
    finding = judge_joint(FRANKA, trial)
    assert finding.mistake is Mistake.SIGN
    assert "-0.1000 rad instead of +0.1 rad" in finding.problem


def test_a_driver_in_degrees_is_named_by_what_it_reads(tmp_path: Path) -> None:
    robot = PlayedRobot(plant(tmp_path, "franka_fr3"), "franka_fr3", state_factor=DEGREES)
    (finding,) = judge_order(robot.tried, robot.snapshot())
    assert finding.mistake is Mistake.UNIT


def test_a_driver_in_degrees_is_named_by_how_far_it_goes() -> None:
    names = dict.fromkeys(FRANKA.joints, 0.5)
    moved = {**names, "fr3_joint2": 0.5 + 0.1 / DEGREES}
    finding = judge_joint(FRANKA, JointTrial("fr3_joint2", 0.1, Snapshot(names, names), Snapshot(moved, moved)))
    assert finding.mistake is Mistake.UNIT


def test_the_range_of_a_gripper_is_named(tmp_path: Path) -> None:
    def narrow(data: dict[str, Any]) -> None:
        data["grippers"][0]["command"]["open"] = 0.02

    robot = PlayedRobot(plant(tmp_path, "franka_fr3", narrow), "franka_fr3")
    findings = judge_gripper(robot.tried, robot.gripper_trial(robot.tried.grippers[0]))
    assert [f.mistake for f in wrong(findings)] == [Mistake.GRIPPER_RANGE]
    assert findings[0].problem == "opens to 0.040 m when it is told 0.080 m"


def test_the_range_of_a_gripper_s_state_is_named(tmp_path: Path) -> None:
    def widen(data: dict[str, Any]) -> None:
        data["grippers"][0]["state"]["open"] = 0.16

    robot = PlayedRobot(plant(tmp_path, "franka_fr3", widen), "franka_fr3")
    findings = judge_gripper(robot.tried, robot.gripper_trial(robot.tried.grippers[0]))
    assert [(f.subject, f.mistake) for f in wrong(findings)] == [("state of gripper", Mistake.GRIPPER_RANGE)]


def swap_joints(data: dict[str, Any]) -> None:
    joints = data["arms"][0]["joints"]
    joints[3], joints[5] = joints[5], joints[3]


def test_the_order_of_joints_is_named(tmp_path: Path) -> None:
    robot = PlayedRobot(plant(tmp_path, "genie1", swap_joints), "genie1")
    finding = judge_joint(robot.tried, robot.joint_trial("idx24_arm_l_joint4"))
    assert finding.mistake is Mistake.JOINT_ORDER
    assert finding.problem == "idx26_arm_l_joint6 moves in its place"
    (left, right) = judge_order(robot.tried, robot.snapshot())
    assert left.mistake is Mistake.JOINT_ORDER
    assert right.ok


def frames(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8)


def stamps(hz: float, count: int = 20) -> list[int]:
    return [round(i * 1e9 / hz) for i in range(count)]


def test_the_order_of_cameras_is_named() -> None:
    rendered = {"front": frames(1), "wrist": frames(2)}
    right = judge_camera(FRANKA.camera("front"), CameraTrial("front", stamps(20.0), rendered["front"], rendered))
    assert wrong(right) == []
    swapped = judge_camera(FRANKA.camera("front"), CameraTrial("front", stamps(20.0), rendered["wrist"], rendered))
    (finding,) = wrong(swapped)
    assert finding.mistake is Mistake.CAMERA_ORDER
    assert finding.problem == "shows what the twin renders for 'wrist'"
    (finding,) = wrong(judge_camera(FRANKA.camera("front"), CameraTrial("front", stamps(20.0), frames(3), rendered)))
    assert finding.mistake is None
    (finding,) = wrong(judge_camera(FRANKA.camera("front"), CameraTrial("front", stamps(20.0), rendered["front"])))
    assert finding.problem == "there is nothing to compare its picture with"
    asked = CameraTrial("front", stamps(20.0), rendered["front"], recognised=False)
    (finding,) = wrong(judge_camera(FRANKA.camera("front"), asked))
    assert finding.mistake is Mistake.CAMERA_ORDER


@pytest.mark.parametrize(("hz", "ok"), [(100.0, True), (85.0, True), (50.0, False), (500.0, False)])
def test_a_wrong_rate_is_named(hz: float, ok: bool) -> None:
    topics = {"/franka/joint_states": stamps(hz), "/franka_gripper/joint_states": stamps(15.0)}
    arm, hand = judge_state_rates(FRANKA, topics)
    assert hand.ok
    assert arm.ok is ok
    assert arm.mistake is (None if ok else Mistake.RATE)
    command = judge_command_rate(FRANKA, "/target_joint", stamps(hz))
    assert (command.ok, command.mistake) == (arm.ok, arm.mistake)


def test_lost_messages_are_no_wrong_rate_and_silence_is_none() -> None:
    topics = {"/franka/joint_states": stamps(100.0, 40)[:7] + stamps(100.0, 40)[15:]}
    arm, hand = judge_state_rates(FRANKA, topics)
    assert arm.ok
    assert hand.problem == "0 messages came, too few"
    back, _ = judge_state_rates(FRANKA, {"/franka/joint_states": [*stamps(100.0), 0]})
    assert "back in time" in back.problem


def test_a_slow_camera_and_a_strange_size_are_told() -> None:
    rendered = {"front": frames(1)}
    (finding,) = wrong(
        judge_camera(FRANKA.camera("front"), CameraTrial("front", stamps(5.0), rendered["front"], rendered))
    )
    assert finding.mistake is Mistake.RATE
    strange = np.zeros((48, 48, 3), np.uint8)
    findings = wrong(judge_camera(FRANKA.camera("front"), CameraTrial("front", stamps(20.0), strange, rendered)))
    assert "48x48" in findings[0].problem
    (finding,) = judge_camera(FRANKA.camera("front"), CameraTrial("front", []))
    assert "too few pictures" in finding.problem


def test_a_wrong_topic_type_is_named() -> None:
    expected = expected_endpoints(FRANKA, transport_for(FRANKA))
    assert Endpoint("/target_joint", Role.SUBSCRIBES, "sensor_msgs/msg/JointState") in expected
    assert wrong(list(judge_endpoints(expected, expected))) == []
    other = [
        Endpoint(e.name, e.role, "std_msgs/msg/Float64MultiArray") if e.name == "/target_joint" else e for e in expected
    ]
    (finding,) = wrong(list(judge_endpoints(expected, other)))
    assert finding.mistake is Mistake.TYPE
    assert finding.subject == "/target_joint"
    (finding,) = wrong(list(judge_endpoints(expected, expected[1:])))
    assert finding.problem == "nobody publishes it"
    assert finding.mistake is None


URDF = """<robot name="r"><joint name="fr3_joint7" type="revolute"><limit lower="-3.0159" upper="3.0159"/></joint>
<joint name="lens" type="fixed"/></robot>"""


def test_a_limit_that_is_too_wide_is_named(tmp_path: Path) -> None:
    def widen(data: dict[str, Any]) -> None:
        data["arms"][0]["joints"][6]["upper"] = 3.3

    known = known_limits(URDF)
    assert known == {"fr3_joint7": (-3.0159, 3.0159)}
    (fine,) = judge_known_limits(FRANKA, known)
    assert fine.ok
    (finding,) = judge_known_limits(plant(tmp_path, "franka_fr3", widen), known)
    assert finding.mistake is Mistake.LIMIT
    assert finding.problem.startswith("fr3_joint7 is allowed 0.284 rad more")
    stopped = judge_limit(LimitTrial("fr3_joint7", 3.59, 3.29, 3.29, 3.02))
    assert stopped.mistake is Mistake.LIMIT
    (unknown,) = judge_known_limits(FRANKA, {})
    assert (unknown.ok, unknown.goal) == (True, "")
    with pytest.raises(ProfileError, match="cannot be read"):
        known_limits("<robot>")


@pytest.mark.parametrize(
    ("trial", "says"),
    [
        (LimitTrial("j", 3.3, 3.0, 3.0, 2.995), ""),
        (LimitTrial("j", -3.3, -3.0, -3.0, -2.995), ""),
        (LimitTrial("j", 3.3, 3.0, 3.001, 3.0), "was commanded 0.0010 rad beyond its limit"),
        (LimitTrial("j", -3.3, -3.0, -3.0, -3.05), "went 0.050 rad beyond its limit"),
        (LimitTrial("j", 3.3, 3.0, 2.5, 2.5), "came only to 2.500 rad, its command to 2.500 rad"),
        (LimitTrial("j", 3.3, 3.0, 2.5, 2.5, "FAULT: j does not follow"), "FAULT: j does not follow"),
    ],
)
def test_a_command_beyond_is_cut_and_not_gone_to(trial: LimitTrial, says: str) -> None:
    assert judge_limit(trial).problem == says


def test_the_document_says_what_each_check_asks_and_which_mistakes_are_named() -> None:
    document = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text()
    for check, asks in ASKED.items():
        assert f"| `{check.value}` | {asks} |" in document
    for mistake in Mistake:
        assert f"| {mistake.value} |" in document
