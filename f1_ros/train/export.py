"""Writing a policy directory: what training hands to the engine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from f1_ros.engine.policy import STATS_FILE, PolicyFile, save_policy_file
from f1_ros.errors import CheckpointError
from f1_ros.model.checkpoint import save_policy_network
from f1_ros.model.f1 import F1Model
from f1_ros.train.words import save_word_tokenizer

LANGUAGE_FILES = ("tokenizer.json", "tokenizer_config.json")
_MAYBE_LANGUAGE_FILES = ("special_tokens_map.json", "tokenizer.model", "added_tokens.json")


def write_policy(
    folder: Path,
    network: F1Model,
    file: PolicyFile,
    stats: Mapping[str, Mapping[str, Any]],
    language: Sequence[str] | Path,
) -> None:
    """Write everything that `open_engine(folder)` reads; weights in half precision.

    Args:
        folder: is made if it does not exist.
        network: the trained network.
        file: contents of `policy.json`.
        stats: contents of `stats.json`, by key ("observation.state", "action").
        language: vocabulary of a word tokenizer, or the folder of a language tokenizer to copy.

    Raises:
        CheckpointError: if a weight is not finite in half precision, or something cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_policy_network(network, folder, dtype=torch.float16)
    if isinstance(language, Path):
        _copy_language_tokenizer(language, folder)
    else:
        save_word_tokenizer(folder, language)
    (folder / STATS_FILE).write_text(json.dumps(stats, indent=1) + "\n")
    save_policy_file(file, folder)


def _copy_language_tokenizer(source: Path, folder: Path) -> None:
    for name in (*LANGUAGE_FILES, *_MAYBE_LANGUAGE_FILES):
        if name in _MAYBE_LANGUAGE_FILES and not (source / name).exists():
            continue
        try:
            shutil.copyfile(source / name, folder / name)
        except OSError as error:
            raise CheckpointError(
                f"{source / name} cannot be copied to {folder} ({error}).",
                remedy="Restore the language tokenizer's files, then start the same command again.",
            ) from error
