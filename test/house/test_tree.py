"""The house keeps its shape: top level, sizes, and documents that name only what exists."""

import argparse
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from f1_ros.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[2]
TOP_LEVEL = {
    "f1_ros", "launch", "msg", "config", "models", "test", "package.xml", "setup.py", "README.md",
    "pyproject.toml", "setup.cfg", "Makefile", "LICENSE", ".ci", "docs", "bench", "colcon_defaults.yaml",
    "CHANGELOG.md", ".gitignore",
}  # fmt: skip
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").rglob("*.md")])
FENCE = re.compile(r"```(?:bash|sh|console)\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`((?:make|f1-ros) [^`\n]+)`")
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_top_level_is_exactly_what_the_architecture_says() -> None:
    assert {name.partition("/")[0] for name in tracked()} == TOP_LEVEL


def test_modules_stay_readable_in_one_sitting() -> None:
    long = {p.name: n for p in (ROOT / "f1_ros").rglob("*.py") if (n := len(p.read_text().splitlines())) >= 400}
    assert long == {}


def fenced_commands(document: Path) -> list[str]:
    """Commands in code blocks: meant to be typed as they stand."""
    blocks = FENCE.findall(document.read_text())
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines = [line.removeprefix("$ ").removeprefix(".venv/bin/").partition(" #")[0].strip() for line in lines]
    return [line for line in lines if line.startswith(("make ", "f1-ros "))]


def each(find: Callable[[Path], list[str]]) -> list[tuple[str, str]]:
    return [(document.relative_to(ROOT).as_posix(), found) for document in DOCUMENTS for found in find(document)]


def check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        name, assigned, _ = word.partition("=")
        assert re.search(rf"^{name} \?=" if assigned else rf"^{name}:", makefile, re.MULTILINE), word


@pytest.mark.parametrize(("document", "command"), each(fenced_commands))
def test_a_command_in_a_code_block_can_be_typed(document: str, command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        check_make(words[1:])
    else:
        build_parser().parse_args(words[1:])


@pytest.mark.parametrize(("document", "command"), each(lambda d: INLINE.findall(d.read_text())))
def test_a_command_named_in_a_text_exists(document: str, command: str) -> None:
    """In a text a command may be cut short or have placeholders: its group, command and options must exist."""
    program, *words = command.split()
    if program == "make":
        check_make(words)
        return
    parser = build_parser()
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--") and following != "VALUE":
            assert word in parser.format_help(), word
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and word.islower():
                assert word in action.choices, word
                parser = action.choices[word]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.relative_to(ROOT).as_posix())
def test_a_link_in_a_document_leads_to_a_file(document: Path) -> None:
    missing = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert missing == []


def test_every_dependency_is_pinned_and_explained() -> None:
    explained = (ROOT / "docs" / "dependencies.md").read_text()
    for name in ("runtime.txt", "ros.txt", "dev.txt", "libero.txt", "peers.txt"):
        lines = (ROOT / ".ci" / "requirements" / name).read_text().splitlines()
        pins = [line for line in lines if line and not line.startswith("#")]
        assert pins
        for pin in pins:
            package, _, version = pin.partition("==")
            assert version, f"{name}: {pin} has no exact version"
            assert f"`{package}`" in explained, f"docs/dependencies.md does not say why {package} is needed"


def test_locked_versions_are_those_of_the_direct_dependencies() -> None:
    folder = ROOT / ".ci" / "requirements"
    for locking, names in (
        ("locked.txt", ("runtime.txt", "ros.txt", "dev.txt")),
        ("libero_locked.txt", ("libero.txt",)),
        ("peers_locked.txt", ("peers.txt",)),
    ):
        locked = set((folder / locking).read_text().splitlines())
        for name in names:
            for line in (folder / name).read_text().splitlines():
                if line and not line.startswith("#"):
                    pin = re.sub(r"\[.*?\]", "", line)  # constraints have no extras
                    assert pin in locked, f"{line} of {name} is not what {locking} says"


def test_an_extra_is_tested_at_the_version_that_it_asks_for() -> None:
    extras = set(re.findall(r'"([\w-]+==[\w.]+)"', (ROOT / "setup.py").read_text()))
    assert extras
    assert extras <= set((ROOT / ".ci" / "requirements" / "dev.txt").read_text().splitlines())


def test_version_is_the_same_everywhere() -> None:
    for file in ("package.xml", "msg/package.xml"):
        assert "<version>0.1.0</version>" in (ROOT / file).read_text()
    assert 'version="0.1.0"' in (ROOT / "setup.py").read_text()
    assert "## 0.1.0" in (ROOT / "CHANGELOG.md").read_text()
