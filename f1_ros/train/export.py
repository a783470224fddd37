"""Writing a policy directory: what training hands to the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from f1_ros.engine.policy import STATS_FILE, PolicyFile, save_policy_file
from f1_ros.model.checkpoint import save_policy_network
from f1_ros.model.f1 import F1Model
from f1_ros.train.words import save_word_tokenizer


def write_policy(
    folder: Path,
    network: F1Model,
    file: PolicyFile,
    stats: Mapping[str, Mapping[str, Any]],
    words: Sequence[str],
) -> None:
    """Write everything that `open_engine(folder)` reads; weights in half precision.

    Args:
        folder: is made if it does not exist.
        network: the trained network.
        file: contents of `policy.json`.
        stats: contents of `stats.json`, by key ("observation.state", "action").
        words: vocabulary of the language tokenizer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_policy_network(network, folder, dtype=torch.float16)
    save_word_tokenizer(folder, words)
    (folder / STATS_FILE).write_text(json.dumps(stats, indent=1) + "\n")
    save_policy_file(file, folder)
