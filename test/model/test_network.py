"""The network's phases: what sees what, with and without gradients, and each ablation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from f1_ros.errors import ConfigError
from f1_ros.model.config import KeypointConvConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.phases import Prefix
from f1_ros.model.towers import KeypointTower

Build = Callable[..., F1Model]


def _inputs(model: F1Model, batch: int = 2, cameras: int = 2) -> dict[str, Tensor]:
    config, g = model.config, torch.Generator().manual_seed(1)
    size = config.image_size
    return {
        "images": torch.rand(batch, cameras, 3, size, size, generator=g) * 2 - 1,
        "image_mask": torch.ones(batch, cameras, dtype=torch.bool),
        "language_tokens": torch.randint(0, 20, (batch, 6), generator=g),
        "language_mask": torch.tensor([[True] * 4 + [False] * 2] * batch),
    }


def _history(model: F1Model, batch: int = 2) -> Tensor:
    g = torch.Generator().manual_seed(2)
    frames = torch.rand(batch, 3, 3, 12, 12, generator=g) * 2 - 1
    with torch.no_grad():
        codes = model.tokenizer.encode(frames.flatten(0, 1))
        return model.tokenizer.var_input(codes).unflatten(0, (batch, 3))


def _prefix(model: F1Model, inputs: dict[str, Tensor], **kwargs: Any) -> Prefix:
    return model.prefix(**inputs, history=model.history_embeds(_history(model, inputs["images"].shape[0])), **kwargs)


def _draws(model: F1Model, batch: int = 2) -> tuple[Tensor, Tensor]:
    """State and noise."""
    g = torch.Generator().manual_seed(3)
    return torch.randn(batch, 3, generator=g), torch.randn(batch, 4, 5, generator=g)


@torch.no_grad()
def _act(model: F1Model, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Foresight logits and actions."""
    prefix = _prefix(model, inputs)
    state, noise = _draws(model, inputs["images"].shape[0])
    logits = model.foresight(prefix, greedy=True).logits
    return logits, model.sample_actions(prefix, state, noise)


@pytest.mark.parametrize("siglip", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2])
def test_shapes_of_every_phase(small_model: Build, siglip: bool, kv_heads: int) -> None:
    model = small_model(siglip=siglip, kv_heads=kv_heads)
    inputs = _inputs(model)
    assert model.history_embeds(_history(model)).shape == (2, 13, 4)
    prefix = _prefix(model, inputs)
    state, noise = _draws(model)
    foresight = model.foresight(prefix, torch.Generator().manual_seed(0))
    assert foresight.codes.shape == (2, 5)
    assert foresight.codes.dtype == torch.int64
    assert foresight.logits.shape == (2, 5, 32)
    assert model.velocity(prefix, state, noise, torch.tensor([0.2, 0.9])).shape == (2, 4, 5)
    assert model.sample_actions(prefix, state, noise).shape == (2, 4, 5)
    assert (prefix.keypoints is None) == siglip
    if prefix.keypoints is not None:
        assert prefix.keypoints.shape == (2, 2, 8)
        assert prefix.keypoints.abs().max() <= 1


def test_static_and_growing_caches_agree(small_model: Build) -> None:
    model = small_model()
    inputs, (state, noise) = _inputs(model), _draws(model)
    logits, actions = _act(model, inputs)
    prefix = _prefix(model, inputs)  # gradients on: the cache grows
    torch.testing.assert_close(model.foresight(prefix, greedy=True).logits, logits)
    torch.testing.assert_close(model.sample_actions(prefix, state, noise), actions)


@torch.no_grad()
def test_flow_steps_leave_the_static_cache_as_it_was(small_model: Build) -> None:
    model = small_model()
    state, noise = _draws(model)
    prefix = _prefix(model, _inputs(model))
    model.foresight(prefix, greedy=True)
    length = prefix.cache.length
    first = model.sample_actions(prefix, state, noise)
    assert prefix.cache.length == length
    assert torch.equal(model.sample_actions(prefix, state, noise), first)


@pytest.mark.parametrize("row", ["image_mask", "language_mask"])
def test_masked_tokens_change_nothing(small_model: Build, row: str) -> None:
    model = small_model()
    inputs = _inputs(model)
    inputs["image_mask"][:, 1] = False
    logits, actions = _act(model, inputs)
    if row == "image_mask":
        inputs["images"][:, 1] = -inputs["images"][:, 1]
    else:
        inputs["language_tokens"][:, 4:] = 7
    again, moved = _act(model, inputs)
    assert torch.equal(again, logits)
    assert torch.equal(moved, actions)
    inputs["images"][:, 0] *= 0.5  # one that is not masked
    assert not torch.equal(_act(model, inputs)[1], actions)


def test_rows_of_a_batch_are_independent(small_model: Build) -> None:
    model = small_model()
    inputs = _inputs(model)
    _, together = _act(model, inputs)
    inputs["images"][1] = 0.0
    inputs["language_mask"][1] = True
    torch.testing.assert_close(_act(model, inputs)[1][0], together[0])


