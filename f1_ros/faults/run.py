"""`f1-ros faults run`: one fault after the other in the live system, and what each of them did.

The same system serves as long as it can be brought back by requests; after a fault from which it does not come back it
is started anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from f1_ros.control.limits import JointLimits
from f1_ros.errors import BringUpError
from f1_ros.faults.fault import Action, Base, Fault, Killed, OutOfMemory
from f1_ros.faults.injector import Injector
from f1_ros.faults.judge import Outcome, Trace, at_rest, find_name, find_notice, judge
from f1_ros.faults.system import RELAY, describe
from f1_ros.robots.profile import load_profile
from f1_ros.supervisor import Supervisor

if TYPE_CHECKING:
    from f1_ros.nodes.fault_probe import FaultProbe

START_S, READY_S = 120.0, 120.0
"""How long the system may take to come up, and to be ready for the next fault, s."""
POLL_S = 0.02
HEALTHY_S = 1.0
"""So long all must have been well before a fault is made."""
AFTER_S = 0.7
"""So long it is watched after the fault has shown, and after it was taken back: nothing may move by itself."""
MOVING, MOVING_WITHIN_S = 0.3, 6.0
"""rad/s that the arm should do when the fault comes, and how long that is waited for, s."""
_FOLLOWS = ("", "holding")
"""Reasons of a status while the arm does as it is asked."""
MISSED_MORE = 0.01
"""Share of ticks that may be missed beyond twice what is missed while all is well."""


@dataclass
class Results:
    """What a run gave.

    Attributes:
        outcomes: of each fault.
        healthy_ticks: ticks, and of them missed, while all was well.
        systems: how often the system was started.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    healthy_ticks: int = 0
    healthy_missed: int = 0
    systems: int = 0


def run_faults(
    faults: Sequence[Fault], policy: str, logs: Path, profile: str = "franka_fr3", say: Callable[[str], None] = print
) -> Results:
    """Run faults in the live system.

    Args:
        faults: which.
        policy: policy directory or name.
        logs: folder for logs, and for what is recorded.
        profile: robot profile.
        say: takes a line for people.

    Raises:
        BringUpError: if the system does not come up.
    """
    results, left = Results(), sorted(faults, key=lambda fault: fault.records)
    while left:
        records = left[0].records
        results.systems += 1
        folder = logs / f"system_{results.systems}"
        with _system(policy, folder, profile, results, record=records) as rig:
            rig.until(rig.all_speak, START_S, "all nodes to speak")
            while left and left[0].records == records:
                fault = left.pop(0)
                try:
                    outcome = rig.run(fault)
                    other = rig.other_cause
                    if other and rig.well:  # a policy may let a joint lag by itself: once that is no finding
                        outcome = rig.run(fault)
                        outcome.first_try = other
                except BringUpError as error:  # the next fault gets a new system
                    outcome = Outcome(fault.name, problems=[error.problem])
                results.outcomes.append(outcome)
                say(line(outcome))
                if not rig.well:
                    break
    return results


def line(outcome: Outcome) -> str:
    """An outcome in a line."""
    figures = (
        ("noticed", outcome.noticed_s, "s"),
        ("named", outcome.named_s, "s"),
        ("braked after", outcome.periods, "periods"),
    )
    text = ", ".join(f"{what} {value:.2f} {unit}" for what, value, unit in figures if value is not None)
    return f"{'ok  ' if outcome.ok else 'FAIL'} {outcome.fault}: {'; '.join([text, *outcome.problems])}"


@contextmanager
def _system(policy: str, folder: Path, profile: str, results: Results, *, record: bool) -> Iterator[_Rig]:
    from f1_ros.nodes.fault_probe import FaultProbe

    description = describe(policy, folder / "dataset" if record else None, profile)
    with (
        Supervisor(description, log_dir=folder) as system,
        FaultProbe(load_profile(profile)) as probe,
    ):
        yield _Rig(system, probe, load_profile(profile).limits, results)


