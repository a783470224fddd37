"""From the belt turning round to the first command that differs because of it, in the running simulated system.

    python bench/reaction.py [--events 300] [--out DIR]

The belt turns round again and again while the policy picks. Two instants are measured of each event:

    seen       the first command computed from pictures taken after it: the first that can differ because of it. Its
               bound is the time to the first action and half the replanning period, for an event falls anywhere between
               two pictures (arXiv 2603.19199).
    answered   the commanded hand has left the course of the plan that was in force, along the belt and against its old
               direction, further than 95 of 100 times in which the belt did not turn. Only where it does within 0.5 s:
               in many phases of a pick (hand closed, on the way to the bin) the belt does not matter.

Both count from the answer of the simulation that it has taken the new speed, a millisecond or so after it did.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from f1_msgs.msg import ActionChunk as ActionChunkMsg
from live import EVERY, HERE, alive, percentiles, running
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from f1_ros.bringup import FrankaOptions, franka
from f1_ros.cli.report import Report, Result
from f1_ros.errors import ConfigError, F1Error
from f1_ros.nodes.conversions import chunk_from_msg, to_ns
from f1_ros.nodes.polled import PolledSimClock
from f1_ros.processes import BringUp
from f1_ros.sim.config import load_belt_config
from f1_ros.sim.kinematics import ArmKinematics
from f1_ros.sim.scene import load_scene
from f1_ros.trace import Marks, read_traces

Array = NDArray[np.float64]
BELT = 0.15
WAIT_S = (1.1, 2.1)
"""Between two events, drawn evenly: longer than an answer takes, and in no step with cameras or cubes."""
WITHIN_S, TICK_S = 0.5, 0.01
DELAYS_S = np.arange(0.0, WITHIN_S, TICK_S)
FALSE_ALARMS = 0.05
SETTLE_S = 5.0


@dataclass(frozen=True)
class Event:
    """The belt turns round.

    Attributes:
        at_ns: when, ns on the monotonic clock.
        ros_ns: the same on the ROS clock.
        before: its speed before, m/s.
    """

    at_ns: int
    ros_ns: int
    before: float


@dataclass
class Run:
    """What was seen of the running system."""

    events: list[Event] = field(default_factory=list)
    commands: list[tuple[int, list[float]]] = field(default_factory=list)
    chunks: dict[int, tuple[int, int, Array]] = field(default_factory=dict)
    round_trips_ms: list[float] = field(default_factory=list)
    first_actions_ms: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def on_command(self, msg: JointState) -> None:
        """Keep a command: stamp ns, rad."""
        self.commands.append((to_ns(msg.header.stamp), list(msg.position)))

    def on_chunk(self, msg: ActionChunkMsg) -> None:
        """Keep a chunk by its observation's stamp: start ns, step ns, the arm's (steps, 7) rad."""
        chunk = chunk_from_msg(msg)
        self.chunks[chunk.stamp_ns] = chunk.start_ns, chunk.step_ns, chunk.positions[:, :7]


def observe(events: int, trace: Path, logs: Path) -> Run:
    """Let the belt turn round so many times."""
    system = franka(FrankaOptions(sim=True, mode="policy", belt_speed=BELT))
    nodes = ("observation_node", "policy_node", "action_node")
    traced = [
        dataclasses.replace(p, parameters={**p.parameters, "trace": str(trace)}) if p.executable in nodes else p
        for p in system.processes
    ]
    run, speed, random = Run(), BELT, np.random.default_rng(0)
    with running(BringUp("reaction", tuple(traced)), logs) as (supervisor, watcher):
        clock = PolledSimClock(watcher.node)
        watcher.node.create_subscription(JointState, "/target_joint", run.on_command, EVERY)
        watcher.node.create_subscription(ActionChunkMsg, "/f1/action_chunk", run.on_chunk, EVERY)
        client = watcher.node.create_client(SetParameters, "/f1/sim_node/set_parameters")
        watcher.until(lambda: watcher.keep_policy() and client.service_is_ready(), "the policy")

        def meanwhile() -> None:
            clock.at(time.monotonic_ns())
            alive(supervisor)
            watcher.keep_policy()

        watcher.spin(SETTLE_S, meanwhile)
        while len(run.events) < events:
            watcher.spin(random.uniform(*WAIT_S), meanwhile)
            parameter = Parameter("belt_speed", value=-speed).to_parameter_msg()
            asked_ns = time.monotonic_ns()
            future = client.call_async(SetParameters.Request(parameters=[parameter]))
            watcher.until(future.done, "the belt to turn", 5.0)
            at_ns = time.monotonic_ns()
            ros_ns = clock.at(at_ns)
            if ros_ns is not None and watcher.keep_policy():
                run.events.append(Event(at_ns, ros_ns, speed))
                run.round_trips_ms.append((at_ns - asked_ns) * 1e-6)
            speed = -speed
        watcher.spin(WITHIN_S + 1.0, meanwhile)
        run.faults = watcher.faults
        times = [to_ns(status.camera_to_command) * 1e-6 for status in watcher.statuses]
        run.first_actions_ms = [ms for ms in times if ms > 0.0]
    return run


def seen_ms(run: Run, marks: Marks) -> Array:
    """Time from each event to the first command from pictures taken after it, ms; NaN where none came within 2 s."""
    frames = sorted((stamp, m["commanded"]) for stamp, m in marks.items() if "commanded" in m)
    found = []
    for event in run.events:
        later = [at for stamp, at in frames if stamp >= event.ros_ns and at < event.at_ns + 2_000_000_000]
        found.append((min(later) - event.at_ns) * 1e-6 if later else np.nan)
    return np.array(found)


class Answers:
    """Where the commanded hand left the course of the plan in force."""

    def __init__(self, run: Run, marks: Marks) -> None:
        """Work out the hand's course along the belt from all commands."""
        self._arm = ArmKinematics(load_scene(load_belt_config()))
        self._chunks = run.chunks
        self._begun = sorted((m["commanded"], stamp) for stamp, m in marks.items() if "commanded" in m)
        self._times = np.array([ns for ns, _ in run.commands])
        self._along = np.array([self._arm.tool(np.array(q))[0][1] for _, q in run.commands])

    def departure(self, at_ns: int, ros_ns: int, against: float) -> Array | None:
        """How far the hand is from the plan in force at an instant, so long after it, against a direction, m.

        Args:
            at_ns: the instant, ns on the monotonic clock.
            ros_ns: the same on the ROS clock.
            against: speed whose opposite direction counts, m/s.

        Returns:
            (delays,) m; None where the plan is not known or not long enough.
        """
        stamps = [stamp for begun, stamp in self._begun if begun <= at_ns]
        if not stamps or stamps[-1] not in self._chunks:
            return None
        start_ns, step_ns, positions = self._chunks[stamps[-1]]
        plan = np.array([self._arm.tool(q)[0][1] for q in positions])
        instants = ros_ns + DELAYS_S * 1e9
        planned = np.interp(instants + TICK_S * 1e9, start_ns + step_ns * np.arange(len(plan)), plan)
        apart = np.interp(instants, self._times, self._along) - planned
        return -np.sign(against) * (apart - apart[0])

    def times_ms(self, events: list[Event]) -> tuple[Array, int]:
        """Time from each event to its answer, ms, NaN where there is none; and how many events had a known plan."""
        half_ns = round(WITHIN_S * 1e9)
        quiet = [self.departure(e.at_ns - half_ns, e.ros_ns - half_ns, e.before) for e in events]
        usual = np.array([d for d in quiet if d is not None])
        if len(usual) < 10:
            raise ConfigError(f"Only {len(usual)} events with a known plan.", remedy="Give more with --events.")
        spread = np.abs(usual).mean(axis=0) + 1e-6
        bar = float(np.quantile((usual / spread).max(axis=1), 1.0 - FALSE_ALARMS))
        turned = [d for e in events if (d := self.departure(e.at_ns, e.ros_ns, e.before)) is not None]
        over = [d / spread > bar for d in turned]
        return np.array([DELAYS_S[np.argmax(o)] * 1e3 if o.any() else np.nan for o in over]), len(turned)


