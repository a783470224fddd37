"""The one shape of every `--json FILE` of the command line, and its table for people.

    {"command", "ok", "results": [{"name", "value", "unit", "goal", "ok"}], "environment", ... details}

A command's exit status is 0 exactly when `ok`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import subprocess
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import f1_ros
from f1_ros.errors import ConfigError

Value = float | int | str | bool | None
_SHAPE = ("command", "ok", "results", "environment")
_PACKAGES = ("torch", "transformers", "mujoco", "ruckig", "numpy", "onnxruntime", "ray", "ros-jazzy-rclpy")


@dataclass(frozen=True)
class Result:
    """One figure.

    Attributes:
        name: its name, such as "success_rate".
        value: the figure; None where it could not be had.
        unit: its unit, empty for counts and ratios.
        goal: what is asked of it, as text ("<= 1e-5"), or None where nothing is.
        ok: whether the goal is met.
    """

    name: str
    value: Value
    unit: str = ""
    goal: str | None = None
    ok: bool = True


@dataclass(frozen=True)
class Report:
    """What a command found.

    Attributes:
        command: the command as typed, such as "f1-ros model verify DIR".
        results: the figures.
        details: further keys of the JSON file, beside the fixed ones.

    Raises:
        ConfigError: if `details` uses one of the fixed keys.
    """

    command: str
    results: list[Result]
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse details that would overwrite the fixed keys."""
        clash = sorted(set(self.details) & set(_SHAPE))
        if clash:
            raise ConfigError(f"Report details use the fixed keys {clash}.", remedy="Name the details otherwise.")

    @property
    def ok(self) -> bool:
        """Whether every goal is met."""
        return all(result.ok for result in self.results)

    @property
    def exit_status(self) -> int:
        """0 exactly when `ok`, else 1."""
        return 0 if self.ok else 1

    def as_dict(self) -> dict[str, Any]:
        """Return the report in the shape of the JSON file."""
        return {
            "command": self.command,
            "ok": self.ok,
            "results": [dataclasses.asdict(result) for result in self.results],
            "environment": environment(),
            **self.details,
        }

    def write(self, path: str | Path | None) -> None:
        """Write the JSON file, its folder included; NaN and infinity become null, as JSON has none.

        Args:
            path: where to; None writes nothing (a `--json` that was not given).

        Raises:
            ConfigError: if the file cannot be written.
        """
        if path is None:
            return
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(_finite(self.as_dict()), indent=2, default=_plain) + "\n", encoding="utf-8")
        except OSError as exc:
            raise ConfigError(f"{path}: cannot be written ({exc}).", remedy="Give a path that is writable.") from exc

    def conclude(self, path: str | Path | None) -> int:
        """Print the table and write the file, as `write` does; gives the exit status."""
        self.print_table()
        self.write(path)
        return self.exit_status

    def print_table(self) -> None:
        """Print the figures as a table: name, value, unit, goal, and ok or FAIL where there is a goal."""
        rows = [
            (r.name, _text(r.value), r.unit, r.goal or "", "FAIL" if not r.ok else "ok" if r.goal else "")
            for r in self.results
        ]
        rows.insert(0, ("name", "value", "unit", "goal", "ok"))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        for i, row in enumerate(rows):
            cells = [row[0].ljust(widths[0]), row[1].rjust(widths[1])]
            cells += [cell.ljust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
            print("  ".join(cells).rstrip())
            if i == 0:
                print("  ".join("-" * width for width in widths))


def environment() -> dict[str, Any]:
    """Return what the figures were measured on: versions, processor, cores, commit, operating system."""
    return {
        "os": platform.platform(),
        "python": platform.python_version(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "commit": _commit(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Commit of the checkout that runs, with '+' if tracked files differ from it; None when not in a checkout."""
    here = Path(f1_ros.__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None
    git = ["git", "-C", str(here)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        diff = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None  # no git here, or no commit yet: the figure stands without it
    return head.stdout.strip() + ("+" if diff.returncode else "")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _finite(value.tolist())
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _text(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
