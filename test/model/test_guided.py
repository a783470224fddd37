"""Guidance pulls the flow's end towards the running plan, by the formulas of arXiv 2506.07339."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from f1_ros.errors import EngineError
from f1_ros.model.flow import integrate
from f1_ros.model.guided import GUIDANCE_LIMIT, guided, soft_mask


def test_weights_are_one_while_committed_and_fall_to_nothing_after() -> None:
    weights = soft_mask(2, 5)
    c = [3 / 4, 2 / 4, 1 / 4]
    assert weights == pytest.approx([1.0, 1.0, *(v * (math.exp(v) - 1) / (math.e - 1) for v in c)])
    assert soft_mask(3, 3) == [1.0, 1.0, 1.0]


def mixing(seed: int) -> tuple[Tensor, Tensor]:
    """A linear network's velocity v = M x + b t over a chunk of 3 steps of 2 joints."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(6, 6, generator=g) * 0.3, torch.randn(6, generator=g)


@pytest.mark.parametrize("at", [1.0, 0.8, 0.5, 0.1])
def test_the_correction_is_the_papers(at: float) -> None:
    """Against the formula written out with the Jacobian of a linear network, in the paper's own direction of time."""
    matrix, drift = mixing(0)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return (x.flatten(1) @ matrix.T + t[:, None] * drift).reshape(x.shape)

    x, plan = torch.randn(1, 3, 2), torch.randn(1, 2, 2)
    weights = torch.tensor(soft_mask(1, 2))
    t = torch.tensor([at])

    tau = 1 - at
    paper = -velocity(x, t).flatten()
    ends = x.flatten() + (1 - tau) * paper
    jacobian = torch.eye(6) - (1 - tau) * matrix  # of the ends, by x
    lacking = torch.zeros(6)
    lacking[:4] = plan.flatten() - ends[:4]
    weight = torch.tensor([weights[0], weights[0], weights[1], weights[1], 0.0, 0.0])
    r2 = (1 - tau) ** 2 / (tau**2 + (1 - tau) ** 2)
    gain = min(GUIDANCE_LIMIT, (1 - tau) / (tau * r2)) if tau else GUIDANCE_LIMIT
    expected = paper + gain * (lacking * weight) @ jacobian

    found = -guided(velocity, plan, weights)(x, t).flatten()
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad


def test_a_plan_that_the_flow_ends_at_by_itself_changes_nothing() -> None:
    goal = torch.randn(1, 3, 2)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return (x - goal) / t[:, None, None].clamp(min=1e-6)

    noise, weights = torch.randn(1, 3, 2), torch.tensor(soft_mask(1, 2))
    plain = integrate(velocity, noise, 5)
    torch.testing.assert_close(integrate(guided(velocity, goal[:, :2], weights), noise, 5), plain)


def test_guidance_refuses_steps_that_have_times_of_their_own() -> None:
    follow = guided(lambda x, t: x, torch.ones(1, 2, 1), torch.ones(2))
    with pytest.raises(EngineError, match="one flow time"):
        integrate(follow, torch.zeros(1, 4, 1), 5, committed=torch.ones(1, 1, 1))


def test_committed_steps_come_close_to_the_plan_and_far_ones_are_left_to_the_policy() -> None:
    """A policy whose chunk is drawn to 0 in part: near steps follow the plan, the last step hardly moves."""

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return 0.7 * x

    noise, plan = torch.zeros(1, 8, 1), torch.ones(1, 6, 1)
    chunk = integrate(guided(velocity, plan, torch.tensor(soft_mask(3, 6))), noise, 10)[0, :, 0]
    assert chunk[:3].tolist() == pytest.approx([1.0] * 3, abs=0.15)
    assert (chunk[2:].diff() <= 1e-6).all()
    assert chunk[6:].tolist() == [0.0, 0.0]
