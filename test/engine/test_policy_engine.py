"""The eager engine: what it gives, what it refuses, and that its cache changes nothing."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from f1_ros.engine import open_engine
from f1_ros.engine.policy import STATS_FILE, load_policy_file, load_spec
from f1_ros.errors import CheckpointError, ConfigError, EngineError, F1Error
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.observe.observation import Observation
from f1_ros.train.export import write_policy


def changed(observation: Observation, **fields: object) -> Observation:
    return dataclasses.replace(observation, **fields)  # type: ignore[arg-type]


def copy(policy_dir: Path, folder: Path) -> Path:
    shutil.copytree(policy_dir, folder)
    return folder


def with_past_images(policy_dir: Path, folder: Path, past: list[int], **changes: int) -> Path:
    copy(policy_dir, folder)
    policy = json.loads((folder / "policy.json").read_text())
    policy["spec"] |= {"past_images": past, **changes}
    (folder / "policy.json").write_text(json.dumps(policy))
    return folder


def test_history_may_have_another_size_than_the_cameras_pictures(
    policy_dir: Path, observation: Observation, tmp_path: Path
) -> None:
    """As the released network's: 256 px beside 224."""
    tree = json.loads((Path(__file__).parents[1] / "train" / "tiny_network.json").read_text())
    tree["und_expert_config"]["vision_config"] |= {"image_size": 32, "views": [0, 1]}
    file = load_policy_file(policy_dir)
    file = dataclasses.replace(file, spec=dataclasses.replace(file.spec, image_size=32, past_images=()))
    stats = json.loads((policy_dir / STATS_FILE).read_text())
    write_policy(tmp_path / "policy", F1Model(F1Config.from_dict(tree)), file, stats, policy_dir)
    large = changed(observation, images=observation.images.repeat(2, axis=2).repeat(2, axis=3))
    assert open_engine(tmp_path / "policy").infer(large, "pick", seed=1).actions.shape == (4, 8)


def test_known_history_frames_give_the_same_result_as_new_ones(policy_dir: Path, observation: Observation) -> None:
    draw = np.random.default_rng(1)
    newest = draw.integers(0, 255, (1, 3, 16, 16)).astype(np.uint8)
    later = changed(
        observation,
        stamp_ns=250,
        history=np.concatenate([observation.history[1:], newest]),
        history_stamps_ns=(150, 200, 250),
    )
    used, fresh = open_engine(policy_dir), open_engine(policy_dir)
    used.infer(observation, "pick the cube", seed=1)
    one, other = (engine.infer(later, "pick the cube", seed=2) for engine in (used, fresh))
    assert np.allclose(one.actions, other.actions, atol=1e-6)
    assert one.foresight is not None and other.foresight is not None
    assert np.array_equal(one.foresight.codes, other.foresight.codes)


def test_a_clock_reset_forgets_the_frames_of_before(policy_dir: Path, observation: Observation) -> None:
    engine, fresh = open_engine(policy_dir), open_engine(policy_dir)
    engine.infer(changed(observation, history_stamps_ns=(100, 150, 900)), "pick the cube", seed=1)
    # After the reset other frames come under stamps that were seen before.
    other = changed(observation, history=255 - observation.history, history_stamps_ns=(50, 100, 150))
    result, expected = (e.infer(other, "pick the cube", seed=1) for e in (engine, fresh))
    assert np.array_equal(result.actions, expected.actions)


def test_actions_are_relative_to_the_state_where_the_policy_says_so(policy_dir: Path, observation: Observation) -> None:
    still = load_policy_file(policy_dir).from_network(np.zeros((4, 8)), observation.state)
    assert still.tolist() == [[*observation.state[:7].tolist(), 0.0]] * 4


def test_near_steps_are_scaled_back_where_they_are_relative(policy_dir: Path, observation: Observation) -> None:
    file = dataclasses.replace(load_policy_file(policy_dir), step_scale=(0.25, 0.5, 0.75, 1.0))
    state = np.zeros(8)
    assert file.from_network(np.ones((4, 8)), state)[:, 0].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert file.from_network(np.ones((4, 8)), state)[:, 7].tolist() == [1.0] * 4  # the gripper is absolute
    actions = np.random.default_rng(0).normal(size=(3, 4, 8))
    states = np.random.default_rng(1).normal(size=(3, 8))
    assert np.allclose(file.from_network(file.to_network(actions, states), states), actions)


@pytest.mark.parametrize("scale", [(1.0,), (1.0, 1.0, 0.0, 1.0), (1.0, 1.0, -1.0, 1.0)])
def test_a_step_scale_of_another_length_or_sign_is_refused(policy_dir: Path, scale: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="step_scale"):
        dataclasses.replace(load_policy_file(policy_dir), step_scale=scale)


def test_the_instruction_reaches_the_model(policy_dir: Path, observation: Observation) -> None:
    engine = open_engine(policy_dir)
    one, other = (engine.infer(observation, words, seed=1).actions for words in ("pick the cube", "cube"))
    assert not np.array_equal(one, other)


