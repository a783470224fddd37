"""The command line: every group answers --help quickly, and errors are one readable line."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from f1_ros.cli import main as cli
from f1_ros.errors import ConfigError

MODULES = {path.stem for path in Path(cli.__file__).parent.glob("*.py")}


def test_every_group_is_a_module_with_a_parser() -> None:
    assert set(cli.GROUPS) <= MODULES
    assert len(cli.GROUPS) == len(set(cli.GROUPS))
    cli.build_parser()


@pytest.mark.parametrize("group", cli.GROUPS)
def test_every_group_has_help(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([group, "--help"])
    assert stopped.value.code == 0
    assert f"f1-ros {group}" in capsys.readouterr().out


def test_help_loads_no_heavy_module() -> None:
    code = (
        "import sys; from f1_ros.cli.main import build_parser; build_parser();"
        "print([m for m in ('torch', 'mujoco', 'transformers', 'rclpy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "f1_ros", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: f1-ros ")


def run_with(monkeypatch: pytest.MonkeyPatch, run: object) -> int:
    parser = argparse.ArgumentParser()
    parser.set_defaults(run=run)
    monkeypatch.setattr(cli, "build_parser", lambda: parser)
    return cli.main([])


def test_an_error_is_one_line_with_its_remedy_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: argparse.Namespace) -> int:
        raise ConfigError("belt.yaml: key 'speed' is missing.", remedy="Add 'speed'.")

    assert run_with(monkeypatch, fail) == 2
    captured = capsys.readouterr()
    assert captured.err == "f1-ros: belt.yaml: key 'speed' is missing. Remedy: Add 'speed'.\n"
    assert captured.out == ""


def test_interruption_is_status_130_and_a_programming_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    def broken(args: argparse.Namespace) -> int:
        raise ZeroDivisionError

    assert run_with(monkeypatch, interrupted) == 130
    with pytest.raises(ZeroDivisionError):
        run_with(monkeypatch, broken)


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    reads, writes = os.pipe()
    os.close(reads)  # as `| head` does once it has enough
    command = [sys.executable, "-m", "f1_ros", "robot", "check", "franka_fr3"]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, "")


def test_another_broken_pipe_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: argparse.Namespace) -> int:
        raise BrokenPipeError("a worker's pipe")

    with pytest.raises(BrokenPipeError, match="worker"):
        run_with(monkeypatch, fail)
