"""Observations in a simulator that waits for its policy: all that is seen is of one instant, and nothing is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from f1_ros.observe.observation import Observation
from f1_ros.observe.preprocess import camera_tensor, history_frame

if TYPE_CHECKING:
    from f1_ros.engine.protocol import PolicySpec


def observe(
    spec: PolicySpec,
    pictures: Sequence[NDArray[np.uint8]],
    frames: Sequence[tuple[int, NDArray[np.uint8]]],
    state: NDArray[np.float64],
) -> Observation:
    """What the policy sees, preprocessed as in the live system.

    Args:
        spec: the policy's.
        pictures: (H, W, 3) uint8 RGB of each of its cameras, as of now.
        frames: stamp (ns) and picture of camera 0 at each step so far, the last of them now. The oldest stands for
            older ones that are asked for.
        state: (S,) state as of now.
    """
    newest, now = len(frames) - 1, frames[-1][0]
    past = [frames[max(newest + offset, 0)] for offset in spec.history_offsets]
    return Observation(
        stamp_ns=now,
        cameras=spec.cameras,
        camera_stamps_ns=(now,) * len(spec.cameras),
        images=np.stack([camera_tensor(picture, spec.image_size) for picture in pictures]),
        history=np.stack([history_frame(p, spec.history_resize, spec.history_size) for _, p in past]),
        history_stamps_ns=tuple(stamp for stamp, _ in past),
        state_names=spec.state_names,
        state=state,
    )
