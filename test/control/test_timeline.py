"""The chunk timeline: which chunk holds, and how one leads into the next."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_ros.control.chunk import ActionChunk
from f1_ros.control.timeline import ChunkTimeline, PushOutcome
from f1_ros.errors import ChunkError

MS = 1_000_000
T0 = 1_000_000 * MS
NAMES = ("a", "b", "gripper")


def chunk(stamp_ms, positions, *, lead_ms=50, step_ms=50, robot="robot", names=NAMES) -> ActionChunk:
    stamp = T0 + stamp_ms * MS
    return ActionChunk(robot, stamp, stamp + lead_ms * MS, step_ms * MS, names, np.array(positions, dtype=float))


def line(stamp_ms, steps=16, start=0.0, speed=1.0, **kw) -> ActionChunk:
    """Both joints move at `speed` rad/s and are at `start` at the observation's stamp."""
    t = 0.05 * np.arange(1, steps + 1)
    return chunk(stamp_ms, np.stack([start + speed * t, start + speed * t, 0.08 * np.ones(steps)], 1), **kw)


def at(ms: float) -> int:
    return T0 + round(ms * MS)


def timeline(**kw) -> ChunkTimeline:
    return ChunkTimeline("robot", NAMES, stepped=(2,), **kw)


def test_without_a_chunk_there_is_no_sample() -> None:
    assert timeline().sample(at(0)) is None


def test_steps_that_are_past_on_arrival_are_dropped() -> None:
    plan = timeline()
    assert plan.push(line(0), at(150)) is PushOutcome.ACCEPTED
    sample = plan.sample(at(150))
    assert sample.position[0] == pytest.approx(0.15)
    assert sample.velocity[0] == pytest.approx(1.0)
    assert plan.counters["steps_dropped"] == 2  # due at 50 and 100 ms; the one at 150 ms is due now


def test_interpolation_passes_through_every_step_at_its_time() -> None:
    positions = np.stack([np.sin(np.arange(8)), np.cos(np.arange(8)), np.zeros(8)], 1)
    plan = timeline()
    plan.push(chunk(0, positions), at(0))
    for i in range(6):  # the last two lie where the plan slows down
        np.testing.assert_allclose(plan.sample(at(50 + 50 * i)).position, positions[i], atol=1e-12)


def test_interpolation_is_the_cubic_through_central_differences() -> None:
    plan = timeline()
    plan.push(chunk(0, [[0, 0, 0], [1, 0, 0], [4, 0, 0], [9, 0, 0], [16, 0, 0], [25, 0, 0], [36, 0, 0]]), at(0))
    # Between the steps 1 and 4 the tangents are 2 and 4 a step: a quarter of the way is 1.25 squared.
    assert plan.sample(at(112.5)).position[0] == pytest.approx(1.5625)
    assert plan.sample(at(112.5)).velocity[0] == pytest.approx(2.5 / 0.05)


def test_grippers_are_given_in_steps_the_one_that_is_due_next() -> None:
    plan = timeline()
    plan.push(chunk(0, [[0, 0, 0.08], [0, 0, 0.08], [0, 0, 0.0], [0, 0, 0.0]]), at(0))
    widths = [plan.sample(at(ms)).position[2] for ms in (0, 50, 99, 100, 101, 150, 500)]
    assert widths == [0.08, 0.08, 0.08, 0.08, 0.0, 0.0, 0.0]
    assert plan.sample(at(120)).velocity[2] == 0.0


def test_a_newer_observation_replaces_the_plan_and_an_older_does_not() -> None:
    plan = timeline()
    assert plan.push(line(0), at(100)) is PushOutcome.ACCEPTED
    assert plan.push(line(100, start=0.1), at(200)) is PushOutcome.ACCEPTED
    assert plan.push(line(50), at(210)) is PushOutcome.OUT_OF_ORDER
    assert plan.push(line(100), at(220)) is PushOutcome.DUPLICATE
    assert plan.stamp_ns == at(100)


def test_far_steps_follow_the_near_ones_that_were_sent_ahead_without_a_jump() -> None:
    plan = timeline()
    assert plan.push(line(0, steps=4), at(60)) is PushOutcome.ACCEPTED
    before = plan.sample(at(80))
    assert plan.push(line(0), at(80)) is PushOutcome.ACCEPTED
    after = plan.sample(at(80))
    assert after.position == pytest.approx(before.position, abs=1e-9)
    assert after.velocity == pytest.approx(before.velocity, abs=1e-9)
    assert plan.sample(at(600)).position[0] == pytest.approx(0.6)
    assert plan.push(line(0, steps=4), at(90)) is PushOutcome.DUPLICATE
    assert plan.push(line(0), at(90)) is PushOutcome.DUPLICATE


