"""What runs a policy: `open_engine(directory)` gives an `Engine` (see `protocol.py`)."""

from __future__ import annotations

from pathlib import Path

from f1_ros.engine.protocol import Engine, ForesightUse
from f1_ros.errors import ConfigError

BACKENDS = ("torch",)


def open_engine(
    policy_dir: Path, backend: str = "torch", threads: int = 1, *, foresight: ForesightUse = "own"
) -> Engine:
    """Load a policy directory into the engine of the given backend.

    Args:
        policy_dir: see `f1_ros.engine.policy`.
        backend: one of `BACKENDS`.
        threads: CPU threads that the engine may use.
        foresight: see `ForesightUse`; a robot runs with "own".

    Raises:
        ConfigError: for an unknown backend, or a use of foresight that the policy does not have.
        CheckpointError: if the directory cannot be loaded whole.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"engine backend '{backend}' is unknown.", remedy=f"Use one of: {', '.join(BACKENDS)}.")
    from f1_ros.engine.torch_engine import TorchEngine

    return TorchEngine(policy_dir, threads=threads, foresight=foresight)
