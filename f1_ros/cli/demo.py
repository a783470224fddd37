"""`f1-ros demo`: a simulated Franka picks from a moving belt, first by teleoperation, then by the policy.

Runs the whole system of `f1_ros.bringup` as processes of its own over DDS, watches it through its topics alone, and
leaves a video, a plot and figures behind.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from f1_ros.bringup import franka
from f1_ros.bringup_options import EXPERT, FrankaOptions
from f1_ros.cli.engine import add_choice, prepare
from f1_ros.cli.recording import Recording, figures
from f1_ros.cli.report import Report
from f1_ros.engine.config import AUTO
from f1_ros.errors import BringUpError, ConfigError
from f1_ros.paths import share_dir
from f1_ros.processes import BringUp

if TYPE_CHECKING:
    from f1_ros.nodes.demo_node import DemoWatcher
    from f1_ros.supervisor import Supervisor

START_TIMEOUT_S = 90.0  # a busy machine takes its time to import torch in three processes
TELEOP_TIMEOUT_S = 90.0
SWITCH_TIMEOUT_S = 10.0
CUBE_TIMEOUT_S = 30.0  # a cube that comes to no end for so long ends the run
FORESIGHT_IMAGE_RATE = 5.0  # decoded predictions for the video, Hz
LINE_PERIOD_S = 0.5
PLAIN_LINE_PERIOD_S = 5.0  # where the output is a file
MIN_DOMAIN_ID, DOMAIN_IDS = 1, 100


@dataclass(frozen=True)
class DemoOptions:
    """What to run.

    Attributes:
        policy: policy directory.
        engine: what runs it, see `f1_ros.engine.open_engine`.
        out: folder for the results.
        episodes: cubes for the policy; None: for `seconds` instead.
        seconds: how long the policy runs, s.
        headless: no viewer window.
        belt_speed: m/s.
        real_time_factor: simulated seconds per second; below 1 for a machine that does not keep up.
        seed: of simulation and policy.

    Raises:
        ConfigError: if a number is out of range or the policy is missing.
    """

    policy: Path
    out: Path
    engine: str = AUTO
    episodes: int | None = None
    seconds: float = 60.0
    headless: bool = False
    belt_speed: float = 0.15
    real_time_factor: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.episodes is not None and self.episodes < 1:
            raise ConfigError(f"--episodes is {self.episodes}.", remedy="Give 1 or more cubes.")
        if not 0 < self.seconds <= 3600:
            raise ConfigError(f"--seconds is {self.seconds}.", remedy="Give more than 0 and at most 3600 s.")
        if not (self.policy / "policy.json").is_file():
            raise ConfigError(
                f"{self.policy} holds no policy.json.", remedy="Give a policy directory with --policy, or train one."
            )


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `demo`."""
    parser = subparsers.add_parser("demo", help="a simulated Franka at the belt: teleoperation, then the policy")
    add_options(parser)
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder for the results (default demo_out)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.set_defaults(run=run)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that demo and benchmark share."""
    parser.add_argument("--policy", type=Path, metavar="DIR", help="policy directory (default models/f1_belt)")
    add_choice(parser, AUTO)
    parser.add_argument("--episodes", type=int, metavar="N", help="cubes for the policy (default: a minute's)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the policy runs (default 60)")
    parser.add_argument("--belt-speed", type=float, default=0.15, metavar="M/S", help="default 0.15")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--real-time-factor", type=float, default=1.0, metavar="F", help="simulated seconds per second (default 1)"
    )
    parser.add_argument("--headless", action="store_true", help="no window (also where there is no display)")


def run(args: argparse.Namespace) -> int:
    """Run the demo; exit status 0 if teleoperation and policy both picked."""
    options = demo_options(args, args.out)
    options.out.mkdir(parents=True, exist_ok=True)
    prepare(options.policy, options.engine)
    recording = run_system(options)
    results = figures(recording)
    say("Drawing the video and the plot ...")
    files = leave_pictures(recording, options)
    faults = fault_lines(recording)
    report = Report("f1-ros demo", results, {"policy": str(options.policy), "files": files, "faults": faults})
    report.print_table()
    for line in faults:
        say(line)
    report.write(options.out / "figures.json")
    report.write(args.json)
    say(f"Left in {options.out}: {', '.join([*files, 'figures.json'])}")
    return report.exit_status


def demo_options(args: argparse.Namespace, out: Path) -> DemoOptions:
    """Options from the command line."""
    return DemoOptions(
        policy=args.policy or share_dir() / "models" / "f1_belt",
        out=out,
        engine=args.engine,
        episodes=args.episodes,
        seconds=args.seconds,
        headless=args.headless or not os.environ.get("DISPLAY"),
        belt_speed=args.belt_speed,
        real_time_factor=args.real_time_factor,
        seed=args.seed,
    )


def describe(options: DemoOptions) -> BringUp:
    """The demo's system: the simulated Franka, with the scripted expert as teleoperator."""
    system = franka(
        FrankaOptions(
            sim=True,
            policy=str(options.policy),
            engine=options.engine,
            teleop=EXPERT,
            seed=options.seed,
            belt_speed=options.belt_speed,
            real_time_factor=options.real_time_factor,
            view=not options.headless,
        )
    )
    processes = [
        dataclasses.replace(p, parameters={**p.parameters, "foresight_image_rate": FORESIGHT_IMAGE_RATE})
        if p.executable == "policy_node"
        else p
        for p in system.processes
    ]
    return BringUp("demo", tuple(processes))


