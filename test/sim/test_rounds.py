"""Tasks of a twin one after the other: laid out, counted, demonstrated and evaluated."""

import json

import numpy as np
import pytest

import f1_ros.engine
from f1_ros.cli.main import main
from f1_ros.errors import ConfigError
from f1_ros.paths import share_dir
from f1_ros.sim.demonstrations import record
from f1_ros.sim.evaluate import EvaluationSettings, evaluate
from f1_ros.sim.twins.config import Genie1Config, Lift2Config
from f1_ros.sim.twins.demonstrations import demonstrate_task
from f1_ros.sim.twins.experts import Phase, open_expert
from f1_ros.sim.twins.opening import open_twin
from f1_ros.sim.twins.rounds import PAUSE_TICKS, TaskRounds
from f1_ros.sim.twins.world import TwinWorld

CONFIGS = {"genie1": Genie1Config(), "arx_lift2": Lift2Config()}


@pytest.fixture(scope="module", params=list(CONFIGS))
def world(request) -> TwinWorld:
    return open_twin(CONFIGS[request.param])


@pytest.fixture(scope="module")
def belt() -> TwinWorld:
    return open_twin(Lift2Config(speed=(0.15, 0.15)))


def idle(world: TwinWorld, rounds: TaskRounds, ticks: int) -> None:
    hold = world.joint_positions
    for _ in range(ticks):
        world.step(hold, world.start_widths())
        rounds.follow()


def test_a_cube_that_nobody_takes_is_lost_once_and_another_one_comes_after_the_pause(belt) -> None:
    belt.reset(1)
    rounds = TaskRounds(belt)
    while not rounds.lost:
        idle(belt, rounds, 1)
    gone = belt.thing_position
    idle(belt, rounds, PAUSE_TICKS - 2)
    assert (rounds.lost, rounds.begun) == (1, 0)
    idle(belt, rounds, 2)
    assert (rounds.lost, rounds.begun) == (1, 1)
    assert abs(belt.thing_position[1] - gone[1]) > 0.1
    assert not belt.lost


def test_a_cube_that_is_pushed_back_into_reach_is_lost_all_the_same_and_counted_once(belt) -> None:
    belt.reset(1)
    rounds, away = TaskRounds(belt), np.sign(belt.belt_speed)
    for y in (0.5, 0.0, 0.5):
        belt.put_thing((0.45, away * y, 0.575), velocity_y=belt.belt_speed)
        idle(belt, rounds, 1)
    assert (rounds.lost, rounds.begun) == (1, 0)
    idle(belt, rounds, PAUSE_TICKS - 3)
    assert (rounds.lost, rounds.begun) == (1, 1)


def test_without_repetition_no_other_task_comes(belt) -> None:
    belt.reset(1)
    rounds = TaskRounds(belt, repeat=False)
    idle(belt, rounds, 700)
    assert (rounds.lost, rounds.begun) == (1, 0)


def test_a_task_that_takes_too_long_counts_as_lost_and_is_laid_out_anew(world) -> None:
    world.reset(1)
    rounds = TaskRounds(world, give_up_ticks=20)
    idle(world, rounds, 20)
    assert (rounds.lost, rounds.begun) == (1, 0)
    idle(world, rounds, PAUSE_TICKS)
    assert (rounds.lost, rounds.begun) == (1, 1)


def test_an_expert_leaves_a_cube_that_has_gone_by(belt) -> None:
    belt.reset(1)
    belt.put_thing((0.45, 4.0 * belt.belt_speed, 0.575), velocity_y=belt.belt_speed)
    belt.step(belt.joint_positions, belt.start_widths())
    assert belt.lost
    assert open_expert(belt).act().phase is Phase.RETURN


def test_a_demonstration_of_two_tasks_goes_back_waits_and_does_the_second_one(world) -> None:
    kept = [demonstrate_task(world, 1, episode, tasks=2) for episode in range(4)]
    for one in kept:
        assert (np.diff(one.task) >= 0).all()
        assert one.task[0] == 0
        done = [one.stage[one.task == task].max() == len(world.stages) for task in range(one.task.max() + 1)]
        assert sum(done) == 2
        assert done[-1]
        home = np.linalg.norm(one.tools[-1] - np.array(world.rest_tools()), axis=1)
        assert home.max() < 0.06
        assert one.phase[-1] == Phase.RETURN
    assert len({one.task.max() for one in kept} | {one.done_step for one in kept}) > 2


def test_a_recording_says_which_task_each_step_is_of(tmp_path) -> None:
    steps = record(tmp_path, 1, 3, workers=1, config=CONFIGS["arx_lift2"], tasks=2)
    task = np.load(tmp_path / "task.npy")
    assert len(task) == steps
    assert set(task) >= {0, 1}
    assert json.loads((tmp_path / "meta.json").read_text())["tasks"] == 2


@pytest.mark.parametrize(("config", "tasks"), [(None, 2), (CONFIGS["genie1"], 0), (CONFIGS["genie1"], 11)])
def test_a_number_of_tasks_that_makes_no_sense_is_refused(config, tasks, tmp_path) -> None:
    with pytest.raises(ConfigError, match=f"{tasks} tasks"):
        record(tmp_path / "new", 1, 1, config=config, tasks=tasks)
    assert not (tmp_path / "new").exists()


def test_a_lerobot_dataset_has_one_task_in_an_episode(tmp_path, capsys) -> None:
    out = ["--out", str(tmp_path / "new"), "--config", str(share_dir() / "config" / "sim" / "genie1.yaml")]
    assert main(["sim", "record", "--episodes", "1", "--format", "lerobot", "--tasks", "2", *out]) == 2
    assert "--tasks is 2" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(CONFIGS))
def test_the_expert_does_one_task_after_the_other_and_repeats_itself(name) -> None:
    settings = EvaluationSettings(policy=None, episodes=1, seed=2, stream_s=20.0, world=CONFIGS[name])
    found = evaluate(settings)
    (stream,) = found.streams
    assert stream.picked >= 2
    assert stream.missed <= (name == "arx_lift2")  # it takes over while a cube may be about to leave
    assert stream.faults == 0
    assert evaluate(settings) == found


def test_a_policy_that_stands_still_loses_what_goes_by_and_the_command_says_so(
    scripted, monkeypatch, tmp_path, capsys
) -> None:
    world = open_twin(CONFIGS["arx_lift2"])
    engine = scripted(lambda observation: np.tile(observation.state, (16, 1)), world)
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    monkeypatch.setattr("f1_ros.sim.evaluate.measured_latency_ms", lambda settings: 1.0)
    monkeypatch.setattr("f1_ros.cli.sim.prepare", lambda policy, engine: "torch")
    config, file = str(share_dir() / "config" / "sim" / "arx_lift2.yaml"), tmp_path / "figures.json"
    command = ["sim", "eval", "--policy", "any", "--stream", "30", "--episodes", "1", "--workers", "1"]
    assert main([*command, "--config", config, "--json", str(file)]) == 0
    results = {r["name"]: r["value"] for r in json.loads(file.read_text())["results"]}
    assert results["done"] == results["done_share"] == 0
    assert results["lost"] >= 2
    assert "done_a_minute" in capsys.readouterr().out
