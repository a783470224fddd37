"""Two evaluations of the same episodes: how far apart they are, and how sure that is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from f1_ros.cli.main import main
from f1_ros.errors import ConfigError
from f1_ros.sim.measures import paired_difference


def report(path: Path, succeeded: list[bool], **settings: object) -> str:
    said = {"settings": {"episodes": len(succeeded), "seed": 1, "world": {}} | settings}
    path.write_text(json.dumps(said | {"runs": [{"picked": one} for one in succeeded]}))
    return str(path)


def test_the_same_outcomes_differ_by_nothing_and_the_order_of_two_turns_the_sign() -> None:
    first, second = [True] * 90 + [False] * 10, [True] * 80 + [False] * 20
    assert paired_difference(first, first)[0] == 0.0
    difference, low, high = paired_difference(first, second)
    assert difference == pytest.approx(0.1)
    assert 0.0 < low < difference < high
    turned = paired_difference(second, first)
    assert turned == pytest.approx((-difference, -high, -low))


def test_the_interval_holds_the_true_difference_19_times_of_20() -> None:
    """Episodes of two policies that often succeed together, at 0.9 and 0.8."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(2000):
        easy = rng.random(100)
        first, second = easy < 0.9, np.where(rng.random(100) < 0.7, easy, rng.random(100)) < 0.8
        _, low, high = paired_difference(first.tolist(), second.tolist())
        held += low <= 0.1 <= high
    assert 0.94 <= held / 2000 <= 0.99


def test_reports_are_compared_episode_by_episode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = report(tmp_path / "torch.json", [True, True, False, False])
    other = report(tmp_path / "fast.json", [True, True, True, False])
    assert main(["sim", "compare", base, other, "--json", str(tmp_path / "out.json")]) == 0
    found = {r["name"]: r["value"] for r in json.loads((tmp_path / "out.json").read_text())["results"]}
    assert (found["torch_succeeded"], found["fast_succeeded"], found["fast_other_outcomes"]) == (2, 3, 1)
    assert found["fast_more_often"] == 0.25
    assert "fast_more_often" in capsys.readouterr().out


def test_other_episodes_and_other_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = report(tmp_path / "a.json", [True])
    assert main(["sim", "compare", base, report(tmp_path / "b.json", [True], seed=2)]) == 2
    assert "seed is another" in capsys.readouterr().err
    (tmp_path / "c.json").write_text("[]")
    assert main(["sim", "compare", base, str(tmp_path / "c.json")]) == 2
    assert "is no report of an evaluation" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="1 episodes against 2"):
        paired_difference([True], [True, False])