def test_only_the_last_prefix_token_sees_itself(small_model: Build) -> None:
    """Foresight starts a block of its own: what stands before must not depend on its position embedding."""
    model = small_model()
    inputs = _inputs(model)
    with torch.no_grad():
        before = _prefix(model, inputs)
        model.wm_output_position_embedding[:, 0] += 1.0
        after = _prefix(model, inputs)
    for layer in range(2):
        (k, v), (k2, v2) = before.cache.tensors(layer), after.cache.tensors(layer)
        assert torch.equal(k[:, :, :-1], k2[:, :, :-1])
        assert torch.equal(v[:, :, :-1], v2[:, :, :-1])
        assert not torch.equal(k[:, :, -1], k2[:, :, -1])


def test_teacher_forcing_with_its_own_codes_is_foresight(small_model: Build) -> None:
    model = small_model(num_resolutions=3)
    inputs, (state, noise) = _inputs(model), _draws(model)
    with torch.no_grad():
        free_prefix, forced_prefix = _prefix(model, inputs), _prefix(model, inputs)
        free = model.foresight(free_prefix, greedy=True)
        forced = model.foresight(forced_prefix, teacher=free.codes)
        torch.testing.assert_close(forced.logits, free.logits)
        assert torch.equal(forced.codes, free.codes)
        torch.testing.assert_close(
            model.sample_actions(forced_prefix, state, noise), model.sample_actions(free_prefix, state, noise)
        )


def test_dropped_teacher_tokens_are_not_seen(small_model: Build) -> None:
    model = small_model()
    codes = torch.randint(0, 32, (2, 5), generator=torch.Generator().manual_seed(0))
    other = codes.clone()
    other[:, 0] = (codes[:, 0] + 1) % 32
    with torch.no_grad():

        def logits(teacher: Tensor, dropped: Tensor | None) -> Tensor:
            return model.foresight(_prefix(model, _inputs(model)), teacher=teacher, dropped=dropped).logits

        everything = torch.ones(2, 4, dtype=torch.bool)
        assert not torch.equal(logits(codes, None), logits(other, None))
        assert torch.equal(logits(codes, everything), logits(other, everything))


def test_repeated_prefix_is_the_prefix_of_each_draw(small_model: Build) -> None:
    model = small_model()
    inputs, (state, noise) = _inputs(model), _draws(model)
    with torch.no_grad():
        prefix = _prefix(model, inputs)
        model.foresight(prefix, greedy=True)
        alone = model.sample_actions(prefix, state, noise)
        twice = prefix.repeat(2)
        actions = model.sample_actions(twice, state.repeat_interleave(2, 0), noise.repeat_interleave(2, 0))
    torch.testing.assert_close(actions, alone.repeat_interleave(2, 0))


def test_sampling_follows_the_generator(small_model: Build) -> None:
    model = small_model(num_resolutions=3)
    prefixes = [_prefix(model, _inputs(model)) for _ in range(3)]
    seeds = (5, 5, 6)
    codes = [model.foresight(p, torch.Generator().manual_seed(s)).codes for p, s in zip(prefixes, seeds, strict=True)]
    assert torch.equal(codes[0], codes[1])
    assert not torch.equal(codes[0], codes[2])


def test_skipped_foresight_keeps_action_positions(small_model: Build) -> None:
    model = small_model()
    prefix, run = _prefix(model, _inputs(model)), _prefix(model, _inputs(model))
    model.foresight(run, greedy=True)
    assert torch.equal(prefix.offset, run.offset)
    # 2 cameras of 5 tokens, 4 words that are not padding, start token and 13 of history, 4 more of foresight
    assert prefix.offset.tolist() == [[32], [32]]


@pytest.mark.parametrize("teacher", [False, True])
def test_training_reaches_every_weight_but_the_tokenizer(small_model: Build, teacher: bool) -> None:
    model = small_model().train()
    model.tokenizer.requires_grad_(False)
    state, noise = _draws(model, 4)
    codes = torch.zeros(2, 5, dtype=torch.int64)
    out = model.train_outputs(
        **_inputs(model),
        history=model.history_embeds(_history(model)),
        state=state[:2],
        actions=noise[:2] * 0.3,
        noise=noise,  # two draws share each prefix
        time=torch.tensor([0.1, 0.4, 0.7, 1.0]),
        generator=torch.Generator().manual_seed(0),
        teacher=codes if teacher else None,
    )
    assert out.action_loss.shape == (4, 4, 5)
    assert out.foresight_logits is not None
    assert out.keypoints is not None
    (out.action_loss.mean() + out.foresight_logits.logsumexp(-1).mean() + out.keypoints.square().sum()).backward()
    without = {n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())}
    # The understanding expert's last layer gives keys and values only: nothing reads its output.
    dead = (
        "und.norm",
        "und.layers.1.self_attn.q_proj",
        "und.layers.1.self_attn.o_proj",
        "und.layers.1.post",
        "und.layers.1.mlp",
    )
    assert {n for n in without if not n.startswith(dead)} == set()


