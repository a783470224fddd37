"""The twins: their tables, worlds, experts, demonstrations, evaluations, and a policy's way in."""

import json
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_ros.cli.main import main
from f1_ros.config import load_yaml
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.errors import ConfigError, SimulationError
from f1_ros.model.config import F1Config
from f1_ros.robots.profile import load_profile
from f1_ros.sim.camera import open_renderer
from f1_ros.sim.dataset import record_dataset
from f1_ros.sim.demonstrations import record
from f1_ros.sim.episodes import PREROLL_PHASE
from f1_ros.sim.evaluate import EvaluationSettings, evaluate
from f1_ros.sim.policy_runner import PolicyRunner
from f1_ros.sim.twins.config import Genie1Config, Lift2Config
from f1_ros.sim.twins.demonstrations import demonstrate_task
from f1_ros.sim.twins.experts import open_expert
from f1_ros.sim.twins.genie1 import BIN_CENTRE, TABLE_TOP, Genie1World
from f1_ros.sim.twins.lift2 import BUTTON, BUTTON_PRESSED, Lift2World
from f1_ros.sim.twins.opening import open_twin
from f1_ros.sim.twins.tables import GENIE1, LIFT2
from f1_ros.sim.worlds import load_world_config
from f1_ros.train.belt import BeltTraining

ROOT = Path(__file__).parents[2]
WORLD_OF = {"genie1": "genie1", "arx_lift2_x5": "arx_lift2"}
CONFIGS = {"genie1": Genie1Config(), "arx_lift2": Lift2Config()}


@pytest.fixture(scope="module")
def worlds():
    return {name: open_twin(config) for name, config in CONFIGS.items()}


@pytest.fixture(params=["genie1", "arx_lift2"])
def world(request, worlds):
    return worlds[request.param]


def test_names_and_order_are_those_of_the_robots() -> None:
    assert GENIE1.state_names[6:9] == ("idx27_arm_l_joint7", "left_gripper", "idx61_arm_r_joint1")
    assert (len(GENIE1.state_names), len(LIFT2.state_names)) == (16, 14)
    assert LIFT2.state_names[6] == "left_gripper"
    assert [(j.lower, j.upper) for j in (GENIE1.joints[1], GENIE1.joints[8])] == [(-2.09, 1.48), (-1.48, 2.09)]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_model_puts_the_hands_where_the_chains_of_the_tables_do(worlds, seed) -> None:
    for world in worlds.values():
        rng, data = np.random.default_rng(seed), mujoco.MjData(world.scene.model)
        limits = world.robot.limits
        joints = rng.uniform(limits.lower, limits.upper)
        data.qpos[world.scene.body_qpos] = world.robot.body_rest
        data.qpos[world.scene.arm_qpos] = joints
        mujoco.mj_kinematics(world.scene.model, data)
        parts = np.split(joints, [len(world.robot.arms[0].joints)])
        for kinematics, site, part in zip(world.kinematics, world.scene.tool_sites, parts, strict=True):
            position, rotation = kinematics.tool(part)
            assert data.site_xpos[site] == pytest.approx(position, abs=1e-6)
            assert data.site_xmat[site] == pytest.approx(rotation.ravel(), abs=1e-6)


def test_the_same_seed_and_commands_give_the_same_world(world) -> None:
    runs = []
    for _ in range(2):
        world.reset(5)
        expert = open_expert(world)
        for _ in range(30):
            world.step(*world.split(expert.act().target))
        runs.append((world.state, world.thing_position, world.render(world.cameras[0])))
    for first, second in zip(*runs, strict=True):
        assert np.array_equal(first, second)


def test_each_joint_moves_by_what_is_commanded_and_no_other(world) -> None:
    world.reset(1)
    for index in range(len(world.joint_positions)):
        start = world.joint_positions
        target = start + 0.1 * (np.arange(len(start)) == index) * (-1.0 if start[index] > 0 else 1.0)
        for _ in range(60):
            world.step(target, world.start_widths())
        assert world.joint_positions == pytest.approx(target, abs=0.01)


