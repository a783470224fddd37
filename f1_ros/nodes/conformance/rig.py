"""A running system that is tried: waiting for it, bringing it into a mode, and moving it by its leader arm."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from f1_ros.errors import BringUpError
from f1_ros.nodes.conformance.motions import Array, Motion, ramp, still
from f1_ros.nodes.conformance.probe import ConformanceProbe
from f1_ros.robots.profile import RobotProfile
from f1_ros.supervisor import Supervisor

POLL_S = 0.02
MODE_S = 25.0
"""How long a mode may be refused, s: a robot counts a second publisher that is gone for up to 20 s (DDS)."""
COMMAND_S = 3.0
"""How long a command may be waited for, s: a simulation on a busy computer can stand still for a while."""
SPEED = 0.3
"""Of a joint that is moved alone, rad/s at most."""
SETTLED_RAD, SETTLED_S, SETTLES_S = 1e-3, 0.2, 3.0
_ALIGNED_S = 12.0


class Person(Protocol):
    """Who stands beside the robot. Beside a twin nobody does: every motion is confirmed, and nothing is seen."""

    def confirm(self, what: str) -> bool:
        """Whether this motion may be made now."""
        ...

    def saw(self, question: str) -> bool | None:
        """What the person saw; None where there is nobody to ask."""
        ...

    def shown(self, camera: str, picture: object) -> bool | None:
        """Whether the person knows a picture for this camera's; None where there is nobody to ask."""
        ...


class Nobody:
    """The `Person` beside a twin."""

    def confirm(self, what: str) -> bool:
        """A twin may be moved."""
        return True

    def saw(self, question: str) -> bool | None:
        """The twin's truth says it."""
        return None

    def shown(self, camera: str, picture: object) -> bool | None:
        """The twin's own pictures say it."""
        return None


class Rig:
    """The system, the probe, and what is done with them. All in the thread that started the system.

    Args:
        system: the running processes.
        probe: beside them.
        profile: the profile that is tried, with `scale` and margins applied in its limits.
        person: is asked before each motion.
    """

    def __init__(self, system: Supervisor, probe: ConformanceProbe, profile: RobotProfile, person: Person) -> None:
        self.system, self.probe, self.profile, self.person = system, probe, profile, person
        self.velocity = np.array(profile.limits.velocity)
        self.lower, self.upper = np.array(profile.limits.lower), np.array(profile.limits.upper)

    def wait(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Wait, while the system is looked after; gives whether the condition holds.

        Raises:
            BringUpError: if the system ends.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.system.poll(POLL_S)
            if not self.system.running:
                raise BringUpError("The system has ended.", remedy=f"Look into {self.system.log_dir}.")
        return True

    def pause(self, seconds: float) -> None:
        """Wait for a while."""
        self.wait(lambda: False, seconds)

    def confirm(self, what: str) -> None:
        """Ask before a motion.

        Raises:
            BringUpError: if the person does not want it.
        """
        if not self.person.confirm(what):
            raise BringUpError("the person did not confirm the motion", remedy="Run it again.")

    @property
    def commanded(self) -> Array:
        """(joints,) where the arms are commanded to be, rad.

        Raises:
            BringUpError: if no command comes.
        """
        if not self.wait(lambda: self.probe.command is not None, COMMAND_S):
            raise BringUpError(
                f"no command has come for {COMMAND_S:g} s: {self.reason or 'the action node gives no reason'}",
                remedy=f"Look into {self.system.log_dir}.",
            )
        command = self.probe.command
        assert command is not None  # what has come stays until the next trial begins
        return command.position

    @property
    def reason(self) -> str:
        """What the action node says of itself, if the arm does not follow the leader."""
        statuses = self.probe.trace.statuses
        if not statuses or (statuses[-1].mode == "TELEOP" and not statuses[-1].reason):
            return ""
        return f"{statuses[-1].mode}: {statuses[-1].reason}"

    def ask(self, mode: str, within_s: float = MODE_S) -> str:
        """Ask for a mode until it is in force; gives the last refusal, or nothing."""
        deadline, refusal = time.monotonic() + within_s, ""
        while time.monotonic() < deadline:
            refusal = self.probe.ask_for(mode)
            if not refusal and self.wait(lambda: self.probe.mode == mode, 0.5):
                return ""
            self.pause(0.2)
        return refusal or f"{mode} is not in force after {within_s:g} s"

    def engage(self) -> Array:
        """Let the arm follow a leader that stands where the arm is; gives where that is, (joints,) rad.

        Raises:
            BringUpError: if it does not come to that.
        """
        if self.probe.mode != "TELEOP" or self.probe.leader is None:
            refusal = self.ask("HOLD")
            self.settle()
            anchor = self.commanded.copy()
            self.probe.lead(still(anchor))
            self.pause(0.2)
            refusal = refusal or self.ask("TELEOP")
        else:
            anchor, refusal = self.commanded.copy(), ""
            self.probe.lead(still(anchor))
        if refusal or not self.wait(lambda: not self.reason, _ALIGNED_S):
            raise BringUpError(
                f"The arm does not follow a leader arm: {refusal or self.reason}.",
                remedy=f"Look into {self.system.log_dir}.",
            )
        return anchor

    def go(self, end: Array, speed: float | None = None) -> None:
        """Lead the arm to a position, (joints,) rad, and wait for it to rest."""
        start = self.commanded.copy()
        moving = np.abs(end - start) > 0.0
        most = float((0.5 * self.velocity[moving]).min()) if moving.any() else SPEED
        motion, lasts_s = ramp(start, end, min(speed or SPEED, most))
        self.probe.lead(motion)
        self.pause(lasts_s + 0.1)
        self.settle()

    def settle(self) -> None:
        """Wait until nothing moves any more."""
        last, since = self.probe.joints_now(), time.monotonic()

        def rests() -> bool:
            nonlocal last, since
            now = self.probe.joints_now()
            if not np.abs(now - last).max() < SETTLED_RAD:
                last, since = now, time.monotonic()
            return time.monotonic() - since > SETTLED_S

        self.wait(rests, SETTLES_S)

    def swing_speed(self, joint: int) -> float:
        """How fast a joint is swung when something is to happen in motion, rad/s."""
        return min(0.6, 0.4 * float(self.velocity[joint]))

    def until_moving(self, motion: Motion, joint: int) -> bool:
        """Let the leader do this until the joint is well under way."""
        self.probe.lead(motion)
        least = 0.7 * self.swing_speed(joint)

        def moves() -> bool:
            command = self.probe.command
            return command is not None and abs(command.velocity[joint]) > least

        return self.wait(moves, 12.0)
