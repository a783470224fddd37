"""The chunk timeline: which action chunk holds at each instant, and where it wants the arm to be.

Chunks arrive late, out of order, twice, or for another robot. The timeline takes what is usable, drops the steps that
are already past, lets the newest observation win from now on, and leads from one plan to the next without a step in
position or velocity. It keeps one plan at a time, has no clock of its own, and knows nothing of ROS.

    timeline = ChunkTimeline("franka", names, stepped=(7,))
    timeline.push(chunk, now_ns, position, velocity)     when a chunk arrives; where the arm is now
    timeline.sample(now_ns + period_ns)                  every tick: where the arm is to be at its end
    timeline.clear(epoch_ns=now_ns)                      on a mode switch: what was seen before it is refused

With `splice_speed`, no joint moves faster than 1.1 times the fastest that the chunks of late move any joint while one
chunk leads into the next: an arm that is behind its plan catches up at that speed, however long it takes.
docs/real_time.md says when this does not hold, and what it costs.

Formulas: cubic Hermite interpolation with central finite differences as tangents (Catmull-Rom); a splice adds to the
new plan the offset from the arm's state, which a `Blend` takes to 0; at its end a plan is followed ever more slowly
until it stops at the last step, so that the arm never leaves the planned path, nor stops dead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from f1_ros.control.blend import Blend
from f1_ros.control.chunk import ActionChunk
from f1_ros.errors import ChunkError

Array = NDArray[np.float64]

# A stamp further ahead of the clock than this belongs to another clock (a camera's, or wall time in simulation).
_CLOCK_TOLERANCE_NS = 100_000_000
SPLICE_SPEED = 1.06
"""Default. The rest of the promised 1.1 is for the plan's own change of speed while the arm speeds up or slows down."""
# How fast chunks move is remembered so long: it falls to 1/e in that time, s.
_MEMORY_S = 2.0
# An offset that would take longer than this at the chunks' speed, since they hardly move, is crossed in it, s.
_CATCH_UP_S = 2.0


class PushOutcome(Enum):
    """What became of a chunk; the value is the name of its counter."""

    ACCEPTED = "accepted"
    WRONG_ROBOT = "wrong_robot"
    WRONG_JOINTS = "wrong_joints"
    OTHER_PERIOD = "other_period"
    BEFORE_SWITCH = "before_switch"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    FROM_FUTURE = "from_future"
    LATE = "late"


@dataclass(frozen=True)
class TimelineSample:
    """Where the plan wants the arm at one instant.

    Attributes:
        position: (joints,) rad; for stepped columns the value of the step that is due next (m for a gripper).
        velocity: (joints,) rad/s; 0 for stepped columns.
        exhausted: the plan's last step is past: it holds there and a newer chunk is overdue.
        stamp_ns: stamp of the observation that the plan was computed from, ns.
    """

    position: Array
    velocity: Array
    exhausted: bool
    stamp_ns: int


@dataclass(frozen=True)
class _Plan:
    stamp_ns: int
    start_ns: int
    step_s: float
    positions: Array  # (steps, joints)
    tangents: Array  # (steps, joints) per second
    blend: Blend | None  # leads in from the arm's state

    @property
    def rises(self) -> Array:
        """(steps - 1, joints) mean velocity between one step and the next, rad/s."""
        rises: Array = np.diff(self.positions, axis=0) / self.step_s
        return rises

    @property
    def length_s(self) -> float:
        return (len(self.positions) - 1) * self.step_s

    @property
    def end_ns(self) -> int:
        return self.start_ns + round(self.length_s * 1e9)


