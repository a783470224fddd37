"""What runs a policy: `open_engine(directory)` gives an `Engine` (see `protocol.py`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from f1_ros.engine.protocol import Engine, ForesightUse


def open_engine(
    policy_dir: Path,
    engine: str = "torch",
    threads: int = 0,
    *,
    foresight: ForesightUse = "own",
    say: Callable[[str], None] = lambda line: None,
) -> Engine:
    """Load a policy directory into an engine.

    Args:
        policy_dir: see `f1_ros.engine.policy`.
        engine: a name in config/engines (torch, onnxruntime, ...), a YAML file like those, a directory that
            `f1-ros engine build` made, or auto (`opening.automatic`). One that is to be compiled and has no directory
            is built into the user's cache on first use.
        threads: CPU threads that it may use; 0: as the engine's configuration says.
        foresight: see `ForesightUse`; a robot runs with "own".
        say: told what takes long.

    Raises:
        ConfigError: for an unknown engine, or a use of foresight that the policy does not have.
        CheckpointError: if the policy cannot be loaded whole.
        EngineError: if a compiled engine is damaged, of another policy, or its package is missing.
    """
    from f1_ros.engine.opening import open_policy_engine

    return open_policy_engine(policy_dir, engine, threads, foresight, say)
