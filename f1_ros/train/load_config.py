"""Reading a training configuration, with keys changed from the command line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from f1_ros.config import load_yaml, parse, yaml_value
from f1_ros.train.finetune_config import TrainConfig, require


def load_train_config(path: Path, changes: Sequence[str] = (), datasets: Sequence[str] = ()) -> TrainConfig:
    """Read a training configuration and change keys of it.

    Args:
        path: the YAML file.
        changes: "KEY=VALUE" each, KEY with dots ("optimiser.steps"), VALUE as YAML ("null", "[a, b]", "1e-4").
        datasets: folders that take the place of the file's datasets.

    Raises:
        ConfigError: naming file, key and remedy.
    """
    config = load_yaml(path, TrainConfig)
    if not changes and not datasets:
        return config
    tree: dict[str, Any] = dataclasses.asdict(config)
    if datasets:
        tree["datasets"] = [{"path": folder} for folder in datasets]
    for change in changes:
        key, separator, text = change.partition("=")
        require(bool(separator and key), f"--set {change!r} is no KEY=VALUE.", "Write for example optimiser.steps=100.")
        _set(tree, key, yaml_value(text, f"--set {key}"))
    return parse(json.loads(json.dumps(tree, default=str)), TrainConfig, source=f"{path} with --set")


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *outer, last = key.split(".")
    for part in outer:
        if tree.get(part) is None:
            tree[part] = {}
        require(isinstance(tree[part], dict), f"--set {key}: '{part}' holds no keys.", "Set it as a whole, as YAML.")
        tree = tree[part]
    tree[last] = value
