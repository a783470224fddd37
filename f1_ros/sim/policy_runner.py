"""A policy in a simulated world, in lock step: the world waits for nobody, but nothing depends on the wall clock.

While the engine thinks, the world moves on: a chunk computed from what was seen at t takes effect at t + delay, never
sooner. From there on the live system's own `Controller` (timeline, splice, limiter, gripper gate) commands the arms at
the world's 100 Hz, with the profile of the real robot. A policy that was trained for it plans from what the arm will
have done by then: the steps of the running chunk that are due during the delay.

    runner = PolicyRunner(world, engine, load_profile("franka_fr3"), delay_s=0.15, replan_steps=3)
    world.reset(seed)
    runner.begin(seed)
    for _ in range(60):
        runner.step()            50 ms
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.arbiter import Mode
from f1_ros.control.chunk import ActionChunk
from f1_ros.control.controller import Controller
from f1_ros.control.streamed import StreamedValues
from f1_ros.engine.continuity import Continuity, check_continuity, running_plan
from f1_ros.engine.protocol import Array, Engine, InferenceResult
from f1_ros.errors import ConfigError, PolicyStoppedError, SimulationError
from f1_ros.observe.observation import Observation
from f1_ros.observe.simulated import observe
from f1_ros.robots.choose import transport_for
from f1_ros.robots.profile import RobotProfile
from f1_ros.sim.gripper import gripper_reading
from f1_ros.sim.lockstep import STEP_NS, STEP_TICKS, TICK_S, SimWorld
from f1_ros.sim.scene import TICK_NS

TICK_HZ = 1e9 / TICK_NS


@dataclass(frozen=True)
class _Pending:
    due_ns: int
    chunk: ActionChunk


class PolicyRunner:
    """Runs one policy in one world. Not thread-safe.

    Args:
        world: the world; its owner resets it.
        engine: the policy; its step period must be 50 ms, its cameras the world's.
        profile: the robot that the policy was trained on; its limits and gripper gate apply.
        delay_s: time that the world moves on while the engine thinks, s; rounded up to a control tick.
        near_delay_s: the same until the near steps of a policy that gives them ahead of the others take effect; None:
            all take effect together.
        continuity: how a chunk goes on from the one before it.
        replan_steps: steps of 50 ms between two inferences, if the delay is not longer.
        instruction: the policy's own default if None.
        on_result: called with each observation and what the engine made of it.

    Raises:
        ConfigError: if the policy does not fit the world, or delay or replanning are out of range.
    """

    def __init__(
        self,
        world: SimWorld,
        engine: Engine,
        profile: RobotProfile,
        *,
        delay_s: float = 0.15,
        near_delay_s: float | None = None,
        continuity: Continuity = "auto",
        replan_steps: int = 3,
        instruction: str | None = None,
        on_result: Callable[[Observation, InferenceResult], None] | None = None,
    ) -> None:
        spec = engine.spec
        if spec.robot != profile.embodiment or round(spec.step_s * 1e9) != STEP_NS:
            raise ConfigError(
                f"Policy '{spec.name}' is for robot '{spec.robot}' with steps of {spec.step_s} s; the simulated world "
                f"has '{profile.embodiment}' and 0.05 s.",
                remedy="Evaluate a policy that was trained in this world.",
            )
        if spec.state_names != world.state_names:
            raise ConfigError(
                f"Policy '{spec.name}' takes a state of {', '.join(spec.state_names)}; the simulated world's is "
                f"{', '.join(world.state_names)}.",
                remedy="Evaluate a policy that was trained in this world.",
            )
        if not (math.isfinite(delay_s) and 0.0 <= delay_s <= 2.0):
            raise ConfigError(f"The delay is {delay_s} s.", remedy="Give a delay from 0 to 2 s.")
        if near_delay_s is not None and not (0.0 <= near_delay_s <= delay_s and spec.trained_near_steps):
            raise ConfigError(
                f"The delay of near steps is {near_delay_s} s, that of all {delay_s} s; policy '{spec.name}' gives "
                f"{spec.trained_near_steps} steps ahead.",
                remedy="Give 0 s to the delay of all, for a policy that was trained with near_steps, or leave it out.",
            )
        if not 1 <= replan_steps <= spec.chunk_size:
            raise ConfigError(
                f"Replanning every {replan_steps} steps with chunks of {spec.chunk_size}.",
                remedy="Give 1 or more steps, at most the chunk's.",
            )
        check_continuity(spec, continuity, engine.info)
        self._continuity = continuity
        # The world's tick is 10 ms, whatever rate the real robot takes commands at.
        profile = dataclasses.replace(profile, rates=dataclasses.replace(profile.rates, control=TICK_HZ))
        self._world, self._engine, self._profile = world, engine, profile
        self._spec, self._on_result = spec, on_result
        self._streams = transport_for(profile).streams
        self._grippers = [gripper.name for gripper in profile.grippers]
        self._delay_ns = _ticks_ns(delay_s)
        self._near_delay_ns = None if near_delay_s is None else _ticks_ns(near_delay_s)
        self._replan_steps = replan_steps
        self._instruction = spec.default_instruction if instruction is None else instruction
        self._depth = 1 - min(spec.history_offsets)
        self.latencies_ms: list[float] = []
        self.limited_ticks = 0

    @property
    def delay_ns(self) -> int:
        """The delay in force, ns: a whole number of control ticks."""
        return self._delay_ns

    def begin(self, seed: int) -> None:
        """Start with the world as it is: the arm holds until the first chunk is due. Call it after the world's reset.

        Raises:
            SimulationError: if the controller refuses to hand over to the policy.
        """
        self._controller = Controller(self._profile)
        self._frames: deque[tuple[int, NDArray[np.uint8]]] = deque(maxlen=self._depth)
        self._pending: deque[_Pending] = deque()
        self._busy_until_ns = 0
        self._steps_since = self._replan_steps
        self._seed = seed
        self._widths = self._world.start_widths()
        # A gripper that is streamed to is led to its target, here as on the robot: grasps take that time.
        self._streamed = StreamedValues(self._streams, TICK_S)
        for gripper, width in zip(self._profile.grippers, self._widths.tolist(), strict=True):
            self._streamed.measured(gripper.name, width)
        self._chunks = 0
        self._hear_joints()
        self._controller.tick(self._world.time_ns)
        # The hand-over is as strict as on the robot: it wants to have heard the policy, so it hears "stay".
        self._hold_chunk()
        reply = self._controller.request_mode(Mode.POLICY, self._world.time_ns)
        if not reply.success:
            raise SimulationError(f"The controller refuses the policy: {reply.message}", remedy="See the message.")

    def instruct(self, instruction: str) -> None:
        """Give the policy this instruction from the next inference on."""
        self._instruction = instruction

    def hold(self) -> None:
        """Advance 50 ms with the arm held, keeping frames for the history."""
        self._keep_frame()
        self._hold_chunk()
        self._ticks()

    def step(self) -> None:
        """Advance 50 ms under the policy.

        Raises:
            PolicyStoppedError: if the controller takes the arm from it.
        """
        self._keep_frame()
        now = self._world.time_ns
        self._steps_since += 1
        if self._steps_since >= self._replan_steps and now >= self._busy_until_ns:
            self._steps_since = 0
            self._busy_until_ns = now + self._delay_ns
            near, self._running = self._infer(now)  # inferences do not overlap: the next one finds it running
            if near is not None and self._near_delay_ns is not None:
                self._pending.append(_Pending(now + self._near_delay_ns, near))
            self._pending.append(_Pending(now + self._delay_ns, self._running))
        self._ticks()

    def infer_only(self) -> None:
        """Run one inference whose chunk is thrown away, to measure its latency."""
        self._infer(self._world.time_ns)

    def observation(self) -> Observation:
        """What the policy sees now, preprocessed as in the live system."""
        cameras = self._spec.cameras
        pictures = [self._world.render(name) if i else self._frames[-1][1] for i, name in enumerate(cameras)]
        return observe(self._spec, pictures, self._frames, self._world.state)

    def _infer(self, now: int) -> tuple[ActionChunk | None, ActionChunk]:
        """The near steps where they are given ahead, and the whole chunk."""
        observation, near = self.observation(), list[Array]()
        ahead = self._near_delay_ns is not None
        delay_ns = self._delay_ns if self._near_delay_ns is None else self._near_delay_ns
        running = running_plan(self._running, self._spec, now, now + delay_ns, self._continuity)
        began = time.perf_counter()
        result = self._engine.infer(
            observation,
            self._instruction,
            self._seed + self._chunks,
            running,
            on_near=near.append if ahead else None,
        )
        latency = time.perf_counter() - began
        if self._on_result is not None:
            self._on_result(observation, result)
        self._chunks += 1
        self.latencies_ms.append(latency * 1e3)
        return (self._chunk(now, near[0]) if near else None), self._chunk(now, result.actions)

    def _chunk(self, stamp_ns: int, positions: NDArray[np.float64]) -> ActionChunk:
        spec = self._spec
        return ActionChunk(
            robot=spec.robot,
            stamp_ns=stamp_ns,
            start_ns=stamp_ns + spec.first_step_offset * STEP_NS,
            step_ns=STEP_NS,
            joint_names=spec.action_names,
            positions=np.asarray(positions, dtype=np.float64),
            latency_ns=self._delay_ns,
        )

    def _hold_chunk(self) -> None:
        now, commanded = self._world.time_ns, self._controller.commanded
        here = self._world.joint_positions if commanded is None else commanded
        self._running = self._chunk(now, np.tile(self._world.join(here, self._widths), (self._spec.chunk_size, 1)))
        self._controller.on_chunk(self._running, now)

    def _keep_frame(self) -> None:
        self._frames.append((self._world.time_ns, self._world.render(self._spec.cameras[0])))

    def _hear_joints(self) -> None:
        names, positions = list(self._profile.joints), self._world.joint_positions.tolist()
        velocities = self._world.joint_velocities.tolist()
        for gripper, width in zip(self._profile.grippers, self._world.gripper_widths.tolist(), strict=True):
            reading = gripper_reading(gripper, width)
            names += gripper.state.joints
            positions += [reading] * len(gripper.state.joints)
            velocities += [0.0] * len(gripper.state.joints)
        self._controller.on_joint_state(names, positions, velocities, self._world.time_ns, self._world.time_ns)

    def _ticks(self) -> None:
        for _ in range(STEP_TICKS):
            now = self._world.time_ns
            self._hear_joints()
            while self._pending and self._pending[0].due_ns <= now:
                self._controller.on_chunk(self._pending.popleft().chunk, now)
            command = self._controller.tick(now)
            if command is None or command.mode is not Mode.POLICY:
                raise PolicyStoppedError(
                    f"The controller left POLICY at {now / 1e9:.2f} s: {self._controller.reason}.",
                    remedy="Check the policy's outputs and its latency against the profile's timeouts.",
                )
            self.limited_ticks += command.limited
            for index, gripper in enumerate(self._profile.grippers):
                self._widths[index] = command.grippers.get(gripper.name, self._widths[index])
            self._world.step(command.position, self._led())

    def _led(self) -> Array:
        """Widths that the grippers are told in this tick, (grippers,) m."""
        wanted = dict(zip(self._grippers, self._widths.tolist(), strict=True))
        return np.array(list((wanted | self._streamed.step(wanted)).values()))


def _ticks_ns(delay_s: float) -> int:
    """A delay as a whole number of control ticks, ns."""
    return math.ceil(round(delay_s * 1e9) / TICK_NS) * TICK_NS