@pytest.mark.parametrize(
    ("bad", "outcome"),
    [
        (line(0, robot="other"), PushOutcome.WRONG_ROBOT),
        (line(0, names=("b", "a", "gripper")), PushOutcome.WRONG_JOINTS),
        (line(0, step_ms=100), PushOutcome.OTHER_PERIOD),
        (line(-1), PushOutcome.BEFORE_SWITCH),
        (line(300), PushOutcome.FROM_FUTURE),
        (line(0, lead_ms=2000), PushOutcome.FROM_FUTURE),
        (line(0, steps=2), PushOutcome.LATE),
    ],
)
def test_an_unusable_chunk_is_counted_by_cause_and_changes_nothing(bad, outcome) -> None:
    plan = timeline(step_ns=50 * MS)
    plan.clear(epoch_ns=at(0))
    assert plan.push(bad, at(150)) is outcome
    assert plan.counters[outcome.value] == 1
    assert plan.counters["accepted"] == 0
    assert plan.sample(at(150)) is None


def test_the_first_chunk_after_clear_sets_the_step_period() -> None:
    plan = timeline()
    assert plan.push(line(0), at(0)) is PushOutcome.ACCEPTED
    assert plan.push(line(10, step_ms=100), at(20)) is PushOutcome.OTHER_PERIOD
    plan.clear()
    assert plan.push(line(20, step_ms=100), at(30)) is PushOutcome.ACCEPTED


def test_clear_forgets_the_plan_and_lets_time_start_anew() -> None:
    plan = timeline()
    plan.push(line(1000), at(1000))
    plan.clear()
    assert plan.sample(at(1000)) is None
    assert plan.push(line(0), at(0)) is PushOutcome.ACCEPTED


def test_a_splice_starts_from_the_arm_and_ends_on_the_plan() -> None:
    plan = timeline(blend_s=0.1, blend_acceleration=1e9)
    plan.push(line(0), at(100), position=[0.15, 0.1, 0.0], velocity=[0.5, 1.0, 0.0])
    start = plan.sample(at(100))
    np.testing.assert_allclose(start.position[:2], [0.15, 0.1], atol=1e-12)
    np.testing.assert_allclose(start.velocity[:2], [0.5, 1.0], atol=1e-9)
    assert start.position[2] == 0.08  # a gripper is not blended
    end = plan.sample(at(200))
    np.testing.assert_allclose(end.position[:2], [0.2, 0.2], atol=1e-12)
    np.testing.assert_allclose(end.velocity[:2], [1.0, 1.0], atol=1e-9)


def test_a_large_offset_is_led_in_for_longer_instead_of_harder() -> None:
    plan = timeline(blend_s=0.1, blend_acceleration=5.0)
    plan.push(line(0, steps=40, speed=0.0), at(0), position=[0.5, 0.0, 0.0])
    velocity = [plan.sample(at(ms)).velocity[0] for ms in range(0, 2000, 10)]
    assert np.abs(np.diff(velocity)).max() / 0.01 <= 5.0 + 1e-9
    assert plan.sample(at(1500)).position[0] == pytest.approx(0.0, abs=1e-9)


def test_chunks_that_stand_still_bring_the_arm_onto_them_however_often_they_come() -> None:
    plan = timeline()
    position, velocity = np.zeros(3), np.zeros(3)
    for ms in range(0, 4000, 50):
        # The first two hold the arm where it is; from then on it is asked to be elsewhere.
        plan.push(line(ms - 100, start=0.0 if ms < 100 else 1.0, speed=0.0), at(ms), position, velocity)
        sample = plan.sample(at(ms + 50))
        position, velocity = sample.position, sample.velocity
        if ms == 2500:
            assert position[0] == pytest.approx(1.0, abs=0.02)
    assert position[0] == pytest.approx(1.0, abs=1e-6)


def test_an_early_chunk_leads_in_before_its_first_step() -> None:
    plan = timeline()
    plan.push(line(0, lead_ms=200), at(0), position=[0.0, 0.0, 0.0])
    assert plan.sample(at(0)).position[0] == pytest.approx(0.0, abs=1e-12)
    assert plan.sample(at(200)).position[0] == pytest.approx(0.05, abs=0.05)