def report(run: Run, marks: Marks) -> Report:
    """Distributions beside the bound."""
    seen = seen_ms(run, marks)
    seen = seen[np.isfinite(seen)]
    first_ms = float(np.median(run.first_actions_ms))
    stamps = np.array(sorted(stamp for stamp, m in marks.items() if "commanded" in m))
    period_ms = float(np.mean(np.diff(stamps)[np.diff(stamps) < 1_000_000_000])) * 1e-6
    bound = first_ms + period_ms / 2.0
    answers, known = Answers(run, marks).times_ms(run.events)
    answered = answers[np.isfinite(answers)]
    results = [
        Result("events", len(run.events)),
        Result("seen", len(seen), "events"),
        Result("seen_mean_ms", float(seen.mean()), "ms"),
        Result("seen_p50_ms", float(np.median(seen)), "ms"),
        Result("seen_p99_ms", float(np.percentile(seen, 99)), "ms"),
        Result("time_to_first_action_ms", first_ms, "ms"),
        Result("replanning_period_ms", period_ms, "ms"),
        Result("bound_ms", bound, "ms"),
        Result("seen_mean_over_bound", float(seen.mean()) / bound),
        Result("answered_share", len(answered) / known if known else None),
        Result("answered_p50_ms", float(np.median(answered)) if len(answered) else None, "ms"),
    ]
    details = {
        "load_average_1_min": os.getloadavg()[0],
        "false_alarms": FALSE_ALARMS,
        "faults": run.faults,
        "round_trip_ms": percentiles(np.array(run.round_trips_ms)),
        "raw": {"seen_ms": seen.tolist(), "answered_ms": answered.tolist()},
    }
    return Report("python bench/reaction.py", results, details)


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as name:
            trace = Path(name) / "trace"
            run = observe(args.events, trace, Path(name) / "logs")
            return report(run, read_traces(trace)).conclude(args.out / "reaction.json")
    except F1Error as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
