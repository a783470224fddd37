"""Guiding the flow towards a plan that is already being executed: real-time chunking without training for it.

After "Real-Time Execution of Action Chunking Flow Policies" (arXiv 2506.07339, algorithm 1 and equations 2 to 5), with
this project's flow time, which runs from t = 1 (noise) to 0 (actions): t = 1 - tau, and the velocity points the other
way. At each flow step the actions that the flow would end at are estimated, a_0 = x - t v(x, t); what they lack of the
plan, weighted by step, is carried back through the network (a vector-Jacobian product) and added to the velocity.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from f1_ros.errors import EngineError

GUIDANCE_LIMIT = 5.0
"""Largest weight of the guidance, beta of the paper: with few flow steps more of it is unstable."""


def soft_mask(committed: int, planned: int) -> list[float]:
    """Weights of the plan's steps, (planned,): 1 for those that are committed, falling to 0 after the last one.

    Equation 5: c (e^c - 1) / (e - 1), c falling linearly over the steps that are planned but not committed.
    """
    falling = [(planned - step) / (planned - committed + 1) for step in range(committed, planned)]
    return [1.0] * committed + [c * math.expm1(c) / math.expm1(1.0) for c in falling]


def guided(
    velocity: Callable[[Tensor, Tensor], Tensor], plan: Tensor, weights: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    """The velocity, guided towards the plan; for `flow.integrate`.

    Args:
        velocity: gives (B, chunk, A) at x (B, chunk, A) and one time for all of t (B,); differentiable in x.
        plan: (B, n, A) what the first n steps of the chunk should be.
        weights: (n,) of `soft_mask`.

    The function that is returned raises EngineError where steps have flow times of their own.
    """

    def corrected(x: Tensor, t: Tensor) -> Tensor:
        if t.ndim != 1:
            raise EngineError(
                "Guidance wants one flow time for all steps of a chunk.", remedy="Give no committed and no near steps."
            )
        at = float(t[0])
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            v = velocity(x, t)
            ahead = (x - at * v)[:, : plan.shape[1]]
            lacking = (plan - ahead.detach()) * weights[:, None]
            (pull,) = torch.autograd.grad(ahead, x, lacking)
        variance = at**2 / (at**2 + (1 - at) ** 2)
        gain = GUIDANCE_LIMIT if at >= 1.0 else min(GUIDANCE_LIMIT, at / ((1 - at) * variance))
        return v.detach() - gain * pull

    return corrected
