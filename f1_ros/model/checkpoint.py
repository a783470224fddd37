"""Reading and writing a policy directory's network: `config.json` and `model.safetensors`.

Strict in both directions: every tensor that the network has must be in the file with its shape, and every tensor in
the file must be one that the network reads or one that `names.py` lists as unused. The file is checked before the
network gets any of it, and a network is returned whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from f1_ros.errors import CheckpointError, ConfigError
from f1_ros.model.config import F1Config, TokenizerConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.names import EMBED_TOKENS, LANGUAGE_HEAD, canonical_name, unused_reason, upstream_name
from f1_ros.model.tokenizer import VisualTokenizer

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_RESTORE = "Fetch or export the checkpoint again; the file is damaged or belongs to another network."
_VAE = "model.vae."


def read_config(directory: Path | str) -> F1Config:
    """The network's configuration in a policy directory.

    Raises:
        CheckpointError: if the directory or its `config.json` is missing, damaged or foreign.
    """
    path = Path(directory) / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{directory}: there is no {CONFIG_FILE}.", remedy="Give a policy directory, such as models/f1_belt."
        )
    try:
        return F1Config.from_json(path)
    except ConfigError as error:
        raise CheckpointError(error.problem, remedy=error.remedy) from error


def load_policy_network(directory: Path | str, dtype: torch.dtype = torch.float32) -> F1Model:
    """Load a policy directory's network, ready for inference on the CPU.

    The network is built without memory and filled tensor by tensor from the mapped file, so that the peak is one
    network and not two. Weights in half precision are cast.

    Args:
        directory: holds `config.json` and `model.safetensors`, upstream's names (see `names.py`).
        dtype: floating-point type of the weights.

    Raises:
        CheckpointError: naming file and tensor, on anything that does not fit.
    """
    config = read_config(directory)
    with torch.device("meta"):
        model = F1Model(config)
    path = Path(directory) / WEIGHTS_FILE
    wanted = {upstream_name(name): name for name in model.state_dict()}
    with _SafetensorsFile(path) as file:
        _fill(model, file, _match(wanted, file), dtype)
    return model.eval()


def load_visual_tokenizer(path: Path | str, config: TokenizerConfig, scales: tuple[int, ...]) -> VisualTokenizer:
    """Load a visual tokenizer from a file of its own, such as VAR's `vae_ch160v4096z32.pth`.

    Args:
        path: `.safetensors`, or `.pth` (read with `weights_only=True`: no code of the file's is run).
        config: its shape.  scales: sides of its token maps.

    Raises:
        CheckpointError: naming file and tensor, on anything that does not fit.
    """
    path = Path(path)
    with torch.device("meta"):
        tokenizer = VisualTokenizer(config, scales)
    prefix = "tokenizer."
    wanted = {upstream_name(prefix + name): name for name in tokenizer.state_dict()}
    opened = _PickleFile(path, _VAE) if path.suffix == ".pth" else _SafetensorsFile(path, _VAE)
    with opened as file:
        _fill(tokenizer, file, _match(wanted, file), torch.float32)
    return tokenizer.eval()


def save_policy_network(model: F1Model, directory: Path | str, dtype: torch.dtype = torch.float16) -> None:
    """Write `config.json` and `model.safetensors` with upstream's names. Each file appears whole or not at all.

    Args:
        model: any device and precision.
        directory: made if it does not exist; other files in it are left alone.
        dtype: floating-point type on disk.

    Raises:
        CheckpointError: naming the tensor, if a weight is not finite (in that type), or a file cannot be written.
    """
    directory = Path(directory)
    tensors = {}
    for name, tensor in model.state_dict().items():
        stored = tensor.detach().to("cpu", dtype).contiguous()
        if not _finite(stored):
            raise CheckpointError(
                f"Tensor {name} holds NaN or infinity as {_type_name(dtype)}.",
                remedy="Do not save this network: its training diverged, or its weights need a wider type.",
            )
        tensors[upstream_name(name)] = stored
    config = json.dumps(model.config.to_dict(), indent=2) + "\n"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _replacing(directory / WEIGHTS_FILE) as weights, _replacing(directory / CONFIG_FILE) as text:
            save_file(tensors, weights, metadata={"format": "pt"})
            text.write_text(config, encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{directory}: cannot be written: {error}.", remedy="Give a directory that can be written, with room."
        ) from error


class _SafetensorsFile:
    """Tensors of a safetensors file by canonical name, read from the mapped file when asked for."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        self.path = path
        if not path.is_file():
            raise CheckpointError(f"{path}: the file does not exist.", remedy="Give a complete checkpoint.")
        try:
            opened: Any = safe_open(str(path), framework="pt")
            self._file = opened
            stored = list(opened.keys())
        except (SafetensorError, OSError, ValueError, struct.error) as error:
            raise CheckpointError(f"{path}: not a whole safetensors file: {error}.", remedy=_RESTORE) from error
        self._stored = _canonical_names(path, stored, prefix)

    def __enter__(self) -> _SafetensorsFile:
        return self

    def __exit__(self, *exc: object) -> None:
        del self._file

    def names(self) -> list[str]:
        """Canonical names, in the file's order."""
        return list(self._stored)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return tuple(self._file.get_slice(self._stored[name]).get_shape())

    def read(self, name: str) -> Tensor:
        """The tensor, mapped."""
        tensor: Tensor = self._file.get_tensor(self._stored[name])
        return tensor


class _PickleFile:
    """Tensors of a `.pth` file that is a flat dictionary of tensors."""

    def __init__(self, path: Path, prefix: str) -> None:
        self.path = path
        if not path.is_file():
            raise CheckpointError(f"{path}: the file does not exist.", remedy="Give the tokenizer's file.")
        try:
            with warnings.catch_warnings(action="ignore"):  # about foreign pickles, which are refused below anyway
                tree: Any = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged pickle can raise anything
            raise CheckpointError(
                f"{path}: cannot be read as plain tensors ({type(error).__name__}).", remedy=_RESTORE
            ) from error
        if not isinstance(tree, Mapping) or not all(isinstance(value, Tensor) for value in tree.values()):
            raise CheckpointError(f"{path}: is not a dictionary of tensors.", remedy=_RESTORE)
        stored = _canonical_names(path, [str(name) for name in tree], prefix)
        self._tensors = {name: tree[key] for name, key in stored.items()}

    def __enter__(self) -> _PickleFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self._tensors.clear()

    def names(self) -> list[str]:
        """Canonical names, in the file's order."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return tuple(self._tensors[name].shape)

    def read(self, name: str) -> Tensor:
        """The tensor."""
        tensor: Tensor = self._tensors[name]
        return tensor


_File = _SafetensorsFile | _PickleFile


def _canonical_names(path: Path, stored: list[str], prefix: str) -> dict[str, str]:
    """Canonical name -> name in the file. `prefix` goes before names that a file of one part leaves out."""
    names: dict[str, str] = {}
    for name in stored:
        canonical = canonical_name(name if name.startswith(prefix) else prefix + name)
        if canonical in names:
            raise CheckpointError(
                f"{path}: {name} and {names[canonical]} are the same tensor by two names.", remedy=_RESTORE
            )
        names[canonical] = name
    return names


def _match(wanted: Mapping[str, str], file: _File) -> dict[str, str]:
    """Our name -> name in the file, for every tensor of the network; refuses missing and foreign ones.

    A released file holds tensors once that are shared in the released code, under one of their names: the tokenizer
    as `vae.` or `model.vae.`, the language embedding as `embed_tokens` or (tied) `lm_head`.
    """
    present = set(file.names())
    matched: dict[str, str] = {}
    shared: set[str] = set()
    for upstream, ours in wanted.items():
        twins = [upstream]
        if upstream.startswith(_VAE):
            twins.append(upstream.removeprefix("model."))
        elif upstream == EMBED_TOKENS:
            twins.append(LANGUAGE_HEAD)
        found = next((name for name in twins if name in present), None)
        if found is None:
            raise CheckpointError(f"{file.path}: tensor {upstream} is missing.", remedy=_RESTORE)
        matched[ours] = found
        shared.update(twins)
    for name in file.names():
        if name not in shared and unused_reason(name) is None:
            raise CheckpointError(
                f"{file.path}: tensor {name} is not part of this network.",
                remedy="Use the config.json that the weights were saved with.",
            )
    return matched


def _fill(module: nn.Module, file: _File, matched: Mapping[str, str], dtype: torch.dtype) -> None:
    """Give a network on the meta device its weights. All shapes are checked before the first is read."""
    empty = module.state_dict()
    for ours, name in matched.items():
        expected, found = tuple(empty[ours].shape), file.shape(name)
        if found != expected:
            raise CheckpointError(
                f"{file.path}: tensor {name} has shape {list(found)}, the configuration asks for {list(expected)}.",
                remedy="Use the config.json that the weights were saved with.",
            )
    for ours, name in matched.items():
        stored = file.read(name)
        if not stored.is_floating_point():
            raise CheckpointError(f"{file.path}: tensor {name} has type {_type_name(stored.dtype)}.", remedy=_RESTORE)
        weight = stored.to(dtype, copy=True)  # a copy of our own: the file may be replaced while we run
        if not _finite(weight):
            raise CheckpointError(f"{file.path}: tensor {name} holds NaN or infinity.", remedy=_RESTORE)
        owner, _, leaf = ours.rpartition(".")
        holder = module.get_submodule(owner)
        if leaf in holder._parameters:
            holder._parameters[leaf] = nn.Parameter(weight)
        else:
            holder._buffers[leaf] = weight


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path to write beside `path`, moved over it in one step if all goes well and removed if not."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield beside
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.chmod(0o644)  # safetensors writes for its owner alone; a policy may be installed for all
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _finite(tensor: Tensor) -> bool:
    """Whether all entries are finite, by the extremes: NaN shows in both, and nothing of the tensor's size is made."""
    return bool(torch.stack(tensor.aminmax()).isfinite().all())


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
