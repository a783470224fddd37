"""The control tick: what comes in, which source holds, and the one command that goes out.

    controller = Controller(profile)
    controller.on_joint_state(...)  on_chunk(...)  on_teleop(...)      as messages arrive
    controller.request_mode(Mode.POLICY, now_ns)                       as people ask
    command = controller.tick(now_ns)                                  every period; None until the arm's state is known

Every command passes the limiter, whose state runs through all modes: whatever takes over starts from the position and
velocity of the last command. Times are the caller's, ns on the ROS clock. Nothing here is thread-safe: callbacks and
tick must be kept apart by one lock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.arbiter import Arbiter, Cause, Event, Mode, ModeLog, ModeReply, Obstacle, Problem
from f1_ros.control.chunk import ActionChunk
from f1_ros.control.command import Command
from f1_ros.control.device import OUT_OF_RANGE, Refusal, TeleopDevice
from f1_ros.control.gripper import GripperGate
from f1_ros.control.leader import LeaderFollower
from f1_ros.control.limits import LimitedStep, Limiter
from f1_ros.control.measured import MeasuredState
from f1_ros.control.tally import tally
from f1_ros.control.timeline import ChunkTimeline, PushOutcome
from f1_ros.control.watch import Watch
from f1_ros.robots.profile import RobotProfile

Array = NDArray[np.float64]

BLEND_ACCELERATION = 5.0
"""Of a splice, as a part of the arm's. Well above it: the limiter keeps the limits. A gentle blend would last longer
than the time between two chunks, and begun anew with each of them it would never bring the arm onto the plan."""
# On leaving FAULT, at rest for so long (ns) that the arm has come to where it was commanded, the command starts from
# the measured joints if these are further away from it than this (rad).
_REANCHOR, _SETTLED_NS = 0.05, 500_000_000
# Time that goes back by more than this has been reset; by less, it has been corrected.
_CLOCK_RESET_NS = 100_000_000
# Chunks that arrive between two ticks; the newest observation wins, so older ones may fall out.
_PENDING = 4


class Controller:
    """Decides one command a tick. Not thread-safe.

    Args:
        profile: the robot.
        rate_hz: control rate, Hz; the profile's if not given.
    """

    def __init__(self, profile: RobotProfile, rate_hz: float | None = None) -> None:
        self.profile = profile
        self.period_ns = round(1e9 / (rate_hz or profile.rates.control))
        limits = profile.limits
        self._lower, self._upper = np.array(limits.lower), np.array(limits.upper)
        self._limiter = Limiter(limits, self.period_ns * 1e-9, profile.lead, profile.workspaces)
        self._leader = LeaderFollower(limits, profile.teleop, self.period_ns * 1e-9)
        names = profile.action_names
        self._arm_columns = np.array([names.index(joint) for joint in profile.joints])
        self._gripper_columns = {g.name: names.index(g.name) for g in profile.grippers}
        self._timeline = ChunkTimeline(
            profile.embodiment,
            names,
            stepped=tuple(self._gripper_columns.values()),
            blend_acceleration=BLEND_ACCELERATION * min(limits.acceleration),
            splice_speed=profile.splice_speed,
        )
        self._gates = {g.name: GripperGate(g) for g in profile.grippers}
        self._arbiter = Arbiter()
        self._measured = MeasuredState(profile.joints)
        self._device = TeleopDevice(profile)
        self._watch = Watch(profile, self._measured, self._device)
        self._pending: deque[ActionChunk] = deque(maxlen=_PENDING)
        self._counts: Counter[str] = Counter()
        self._anchored = False
        self._now_ns: int | None = None
        self._mode_ns = self._moved_ns = 0
        self._modes = ModeLog()
        self._first_command_of: int | None = None
        self._camera_to_command_ns = 0
        self._reason = "waiting for the first joint state"

    # -- what there is to report --------------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """The mode in force."""
        return self._arbiter.mode

    @property
    def mode_ns(self) -> int:
        """When the mode in force came into force, ns; 0 if it has been since the start."""
        return self._mode_ns

    @property
    def mode_event(self) -> str:
        """What led to the mode in force, in words; empty at the start."""
        return "" if self._arbiter.event is None else self._arbiter.event.value

    @property
    def recent_modes(self) -> tuple[tuple[Mode, int], ...]:
        """The last modes of commands, see `ModeLog.recent`."""
        return self._modes.recent

    @property
    def reason(self) -> str:
        """Why the arm is held or slowed; empty while it follows its source."""
        return self._arbiter.detail if self.mode is Mode.FAULT else self._reason

    @property
    def estranged(self) -> bool:
        """The arm is not where it was commanded to be, which is a FAULT, and the command is at rest.

        An arm that follows again would go to the command at once, whoever stands beside it then.
        """
        at_rest = self._anchored and not self._limiter.velocity.any()
        return at_rest and self._arbiter.cause is Cause.TRACKING

    @property
    def commanded(self) -> Array | None:
        """Last commanded position, (joints,) rad; None before the first command."""
        return self._limiter.position if self._anchored else None

    @property
    def commanded_velocity(self) -> Array | None:
        """Velocity of the last command, (joints,) rad/s; None before the first command."""
        return self._limiter.velocity if self._anchored else None

    @property
    def measured(self) -> Array:
        """Last measured position, (joints,) rad; NaN for joints not heard of."""
        return self._measured.position

    @property
    def gripper_commanded(self) -> dict[str, float | None]:
        """Width last commanded of each gripper, m; None before the first command."""
        return {name: gate.sent for name, gate in self._gates.items()}

    @property
    def gripper_commanded_ns(self) -> dict[str, int]:
        """When it was commanded, ns; 0 before the first command."""
        return {name: gate.sent_ns for name, gate in self._gates.items()}

    @property
    def chunk_stamp_ns(self) -> int | None:
        """Stamp of the observation behind the chunk in force, ns; None without one."""
        return self._timeline.stamp_ns

    @property
    def camera_to_command_ns(self) -> int:
        """From the stamp of the newest used chunk's observation to its first command, ns; 0 if there is none."""
        return self._camera_to_command_ns

    @property
    def counters(self) -> dict[str, int]:
        """Counts since the start; see `tally`."""
        return tally(self._counts, self._timeline.counters, self._arbiter.faults, self._modes.changes)

    # -- what comes in ------------------------------------------------------------------------------------------------

    def on_joint_state(
        self,
        names: Sequence[str],
        positions: Sequence[float],
        velocities: Sequence[float],
        now_ns: int,
        stamp_ns: int = 0,
    ) -> None:
        """A joint state message has arrived (rad, rad/s; see `MeasuredState.update`)."""
        if not self._measured.update(names, positions, velocities, now_ns, stamp_ns):
            self._counts["rejected_state"] += 1

    def on_chunk(self, chunk: ActionChunk, now_ns: int) -> None:
        """An action chunk has arrived; it takes effect with the next tick, if POLICY is in force."""
        if chunk.robot == self.profile.embodiment and chunk.joint_names == self.profile.action_names:
            arm = chunk.positions[:, self._arm_columns]
            if (arm < self._lower - OUT_OF_RANGE).any() or (arm > self._upper + OUT_OF_RANGE).any():
                self._counts["rejected_chunk_out_of_range"] += 1
                return
            if self.mode is not Mode.POLICY:
                self._watch.heard_chunk(now_ns)
        if self.mode is Mode.POLICY:
            self._counts["rejected_chunk_superseded"] += len(self._pending) == _PENDING
            self._pending.append(chunk)

    def on_invalid_command(self, source: Mode, detail: str) -> None:
        """A message of a source cannot be used at all (NaN, wrong shape): FAULT if that source is in force.

        Args:
            source: TELEOP or POLICY.
            detail: what is wrong with it, for people.
        """
        self._counts[f"rejected_{'chunk' if source is Mode.POLICY else 'teleop'}_invalid"] += 1
        if self.mode is source or (source.follows_device and self.mode.follows_device):
            self._fault(Cause.NAN_COMMAND, detail)

    def on_trouble(self, cause: Cause, detail: str) -> None:
        """Someone else commands the robot, or it has stopped itself: FAULT until a request, once that is over."""
        self._fault(cause, detail)

    def on_teleop(self, names: Sequence[str], positions: Sequence[float], now_ns: int, stamp_ns: int = 0) -> None:
        """The teleoperation device's message has arrived, see `TeleopDevice.take`; NaN is a FAULT if it is followed."""
        refusal = self._device.take(names, positions, now_ns, stamp_ns)
        position = self._device.position
        if refusal is Refusal.INVALID:
            self.on_invalid_command(Mode.TELEOP, "the leader arm's message holds NaN or infinity")
        elif refusal is not None:
            self._counts[f"rejected_teleop_{refusal.value}"] += 1
        elif position is not None:
            self._leader.message(position, now_ns)

    def on_deadman(self, held: bool, now_ns: int, stamp_ns: int = 0) -> None:
        """The device's deadman, or a pedal, has said whether it is held; it takes effect with the next tick."""
        self._device.on_deadman(held, now_ns, stamp_ns)

    def request_mode(self, mode: Mode, now_ns: int) -> ModeReply:
        """Someone asks for a mode. Refused, with the reason and a remedy, while something stands against it."""
        before = self.mode
        reply = self._arbiter.request(mode, self._obstacle(now_ns))
        if self.mode is not before:
            self._entered(before, now_ns)
        return reply

    # -- what goes out ------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int, *, sending: bool = True) -> Command | None:
        """Decide the command for the period that starts now; None until every joint has been heard of.

        Args:
            now_ns: the time now, ns.
            sending: whether the command will reach the robot. Until it does, HOLD and FAULT follow the measured
                joints, so that the first command that goes out is where the arm is then.
        """
        gap_ns = 0 if self._now_ns is None else now_ns - self._now_ns
        if gap_ns < -_CLOCK_RESET_NS:
            self._restart()
        self._now_ns = now_ns
        self._counts["ticks"] += 1
        if not self._anchored:
            if not (self._measured.known and self._measured.finite):
                return None
            # What the driver measures of an arm at rest is noise, what it derives may hold spikes.
            fastest = np.array(self._limiter.limits.velocity)
            self._limiter.reset(self._measured.position, np.clip(self._measured.velocity, -fastest, fastest))
            self._anchored = True
        elif not sending and self.mode in (Mode.HOLD, Mode.FAULT) and self._measured.finite:
            self._limiter.reset(self._measured.position)
        problem = self._watch.problem(self.mode, self._limiter.position, now_ns)
        if sending and gap_ns > self.profile.timeouts.joint_state * 1e9:
            # Nothing was sent meanwhile, and what came in is as old: the plan must not be caught up with.
            detail = f"no command for {gap_ns * 1e-9:.1f} s: the process was stopped, or the clock set forward"
            problem = (Cause.STALLED, detail)
        self._happened(self._noticed(), problem)
        step, grippers, reason = self._follow(now_ns)
        if step.refused:
            self._fault(Cause.NAN_COMMAND, f"the {self.mode.name.lower()} target is not finite")
        self._watch.stepped(step.by_lead, now_ns)
        if step.velocity.any():
            self._moved_ns = now_ns
        if self.mode is Mode.FAULT:
            reason, grippers = self._arbiter.detail, {}
        elif step.by_lead or step.by_workspace:
            reason = "waiting for a joint that lags behind" if step.by_lead else "kept inside the workspace"
        self._reason = reason
        self._counts["limited"] += step.limited
        self._counts["limited_by_lead"] += step.by_lead
        self._counts["limited_by_workspace"] += step.by_workspace
        self._modes.note(self.mode, now_ns)
        return Command(
            position=step.position,
            velocity=step.velocity,
            grippers=grippers,
            mode=self.mode,
            source=self.mode.source(self.profile.safe_action),
            limited=step.limited,
            reason=reason,
        )

    def _follow(self, now_ns: int) -> tuple[LimitedStep, dict[str, float], str]:
        end_ns = now_ns + self.period_ns
        if self.mode.follows_device:
            target = self._leader.target(end_ns)
            if target is not None:
                # Until the leader is aligned the gripper waits as well: it may hold something.
                grippers = self._gated(self._device.grippers, now_ns) if self._leader.aligned else {}
                return self._step(*target), grippers, self._leader.waits_for
            return self._limiter.brake(), {}, "waiting for the leader's first message"
        if self.mode is Mode.POLICY:
            self._take_chunks(now_ns)
            sample = self._timeline.sample(end_ns)
            if sample is not None:
                if self._first_command_of != sample.stamp_ns:
                    self._first_command_of = sample.stamp_ns
                    self._camera_to_command_ns = now_ns - sample.stamp_ns
                arm = self._arm_columns
                widths = {name: float(sample.position[column]) for name, column in self._gripper_columns.items()}
                reason = "the chunk is at its end, the next one is overdue" if sample.exhausted else ""
                return (
                    self._step(sample.position[arm], sample.velocity[arm]),
                    self._gated(widths, now_ns),
                    reason,
                )
            return self._limiter.brake(), {}, "waiting for a chunk from after the switch"
        return self._limiter.brake(), {}, "holding"

    def target_at(self, instant_ns: int) -> tuple[Array, Array] | None:
        """Where the policy has the arm at an instant (ns) to come, each (joints,) rad, rad/s; None: no plan counts."""
        sample = self._timeline.sample(instant_ns) if self.mode is Mode.POLICY else None
        return None if sample is None else (sample.position[self._arm_columns], sample.velocity[self._arm_columns])

    def _step(self, position: Array, velocity: Array) -> LimitedStep:
        return self._limiter.step(position, velocity, (self._measured.position, self._measured.velocity))

    def _take_chunks(self, now_ns: int) -> None:
        position, velocity = np.zeros(len(self.profile.action_names)), np.zeros(len(self.profile.action_names))
        while self._pending:
            chunk = self._pending.popleft()
            position[self._arm_columns], velocity[self._arm_columns] = self._limiter.position, self._limiter.velocity
            if self._timeline.push(chunk, now_ns, position, velocity) is PushOutcome.ACCEPTED:
                self._watch.heard_chunk(now_ns)

    def _gated(self, widths: Mapping[str, float], now_ns: int) -> dict[str, float]:
        sent = {name: self._gates[name].update(width, now_ns) for name, width in widths.items()}
        return {name: width for name, width in sent.items() if width is not None}

    # -- changes of mode ----------------------------------------------------------------------------------------------

    def _obstacle(self, now_ns: int) -> Obstacle:
        return lambda guard: self._watch.obstacle(guard, now_ns)

    def _noticed(self) -> Collection[Event]:
        """What the person's hands do, as far as it may change the mode in force."""
        if self.mode.follows_device and self._device.released:
            return (Event.RELEASED,)
        if self.mode is Mode.POLICY and self._device.touched(self._limiter.position, self._now_ns or 0):
            return (Event.TOUCHED,)
        return ()

    def _happened(self, events: Collection[Event], problem: Problem | None = None) -> None:
        before, now_ns = self.mode, self._now_ns or 0
        if self._arbiter.happened(events, self._obstacle(now_ns), problem) is not None:
            self._entered(before, now_ns)

    def _fault(self, cause: Cause, detail: str) -> None:
        self._happened((), (cause, detail))

    def _entered(self, before: Mode, now_ns: int) -> None:
        self._mode_ns = now_ns
        self._watch.entered(now_ns)
        self._drop_pending()
        self._timeline.clear(epoch_ns=now_ns)
        if self.mode is Mode.POLICY:
            self._device.policy_begins(now_ns)
        elif self.mode.follows_device and not before.follows_device:
            self._leader.engage(self._limiter.position, self._limiter.velocity)
        elif before is Mode.FAULT and self._anchored:
            # Of an arm that has just moved the measurement lags behind; one at rest elsewhere has been moved by others.
            measured, settled = self._measured.position, now_ns - self._moved_ns > _SETTLED_NS
            if settled and np.abs(measured - self._limiter.position).max() > _REANCHOR:
                self._limiter.reset(measured)

    def _drop_pending(self) -> None:
        self._counts["rejected_chunk_before_switch"] += len(self._pending)
        self._pending.clear()

    def _restart(self) -> None:
        # The clock went back: simulation was reset. No stamp from before means anything, nor does where the arm was.
        # FAULT stays: it is left by a request only.
        self._arbiter.happened((Event.CLOCK_BACK,))
        self._measured.forget()
        self._watch.forget()
        self._device.forget()
        self._leader.release()
        self._timeline.clear()
        self._drop_pending()
        self._anchored = False
        self._mode_ns = self._moved_ns = 0
        self._modes.restart(self.mode)
        for gate in self._gates.values():
            gate.forget()
        self._counts["clock_resets"] += 1
        self._reason = "waiting for the first joint state"
