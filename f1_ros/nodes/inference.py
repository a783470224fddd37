"""Runs an engine in a thread of its own, always on the newest observation. No ROS in here.

A policy that can plans from what the arm will have done when its chunk arrives (`f1_ros.engine.continuity`): the steps
of the newest chunk that went out which are due by then. That holds only if the arm follows these chunks, so no plan is
given unless the action node says that the policy is in force, and none if the arm is elsewhere than the chunk says (it
was refused).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.chunk import ActionChunk
from f1_ros.engine.continuity import RECENT, Continuity, DelayEstimate, running_plan
from f1_ros.engine.protocol import Array, Engine, Foresight, PolicySpec, Running
from f1_ros.errors import EngineFailedError, F1Error, ObservationError
from f1_ros.observe.observation import Observation

SECOND_NS = 1_000_000_000
HAND_OVER_NS = 20_000_000
"""From a chunk's going out to its first command: the way to the action node and the rest of a control period."""
MAX_APART = 0.4
"""A step's action further than this from the measured joints (rad) is not being executed: at 2.6 rad/s an arm does
0.4 rad in a step of 0.05 s and the 0.1 s by which its servo lags."""


@dataclass(frozen=True)
class Settings:
    """What may change between two inferences.

    Attributes:
        instruction: what the policy is to do.
        seed: seed of the node; see `inference_seed`.
        max_rate_hz: inferences per second, at most; 0: as many as the engine can.
        picture_rate_hz: how often a prediction is decoded to a picture, at most; 0: never.
        max_age_s: how old an observation may be when its chunk goes out, s.
        followed: the arm follows this policy's chunks now.
        continuity: how a chunk goes on from the one before.
    """

    instruction: str
    seed: int
    max_rate_hz: float
    picture_rate_hz: float
    max_age_s: float
    followed: bool = False
    continuity: Continuity = "auto"


@dataclass(frozen=True)
class Answer:
    """What one inference gave, ready to be published.

    Attributes:
        chunk: the plan.
        foresight: the predicted view, if the engine gives one.
        instruction: what the policy followed.
        stage_ms: time of each stage, ms.
        whole: false for near steps that go out ahead of the others: foresight and times come with the whole chunk.
    """

    chunk: ActionChunk
    foresight: Foresight | None
    instruction: str
    stage_ms: dict[str, float]
    whole: bool = True


@dataclass(frozen=True)
class Picture:
    """A decoded prediction.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        target_stamp_ns: the instant that it shows, ns on the ROS clock.
    """

    pixels: NDArray[np.uint8]
    target_stamp_ns: int


