"""How evenly commands go out beside inference at full speed and two cameras, against an rclpy timer beside the model.

    python bench/publisher.py [--minutes 10] [--rates 100 250 500]

Brings the simulated system up under the policy. The period is measured from outside: between the instants at which the
middleware of the publishing process stamped two commands. Which ticks were missed the action node says itself (its
account is tested, `test/control/test_loop.py`): from outside a late command and a missing one look alike. Then the same
without the action node: an rclpy timer in the policy's process publishes the same message (bench/rclpy_timer.py). A
bare loop (bench/bare_loop.py) runs beside each, so that the machine's own part shows. Rates above the first run for a
fifth of the time each.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from live import HERE, Sent, Watcher, alive, percentiles, running
from numpy.typing import NDArray
from sensor_msgs.msg import JointState

from f1_ros.bringup import franka
from f1_ros.bringup_options import FrankaOptions
from f1_ros.cli.report import Report, Result
from f1_ros.errors import F1Error
from f1_ros.processes import BringUp
from f1_ros.supervisor import Supervisor

P99_MS, P999_MS, TIMES_BETTER = 1.0, 3.0, 10.0
SETTLE_S = 5.0
"""From the first command under the policy to the first that counts: what is loaded on the way is loaded then."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run gave.

    Attributes:
        rate_hz: commands a second that were asked for.
        errors_ms: |time between two commands - period|, ms.
        bare_ms: the bare loop's errors meanwhile, ms; its rate is 100 Hz always.
        late: commands more than one and a half periods after the one before, from outside.
        loop: the action node's own account at the end; empty for the timer.
        chunks_hz: inferences a second meanwhile.
        faults: reasons of the faults meanwhile.
    """

    rate_hz: float
    errors_ms: NDArray[np.float64]
    bare_ms: NDArray[np.float64]
    late: int
    loop: dict[str, Any]
    chunks_hz: float
    faults: list[str]

    def details(self) -> dict[str, Any]:
        """For the file."""
        return {
            "rate_hz": self.rate_hz,
            "periods": len(self.errors_ms),
            "period_error_ms": percentiles(self.errors_ms),
            "bare_loop_ms": percentiles(self.bare_ms),
            "more_than_one_and_a_half_periods": self.late,
            "action_node": self.loop,
            "chunks_hz": self.chunks_hz,
            "faults": self.faults,
        }


def system(rate_hz: float, timer: bool) -> BringUp:
    """The simulated system; with `timer` the rclpy timer in place of action node and policy node."""
    bringup = franka(FrankaOptions(sim=True, mode="policy", control_rate=rate_hz))
    if not timer:
        return bringup
    kept = [p for p in bringup.processes if p.executable != "action_node"]
    return BringUp(
        "rclpy timer",
        tuple(
            dataclasses.replace(p, executable="rclpy_timer", parameters={**p.parameters, "control_rate": rate_hz})
            if p.executable == "policy_node"
            else p
            for p in kept
        ),
    )


def measure(rate_hz: float, seconds: float, timer: bool, logs: Path) -> Run:
    """Run one of the two for a while."""
    with running(system(rate_hz, timer), logs) as (supervisor, watcher):
        commands = Sent(watcher.node, JointState, "/target_joint")
        watcher.until(lambda: _up(supervisor, watcher, commands, timer), "commands under the policy")
        watcher.spin(SETTLE_S, commands.take_times)
        commands.take_times()
        commands.sent_ns.clear()
        watcher.faults.clear()
        before = watcher.statuses[-1] if watcher.statuses else None
        chunks_before = _chunks(watcher)
        bare = [sys.executable, str(HERE / "bare_loop.py")]
        with subprocess.Popen(bare, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bare_loop:

            def meanwhile() -> None:
                commands.take_times()
                alive(supervisor)
                if not timer:
                    watcher.keep_policy()

            watcher.spin(seconds, meanwhile)
            bare_ms = np.array(json.loads(bare_loop.communicate()[0]))
        loop: dict[str, Any] = {}
        if before is not None:
            after = watcher.statuses[-1]
            windows = [s for s in watcher.statuses if s.ticks >= before.ticks]
            loop = {
                "realtime": after.realtime,
                "ticks": after.ticks - before.ticks,
                "missed": after.missed - before.missed,
                "late": after.late - before.late,
                "period_error_p99_ms_of_the_worst_10_s": max(s.period_error_p99 for s in windows) * 1e3,
                "period_error_max_ms": max(s.period_error_max for s in windows) * 1e3,
            }
        gaps_ms = np.diff(commands.sent_ns) * 1e-6
        chunks_hz = (_chunks(watcher) - chunks_before) / seconds
    period_ms = 1e3 / rate_hz
    late = int((gaps_ms > 1.5 * period_ms).sum())
    return Run(rate_hz, np.abs(gaps_ms - period_ms), bare_ms, late, loop, chunks_hz, list(watcher.faults))


def _up(supervisor: Supervisor, watcher: Watcher, commands: Sent, timer: bool) -> bool:
    alive(supervisor)
    commands.take_times()
    return bool(commands.sent_ns) and _chunks(watcher) > 0 and (timer or watcher.keep_policy())


def _chunks(watcher: Watcher) -> int:
    return int(watcher.diagnostics.get("policy_node: inference", {}).get("chunks", 0))


def figures(name: str, run: Run) -> list[Result]:
    """Figures of one run, without goals."""
    p50, p99, p999 = np.percentile(run.errors_ms, (50, 99, 99.9))
    found = [
        Result(f"{name}_period_error_p50_ms", float(p50), "ms"),
        Result(f"{name}_period_error_p99_ms", float(p99), "ms"),
        Result(f"{name}_period_error_p99.9_ms", float(p999), "ms"),
        Result(f"{name}_periods_half_as_long_again", run.late),
    ]
    if run.loop:
        found.append(Result(f"{name}_ticks_missed", run.loop["missed"]))
    return found


def report(ours: dict[float, Run], timer: Run) -> Report:
    """Ours at each rate, and the timer at the first."""
    first, *others = ours
    results = figures(f"action_node_{first:g}_hz", ours[first])
    ours_p999, timer_p999 = (float(np.percentile(r.errors_ms, 99.9)) for r in (ours[first], timer))
    goals = {
        "p99_ms": (f"<= {P99_MS:g}", lambda v: v <= P99_MS),
        "p99.9_ms": (f"<= {P999_MS:g}", lambda v: v <= P999_MS),
        "ticks_missed": ("0", lambda v: v == 0),
    }
    for i, result in enumerate(results):
        for ending, (goal, met) in goals.items():
            if result.name.endswith(ending):
                results[i] = dataclasses.replace(result, goal=goal, ok=bool(met(result.value)))
    results += figures(f"rclpy_timer_{first:g}_hz", timer)
    times = timer_p999 / ours_p999
    results.append(Result("times_better_at_p99.9", times, "", f">= {TIMES_BETTER:g}", times >= TIMES_BETTER))
    bare = np.percentile(ours[first].bare_ms, (99, 99.9, 100))
    results += [
        Result(f"action_node_{first:g}_hz_period_error_max_ms", float(ours[first].errors_ms.max()), "ms"),
        Result("bare_loop_period_error_p99_ms", float(bare[0]), "ms"),
        Result("bare_loop_period_error_p99.9_ms", float(bare[1]), "ms"),
        Result("bare_loop_period_error_max_ms", float(bare[2]), "ms"),
        Result("realtime_scheduling", ours[first].loop["realtime"]),
    ]
    for rate in others:
        results += figures(f"action_node_{rate:g}_hz", ours[rate])
    raw = {f"action_node_{rate:g}_hz": run.details() for rate, run in ours.items()}
    raw[f"rclpy_timer_{first:g}_hz"] = timer.details()
    return Report("python bench/publisher.py", results, {"load_average_1_min": os.getloadavg()[0], "raw": raw})


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="at the first rate, each of the two (default 10)")
    parser.add_argument("--rates", type=float, nargs="+", default=[100.0, 250.0, 500.0], metavar="HZ")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    seconds = args.minutes * 60.0
    try:
        with tempfile.TemporaryDirectory() as name:
            logs = Path(name)
            first = args.rates[0]
            ours = {first: measure(first, seconds, False, logs / "ours")}
            timer = measure(first, seconds, True, logs / "timer")
            for rate in args.rates[1:]:
                ours[rate] = measure(rate, seconds / 5.0, False, logs / f"ours {rate:g}")
        return report(ours, timer).conclude(args.out / "publisher.json")
    except F1Error as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
