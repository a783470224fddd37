"""The sheet of what a policy foresees."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from f1_ros.errors import ConfigError
from f1_ros.sim.evaluate import EvaluationSettings
from f1_ros.sim.foresight_sheet import draw_foresight

POLICY = Path(__file__).parents[2] / "models" / "f1_belt"


def test_a_sheet_has_an_instant_a_column(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sheet.png"
    assert draw_foresight(EvaluationSettings(POLICY, episodes=1, seed=3), path, rows=3) == 3
    with Image.open(path) as picture:
        assert picture.width == 3 * 2 * 80


def test_a_policy_without_foresight_has_no_sheet(tmp_path: Path) -> None:
    blind = tmp_path / "blind"
    shutil.copytree(POLICY, blind)
    file = json.loads((blind / "policy.json").read_text())
    (blind / "policy.json").write_text(json.dumps(file | {"foresight": False}))
    with pytest.raises(ConfigError, match="foresees nothing"):
        draw_foresight(EvaluationSettings(blind, episodes=1), tmp_path / "sheet.png")
