"""`f1-ros robot new`: asks its way to a profile of a robot whose messages are known."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from f1_ros.cli.main import main
from f1_ros.errors import ProfileError
from f1_ros.paths import share_dir
from f1_ros.robots.choose import transport_for
from f1_ros.robots.new import Answers, Prompts, ask_profile
from f1_ros.robots.profile import load_profile

ANSWERS: dict[str, Any] = {
    "arm_kind": "trajectory",
    "arm.joints": ["j1", "j2", "j3"],
    "arm.lower": -2.0, "arm.upper": [2.0, 2.0, 1.5], "arm.velocity": 1.0, "arm.acceleration": 2.0, "arm.jerk": 20.0,
    "arm.state": "/joint_states",
    "arm.command": "/controller/joint_trajectory",
    "arm.gripper": "action",
    "arm.gripper_state": "/joint_states",
    "arm.gripper_command": "/gripper/gripper_cmd",
    "arm.gripper_joints": ["finger"],
    "arm.gripper_state_closed": 0.8, "arm.gripper_state_open": 0.0,
    "arm.gripper_command_closed": 0.8, "arm.gripper_command_open": 0.0,
    "arm.gripper_width": 0.085,
    "cameras": ["wrist"],
    "wrist.topic": "/camera/color/image_raw",
    "silence": "stops",
}  # fmt: skip
UNKNOWN = {
    key: value for key, value in ANSWERS.items() if key not in ("arm.jerk", "arm.gripper_command_open", "silence")
}


def written(tmp_path: Path, answers: Any) -> Path:
    path = tmp_path / "answers.yaml"
    path.write_text(yaml.safe_dump(answers))
    return path


def test_answers_make_a_profile_that_can_be_used(tmp_path, capsys) -> None:
    out = tmp_path / "mine.yaml"
    assert main(["robot", "new", "mine", "--answers", str(written(tmp_path, ANSWERS)), "--out", str(out)]) == 0
    assert "can be used" in capsys.readouterr().out
    profile = load_profile(out)
    assert profile.action_names == ("j1", "j2", "j3", "gripper")
    assert profile.limits.upper == pytest.approx((1.99, 1.99, 1.49))
    assert profile.scale == 0.2
    assert transport_for(profile).trajectory_hz == 10.0
    assert transport_for(profile).gripper_goal("gripper", 0.085).fields["command"]["position"] == 0.0


def test_what_is_not_known_stays_open_and_is_asked_for(tmp_path, capsys) -> None:
    out = tmp_path / "mine.yaml"
    assert main(["robot", "new", "mine", "--answers", str(written(tmp_path, UNKNOWN)), "--out", str(out)]) == 1
    said = capsys.readouterr().out
    for key in ("arms[0].joints[2].jerk", "grippers[0].command.open", "silence"):
        assert f"open {key}: is open" in said
    with pytest.raises(ProfileError, match="is open"):
        load_profile(out)


def test_answers_are_read_from_stdin(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump(ANSWERS)))
    monkeypatch.chdir(tmp_path)
    assert main(["robot", "new", "mine", "--answers", "-"]) == 0
    assert load_profile(tmp_path / "mine.yaml").name == "mine"


def test_a_person_is_asked_again_after_what_cannot_be_read_and_may_leave_things_open() -> None:
    typed = {
        "How are its arms commanded": ["arx_x5"],
        "Joints of 'arm'": ["a, b, c, d, e, f"],
        "lower of each": ["[-1", "-1"],
        "Topic of its state": ["/joint_information"],
        "Topic of commands": ["/joint_control"],
        "Opening width when open": ["0.088"],
    }
    said: list[str] = []

    def read(prompt: str) -> str:
        for beginning, answers in typed.items():
            if prompt.startswith(beginning) and answers:
                return answers.pop(0)
        return ""

    data = ask_profile("arx", Prompts(read, said.append))
    assert [text for text in said if "cannot be read" in text]
    assert [joint["name"] for joint in data["arms"][0]["joints"]] == list("abcdef")
    assert data["arms"][0]["joints"][5] == {"name": "f", "lower": -1.0}
    assert data["grippers"][0]["command"]["type"] == "arm_control/msg/JointControl"
    assert set(data["open"]) >= {"arms[0].joints[*].upper", "grippers[0].state.open", "silence"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"arm_kind": "telepathy"}, "'arm_kind' is 'telepathy'"),
        ({"arm.joints": None}, "'arm.joints' has no answer"),
        ({"arm.lower": [1.0, 2.0]}, "2 values for 3 joints"),
        ({"arm.gripper_width": "wide"}, "not a number"),
        ({"arm.colour": "red"}, "nothing was asked that 'arm.colour' answers"),
    ],
)
def test_answers_that_make_no_sense_are_refused(changes, problem) -> None:
    with pytest.raises(ProfileError, match=problem):
        ask_profile("mine", Answers(ANSWERS | changes, "answers.yaml"))


def test_a_profile_is_not_written_over(tmp_path, capsys) -> None:
    out = tmp_path / "mine.yaml"
    out.write_text("mine")
    assert main(["robot", "new", "mine", "--answers", str(written(tmp_path, ANSWERS)), "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_the_answers_that_the_docs_show_make_a_profile_that_can_be_used(tmp_path) -> None:
    text = (share_dir() / "docs" / "new_robot.md").read_text()
    answers = re.search(r"```yaml\n(arm_kind.*?)```", text, re.DOTALL)
    assert answers is not None
    (tmp_path / "answers.yaml").write_text(answers[1])
    out = tmp_path / "my_robot.yaml"
    assert main(["robot", "new", "my_robot", "--answers", str(tmp_path / "answers.yaml"), "--out", str(out)]) == 0
    assert load_profile(out).joints == tuple(f"joint{i}" for i in range(1, 7))