def test_at_its_end_a_plan_comes_to_rest_on_its_last_step_without_passing_it() -> None:
    plan = timeline(stop_s=0.2)
    plan.push(line(0, steps=10), at(0))
    times = np.arange(0, 1000, 10)
    samples = [plan.sample(at(ms)) for ms in times]
    position, velocity = (np.array([getattr(s, k)[0] for s in samples]) for k in ("position", "velocity"))
    assert position.max() <= 0.5 + 1e-12
    assert position[-1] == pytest.approx(0.5)
    assert velocity[-1] == 0.0
    assert np.abs(np.diff(velocity)).max() / 0.01 <= 5.0 + 1e-9  # 1 rad/s over 0.2 s
    assert [s.exhausted for s in samples] == [ms > 500 for ms in times]


def test_a_chunk_of_one_step_holds_it() -> None:
    plan = timeline()
    assert plan.push(chunk(0, [[0.3, 0.4, 0.0]]), at(0)) is PushOutcome.ACCEPTED
    assert plan.sample(at(400)).position.tolist() == [0.3, 0.4, 0.0]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    noise=st.sampled_from([0.0, 0.01, 0.1]),
    every_ms=st.integers(20, 400),
    latency_ms=st.integers(0, 500),
)
def test_over_random_chunks_neither_position_nor_velocity_steps(seed, noise, every_ms, latency_ms) -> None:
    """Chunks with noise between them, lost, delayed at random, swapped and doubled: 60 runs of 3 s."""
    rng = np.random.default_rng(seed)
    plan = timeline(blend_acceleration=5.0)
    arriving = []
    for stamp in range(0, 3000, every_ms):
        t = (stamp + 50 * np.arange(1, 17)) * 1e-3
        joints = np.stack([np.sin(2 * t), np.cos(t)], 1) * 0.5 + rng.normal(size=2) * noise
        made = chunk(stamp, np.column_stack([joints, np.zeros(16)]))
        copies = rng.choice([0, 1, 2], p=[0.2, 0.7, 0.1])
        arriving += [(stamp + latency_ms * rng.uniform(0.5, 2.0), made)] * int(copies)
    arriving.sort(key=lambda pair: pair[0])
    before = None
    for ms in range(0, 4000, 10):
        while arriving and arriving[0][0] <= ms:
            plan.push(arriving.pop(0)[1], at(ms))
        sample = plan.sample(at(ms))
        if sample is None:
            continue
        assert np.isfinite(sample.position).all()
        if before is not None:
            step = sample.position - before.position
            # The velocities at both ends account for the step: nothing jumped. 30 rad/s^2 bounds what an offset, the
            # path itself and the end of a plan ask for together; a jump of 1 mrad would be 20.
            assert np.abs(step - 0.005 * (sample.velocity + before.velocity)).max() < 3e-4
            assert np.abs(sample.velocity - before.velocity).max() < 30.0 * 0.01
        before = sample
    counters = plan.counters
    assert counters["accepted"] > 0
    assert counters["wrong_robot"] == counters["before_switch"] == counters["from_future"] == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    rate_hz=st.sampled_from([50, 100, 250, 500]),
    step_ms=st.integers(20, 100),
    apart=st.floats(0.0, 0.3),
    latency_ms=st.integers(5, 300),
)
def test_a_splice_is_at_most_a_tenth_faster_than_the_chunks_and_leaves_no_gap(
    seed, rate_hz, step_ms, apart, latency_ms
) -> None:
    """Chunks that disagree by up to `apart` rad, late, lost, doubled, out of order: 3 s each."""
    rng = np.random.default_rng(seed)
    plan = timeline(blend_acceleration=50.0)
    ahead = step_ms * np.arange(1, 41) * 1e-3
    arriving = []
    for stamp in range(0, 3000, int(rng.integers(30, 300))):
        turns = rng.uniform(0.5, 3.0, 2)
        joints = 0.5 * np.sin(1.5 * (stamp * 1e-3 + ahead))[:, None] * [1.0, -0.7]
        joints = joints + rng.uniform(-apart, apart, 2) + 0.05 * np.sin(turns * ahead[:, None])
        made = chunk(stamp, np.column_stack([joints, rng.integers(0, 2, 40)]), lead_ms=step_ms, step_ms=step_ms)
        copies = int(rng.choice([0, 1, 2], p=[0.2, 0.7, 0.1]))
        arriving += [(stamp + latency_ms * rng.lognormal(0.0, 0.5), made) for _ in range(copies)]
    arriving.sort(key=lambda pair: pair[0])
    fastest, valid_until, before = 0.0, 0, None
    for tick in range(3 * rate_hz):
        now = at(tick * 1000 / rate_hz)
        while arriving and at(arriving[0][0]) <= now:
            made = arriving.pop(0)[1]
            if plan.push(made, now) is PushOutcome.ACCEPTED:
                rises = np.diff(made.positions[:, :2], axis=0) / (step_ms * 1e-3)
                fastest = max(fastest, float(np.abs(rises).max()))
            valid_until = max(valid_until, made.end_ns)
        sample = plan.sample(now)
        if now <= valid_until:
            assert sample is not None
            assert not sample.exhausted
        if sample is not None:
            if before is not None:
                assert np.abs(sample.position - before)[:2].max() * rate_hz <= 1.1 * fastest
            before = sample.position


