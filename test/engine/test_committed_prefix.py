"""What the engine plans from: a prefix comes out as it went in, and only trained policies take one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from f1_ros.engine import open_engine
from f1_ros.engine.policy import load_policy_file
from f1_ros.engine.protocol import Engine, Running
from f1_ros.errors import ConfigError, EngineError
from f1_ros.observe.observation import Observation

Trained = Callable[..., Path]


@pytest.fixture(scope="session")
def trained(policy_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The untrained policy, which says of itself that it was trained."""

    def build(scale: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0), **can: int) -> Path:
        folder = tmp_path_factory.mktemp("trained") / "p"
        shutil.copytree(policy_dir, folder)
        policy = json.loads((folder / "policy.json").read_text())
        policy["spec"] |= can
        policy["step_scale"] = scale
        (folder / "policy.json").write_text(json.dumps(policy))
        return folder

    return build


@pytest.fixture(scope="session")
def engine(trained: Trained) -> Engine:
    return open_engine(trained(trained_prefix_steps=3, trained_near_steps=1))


def given_steps(actions: np.ndarray) -> Running:
    """All of them are committed."""
    return Running(actions, committed=len(actions))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 3).flatmap(lambda n: arrays(np.float64, (n, 8), elements=st.floats(-3.0, 3.0))))
def test_the_chunk_begins_with_exactly_the_prefix(engine: Engine, observation: Observation, prefix: np.ndarray) -> None:
    actions = engine.infer(observation, "pick", 1, given_steps(prefix)).actions
    assert actions.shape == (4, 8)
    assert np.array_equal(actions[: len(prefix)], prefix)
    assert np.isfinite(actions).all()


def test_the_rest_is_planned_from_the_prefix(engine: Engine, observation: Observation) -> None:
    still = np.tile(observation.state, (2, 1))
    one, other = (engine.infer(observation, "pick", 1, given_steps(prefix)).actions for prefix in (still, still + 0.3))
    assert not np.allclose(one[2:], other[2:], atol=1e-4)


def test_the_prefix_reaches_the_network_as_its_own_actions_do(trained: Trained, observation: Observation) -> None:
    """Twice as far in a step whose scale is twice as large is the same to the network; the gripper is absolute."""
    rest = []
    for scale, far in ((0.25, 0.1), (0.5, 0.2)):
        engine = open_engine(trained((scale, 0.5, 0.75, 1.0), trained_prefix_steps=3))
        prefix = observation.state[None] + [[far] * 7 + [0.01]]
        rest.append(engine.infer(observation, "pick", 1, given_steps(prefix)).actions[1:])
    assert np.allclose(*rest, atol=1e-6)


def test_without_a_prefix_a_trained_policy_answers_as_before(observation: Observation, trained: Trained) -> None:
    one, other = open_engine(trained()), open_engine(trained(trained_prefix_steps=3))
    assert np.array_equal(
        other.infer(observation, "pick", seed=1).actions, one.infer(observation, "pick", seed=1).actions
    )


def test_a_policy_that_was_not_trained_for_it_refuses(policy_dir: Path, observation: Observation) -> None:
    engine = open_engine(policy_dir)
    with pytest.raises(EngineError, match=r"at most 0 committed steps.*prefix_steps_max"):
        engine.infer(observation, "pick", 0, given_steps(np.zeros((1, 8))))
    with pytest.raises(EngineError, match=r"not trained to have near steps ready.*near_steps"):
        engine.infer(observation, "pick", 0, on_near=lambda actions: None)


@pytest.mark.parametrize("prefix", [np.zeros((4, 8)), np.zeros((1, 7))])
def test_a_prefix_that_does_not_fit_is_refused(engine: Engine, observation: Observation, prefix: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"committed steps|shape"):
        engine.infer(observation, "pick", 0, given_steps(prefix))


@pytest.mark.parametrize(
    ("actions", "committed"),
    [(np.zeros(8), 1), (np.zeros((2, 8)), 0), (np.zeros((2, 8)), 3), (np.full((1, 8), np.nan), 1)],
)
def test_a_running_plan_that_makes_no_sense_is_refused(actions: np.ndarray, committed: int) -> None:
    with pytest.raises(EngineError, match="running plan"):
        Running(actions, committed)


@pytest.mark.parametrize("count", [0, 2])
def test_near_steps_are_sent_once_and_stand_in_the_chunk(engine: Engine, observation: Observation, count: int) -> None:
    sent: list[np.ndarray] = []
    prefix = np.tile(observation.state, (count, 1))
    running = given_steps(prefix) if count else None
    result = engine.infer(observation, "pick", 1, running, on_near=sent.append)
    assert len(sent) == 1
    assert np.array_equal(sent[0], result.actions[: count + 1])
    assert np.array_equal(sent[0][:count], prefix)
    assert 0.0 < result.stage_ms["near"] < result.stage_ms["total"]
    again = engine.infer(observation, "pick", 1, running, on_near=sent.append)
    assert np.array_equal(again.actions, result.actions)


@pytest.mark.parametrize("key", ["trained_prefix_steps", "trained_near_steps"])
@pytest.mark.parametrize("steps", [-1, 4])
def test_a_policy_file_cannot_claim_a_whole_chunk(policy_dir: Path, key: str, steps: int) -> None:
    spec = load_policy_file(policy_dir).spec
    with pytest.raises(ConfigError, match=f"{key} is {steps} in a chunk of 4"):
        dataclasses.replace(spec, **{key: steps})


def test_a_policy_file_from_before_says_that_it_takes_none(policy_dir: Path, tmp_path: Path) -> None:
    policy = json.loads((policy_dir / "policy.json").read_text())
    del policy["spec"]["trained_prefix_steps"], policy["spec"]["trained_near_steps"]
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    assert load_policy_file(tmp_path).spec.trained_prefix_steps == 0


def test_guidance_draws_the_chunk_towards_the_running_plan(policy_dir: Path, observation: Observation) -> None:
    """With any policy: one that was trained for nothing of the kind."""
    engine = open_engine(policy_dir)
    plain = engine.infer(observation, "pick", 1).actions
    plan = plain[:3] + 0.2 * np.abs(plain - observation.state).max()
    found = engine.infer(observation, "pick", 1, Running(plan, committed=2, guided=True)).actions
    assert np.abs(found[:2] - plan[:2]).mean() < 0.6 * np.abs(plain[:2] - plan[:2]).mean()
    assert np.isfinite(found).all()
    again = engine.infer(observation, "pick", 1, Running(plan, committed=2, guided=True)).actions
    assert np.array_equal(found, again)


def test_guidance_does_not_go_with_near_steps(engine: Engine, observation: Observation) -> None:
    with pytest.raises(EngineError, match="do not go together"):
        engine.infer(observation, "pick", 1, Running(np.zeros((2, 8)), 1, guided=True), on_near=lambda actions: None)
