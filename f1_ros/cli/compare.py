"""`f1-ros sim compare`: two evaluations of the same episodes, and how far apart they are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `sim compare`."""
    parser = commands.add_parser(
        "compare",
        help="how much more often one evaluation succeeds than another, in the same episodes",
        description="Compare reports of `f1-ros sim eval --json`, episode by episode, with the first.",
    )
    parser.add_argument("first", type=Path, metavar="FILE", help="report to compare with")
    parser.add_argument("others", type=Path, nargs="+", metavar="FILE", help="reports of the same episodes")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file, too")
    parser.set_defaults(run=_compare)


def _compare(args: argparse.Namespace) -> int:
    """Compare; 0 if the reports can be compared."""
    from f1_ros.cli.report import Report, Result
    from f1_ros.errors import ConfigError
    from f1_ros.sim.measures import paired_difference

    names, compared = _names([args.first, *args.others]), ("episodes", "seed", "world")
    settings, base = _read(args.first)
    results = [Result(f"{names[0]}_succeeded", sum(base), f"of {len(base)}")]
    for name, path in zip(names[1:], args.others, strict=True):
        other, succeeded = _read(path)
        for key in compared:
            if other[key] != settings[key]:
                raise ConfigError(
                    f"{path}: {key} is another than in {args.first}.", remedy="Evaluate the same episodes in both."
                )
        difference, low, high = paired_difference(succeeded, base)
        results += [
            Result(f"{name}_succeeded", sum(succeeded), f"of {len(succeeded)}"),
            Result(f"{name}_more_often", difference),
            Result(f"{name}_more_often_low", low),
            Result(f"{name}_more_often_high", high),
            Result(f"{name}_other_outcomes", sum(a != b for a, b in zip(succeeded, base, strict=True)), "episodes"),
        ]
    report = Report("f1-ros sim compare " + " ".join(names), results)
    report.print_table()
    report.write(args.json)
    return report.exit_status


def _names(paths: list[Path]) -> list[str]:
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]


def _read(path: Path) -> tuple[dict[str, Any], list[bool]]:
    """Settings and success of each episode of a report.

    Raises:
        ConfigError: if the file is none.
    """
    import json

    from f1_ros.errors import ConfigError

    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return report["settings"], [bool(run["picked"]) for run in report["runs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is no report of an evaluation ({error!r}).", remedy="Make it by `f1-ros sim eval --json FILE`."
        ) from error
