"""`f1-ros demo`: a simulated robot at its work, run by its policy.

The Franka picks from a moving belt, first by teleoperation, then by the policy; the twins of Genie-1 and LIFT II hold,
then their policy does their task. Runs the whole system of `f1_ros.bringup` as processes of its own over DDS, watches
it through its topics alone, and leaves a video, a plot and figures behind.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from f1_ros.bringup_options import NO_POLICY
from f1_ros.cli.demo_show import SHOWS, Show
from f1_ros.cli.demo_stages import Stage, Stages
from f1_ros.cli.engine import add_choice, prepare
from f1_ros.cli.recording import Recording, figures
from f1_ros.cli.report import Report, Result
from f1_ros.engine.config import AUTO
from f1_ros.engine.policy import load_spec
from f1_ros.errors import ConfigError
from f1_ros.paths import share_dir
from f1_ros.processes import BringUp
from f1_ros.robots.profile import load_profile

START_TIMEOUT_S = 90.0  # a busy machine takes its time to import torch in three processes
SWITCH_TIMEOUT_S = 10.0
EPISODE_TIMEOUT_S = 30.0  # cubes or tasks that come to no end for so long each end the run
FORESIGHT_IMAGE_RATE = 5.0  # decoded predictions for the video, Hz
MIN_DOMAIN_ID, DOMAIN_IDS = 1, 100


@dataclass(frozen=True)
class DemoOptions:
    """What to run.

    Attributes:
        robot: one of `SHOWS`.
        policy: policy directory.
        engine: what runs it, see `f1_ros.engine.open_engine`.
        out: folder for the results.
        episodes: cubes, or tasks done or lost, for the policy; None: for `seconds` instead.
        seconds: how long the policy runs, s.
        headless: no viewer window.
        belt_speed: of the Franka's belt, m/s; None: that of its bring-up.
        real_time_factor: simulated seconds per second; below 1 for a machine that does not keep up.
        seed: of simulation and policy.

    Raises:
        ConfigError: if a number is out of range, the robot has no such setting, or the policy is missing.
    """

    policy: Path
    out: Path
    robot: str = "franka"
    engine: str = AUTO
    episodes: int | None = None
    seconds: float = 60.0
    headless: bool = False
    belt_speed: float | None = None
    real_time_factor: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.episodes is not None and self.episodes < 1:
            raise ConfigError(f"--episodes is {self.episodes}.", remedy="Give 1 or more.")
        if not 0 < self.seconds <= 3600:
            raise ConfigError(f"--seconds is {self.seconds}.", remedy="Give more than 0 and at most 3600 s.")
        if self.belt_speed is not None and self.robot != "franka":
            raise ConfigError(
                f"--belt-speed does not go with {self.robot}: it is the Franka's belt's.",
                remedy="Leave it out; the world of the others is a file in config/sim.",
            )
        if not (self.policy / "policy.json").is_file():
            raise ConfigError(
                f"{self.policy} holds no policy.json.", remedy="Give a policy directory with --policy, or train one."
            )

    @property
    def show(self) -> Show:
        """What of the demo is the robot's own."""
        return SHOWS[self.robot]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `demo`."""
    parser = subparsers.add_parser("demo", help="a simulated robot at its work, run by its policy")
    add_options(parser)
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder for the results (default demo_out)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.set_defaults(run=run)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that demo and benchmark share."""
    parser.add_argument(
        "--robot",
        choices=SHOWS,
        default="franka",
        help="the Franka at its belt, with a teleoperator first; Genie-1 at its table; LIFT II at its belt "
        "(default franka)",
    )
    parser.add_argument("--policy", type=Path, metavar="DIR", help="policy directory (default: the shipped one)")
    add_choice(parser, AUTO)
    parser.add_argument("--episodes", type=int, metavar="N", help="cubes or tasks for the policy (default: a minute's)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the policy runs (default 60)")
    parser.add_argument("--belt-speed", type=float, metavar="M/S", help="of the Franka's belt (default 0.15)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--real-time-factor", type=float, default=1.0, metavar="F", help="simulated seconds per second (default 1)"
    )
    parser.add_argument("--headless", action="store_true", help="no window (also where there is no display)")


def run(args: argparse.Namespace) -> int:
    """Run the demo; exit status 0 if a task was done; of the Franka, if teleoperation and policy both picked."""
    options = demo_options(args, args.out)
    options.out.mkdir(parents=True, exist_ok=True)
    prepare(options.policy, options.engine)
    recording = run_system(options)
    results = all_figures(recording, options)
    say("Drawing the video and the plot ...")
    files = leave_pictures(recording, options)
    faults = fault_lines(recording)
    details = {"robot": options.robot, "policy": str(options.policy), "files": files, "faults": faults}
    report = Report("f1-ros demo", results, details)
    report.print_table()
    for line in faults:
        say(line)
    report.write(options.out / "figures.json")
    report.write(args.json)
    say(f"Left in {options.out}: {', '.join([*files, 'figures.json'])}")
    return report.exit_status


