"""What will be executed of the running plan while the next chunk is computed: the prefix that it is planned from."""

from __future__ import annotations

import numpy as np

from f1_ros.control.chunk import ActionChunk
from f1_ros.engine.protocol import Array, PolicySpec


def committed_actions(plan: ActionChunk, spec: PolicySpec, stamp_ns: int, effect_ns: int) -> Array:
    """Actions of the running plan at the first steps of the next chunk, up to when that takes effect.

    Step i of the next chunk is due `first_step_offset + i` steps after its observation. Committed are those due by
    `effect_ns`, at most `trained_prefix_steps`, and none beyond the plan's end: what happens there is not known.

    Args:
        plan: the chunk that is being executed, of the same policy.
        spec: the policy's.
        stamp_ns: stamp of the observation that the next chunk is computed from, ns.
        effect_ns: when that chunk is expected to take effect, ns.

    Returns:
        (n, joints) absolute positions (rad, m), linear between the plan's steps where the next chunk's lie between
        them; n is 0 where nothing is committed.
    """
    first_ns = stamp_ns + spec.first_step_offset * plan.step_ns
    if first_ns < plan.start_ns:  # from an older observation: the clock was set back
        return np.zeros((0, plan.positions.shape[1]))
    count = (min(effect_ns, plan.end_ns) - first_ns) // plan.step_ns + 1
    due = first_ns - plan.start_ns + plan.step_ns * np.arange(min(max(count, 0), spec.trained_prefix_steps))
    steps = np.arange(len(plan.positions))
    return np.array([np.interp(due / plan.step_ns, steps, column) for column in plan.positions.T]).T
