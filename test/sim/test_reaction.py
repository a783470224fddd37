"""A belt that turns round: what the commands make of it, and how soon."""

import json
from pathlib import Path

import numpy as np
import pytest

import f1_ros.engine
from f1_ros.cli.main import main
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.evaluate import EvaluationSettings, evaluate
from f1_ros.sim.measures import CommandedWorld, reaction_time
from f1_ros.sim.world import BeltWorld


def test_the_cube_turns_round_with_the_belt() -> None:
    world = BeltWorld(BeltConfig(speed=(0.2, 0.2), direction=1))
    world.reset(0)
    joints = world.joint_positions
    world.drop_cube((0.45, 0.0))
    for _ in range(40):
        world.step(joints, 0.08)
    turned = world.cubes[0]
    world.reverse_belt()
    assert world.belt_speed == -0.2
    for _ in range(40):
        world.step(joints, 0.08)
    cube = world.cubes[0]
    assert cube.place == "belt"
    assert cube.velocity == pytest.approx([0, -0.2, 0], abs=3e-3)
    assert cube.position - turned.position == pytest.approx([0, -0.08, 0], abs=3e-3)


def test_the_first_command_that_differs_by_more_than_a_milliradian_is_the_reaction() -> None:
    plain = np.zeros((100, 7))
    turned = plain.copy()
    turned[30:, 2] = 0.9e-3  # too little
    turned[45:, 4] = -1.1e-3
    assert reaction_time(plain, turned, 20) == pytest.approx(0.25)
    assert reaction_time(plain, turned[:40], 20) is None
    assert reaction_time(plain, plain[:10], 20) is None  # it was over before


def test_the_belt_turns_before_the_tick_that_was_asked_for_and_not_in_the_next_episode() -> None:
    world = CommandedWorld(BeltConfig(speed=(0.2, 0.2), direction=1))
    world.reset(0)
    world.reverse_tick = 3
    speeds = []
    for _ in range(5):
        world.step(world.joint_positions, 0.08)
        speeds.append(world.belt_speed)
    assert speeds == [0.2, 0.2, 0.2, -0.2, -0.2]
    assert not world.grasped_at_reversal
    world.reset(0)
    assert world.reverse_tick is None
    assert world.commands == []


def test_the_expert_answers_at_its_next_decision() -> None:
    found = evaluate(EvaluationSettings(policy=None, episodes=6, seed=1, reaction=True, until_binned=False))
    plain = evaluate(EvaluationSettings(policy=None, episodes=6, seed=1, until_binned=False))
    assert [e.picked_step for e in found.episodes] == [e.picked_step for e in plain.episodes]
    assert all(0.2 <= e.reversal.at_s <= 0.8 for e in found.episodes)
    assert len(found.reversals) >= 5
    assert len(found.reactions_s) == len(found.reversals)
    assert 0.0 <= min(found.reactions_s)
    assert max(found.reactions_s) <= 0.10  # it decides every 50 ms, and its limiter takes a few ticks to a milliradian
    assert sum(r.picked for r in found.reversals) >= 4


def test_an_engine_that_looks_at_nothing_does_not_react(scripted, monkeypatch) -> None:
    still = BeltWorld().state
    engine = scripted(lambda observation: np.tile(still, (16, 1)))
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    found = evaluate(EvaluationSettings(policy=Path("any"), episodes=2, reaction=True))
    assert len(found.reversals) == 2
    assert found.reactions_s == []


def test_the_command_reports_reactions_beside_what_delay_and_replanning_allow(
    tmp_path, scripted, monkeypatch, capsys
) -> None:
    still = BeltWorld().state
    engine = scripted(lambda observation: np.tile(still, (16, 1)))
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    common = ["sim", "eval", "--episodes", "1", "--reaction", "--picks-only", "--json", str(tmp_path / "figures.json")]

    def figures(*who: str) -> dict:
        assert main([*common, *who]) == 0
        data = json.loads((tmp_path / "figures.json").read_text())
        return {r["name"]: r["value"] for r in data["results"]} | {"run": data["runs"][0]["reversal"]}

    policy = figures("--policy", "any", "--exact-delay", "--delay", "0.2", "--replan", "4")
    assert policy["delay_and_half_the_replanning"] == pytest.approx(0.2 + 0.1)
    assert (policy["reversals"], policy["reversals_answered"], policy["reaction_p50"]) == (1, 0, None)
    expert = figures("--expert")
    assert 0.0 <= expert["reaction_p50"] == expert["reaction_p95"] == expert["run"]["reaction_s"] <= 0.10
    assert "delay_and_half_the_replanning" not in expert
