"""The inference thread by itself: what it takes, what it leaves out, and how it ends."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.engine.protocol import EngineInfo, Foresight, InferenceResult, PolicySpec
from f1_ros.errors import ChunkError, EngineError, EngineFailedError, ObservationError
from f1_ros.nodes.inference import Answer, InferenceThread, Settings, chunk_of, inference_seed
from f1_ros.observe.observation import Observation

SPEC = PolicySpec(
    name="toy",
    robot="toy",
    cameras=("front",),
    image_size=8,
    history_resize=8,
    history_size=8,
    history_offsets=(0,),
    foresight_offset=1,
    step_s=0.05,
    first_step_offset=2,
    state_names=("j1",),
    action_names=("j1",),
    chunk_size=3,
)
PATIENCE_S = 20.0


class GatedEngine:
    """Answers one observation for each ticket."""

    info = EngineInfo("stub", guides=True)
    spec = SPEC

    def __init__(self) -> None:
        self.tickets = threading.Semaphore(0)
        self.entered: queue.Queue[int] = queue.Queue()

    def infer(
        self, observation: Observation, instruction: str, seed: int, running=None, *, on_near=None
    ) -> InferenceResult:
        self.entered.put(observation.stamp_ns)
        self.tickets.acquire()
        return InferenceResult(np.full((3, 1), observation.stamp_ns), Foresight(np.arange(1), (1,), 0), {})

    def decode_foresight(self, foresight: Foresight) -> np.ndarray:
        return np.zeros((2, 2, 3), dtype=np.uint8)


class PlanningEngine(GatedEngine):
    """Moves the joint on by 0.1 rad a step, from the prefix it is given."""

    spec = replace(SPEC, trained_prefix_steps=2)

    def __init__(self) -> None:
        super().__init__()
        self.tickets.release(100)
        self.prefixes: queue.Queue[list[float]] = queue.Queue()

    def infer(self, observation, instruction, seed, running=None, *, on_near=None) -> InferenceResult:
        self.prefixes.put([] if running is None else running.actions[:, 0].tolist())
        actions = observation.state[0] + np.array([[0.1], [0.2], [0.3]])
        if on_near is not None:
            on_near(actions[: self.spec.trained_near_steps])
        return InferenceResult(actions, Foresight(np.arange(1), (1,), 0), {})


class Rig:
    def __init__(self, now_ns: int | Callable[[], int] = 0, engine: GatedEngine | None = None, **changes) -> None:
        self.engine = engine or GatedEngine()
        self.answers: queue.Queue[Answer] = queue.Queue()
        self.pictures: queue.Queue = queue.Queue()
        self.failures: queue.Queue[Exception] = queue.Queue()
        settings = {"instruction": "", "seed": 0, "max_rate_hz": 0.0, "picture_rate_hz": 0.0, "max_age_s": 1.0}
        self.thread = InferenceThread(
            self.engine,
            lambda: Settings(**{**settings, **changes}),
            now_ns if callable(now_ns) else lambda: now_ns,
            self.answers.put,
            self.pictures.put,
            self.failures.put,
        )
        self.thread.start()

    def stop(self) -> None:
        for _ in range(100):
            self.engine.tickets.release()
        assert self.thread.stop(PATIENCE_S)


@pytest.fixture
def rig():
    rigs: list[Rig] = []

    def build(**changes) -> Rig:
        rigs.append(Rig(**changes))
        return rigs[-1]

    yield build
    for one in rigs:
        one.stop()


def observation(stamp_ns: int, joint: float = 0.0) -> Observation:
    return Observation(
        stamp_ns=stamp_ns,
        cameras=("front",),
        camera_stamps_ns=(stamp_ns,),
        images=np.zeros((1, 3, 8, 8), dtype=np.float32),
        history=np.zeros((1, 3, 8, 8), dtype=np.uint8),
        history_stamps_ns=(stamp_ns,),
        state_names=("j1",),
        state=np.full(1, joint),
    )


def test_only_the_newest_of_those_that_came_meanwhile_is_answered(rig) -> None:
    one = rig()
    one.thread.offer(observation(1))
    assert one.engine.entered.get(timeout=PATIENCE_S) == 1
    for stamp_ns in (2, 3, 4):
        one.thread.offer(observation(stamp_ns))
    one.engine.tickets.release(2)
    assert [one.answers.get(timeout=PATIENCE_S).chunk.stamp_ns for _ in range(2)] == [1, 4]
    assert one.thread.skipped == 2


def test_an_observation_is_too_old_on_either_side_of_now(rig) -> None:
    one = rig(now_ns=3_000_000_000)
    one.engine.tickets.release(3)
    for stamp_ns, says in ((1_999_999_999, "old"), (4_000_000_001, "in the future")):
        one.thread.offer(observation(stamp_ns))
        failure = one.failures.get(timeout=PATIENCE_S)
        assert isinstance(failure, ObservationError)
        assert says in str(failure)
    one.thread.offer(observation(2_000_000_000))
    assert one.answers.get(timeout=PATIENCE_S).chunk.stamp_ns == 2_000_000_000
    assert one.thread.too_old == 2


def test_a_rate_limit_spaces_the_inferences(rig) -> None:
    one = rig(max_rate_hz=10.0)
    one.engine.tickets.release(2)
    began = time.monotonic()
    for stamp_ns in (1, 2):
        one.thread.offer(observation(stamp_ns))
        assert one.engine.entered.get(timeout=PATIENCE_S) == stamp_ns
    assert time.monotonic() - began >= 0.099


def test_pictures_are_decoded_at_their_own_rate(rig) -> None:
    one = rig(picture_rate_hz=0.001)
    one.engine.tickets.release(3)
    for stamp_ns in (1, 2, 3):
        one.thread.offer(observation(stamp_ns))
        one.answers.get(timeout=PATIENCE_S)
    one.stop()
    assert one.pictures.qsize() == 1


def test_an_inference_that_is_under_way_when_the_thread_is_stopped_gives_nothing(rig) -> None:
    one = rig()
    one.thread.offer(observation(1))
    one.engine.entered.get(timeout=PATIENCE_S)
    assert not one.thread.stop(0.01)
    one.stop()
    assert one.answers.empty()
    assert one.failures.empty()


class FailingEngine(GatedEngine):
    """Raises what it is given, and answers when that is None."""

    def __init__(self, *errors: Exception | None) -> None:
        super().__init__()
        self.errors = list(errors)

    def infer(self, observation, instruction, seed, running=None, *, on_near=None) -> InferenceResult:
        error = self.errors.pop(0)
        if error is not None:
            raise error
        return InferenceResult(np.zeros((3, 1)), None, {})


def test_an_inference_that_does_not_end_is_seen_from_outside(rig) -> None:
    one = rig()
    assert one.thread.stuck_s() == 0.0
    one.thread.offer(observation(1))
    one.engine.entered.get(timeout=PATIENCE_S)
    time.sleep(0.05)
    assert one.thread.stuck_s() >= 0.05


def test_failures_one_after_the_other_count_from_the_first_to_the_latest_until_an_answer(rig) -> None:
    failed = EngineFailedError("NaN.", remedy="None.")
    one = rig(engine=FailingEngine(failed, MemoryError(), EngineError("Does not fit.", remedy="None."), None))
    stuck = []
    for stamp_ns, outcome in enumerate((one.failures, one.failures, one.failures, one.answers)):
        time.sleep(0.05)
        one.thread.offer(observation(stamp_ns))
        outcome.get(timeout=PATIENCE_S)
        stuck.append(until_idle(one))
        time.sleep(0.05)
        assert one.thread.stuck_s() == stuck[-1]  # silence after a failure is no further failure
    assert stuck[1] >= stuck[0] + 0.05
    assert stuck[2] == stuck[1]  # the engine is not to blame for what it is asked
    assert stuck[3] == 0.0


def until_idle(one: Rig) -> float:
    """For how long the engine is stuck, once it is not busy any more."""
    found = -1.0
    while found != (found := one.thread.stuck_s()):
        time.sleep(0.01)
    return found


def prefix_of_second(one: Rig, joint: float = 0.0) -> list[float]:
    """What the engine is told at the second of two observations 50 ms apart."""
    for stamp_ns, at in ((1_000_000_000, 0.0), (1_050_000_000, joint)):
        one.thread.offer(observation(stamp_ns, at))
        one.answers.get(timeout=PATIENCE_S)
    assert one.engine.prefixes.get(timeout=PATIENCE_S) == []
    return one.engine.prefixes.get(timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("age_ms", "steps"),
    [(50, []), (80, [0.2]), (129, [0.2]), (130, [0.2, 0.3]), (900, [0.2, 0.3])],
)
def test_a_chunk_is_planned_from_what_the_last_one_does_until_it_arrives(rig, age_ms, steps) -> None:
    """The first observation's age is what the second chunk's delay is judged by, with 20 ms for the hand-over."""
    one = rig(engine=PlanningEngine(), now_ns=1_000_000_000 + age_ms * 1_000_000, followed=True)
    assert prefix_of_second(one) == pytest.approx(steps)


def test_guidance_is_told_all_that_is_left_of_the_chunk(rig) -> None:
    engine = PlanningEngine()
    engine.spec = replace(SPEC, trained_prefix_steps=0)
    one = rig(engine=engine, now_ns=1_080_000_000, followed=True, continuity="guided")
    assert prefix_of_second(one) == pytest.approx([0.2, 0.3])


def test_nothing_is_committed_while_the_arm_does_not_follow(rig) -> None:
    assert prefix_of_second(rig(engine=PlanningEngine(), now_ns=1_200_000_000)) == []


@pytest.mark.parametrize(("joint", "steps"), [(0.59, [0.2, 0.3]), (-0.21, []), (0.61, [])])
def test_what_lies_far_from_the_measured_joints_is_not_being_executed(rig, joint, steps) -> None:
    one = rig(engine=PlanningEngine(), now_ns=1_200_000_000, followed=True)
    assert prefix_of_second(one, joint) == pytest.approx(steps)


def test_near_steps_go_out_ahead_of_the_whole_chunk(rig) -> None:
    engine = PlanningEngine()
    engine.spec = replace(SPEC, trained_near_steps=2)
    one = rig(engine=engine, now_ns=1_100_000_000)
    one.thread.offer(observation(1_000_000_000))
    near, whole = (one.answers.get(timeout=PATIENCE_S) for _ in range(2))
    assert [near.chunk.positions[:, 0].tolist(), whole.chunk.positions[:, 0].tolist()] == [[0.1, 0.2], [0.1, 0.2, 0.3]]
    assert (near.chunk.stamp_ns, near.chunk.start_ns) == (whole.chunk.stamp_ns, whole.chunk.start_ns)
    assert near.chunk.latency_ns <= whole.chunk.latency_ns
    assert (near.whole, whole.whole) == (False, True)
    assert near.foresight is None
    assert whole.foresight is not None


def test_near_steps_of_an_old_observation_do_not_go_out(rig) -> None:
    engine = PlanningEngine()
    engine.spec = replace(SPEC, trained_near_steps=2)
    now = iter([1_000_000_000, 3_000_000_000])  # old when they are ready
    one = rig(engine=engine, now_ns=lambda: next(now))
    one.thread.offer(observation(1_000_000_000))
    assert "old" in str(one.failures.get(timeout=PATIENCE_S))
    assert one.answers.empty()


def test_a_policy_that_was_not_trained_for_it_is_given_nothing(rig) -> None:
    engine = PlanningEngine()
    engine.spec = SPEC
    assert prefix_of_second(rig(engine=engine, now_ns=1_200_000_000, followed=True)) == []


def test_a_chunk_starts_its_first_step_offset_after_the_observation() -> None:
    chunk = chunk_of(SPEC, 1_000, np.zeros((3, 1)), latency_ns=9)
    assert (chunk.stamp_ns, chunk.start_ns, chunk.step_ns, chunk.latency_ns) == (1_000, 100_001_000, 50_000_000, 9)
    with pytest.raises(ChunkError, match="shape"):
        chunk_of(SPEC, 0, np.zeros((3, 2)), latency_ns=0)


def test_the_seed_of_an_inference_is_fixed_for_good() -> None:
    # Recordings replayed with a later release must give the same chunks.
    assert inference_seed(0, 0) == 7896617691693857887
    assert inference_seed(7, 1_790_000_000_123_456_789) == 1509175404214254090


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
def test_the_seed_of_an_inference_is_one_that_every_generator_takes(seed: int, stamp_ns: int) -> None:
    assert 0 <= inference_seed(seed, stamp_ns) < 2**63
    assert inference_seed(seed, stamp_ns) != inference_seed(seed, stamp_ns + 1)
