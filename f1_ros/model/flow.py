"""Flow time, and how it runs over the steps of a chunk while noise (t = 1) becomes actions (t = 0).

All steps of a chunk may share one time, as released. Or each has its own:

* A committed prefix: actions that will already have been executed when the chunk arrives are given, at time 0, in
  training (a random number of them, their loss masked) and at inference, so that the rest is planned from them
  ("training-time RTC", arXiv 2512.05964).
* A horizon-aware schedule: near steps are through after the first flow step and can be sent at once, far ones are
  refined in all of them (after FASTER, arXiv 2603.19199).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

TIME_PERIODS = (4e-3, 4.0)  # shortest and longest period of the flow time's sinusoids


def time_embedding(t: Tensor, width: int) -> Tensor:
    """Sines, then cosines of t (...), periods spaced geometrically over `TIME_PERIODS`: (..., width) float64."""
    shortest, longest = TIME_PERIODS
    fraction = torch.linspace(0.0, 1.0, width // 2, dtype=torch.float64, device=t.device)
    period = shortest * (longest / shortest) ** fraction
    phase = (1.0 / period * 2 * math.pi) * t[..., None]
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


def step_times(t: Tensor, committed: Tensor, chunk: int, *, near: int = 0, flow_steps: int = 1) -> Tensor:
    """Each step's own time where the flow as a whole is at t (B,): (B, chunk).

    Args:
        t: (B,) 1 at the start, 0 at the end.
        committed: (B,) how many steps at the front of the chunk are given: their time is 0.
        chunk: steps in the chunk.
        near: with the horizon-aware schedule, how many steps after the committed ones are through after the first of
            `flow_steps`; 0: all but the committed ones share t.
        flow_steps: flow steps at inference.

    The schedule: step i reaches 0 when t reaches its hit time u_i, and runs there linearly,
    t_i = max(0, (t - u_i) / (1 - u_i)). u is 1 - 1 / flow_steps for near steps, and from the last of them falls
    linearly to 0 at the chunk's end.
    """
    step = torch.arange(chunk, device=t.device) - committed[:, None]  # counted from the first that is not given
    own = t[:, None].expand(-1, chunk)
    if near:
        beyond = (chunk - committed[:, None] - near).clamp(min=1)
        hit = (flow_steps - 1) / flow_steps * (1 - ((step - near + 1) / beyond).clamp(0, 1))
        own = ((own - hit) / (1 - hit)).clamp(min=0)
    return own.masked_fill(step < 0, 0.0)


def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    steps: int,
    *,
    committed: Tensor | None = None,
    near: int = 0,
    on_near: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Follow the flow from noise x_1 (B, chunk, A) to actions x_0 by Euler steps.

    Args:
        velocity: gives the velocity (B, chunk, A) at x (B, chunk, A) and times (B,), or (B, chunk) with `committed` or
            `near`.
        noise: (B, chunk, A).
        steps: Euler steps.
        committed: (B, n, A) first steps of the chunk, which are given; they come out as they are.
        near: see `step_times`.
        on_near: called after the first Euler step with x (B, chunk, A): its first n + near steps are final.
    """
    batch, chunk = noise.shape[:2]
    if committed is None and not near:
        # Time is added up in float32 as upstream does: the fastest sinusoid turns a rounding error of 1e-7 in t into
        # 1e-4 of phase.
        dt = torch.tensor(-1.0 / steps, dtype=torch.float32, device=noise.device)
        t = torch.ones(batch, dtype=torch.float32, device=noise.device)
        x = noise
        for _ in range(steps):
            x = x + dt.to(x.dtype) * velocity(x, t)
            t = t + dt
        return x
    given = 0 if committed is None else committed.shape[1]
    x = noise if committed is None else torch.cat([committed, noise[:, given:]], dim=1)
    counts = torch.full((batch,), given, device=noise.device)
    for k in range(steps):
        t, after = (
            step_times(
                torch.full((batch,), (steps - i) / steps, device=noise.device),
                counts,
                chunk,
                near=near,
                flow_steps=steps,
            )
            for i in (k, k + 1)
        )
        x = x + (after - t).to(x.dtype)[..., None] * velocity(x, t)
        if k == 0 and on_near is not None:
            on_near(x)
    return x