def demo_options(args: argparse.Namespace, out: Path) -> DemoOptions:
    """Options from the command line.

    Raises:
        ConfigError: see `DemoOptions`; if no policy is given or shipped, or it is another robot's.
    """
    arguments = SHOWS[args.robot].arguments
    if args.policy is None and arguments.shipped_policy == NO_POLICY:
        raise ConfigError(
            f"No policy for {args.robot} is shipped.",
            remedy=f"Give one with --policy DIR: f1-ros train belt --config config/train/{args.robot}.yaml makes one.",
        )
    options = DemoOptions(
        policy=args.policy or share_dir() / "models" / arguments.shipped_policy,
        out=out,
        robot=args.robot,
        engine=args.engine,
        episodes=args.episodes,
        seconds=args.seconds,
        headless=args.headless or not os.environ.get("DISPLAY"),
        belt_speed=args.belt_speed,
        real_time_factor=args.real_time_factor,
        seed=args.seed,
    )
    # Asked here as well as by the observation node: an engine may take a minute to build before that.
    robot, known = load_spec(options.policy).robot, load_profile(arguments().profile, simulated=True).embodiment
    if robot != known:
        raise ConfigError(
            f"{options.policy} is for the robot '{robot}', --robot {options.robot} is '{known}'.",
            remedy="Give the policy of this robot, or the robot of this policy.",
        )
    return options


def describe(options: DemoOptions) -> BringUp:
    """The demo's system."""
    processes = [
        dataclasses.replace(p, parameters={**p.parameters, "foresight_image_rate": FORESIGHT_IMAGE_RATE})
        if p.executable == "policy_node"
        else p
        for p in options.show.system(options).processes
    ]
    return BringUp("demo", tuple(processes))


def run_system(options: DemoOptions) -> Recording:
    """Bring the system up, let what comes before the policy come to its end, switch to the policy, and end it.

    Raises:
        BringUpError: if a process dies, or a stage does not come to its end in time.
    """
    os.environ.setdefault("ROS_DOMAIN_ID", str(MIN_DOMAIN_ID + os.getpid() % DOMAIN_IDS))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    from f1_ros.nodes.demo_node import DemoWatcher
    from f1_ros.supervisor import Supervisor

    recording, show = Recording(), options.show
    logs = options.out / "logs"
    with (
        Supervisor(describe(options), log_dir=logs) as system,
        DemoWatcher(recording, options.policy, show) as watcher,
    ):
        stages = Stages(system, watcher, recording, logs, options.real_time_factor, partial(live_line, show))
        stages.say(f"Starting {len(system.pids)} processes (logs in {logs}) ...")
        stages.until(lambda: watcher.ready, START_TIMEOUT_S, "the system to come up")
        stages.pass_through(show.first)
        _work(stages, recording, options)
        stages.pass_through(Stage("", "HOLD", lambda _: True, SWITCH_TIMEOUT_S, "the arms to hold"))
        stages.end_line()
    return recording


def _work(stages: Stages, recording: Recording, options: DemoOptions) -> None:
    """Let the policy work until there has been enough."""
    wanted = options.episodes
    if wanted is None:
        what, patience_s = f"{options.seconds:.0f} simulated seconds", options.seconds * 2 + SWITCH_TIMEOUT_S
    else:
        what, patience_s = f"{wanted} {options.show.work} to come to their end", EPISODE_TIMEOUT_S * wanted

    def over(seen: Recording) -> bool:
        if wanted is not None:
            return seen.by_policy.ended >= wanted
        since_ns = seen.statuses[-1].time_ns - (seen.switch_ns or seen.statuses[-1].time_ns)
        return since_ns >= options.seconds * 1e9

    stages.pass_through(Stage("", "POLICY", lambda _: True, SWITCH_TIMEOUT_S, "the policy to take over"))
    stages.say("The policy has taken over.")
    if not stages.tried(Stage("", "POLICY", over, patience_s, what)):
        stages.say(f"Waited {patience_s:.0f} s for {what}, and wait no longer.")


def all_figures(recording: Recording, options: DemoOptions) -> list[Result]:
    """What of the work was done, and the figures that every robot has."""
    return [*options.show.figures(recording), *figures(recording)]


def leave_pictures(recording: Recording, options: DemoOptions) -> list[str]:
    """Write plot and video; returns their names."""
    from f1_ros.cli.demo_plot import plot_joints
    from f1_ros.cli.demo_video import leave_video

    plot_joints(recording, options.out / "joints.png", options.show.before)
    return ["joints.png", *leave_video(recording, options.out, options.show)]


def fault_lines(recording: Recording) -> list[str]:
    """When and why the action node went to FAULT, in s after the first status message."""
    return [
        f"FAULT at {(stamp_ns - recording.statuses[0].time_ns) * 1e-9:.1f} s: {reason}"
        for stamp_ns, reason in recording.faults
    ]


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def live_line(show: Show, recording: Recording, elapsed_s: float) -> str:
    """One line: time, mode, rate, latencies, work."""
    status = recording.statuses[-1]
    latencies = recording.camera_to_command_ms()
    model = [s * 1e3 for _, s in recording.model_latencies[-10:]]
    parts = [
        f"{elapsed_s:5.1f} s",
        f"{status.mode:<6}",
        f"{recording.rate_hz():5.1f} Hz" if recording.rate_hz() > 0 else "    - Hz",
        f"period error p99 {status.period_error_p99_s * 1e3:.2f} ms",
        f"camera to command {latencies[-1]:.0f} ms" if latencies else "camera to command -",
        f"model {sum(model) / len(model):.0f} ms" if model else "model -",
        show.progress(recording),
    ]
    return " | ".join(parts)
