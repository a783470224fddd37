"""Training with steps that are given or ahead of others: off by default, drawn per sample, and known to the engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from f1_ros.engine import open_engine
from f1_ros.engine.protocol import PolicySpec, Running
from f1_ros.errors import ConfigError
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.model.losses import flow_loss, sample_time
from f1_ros.model.phases import TrainOutputs
from f1_ros.observe.observation import Observation
from f1_ros.train.belt import BeltRun
from f1_ros.train.policy import PolicyLosses, PolicyTraining

BATCH, DRAWS = 8, 16


class Recorder(F1Model):
    """Keeps what it was asked for and what it answered."""

    def train_outputs(self, *args: Tensor, **kwargs: bool) -> TrainOutputs:
        self.asked = args
        self.answered = super().train_outputs(*args, **kwargs)
        return self.answered


def losses_of(config: F1Config, config_file: Path, **settings: int) -> PolicyLosses:
    torch.manual_seed(0)
    spec = json.loads(config_file.read_text())["spec"]
    spec = PolicySpec(**{k: tuple(v) if isinstance(v, list) else v for k, v in spec.items()})
    words = torch.tensor([[1, 2, 3]]), torch.ones(1, 3, dtype=torch.bool)
    return PolicyLosses(Recorder(config), PolicyTraining(batch=BATCH, draws=DRAWS, **settings), spec, *words)


def batch() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(5)
    pad = torch.zeros(BATCH, 4, dtype=torch.bool)
    pad[0, 2:] = True
    return {
        "images": torch.rand(BATCH, 3, 3, 16, 16, generator=g),
        "state": torch.randn(BATCH, 8, generator=g),
        "actions": torch.randn(BATCH, 4, 8, generator=g),
        "executed": torch.randn(BATCH, 4, 8, generator=g),
        "instruction": torch.zeros(BATCH, dtype=torch.int64),
        "pad": pad,
        "place": torch.randn(BATCH, 9, generator=g),
    }


def asked(losses: PolicyLosses, seed: int = 3) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Flow times, squared errors, and parts of the loss."""
    parts = losses(batch(), losses.draw(torch.Generator().manual_seed(seed), "warm"), "warm")
    return losses.network.asked[8], losses.network.answered.action_loss, parts


def test_by_default_nothing_is_given_and_nothing_else_is_drawn(network_config: F1Config, config_file: Path) -> None:
    losses = losses_of(network_config, config_file)
    t, error, parts = asked(losses)
    g = torch.Generator().manual_seed(3)
    assert torch.equal(losses.network.asked[7], torch.randn((BATCH * DRAWS, 4, 8), generator=g))
    assert torch.equal(t, sample_time(BATCH * DRAWS, g))
    assert torch.equal(parts["flow"], flow_loss(error, batch()["pad"].repeat_interleave(DRAWS, 0)))


def test_each_draw_is_given_0_to_the_most_steps_and_they_do_not_count(
    network_config: F1Config, config_file: Path
) -> None:
    t, error, parts = asked(losses_of(network_config, config_file, prefix_steps_max=2))
    plain, _, _ = asked(losses_of(network_config, config_file))
    given = (t == 0).sum(dim=1)
    assert set(given.tolist()) == {0, 1, 2}
    for row, count in enumerate(given):
        assert t[row, :count].tolist() == [0.0] * count
        assert torch.equal(t[row, count:], plain[row].expand(4 - int(count)))
    learnt = (t > 0)[..., None] & ~batch()["pad"].repeat_interleave(DRAWS, 0)[..., None]
    assert parts["flow"].item() == pytest.approx(((error * learnt).sum() / ((t > 0).sum() * 8)).item(), rel=1e-5)
    assert torch.isfinite(parts["total"])


def test_what_is_given_is_what_was_executed_not_the_label(network_config: F1Config, config_file: Path) -> None:
    losses = losses_of(network_config, config_file, prefix_steps_max=2)
    t, _, _ = asked(losses)
    actions = losses.network.asked[6]
    labels, executed = (batch()[name].repeat_interleave(DRAWS, 0) for name in ("actions", "executed"))
    assert torch.equal(actions[t == 0], executed[t == 0])
    assert torch.equal(actions[t > 0], labels[t > 0])


def test_near_steps_that_are_through_do_not_count_and_keep_their_label(
    network_config: F1Config, config_file: Path
) -> None:
    losses = losses_of(network_config, config_file, near_steps=2)
    t, error, parts = asked(losses)
    through = t == 0
    assert through.any()
    labels = batch()["actions"].repeat_interleave(DRAWS, 0)
    assert torch.equal(losses.network.asked[6], labels)
    learnt = ~through[..., None] & ~batch()["pad"].repeat_interleave(DRAWS, 0)[..., None]
    assert parts["flow"].item() == pytest.approx(((error * learnt).sum() / ((~through).sum() * 8)).item(), rel=1e-5)


def test_half_of_the_draws_run_by_the_horizon_aware_schedule(network_config: F1Config, config_file: Path) -> None:
    t, _, parts = asked(losses_of(network_config, config_file, near_steps=1))
    ahead = (t.diff(dim=1) > 1e-6).any(dim=1)
    assert 0.3 < ahead.float().mean() < 0.7
    assert (t.diff(dim=1) >= -1e-6).all()
    assert torch.isfinite(parts["total"])


def trained(config_file: Path, folder: Path, **settings: int) -> BeltRun:
    tree = json.loads(config_file.read_text())
    tree["policy"] |= settings
    config_file.write_text(json.dumps(tree))
    return BeltRun(config_file, folder)


def test_a_run_goes_on_with_a_prefix_and_its_policy_takes_one(run_folder: Path, config_file: Path) -> None:
    run = BeltRun(config_file, run_folder)
    run.train_tokenizer()
    run.train_warm()
    trained(config_file, run_folder, prefix_steps_max=2, near_steps=1).train_joint()
    engine = open_engine(run_folder / "policy")
    assert (engine.spec.trained_prefix_steps, engine.spec.trained_near_steps) == (2, 1)
    observation = Observation(
        stamp_ns=1_000,
        cameras=("front", "wrist"),
        camera_stamps_ns=(1_000, 1_000),
        images=np.zeros((2, 3, 16, 16), np.float32),
        history=np.zeros((3, 3, 16, 16), np.uint8),
        history_stamps_ns=(800, 900, 1_000),
        state_names=engine.spec.state_names,
        state=np.full(8, 0.3),
    )
    prefix = np.full((2, 8), 0.31)
    sent: list[np.ndarray] = []
    actions = engine.infer(observation, "pick the cube", 5, Running(prefix, committed=2), on_near=sent.append).actions
    assert np.array_equal(actions[:2], prefix)
    assert np.array_equal(sent[0], actions[:3])
    assert np.isfinite(actions).all()


@pytest.mark.parametrize("key", ["prefix_steps_max", "near_steps"])
@pytest.mark.parametrize("steps", [-1, 4])
def test_more_steps_than_a_chunk_holds_are_refused(run_folder: Path, config_file: Path, key: str, steps: int) -> None:
    with pytest.raises(ConfigError, match=f"{key} is {steps}"):
        trained(config_file, run_folder, **{key: steps})


def test_the_spec_cannot_claim_what_is_not_trained(run_folder: Path, config_file: Path) -> None:
    settings = json.loads(config_file.read_text())
    settings["spec"]["trained_prefix_steps"] = 2
    config_file.write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="prefix_steps_max"):
        BeltRun(config_file, run_folder)
