"""A controller with an arm that follows its commands, on a clock of its own."""

from dataclasses import replace

import numpy as np

from f1_ros.control.arbiter import Mode, ModeReply
from f1_ros.control.chunk import ActionChunk
from f1_ros.control.command import Command
from f1_ros.control.controller import Controller
from f1_ros.robots.profile import RobotProfile, load_profile

MS = 1_000_000
PERIOD_NS = 10 * MS
PROFILE = replace(load_profile("franka_fr3"), position_margin=0.0)
READY = np.array(PROFILE.ready)


class Rig:
    """Time starts at 1000 s; the arm closes part of the distance to its command every tick."""

    def __init__(self, profile: RobotProfile = PROFILE, start=READY, stiffness: float = 0.3) -> None:
        self.controller = Controller(profile)
        self.now_ns = 1_000_000 * MS
        self.arm = np.array(start, dtype=float)
        self.stiffness = stiffness
        self.arm_speaks = True
        self.commands: list[Command] = []

    def tick(self, n: int = 1) -> Command | None:
        """Run n ticks, each after a message of the arm; the last command."""
        command = None
        for _ in range(n):
            self.now_ns += PERIOD_NS
            if self.arm_speaks:
                self.joint_state(self.arm)
            command = self.controller.tick(self.now_ns)
            if command is not None:
                self.arm = self.arm + self.stiffness * (command.position - self.arm)
                self.commands.append(command)
        return command

    def joint_state(self, positions) -> None:
        self.controller.on_joint_state(
            PROFILE.joints, list(positions), [0.0] * len(PROFILE.joints), self.now_ns, self.now_ns
        )

    def teleop(self, positions, gripper: float = 0.08) -> None:
        self.controller.on_teleop([*PROFILE.joints, "gripper"], [*positions, gripper], self.now_ns, self.now_ns)

    def chunk(self, target=READY, speed=0.0, *, age_ms: int = 100, gripper: float = 0.08, **changes) -> None:
        """A chunk that is at `target` now and moves on at `speed`, from an observation `age_ms` ago."""
        stamp = self.now_ns - age_ms * MS
        t = 0.05 * np.arange(1, 17) - age_ms * 1e-3
        arm = np.asarray(target) + np.outer(t, np.ones(7) * speed)
        made = {
            "robot": "franka",
            "stamp_ns": stamp,
            "start_ns": stamp + 50 * MS,
            "step_ns": 50 * MS,
            "joint_names": PROFILE.action_names,
            "positions": np.column_stack([arm, np.full(16, gripper)]),
        } | changes
        self.controller.on_chunk(ActionChunk(**made), self.now_ns)

    def ask(self, mode: Mode) -> ModeReply:
        return self.controller.request_mode(mode, self.now_ns)

    def start(self, mode: Mode) -> None:
        """Run until `mode` is in force."""
        self.tick(5)
        self.teleop(self.arm)
        self.chunk(self.arm)
        assert self.ask(mode).success

    def positions(self) -> np.ndarray:
        return np.array([c.position for c in self.commands])

    def velocities(self) -> np.ndarray:
        return np.array([c.velocity for c in self.commands])


def assert_smooth(rig: Rig) -> None:
    """Velocity, acceleration and position of all commands so far are within the limits."""
    p, v = rig.positions(), rig.velocities()
    assert (p >= np.array(PROFILE.limits.lower) - 1e-8).all()
    assert (p <= np.array(PROFILE.limits.upper) + 1e-8).all()
    assert (np.abs(v) <= np.array(PROFILE.limits.velocity) * (1 + 1e-9)).all()
    assert (np.abs(np.diff(p, axis=0)) <= np.array(PROFILE.limits.velocity) * 0.01 * (1 + 1e-9)).all()
    assert (np.abs(np.diff(v, axis=0)) <= np.array(PROFILE.limits.acceleration) * 0.01 * (1 + 1e-9)).all()
