"""docs/simulation.md does what it says."""

import json
import re
import shlex
from pathlib import Path

import pytest

from f1_ros.cli.main import build_parser, main
from f1_ros.paths import share_dir
from f1_ros.sim.measures import Failure, TaskFailure
from f1_ros.sim.worlds import load_world_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "simulation.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]


def arguments(command: str) -> list[str]:
    name, *rest = shlex.split(command)
    assert name == "f1-ros"
    return rest


def test_its_commands_are_understood_and_name_files_that_are_there() -> None:
    assert len(COMMANDS) == 13
    for command in COMMANDS:
        args = build_parser().parse_args(arguments(command))
        if args.config is not None:
            load_world_config(ROOT / args.config)


@pytest.mark.parametrize("command", [c for c in COMMANDS if "--expert" in c or "sim record" in c])
def test_its_commands_without_a_policy_work(command, tmp_path, monkeypatch) -> None:
    (tmp_path / "config").symlink_to(ROOT / "config")
    monkeypatch.chdir(tmp_path)
    small = re.sub(r"--episodes \d+", "--episodes 1", command).replace("--workers 2", "--workers 1")
    assert main(arguments(small)) == 0


def test_it_names_every_packaged_configuration_every_figure_and_every_failure(tmp_path) -> None:
    named = set(re.findall(r"`([^`\n]+)`", TEXT))
    assert {f"config/sim/{p.name}" for p in (share_dir() / "config" / "sim").glob("*.yaml")} <= named
    figures = set()
    twin = ["--config", str(ROOT / "config" / "sim" / "genie1.yaml")]
    for options in (["--reaction"], ["--stream", "1"], twin, [*twin, "--stream", "1"]):
        file = tmp_path / "figures.json"
        assert main(["sim", "eval", "--expert", "--episodes", "1", *options, "--json", str(file)]) == 0
        figures |= {result["name"] for result in json.loads(file.read_text())["results"]}
    assert len(figures) > 15
    assert figures - {"episodes", "streams", "seconds"} <= named
    assert set(Failure.__args__) | set(TaskFailure.__args__) <= named
