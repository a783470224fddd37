"""What makes a training run the same run: all that its losses depend on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from f1_ros.train.finetune_config import TrainConfig

# What may change between two starts of one run without changing its losses.
_FREE = ("logging", "threads", "data.threads", "data.prefetch")


def run_identity(config: TrainConfig, processes: int, samples: int) -> dict[str, Any]:
    """Plain values by dotted key: the configuration but for what losses do not depend on, processes and samples."""
    tree = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    flat = {key: value for key, value in _flat(tree) if not any(key == f or key.startswith(f + ".") for f in _FREE)}
    return {**flat, "processes": processes, "samples": samples}


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first key that differs and both its values, or None."""
    for key in sorted(set(before) | set(now)):
        if before.get(key) != now.get(key):
            return f"{key} was {before.get(key)!r} and is {now.get(key)!r}"
    return None


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in tree.items():
        out += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return out
