"""Running a simulated world in steps of 50 ms, faster than real time.

`StepDriver` brings one target per step to the world as the live system does: interpolated at 100 Hz and limited.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from f1_ros.control.limits import JointLimits, Limiter
from f1_ros.sim.camera import Picture
from f1_ros.sim.franka import FR3
from f1_ros.sim.kinematics import Array

STEP_TICKS = 5
STEP_NS = 50_000_000
TICK_S = 0.01

EXPERT_LIMITS = FR3.limits.scaled(acceleration=0.75, jerk=0.1)
"""Limits of the demonstrated commands: a policy that imitates them then has room to catch up within the robot's own."""

NOISE_LEVELS = (0.0, 0.03, 0.06, 0.09)
"""Standard deviations of the noise in a demonstration's tool velocities, m/s; episodes take them in turn."""

_NOISE_TIME_S = 0.3  # correlation time of a demonstration's noise


class SimWorld(Protocol):
    """A world as policies and experts drive it: joints, openings, pictures, and a tick of 10 ms."""

    @property
    def time_ns(self) -> int:
        """Simulated time since the reset, ns."""
        ...

    @property
    def joint_positions(self) -> Array:
        """Measured arm joints, arm after arm, rad."""
        ...

    @property
    def joint_velocities(self) -> Array:
        """Their measured velocities, rad/s."""
        ...

    @property
    def gripper_widths(self) -> Array:
        """Measured opening of each gripper, m."""
        ...

    @property
    def state(self) -> Array:
        """Joints and openings in the order of the robot's state."""
        ...

    @property
    def state_names(self) -> tuple[str, ...]:
        """That order."""
        ...

    def start_widths(self) -> Array:
        """Opening of each gripper that an episode begins with, m."""
        ...

    def join(self, joints: Array, widths: Array) -> Array:
        """Joints, arm after arm, and openings in the order of the robot's state."""
        ...

    def split(self, state: Array) -> tuple[Array, Array]:
        """The reverse of `join`."""
        ...

    def step(self, joints: Array, widths: Array) -> None:
        """Advance one control tick of 10 ms towards these joints (rad) and openings (m)."""
        ...

    def render(self, camera: str) -> Picture:
        """Picture of a camera as of now, (96, 96, 3) uint8 RGB."""
        ...


class Driver(Protocol):
    """What drives an episode: a policy's runner, or an expert in its place."""

    def begin(self, seed: int) -> None:
        """Take over a world that has just been reset."""
        ...

    def instruct(self, instruction: str) -> None:
        """Say what is to be done, from now on."""
        ...

    def hold(self) -> None:
        """Advance 50 ms with the arms held."""
        ...

    def step(self) -> None:
        """Advance 50 ms."""
        ...


class Disturbance:
    """Ornstein-Uhlenbeck noise in tool velocities, for demonstrations from which a policy learns to recover.

    Args:
        rng: where it is drawn from.
        deviation: its standard deviation, m/s.
        shape: of one value.
    """

    def __init__(self, rng: np.random.Generator, deviation: float, shape: tuple[int, ...]) -> None:
        self._rng, self._deviation = rng, deviation
        self._value = np.zeros(shape)

    def next(self) -> Array:
        """The noise of the next step of 50 ms, m/s."""
        decay = np.exp(-STEP_NS * 1e-9 / _NOISE_TIME_S)
        self._value = decay * self._value + self._deviation * np.sqrt(1 - decay**2) * self._rng.standard_normal(
            self._value.shape
        )
        return self._value


class StepDriver:
    """Brings one target per 50 ms to a world: linear in between, limited, at 100 Hz.

    Args:
        world: the world.
        limits: of the commands.
    """

    def __init__(self, world: SimWorld, limits: JointLimits = EXPERT_LIMITS) -> None:
        self._world = world
        self._limiter = Limiter(limits, TICK_S)
        self._gain_per_tick = np.array(limits.acceleration) * TICK_S
        self._last = world.joint_positions

    def reset(self) -> None:
        """Start from where the arm is. Call it after the world's reset."""
        self._last = self._world.joint_positions
        self._limiter.reset(self._last)

    def step(self, target: Array) -> None:
        """Advance 50 ms; `target`: joints at the end of the step (rad) and openings (m) in the order of the state."""
        goal, widths = self._world.split(target)
        wanted = (goal - self._last) / (STEP_TICKS * TICK_S)
        for i in range(1, STEP_TICKS + 1):
            # Asked for a speed that it cannot have by then, the limiter would first run backwards to gain it.
            now = self._limiter.velocity
            slowest, fastest = np.minimum(now - self._gain_per_tick, 0.0), np.maximum(now + self._gain_per_tick, 0.0)
            point = self._last + (goal - self._last) * (i / STEP_TICKS)
            limited = self._limiter.step(point, np.clip(wanted, slowest, fastest))
            self._world.step(limited.position, widths)
        self._last = goal
