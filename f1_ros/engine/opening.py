"""Which engine runs a policy, and where a compiled one lies.

A compiled engine that nobody built is built on first use into the user's cache, `$XDG_CACHE_HOME/f1_ros/engines` or
`~/.cache/f1_ros/engines`, in a directory named by everything that decides what is in it: the policy's files, the
configuration, this code and the tools' versions. So a policy never finds an engine that is not its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from f1_ros.engine.config import AUTO, EngineConfig, choose_engine, everywhere, load_engine_config
from f1_ros.engine.export import build_engine, buildable, tool_versions
from f1_ros.engine.gate_record import FAILED, objection
from f1_ros.engine.layout import Layout, StageRunner
from f1_ros.engine.manifest import (
    EngineManifest,
    check_source,
    code_hash,
    load_manifest,
    model_hashes,
    rebuild_command,
)
from f1_ros.engine.policy import PolicyFile, load_policy_file
from f1_ros.engine.policy_engine import PolicyEngine, policy_layout, with_scales
from f1_ros.engine.protocol import ForesightUse
from f1_ros.engine.recorded import CHECK_FILE
from f1_ros.engine.stages import TorchStages
from f1_ros.errors import ConfigError, EngineError, F1Error
from f1_ros.model.checkpoint import load_policy_network, read_config

Say = Callable[[str], None]

COMPILED = "onnxruntime"
"""What `auto` compiles a policy with."""


def open_policy_engine(policy_dir: Path, engine: str, threads: int, foresight: ForesightUse, say: Say) -> PolicyEngine:
    """See `f1_ros.engine.open_engine`."""
    file = load_policy_file(policy_dir)
    if engine == AUTO:
        engine = automatic(policy_dir, say)
    choice = choose_engine(engine)
    if isinstance(choice, EngineConfig) and choice.backend == "torch":
        config = choice
        stages = torch_stages(policy_dir, file, foresight, config.foresight_scales)
    else:
        if isinstance(choice, Path):
            folder, manifest = choice, built_engine(policy_dir, choice)
        else:
            folder, manifest = cached_engine(policy_dir, engine, say)
        config = manifest.config
        stages = compiled_stages(policy_dir, folder, manifest, threads or config.threads)
    threads = threads or config.threads
    return PolicyEngine(policy_dir, file, stages, threads=threads, foresight=foresight, flow_steps=config.flow_steps)


def automatic(policy_dir: Path, say: Say) -> str:
    """What `auto` stands for: the directory of the policy's compiled engine if it may drive a robot here, or torch.

    The engine is built and checked where that has not been done; a policy that brings no observations to check it by
    runs in torch.

    Args:
        policy_dir: the policy.
        say: told what is done, and why it is torch.

    Raises:
        CheckpointError: if the policy is damaged.
    """
    if not (policy_dir / CHECK_FILE).is_file():
        say(f"Engine torch: {policy_dir} has no {CHECK_FILE} to check a compiled engine by (docs/engines.md).")
        return "torch"
    try:
        folder, manifest = cached_engine(policy_dir, COMPILED, say)
        reason = objection(folder, manifest)
    except (EngineError, ConfigError, OSError) as error:  # no package, or no room for it
        reason = str(error)
    if reason:
        say(f"Engine torch, not {COMPILED}: {reason}")
        return "torch"
    return str(folder)


def torch_stages(
    policy_dir: Path, file: PolicyFile, foresight: ForesightUse = "own", foresight_scales: int = 0
) -> StageRunner:
    """The stages of a policy in eager PyTorch.

    Raises:
        CheckpointError: if the policy cannot be loaded whole.
        ConfigError: if it does not predict so many scales.
    """
    network = load_policy_network(policy_dir).requires_grad_(False)
    layout = policy_layout(policy_dir, file, network.config, foresight != "skipped", foresight_scales)
    return TorchStages(network, layout)


def compiled_stages(policy_dir: Path, folder: Path, manifest: EngineManifest, threads: int) -> StageRunner:
    """The stages of a compiled engine, whose directory has been checked.

    Raises:
        EngineError: if its package is missing or cannot load it.
    """
    config = with_scales(policy_dir, read_config(policy_dir), manifest.config.foresight_scales)
    layout = Layout(config, manifest.images, manifest.words, manifest.foresight)
    if manifest.config.backend == "tensorrt_rtx":
        from f1_ros.engine.tensorrt_rtx import TensorRtRtxStages

        return TensorRtRtxStages(folder, manifest, layout)
    from f1_ros.engine.ort_stages import OrtStages

    return OrtStages(folder, manifest, layout, threads)


def built_engine(policy_dir: Path, folder: Path) -> EngineManifest:
    """The manifest of a directory that `f1-ros engine build` made for this policy.

    Raises:
        EngineError: if it is damaged, or was made for another policy or by another version of f1_ros.
    """
    rebuild = rebuild_command(policy_dir, folder)
    manifest = load_manifest(folder, rebuild)
    check_source(manifest, folder, policy_dir, rebuild)
    return manifest


def cache_dir() -> Path:
    """Where engines lie that were built on first use."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "f1_ros" / "engines"


def cached_engine(policy_dir: Path, engine: str, say: Say) -> tuple[Path, EngineManifest]:
    """The compiled engine of a configuration in the user's cache; built if it is not there or is damaged.

    An engine that was never checked on this kind of machine is, if the policy brings observations along.

    Args:
        policy_dir: the policy.
        engine: name or YAML file of the configuration.
        say: told what is built, where, and how far it is.

    Raises:
        EngineError: if it cannot be built.
    """
    config = buildable(load_engine_config(engine))
    name = re.sub(r"[^\w.-]", "_", load_policy_file(policy_dir).spec.name)
    folder = cache_dir() / f"{name}-{_key(policy_dir, config)}"
    manifest = None
    if folder.exists():
        try:
            manifest = load_manifest(folder, rebuild_command(policy_dir, folder, engine, config.gpu))
        except EngineError as error:
            say(f"{error.problem} It is built anew.")
            shutil.rmtree(folder)
    if manifest is None:
        say(f"Building engine {engine} of {policy_dir} into {folder}: about a minute, once.")

        def progress(what: str, done: int, total: int) -> None:
            say(f"Building engine {engine}: {done} of {total} stages, {what}.")

        manifest = build_engine(policy_dir, config, folder, engine=everywhere(engine), progress=progress)
    _check(policy_dir, folder, manifest, say)
    return folder, manifest


def _check(policy_dir: Path, folder: Path, manifest: EngineManifest, say: Say) -> None:
    """Run the gate on an engine that has no record for this machine, if the policy has observations for it."""
    from f1_ros.engine.checking import check_engine, shipped_observations

    reason = objection(folder, manifest)
    if not reason or reason.startswith(FAILED) or not (policy_dir / CHECK_FILE).is_file():
        return
    say(f"Checking the engine against PyTorch, since {reason}.")
    try:
        recorded, data = shipped_observations(policy_dir)
        record = check_engine(policy_dir, folder, manifest, recorded, data)
    except F1Error as error:  # an engine that is not checked can still be opened, in simulation for one
        say(f"It cannot be checked: {error}")
    else:
        say("It passed." if record.passed else f"{folder} is out of bounds: {', '.join(record.failed)}.")


def _key(policy_dir: Path, config: EngineConfig) -> str:
    parts = {
        "model": model_hashes(policy_dir),
        "code": code_hash(),
        "config": dataclasses.asdict(config),
        "tools": tool_versions(config.backend),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