def run_system(options: DemoOptions) -> Recording:
    """Bring the system up, let teleoperation pick a cube, switch to the policy, and end it.

    Raises:
        BringUpError: if a process dies, or a stage does not come to its end in time.
    """
    os.environ.setdefault("ROS_DOMAIN_ID", str(MIN_DOMAIN_ID + os.getpid() % DOMAIN_IDS))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    from f1_ros.nodes.demo_node import DemoWatcher
    from f1_ros.supervisor import Supervisor

    recording = Recording()
    logs = options.out / "logs"
    with (
        Supervisor(describe(options), log_dir=logs) as system,
        DemoWatcher(recording, options.policy) as watcher,
    ):
        stage = _Stages(system, watcher, recording, logs, options.real_time_factor)
        say(f"Starting {len(system.pids)} processes (logs in {logs}) ...")
        stage.until(lambda: watcher.ready, START_TIMEOUT_S, "the system to come up")
        say("Teleoperation: the scripted expert picks a cube from the moving belt.")
        stage.until(
            lambda: watcher.ask_for("TELEOP") and recording.counts.binned >= 1,
            TELEOP_TIMEOUT_S,
            "teleoperation to pick a cube",
        )
        stage.until(lambda: watcher.ask_for("POLICY"), SWITCH_TIMEOUT_S, "the policy to take over")
        say("The policy has taken over; the belt moves on.")
        if options.episodes is None:
            end_ns = recording.statuses[-1].time_ns + round(options.seconds * 1e9)
            stage.until(
                lambda: watcher.ask_for("POLICY") and recording.statuses[-1].time_ns >= end_ns,
                options.seconds * 2 + SWITCH_TIMEOUT_S,
                f"{options.seconds:.0f} simulated seconds",
            )
        else:
            wanted = options.episodes
            stage.until(
                lambda: watcher.ask_for("POLICY") and recording.ended_for_policy >= wanted,
                CUBE_TIMEOUT_S * wanted,
                f"{wanted} cubes to be done",
            )
        stage.until(lambda: watcher.ask_for("HOLD"), SWITCH_TIMEOUT_S, "the arm to hold")
        stage.end_line()
    return recording


def leave_pictures(recording: Recording, options: DemoOptions) -> list[str]:
    """Write plot and video; returns their names."""
    from f1_ros.cli.demo_plot import plot_joints
    from f1_ros.cli.demo_video import leave_video

    plot_joints(recording, options.out / "joints.png")
    return ["joints.png", *leave_video(recording, options.out)]


def fault_lines(recording: Recording) -> list[str]:
    """When and why the action node went to FAULT, in s after the first status message."""
    return [
        f"FAULT at {(stamp_ns - recording.statuses[0].time_ns) * 1e-9:.1f} s: {reason}"
        for stamp_ns, reason in recording.faults
    ]


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


class _Stages:
    """Watches the processes while something is awaited, and prints the live line."""

    def __init__(
        self, system: Supervisor, watcher: DemoWatcher, recording: Recording, logs: Path, real_time_factor: float
    ) -> None:
        self._system, self._watcher, self._recording, self._logs = system, watcher, recording, logs
        self._patience = max(1.0, 1.0 / real_time_factor)
        self._begin = time.monotonic()
        self._next_line = self._begin
        self._live = sys.stdout.isatty()

    def until(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s * self._patience
        while not done():
            self._watch()
            if time.monotonic() > deadline:
                self.end_line()
                raise BringUpError(
                    f"Waited {timeout_s:.0f} s for {what}; {self._state()}.", remedy=f"Look into {self._logs}."
                )

    def end_line(self) -> None:
        if self._live:
            print(flush=True)

    def _watch(self) -> None:
        deaths = self._system.poll(0.1)
        if deaths:
            self.end_line()
            name = deaths[0].process.name
            raise BringUpError(deaths[0].notice, remedy=f"Look into {self._logs / name}.log.")
        now = time.monotonic()
        if now >= self._next_line and self._recording.statuses:
            self._next_line = now + (LINE_PERIOD_S if self._live else PLAIN_LINE_PERIOD_S)
            line = live_line(self._recording, now - self._begin)
            print(f"\r{line:<110}" if self._live else line, end="" if self._live else "\n", flush=True)

    def _state(self) -> str:
        statuses = self._recording.statuses
        if not statuses:
            return "no status has come from the action node"
        said = [text for text in (statuses[-1].reason, self._watcher.refusal) if text]
        return ": ".join([f"mode {statuses[-1].mode}", *said])


def live_line(recording: Recording, elapsed_s: float) -> str:
    """One line: time, mode, rate, latencies, cubes."""
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
        f"cubes: teleop {recording.picked_by_teleop}, policy {recording.picked_by_policy}",
    ]
    if recording.switch_ns is not None:
        parts[-1] += f" (missed {recording.missed_by_policy})"
    return " | ".join(parts)
