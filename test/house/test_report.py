"""The one shape of every JSON report, its table and its exit status."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from f1_ros.cli.report import Report, Result
from f1_ros.errors import ConfigError


def test_the_file_has_the_fixed_keys_and_the_details_beside_them(tmp_path: Path) -> None:
    report = Report(
        "f1-ros sim eval",
        [Result("success_rate", 0.83, goal=">= 0.75"), Result("episodes", 100)],
        {"reasons": {"missed": np.int64(3)}, "curve": np.array([1.0, np.nan]), "file": Path("a/b")},
    )
    path = tmp_path / "new" / "report.json"
    report.write(path)
    written = json.loads(path.read_text())
    environment = written.pop("environment")
    assert written == {
        "command": "f1-ros sim eval",
        "ok": True,
        "results": [
            {"name": "success_rate", "value": 0.83, "unit": "", "goal": ">= 0.75", "ok": True},
            {"name": "episodes", "value": 100, "unit": "", "goal": None, "ok": True},
        ],
        "reasons": {"missed": 3},
        "curve": [1.0, None],
        "file": "a/b",
    }
    assert {"os", "python", "cpu", "cores", "commit", "packages"} == set(environment)
    assert environment["cores"] >= 1
    assert "numpy" in environment["packages"]


@pytest.mark.parametrize(("flags", "ok", "status"), [([], True, 0), ([True], True, 0), ([True, False], False, 1)])
def test_exit_status_is_0_exactly_when_every_result_is_ok(flags: list[bool], ok: bool, status: int) -> None:
    report = Report("x", [Result("r", 1, ok=flag) for flag in flags])
    assert (report.ok, report.exit_status, report.as_dict()["ok"]) == (ok, status, ok)


def test_details_cannot_replace_a_fixed_key() -> None:
    with pytest.raises(ConfigError, match="'ok'"):
        Report("x", [], {"ok": True})


def test_nothing_is_written_without_a_path_and_a_bad_path_is_told(tmp_path: Path) -> None:
    report = Report("x", [Result("r", math.nan)])
    report.write(None)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        report.write(tmp_path / "file" / "report.json")
    report.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["results"][0]["value"] is None


def test_a_conclusion_is_table_file_and_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("f1-ros x", [Result("rate", 0.5, goal=">= 0.9", ok=False)])
    assert report.conclude(tmp_path / "a.json") == 1
    assert "FAIL" in capsys.readouterr().out
    assert json.loads((tmp_path / "a.json").read_text())["ok"] is False


def test_the_table_shows_value_unit_goal_and_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    Report(
        "x", [Result("latency", 12.3456, "ms", "<= 10", ok=False), Result("cubes", 3), Result("gone", None)]
    ).print_table()
    assert capsys.readouterr().out.splitlines() == [
        "name     value  unit  goal   ok",
        "-------  -----  ----  -----  ----",
        "latency  12.35  ms    <= 10  FAIL",
        "cubes        3",
        "gone         -",
    ]
