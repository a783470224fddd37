"""The counters that a status and a recording show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from f1_ros.control.timeline import PushOutcome


def tally(
    counts: Mapping[str, int], timeline: Mapping[str, int], faults: Mapping[str, int], mode_changes: int
) -> dict[str, int]:
    """Counts since the start: ticks, limited, chunks, dropped (steps), rejected, and each cause of the last.

    `limited_by_lead` and `limited_by_workspace` are ticks in which the command waited for a joint that lags behind, or
    was kept from leaving the workspace. `mode_changes` are those that a command shows. The causes: `rejected_chunk_*`
    (see PushOutcome; `superseded`: newer ones came before a tick) and `rejected_teleop_*` (see Refusal), which add up
    to `rejected`; `rejected_state` and `fault_*`.

    Args:
        counts: the controller's own. timeline: `ChunkTimeline.counters`. faults: `Arbiter.faults`.
        mode_changes: how often the mode that commands show has changed.
    """
    causes = Counter({name: n for name, n in counts.items() if name.startswith("rejected_")})
    state = causes.pop("rejected_state", 0)
    causes.update({f"rejected_chunk_{o.value}": timeline[o.value] for o in PushOutcome})
    del causes["rejected_chunk_accepted"]
    own = ("ticks", "limited", "limited_by_lead", "limited_by_workspace", "clock_resets")
    return {
        **{name: counts.get(name, 0) for name in own},
        "chunks": timeline[PushOutcome.ACCEPTED.value],
        "dropped": timeline["steps_dropped"],
        "rejected": causes.total(),
        "rejected_state": state,
        "mode_changes": mode_changes,
        **causes,
        **{f"fault_{name}": n for name, n in faults.items()},
    }
