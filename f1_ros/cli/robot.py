"""`f1-ros robot`: robot profiles, and the modes of control."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from f1_ros.cli import conformance


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `robot check`, `robot show`, `robot new`, `robot conformance` and `robot modes`."""
    robot = subparsers.add_parser("robot", help="check, show, make and try robot profiles; show the modes of control")
    commands = robot.add_subparsers(metavar="COMMAND", required=True)
    check = commands.add_parser(
        "check",
        help="say what is right and wrong in a robot profile",
        description="Check a robot profile: keys, units, limits, names, and values that are still open.",
    )
    check.add_argument("profile", metavar="FILE", help="a profile's YAML file, or a name in config/robots")
    check.add_argument("--sim", action="store_true", help="with the values of its simulation for what is open")
    check.add_argument("--json", metavar="FILE", help="write the findings to this file, too")
    check.set_defaults(run=run_check)
    show = commands.add_parser(
        "show",
        help="show where each number of an action goes, and what comes from where",
        description="Print in Markdown what a profile means: from the policy's 32 numbers to each topic's fields.",
    )
    show.add_argument("profile", metavar="NAME", help="a name in config/robots, or a profile's YAML file")
    show.set_defaults(run=run_show)
    new = commands.add_parser(
        "new",
        help="ask for what a robot is like, and write its profile",
        description="Ask for what a robot is like and write NAME.yaml. What you do not know stays open: `f1-ros robot "
        "check` asks for it until you have measured it.",
    )
    new.add_argument("name", metavar="NAME", help="name of the profile: lower-case letters, digits and _")
    new.add_argument("--answers", metavar="FILE", help="YAML file with the answers by their keys; - reads stdin")
    new.add_argument("--out", metavar="FILE", type=Path, help="where to write; otherwise NAME.yaml here")
    new.set_defaults(run=run_new)
    conformance.add_command(commands)
    modes = commands.add_parser(
        "modes",
        help="show which mode of control may follow which, and why",
        description="Print the arbiter's state machine in Markdown: a diagram (mermaid) and its table.",
    )
    modes.set_defaults(run=run_modes)


def run_check(args: argparse.Namespace) -> int:
    """Check one profile; 0 if it can be used, 1 if anything is wrong or open."""
    from f1_ros.cli.report import Report, Result
    from f1_ros.errors import ProfileError
    from f1_ros.robots.check import find_problems
    from f1_ros.robots.files import profile_path, read_profile

    path = profile_path(args.profile)
    try:
        profile = read_profile(path, simulated=args.sim)
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
    usable = "can be used in the simulation" if args.sim else "can be used"
    print(f"{path}: {usable if report.ok else 'cannot be used yet'}")
    report.write(args.json)
    return report.exit_status


def run_show(args: argparse.Namespace) -> int:
    """Print what a profile means."""
    from f1_ros.robots.files import profile_path, read_profile
    from f1_ros.robots.show import describe

    print(describe(read_profile(profile_path(args.profile))), end="")
    return 0


def run_new(args: argparse.Namespace) -> int:
    """Ask, write the profile, and check it; 0 if it can be used, 1 if anything is wrong or open."""
    from f1_ros.config import read_yaml, yaml_value
    from f1_ros.errors import ProfileError
    from f1_ros.robots.new import Answers, Prompts, ask_profile, write

    out = args.out or Path(f"{args.name}.yaml")
    if out.exists():
        raise ProfileError(f"{out} is there already.", remedy="Give another name or --out, or remove it.")
    if args.answers is None:
        asker: Answers | Prompts = Prompts(input, print)
    else:
        text = yaml_value(sys.stdin.read(), "stdin") if args.answers == "-" else read_yaml(Path(args.answers))
        asker = Answers(text, args.answers)
    write(ask_profile(args.name, asker), out)
    print(f"{out} is written.")
    return run_check(argparse.Namespace(profile=str(out), sim=False, json=None))


def run_modes(args: argparse.Namespace) -> int:
    """Print the state machine."""
    from f1_ros.cli.modes import as_markdown

    print(as_markdown(), end="")
    return 0
