"""The observation: what the cameras and the joints said at one instant, ready for the engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Observation:
    """One time-matched set of camera frames with the robot's state at its stamp.

    Attributes:
        stamp_ns: stamp of the set (that of camera 0's frame), ns on the ROS clock.
        cameras: names of the cameras in the model's order; a missing camera is left out.
        camera_stamps_ns: header stamp of each camera's frame, ns.
        images: (cameras, 3, S, S) float32 in [-1, 1], RGB, preprocessed as the model wants it.
        history: (T, 3, H, W) uint8 RGB of camera 0, oldest first, preprocessed.
        history_stamps_ns: (T,) stamps of the history frames, ns; the last one is `stamp_ns`.
        state_names: order of `state`: the profile's state layout (arm joints, then grippers).
        state: (joints,) rad for joints, m of opening width for grippers, interpolated to `stamp_ns`.
    """

    stamp_ns: int
    cameras: tuple[str, ...]
    camera_stamps_ns: tuple[int, ...]
    images: NDArray[np.float32]
    history: NDArray[np.uint8]
    history_stamps_ns: tuple[int, ...]
    state_names: tuple[str, ...]
    state: NDArray[np.float64]

    @property
    def skew_ns(self) -> int:
        """Largest distance between two cameras' stamps, ns."""
        return max(self.camera_stamps_ns) - min(self.camera_stamps_ns)