def test_a_missing_camera_is_masked_wherever_it_stands(policy_dir: Path, observation: Observation) -> None:
    engine = open_engine(policy_dir)
    both = engine.infer(observation, "pick", seed=1).actions
    for index, name in enumerate(("front", "wrist")):
        alone = changed(
            observation, cameras=(name,), camera_stamps_ns=(200,), images=observation.images[index : index + 1]
        )
        assert not np.array_equal(engine.infer(alone, "pick", seed=1).actions, both)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"images": np.zeros((2, 3, 8, 8), np.float32)}, "images"),
        ({"history": np.zeros((2, 3, 16, 16), np.uint8)}, "history"),
        ({"cameras": ("front", "top")}, "cameras"),
        ({"state": np.zeros(7)}, "state"),
        ({"state": np.full(8, np.nan)}, "NaN"),
        ({"state_names": ("a",) * 8}, "state"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(
    policy_dir: Path, observation: Observation, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        open_engine(policy_dir).infer(changed(observation, **fields), "pick", seed=0)


def test_actions_that_are_not_finite_never_come_out(policy_dir: Path, observation: Observation, tmp_path: Path) -> None:
    folder = copy(policy_dir, tmp_path / "p")
    stats = json.loads((folder / "stats.json").read_text())
    stats["action"]["std"] = [1e308] * 8
    (folder / "stats.json").write_text(json.dumps(stats))
    with pytest.raises(EngineError, match="NaN or infinity"), np.errstate(over="ignore"):
        open_engine(folder).infer(observation, "pick", seed=0)


def test_an_unknown_engine_is_refused(policy_dir: Path) -> None:
    with pytest.raises(ConfigError, match="abacus"):
        open_engine(policy_dir, "abacus")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("policy.json", None, "policy.json is missing"),
        ("stats.json", None, "stats.json"),
        ("stats.json", "{", "stats.json"),
        ("stats.json", "[]", "stats.json"),
        ("stats.json", '{"action": {}}', "observation.state"),
        ("policy.json", "{}", "spec"),
        ("tokenizer.json", None, "tokenizer.json"),
        ("model.safetensors", "", "model.safetensors"),
    ],
)
def test_an_incomplete_policy_names_its_file(
    policy_dir: Path, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    folder = copy(policy_dir, tmp_path / "p")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(F1Error, match=message):
        open_engine(folder)


def test_files_of_two_checkpoints_are_not_mixed(policy_dir: Path, tmp_path: Path) -> None:
    folder = copy(policy_dir, tmp_path / "p")
    policy = json.loads((folder / "policy.json").read_text())
    policy["spec"]["chunk_size"] = 5
    (folder / "policy.json").write_text(json.dumps(policy))
    with pytest.raises(CheckpointError, match="disagree"):
        open_engine(folder)


def test_a_network_for_other_images_than_the_policys_is_refused(policy_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="takes 3 images"):
        open_engine(with_past_images(policy_dir, tmp_path / "p", []))


@pytest.mark.parametrize(
    ("past", "changes", "message"),
    [([3], {}, "names a frame that is not among the 3"), ([0], {"history_size": 8}, "they are 8 and 16 px")],
)
def test_past_images_that_the_history_does_not_hold_are_refused(
    policy_dir: Path, tmp_path: Path, past: list[int], changes: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        open_engine(with_past_images(policy_dir, tmp_path / "p", past, **changes))


def test_the_model_sees_the_past_image_that_the_policy_names(
    policy_dir: Path, observation: Observation, tmp_path: Path
) -> None:
    first, second = (open_engine(with_past_images(policy_dir, tmp_path / str(i), [i])) for i in (0, 1))
    apart, equal = observation, changed(observation, history=observation.history[[0, 0, 2]])
    assert not np.array_equal(*(e.infer(apart, "pick the cube", seed=1).actions for e in (first, second)))
    # The same stamps again would bring other frames' codes from the cache.
    equal = changed(equal, history_stamps_ns=(400, 450, 500))
    assert np.array_equal(*(e.infer(equal, "pick the cube", seed=1).actions for e in (first, second)))


def test_the_spec_can_be_read_without_the_weights(policy_dir: Path) -> None:
    assert load_spec(policy_dir).cameras == ("front", "wrist")


def without_foresight(policy_dir: Path, folder: Path) -> Path:
    copy(policy_dir, folder)
    policy = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps(policy | {"foresight": False}))
    return folder


def test_a_policy_trained_without_foresight_predicts_none(
    policy_dir: Path, observation: Observation, tmp_path: Path
) -> None:
    result = open_engine(without_foresight(policy_dir, tmp_path / "p")).infer(observation, "pick the cube", 1)
    skipped = open_engine(policy_dir, foresight="skipped").infer(observation, "pick the cube", 1)
    own = open_engine(policy_dir).infer(observation, "pick the cube", 1)
    assert result.foresight is None
    assert skipped.foresight is None
    assert np.array_equal(result.actions, skipped.actions)
    assert own.foresight is not None
    assert not np.array_equal(own.actions, skipped.actions)


def test_shuffled_foresight_has_the_same_tokens_in_another_order(policy_dir: Path, observation: Observation) -> None:
    own = open_engine(policy_dir).infer(observation, "pick the cube", 1).foresight
    engine = open_engine(policy_dir, foresight="shuffled")
    results = [engine.infer(observation, "pick the cube", seed) for seed in (1, 1, 2)]
    shuffled = results[0].foresight
    assert own is not None
    assert shuffled is not None
    start = 0
    for side in own.scale_sizes:
        part = slice(start, start + side * side)
        assert sorted(own.codes[part]) == sorted(shuffled.codes[part])
        start += side * side
    assert np.array_equal(results[0].actions, results[1].actions)


def test_foresight_that_is_not_there_cannot_be_shuffled(policy_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="predicts none"):
        open_engine(without_foresight(policy_dir, tmp_path / "p"), foresight="shuffled")
