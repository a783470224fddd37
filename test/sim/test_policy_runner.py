"""Lock step: when a chunk takes effect, what the policy sees, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from f1_ros.errors import ConfigError, SimulationError
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.demonstrations import demonstrate
from f1_ros.sim.episodes import PREROLL_STEPS
from f1_ros.sim.policy_runner import PolicyRunner
from f1_ros.sim.world import BeltWorld


@pytest.fixture
def world() -> BeltWorld:
    world = BeltWorld(BeltConfig(speed=(0.1, 0.1), direction=1))
    world.reset(0)
    return world


def nudge(observation) -> np.ndarray:
    """Joint 1 goes 0.1 rad further, the gripper closes."""
    return np.tile(observation.state + [0.1, 0, 0, 0, 0, 0, 0, -0.08], (16, 1))


def watched_commands(world):
    commands = []
    step = world.step

    def spy(target, width) -> None:
        commands.append((world.time_ns, np.array(target), width))
        step(target, width)

    world.step = spy
    return commands


@pytest.mark.parametrize(("delay_s", "first_ns"), [(0.0, 0), (0.15, 150_000_000), (0.152, 160_000_000)])
def test_a_chunk_takes_effect_at_its_delay_and_never_sooner(world, profile, scripted, delay_s, first_ns) -> None:
    runner = PolicyRunner(world, scripted(nudge), profile, delay_s=delay_s)
    assert runner.delay_ns == first_ns
    runner.begin(0)
    for _ in range(PREROLL_STEPS):
        runner.hold()
    start_ns, start = world.time_ns, world.joint_positions
    commands = watched_commands(world)
    for _ in range(6):
        runner.step()
    moved = [t - start_ns for t, target, _ in commands if abs(target[0] - start[0]) > 1e-6]
    closed = [t - start_ns for t, _, width in commands if width < 0.079]
    assert moved[0] == first_ns
    assert closed[0] == first_ns
    assert world.joint_positions[0] > start[0] + 0.005


def test_the_engine_sees_frames_at_its_history_offsets_and_the_state_of_the_moment(world, profile, scripted) -> None:
    engine = scripted(nudge)
    runner = PolicyRunner(world, engine, profile, delay_s=0.15)
    runner.begin(0)
    fronts, wrists, states = [], [], []

    def look() -> None:
        fronts.append(world.render("front"))
        wrists.append(world.render("wrist"))
        states.append(world.state)

    for step in range(PREROLL_STEPS):
        if step == 2:
            world.drop_cube((0.45, 0.0))
        look()
        runner.hold()
    for _ in range(4):
        look()
        runner.step()
    assert len(engine.observations) == 2  # replanned after 3 steps
    seen = engine.observations[1]
    at = PREROLL_STEPS + 3
    assert seen.stamp_ns == at * 50_000_000
    assert seen.history_stamps_ns == tuple((at - k) * 50_000_000 for k in (9, 6, 3, 0))
    for frame, k in zip(seen.history, (9, 6, 3, 0), strict=True):
        assert np.array_equal(frame.transpose(1, 2, 0), fronts[at - k])
    assert seen.images.dtype == np.float32
    assert seen.images.shape == (2, 3, 96, 96)
    for image, picture in zip(seen.images, (fronts[at], wrists[at]), strict=True):
        assert image.transpose(1, 2, 0) == pytest.approx(picture / 127.5 - 1.0, abs=1e-5)
    assert seen.state.tolist() == states[at].tolist()
    assert engine.instructions == ["pick", "pick"]
    assert engine.seeds == [0, 1]


def test_a_delay_longer_than_the_replanning_period_spaces_inferences_out(world, profile, scripted) -> None:
    engine = scripted(nudge)
    runner = PolicyRunner(world, engine, profile, delay_s=0.3, replan_steps=2)
    runner.begin(0)
    for _ in range(13):
        runner.step()
    assert [o.stamp_ns // 50_000_000 for o in engine.observations] == [0, 6, 12]


@pytest.mark.parametrize(
    ("delay_s", "trained", "steps"),
    [(0.15, 8, 3), (0.152, 8, 3), (0.3, 8, 6), (0.3, 4, 4), (0.05, 8, 1), (0.04, 8, 0), (0.0, 8, 0), (0.15, 0, 0)],
)
def test_a_trained_policy_hears_what_is_played_during_the_delay(
    world, profile, scripted, delay_s, trained, steps
) -> None:
    engine = scripted(nudge)
    engine.spec = replace(engine.spec, trained_prefix_steps=trained)
    runner = PolicyRunner(world, engine, profile, delay_s=delay_s)
    runner.begin(0)
    runner.hold()
    still = world.joint_positions
    chunks = []
    for _ in range(14):
        runner.step()
        chunks.append(len(engine.prefixes))
    first, second = engine.prefixes[:2]
    assert first.shape == second.shape == (steps, 8)
    # First the arm is held; then it follows the chunk before, from the step that is due next.
    assert first[:, :7] == pytest.approx(np.tile(still, (steps, 1)), abs=0.01)
    assert first[:, 7].tolist() == [0.08] * steps
    between = (engine.observations[1].stamp_ns - engine.observations[0].stamp_ns) // 50_000_000
    plan = nudge(engine.observations[0])
    plan[: len(first)] = first
    assert second.tolist() == plan[between : between + steps].tolist()


def test_guidance_gives_any_policy_the_rest_of_the_running_chunk(world, profile, scripted) -> None:
    engine = scripted(nudge)
    runner = PolicyRunner(world, engine, profile, delay_s=0.15, continuity="guided")
    runner.begin(0)
    for _ in range(8):
        runner.step()
    rest, (earlier, later) = engine.running[1], [o.stamp_ns for o in engine.observations[:2]]
    between = (later - earlier) // 50_000_000
    assert rest.guided
    assert rest.committed == 3
    assert rest.actions.tolist() == nudge(engine.observations[0])[between:].tolist()


def test_a_continuity_that_the_policy_was_not_trained_for_is_refused(world, profile, scripted) -> None:
    with pytest.raises(ConfigError, match="not trained to plan from a committed prefix"):
        PolicyRunner(world, scripted(nudge), profile, continuity="trained")


def test_the_arm_passes_through_the_committed_steps(world, profile, scripted) -> None:
    """What the policy is told that the arm will do is what the controller then does."""

    def glide(observation) -> np.ndarray:
        ahead = np.arange(1, 17)[:, None] * [0.01, 0, 0, 0, 0, 0, 0, 0]
        step = round(observation.stamp_ns / 50_000_000)
        return start + ahead + [step * 0.01, 0, 0, 0, 0, 0, 0, 0]

    engine = scripted(glide)
    engine.spec = replace(engine.spec, trained_prefix_steps=8)
    runner = PolicyRunner(world, engine, profile, delay_s=0.15)
    start = np.append(world.joint_positions, 0.08)
    runner.begin(0)
    commands = watched_commands(world)
    for _ in range(20):
        runner.step()
    at = {t: target[0] for t, target, _ in commands}
    for observation, prefix in list(zip(engine.observations, engine.prefixes, strict=True))[2:-1]:
        for i, action in enumerate(prefix):
            # the command of the tick that ends when the step is due
            assert at[observation.stamp_ns + (i + 1) * 50_000_000 - 10_000_000] == pytest.approx(action[0], abs=2e-3)


def test_near_steps_take_effect_before_the_whole_chunk(world, profile, scripted) -> None:
    """Joint 1 moves on by 0.01 rad a step: with the near steps for two of them, with the chunk to the end."""

    def glide(observation) -> np.ndarray:
        return observation.state + np.arange(1, 17)[:, None] * [0.01, 0, 0, 0, 0, 0, 0, 0]

    reached = {}
    for near_delay_s, delay_s in ((0.05, 0.4), (0.05, 0.05), (None, 0.4)):
        world.reset(0)
        engine = scripted(glide)
        engine.spec = replace(engine.spec, trained_near_steps=2)
        runner = PolicyRunner(world, engine, profile, delay_s=delay_s, near_delay_s=near_delay_s, replan_steps=16)
        runner.begin(0)
        start, start_ns = world.joint_positions[0], world.time_ns
        commands = watched_commands(world)
        for _ in range(16):
            runner.step()
        reached[near_delay_s, delay_s] = [
            next(target[0] for t, target, _ in commands if t == start_ns + ms * 1_000_000) - start for ms in (390, 690)
        ]
    assert reached[0.05, 0.4] == pytest.approx([0.02, 0.14], abs=3e-3)
    assert reached[0.05, 0.05] == pytest.approx([0.08, 0.14], abs=3e-3)
    assert reached[None, 0.4] == pytest.approx([0.0, 0.14], abs=3e-3)


@pytest.mark.parametrize(("near_delay_s", "near_steps"), [(0.1, 0), (0.2, 2), (-0.1, 2), (float("nan"), 2)])
def test_impossible_delays_of_near_steps_are_refused(world, profile, scripted, near_delay_s, near_steps) -> None:
    engine = scripted(nudge)
    engine.spec = replace(engine.spec, trained_near_steps=near_steps)
    with pytest.raises(ConfigError, match="near steps"):
        PolicyRunner(world, engine, profile, delay_s=0.15, near_delay_s=near_delay_s)


def test_same_seed_same_run(world, profile, scripted) -> None:
    ends = []
    for _ in range(2):
        world.reset(5)
        world.drop_cube()
        runner = PolicyRunner(world, scripted(nudge), profile)
        runner.begin(0)
        for _ in range(8):
            runner.step()
        ends.append(world.snapshot().qpos)
    assert np.array_equal(*ends)


def test_the_experts_own_labels_played_as_chunks_pick_the_cube_despite_the_delay(profile, scripted) -> None:
    """The demonstrations' labels, the timeline, the limiter and the delay belong together."""
    world = BeltWorld(BeltConfig(speed=(0.15, 0.15), direction=-1))
    world.render = lambda camera, width=96, height=96: np.zeros((height, width, 3), np.uint8)
    for episode in (0, 4):  # every fourth has no noise
        demonstration = demonstrate(world, 3, episode)
        actions = demonstration.action

        def answer(observation, actions=actions) -> np.ndarray:
            step = observation.stamp_ns // 50_000_000
            return actions[np.minimum(np.arange(step, step + 16), len(actions) - 1)]

        runner = PolicyRunner(world, scripted(answer), profile, delay_s=0.15)
        cube = demonstration.cube
        appears = int(np.flatnonzero(~np.isnan(cube[:, 0]))[0])
        world.reset(2 * ((3 * 1_000_000 + episode) * 100))
        runner.begin(0)
        for step in range(len(actions)):
            if step == appears:
                world.drop_cube((float(cube[step, 0]), float(cube[step, 1])))
            (runner.hold if step < PREROLL_STEPS else runner.step)()
        assert world.counts.picked == 1


