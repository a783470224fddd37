"""`f1-ros robot`: robot profiles, and the modes of control."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `robot check` and `robot modes`."""
    robot = subparsers.add_parser("robot", help="check robot profiles; show the modes of control")
    commands = robot.add_subparsers(metavar="COMMAND", required=True)
    check = commands.add_parser(
        "check",
        help="say what is right and wrong in a robot profile",
        description="Check a robot profile: keys, units, limits, names, and values that are still open.",
    )
    check.add_argument("profile", metavar="FILE", help="a profile's YAML file, or a name in config/robots")
    check.add_argument("--json", metavar="FILE", help="write the findings to this file, too")
    check.set_defaults(run=run_check)
    modes = commands.add_parser(
        "modes",
        help="show which mode of control may follow which, and why",
        description="Print the arbiter's state machine in Markdown: a diagram (mermaid) and its table.",
    )
    modes.set_defaults(run=run_modes)


def run_check(args: argparse.Namespace) -> int:
    """Check one profile; 0 if it can be used, 1 if anything is wrong or open."""
    from f1_ros.cli.report import Report, Result
    from f1_ros.config import load_yaml
    from f1_ros.errors import ProfileError
    from f1_ros.robots.check import find_problems
    from f1_ros.robots.profile import RobotProfile, profile_path

    path = profile_path(args.profile)
    try:
        profile = load_yaml(path, RobotProfile, ProfileError)
    except ProfileError as error:
        # What the values mean cannot be judged before every key is there with the right type.
        mistakes = [str(error), *getattr(error, "__notes__", [])]
        results = [Result("schema", len(mistakes), "mistakes", "0", ok=False)]
        details: dict[str, object] = {"problems": [{"key": "", "problem": m, "open": False} for m in mistakes]}
        lines = mistakes
    else:
        problems = find_problems(profile)
        still_open = sum(p.is_open for p in problems)
        results = [
            Result("schema", 0, "mistakes", "0"),
            Result("problems", len(problems) - still_open, "", "0", ok=len(problems) == still_open),
            Result("open_values", still_open, "", "0", ok=still_open == 0),
            Result("arms", len(profile.arms)),
            Result("joints", len(profile.joints)),
            Result("grippers", len(profile.grippers)),
            Result("cameras", len(profile.cameras)),
            Result("control_rate", profile.rates.control, "Hz"),
        ]
        details = {
            "problems": [{"key": p.key, "problem": p.problem, "remedy": p.remedy, "open": p.is_open} for p in problems]
        }
        lines = [f"{'open ' if p.is_open else ''}{p.key}: {p.problem}. Remedy: {p.remedy}" for p in problems]
    report = Report(f"f1-ros robot check {args.profile}", results, details)
    report.print_table()
    for line in lines:
        print(f"- {line}")
    print(f"{path}: {'can be used' if report.ok else 'cannot be used yet'}")
    report.write(args.json)
    return report.exit_status


def run_modes(args: argparse.Namespace) -> int:
    """Print the state machine."""
    from f1_ros.cli.modes import as_markdown

    print(as_markdown(), end="")
    return 0
