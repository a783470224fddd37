"""The action chunk: what the engine plans and the control process executes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ChunkError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ActionChunk:
    """A plan of absolute joint positions at a fixed step period.

    Attributes:
        robot: name of the profile that the chunk is for.
        stamp_ns: stamp of the observation it was computed from, ns on the ROS clock.
        start_ns: the instant at which the first step is to be reached, ns on the same clock.
        step_ns: time between steps, ns.
        joint_names: order of the columns: the profile's action layout (arm joints, then grippers).
        positions: (steps, joints); rad for joints, m of opening width for grippers.
        latency_ns: time the model took, ns.

    Raises:
        ChunkError: on a wrong shape, no steps, NaN or infinity, or a step period that is not positive.
    """

    robot: str
    stamp_ns: int
    start_ns: int
    step_ns: int
    joint_names: tuple[str, ...]
    positions: Array
    latency_ns: int = 0

    def __post_init__(self) -> None:
        p = self.positions
        if p.ndim != 2 or p.shape[0] == 0 or p.shape[1] != len(self.joint_names):
            raise ChunkError(
                f"Action chunk has shape {p.shape}, expected (steps >= 1, {len(self.joint_names)} joints).",
                remedy="Check that the policy's action layout is the profile's.",
            )
        if not np.isfinite(p).all():
            raise ChunkError(
                "Action chunk holds NaN or infinity.",
                remedy="Check the policy's normalisation statistics and its inputs.",
            )
        if self.step_ns <= 0:
            raise ChunkError(
                f"Action chunk has a step period of {self.step_ns} ns.",
                remedy="Give the policy's step period in policy.json.",
            )

    @property
    def end_ns(self) -> int:
        """Instant of the last step, ns."""
        return self.start_ns + (len(self.positions) - 1) * self.step_ns
