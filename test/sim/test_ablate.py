"""Cells of a study: done once, done anew when they changed, and what is made of them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from f1_ros.cli.main import main
from f1_ros.errors import ConfigError
from f1_ros.sim.ablate import CellResult, Cells, Condition, evaluate_cells, make_cells, policy_hash
from f1_ros.sim.ablate_report import better, delay_curves, markdown, plot, rows
from f1_ros.sim.evaluate import EvaluationSettings, evaluate

POLICY = Path(__file__).parents[2] / "models" / "f1_belt"
CONDITIONS = {
    "trained": Condition(("full", "other")),
    "reversal": Condition(("full",), speed=(0.1, 0.12), reaction=True, seeds=(1,)),
}


def cell(arm: str, picked: int, episodes: int = 100, seed: int = 1, condition: str = "trained") -> CellResult:
    return CellResult(
        condition=condition,
        arm=arm,
        seed=seed,
        delay_s=0.15,
        picked=[i < picked for i in range(episodes)],
        speed=[0.08 + 0.002 * i for i in range(episodes)],
        time_to_pick_s=[2.0 if i < picked else None for i in range(episodes)],
        jerk_rms=[100.0] * episodes,
        reaction_s=[None] * episodes,
        failures={"knocked": episodes - picked},
        latency_ms=20.0,
    )


def test_cells_are_done_once_and_are_what_an_evaluation_finds(tmp_path: Path) -> None:
    cells, missing = make_cells(
        CONDITIONS, tmp_path, lambda arm, seed: POLICY if arm == "full" else tmp_path / arm, (1, 2), episodes=2
    )
    wanted = [cell for cell in cells if cell.settings.policy == POLICY]
    assert [(c.condition, c.seed) for c in wanted] == [("trained", 1), ("trained", 2), ("reversal", 1)]
    assert missing == ["trained/other-s1", "trained/other-s2"]
    few = {"trained": dataclasses.replace(CONDITIONS["trained"], episodes=1)}
    assert make_cells(few, tmp_path, lambda arm, seed: POLICY, (1,), episodes=2)[0][0].settings.episodes == 1
    chosen = [wanted[0], wanted[2]]
    path = tmp_path / "out" / "cells.jsonl"
    done: list[CellResult] = []
    evaluate_cells(chosen[:1], Cells(path), progress=done.append)
    evaluate_cells(chosen, Cells(path), progress=done.append)
    assert [d.condition for d in done] == ["trained", "reversal"]
    assert any(r is not None for r in done[1].reaction_s)
    plain = evaluate(EvaluationSettings(POLICY, episodes=2, seed=1, delay_s=0.15, exact_delay=True, until_binned=False))
    assert done[0].picked == [e.picked for e in plain.episodes]
    assert Cells(path).find(chosen[0]) == done[0]
    other = dataclasses.replace(chosen[0], settings=dataclasses.replace(chosen[0].settings, delay_s=0.3))
    assert Cells(path).find(other) is None


def test_a_policy_that_was_trained_anew_is_another(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(POLICY, copy)
    assert policy_hash(copy) == policy_hash(POLICY)
    changed = tmp_path / "changed"
    shutil.copytree(POLICY, changed)
    file = json.loads((changed / "policy.json").read_text())
    (changed / "policy.json").write_text(json.dumps(file | {"noise_scale": 0.5}))
    assert policy_hash(changed) != policy_hash(POLICY)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    path.write_text('{"key": {}}\n{"ke')
    with pytest.raises(ConfigError, match="line 2"):
        Cells(path)


def test_seeds_are_added_up_and_intervals_decide() -> None:
    table = rows([cell("full", 95), cell("full", 91, seed=2), cell("history", 70), cell("history", 66, seed=2)])
    full, history = table
    assert (full.picked, full.episodes, full.by_seed) == (186, 200, {1: 95, 2: 91})
    assert full.low < 0.93 < full.high
    assert better(full, history)
    assert not better(history, full)
    assert not better(full, dataclasses.replace(history, high=full.low))
    text = markdown(table)
    assert "### trained" in text
    assert "| full | 186 of 200 |" in text
    assert "Intervals that do not overlap: full above history." in text


def test_an_arm_of_one_delay_has_no_curve() -> None:
    slow = dataclasses.replace(cell("full", 60, condition="slow"), delay_s=0.3)
    curves = delay_curves([cell("full", 90), cell("full", 92, seed=2), slow, cell("near", 93)])
    assert curves == {"full": {0.15: (182, 200), 0.3: (60, 100)}}


def test_the_plot_shows_what_there_is(tmp_path: Path) -> None:
    results = [cell("full", 90), cell("few_50", 40), cell("full", 60, condition="slow")]
    path = tmp_path / "deep" / "plot.png"
    plot(
        results,
        path,
        speed=["trained"],
        delay=["trained", "slow"],
        labels={"few_50": ("history", 50)},
        labels_condition="trained",
    )
    with Image.open(path) as picture:
        assert picture.width > 1000


def test_the_committed_study_is_redrawn_from_its_cells(tmp_path: Path) -> None:
    """Settings that get another name or another default must not lose what hours have measured."""
    repo = Path(__file__).parents[2]
    committed = repo / "bench" / "results" / "ablation"
    shutil.copy(committed / "cells.jsonl", tmp_path)
    study = str(repo / "config" / "train" / "ablation.yaml")
    assert main(["sim", "ablate", study, "--runs", str(tmp_path / "none"), "--out", str(tmp_path), "--done-only"]) == 0
    assert (tmp_path / "table.md").read_text() == (committed / "table.md").read_text()
