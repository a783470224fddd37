"""Streams of cubes: what is counted over seconds instead of single picks."""

import json
from pathlib import Path

import numpy as np
import pytest

import f1_ros.engine
from f1_ros.cli.main import main
from f1_ros.errors import ConfigError
from f1_ros.paths import share_dir
from f1_ros.sim.config import BeltConfig, load_belt_config
from f1_ros.sim.evaluate import EvaluationSettings, evaluate
from f1_ros.sim.world import BeltWorld

COLOUR = load_belt_config(share_dir() / "config" / "sim" / "belt_colour.yaml")
FAST = BeltConfig(speed=(0.3, 0.3), stream_pause_s=0.1)


def test_the_expert_picks_one_cube_after_the_other_and_repeats_itself() -> None:
    settings = EvaluationSettings(policy=None, episodes=2, seed=1, stream_s=15.0)
    found = evaluate(settings)
    assert [s.seconds for s in found.streams] == [15.0, 15.0]
    for stream in found.streams:
        assert stream.picked >= 3
        assert stream.picked - 1 <= stream.binned <= stream.picked
        assert (stream.missed, stream.wrong, stream.faults) == (0, 0, 0)
    assert found.picks_a_minute == pytest.approx(2 * sum(s.picked for s in found.streams))
    assert evaluate(settings) == found


def test_cubes_that_nobody_takes_are_missed(scripted, monkeypatch) -> None:
    still = BeltWorld().state
    engine = scripted(lambda observation: np.tile(still, (16, 1)))
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    monkeypatch.setattr("f1_ros.sim.evaluate.measured_latency_ms", lambda settings: 1.0)
    (stream,) = evaluate(EvaluationSettings(policy=Path("any"), episodes=1, world=FAST, stream_s=8.0)).streams
    # 0.62 m from the middle of the belt take 2.1 s, give or take 0.5 s, and the next cube comes 0.1 s later.
    assert 2 <= stream.missed <= 5
    assert (stream.picked, stream.binned, stream.faults) == (0, 0, 0)


def test_in_a_stream_of_colours_the_policy_hears_of_each_new_cube(scripted, monkeypatch) -> None:
    still = BeltWorld().state
    engine = scripted(lambda observation: np.tile(still, (16, 1)))
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    monkeypatch.setattr("f1_ros.sim.evaluate.measured_latency_ms", lambda settings: 1.0)
    evaluate(EvaluationSettings(policy=Path("any"), episodes=1, seed=3, world=COLOUR, stream_s=20.0))
    assert len(set(engine.instructions)) >= 2
    found = evaluate(EvaluationSettings(policy=None, episodes=1, seed=3, world=COLOUR, stream_s=15.0))
    assert found.streams[0].picked >= 2
    assert found.streams[0].wrong == 0


def test_a_policy_that_the_controller_stops_is_counted_and_goes_on(scripted, monkeypatch) -> None:
    engine = scripted(lambda observation: np.full((16, 8), 90.0))
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    monkeypatch.setattr("f1_ros.sim.evaluate.measured_latency_ms", lambda settings: 1.0)
    (stream,) = evaluate(EvaluationSettings(policy=Path("any"), episodes=1, world=FAST, stream_s=6.0)).streams
    assert stream.faults >= 2
    assert stream.seconds == 6.0


def test_the_command_reports_the_stream(tmp_path, capsys) -> None:
    file = tmp_path / "stream.json"
    assert main(["sim", "eval", "--expert", "--stream", "6", "--episodes", "2", "--json", str(file)]) == 0
    data = json.loads(file.read_text())
    results = {r["name"]: r["value"] for r in data["results"]}
    assert {"picked", "binned", "missed", "wrong", "faults"} <= set(results)
    assert (results["streams"], results["seconds"]) == (2, 12.0)
    assert results["picks_a_minute"] == pytest.approx(results["picked"] * 5)
    assert "success_rate" not in results
    assert sum(run["stream"]["picked"] for run in data["runs"]) == results["picked"]


@pytest.mark.parametrize(
    "arguments",
    [["--stream", "0"], ["--stream", "nan"], *(["--stream", "5", flag] for flag in ("--sudden", "--reaction"))],
)
def test_impossible_streams_are_refused_in_one_line(arguments, capsys) -> None:
    assert main(["sim", "eval", "--expert", "--episodes", "1", *arguments]) == 2
    assert "Remedy:" in capsys.readouterr().err


def test_a_stream_has_no_goal_and_no_cover(capsys) -> None:
    assert main(["sim", "eval", "--expert", "--episodes", "1", "--stream", "5", "--goal", "0.5"]) == 2
    assert "single picks" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no cover"):
        evaluate(EvaluationSettings(policy=None, episodes=1, world=BeltConfig(cover=True), stream_s=5.0))
