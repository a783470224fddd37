"""The shipped robots: what is known of each, what is open, and that a simulation's values stay in the simulation."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from f1_ros.cli.main import main
from f1_ros.errors import ProfileError
from f1_ros.paths import share_dir
from f1_ros.robots.choose import transport_for
from f1_ros.robots.files import matches, profile_path, read_profile
from f1_ros.robots.profile import load_profile, profile_for

FOLDER = share_dir() / "config" / "robots"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
OPEN = ("arx_lift2_acone", "arx_lift2_x5", "genie1", "genie1_simulator")


def test_each_robot_is_described_on_one_page() -> None:
    assert NAMES == [*OPEN[:2], "franka_fr3", "franka_panda", *OPEN[2:]]
    lengths = {name: len((FOLDER / f"{name}.yaml").read_text().splitlines()) for name in NAMES}
    assert {name: n for name, n in lengths.items() if n > 60} == {}


@pytest.mark.parametrize(
    ("name", "size", "order"),
    [
        ("franka_fr3", 8, ["fr3_joint1", "fr3_joint7", "gripper"]),
        ("franka_panda", 8, ["panda_joint1", "panda_joint7", "gripper"]),
        ("genie1", 16, ["idx21_arm_l_joint1", "left_gripper", "idx61_arm_r_joint1", "right_gripper"]),
        ("genie1_simulator", 16, ["idx21_arm_l_joint1", "left_gripper", "idx61_arm_r_joint1", "right_gripper"]),
        ("arx_lift2_x5", 14, ["left_joint1", "left_gripper", "right_joint1", "right_gripper"]),
        ("arx_lift2_acone", 14, ["left_joint1", "left_gripper", "right_joint1", "right_gripper"]),
    ],
)
def test_the_order_of_an_action_is_that_of_public_deployments(name, size, order) -> None:
    names = load_profile(name, simulated=True).action_names
    assert len(names) == size
    assert [name for name in names if name in order] == order
    assert names[-1] == order[-1]


@pytest.mark.parametrize("name", OPEN)
def test_what_no_source_gives_is_asked_for_and_keeps_a_robot_from_running(name, tmp_path, capsys) -> None:
    with pytest.raises(ProfileError, match=r"acceleration'|lower'"):
        load_profile(name)
    assert main(["robot", "check", name, "--json", str(tmp_path / "found.json")]) == 1
    problems = json.loads((tmp_path / "found.json").read_text())["problems"]
    assert problems
    assert all(p["open"] and p["remedy"] for p in problems), "nothing is wrong but what is not known"
    keys = {p["key"] for p in problems}
    assert "arms[1].joints[0].jerk" in keys
    assert "grippers[0].command.open" in keys
    assert ("silence" in keys) == name.startswith("genie1")
    assert ("arms[0].joints[5].lower" in keys) == (name == "arx_lift2_acone")
    assert main(["robot", "check", name, "--sim"]) == 0
    assert "can be used in the simulation" in capsys.readouterr().out


@pytest.mark.parametrize("name", OPEN)
def test_a_simulation_s_values_are_marked_as_its_own(name) -> None:
    profile = load_profile(name, simulated=True)
    assert profile.simulated is not None
    assert any(matches(key, "arms[0].joints[0].jerk") for key in profile.simulated)
    assert any(matches(key, "grippers[0].command.open") for key in profile.simulated)
    assert load_profile("franka_fr3").simulated is None
    assert load_profile("franka_fr3", simulated=True).simulated == ()


def with_overlay(tmp_path: Path, values: dict[str, Any], **changes: Any) -> Path:
    (tmp_path / "sim").mkdir(exist_ok=True)
    data = yaml.safe_load(profile_path("genie1").read_text()) | changes
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(data))
    (tmp_path / "sim" / "robot.yaml").write_text(yaml.safe_dump({"values": values}))
    return tmp_path / "robot.yaml"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"arms[0].joints[0].velocity": 9.0}, r"'arms\[0\].joints\[0\].velocity' is not open"),
        ({"max_tracking_error": 3.0}, "'max_tracking_error' is not open"),
        ({"splice_speed": 0.0}, "'splice_speed' is not open"),
        ({"legs[*].joints[*].jerk": 9.0}, "the profile has no key 'legs"),
        ({"arms[*].joints[*].jrek": 9.0}, r"'arms\[0\].joints\[0\].jrek' is not open"),
        ({"arms[*].joints[*].jerk": 9.0}, r"key 'arms\[0\].joints\[0\].acceleration': has no value"),
    ],
)
def test_a_simulation_gives_what_is_open_and_nothing_else(tmp_path, values, problem) -> None:
    path = with_overlay(tmp_path, values)
    with pytest.raises(ProfileError, match=problem):
        load_profile(path, simulated=True)


def test_a_profile_cannot_claim_to_be_simulated(tmp_path) -> None:
    path = with_overlay(tmp_path, {}, simulated=["silence"])
    for simulated in (False, True):
        with pytest.raises(ProfileError, match="unknown key 'simulated'"):
            load_profile(path, simulated=simulated)


def test_commands_are_held_back_before_genie_refuses_them() -> None:
    profile = load_profile("genie1", simulated=True)
    assert profile.lead < profile.refused_beyond == 0.2618


def test_a_policy_for_genie_runs_in_its_simulator_too() -> None:
    genie, simulator = (load_profile(name, simulated=True) for name in ("genie1", "genie1_simulator"))
    assert genie.embodiment == simulator.embodiment
    assert genie.action_names == simulator.action_names
    assert genie.state_names == simulator.state_names
    assert [camera.name for camera in genie.cameras] == [camera.name for camera in simulator.cameras]
    assert [joint.lower for arm in genie.arms for joint in arm.joints] == [
        joint.lower for arm in simulator.arms for joint in arm.joints
    ]
    assert profile_for("genie1").name == "genie1"


def test_arms_that_share_a_topic_are_read_together_and_others_from_the_echo() -> None:
    genie, x5 = (load_profile(name, simulated=True) for name in ("genie1", "arx_lift2_x5"))
    assert genie.command_topics == {"/wbc/arm_command": genie.joints}
    assert x5.command_topics == {"joint_command": x5.joints}
    echo = [out for out in transport_for(x5).outgoing if out.topic == "joint_command"]
    assert [out.type for out in echo] == ["sensor_msgs/msg/JointState"]


Change = Any
WRONG: dict[str, tuple[str, Change, str, str]] = {
    "arms of one topic that differ": (
        "genie1", lambda d: d["arms"][1].update(command=d["arms"][1]["command"] | {"rate_hz": 10}),
        "arms[0].command", "differs from that of arm 'right'",
    ),
    "a gripper of no arm": (
        "genie1", lambda d: d["grippers"][0].update(arm="middle"), "grippers[0].arm", "'middle' is no arm",
    ),
    "a gripper in the other arm's message": (
        "arx_lift2_x5", lambda d: d["grippers"][0]["command"].update(topic="/joint_control2"),
        "grippers[0].command.topic", "its own arm's gripper",
    ),
    "a gripper's type in a message of another": (
        "arx_lift2_x5", lambda d: d["grippers"][0]["command"].update(type="sensor_msgs/msg/JointState", joint="g"),
        "grippers[0].command.type", "is not that of arm 'left'",
    ),
    "an arm of seven joints in an ARX message": (
        "arx_lift2_x5", lambda d: d["arms"][0]["joints"].append({"name": "seventh"}), "arms[0].state.type", "6 joints",
    ),
    "both ARX arms on a topic": (
        "arx_lift2_x5", lambda d: d["arms"][1]["command"].update(topic="/joint_control"),
        "arms[0].command.topic", "is of one arm",
    ),
    "a streamed gripper with an action": (
        "genie1", lambda d: d["grippers"][0]["command"].update(action="/grip"),
        "grippers[0].command.action", "not used",
    ),
    "a streamed gripper without its name": (
        "genie1", lambda d: d["grippers"][0]["command"].pop("joint"), "grippers[0].command.joint", "is not given",
    ),
    "an action that is streamed to": (
        "franka_fr3", lambda d: d["grippers"][0].pop("min_interval_s"), "grippers[0].min_interval_s", "hang",
    ),
    "a lead beyond what the robot takes": (
        "genie1", lambda d: d.update(max_tracking_error=0.3), "max_tracking_error", "the robot refuses 0.2618 rad",
    ),
    "a waist in centimetres": (
        "genie1", lambda d: d["fixed"][0].update(value=30.0), "fixed[0].value", "outside the limits",
    ),
    "a lift above its column": (
        "arx_lift2_x5", lambda d: d["body"].update(height=0.6), "body.height", "outside 0 .. 0.48 m",
    ),
    "a fast lift": ("arx_lift2_x5", lambda d: d["body"].update(speed=2.0), "body.speed", "is not in (0, 0.5]"),
    "a controller without its manager": (
        "franka_fr3", lambda d: d["franka"].update(controller="jic"), "franka.manager", "is not given",
    ),
    "trajectories at the control rate": (
        "franka_fr3", lambda d: d["arms"][0].update(
            command={"topic": "/t", "type": "trajectory_msgs/msg/JointTrajectory", "rate_hz": 100}
        ), "arms[0].command.rate_hz", "no rate for trajectories",
    ),
    "a below that is for another type": (
        "franka_fr3", lambda d: d["arms"][0]["command"].update(below="impedance"), "arms[0].command.below", "is for",
    ),
    "a silence that is none of those known": (
        "franka_fr3", lambda d: d.update(silence="explodes"), "silence", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_in_what_messages_carry_is_found(mistake, tmp_path) -> None:
    name, change, key, problem = WRONG[mistake]
    data = json.loads(json.dumps(yaml.safe_load(profile_path(name).read_text())))
    change(data)
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(data))
    main(["robot", "check", str(tmp_path / "robot.yaml"), "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())["problems"]
    assert [p for p in found if p["key"].startswith(key) or f"'{key}'" in p["problem"] if problem in p["problem"]], (
        found
    )


@pytest.mark.parametrize("name", NAMES)
def test_show_says_where_each_of_the_32_numbers_goes(name, capsys) -> None:
    assert main(["robot", "show", name]) == 0
    said = capsys.readouterr().out
    profile = read_profile(profile_path(name))
    rows = [line for line in said.splitlines() if line.startswith("| ") and line.split("|")[1].strip()[:1].isdigit()]
    numbers = [row.split("|")[1].strip() for row in rows]
    size = len(profile.action_names)
    assert numbers == [*map(str, range(size)), f"{size} to 31"]
    for row, action in zip(rows, profile.action_names, strict=False):
        assert f"`{action}`" in row
        assert "rad" in row or "m of opening width" in row
    for key in profile.open:
        assert f"Open, `{key}`" in said
    assert ("gravity_compensation" in said) == name.startswith("arx")
    assert ("0.2618" in said) == (name == "genie1")