def test_draws_of_one_row_equal_rows_of_their_own(small_model: Build) -> None:
    model = small_model()
    state, noise = _draws(model, 2)
    one = {name: tensor[:1] for name, tensor in _inputs(model).items()}
    history = model.history_embeds(_history(model))[:1]
    times = torch.tensor([0.3, 0.8])
    actions = noise[:1] * 0.3

    def loss(k: slice) -> Tensor:
        return model.train_outputs(
            **one, history=history, state=state[:1], actions=actions, noise=noise[k], time=times[k], greedy=True
        ).action_loss

    together = loss(slice(0, 2))
    torch.testing.assert_close(together, torch.cat([loss(slice(0, 1)), loss(slice(1, 2))]))


def test_network_without_history(small_model: Build) -> None:
    model = small_model(history=False)
    inputs = _inputs(model)
    prefix = model.prefix(**inputs)
    assert prefix.valid.shape == (2, 10 + 6 + 1)
    ignored = _prefix(model, inputs)
    torch.testing.assert_close(
        model.foresight(prefix, greedy=True).logits, model.foresight(ignored, greedy=True).logits
    )


def _chunk(model: F1Model, history: Tensor | None, *, foresight: bool) -> Tensor:
    state, noise = _draws(model)
    prefix = model.prefix(**_inputs(model), history=history)
    if foresight:
        model.foresight(prefix, greedy=True)
    return model.sample_actions(prefix, state, noise)


def test_a_shielded_action_expert_learns_of_the_history_through_foresight_alone(small_model: Build) -> None:
    model = small_model(shielded=True)
    one, other = model.history_embeds(_history(model)), model.history_embeds(_history(model)) + 3.0
    unseen = [_chunk(model, history, foresight=False) for history in (one, other, None)]
    torch.testing.assert_close(unseen[0], unseen[1], rtol=0, atol=0)
    told = [_chunk(model, history, foresight=True) for history in (one, other)]
    assert not torch.allclose(told[0], told[1])
    released = small_model()
    seen = [_chunk(released, history, foresight=False) for history in (one, other)]
    assert not torch.allclose(seen[0], seen[1])


def test_shielding_hides_the_history_in_training_as_at_run_time(small_model: Build) -> None:
    model = small_model(shielded=True)
    state, noise = _draws(model)
    history = model.history_embeds(_history(model))
    actions = model.sample_actions(_prefix(model, _inputs(model)), state, noise)
    times = torch.ones(2)
    with torch.enable_grad():
        out = model.train_outputs(
            **_inputs(model), history=history, state=state, actions=actions, noise=noise, time=times,
            skip_foresight=True,
        )  # fmt: skip
    prefix = _prefix(model, _inputs(model))
    velocity = model.velocity(prefix, state, noise, times)
    torch.testing.assert_close(out.action_loss, (velocity - (noise - actions)).square())


def test_network_without_world_model(small_model: Build) -> None:
    model = small_model(world=False)
    assert not hasattr(model, "tokenizer")
    state, noise = _draws(model)
    prefix = model.prefix(**_inputs(model))
    assert prefix.last is None
    assert prefix.valid.shape == (2, 16)
    assert model.sample_actions(prefix, state, noise).isfinite().all()
    out = model.train_outputs(
        **_inputs(model), history=None, state=state, actions=noise, noise=noise, time=torch.tensor([0.5, 0.5])
    )
    assert out.foresight_logits is None


def test_missing_camera_is_left_out_of_the_sequence(small_model: Build) -> None:
    model = small_model()
    assert _prefix(model, _inputs(model, cameras=1)).valid.shape == (2, 5 + 6 + 14)
    assert _prefix(model, _inputs(model, cameras=3)).valid.shape == (2, 15 + 6 + 14)


def test_each_camera_can_have_a_tower_of_its_own(small_model: Build) -> None:
    model = small_model(cameras=2)
    inputs = _inputs(model)
    inputs["images"][:, 1] = inputs["images"][:, 0]
    keypoints = _prefix(model, inputs).keypoints
    assert keypoints is not None
    assert not torch.allclose(keypoints[:, 0], keypoints[:, 1])


def test_an_earlier_view_of_a_camera_goes_through_that_cameras_tower() -> None:
    config = KeypointConvConfig(8, image_size=16, channels=(4, 8), keypoints=4, grid=2, cameras=2, views=(0, 1, 0))
    views = torch.rand(1, 1, 3, 16, 16).expand(-1, 3, -1, -1, -1)
    keypoints = KeypointTower(config)(views).keypoints
    assert keypoints is not None
    assert torch.equal(keypoints[:, 0], keypoints[:, 2])
    assert not torch.allclose(keypoints[:, 0], keypoints[:, 1])


def test_a_view_through_a_tower_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"views \[0, 2\] names a tower"):
        KeypointConvConfig(8, cameras=2, views=(0, 2))


def test_euler_steps_follow_the_velocity(small_model: Build) -> None:
    model = small_model()
    state, noise = _draws(model)
    with torch.no_grad():
        prefix = _prefix(model, _inputs(model))
        half = noise - 0.5 * model.velocity(prefix, state, noise, torch.ones(2))
        whole = half - 0.5 * model.velocity(prefix, state, half, torch.full((2,), 0.5))
        torch.testing.assert_close(model.sample_actions(prefix, state, noise, num_steps=2), whole)