class ChunkTimeline:
    """One plan at a time, in bounded memory. Not thread-safe.

    Args:
        robot: name of the profile; chunks for another are refused.
        joint_names: the profile's action layout; chunks with other columns or another order are refused.
        stepped: columns that are commanded in steps (grippers): neither interpolated nor blended.
        step_ns: the policy's step period, ns; without it the first chunk after `clear` sets it.
        blend_s: shortest time in which a splice is led into the new plan, s.
        blend_acceleration: largest acceleration that a splice may add, rad/s^2: a larger offset takes longer.
        stop_s: time in which a plan that was not replaced comes to rest at its end, s.
        splice_speed: how many times as fast as the fastest of the chunks a joint may be while one leads into the next;
            0: as fast as the blend takes it. See `RobotProfile`.

    Raises:
        ChunkError: if a column is named twice, a time or acceleration is not positive, or `splice_speed` neither 0 nor
            above 1.
    """

    def __init__(
        self,
        robot: str,
        joint_names: Sequence[str],
        *,
        stepped: Sequence[int] = (),
        step_ns: int | None = None,
        blend_s: float = 0.1,
        blend_acceleration: float = 5.0,
        stop_s: float = 0.2,
        splice_speed: float = SPLICE_SPEED,
    ) -> None:
        if len(set(joint_names)) != len(joint_names) or not joint_names:
            raise ChunkError(f"Action layout {list(joint_names)} repeats a name or is empty.", remedy="Name each once.")
        for name, value in (("blend_s", blend_s), ("blend_acceleration", blend_acceleration), ("stop_s", stop_s)):
            if not (math.isfinite(value) and value > 0.0):
                raise ChunkError(f"Chunk timeline: {name} is {value}.", remedy=f"Give a positive {name}.")
        if not (splice_speed == 0.0 or 1.0 < splice_speed < math.inf):
            raise ChunkError(f"splice_speed is {splice_speed}.", remedy="Give 0, or a factor above 1 such as 1.06.")
        self._robot = robot
        self._splice_speed = splice_speed
        self._names = tuple(joint_names)
        self._stepped = np.zeros(len(self._names), dtype=bool)
        self._stepped[list(stepped)] = True
        self._fixed_step_ns = step_ns
        self._step_ns = step_ns
        self._blend_s, self._blend_acceleration, self._stop_s = blend_s, blend_acceleration, stop_s
        self._plan: _Plan | None = None
        self._epoch_ns: int | None = None
        self._fastest = 0.0  # of any joint, in the chunks of late, rad/s
        self._pushed_ns = 0
        self._catch_up = np.zeros(len(self._names))  # speed at which offsets of chunks that hardly move are crossed
        self._counts = dict.fromkeys(PushOutcome, 0)
        self._steps_dropped = 0

    @property
    def counters(self) -> dict[str, int]:
        """How many chunks met each outcome since the start, and `steps_dropped`: steps past on arrival."""
        return {outcome.value: n for outcome, n in self._counts.items()} | {"steps_dropped": self._steps_dropped}

    @property
    def stamp_ns(self) -> int | None:
        """Stamp of the observation behind the current plan, ns; None without a plan."""
        return self._plan.stamp_ns if self._plan else None

    def clear(self, epoch_ns: int | None = None) -> None:
        """Forget the plan; from now on refuse chunks from observations before `epoch_ns` (None: refuse none)."""
        self._plan = None
        self._fastest = 0.0
        self._epoch_ns = epoch_ns
        self._step_ns = self._fixed_step_ns

    def push(
        self, chunk: ActionChunk, now_ns: int, position: ArrayLike | None = None, velocity: ArrayLike | None = None
    ) -> PushOutcome:
        """Take a chunk, if it is usable, as the plan from now on.

        Args:
            chunk: the chunk.
            now_ns: the time now, ns on the ROS clock.
            position: (joints,) where the arm is commanded to be now, rad: the splice starts there. Without it the
                splice starts from the running plan, or at the new one if there is none.
            velocity: (joints,) commanded velocity now, rad/s; 0 if not given with `position`.

        Returns:
            What became of it.

        Raises:
            ChunkError: if the arm's state has another shape or is not finite.
        """
        start = None if position is None else self._state(position, velocity)
        outcome = self._judge(chunk, now_ns)
        self._counts[outcome] += 1
        if outcome is PushOutcome.ACCEPTED:
            if start is None and self._plan is not None:
                sample = self._evaluate(self._plan, now_ns)
                start = sample.position, sample.velocity
            past = max(0, -(-(now_ns - chunk.start_ns) // chunk.step_ns))  # steps due before now
            self._steps_dropped += past
            self._plan = self._splice(chunk, now_ns, start)
            self._step_ns = chunk.step_ns
        return outcome

    def sample(self, now_ns: int) -> TimelineSample | None:
        """Where the arm is to be at `now_ns`; None without a plan."""
        return None if self._plan is None else self._evaluate(self._plan, now_ns)

    def _judge(self, chunk: ActionChunk, now_ns: int) -> PushOutcome:
        if chunk.robot != self._robot:
            return PushOutcome.WRONG_ROBOT
        if chunk.joint_names != self._names:
            return PushOutcome.WRONG_JOINTS
        if self._step_ns is not None and chunk.step_ns != self._step_ns:
            return PushOutcome.OTHER_PERIOD
        if self._epoch_ns is not None and chunk.stamp_ns < self._epoch_ns:
            return PushOutcome.BEFORE_SWITCH
        if self._plan is not None and chunk.stamp_ns < self._plan.stamp_ns:
            return PushOutcome.OUT_OF_ORDER
        if self._plan is not None and chunk.stamp_ns == self._plan.stamp_ns and chunk.end_ns <= self._plan.end_ns:
            return PushOutcome.DUPLICATE  # one that goes further brings the far steps after near ones sent ahead
        # The first step may lead the observation by as much as a chunk is long, and no more.
        lead_ns = _CLOCK_TOLERANCE_NS + chunk.positions.shape[0] * chunk.step_ns
        if chunk.stamp_ns > now_ns + _CLOCK_TOLERANCE_NS or chunk.start_ns > now_ns + lead_ns:
            return PushOutcome.FROM_FUTURE
        if chunk.end_ns < now_ns:
            return PushOutcome.LATE
        return PushOutcome.ACCEPTED

    def _splice(self, chunk: ActionChunk, now_ns: int, start: tuple[Array, Array] | None) -> _Plan:
        positions = np.array(chunk.positions, dtype=np.float64)
        step_s = chunk.step_ns * 1e-9
        tangents = np.gradient(positions, step_s, axis=0) if len(positions) > 1 else np.zeros_like(positions)
        plan = _Plan(chunk.stamp_ns, chunk.start_ns, step_s, positions, tangents, None)
        self._remember(plan, now_ns)
        if start is None:
            return plan
        there = self._evaluate(plan, now_ns)
        offset = np.where(self._stepped, 0.0, start[0] - there.position)
        rate = np.where(self._stepped, 0.0, start[1] - there.velocity)
        # The first plan, and one of a single step, say nothing of the speed to keep to.
        if not self._splice_speed or self._plan is None or len(positions) == 1:
            return replace(plan, blend=self._blend(now_ns, offset, rate))
        # A blend that is begun anew on its way keeps its speed, or the arm would come ever more slowly.
        under_way = False if self._plan.blend is None else self._plan.blend.under_way(now_ns)
        self._catch_up = np.maximum(np.where(under_way, self._catch_up, 0.0), np.abs(offset) / _CATCH_UP_S)
        most = np.maximum(self._splice_speed * self._fastest, self._catch_up)
        return replace(plan, blend=self._limited_blend(plan, now_ns, offset, rate, most))

    def _remember(self, plan: _Plan, now_ns: int) -> None:
        forgotten = math.exp(-max(now_ns - self._pushed_ns, 0) * 1e-9 / _MEMORY_S)
        moving = np.abs(plan.rises[:, ~self._stepped])
        self._fastest = max(self._fastest * forgotten, float(moving.max(initial=0.0)))
        self._pushed_ns = now_ns

    def _limited_blend(self, plan: _Plan, now_ns: int, offset: Array, rate: Array, most: Array) -> Blend:
        """The quickest blend with which no joint is faster than `most` (joints,) rad/s."""
        # What the plan itself does meanwhile counts, and the slower the blend the longer that is: its fastest up to
        # the end of each piece, and for how long after now that is all.
        pieces = np.stack([plan.rises, plan.tangents[:-1], plan.tangents[1:]])
        ends_s = plan.step_s * np.arange(1, len(plan.positions)) - (now_ns - plan.start_ns) * 1e-9
        first = min(int(np.searchsorted(ends_s, 0.0)), len(ends_s) - 1)
        forward = np.maximum.accumulate(pieces.max(axis=0)[first:])
        backward = np.minimum.accumulate(pieces.min(axis=0)[first:])
        columns, last = np.arange(len(offset)), len(forward) - 1
        piece = np.full(len(offset), min(int(np.searchsorted(ends_s[first:], self._blend_s)), last))
        while True:
            # A plan may be faster between its steps than they are on average: a little is always left.
            spare = (1.0 - 1.0 / self._splice_speed) * most
            fastest = np.maximum(most - np.maximum(forward[piece, columns], 0.0), spare)
            slowest = np.minimum(-most - np.minimum(backward[piece, columns], 0.0), -spare)
            blend = self._blend(now_ns, offset, rate, slowest, fastest)
            needed = np.minimum(np.searchsorted(ends_s[first:], blend.durations_s), last)
            if (needed <= piece).all():
                return blend
            piece = np.minimum(np.maximum(needed, 2 * piece + 1), last)

    def _blend(
        self, now_ns: int, offset: Array, rate: Array, slowest: Array | float = -np.inf, fastest: Array | float = np.inf
    ) -> Blend:
        return Blend.within(
            now_ns,
            offset,
            rate,
            least_s=self._blend_s,
            acceleration=self._blend_acceleration,
            slowest=slowest,
            fastest=fastest,
        )

    def _evaluate(self, plan: _Plan, now_ns: int) -> TimelineSample:
        t = (now_ns - plan.start_ns) * 1e-9
        u, pace = self._slowed(t, plan.length_s)
        last = plan.positions.shape[0] - 1
        if u <= 0.0 or last == 0:  # the first step is still ahead: come from where its tangent points back to
            position = plan.positions[0] + plan.tangents[0] * min(u, 0.0)
            velocity = plan.tangents[0] * pace
        else:
            i = min(int(u / plan.step_s), last - 1)
            position, velocity = _hermite(
                plan.positions[i : i + 2], plan.tangents[i : i + 2], u / plan.step_s - i, plan.step_s
            )
            velocity = velocity * pace
        if plan.blend is not None:
            offset, rate = plan.blend.at(now_ns)
            position, velocity = position + offset, velocity + rate
        if self._stepped.any():
            due = min(max(math.ceil(t / plan.step_s - 1e-9), 0), last)
            position = np.where(self._stepped, plan.positions[due], position)
            velocity = np.where(self._stepped, 0.0, velocity)
        return TimelineSample(position, velocity, t > plan.length_s, plan.stamp_ns)

    def _slowed(self, t: float, length_s: float) -> tuple[float, float]:
        # Plan time and its pace: from stop_s / 2 before the end the pace falls linearly from 1 to 0, which brings
        # plan time to the end exactly, stop_s / 2 late.
        x = (t - length_s) / self._stop_s + 0.5
        if x <= 0.0:
            return t, 1.0
        if x >= 1.0:
            return length_s, 0.0
        return length_s + self._stop_s * (x - x * x / 2.0 - 0.5), 1.0 - x

    def _state(self, position: ArrayLike, velocity: ArrayLike | None) -> tuple[Array, Array]:
        p = np.array(position, dtype=np.float64)
        v = np.zeros_like(p) if velocity is None else np.array(velocity, dtype=np.float64)
        n = len(self._names)
        if p.shape != (n,) or v.shape != (n,) or not (np.isfinite(p).all() and np.isfinite(v).all()):
            raise ChunkError(
                f"A splice cannot start from position {p.tolist()}, velocity {v.tolist()}.",
                remedy=f"Give the commanded state of all {n} columns of the action layout.",
            )
        return p, v


def _hermite(positions: Array, tangents: Array, s: float, step_s: float) -> tuple[Array, Array]:
    # Cubic through positions[0] at s = 0 and positions[1] at s = 1 with the given tangents; position and velocity.
    rise = positions[1] - positions[0]
    m0, m1 = tangents[0] * step_s, tangents[1] * step_s
    quadratic, cubic = 3.0 * rise - 2.0 * m0 - m1, m0 + m1 - 2.0 * rise
    position = positions[0] + s * (m0 + s * (quadratic + s * cubic))
    velocity = (m0 + s * (2.0 * quadratic + s * 3.0 * cubic)) / step_s
    return position, velocity