def inference_seed(seed: int, stamp_ns: int) -> int:
    """Seed of one inference: it depends on the observation, so a replayed recording gives the same chunks.

    Args:
        seed: the node's seed, 0 or more.
        stamp_ns: stamp of the observation, ns.
    """
    return int(np.random.SeedSequence((seed, stamp_ns)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def chunk_of(spec: PolicySpec, stamp_ns: int, actions: Array, latency_ns: int) -> ActionChunk:
    """Make the chunk of an inference: step i is due `first_step_offset + i` steps after the observation.

    Raises:
        ChunkError: if the actions have the wrong shape or hold NaN or infinity.
    """
    step_ns = round(spec.step_s * SECOND_NS)
    return ActionChunk(
        robot=spec.robot,
        stamp_ns=stamp_ns,
        start_ns=stamp_ns + spec.first_step_offset * step_ns,
        step_ns=step_ns,
        joint_names=spec.action_names,
        positions=np.asarray(actions, dtype=np.float64),
        latency_ns=latency_ns,
    )


class InferenceThread:
    """Takes observations as they come and answers the newest; one that waited while a newer came is skipped.

    The callbacks are called in the inference thread:
        on_answer(answer)     to publish; before the prediction is decoded. From a policy that has near steps ready
                              ahead of the others first with these alone, then with all
        on_picture(picture)   now and then, at most at `picture_rate_hz`, when the chunk is already out
        on_failure(error)     instead of an answer; the next observation is tried again
    """

    def __init__(
        self,
        engine: Engine,
        settings: Callable[[], Settings],
        now_ns: Callable[[], int],
        on_answer: Callable[[Answer], None],
        on_picture: Callable[[Picture], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        """Prepare; `start` starts.

        Args:
            engine: a warm engine; from now on only this thread calls it.
            settings: gives the settings of the next inference.
            now_ns: gives the time on the clock of the stamps, ns.
            on_answer: see above.
            on_picture: see above.
            on_failure: see above.
        """
        self._engine = engine
        self._settings = settings
        self._now_ns = now_ns
        self._on_answer = on_answer
        self._on_picture = on_picture
        self._on_failure = on_failure
        self._waiting: Observation | None = None
        self._condition = threading.Condition()
        self._stopping = threading.Event()
        # A daemon: an inference that does not end must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._latencies_ms: deque[float] = deque(maxlen=RECENT)
        self._delay = DelayEstimate()
        self._sent: ActionChunk | None = None
        self._began_s = self._picture_s = float("-inf")
        self.skipped = 0
        """Observations that a newer one replaced before the engine was free."""
        self.too_old = 0
        """Observations and answers dropped for their age."""
        self._busy_since_s: float | None = None
        self._failures_s: tuple[float, float] | None = None  # the first and the latest since the last answer

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, observation: Observation) -> None:
        """Hand in an observation, by reference; returns at once."""
        with self._condition:
            if self._waiting is not None:
                self.skipped += 1
            self._waiting = observation
            self._condition.notify()

    def stop(self, timeout_s: float) -> bool:
        """End the thread. No callback is called for what it has not finished by now.

        Args:
            timeout_s: how long to wait for the inference under way, s.

        Returns:
            Whether the thread has ended; if not, the engine is still in use.
        """
        with self._condition:
            self._stopping.set()
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stuck_s(self) -> float:
        """For how long an inference has not ended, or the engine has given nothing but failures, s; 0: all is well."""
        busy_since_s, failures_s = self._busy_since_s, self._failures_s
        busy_s = 0.0 if busy_since_s is None else time.monotonic() - busy_since_s
        return busy_s if failures_s is None else max(busy_s, failures_s[1] - failures_s[0])

    def latency_ms(self) -> tuple[float, float]:
        """Median and 95th percentile of the latest inferences' time, ms; NaN before the first."""
        if not self._latencies_ms:
            return float("nan"), float("nan")
        p50, p95 = np.percentile(list(self._latencies_ms), (50, 95))
        return float(p50), float(p95)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(self._stopping.is_set, timeout=self._pause_s())
                self._condition.wait_for(lambda: self._waiting is not None or self._stopping.is_set())
                observation, self._waiting = self._waiting, None
                if self._stopping.is_set() or observation is None:
                    return
            self._busy_since_s = began_s = time.monotonic()
            try:
                self._answer(observation)
                self._failures_s = None
            except Exception as error:  # noqa: BLE001 - handed on whole; nothing may end this thread in silence
                if isinstance(error, EngineFailedError) or not isinstance(error, F1Error):
                    first_s = began_s if self._failures_s is None else self._failures_s[0]
                    self._failures_s = (first_s, time.monotonic())
                if not self._stopping.is_set():
                    self._on_failure(error)
            finally:
                self._busy_since_s = None

    def _answer(self, observation: Observation) -> None:
        settings, spec = self._settings(), self._engine.spec
        self._check_age(observation, settings)
        self._began_s = time.monotonic()
        began = time.perf_counter_ns()
        seed = inference_seed(settings.seed, observation.stamp_ns)

        def send_near(actions: Array) -> None:
            chunk = chunk_of(spec, observation.stamp_ns, actions, time.perf_counter_ns() - began)
            self._send(Answer(chunk, None, settings.instruction, {}, whole=False), observation, settings)

        result = self._engine.infer(
            observation,
            settings.instruction,
            seed,
            self._running(observation, settings.continuity) if settings.followed else None,
            on_near=send_near if spec.trained_near_steps else None,
        )
        latency_ns = time.perf_counter_ns() - began
        self._latencies_ms.append(latency_ns / 1e6)
        chunk = chunk_of(spec, observation.stamp_ns, result.actions, latency_ns)
        self._send(Answer(chunk, result.foresight, settings.instruction, result.stage_ms), observation, settings)
        if self._stopping.is_set():
            return
        if result.foresight is not None and self._picture_is_due(settings.picture_rate_hz):
            self._picture_s = time.monotonic()
            pixels = self._engine.decode_foresight(result.foresight)
            if self._stopping.is_set():
                return
            self._on_picture(Picture(pixels, result.foresight.target_stamp_ns))

    def _send(self, answer: Answer, observation: Observation, settings: Settings) -> None:
        self._check_age(observation, settings)
        if self._stopping.is_set():
            return
        self._on_answer(answer)
        if self._sent is None or self._sent.stamp_ns != observation.stamp_ns:  # what takes effect first counts
            self._delay.add(self._now_ns() - observation.stamp_ns)
        self._sent = answer.chunk

    def _running(self, observation: Observation, continuity: Continuity) -> Running | None:
        """The plan that the arm follows while this chunk is computed, or None if that is not known."""
        delay_ns = self._delay.delay_ns
        if self._sent is None or delay_ns is None:
            return None
        delay_ns += HAND_OVER_NS
        stamp_ns, spec = observation.stamp_ns, self._engine.spec
        running = running_plan(self._sent, spec, stamp_ns, stamp_ns + delay_ns, continuity)
        columns = [i for i, name in enumerate(spec.action_names) if name in spec.state_names]
        here = observation.state[[spec.state_names.index(spec.action_names[i]) for i in columns]]
        if running is None or np.abs(running.actions[0, columns] - here).max(initial=0.0) > MAX_APART:
            return None
        return running

    def _pause_s(self) -> float:
        """Time until the next inference may begin, s."""
        rate_hz = self._settings().max_rate_hz
        return 0.0 if rate_hz <= 0.0 else max(0.0, self._began_s + 1.0 / rate_hz - time.monotonic())

    def _check_age(self, observation: Observation, settings: Settings) -> None:
        age_s = (self._now_ns() - observation.stamp_ns) / SECOND_NS
        if abs(age_s) <= settings.max_age_s:
            return
        self.too_old += 1
        when = "old" if age_s > 0 else "in the future"
        raise ObservationError(
            f"Observations are more than {settings.max_age_s:.2f} s {when} when their chunk would go out.",
            remedy="Use a faster machine or a smaller policy; set use_sim_time alike on all nodes.",
        )

    def _picture_is_due(self, rate_hz: float) -> bool:
        """Whether a picture may be decoded now; it gives way to a waiting observation for one more period."""
        if rate_hz <= 0.0:
            return False
        periods = (time.monotonic() - self._picture_s) * rate_hz
        return periods >= (1.0 if self._waiting is None else 2.0)
