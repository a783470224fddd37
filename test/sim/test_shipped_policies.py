"""What models/ ships does its task in its world, as its card says, and is what the simulated robots come up with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from f1_ros.bringup_options import ArxLift2Options, FrankaOptions, Genie1Options, RobotOptions
from f1_ros.cli.main import main
from f1_ros.engine.policy import load_spec
from f1_ros.engine.recorded import CHECK_FILE

MODELS = Path(__file__).parents[2] / "models"
WORLDS = {"f1_belt": "belt", "f1_genie1": "genie1", "f1_arx_lift2": "arx_lift2"}
EPISODES = 3


@pytest.mark.parametrize("policy", sorted(path.name for path in MODELS.iterdir()))
def test_it_does_its_task_in_two_of_three_unseen_episodes(policy: str, tmp_path: Path) -> None:
    world = Path("config") / "sim" / f"{WORLDS[policy]}.yaml"
    arguments = ["--episodes", str(EPISODES), "--seed", "1", "--delay", "0.15", "--exact-delay", "--workers", "1"]
    written = tmp_path / "eval.json"
    main(["sim", "eval", "--policy", str(MODELS / policy), "--config", str(world), *arguments, "--engine", "torch",
          "--json", str(written)])  # fmt: skip
    runs = json.loads(written.read_text())["runs"]
    assert len(runs) == EPISODES
    assert sum(run["picked"] for run in runs) >= 2


@pytest.mark.parametrize("options", [FrankaOptions, Genie1Options, ArxLift2Options])
def test_a_simulated_robot_comes_up_with_the_policy_that_is_for_it(options: type[RobotOptions]) -> None:
    folder = options(sim=True).policy_dir
    assert folder == MODELS / options.shipped_policy
    assert load_spec(folder).robot == options.shipped_for
    assert (folder / CHECK_FILE).is_file(), "a compiled engine cannot be checked without it"
