"""docs/data.md does what it says."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from f1_ros.cli.main import main
from f1_ros.config import parse
from f1_ros.data.check import check
from f1_ros.data.embodiment import AnyEmbodiment
from f1_ros.data.sources import DatasetConfig

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "data.md").read_text()
SMALLER = {"--episodes 50": "--episodes 2", "--workers 2": "--workers 1", "--episodes 0 25 49": "--episodes 0 1"}


def test_its_commands_work_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    commands = block[1].splitlines()
    assert len(commands) == 4
    for command in commands:
        for whole, small in SMALLER.items():
            command = command.replace(whole, small)
        assert main(shlex.split(command)[1:]) == 0, command
    assert (tmp_path / "sheet.png").stat().st_size > 50_000


def test_its_configuration_is_valid() -> None:
    block = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    datasets = [parse(d, DatasetConfig, source="docs/data.md") for d in yaml.safe_load(block[1])["datasets"]]
    assert [d.weight for d in datasets] == [3.0, 1.0]
    assert datasets[1].embodiment is not None
    assert datasets[1].embodiment.kind == "franka"


def test_it_names_every_finding_and_every_embodiment() -> None:
    named = set(re.findall(r"`([a-z0-9_]+)`", TEXT))
    sources = "".join(p.read_text() for p in Path(check.__code__.co_filename).parent.glob("check*.py"))
    codes = set(re.findall(r'(?:Finding|_everywhere|_all_over)\(\s*"([a-z_]+)"', sources))
    assert len(codes) > 15
    assert codes <= named
    kinds = {family.__dataclass_fields__["kind"].default for family in AnyEmbodiment.__args__}
    assert kinds <= named
