"""How a chunk goes on from the one that is being executed while it is computed (real-time chunking).

* trained: the steps that will have been executed are given to a policy that was trained to plan from them.
* guided: the flow is guided towards the running plan, for a policy that was not (`f1_ros.model.guided`).
* plain: the policy is told nothing; the timeline leads from the running plan to the new one.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, get_args

import numpy as np

from f1_ros.control.chunk import ActionChunk
from f1_ros.engine.protocol import EngineInfo, PolicySpec, Running
from f1_ros.errors import ConfigError

Continuity = Literal["auto", "trained", "guided", "plain"]
"""`auto` is `trained` for a policy that can, else `plain`."""
CONTINUITIES: tuple[str, ...] = get_args(Continuity)

RECENT = 100
"""Chunks that the delay is estimated from."""


class DelayEstimate:
    """How long after its observation a chunk goes out: the 95th percentile of the last `RECENT`.

    A high quantile, since what is committed needlessly is what the arm would have done anyway, and a step that was not
    committed in time is a splice. Over a window, so that a stall counts for as long as it is among the latest, and not
    for good; up to four in a full window do not count at all.
    """

    def __init__(self) -> None:
        self._delays_ns: deque[int] = deque(maxlen=RECENT)

    def add(self, delay_ns: int) -> None:
        """Take the delay of one chunk, ns; a negative one, of a clock set back, counts as 0."""
        self._delays_ns.append(max(0, delay_ns))

    @property
    def delay_ns(self) -> int | None:
        """The delay to reckon with, ns; None before the first chunk."""
        return round(float(np.percentile(list(self._delays_ns), 95))) if self._delays_ns else None


def check_continuity(spec: PolicySpec, continuity: Continuity, info: EngineInfo) -> None:
    """Refuse what the policy, or the engine that runs it, cannot do.

    Raises:
        ConfigError: saying what would do.
    """
    if continuity == "trained" and not spec.trained_prefix_steps:
        raise ConfigError(
            f"Policy '{spec.name}' was not trained to plan from a committed prefix.",
            remedy="Choose the continuity auto, guided or plain, or train it with policy.prefix_steps_max above 0.",
        )
    if continuity == "guided" and not info.guides:
        raise ConfigError(
            f"Guidance takes gradients, and engine {info} has none.",
            remedy="Choose another continuity, or engine torch.",
        )
    if continuity == "guided" and spec.trained_near_steps:
        raise ConfigError(
            f"Policy '{spec.name}' has near steps ready ahead of the others, which guidance does not go with.",
            remedy="Choose another continuity, or set trained_near_steps to 0 in its policy.json.",
        )


def running_plan(
    plan: ActionChunk, spec: PolicySpec, stamp_ns: int, effect_ns: int, continuity: Continuity = "auto"
) -> Running | None:
    """What the next chunk is to go on from, at the instants of its own steps.

    Step i of the next chunk is due `first_step_offset + i` steps after its observation. Committed are those due by
    `effect_ns`; none is known beyond the plan's end.

    Args:
        plan: the chunk that is being executed, of the same policy.
        spec: the policy's.
        stamp_ns: stamp of the observation that the next chunk is computed from, ns.
        effect_ns: when that chunk is expected to take effect, ns.
        continuity: see above.

    Returns:
        The plan, linear between its steps where the next chunk's lie between them; None where the policy is to be told
        nothing, or nothing is committed.
    """
    guided = continuity == "guided"
    if continuity == "plain" or not (guided or spec.trained_prefix_steps):
        return None
    first_ns = stamp_ns + spec.first_step_offset * plan.step_ns
    if first_ns < plan.start_ns:  # from an older observation: the clock was set back
        return None
    known = (plan.end_ns - first_ns) // plan.step_ns + 1
    committed = min(known, (effect_ns - first_ns) // plan.step_ns + 1)
    if not guided:
        committed = known = min(committed, spec.trained_prefix_steps)
    if committed <= 0:
        return None
    due = first_ns - plan.start_ns + plan.step_ns * np.arange(min(known, spec.chunk_size))
    steps = np.arange(len(plan.positions))
    actions = np.array([np.interp(due / plan.step_ns, steps, column) for column in plan.positions.T]).T
    return Running(actions, committed=min(committed, len(actions)), guided=guided)
