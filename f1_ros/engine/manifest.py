"""What a compiled engine is of: `manifest.json` in its directory, and whether that directory is whole.

    manifest.json     EngineManifest
    STAGE.onnx        each stage of the network, and
    weights.data      the stages' weights, each once; or
    STAGE.engine      each stage with its weights, for TensorRT-RTX

A directory appears whole or not at all (it is written beside its place and renamed), every file's hash is checked
before it is loaded, and the policy's own files must be those that it was made from.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import f1_ros
from f1_ros.config import load_yaml
from f1_ros.engine.config import EngineConfig, Precision
from f1_ros.engine.layout import Signature
from f1_ros.engine.policy import POLICY_FILE
from f1_ros.errors import ConfigError, EngineError
from f1_ros.model.checkpoint import CONFIG_FILE, WEIGHTS_FILE

MANIFEST_FILE = "manifest.json"
POLICY_FILES = (WEIGHTS_FILE, CONFIG_FILE, POLICY_FILE)
"""What an engine is made from; a golden directory has no policy.json."""
CODE = ("layout.py", "stages.py", "export.py", "half.py", "tensorrt_rtx.py")
"""What beside f1_ros/model/ decides what a stage computes."""


@dataclass(frozen=True)
class EngineManifest:
    """Contents of `manifest.json`.

    Attributes:
        policy: name of the policy, or of the directory that has none.
        robot: the profile that it was trained on; empty for a network without a policy.
        source: where it was built from, for messages.
        model: sha256 of each of `POLICY_FILES` that there is.
        code: sha256 of the part of f1_ros that decides what a stage computes.
        engine: what `f1-ros engine build` was told to build: a name in config/engines, or a YAML file.
        config: how it is to be run.
        images: images that the network sees at once.
        words: language tokens.
        foresight: whether foresight is predicted.
        precision: of each stage.
        stages: inputs and outputs of each stage.
        tools: versions of what it was built with, by package.
        opset: ONNX opset of the stages.
        files: sha256 of every other file of the directory.
        format: of the directory.
    """

    policy: str
    robot: str
    source: str
    model: dict[str, str]
    code: str
    config: EngineConfig
    images: int
    words: int
    foresight: bool
    precision: dict[str, Precision]
    stages: dict[str, Signature]
    tools: dict[str, str]
    opset: int
    files: dict[str, str]
    engine: str = ""
    format: Literal[1] = 1

    def save(self, folder: Path) -> None:
        """Write `manifest.json`."""
        (folder / MANIFEST_FILE).write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def rebuild_command(policy_dir: Path | str, folder: Path, engine: str = "", gpu: str = "") -> str:
    """The command that makes an engine's directory anew, for messages.

    Args:
        policy_dir: the policy.
        folder: the engine's directory.
        engine: what it is to be built from; empty: what its manifest says, if that can still be read.
        gpu: what it is to be built for; empty: as the manifest says.
    """
    try:
        before = json.loads((folder / MANIFEST_FILE).read_text())
        engine, gpu = engine or str(before["engine"]), gpu or str(before["config"]["gpu"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there is none, or it is damaged: the command then builds its own default
    options = {"--policy": str(policy_dir), "--engine": engine, "--out": str(folder), "--gpu": gpu}
    given = [word for option, value in options.items() if value for word in (option, value)]
    return shlex.join(["f1-ros", "engine", "build", *given])


def load_manifest(folder: Path, rebuild: str) -> EngineManifest:
    """Read a compiled engine's manifest, and check every file that it lists.

    Args:
        folder: the engine's directory.
        rebuild: the command that makes it anew, for messages.

    Raises:
        EngineError: if the directory is none, half written or altered.
    """
    path = folder / MANIFEST_FILE
    remedy = f"Build it anew: {rebuild}."
    if not path.is_file():
        raise EngineError(f"{folder} holds no compiled engine: {MANIFEST_FILE} is missing.", remedy=remedy)
    try:
        manifest = load_yaml(path, EngineManifest)
    except ConfigError as error:
        raise EngineError(f"{error.problem}", remedy=remedy) from error
    for name, expected in manifest.files.items():
        if not (folder / name).is_file():
            raise EngineError(f"{folder}: {name} is missing.", remedy=remedy)
        if sha256(folder / name) != expected:
            raise EngineError(f"{folder}: {name} is not what was built.", remedy=remedy)
    suffix = ".engine" if manifest.config.backend == "tensorrt_rtx" else ".onnx"
    missing = [stage for stage in manifest.stages if f"{stage}{suffix}" not in manifest.files]
    if missing:
        raise EngineError(f"{folder}: the manifest lists no file for {', '.join(missing)}.", remedy=remedy)
    return manifest


def check_source(manifest: EngineManifest, folder: Path, policy_dir: Path, rebuild: str) -> None:
    """Refuse an engine of another policy, or of another version of f1_ros.

    Raises:
        EngineError: naming what differs.
    """
    now = model_hashes(policy_dir)
    changed = [name for name in POLICY_FILES if now.get(name) != manifest.model.get(name)]
    if changed:
        raise EngineError(
            f"{folder} was built from another {', '.join(changed)} than that of {policy_dir}.",
            remedy=f"Build it anew: {rebuild}.",
        )
    if manifest.code != code_hash():
        raise EngineError(f"{folder} was built by another version of f1_ros.", remedy=f"Build it anew: {rebuild}.")


def model_hashes(policy_dir: Path) -> dict[str, str]:
    """sha256 of each of `POLICY_FILES` that the directory has."""
    return {name: sha256(policy_dir / name) for name in POLICY_FILES if (policy_dir / name).is_file()}


def code_hash() -> str:
    """sha256 of the part of f1_ros that decides what a stage computes."""
    package = Path(f1_ros.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*(package / "model").glob("*.py"), *(package / "engine" / name for name in CODE)]):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
