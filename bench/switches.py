"""Random changes of mode in the live system: no jump, one source in every tick, no command lost.

    python bench/switches.py [--switches 1000] [--seed 0] [--out DIR]

The simulated robot and the action node run as processes of their own; this process is the person and the policy. Their
targets are far apart and move at random speeds. At random instants a mode is asked for, the deadman is pressed or let
go of, or the leader, at rest, is pushed. Every command and every status is kept and judged afterwards, by the profile's
limits and by what the status says of each command's mode.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import os
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import yaml
from f1_msgs.msg import ActionChunk as ActionChunkMsg
from f1_msgs.msg import ControlStatus, Deadman
from f1_msgs.srv import SetMode
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from f1_ros.bringup import franka
from f1_ros.bringup_options import FrankaOptions
from f1_ros.cli.report import Report, Result
from f1_ros.control.arbiter import Mode
from f1_ros.control.chunk import ActionChunk
from f1_ros.errors import BringUpError
from f1_ros.nodes.conversions import chunk_to_msg, to_ns, to_time
from f1_ros.nodes.lifecycle import NAMESPACE
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.robots.files import profile_path
from f1_ros.robots.profile import RobotProfile, load_profile
from f1_ros.supervisor import Supervisor

HERE = Path(__file__).parent
MS = 1_000_000
STEP_NS = 50 * MS
NOTHING_LOST = QoSProfile(depth=20_000, reliability=ReliabilityPolicy.RELIABLE)
START_S, STALL_S = 60.0, 30.0
# What happens at a random instant, and how often of 100.
HAPPENS = {"teleop": 22, "policy": 30, "correction": 16, "hold": 8, "fault": 2, "deadman": 8, "push": 14}
JUMP_RAD = 1e-3


class Person(Node):
    """Leader, deadman, policy and whoever asks for modes, all at random; keeps what the action node says."""

    def __init__(self, profile: RobotProfile, seed: int) -> None:
        super().__init__("switches", namespace=NAMESPACE)
        self._profile, self._rng = profile, np.random.default_rng(seed)
        self._ready = np.array(profile.ready)
        self.commands: list[tuple[int, array[float]]] = []
        self.statuses: list[ControlStatus] = []
        self.asked: collections.Counter[str] = collections.Counter()
        self._measured: np.ndarray | None = None
        self._now_ns = self._sequence = self._chunk_ns = self._leader_ns = 0
        self._held = True
        self._phase, self._policy_phase = 0.0, 0.0
        self._draw_speeds()
        arm = profile.arms[0]
        self.create_subscription(JointState, arm.command.topic, self._on_command, NOTHING_LOST)
        self.create_subscription(ControlStatus, "status", self.statuses.append, NOTHING_LOST)
        self.create_subscription(JointState, arm.state.topic, self._on_state, SENSOR)
        self._leader = self.create_publisher(JointState, "teleop/joint_command", SENSOR)
        self._deadman = self.create_publisher(Deadman, "teleop/deadman", COMMAND)
        self._chunks = self.create_publisher(ActionChunkMsg, "action_chunk", COMMAND)
        self._set_mode = self.create_client(SetMode, "set_mode")

    @property
    def changes(self) -> int:
        """Changes of mode so far."""
        return int(self.statuses[-1].mode_changes) if self.statuses else 0

    @property
    def ready(self) -> bool:
        """Commands and statuses come, and modes can be asked for."""
        return len(self.commands) > 20 and bool(self.statuses) and self._set_mode.service_is_ready()

    def happen(self) -> float:
        """Let something happen; s until the next time."""
        mode = Mode(self.statuses[-1].mode)
        what = str(self._rng.choice(list(HAPPENS), p=np.array(list(HAPPENS.values())) / 100))
        if mode is Mode.FAULT:
            what = "hold"
        elif mode is Mode.HOLD and what in ("hold", "deadman", "correction"):
            what = "teleop" if self._held else "policy"
        self._draw_speeds()
        if what == "deadman":
            self._held = not self._held
        elif what == "push":  # from rest, as the device only counts as touched if it lay still
            self._leader_speed = 0.0 if self._leader_speed else 2.0
        else:
            self._set_mode.call_async(SetMode.Request(mode=Mode[what.upper()].value))
        if not self._held and self._rng.random() < 0.3:
            self._held = True
        self.asked[what] += 1
        return float(self._rng.choice([0.0, 0.01, 0.1, 0.3, 0.8]) + self._rng.exponential(0.05))

    def _draw_speeds(self) -> None:
        """Leader and policy swing each joint by up to 0.35 rad; the fastest joint at up to 2 rad/s."""
        self._leader_speed = float(self._rng.choice([0.0, 0.0, self._rng.uniform(0.1, 6.0)]))
        self._policy_speed = float(self._rng.uniform(0.1, 6.0))

    def _on_command(self, msg: JointState) -> None:
        self.commands.append((to_ns(msg.header.stamp), msg.position))

    def _on_state(self, msg: JointState) -> None:
        now_ns = to_ns(msg.header.stamp)
        dt_s = min(max(0, now_ns - self._now_ns), 100 * MS) * 1e-9
        self._now_ns, self._measured = now_ns, np.array(msg.position)
        self._phase += self._leader_speed * dt_s
        self._policy_phase += self._policy_speed * dt_s
        if now_ns - self._leader_ns >= 20 * MS:
            self._leader_ns = now_ns
            self._send_leader()
        if now_ns - self._chunk_ns >= 2 * STEP_NS:
            self._chunk_ns = now_ns
            self._send_chunk()

    def _send_leader(self) -> None:
        deadman = Deadman(held=self._held)
        deadman.header.stamp = to_time(self._now_ns)
        self._deadman.publish(deadman)
        target = self._ready + 0.35 * np.sin(self._phase + np.arange(7))
        message = JointState(name=list(self._profile.joints), position=array("d", target))
        message.header.stamp = to_time(self._now_ns)
        self._leader.publish(message)

    def _send_chunk(self) -> None:
        """What a policy plans from where the arm is: to go back to its own swing within 0.4 s, and on along it."""
        assert self._measured is not None
        ahead = np.arange(1, 17) * STEP_NS * 1e-9
        swing = self._ready - 0.35 * np.cos(self._policy_phase + self._policy_speed * ahead[:, None] + np.arange(7))
        weight = np.minimum(1.0, ahead / 0.4)[:, None]
        arm = (1 - weight) * self._measured + weight * swing
        positions = np.column_stack([arm, np.full(16, self._profile.grippers[0].open)])
        chunk = ActionChunk(
            self._profile.embodiment,
            self._now_ns,
            self._now_ns + STEP_NS,
            STEP_NS,
            self._profile.action_names,
            positions,
        )
        self._sequence += 1
        self._chunks.publish(chunk_to_msg(chunk, self._sequence, "switches", ""))


def live_profile(folder: Path) -> Path:
    """The Franka's profile, with everything that may take over turned on."""
    settings = yaml.safe_load(profile_path("franka_fr3").read_text(encoding="utf-8"))
    settings["teleop"] |= {"override_motion": 0.1, "override_deadman": True}
    path = folder / "franka.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def run(switches: int, seed: int, folder: Path) -> Person:
    """Run until so many changes of mode have been seen.

    Raises:
        BringUpError: if a process dies, or no mode changes any more.
    """
    profile = live_profile(folder)
    system = franka(FrankaOptions(sim=True, policy="none", profile=str(profile), seed=seed))
    # The belt is empty and the cameras are slow: they have no part in this.
    processes = tuple(
        dataclasses.replace(p, parameters={**p.parameters, "cubes": False, "camera_rate": 2.0})
        if p.executable == "sim_node"
        else p
        for p in system.processes
    )
    with Supervisor(dataclasses.replace(system, processes=processes), log_dir=folder / "logs") as up:
        rclpy.init()
        person, executor = Person(load_profile(str(profile)), seed), SingleThreadedExecutor()
        executor.add_node(person)
        try:
            spin(executor, up, lambda: person.ready, START_S, "the system to come up")
            while person.changes < switches:
                before = person.changes
                end_s, next_s = time.monotonic() + STALL_S, 0.0
                while person.changes == before:
                    if time.monotonic() >= next_s:
                        next_s = time.monotonic() + person.happen()
                    executor.spin_once(timeout_sec=0.005)
                    if time.monotonic() > end_s or up.poll(0.0):
                        raise BringUpError("No mode changes any more, or a process died.", remedy=f"See {folder}.")
            last = len(person.statuses)
            spin(executor, up, lambda: len(person.statuses) > last + 1, START_S, "the last status")
        finally:
            person.destroy_node()
            rclpy.shutdown()
    return person