class _Rig:
    """A running system, the probe, and what is done with them."""

    def __init__(self, system: Supervisor, probe: FaultProbe, limits: JointLimits, results: Results) -> None:
        self._system, self.probe = system, probe
        self._limits, self._results = limits, results
        self._injector = Injector(probe, lambda: system.pids, self.pause)
        self._deaths: list[str] = []
        self.well = True
        self.other_cause = ""
        """What FAULT said in the last run of a fault, if that was of another cause."""

    def run(self, fault: Fault) -> Outcome:
        """Run one fault, from a healthy system to a healthy system."""
        self.well = False
        self._settle(fault.base)
        self._injector.prepare(fault)
        self._wait(self._moving, MOVING_WITHIN_S)
        trace = self.probe.begin()
        self._deaths.clear()
        try:
            trace.injected_ns, trace.refused = self._injector.make(fault)
            if fault.asks:
                self._ask(fault.asks)
                trace.injected_ns = time.time_ns()
            self._watch(fault, trace)
        finally:
            self._injector.take_back()
            trace.cleared_ns = time.time_ns()
        self.pause(AFTER_S)
        self._wait(lambda: set(self._system.pids) == {p.name for p in self._system.bringup.processes}, READY_S)
        self.probe.begin()
        may_die = fault.strikes if isinstance(fault.injection, Killed | OutOfMemory) else None
        trace.deaths = [name for name in self._deaths if name != may_die]
        said = next((s for s in trace.statuses if s.sent_ns > trace.injected_ns and s.mode == "FAULT"), None)
        self.other_cause = said.reason if said is not None and not _caused(fault, said.reason) else ""
        outcome = judge(fault, trace, self._limits, self._missed_share())
        asked_s = time.monotonic()
        try:
            self._settle(fault.base)
        except BringUpError as error:
            outcome.problems.append(error.problem)
        else:
            outcome.recovered_s, self.well = time.monotonic() - asked_s, True
        return outcome

    def all_speak(self) -> bool:
        """Whether every node that says how it is has done so."""
        silent = {process.name for process in self._system.bringup.processes} - {RELAY}
        return self.probe.mode != "" and silent <= self.probe.heard

    def until(self, condition: Callable[[], object], timeout_s: float, what: str) -> None:
        """Wait for something that must come.

        Raises:
            BringUpError: if it does not.
        """
        if not self._wait(condition, timeout_s):
            raise BringUpError(f"Waited {timeout_s:g} s for {what}.", remedy=f"Look into {self._system.log_dir}.")

    def pause(self, seconds: float) -> None:
        """Wait, while the system is looked after."""
        self._wait(lambda: False, seconds)

    def _watch(self, fault: Fault, trace: Trace) -> None:
        named_s = fault.named.within_s if fault.named else 0.0
        killed = fault.strikes == "action_node" and isinstance(fault.injection, Killed)

        def named() -> bool:
            return fault.named is None or find_name(fault, trace) is not None

        def back() -> bool:
            return not killed or any(s.sent_ns > trace.injected_ns + 500_000_000 for s in trace.statuses)

        def shown() -> bool:
            if fault.action in (Action.GOES_ON, Action.SILENT):
                return named() and back() and time.time_ns() - trace.injected_ns > fault.within_s * 1e9
            return named() and find_notice(fault, trace) is not None and at_rest(trace.commands)

        self._wait(shown, READY_S if killed else 2.0 * max(fault.within_s, named_s))
        self.pause(AFTER_S)

    def _settle(self, base: Base) -> None:
        """Bring the arm into the fault's base by requests, and see that all is well for a while.

        Raises:
            BringUpError: if it does not come there.
        """
        deadline, since, refusal = time.monotonic() + READY_S, time.monotonic(), ""
        while time.monotonic() < deadline:
            if not self.probe.robot_obeys:  # asked for now, the arm would set off with a jump when it obeys again
                refusal, since = "the robot obeys no one", time.monotonic()
            elif self.probe.mode != base.value:
                if base is Base.TELEOP:
                    self.probe.swing()
                refusal, since = self._request(base.value), time.monotonic()
            elif self.probe.trace.statuses[-1].reason not in _FOLLOWS:
                since = time.monotonic()
            elif time.monotonic() - since >= HEALTHY_S:
                self._account()
                return
            self.pause(POLL_S)
        statuses = self.probe.trace.statuses
        raise BringUpError(
            f"The system does not come to {base.value} within {READY_S:g} s: "
            f"{refusal or (statuses[-1].reason if statuses else 'no status comes')}",
            remedy=f"Look into {self._system.log_dir}.",
        )

    def _request(self, mode: str) -> str:
        now = self.probe.mode
        if now == "FAULT" and mode != "HOLD":
            refusal = self.probe.ask_for("HOLD")
            if refusal:
                return refusal
        refusal = self.probe.ask_for(mode) if now != mode else ""
        self._wait(lambda: self.probe.mode == mode, 0.5)
        return refusal

    def _ask(self, mode: str) -> None:
        self._wait(lambda: not self.probe.ask_for(mode), 5.0)

    def _moving(self) -> bool:
        commands = self.probe.trace.commands
        return bool(commands) and max(abs(commands[-1].velocity)) > MOVING

    def _account(self) -> None:
        """Count ticks of the healthy stretch that has just passed."""
        statuses = [s for s in self.probe.trace.statuses if s.sent_ns > time.time_ns() - HEALTHY_S * 1e9]
        if len(statuses) > 1 and statuses[-1].missed >= statuses[0].missed:
            self._results.healthy_ticks += statuses[-1].ticks - statuses[0].ticks
            self._results.healthy_missed += statuses[-1].missed - statuses[0].missed

    def _missed_share(self) -> float:
        return MISSED_MORE + 2.0 * self._results.healthy_missed / max(1, self._results.healthy_ticks)

    def _wait(self, condition: Callable[[], object], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            self._deaths += [death.process.name for death in self._system.poll(POLL_S)]
            if not self._system.running:
                raise BringUpError("The system has ended.", remedy=f"Look into {self._system.log_dir}.")
        return True


def _caused(fault: Fault, reason: str) -> bool:
    """Whether a FAULT is the declared one; after silence or a clock set back any is."""
    return fault.action in (Action.SILENT, Action.HOLD) or (bool(fault.reason) and fault.reason in reason)


def set_environment(domain_id: int | None) -> None:
    """Let the nodes of the run find each other on this machine alone, in a domain of its own.

    The environment's own domain may be a real robot's.
    """
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100 if domain_id is None else domain_id)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
