"""`f1-ros data` as a user types it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from f1_ros.cli.main import main
from f1_ros.observe.normalise import Normaliser

from .conftest import NAMES, Writer, episode


def test_check_says_what_is_wrong_where_and_what_to_do(
    write_dataset: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    episodes = [episode(i, 40) for i in range(8)]
    for recorded in episodes[1:]:
        recorded.state[7, 0] = np.nan
    root = write_dataset(episodes, "v2.1", "video")
    assert main(["data", "check", str(root), "--history", "6", "--chunk", "8", "--json", str(tmp_path / "r.json")]) == 1
    out = capsys.readouterr().out
    assert "error: nan, episode 1, frame 7: observation.state j1 is nan" in out
    assert "    Remove the episode, or record it again." in out
    assert "and 2 more of nan" in out
    report = json.loads((tmp_path / "r.json").read_text())
    assert [f["episode"] for f in report["findings"]] == [1, 2, 3, 4, 5, 6, 7]
    assert report["findings"][0] == {
        "code": "nan", "severity": "error", "episode": 1, "frame": 7,
        "problem": "observation.state j1 is nan; 1 frames of the episode have such.",
        "remedy": "Remove the episode, or record it again.",
    }  # fmt: skip
    assert [(r["name"], r["value"], r["ok"]) for r in report["results"]] == [
        ("episodes", 8, True), ("frames", 320, True), ("errors", 7, False), ("warnings", 0, True),
    ]  # fmt: skip


def test_warnings_alone_are_no_failure(write_dataset: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset([episode(i, 20) for i in range(3)])
    assert main(["data", "check", str(root), "--chunk", "50"]) == 0
    assert "warning: short, episode 0, frame 19: The episode has 20 frames; history and chunk need 59" in (
        capsys.readouterr().out
    )


def test_check_against_a_policy_takes_its_history_and_chunk(
    write_dataset: Writer, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = Path(__file__).parents[2] / "models" / "f1_belt"
    assert main(["data", "check", str(write_dataset([episode(0, 24)])), "--policy", str(policy)]) == 1
    out = capsys.readouterr().out
    assert "The policy's steps are those of 20 Hz, the dataset has 10 fps." in out
    assert "history and chunk need 25" in out


def test_stats_are_printed_and_written_as_normalisation_reads_them(
    write_dataset: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_dataset(version="v2.1")
    out, report = tmp_path / "stats.json", tmp_path / "report.json"
    assert (
        main(["data", "stats", str(root), "--mode", "quantile", "--out", str(out), "--write", "--json", str(report)])
        == 0
    )
    printed = capsys.readouterr().out
    assert "observation.state" in printed
    assert all(name in printed for name in NAMES)
    entries = json.loads(out.read_text())
    assert Normaliser.from_stats(entries["action"], 8, "action").dim == 4
    assert json.loads(report.read_text())["statistics"] == entries
    own = json.loads((root / "meta/stats.json").read_text())
    assert own["action"]["mean"] == entries["action"]["mean"]


def test_show_draws_a_picture_of_the_episodes(
    write_dataset: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_dataset(kind="video")
    assert main(["data", "show", str(root), "--out", str(tmp_path / "new" / "sheet.png"), "--frames", "4"]) == 0
    sheet = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    assert sheet.shape[1] == 1280
    assert ((sheet[:, :, 2] > 190) & (sheet[:, :, 1] < 10)).sum() > 30_000  # the front camera's red halves
    assert main(["data", "show", str(root), "--out", str(tmp_path / "one.png"), "--episodes", "2"]) == 0
    assert cv2.imread(str(tmp_path / "one.png")).shape[0] < sheet.shape[0] / 2
    assert main(["data", "show", str(root), "--out", str(tmp_path / "one.png"), "--episodes", "7"]) == 2
    assert "There is no episode 7" in capsys.readouterr().err
    assert main(["data", "show", str(root), "--out", str(tmp_path / "one.nothing")]) == 2
    assert "Give a .png file" in capsys.readouterr().err


def test_a_folder_without_a_dataset_is_one_readable_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("check", "stats"):
        assert main(["data", command, str(tmp_path)]) == 2
        assert "is no LeRobot dataset. Remedy: Give the folder that holds meta/." in capsys.readouterr().err
