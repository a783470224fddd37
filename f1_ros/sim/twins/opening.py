"""Opens the world that a twin's configuration is of."""

from __future__ import annotations

from f1_ros.sim.twins.config import Genie1Config, TwinConfig
from f1_ros.sim.twins.genie1 import Genie1World
from f1_ros.sim.twins.lift2 import Lift2World
from f1_ros.sim.twins.world import TwinWorld


def open_twin(config: TwinConfig) -> TwinWorld:
    """Build a twin at its task."""
    return Genie1World(config) if isinstance(config, Genie1Config) else Lift2World(config)
