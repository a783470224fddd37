"""Evaluation: its arithmetic, its episodes, and the command line."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import f1_ros.engine
from f1_ros.cli.main import main
from f1_ros.engine.continuity import CONTINUITIES
from f1_ros.errors import ConfigError
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.evaluate import EvaluationSettings, evaluate
from f1_ros.sim.measures import FailureWatch, rms_jerk, wilson_interval
from f1_ros.sim.results import EpisodeResult, Evaluation
from f1_ros.sim.world import BeltWorld


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [
        # Values of R's binom.confint(method = "wilson").
        (75, 100, 0.6569, 0.8245),
        (93, 100, 0.8625, 0.9657),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_wilson_interval(successes, episodes, low, high) -> None:
    assert wilson_interval(successes, episodes) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 5000), st.data())
def test_the_interval_holds_the_rate_and_lies_within_0_and_1(episodes, data) -> None:
    successes = data.draw(st.integers(0, episodes))
    low, high = wilson_interval(successes, episodes)
    assert 0.0 <= low <= successes / episodes + 1e-12
    assert successes / episodes - 1e-12 <= high <= 1.0


def test_no_episodes_have_no_interval() -> None:
    with pytest.raises(ConfigError):
        wilson_interval(0, 0)
    with pytest.raises(ConfigError):
        wilson_interval(3, 2)


def result(episode: int, speed: float, picked: bool, failure=None) -> EpisodeResult:
    return EpisodeResult(
        episode=episode,
        belt_speed=speed,
        picked=picked,
        picked_step=20 if picked else None,
        time_to_pick_s=1.0 + episode if picked else None,
        jerk_rms=10.0,
        binned=picked,
        failure=failure,
        latencies_ms=[float(episode)],
    )


def test_bands_count_every_episode_once_by_speed_whatever_the_direction() -> None:
    episodes = [result(0, 0.10, True), result(1, -0.14, False, "slipped"), result(2, -0.20, True), result(3, 0.3, True)]
    found = Evaluation(episodes, 0.15, None)
    assert found.bands((0.1, 0.3), 2) == [
        {"from": 0.1, "to": 0.2, "episodes": 2, "picked": 1},
        {"from": 0.2, "to": 0.3, "episodes": 2, "picked": 2},
    ]
    assert found.success_rate == 0.75
    assert found.time_to_pick_s == pytest.approx((1.0 + 3.0 + 4.0) / 3)
    assert found.failures == {"slipped": 1}


def test_a_single_speed_is_one_band() -> None:
    found = Evaluation([result(0, 0.2, True), result(1, -0.2, False, "timeout")], 0.15, None)
    assert found.bands((0.2, 0.2)) == [{"from": 0.2, "to": 0.2, "episodes": 2, "picked": 1}]


@pytest.mark.parametrize("direction", [1, -1])
def test_the_expert_picks_every_cube_and_repeats_itself(direction) -> None:
    settings = EvaluationSettings(policy=None, episodes=3, seed=2, world=BeltConfig(direction=direction))
    found = evaluate(settings)
    assert [e.picked for e in found.episodes] == [True] * 3
    assert [e.binned for e in found.episodes] == [True] * 3
    assert all(e.belt_speed * direction > 0 for e in found.episodes)
    assert evaluate(settings) == found


def test_a_policy_that_does_nothing_never_reaches_the_cube(scripted, monkeypatch) -> None:
    engine = scripted(lambda observation: np.tile(observation.state, (16, 1)))
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    settings = EvaluationSettings(policy=Path("any"), episodes=1, world=BeltConfig(speed=(0.3, 0.3)), delay_s=0.15)
    found = evaluate(settings)
    assert found.failures == {"never_reached": 1}
    assert found.success_rate == 0.0
    assert found.delay_s >= 0.15
    assert len(found.latencies_ms) >= 10


def test_the_delay_in_force_is_the_measured_latency_where_that_is_longer(scripted, monkeypatch) -> None:
    engine = scripted(lambda observation: np.tile(observation.state, (16, 1)))
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    monkeypatch.setattr("f1_ros.sim.evaluate.measured_latency_ms", lambda settings: 203.0)
    found = evaluate(EvaluationSettings(policy=Path("any"), episodes=1, delay_s=0.15))
    assert found.delay_s == pytest.approx(0.21)
    assert found.calibration_ms == 203.0


def test_reasons_of_failures() -> None:
    world = BeltWorld(BeltConfig(speed=(0.1, 0.1), direction=1))
    at = world.scene.cube_qpos

    def after(*positions, width=0.08) -> str:
        world.reset(0)
        world.drop_cube((0.45, 0.0))
        world._data.qpos[world.scene.finger_qpos] = width / 2
        watch = FailureWatch(world)
        for position in positions:
            world._data.qpos[at : at + 3] = position
            watch.look()
        return watch.reason()

    tool = tuple(world.tool_position)
    assert after((0.45, 0.5, 0.08)) == "never_reached"
    assert after((0.45, 0.1, 0.14), (0.45, 0.1, 0.08)) == "slipped"
    assert after((0.20, 0.3, 0.02)) == "knocked"
    assert after((0.45, 0.1, 0.08), width=0.01) == "missed_grasp"
    world.reset(0)
    world.drop_cube((0.45, 0.0))
    watch = FailureWatch(world)
    watch._nearest = 0.01
    assert tool[2] > 0.2
    assert watch.reason() == "timeout"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--expert", "--episodes", "0"],
        ["--expert", "--episodes", "1", "--seed", "-1"],
        ["--expert", "--episodes", "1", "--belt-speed", "0.3", "0.1"],
        ["--expert", "--episodes", "1", "--belt-speed", "nan", "0.1"],
        ["--expert", "--episodes", "1", "--delay", "-1"],
        ["--expert", "--episodes", "1", "--delay", "inf"],
        ["--expert", "--episodes", "1", "--replan", "0"],
        ["--expert", "--episodes", "1", "--workers", "0"],
        ["--expert", "--episodes", "1", "--goal", "75"],
        ["--expert", "--episodes", "1", "--foresight", "skipped"],
        ["--policy", "nowhere", "--episodes", "1"],
    ],
)
def test_the_command_refuses_nonsense_in_one_line(arguments, capsys) -> None:
    assert main(["sim", "eval", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert "Remedy:" in error
    assert "Traceback" not in error


def test_jerk_is_the_third_derivative_of_the_commands() -> None:
    t = np.arange(60)[:, None] * 0.01
    cubic = np.hstack([2.0 * t**3, 0.0 * t])  # 12 rad/s3, and a joint that rests
    assert rms_jerk(cubic) == pytest.approx(12.0 / np.sqrt(2))
    assert rms_jerk(5.0 * t**2) == pytest.approx(0.0, abs=1e-6)
    assert rms_jerk(cubic[:3]) is None


def test_a_pick_is_timed_and_its_commands_judged_until_then() -> None:
    settings = EvaluationSettings(policy=None, episodes=1, seed=2)
    whole = evaluate(settings).episodes[0]
    short = evaluate(dataclasses.replace(settings, until_binned=False)).episodes[0]
    assert whole.time_to_pick_s == pytest.approx(whole.picked_step * 0.05)
    assert 0.5 < whole.time_to_pick_s < 3.0
    assert 5.0 < whole.jerk_rms < 500.0  # the expert's limiter allows 500 rad/s3
    assert whole.jerk_rms == short.jerk_rms


def test_the_command_knows_every_continuity(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["sim", "eval", "--expert", "--continuity", "nonsense"])
    shown = capsys.readouterr().err
    assert all(f"'{name}'" in shown for name in CONTINUITIES)


def test_a_policy_without_picks_has_no_time_to_pick(scripted, monkeypatch) -> None:
    engine = scripted(lambda observation: np.tile(observation.state, (16, 1)))
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    found = evaluate(EvaluationSettings(policy=Path("any"), episodes=1))
    assert (found.time_to_pick_s, found.jerk_rms) == (None, None)
    assert found.episodes[0].jerk_rms >= 0.0


@pytest.mark.parametrize("foresight", ["own", "skipped"])
def test_the_engine_is_told_what_to_do_with_foresight(scripted, monkeypatch, foresight) -> None:
    engine = scripted(lambda observation: np.tile(observation.state, (16, 1)))
    opened = []

    def open_engine(folder, **options):
        opened.append(options)
        return engine

    monkeypatch.setattr(f1_ros.engine, "open_engine", open_engine)
    evaluate(EvaluationSettings(policy=Path("any"), episodes=1, foresight=foresight, until_binned=False))
    assert all(options == {"engine": "torch", "threads": 1, "foresight": foresight} for options in opened)
    assert opened


def test_the_command_writes_its_figures(tmp_path, capsys) -> None:
    file = tmp_path / "eval.json"
    arguments = ["sim", "eval", "--expert", "--episodes", "2", "--belt-speed", "0.1", "0.12", "--json", str(file)]
    assert main([*arguments, "--goal", "1.0"]) == 0
    data = json.loads(file.read_text())
    assert data["ok"] is True
    results = {r["name"]: r["value"] for r in data["results"]}
    assert results["success_rate"] == 1.0
    assert results["episodes"] == 2
    assert results["wilson_low"] == pytest.approx(0.3424, abs=1e-4)
    assert results["wilson_high"] == 1.0
    assert results["time_to_pick"] == pytest.approx(np.mean([run["time_to_pick_s"] for run in data["runs"]]))
    assert results["command_jerk_rms"] == pytest.approx(np.mean([run["jerk_rms"] for run in data["runs"]]))
    assert data["failures"] == {}
    assert sum(band["episodes"] for band in data["speed_bands"]) == 2
    assert "success_rate" in capsys.readouterr().out


def test_an_exact_delay_is_kept_and_picks_only_ends_with_the_pick(scripted, monkeypatch) -> None:
    engine = scripted(lambda observation: np.tile(observation.state, (16, 1)))
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    monkeypatch.setattr("f1_ros.sim.evaluate.measured_latency_ms", lambda settings: 203.0)
    found = evaluate(EvaluationSettings(policy=Path("any"), episodes=1, delay_s=0.0, exact_delay=True))
    assert found.delay_s == 0.0
    picked = evaluate(EvaluationSettings(policy=None, episodes=1, until_binned=False))
    assert [(e.picked, e.binned) for e in picked.episodes] == [(True, False)]


def test_an_episode_in_which_the_controller_stops_the_policy_is_lost_and_the_next_one_runs(
    scripted, monkeypatch
) -> None:
    engine = scripted(lambda observation: np.full((16, 8), 90.0))
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    monkeypatch.setattr("f1_ros.sim.evaluate.measured_latency_ms", lambda settings: 1.0)
    found = evaluate(EvaluationSettings(policy=Path("any"), episodes=2))
    assert [(e.picked, e.failure) for e in found.episodes] == [(False, "stopped")] * 2