def spin(executor: Any, up: Supervisor, until: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Receive until it is so.

    Raises:
        BringUpError: if it is not within so many seconds, or a process has died.
    """
    end_s = time.monotonic() + timeout_s
    while not until():
        executor.spin_once(timeout_sec=0.02)
        if time.monotonic() > end_s or up.poll(0.0):
            raise BringUpError(f"Waited for {what}.", remedy=f"See the logs in {up.log_dir}.")


def mode_log(statuses: list[ControlStatus]) -> list[tuple[int, Mode]]:
    """(stamp of its first command, mode), of all statuses together."""
    found: dict[int, Mode] = {}
    for status in statuses:
        for mode, stamp in zip(status.recent_modes, status.recent_mode_stamps, strict=True):
            found[to_ns(stamp)] = Mode(mode)
    return sorted(found.items())


def judge(person: Person, profile: RobotProfile, seconds: float) -> tuple[list[Result], dict[str, Any]]:
    """The figures."""
    statuses, log = person.statuses, mode_log(person.statuses)
    stamps = np.array([stamp for stamp, _ in person.commands])
    positions = np.array([position for _, position in person.commands])
    period_s, limits = statuses[-1].period, profile.limits
    steps = np.diff(positions, axis=0)
    too_fast = np.abs(steps) - np.array(limits.velocity) * period_s
    too_sudden = np.abs(np.diff(steps, axis=0)) - np.array(limits.acceleration) * period_s**2
    beyond = np.maximum(too_fast.max(axis=1)[1:], too_sudden.max(axis=1))  # of commands 2, 3, ...

    # Every command's mode, and whether there is exactly one: the log must have no gap.
    begins = np.array([stamp for stamp, _ in log])
    mode_of = np.array([mode for _, mode in log])[np.searchsorted(begins, stamps, side="right") - 1]
    from_first = int(statuses[0].mode_changes)
    gaps = int(statuses[-1].mode_changes) - (len(log) - 1)
    firsts = np.isin(stamps, begins)
    unknown_firsts = int(((begins > stamps[0]) & (begins <= stamps[-1]) & ~np.isin(begins, stamps)).sum())
    # Nothing moves a held arm on: beyond the tick in which the limiter's acceleration turns, it only slows down.
    held = np.isin(mode_of, (Mode.HOLD, Mode.FAULT))
    speed = np.abs(steps).max(axis=1)
    settled = held[3:] & held[2:-1] & held[1:-2] & held[:-3]
    moved_on = int((settled & (speed[2:] > speed[1:-1] + 1e-9)).sum())
    # Ticks that the action node has run, and commands that have come: a status may be made just before its tick's
    # command goes out, so the difference may vary by one.
    behind = [
        int(s.ticks) - int(np.searchsorted(stamps, to_ns(s.header.stamp), side="right")) for s in statuses if s.ticks
    ]
    lost = max(behind) - min(behind) - 1
    names = [f"{a.name}>{b.name}" for (_, a), (_, b) in itertools.pairwise(log)]
    events = collections.Counter(s.mode_event for s in statuses if s.mode_event)
    changes = len(log) - 1 - from_first
    results = [
        Result("switches", changes),
        Result("commands", len(stamps)),
        Result("jump_beyond_the_limits_step", max(0.0, float(beyond.max())), "rad", f"<= {JUMP_RAD:g}",
               float(beyond.max()) <= JUMP_RAD),
        Result("largest_step", float(np.abs(steps).max()), "rad"),
        Result("fastest_at_a_switch", float(speed[np.flatnonzero(firsts[1:])].max(initial=0.0) / period_s), "rad/s"),
        Result("switches_missing_from_the_log", gaps, "", "0", gaps == 0),
        Result("switches_without_a_first_command", unknown_firsts, "", "0", unknown_firsts == 0),
        Result("commands_out_of_order", int((np.diff(stamps) <= 0).sum()), "", "0", bool((np.diff(stamps) > 0).all())),
        Result("held_ticks_that_move_on", moved_on, "", "0", moved_on == 0),
        Result("commands_lost", max(0, lost), "", "0", lost <= 0),
        Result("ticks_missed", int(statuses[-1].missed)),
        Result("seconds", seconds, "s"),
    ]  # fmt: skip
    return results, {
        "transitions": dict(collections.Counter(names).most_common()),
        "events_seen_in_statuses": dict(events.most_common()),
        "asked": dict(person.asked.most_common()),
        "beyond_rad_percentiles": {str(q): float(np.percentile(beyond, q)) for q in (50, 99, 99.9, 100)},
    }


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--switches", type=int, default=1000, help="changes of mode (default 1000, some 6 minutes)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 101))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    conditions = {"nice": os.nice(0), "load_average_before": os.getloadavg()[0], "seed": args.seed}
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        person = run(args.switches, args.seed, Path(folder))
        results, raw = judge(person, load_profile("franka_fr3"), time.monotonic() - began)
    return Report("make bench", results, {"conditions": conditions, "raw": raw}).conclude(args.out / "switches.json")


if __name__ == "__main__":
    raise SystemExit(main())
