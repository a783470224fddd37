"""Robot profiles: the Franka's values, and every mistake that is refused, with file, key and remedy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from f1_ros.errors import ProfileError
from f1_ros.robots.files import profile_path
from f1_ros.robots.profile import load_profile, profile_for

FRANKA = yaml.safe_load(profile_path("franka_fr3").read_text())
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(change: Change | None = None) -> Path:
        data = json.loads(json.dumps(FRANKA))  # a copy without YAML's anchors
        if change is not None:
            change(data)
        path = tmp_path / "robot.yaml"
        path.write_text(yaml.safe_dump(data))
        return path

    return write


def joint(data: dict[str, Any], i: int) -> dict[str, Any]:
    return data["arms"][0]["joints"][i]


def test_franka_has_the_fr3_s_limits_less_the_margin() -> None:
    limits = load_profile("franka_fr3").limits
    assert limits.lower == pytest.approx((-2.7337, -1.7737, -2.8907, -3.0321, -2.7965, 0.5545, -3.0059))
    assert limits.upper == pytest.approx((2.7337, 1.7737, 2.8907, -0.1618, 2.7965, 4.5069, 3.0059))
    assert limits.velocity == (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26)
    assert limits.acceleration == (10.0,) * 7
    assert limits.jerk == (5000.0,) * 7


def test_franka_s_layout_topics_and_rates() -> None:
    profile = load_profile("franka_fr3")
    names = tuple(f"fr3_joint{i}" for i in range(1, 8))
    assert profile.joints == names
    assert profile.state_names == profile.action_names == (*names, "gripper")
    assert profile.arms[0].command.topic == "/target_joint"
    assert profile.grippers[0].command.action == "/franka_gripper/gripper_action"
    assert (profile.rates.control, profile.rates.status) == (100.0, 10.0)
    assert profile.safe_action == "hold"
    assert [c.name for c in profile.cameras] == ["front", "wrist"]
    assert profile.camera("front").accepts(640, 480)
    assert not profile.camera("front").accepts(480, 640)
    with pytest.raises(ProfileError, match="no camera 'head'"):
        profile.camera("head")


def test_scale_slows_a_bring_up_down_and_leaves_positions(write) -> None:
    limits = load_profile(write(lambda d: d.update(scale=0.2))).limits
    assert limits.velocity[0] == pytest.approx(0.524)
    assert limits.acceleration[0] == pytest.approx(2.0)
    assert limits.jerk[0] == pytest.approx(1000.0)
    assert limits.upper[0] == pytest.approx(2.7337)


REFUSED: dict[str, tuple[Change, str, str]] = {
    "unknown key": (lambda d: d.update(camera=[]), "camera", "Did you mean 'cameras'"),
    "missing key": (lambda d: d.pop("timeouts"), "timeouts", "Add 'timeouts'"),
    "missing joint": (lambda d: d["arms"][0]["joints"].pop(2), "arms[0].ready", "one for each joint"),
    "joint missing from a layout": (lambda d: d["action_names"].pop(2), "action_names", "Add 'fr3_joint3'"),
    "unknown joint in a layout": (lambda d: d["state_names"].append("head"), "state_names[8]", "Choose from"),
    "joint twice in a layout": (lambda d: d["state_names"].append("gripper"), "state_names", "once"),
    "joint defined twice": (lambda d: joint(d, 1).update(name="fr3_joint1"), "joints and grippers", "its own name"),
    "crossed limits": (lambda d: joint(d, 1).update(lower=1.8), "arms[0].joints[1]", "Swap"),
    "limits crossed by the margin": (
        lambda d: d.update(position_margin=0.5) or joint(d, 3).update(lower=-1.0),
        "arms[0].joints[3]",
        "Swap or mend",
    ),
    "degrees declared": (lambda d: joint(d, 0).update(unit="deg"), "arms[0].joints[0].unit", "Convert"),
    "degrees undeclared": (lambda d: joint(d, 0).update(upper=157.2), "arms[0].joints[0].upper", "degrees"),
    "unknown unit": (lambda d: joint(d, 0).update(unit="turns"), "arms[0].joints[0].unit", "Write rad"),
    "velocity in degrees": (lambda d: joint(d, 0).update(velocity=150.1), "arms[0].joints[0].velocity", "positive"),
    "negative acceleration": (lambda d: joint(d, 0).update(acceleration=-1.0), "arms[0].joints[0].accel", "positive"),
    "gripper in mm": (lambda d: d["grippers"][0].update(open=80.0), "grippers[0].open", "Convert to m"),
    "gripper in mm, declared": (lambda d: d["grippers"][0].update(unit="mm"), "grippers[0].unit", "Convert"),
    "crossed gripper": (lambda d: d["grippers"][0].update(closed=0.08, open=0.0), "grippers[0]", "closed < open"),
    "hysteresis of the whole stroke": (
        lambda d: d["grippers"][0].update(hysteresis=0.08),
        "grippers[0].hysteresis",
        "tenth",
    ),
    "gripper mapped to one value": (
        lambda d: d["grippers"][0]["command"].update(open=0.0),
        "grippers[0].command",
        "both ends",
    ),
    "pose outside the limits": (lambda d: d["arms"][0]["ready"].__setitem__(3, 0.0), "arms[0].ready[3]", "inside"),
    "relative topic": (
        lambda d: d["arms"][0]["command"].update(topic="target_joint"),
        "arms[0].command.topic",
        "Write /name",
    ),
    "message type not supported": (
        lambda d: d["arms"][0]["command"].update(type="std_msgs/msg/String"),
        "arms[0].command.type",
        "Correct",
    ),
    "compressed topic as Image": (
        lambda d: d["cameras"][0].update(topic="/camera/front/color/compressed"),
        "cameras[0].type",
        "CompressedImage",
    ),
    "raw topic as CompressedImage": (
        lambda d: d["cameras"][0].update(type="sensor_msgs/msg/CompressedImage"),
        "cameras[0].type",
        "CompressedImage",
    ),
    "empty picture": (lambda d: d["cameras"][0].update(sizes=[[0, 480]]), "cameras[0].sizes", "px"),
    "two cameras on a topic": (
        lambda d: d["cameras"][1].update(topic=d["cameras"][0]["topic"]),
        "camera topics",
        "its own name",
    ),
    "warning rate above the rate": (
        lambda d: d["cameras"][0].update(min_rate_hz=60),
        "cameras[0].min_rate",
        "below it",
    ),
    "name with spaces": (lambda d: d.update(name="My Franka"), "name", "lower-case"),
    "arm without joints": (lambda d: d["arms"][0].update(joints=[]), "arms[0].joints", "Give the joints"),
    "negative rate": (lambda d: d["arms"][0]["state"].update(rate_hz=-1), "arms[0].state.rate_hz", "not periodic"),
    "negative interval": (
        lambda d: d["grippers"][0].update(min_interval_s=-1),
        "grippers[0].min_interval_s",
        "0 or more",
    ),
    "negative effort": (
        lambda d: d["grippers"][0]["command"].update(max_effort=-1),
        "grippers[0].command.max_effort",
        "newtons",
    ),
    "gripper without joints": (
        lambda d: d["grippers"][0]["state"].update(joints=[]),
        "grippers[0].state.joints",
        "Name the joints",
    ),
    "open key that cannot be open": (lambda d: d.update(open={"rates.control": "?"}), "open.rates.control", "limit"),
    "no arm": (lambda d: d.update(arms=[]), "arms", "at least one"),
    "timeout shorter than the topic's period": (
        lambda d: d["timeouts"].update(joint_state=0.01),
        "timeouts.joint_state",
        "longer timeout",
    ),
    "timeout in ms": (lambda d: d["timeouts"].update(teleop=500), "timeouts.teleop", "0.01 .. 10 s"),
    "control at 1 Hz": (lambda d: d["rates"].update(control=1), "rates.control", "10 .. 1000 Hz"),
    "scale above 1": (lambda d: d.update(scale=1.5), "scale", "1 (a fraction)"),
    "unknown safe action": (lambda d: d.update(safe_action="drop"), "safe_action", "Correct"),
    "text for a number": (lambda d: joint(d, 0).update(upper="2.7"), "arms[0].joints[0].upper", "Correct"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_is_refused_naming_file_key_and_remedy(mistake, write) -> None:
    change, key, remedy = REFUSED[mistake]
    path = write(change)
    with pytest.raises(ProfileError) as refused:
        load_profile(path)
    assert str(path) in refused.value.problem
    assert f"'{key}" in refused.value.problem
    assert remedy in refused.value.remedy


def test_nan_is_refused(tmp_path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(profile_path("franka_fr3").read_text().replace("upper: 2.9007", "upper: .nan"))
    with pytest.raises(ProfileError, match=r"joints\[2\]"):
        load_profile(path)


def test_an_open_value_keeps_a_profile_from_running_and_says_what_to_find_out(write) -> None:
    def leave_open(data: dict[str, Any]) -> None:
        data["grippers"][0]["command"]["open"] = None
        data["open"] = {"grippers[0].command.open": "0-120 mm, 0-1 and 35-120 are all seen; drive it open and read it"}

    with pytest.raises(ProfileError, match=r"grippers\[0\].command.open.*is open: 0-120 mm"):
        load_profile(write(leave_open))


def test_a_value_may_be_given_and_still_be_marked_unconfirmed(write) -> None:
    path = write(lambda d: d.update(open={"arms[0].joints[0].jerk": "taken from another arm"}))
    with pytest.raises(ProfileError, match="is 5000 but unconfirmed: taken from another arm"):
        load_profile(path)


def test_a_missing_value_without_a_reason_is_refused(write) -> None:
    with pytest.raises(ProfileError, match="has no value"):
        load_profile(write(lambda d: joint(d, 0).update(jerk=None)))


def test_a_robot_with_two_arms_and_two_grippers_fits_the_schema(write) -> None:
    def second_arm(data: dict[str, Any]) -> None:
        left = data["arms"][0]
        right = json.loads(json.dumps(left))
        for arm, side in ((left, "l"), (right, "r")):
            arm["name"] = side
            arm["command"]["topic"] = f"/{side}/command"
            for j in arm["joints"]:
                j["name"] = f"{side}_{j['name']}"
        data["arms"].append(right)
        hand = json.loads(json.dumps(data["grippers"][0]))
        hand["name"], hand["command"]["action"] = "gripper_r", "/r/gripper_action"
        data["grippers"][0]["arm"], hand["arm"] = "l", "r"
        data["grippers"].append(hand)
        layout = [*(j["name"] for j in left["joints"]), "gripper", *(j["name"] for j in right["joints"]), "gripper_r"]
        data["state_names"] = data["action_names"] = layout

    profile = load_profile(write(second_arm))
    assert len(profile.action_names) == 16
    assert profile.limits.joints == len(profile.joints) == len(profile.ready) == 14


def test_a_profile_is_found_by_name_or_path(tmp_path) -> None:
    assert profile_path("franka_fr3").name == "franka_fr3.yaml"
    assert profile_path(tmp_path / "x.yaml") == tmp_path / "x.yaml"
    with pytest.raises(ProfileError, match="no robot profile 'franka'") as refused:
        load_profile("franka")
    assert "franka_fr3" in refused.value.remedy
    with pytest.raises(ProfileError, match="no such file"):
        load_profile(tmp_path / "x.yaml")


def test_a_policys_robot_is_found_by_what_policies_call_it() -> None:
    assert profile_for("franka").name == "franka_fr3"
    assert profile_for("genie1").simulated  # what it leaves open
    with pytest.raises(ProfileError, match="embodiment 'r2d2'"):
        profile_for("r2d2")