@pytest.mark.parametrize("joints", [np.zeros(3), np.full(14, np.nan)])
def test_a_command_that_is_none_is_refused(worlds, joints) -> None:
    with pytest.raises(SimulationError, match="Command 14 finite"):
        worlds["genie1"].step(joints, np.zeros(2))


def test_joints_and_openings_go_into_the_state_and_back(world) -> None:
    world.reset(2)
    joints, widths = world.split(world.state)
    assert joints.tolist() == world.joint_positions.tolist()
    assert widths.tolist() == world.gripper_widths.tolist()
    assert world.state[world.state_names.index("right_gripper")] == widths[1]


@pytest.mark.parametrize(("name", "most_s"), [("genie1", 4.5), ("arx_lift2", 8.0)])
def test_the_expert_does_the_whole_task(name, most_s) -> None:
    found = evaluate(EvaluationSettings(policy=None, episodes=4, seed=3, world=CONFIGS[name]))
    assert found.successes == 4
    assert found.stages == [1.0, 1.0, 1.0]
    assert all(e.time_to_pick_s < most_s for e in found.episodes)


def test_every_camera_sees_the_thing_at_some_time(world) -> None:
    kept = demonstrate_task(world, 1, 0)
    renderer = open_renderer(world.scene)
    for camera in world.cameras[:2]:
        pictures = np.array([renderer.render(s, camera, 96, 96) for s in kept.snapshots[::5]]).astype(int)
        red = (pictures[..., 0] > 90) & (pictures[..., 1] < 60) & (pictures[..., 2] < 60)
        assert red.sum(axis=(1, 2)).max() > 15, camera


def test_a_bar_that_falls_from_the_table_is_lost_and_the_episode_says_so(worlds) -> None:
    world = worlds["genie1"]
    world.reset(1)
    world.put_thing((1.2, 0.0, TABLE_TOP))
    for _ in range(100):
        world.step(world.joint_positions, world.start_widths())
    assert world.lost
    assert not world.done


def test_stages_count_only_in_their_order(worlds) -> None:
    world = worlds["genie1"]
    world.reset(1)
    world.put_thing((*BIN_CENTRE, TABLE_TOP + 0.06))
    hold = world.joint_positions
    for _ in range(80):
        world.step(hold, world.start_widths())
    assert world.thing_place() == "bin"
    assert world.stages_done == 0  # it was neither picked nor handed over


def test_the_button_stays_up_before_its_turn_and_down_after_it() -> None:
    world = Lift2World(Lift2Config(speed=(0.0, 0.0)))
    world.reset(1)
    right = world.kinematics[1]
    hold = world.joint_positions
    pressing = hold.copy()
    pressing[6:] = right.solve(np.array([*BUTTON[:2], BUTTON[2] - 0.012]), hold[6:])
    for _ in range(100):
        world.step(pressing, world.start_widths())
    assert world.button_down > BUTTON_PRESSED
    assert world.stages_done == 0
    for _ in range(100):
        world.step(hold, world.start_widths())
    assert world.button_down < 0.003
    world.stages_done = 2
    for target in (pressing, hold):
        for _ in range(100):
            world.step(target, world.start_widths())
    assert world.button_down > BUTTON_PRESSED


def test_a_demonstration_starts_still_and_its_labels_are_within_the_joints(world) -> None:
    kept = demonstrate_task(world, 2, 3)  # a noisy one
    assert (kept.phase[:9] == PREROLL_PHASE).all()
    assert np.abs(kept.state[:9] - kept.state[0]).max() < 0.02
    assert kept.stage[-1] == 3
    assert (np.diff(kept.stage) >= 0).all()
    labels = np.array([world.split(a)[0] for a in kept.action])
    assert (labels >= world.robot.limits.lower).all()
    assert (labels <= world.robot.limits.upper).all()
    assert not np.array_equal(kept.action[9:], kept.executed[9:])