def test_an_arm_behind_its_plan_catches_up_at_the_speed_of_the_chunks() -> None:
    """1 rad/s, and 0.04 rad behind: 0.06 rad/s faster, for 0.67 s, whether or not the blend is begun anew."""
    alone, renewed = timeline(blend_acceleration=50.0), timeline(blend_acceleration=50.0)
    for plan in (alone, renewed):
        plan.push(line(0, steps=60), at(0))
        plan.push(line(100, steps=60, start=0.1), at(100), [0.06, 0.06, 0.0], [1.0, 1.0, 0.0])
    for ms in range(110, 1001, 10):
        if ms % 100 == 0:
            assert renewed.push(line(ms, steps=60, start=ms / 1e3), at(ms)) is PushOutcome.ACCEPTED
        for plan in (alone, renewed):
            assert plan.sample(at(ms)).velocity[0] <= 1.1
            behind = ms / 1e3 - plan.sample(at(ms)).position[0]
            assert (behind > 1e-3) if ms <= 700 else (behind < 1e-3) if ms >= 850 else True


def test_between_plans_that_stand_still_an_arm_takes_two_seconds() -> None:
    plan = timeline(blend_acceleration=50.0)
    plan.push(line(0, steps=80, speed=0.0), at(0))
    plan.push(line(10, steps=80, speed=0.0, start=0.5), at(10))
    samples = [plan.sample(at(ms)) for ms in range(10, 2200, 10)]
    assert max(sample.velocity[0] for sample in samples) == pytest.approx(0.25)
    assert samples[-1].position[0] == pytest.approx(0.5)
    assert samples[-20].position[0] < 0.5


def test_one_fast_chunk_is_forgotten() -> None:
    """A chunk of 5 rad/s long ago allows no such splice between chunks of 0.1 rad/s now."""
    plan = timeline(blend_acceleration=1000.0)
    plan.push(line(0, speed=5.0), at(0))
    for ms in range(100, 12_000, 100):
        plan.push(line(ms, steps=40, speed=0.1), at(ms))
    plan.push(line(12_000, steps=40, speed=0.1, start=0.19), at(12_000))
    velocity = [plan.sample(at(ms)).velocity[0] for ms in range(12_000, 13_500, 10)]
    assert max(velocity) <= 0.11
    plan.clear()
    assert plan.push(line(13_000), at(13_000)) is PushOutcome.ACCEPTED


def test_what_is_asked_for_does_not_change_what_is_answered() -> None:
    asked, quiet = timeline(), timeline()
    for plan in (asked, quiet):
        plan.push(line(0), at(0))
        for ms in range(0, 900, 7) if plan is asked else ():
            plan.sample(at(ms))
        plan.push(line(100, start=0.2), at(150))
    for ms in (900, 151, 300, 200):
        assert asked.sample(at(ms)).position.tolist() == quiet.sample(at(ms)).position.tolist()


def test_misuse_is_refused() -> None:
    with pytest.raises(ChunkError, match="repeats a name"):
        ChunkTimeline("robot", ("a", "a"))
    with pytest.raises(ChunkError, match="blend_s is 0"):
        timeline(blend_s=0.0)
    with pytest.raises(ChunkError, match="cannot start from"):
        timeline().push(line(0), at(0), position=[0.0, float("nan"), 0.0])
    with pytest.raises(ChunkError, match="NaN"):
        chunk(0, [[0.0, float("nan"), 0.0]])
