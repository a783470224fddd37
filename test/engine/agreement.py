"""What a compiled engine in float32 must have in common with the eager one."""

from __future__ import annotations

import numpy as np

from f1_ros.engine.protocol import Engine
from f1_ros.observe.observation import Observation


def assert_as_eager(eager: Engine, compiled: Engine, observation: Observation) -> None:
    """Codes are identical, actions within 1e-4 (rad, m), pictures within one step of a pixel's value."""
    for seed in range(3):
        one, other = (engine.infer(observation, "pick the cube", seed) for engine in (eager, compiled))
        assert one.foresight is not None and other.foresight is not None
        assert np.array_equal(one.foresight.codes, other.foresight.codes)
        assert np.abs(one.actions - other.actions).max() < 1e-4
        pictures = [engine.decode_foresight(one.foresight).astype(int) for engine in (eager, compiled)]
        assert np.abs(pictures[0] - pictures[1]).max() <= 1
