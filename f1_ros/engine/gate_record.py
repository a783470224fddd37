"""The gate's record, `check.json` in a compiled engine's directory, and who may run on its word.

A record counts for one engine (its manifest to the byte, and with it the policy's files, the configuration, the code
and every stage), on one class of device, with one version of what runs it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from f1_ros.config import load_yaml
from f1_ros.engine.bounds import BOUNDS, Bounds
from f1_ros.engine.config import Backend
from f1_ros.engine.gate import StageCheck, Verdict, WholeCheck
from f1_ros.engine.manifest import MANIFEST_FILE, EngineManifest, sha256
from f1_ros.engine.protocol import EngineInfo
from f1_ros.errors import ConfigError, EngineError

RECORD_FILE = "check.json"
UNKNOWN = "unknown"
_NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")
FAILED = "it did not pass its check"
_RUNTIMES: dict[Backend, tuple[str, ...]] = {
    "torch": (),
    "onnxruntime": ("onnxruntime",),
    "tensorrt_rtx": ("tensorrt-rtx",),
}
"""Packages whose version decides what a stage computes once it is built."""
_CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16")
"""What of a CPU chooses between kernels that round differently."""


@dataclass(frozen=True)
class GateRecord:
    """Contents of `check.json`.

    Attributes:
        passed: whether everything was within bounds.
        failed: stages that were not, or "end to end".
        engine: sha256 of the engine's `manifest.json`.
        model: sha256 of the policy's files.
        config: sha256 of the engine's configuration.
        robot: the profile that the bounds of actions are from.
        device: class of the device that it ran on.
        versions: of what ran it.
        observations: how many were run, and
        data: sha256 of the file that they came from, or the dataset's path.
        bounds: by precision.
        stages, whole: what was found; see `gate.Verdict`.
        format: of the record.
    """

    passed: bool
    failed: tuple[str, ...]
    engine: str
    model: dict[str, str]
    config: str
    robot: str
    device: str
    versions: dict[str, str]
    observations: int
    data: str
    bounds: dict[str, Bounds]
    stages: dict[str, StageCheck]
    whole: WholeCheck
    format: int = 1

    def save(self, folder: Path) -> None:
        """Write it beside the engine; it appears whole or not at all.

        Raises:
            ConfigError: if the directory cannot be written.
        """
        beside = folder / f".{RECORD_FILE}.{os.getpid()}.partial"
        try:
            beside.write_text(json.dumps(_finite(dataclasses.asdict(self)), indent=1) + "\n")
            beside.replace(folder / RECORD_FILE)
        except OSError as error:
            raise ConfigError(
                f"{folder / RECORD_FILE} cannot be written ({error}).", remedy="Copy the engine to where you may write."
            ) from error
        finally:
            beside.unlink(missing_ok=True)


def make_record(folder: Path, manifest: EngineManifest, verdict: Verdict, robot: str, data: str) -> GateRecord:
    """The record of what the gate found of an engine on this machine."""
    config = json.dumps(dataclasses.asdict(manifest.config), sort_keys=True)
    return GateRecord(
        passed=not verdict.failed,
        failed=verdict.failed,
        engine=sha256(folder / MANIFEST_FILE),
        model=manifest.model,
        config=hashlib.sha256(config.encode()).hexdigest(),
        robot=robot,
        device=device_class(manifest.config.device),
        versions=runtime_versions(manifest.config.backend),
        observations=verdict.observations,
        data=data,
        bounds=bounds_of(manifest),
        stages=verdict.stages,
        whole=verdict.whole,
    )


def bounds_of(manifest: EngineManifest) -> dict[str, Bounds]:
    """The bounds of the precisions that an engine has."""
    used = set(manifest.precision.values())
    return {precision: bounds for precision, bounds in BOUNDS.items() if precision in used}


def load_record(folder: Path) -> GateRecord | None:
    """The record beside an engine; None if there is none, or it cannot be read."""
    if not (folder / RECORD_FILE).is_file():
        return None
    try:
        return load_yaml(folder / RECORD_FILE, GateRecord)
    except ConfigError:
        return None


def objection(folder: Path, manifest: EngineManifest) -> str:
    """Why an engine may not drive a robot on this machine; empty if its record says that it may.

    Args:
        folder: of the engine, whose manifest and files have been checked.
        manifest: its manifest.
    """
    record = load_record(folder)
    if record is None:
        return "it was not checked against PyTorch"
    if record.engine != sha256(folder / MANIFEST_FILE):
        return "its check is of another build"
    here = device_class(manifest.config.device)
    if record.device != here:
        return f"it was checked on '{record.device}', this is '{here}'"
    if here.endswith(UNKNOWN):
        return "nvidia-smi does not say which GPU this is"
    if record.versions != runtime_versions(manifest.config.backend):
        versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
        return f"it was checked with {versions}"
    if record.bounds != bounds_of(manifest):
        return "it was checked against other bounds"
    return "" if record.passed else f"{FAILED}: {', '.join(record.failed)}"


def refuse_unchecked(info: EngineInfo, policy_dir: Path) -> None:
    """Refuse an engine without a passing record for this model, configuration and class of device.

    Raises:
        EngineError: with the command that makes one.
    """
    if info.objection:
        raise EngineError(
            f"Engine {info} in {info.directory} may not drive a robot: {info.objection}.",
            remedy=f"Run f1-ros engine check {info.directory} --policy {policy_dir}; if it fails, use engine torch. "
            "With the parameter allow_unchecked_engine it is taken as it is.",
        )


def device_class(device: str) -> str:
    """What figures hold for: a kind of CPU, such as `cpu x86_64 avx2 avx512f`, or a GPU with its driver."""
    if device == "cuda":
        return f"cuda {_gpu() or UNKNOWN}"
    return " ".join(["cpu", platform.machine(), *(flag for flag in _CPU_FLAGS if flag in _cpu_flags())])


def _gpu() -> str:
    """Name, compute capability and driver of the first GPU; a Jetson's model where there is no nvidia-smi."""
    try:
        done = subprocess.run(_NVIDIA_SMI, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.partition("\n")[0].strip()
    except (OSError, subprocess.SubprocessError):
        pass
    try:
        return Path("/proc/device-tree/model").read_text().strip("\0 \n")
    except OSError:
        return ""


def runtime_versions(backend: Backend) -> dict[str, str]:
    """Versions of `_RUNTIMES`."""
    from importlib import metadata

    found = {}
    for package in _RUNTIMES[backend]:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def _cpu_flags() -> frozenset[str]:
    """Flags of the first processor in /proc/cpuinfo; none where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(flags.split())
    return frozenset()


def _finite(value: Any) -> Any:
    """Infinity and NaN as the largest number: JSON has neither."""
    if isinstance(value, float) and not abs(value) < float("inf"):
        return 1e308
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