def test_a_recording_has_each_cameras_pictures_and_the_same_arrays_with_any_workers(tmp_path) -> None:
    steps = record(tmp_path / "one", 2, 4, workers=1, config=CONFIGS["genie1"])
    assert record(tmp_path / "two", 2, 4, workers=2, config=CONFIGS["genie1"]) == steps
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "two").iterdir())
    arrays = {p.stem: np.load(p) for p in (tmp_path / "one").glob("*.npy")}
    assert {"head", "hand_left", "hand_right", "state", "action", "thing", "tools", "stage"} < set(arrays)
    assert arrays["head"].shape == (steps, 96, 96, 3)
    assert arrays["state"].shape == arrays["action"].shape == (steps, 16)
    assert arrays["tools"].shape == (steps, 2, 3)
    for name, array in arrays.items():
        assert np.array_equal(array, np.load(tmp_path / "two" / f"{name}.npy")), name
    meta = json.loads((tmp_path / "one" / "meta.json").read_text())
    assert meta["config"]["world"] == "genie1"
    assert meta["phases"]["receive"] == 5


def test_a_lerobot_dataset_of_a_twin_has_its_names_and_cameras(tmp_path) -> None:
    record_dataset(tmp_path / "demos", 1, seed=1, workers=1, config=CONFIGS["arx_lift2"])
    dataset = LeRobotDataset(tmp_path / "demos")
    assert dataset.info.robot == "arx_lift2_x5"
    assert dataset.feature("action").names == LIFT2.state_names
    assert dataset.instruction(0, 0) == Lift2World.instruction
    assert len([key for key in dataset.info.features if "camera_" in key]) == 3


@pytest.mark.parametrize("robot", [GENIE1, LIFT2], ids=lambda robot: robot.name)
def test_the_tables_agree_with_the_robots_profile(robot) -> None:
    profile = load_profile(robot.name, simulated=True)
    assert profile.joints == robot.joint_names
    assert profile.state_names == profile.action_names == robot.state_names
    bare = replace(profile, scale=1.0, position_margin=0.0).limits
    for name in ("lower", "upper", "velocity", "acceleration", "jerk"):
        assert getattr(bare, name) == pytest.approx(getattr(robot.limits, name)), name
    assert [(g.name, g.open) for g in profile.grippers] == [(a.gripper.name, a.gripper.open) for a in robot.arms]
    assert tuple(camera.name for camera in profile.cameras) == open_twin(CONFIGS[WORLD_OF[robot.name]]).cameras
    for fixed, joint, value in zip(profile.fixed, robot.body, robot.body_rest, strict=False):
        assert (fixed.name, fixed.lower, fixed.upper) == (joint.name, joint.lower, joint.upper)
        assert fixed.value == value


