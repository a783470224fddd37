"""`f1-ros robot check`: all findings at once, in the report's shape."""

import json
from pathlib import Path

import pytest

from f1_ros.cli.main import main
from f1_ros.robots.files import profile_path

FRANKA = profile_path("franka_fr3").read_text()


def check(tmp_path: Path, text: str) -> tuple[int, dict]:
    (tmp_path / "robot.yaml").write_text(text)
    status = main(["robot", "check", str(tmp_path / "robot.yaml"), "--json", str(tmp_path / "out.json")])
    return status, json.loads((tmp_path / "out.json").read_text())


def test_the_shipped_profile_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robot", "check", "franka_fr3"]) == 0
    assert "can be used" in capsys.readouterr().out


def test_all_problems_are_listed_not_only_the_first(tmp_path, capsys) -> None:
    text = FRANKA.replace("upper: 2.7437", "upper: 157.2").replace("open: 0.08,", "open: 80.0,", 1)
    text = text.replace("match_tolerance_s: 0.02", "match_tolerance_s: 20")
    status, report = check(tmp_path, text)
    assert status == 1
    assert report["ok"] is False
    assert [p["key"] for p in report["problems"]] == [
        "arms[0].joints[0].upper",
        "grippers[0].open",
        "match_tolerance_s",
    ]
    assert all(p["remedy"] for p in report["problems"])
    out = capsys.readouterr().out
    assert "- grippers[0].open: 80 m looks like another unit. Remedy: Is it mm? Convert to m." in out
    assert "cannot be used yet" in out


def test_all_mistakes_of_the_schema_are_listed(tmp_path) -> None:
    text = FRANKA.replace("safe_action: hold", "safe_action: drop").replace("scale: 1.0", "scael: 1.0")
    status, report = check(tmp_path, text)
    assert status == 1
    found = " ".join(p["problem"] for p in report["problems"])
    assert "'scael'" in found
    assert "'safe_action'" in found


def test_open_values_are_asked_for(tmp_path, capsys) -> None:
    text = FRANKA.replace("open: 0.04", "open: null")
    text += "open: {'grippers[0].command.open': 'drive the hand open and read the joint'}\n"
    status, report = check(tmp_path, text)
    assert status == 1
    values = {r["name"]: r["value"] for r in report["results"]}
    assert (values["problems"], values["open_values"]) == (0, 1)
    assert "open grippers[0].command.open: is open: drive the hand open" in capsys.readouterr().out


def test_a_name_that_does_not_exist_is_an_error(capsys) -> None:
    assert main(["robot", "check", "nobody"]) == 2
    assert "no robot profile 'nobody'" in capsys.readouterr().err


CHAIN = (profile_path("franka_fr3").parents[1] / "kinematics" / "franka.yaml").read_text()
OWN_CHAIN = FRANKA.replace("kinematics: franka #", "kinematics: chain.yaml #")
BOX = "    workspace: {lower: [0.2, -0.5, 0], upper: [0.8, 0.5, 1]}\n"


@pytest.mark.parametrize(
    ("old", "new", "key", "problem"),
    [
        ("  - {xyz: [0, 0, 0.333]}\n", "", "arms[0].kinematics.joints", "has 6 frames for 7 joints"),
        ("{xyz: [0, 0, 0.333]}", "{axis: [0, 0, 0]}", "arms[0].kinematics.joints[0].axis", "has no length"),
        ("{xyz: [0, 0, 0.333]}", "{slides: true}", "arms[0].kinematics.joints[0].slides", "does not fit unit rad"),
        ("xyz: [0, 0, 0.333]", "xyz: [0, 0, 333]", "arms[0].kinematics.joints[0].xyz", "looks like another unit"),
    ],
)
def test_a_chain_that_does_not_fit_the_arm_is_found(tmp_path, old, new, key, problem) -> None:
    (tmp_path / "chain.yaml").write_text(CHAIN.replace(old, new))
    status, report = check(tmp_path, OWN_CHAIN)
    assert status == 1
    found = {p["key"]: p["problem"] for p in report["problems"]}
    assert problem in found[key]


def test_a_chain_that_is_not_there_or_is_written_into_the_profile_is_refused(tmp_path) -> None:
    status, report = check(tmp_path, OWN_CHAIN)
    assert status == 1
    assert "chain.yaml does not exist" in report["problems"][0]["problem"]
    status, report = check(tmp_path, FRANKA.replace("kinematics: franka #", "kinematics: {joints: []} #"))
    assert status == 1
    assert "'arms[0].kinematics' is no name" in report["problems"][0]["problem"]


def test_a_workspace_needs_a_chain_a_pose_and_an_inside(tmp_path) -> None:
    line = "    kinematics: franka # config/kinematics/franka.yaml\n"
    assert check(tmp_path, FRANKA.replace(line, line + BOX))[0] == 0
    for text, problem in (
        (FRANKA.replace(line, BOX), "needs the arm's chain"),
        (FRANKA.replace(line, line + BOX).replace("    ready:", "    # ready:"), "needs a pose inside it"),
        (FRANKA.replace(line, line + BOX.replace("[0.2,", "[0.4,")), "its tool at [0.307, -0.0, 0.487] m"),
        (FRANKA.replace(line, line + BOX.replace("0.8,", "0.2,")), "has no inside"),
    ):
        status, report = check(tmp_path, text)
        assert status == 1
        assert [problem in p["problem"] for p in report["problems"]] == [True], report["problems"]