def test_policies_for_other_robots_or_steps_are_refused(world, profile, scripted) -> None:
    for change in ({"robot": "arx"}, {"step_s": 0.1}):
        engine = scripted(nudge)
        engine.spec = replace(engine.spec, **change)
        with pytest.raises(ConfigError, match=r"simulated world has 'franka' and 0\.05 s"):
            PolicyRunner(world, engine, profile)


@pytest.mark.parametrize("delay_s", [-0.1, 2.5, float("nan")])
def test_impossible_delays_are_refused(world, profile, scripted, delay_s) -> None:
    with pytest.raises(ConfigError, match="delay"):
        PolicyRunner(world, scripted(nudge), profile, delay_s=delay_s)


@pytest.mark.parametrize("replan_steps", [0, 17])
def test_impossible_replanning_is_refused(world, profile, scripted, replan_steps) -> None:
    with pytest.raises(ConfigError, match="Replanning"):
        PolicyRunner(world, scripted(nudge), profile, replan_steps=replan_steps)


def test_a_policy_in_other_units_stops_the_run_with_the_reason(world, profile, scripted) -> None:
    runner = PolicyRunner(world, scripted(lambda observation: np.full((16, 8), 90.0)), profile)
    runner.begin(0)
    with pytest.raises(SimulationError, match="left POLICY"):
        for _ in range(40):
            runner.step()
