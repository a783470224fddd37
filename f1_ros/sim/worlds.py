"""The simulated worlds by name: what `world:` in a file of config/sim says, and what opens it.

    config = load_world_config(Path("config/sim/genie1.yaml"))
    world = open_world(config)

A file without `world:` is of the Franka's belt.
"""

from __future__ import annotations

from pathlib import Path

from f1_ros.config import load_yaml, yaml_value
from f1_ros.errors import ConfigError
from f1_ros.sim.config import BeltConfig, load_belt_config
from f1_ros.sim.twins.config import Genie1Config, Lift2Config, TwinConfig
from f1_ros.sim.twins.opening import open_twin
from f1_ros.sim.twins.world import TwinWorld
from f1_ros.sim.world import BeltWorld

WorldConfig = BeltConfig | TwinConfig
_TWINS = {"genie1": Genie1Config, "arx_lift2": Lift2Config}


def load_world_config(path: Path | None = None) -> WorldConfig:
    """Read the configuration of a world; without a path the packaged belt's.

    Raises:
        ConfigError: naming file, key and remedy, if the file is missing or wrong, or names no world that there is.
    """
    name = _world_name(path) if path is not None and path.is_file() else None
    if path is None or name is None:
        return load_belt_config(path)
    kind = _TWINS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ConfigError(
            f"{path}: there is no world '{name}'.",
            remedy=f"Give one of {', '.join(_TWINS)}, or leave `world` out for the Franka's belt.",
        )
    config: TwinConfig = load_yaml(path, kind)
    return config


def _world_name(path: Path) -> object:
    """What the file says of its world; None if it says nothing or is no mapping: its loader then says what is wrong."""
    try:
        data = yaml_value(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, ConfigError):
        return None
    return data.get("world") if isinstance(data, dict) else None


def open_world(config: WorldConfig) -> BeltWorld | TwinWorld:
    """Build a world."""
    return BeltWorld(config) if isinstance(config, BeltConfig) else open_twin(config)