@pytest.mark.parametrize("name", ["genie1", "arx_lift2"])
def test_a_policy_drives_both_arms_and_grippers_of_a_twin(name, scripted) -> None:
    world = open_twin(CONFIGS[name])

    def answer(observation) -> np.ndarray:
        """Each arm's first joint goes on by 0.05 rad, the left gripper closes."""
        joints, widths = world.split(observation.state)
        joints[[0, len(joints) // 2]] += 0.05
        return np.tile(world.join(joints, widths * [0.0, 1.0]), (16, 1))

    engine = scripted(answer)
    engine.spec = replace(
        engine.spec, robot=world.profile, cameras=world.cameras, state_names=world.state_names,
        action_names=world.state_names,
    )  # fmt: skip
    runner = PolicyRunner(world, engine, load_profile(world.profile, simulated=True), delay_s=0.1)
    world.reset(1)
    runner.begin(0)
    for _ in range(9):
        runner.hold()
    start, right = world.joint_positions, world.gripper_widths[1]
    for _ in range(12):
        runner.step()
    moved = world.joint_positions - start
    pushed = np.isin(np.arange(len(moved)), [0, len(moved) // 2])
    assert (moved[pushed] > 0.005).all()
    assert (np.abs(moved[~pushed]) < 0.003).all()
    assert world.gripper_widths[0] < 0.02
    assert world.gripper_widths[1] == pytest.approx(right, abs=0.005)
    assert engine.observations[0].images.shape == (3, 3, 96, 96)
    engine.spec = replace(engine.spec, state_names=tuple(reversed(world.state_names)))
    with pytest.raises(ConfigError, match="takes a state of"):
        PolicyRunner(world, engine, load_profile(world.profile, simulated=True))


def test_a_gripper_that_is_streamed_to_closes_in_lock_step_as_fast_as_on_the_robot(scripted) -> None:
    world = open_twin(CONFIGS["genie1"])

    def answer(observation) -> np.ndarray:
        joints, widths = world.split(observation.state)
        return np.tile(world.join(joints, 0.0 * widths), (16, 1))

    engine = scripted(answer)
    names = {"state_names": world.state_names, "action_names": world.state_names}
    engine.spec = replace(engine.spec, robot=world.profile, cameras=world.cameras, **names)
    profile = load_profile(world.profile, simulated=True)
    slow = replace(profile, grippers=tuple(replace(g, command=replace(g.command, speed=0.1)) for g in profile.grippers))
    left = {}
    for speed, of in (("as shipped", profile), ("0.1 m/s", slow)):
        runner = PolicyRunner(world, engine, of, delay_s=0.1)
        world.reset(1)
        runner.begin(0)
        for _ in range(9):
            runner.hold()
        for _ in range(10):
            runner.step()
        left[speed] = world.gripper_widths[0]
    assert left["as shipped"] < 0.02
    assert 0.06 < left["0.1 m/s"] < 0.11, "0.4 s after the first chunk it has gone 4 cm"


def test_a_configuration_names_its_world_and_what_it_does_not_know_is_refused(tmp_path) -> None:
    for name, config in CONFIGS.items():
        assert load_world_config(ROOT / "config" / "sim" / f"{name}.yaml") == config
    assert load_world_config(ROOT / "config" / "sim" / "belt_cover.yaml").cover
    for text, says in (
        ("world: kitchen", "there is no world 'kitchen'"),
        ("world: [1]", "there is no world"),
        ("world: genie1\nbar_y: [0.5, 0.6]", "stay within"),
        ("world: genie1\nbar_y: [0.2, 0.1]", "the smaller one first"),
        ("world: arx_lift2\nspeeds: [0.1, 0.2]", "Did you mean 'speed'"),
        ("- world", "keys and values"),
    ):
        file = tmp_path / "world.yaml"
        file.write_text(text)
        with pytest.raises(ConfigError, match=says):
            load_world_config(file)


@pytest.mark.parametrize("name", ["genie1", "arx_lift2"])
def test_the_packaged_training_configuration_is_of_its_world(name, worlds) -> None:
    path = ROOT / "config" / "train" / f"{name}.yaml"
    training, world = load_yaml(path, BeltTraining), worlds[name]
    spec = training.spec
    assert (spec.robot, spec.cameras) == (world.profile, world.cameras)
    assert spec.state_names == spec.action_names == world.state_names
    assert spec.default_instruction == world.instruction
    assert set(world.instruction.split()) <= set(training.words)
    assert load_world_config(path.parent / training.world) == world.config
    config = F1Config.from_json(path.parent / training.network)
    assert config.max_state_dim == config.max_action_dim == len(world.state_names)


@pytest.mark.parametrize(
    "options", [["--sudden"], ["--reaction"], ["--instruction", "dance"], ["--belt-speed", "0", "1"]]
)
def test_what_only_the_franka_s_belt_has_is_refused_for_a_twin(options, capsys) -> None:
    config = str(ROOT / "config" / "sim" / "genie1.yaml")
    assert main(["sim", "eval", "--expert", "--episodes", "1", "--config", config, *options]) == 2
    assert "Remedy" in capsys.readouterr().err


def test_episodes_of_a_policy_that_does_nothing_say_how_far_it_came(scripted, monkeypatch) -> None:
    import f1_ros.engine

    world = Genie1World(Genie1Config())
    engine = scripted(lambda observation: np.tile(observation.state, (16, 1)), world)
    monkeypatch.setattr(f1_ros.engine, "open_engine", lambda folder, **options: engine)
    monkeypatch.setattr("f1_ros.sim.evaluate.measured_latency_ms", lambda settings: 1.0)
    monkeypatch.setattr("f1_ros.sim.twins.episodes.EPISODE_STEPS", 5)
    found = evaluate(EvaluationSettings(policy=Path("any"), episodes=2, world=Genie1Config()))
    assert found.failures == {"not_picked": 2}
    assert found.stages == []
    assert [e.belt_speed for e in found.episodes] == [None, None]
