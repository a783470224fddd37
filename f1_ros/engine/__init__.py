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
    from f1_ros.engine.policy import load_policy_file
    from f1_ros.engine.policy_engine import PolicyEngine, policy_layout
    from f1_ros.engine.stages import TorchStages
    from f1_ros.model.checkpoint import load_policy_network

    file = load_policy_file(policy_dir)
    network = load_policy_network(policy_dir).requires_grad_(False)
    stages = TorchStages(network, policy_layout(policy_dir, file, network.config, foresight != "skipped"))
    return PolicyEngine(policy_dir, file, stages, threads=threads, foresight=foresight)
