"""From the belt turning round to the first command that differs because of it, in the running simulated system.

    python bench/reaction.py [--events 300] [--out DIR]

The belt turns round again and again while the policy picks. Measured is the time to the first command computed from
pictures taken after that: the first that can differ because of it. Its bound is the time to the first action and half
the replanning period, for an event falls anywhere between two pictures (arXiv 2603.19199). Whether the hand then goes
elsewhere is another matter (in many phases of a pick the belt does not count): `f1-ros sim ablate` measures that in
lock-step, against the same world without the event.

Time counts from the answer of the simulation that it has taken the new speed, a millisecond or so after it did.
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
from live import HERE, alive, percentiles, running
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from f1_ros.bringup import franka
from f1_ros.bringup_options import FrankaOptions
from f1_ros.cli.report import Report, Result
from f1_ros.errors import F1Error
from f1_ros.nodes.conversions import to_ns
from f1_ros.nodes.polled import PolledSimClock
from f1_ros.processes import BringUp
from f1_ros.trace import Marks, read_traces

Array = NDArray[np.float64]
BELT = 0.15
WAIT_S = (1.1, 2.1)
"""Between two events, drawn evenly: longer than an answer takes, and in no step with cameras or cubes."""
LAST_S = 1.5
"""After the last event: longer than an answer takes."""
SETTLE_S = 5.0


@dataclass(frozen=True)
class Event:
    """The belt turns round.

    Attributes:
        at_ns: when, ns on the monotonic clock.
        ros_ns: the same on the ROS clock.
    """

    at_ns: int
    ros_ns: int


@dataclass
class Run:
    """What was seen of the running system."""

    events: list[Event] = field(default_factory=list)
    round_trips_ms: list[float] = field(default_factory=list)
    first_actions_ms: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


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
                run.events.append(Event(at_ns, ros_ns))
                run.round_trips_ms.append((at_ns - asked_ns) * 1e-6)
            speed = -speed
        watcher.spin(LAST_S, meanwhile)
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


def report(run: Run, marks: Marks) -> Report:
    """Distributions beside the bound."""
    seen = seen_ms(run, marks)
    seen = seen[np.isfinite(seen)]
    first_ms = float(np.median(run.first_actions_ms))
    stamps = np.array(sorted(stamp for stamp, m in marks.items() if "commanded" in m))
    period_ms = float(np.mean(np.diff(stamps)[np.diff(stamps) < 1_000_000_000])) * 1e-6
    bound = first_ms + period_ms / 2.0
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
    ]
    details = {
        "load_average_1_min": os.getloadavg()[0],
        "faults": run.faults,
        "round_trip_ms": percentiles(np.array(run.round_trips_ms)),
        "raw": {"seen_ms": seen.tolist()},
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
