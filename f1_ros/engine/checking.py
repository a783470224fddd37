"""Run the gate on a compiled engine, and leave the record beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from f1_ros.engine.gate import check
from f1_ros.engine.gate_record import GateRecord, make_record
from f1_ros.engine.manifest import EngineManifest, sha256
from f1_ros.engine.opening import compiled_stages, torch_stages
from f1_ros.engine.policy import load_policy_file
from f1_ros.engine.recorded import CHECK_FILE, Recorded, load
from f1_ros.robots.profile import RobotProfile, profile_for

Progress = Callable[[int, int], None]
"""Called with how many observations are done, and of how many."""


def check_engine(
    policy_dir: Path,
    folder: Path,
    manifest: EngineManifest,
    recorded: Sequence[Recorded],
    data: str,
    *,
    profile: RobotProfile | None = None,
    progress: Progress = lambda done, total: None,
) -> GateRecord:
    """Compare an engine with PyTorch and write the record.

    Args:
        policy_dir: the policy.
        folder: the engine's directory, which was made for this policy (`opening.built_engine`).
        manifest: its manifest.
        recorded: observations to run.
        data: what they are of, for the record.
        profile: the robot's; the packaged one of the policy's embodiment if None.
        progress: told of each observation.

    Raises:
        ConfigError: if no packaged profile is of that embodiment, or the one given is of another robot; if the record
            cannot be written.
        EngineError: if the engine cannot be loaded, or an observation does not fit the policy.
    """
    file = load_policy_file(policy_dir)
    profile = profile or profile_for(file.spec.robot)
    compiled = compiled_stages(policy_dir, folder, manifest, manifest.config.threads)
    try:
        verdict = check(
            policy_dir,
            file,
            profile,
            recorded,
            torch_stages(policy_dir, file, foresight_scales=manifest.config.foresight_scales),
            compiled,
            manifest.precision,
            flow_steps=manifest.config.flow_steps,
            progress=progress,
        )
    finally:
        compiled.close()
    record = make_record(folder, manifest, verdict, profile.name, data)
    record.save(folder)
    return record


def shipped_observations(policy_dir: Path) -> tuple[list[Recorded], str]:
    """The observations that a policy directory brings along, and what to call them in a record.

    Raises:
        DataError: if there are none, or they do not fit.
    """
    path = policy_dir / CHECK_FILE
    return load(path, load_policy_file(policy_dir).spec), sha256(path)
