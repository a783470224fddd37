"""A policy directory: the network's files, and what the weights expect of a robot.

config.json           the network (f1_ros.model.config)
model.safetensors     its weights
tokenizer.json, tokenizer_config.json     the language tokenizer
policy.json           PolicyFile: cameras, layouts, timing, action representation
stats.json            normalisation statistics by key
check.npz             observations to check compiled engines on (f1_ros.engine.recorded); may be missing
README.md             the card
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f1_ros.config import load_yaml
from f1_ros.engine.protocol import Array, PolicySpec
from f1_ros.errors import CheckpointError, ConfigError

POLICY_FILE = "policy.json"
STATS_FILE = "stats.json"


@dataclass(frozen=True)
class PolicyFile:
    """Contents of `policy.json`.

    Attributes:
        spec: what the policy expects and gives.
        relative_actions: for each action, whether the network gives it relative to the present state.
        step_scale: for each step of the chunk, what the network's relative actions are multiplied by: near steps are
            small, and would drown in the noise of far ones if all had one scale. Empty: 1 everywhere.
        noise_scale: scale of the noise that the flow starts from. 1 draws from all that was demonstrated; 0 gives about
            the mean, which is steadier where demonstrations agree.
        foresight: whether foresight is predicted at run time; false for a policy that was trained without.
        foresight_top_k: how many of the likeliest codes foresight draws from; 1 is greedy, 0 takes them all.
        foresight_top_p: probability mass that it draws from.
    """

    spec: PolicySpec
    relative_actions: tuple[bool, ...]
    step_scale: tuple[float, ...] = ()
    noise_scale: float = 1.0
    foresight: bool = True
    foresight_top_k: int = 900
    foresight_top_p: float = 0.95

    def __post_init__(self) -> None:
        spec = self.spec
        if len(self.relative_actions) != len(spec.action_names):
            raise ConfigError(
                f"relative_actions has {len(self.relative_actions)} entries for {len(spec.action_names)} actions.",
                remedy="Give one true or false for each of action_names.",
            )
        unknown = [
            name
            for name, relative in zip(spec.action_names, self.relative_actions, strict=True)
            if relative and name not in spec.state_names
        ]
        if unknown:
            raise ConfigError(
                f"relative_actions: {', '.join(unknown)} is not among state_names.",
                remedy="An action can be relative only to a state of the same name.",
            )

        if self.step_scale and (len(self.step_scale) != spec.chunk_size or min(self.step_scale) <= 0.0):
            raise ConfigError(
                f"step_scale has {len(self.step_scale)} entries for a chunk of {spec.chunk_size}, or one that is not "
                "above 0.",
                remedy="Give one positive number for each step, or leave it out.",
            )

        if not 0.0 <= self.noise_scale <= 1.0:
            raise ConfigError(f"noise_scale is {self.noise_scale}.", remedy="Give a number from 0 to 1.")

    def to_network(self, actions: NDArray[np.floating[Any]], state: NDArray[np.floating[Any]]) -> Array:
        """Absolute actions (..., chunk, A) in a state (..., S) as the network gives them, before normalisation."""
        return (actions - self._reference(state)) / self._scale()

    def from_network(self, actions: NDArray[np.floating[Any]], state: NDArray[np.floating[Any]]) -> Array:
        """Undo `to_network`."""
        return actions * self._scale() + self._reference(state)

    def _reference(self, state: NDArray[np.floating[Any]]) -> Array:
        """The present state where actions are relative, else 0: (..., 1, A)."""
        index = {name: i for i, name in enumerate(self.spec.state_names)}
        out = np.zeros((*state.shape[:-1], 1, len(self.spec.action_names)))
        for i, (name, relative) in enumerate(zip(self.spec.action_names, self.relative_actions, strict=True)):
            if relative:
                out[..., 0, i] = state[..., index[name]]
        return out

    def _scale(self) -> Array:
        """(chunk, A), or (1, A) of ones."""
        steps = np.array(self.step_scale or (1.0,))[:, None]
        return np.where(np.array(self.relative_actions), steps, 1.0)


def load_policy_file(folder: Path) -> PolicyFile:
    """Read `policy.json`.

    Raises:
        CheckpointError: if it is missing. ConfigError: if something in it is wrong.
    """
    path = folder / POLICY_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing: {folder} is no policy directory.",
            remedy="Give a directory that `f1-ros train` made, such as models/f1_belt.",
        )
    return load_yaml(path, PolicyFile)


def load_spec(folder: Path) -> PolicySpec:
    """What a policy expects and gives, without loading its weights."""
    return load_policy_file(folder).spec


def save_policy_file(file: PolicyFile, folder: Path) -> None:
    """Write `policy.json`."""
    (folder / POLICY_FILE).write_text(json.dumps(dataclasses.asdict(file), indent=1) + "\n")
