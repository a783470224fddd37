"""Steps of a chunk with times of their own: what is given comes out as it was, near steps are through at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from f1_ros.model.f1 import F1Model
from f1_ros.model.flow import integrate, step_times, time_embedding
from f1_ros.model.losses import flow_loss, noised, sample_time
from f1_ros.model.phases import Prefix

Build = Callable[..., F1Model]


def times(t: float, committed: int, chunk: int, **schedule: int) -> list[float]:
    return step_times(torch.tensor([t]), torch.tensor([committed]), chunk, **schedule)[0].tolist()


def prefix_of(model: F1Model) -> Prefix:
    g = torch.Generator().manual_seed(1)
    images = torch.rand(2, 1, 3, 16, 16, generator=g) * 2 - 1
    mask, words = torch.ones(2, 1, dtype=torch.bool), torch.randint(0, 20, (2, 6), generator=g)
    return model.prefix(images, mask, words, words > 0)


def draws(rows: int = 2) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(3)
    return torch.randn(rows, 3, generator=g), torch.randn(rows, 4, 5, generator=g)


def test_committed_steps_have_time_0_and_the_others_share_one() -> None:
    assert times(0.75, 2, 4) == [0.0, 0.0, 0.75, 0.75]
    assert times(0.75, 0, 4) == [0.75] * 4


def test_near_steps_are_through_after_the_first_flow_step_and_the_last_runs_with_the_flow() -> None:
    # hit times .75 .75 .375 0 of the steps after the committed one
    schedule = {"near": 2, "flow_steps": 4}
    assert times(1.0, 1, 5, **schedule) == [0.0, 1.0, 1.0, 1.0, 1.0]
    assert times(0.75, 1, 5, **schedule) == pytest.approx([0.0, 0.0, 0.0, 0.6, 0.75])
    assert times(0.25, 1, 5, **schedule) == [0.0, 0.0, 0.0, 0.0, 0.25]
    assert times(0.0, 1, 5, **schedule) == [0.0] * 5


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(0, 19), st.integers(0, 25), st.integers(1, 12))
def test_every_schedule_runs_down_from_1_to_exactly_0(chunk: int, committed: int, near: int, flow_steps: int) -> None:
    at = torch.tensor([(flow_steps - k) / flow_steps for k in range(flow_steps + 1)])
    own = step_times(at, torch.full_like(at, committed), chunk, near=near, flow_steps=flow_steps)
    free = own[:, committed:]
    assert (own[:, :committed] == 0).all()
    assert (free[0] == 1).all()
    assert (free[-1] == 0).all()
    assert (free.diff(dim=0) <= 0).all()
    assert (free.diff(dim=1) >= -1e-6).all()  # no step is behind a later one
    assert (free[1, :near] == 0).all()


@pytest.mark.parametrize("near", [0, 2])
def test_the_flow_of_a_straight_path_ends_at_its_actions(near: int) -> None:
    g = torch.Generator().manual_seed(0)
    actions, noise = torch.randn(2, 6, 3, generator=g), torch.randn(2, 6, 3, generator=g)
    seen: list[Tensor] = []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        torch.testing.assert_close(x, noised(actions, noise, t)[0])
        return noise - actions

    out = integrate(velocity, noise, 5, committed=actions[:, :1], near=near, on_near=seen.append)
    torch.testing.assert_close(out, actions)
    torch.testing.assert_close(seen[0][:, : 1 + near], actions[:, : 1 + near])


def test_one_time_for_all_steps_is_the_same_given_once_or_for_each() -> None:
    t = torch.rand(3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        time_embedding(t[:, None].expand(-1, 4), 8), time_embedding(t, 8)[:, None].expand(-1, 4, -1)
    )


@torch.no_grad()
def test_the_network_takes_a_time_for_each_step(small_model: Build) -> None:
    model = small_model(world=False)
    state, noise = draws()
    t = torch.tensor([0.2, 0.9])
    shared = model.velocity(prefix_of(model), state, noise, t)
    each = model.velocity(prefix_of(model), state, noise, t[:, None].expand(-1, 4))
    torch.testing.assert_close(each, shared)
    own = t[:, None].repeat(1, 4)
    own[:, 0] = 0.0
    assert not torch.allclose(model.velocity(prefix_of(model), state, noise, own), shared)


@torch.no_grad()
@pytest.mark.parametrize(("count", "near"), [(1, 0), (3, 0), (4, 0), (0, 2), (1, 2)])
def test_a_committed_prefix_comes_out_unchanged_and_steers_the_rest(small_model: Build, count: int, near: int) -> None:
    model = small_model(world=False)
    prefix = prefix_of(model)
    state, noise = draws()
    committed = torch.linspace(-2.0, 2.0, 10 * count).view(2, count, 5)
    early: list[Tensor] = []
    out = model.sample_actions(prefix, state, noise, committed=committed, near=near, on_near=early.append)
    assert torch.equal(out[:, :count], committed)
    assert out.isfinite().all()
    assert torch.equal(early[0][:, : count + near], out[:, : count + near])
    other = model.sample_actions(prefix, state, noise, committed=-committed, near=near)
    assert torch.equal(out[:, count:], other[:, count:]) == (count in (0, 4))


@torch.no_grad()
def test_without_a_prefix_the_flow_is_as_it_was(small_model: Build) -> None:
    model = small_model(world=False)
    prefix = prefix_of(model)
    state, noise = draws()
    plain = model.sample_actions(prefix, state, noise)
    torch.testing.assert_close(model.sample_actions(prefix, state, noise, committed=noise[:, :0]), plain)


def test_given_steps_are_neither_noised_nor_counted(small_model: Build) -> None:
    model = small_model(world=False)
    state, noise = draws()
    actions = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(4))
    own = step_times(torch.tensor([0.4, 0.8]), torch.tensor([2, 0]), 4)
    assert torch.equal(noised(actions, noise, own)[0][0, :2], actions[0, :2])
    error = torch.arange(8.0).view(1, 4, 2)
    assert flow_loss(error, given=torch.tensor([[True, True, False, False]])).item() == 5.5
    pad = torch.tensor([[False, False, False, True]])
    assert flow_loss(error, pad, torch.tensor([[True, True, False, False]])).item() == 2.25
    assert flow_loss(error, given=torch.ones(1, 4, dtype=torch.bool)).item() == 0.0
    noise.requires_grad_(True)
    out = model.train_outputs(
        torch.zeros(2, 1, 3, 16, 16), torch.ones(2, 1, dtype=torch.bool), torch.zeros(2, 6, dtype=torch.int64),
        torch.ones(2, 6, dtype=torch.bool), None, state, actions, noise, own,
    )  # fmt: skip
    flow_loss(out.action_loss, given=own == 0).backward()
    assert noise.grad is not None
    assert not noise.grad[0, :2].any()
    assert noise.grad[0, 2:].all()


def test_a_network_learns_to_go_on_as_its_prefix_began(small_model: Build) -> None:
    """Actions are all 1 or all -1, which nothing but the prefix tells."""
    model = small_model(world=False).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    g = torch.Generator().manual_seed(0)
    seen = (torch.zeros(1, 1, 3, 16, 16), torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 6, dtype=torch.int64))
    words = torch.ones(1, 6, dtype=torch.bool)
    for _ in range(300):
        actions = (torch.randint(2, (64, 1, 1), generator=g) * 2.0 - 1.0).expand(-1, 4, 5)
        noise, committed = torch.randn(64, 4, 5, generator=g), torch.randint(3, (64,), generator=g)
        t = sample_time(64, g)
        ahead = torch.rand(64, 1, generator=g) < 0.5
        own = torch.where(ahead, step_times(t, committed, 4, near=1, flow_steps=3), step_times(t, committed, 4))
        x_t, target = noised(actions, noise, own)
        error = model.velocity(model.prefix(*seen, words).repeat(64), torch.zeros(64, 3), x_t, own) - target
        optimiser.zero_grad()
        flow_loss(error.square(), given=own == 0).backward()
        optimiser.step()
    with torch.no_grad():
        prefix = model.prefix(*seen, words).repeat(200)
        noise, state = torch.randn(200, 4, 5, generator=g), torch.zeros(200, 3)
        free = model.sample_actions(prefix, state, noise)
        assert 0.1 < (free.mean((1, 2)) > 0).float().mean() < 0.9
        for near in (0, 1):
            for sign in (1.0, -1.0):
                committed = torch.full((200, 1, 5), sign)
                rest = model.sample_actions(prefix, state, noise, committed=committed, near=near)[:, 1:]
                assert (rest * sign > 0).float().mean() > 0.95
