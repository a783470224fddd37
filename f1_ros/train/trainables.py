"""What of the network is trained: four groups with their own rates, and low-rank adapters.

vision       vision tower and projector
language     understanding expert
generation   generation expert and everything of the world model but its frozen visual tokenizer
action       action expert, state and action projections, time embedding
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from f1_ros.errors import ConfigError
from f1_ros.model.f1 import F1Model
from f1_ros.model.manifest import unreached
from f1_ros.train.finetune_config import GROUPS, Group, LoraConfig, TrainConfig

_PREFIXES: tuple[tuple[str, Group], ...] = (
    ("vision.", "vision"),
    ("und.", "language"),
    ("gen.", "generation"),
    ("temporal_conv.", "generation"),
    ("wm_", "generation"),
    ("lvl_embed.", "generation"),
    ("act.", "action"),
    ("state_proj.", "action"),
    ("action_", "action"),
)


@dataclass(frozen=True)
class TrainedGroup:
    """The trained parameters of one group.

    Attributes:
        name: of the group.  rate: its peak rate.
        parameters: by name, in the network's order.
    """

    name: Group
    rate: float
    parameters: dict[str, nn.Parameter]

    @property
    def count(self) -> int:
        """Numbers that are trained."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    def of(self, network: F1Model) -> TrainedGroup:
        """The same group with the parameters that the network has by now."""
        present = dict(network.named_parameters())
        return TrainedGroup(self.name, self.rate, {name: present[name] for name in self.parameters})


def group_of(name: str) -> Group | None:
    """Group of a network's parameter; None for the visual tokenizer."""
    return next((group for prefix, group in _PREFIXES if name.startswith(prefix)), None)


def add_adapters(network: F1Model, settings: LoraConfig) -> Any:
    """Put adapters on the linear layers of the groups, in place; returns what `merge_adapters` takes.

    Raises:
        ConfigError: if a group has no linear layer.
    """
    from peft import LoraConfig as PeftConfig
    from peft.tuners.lora import LoraModel

    targets: list[str] = []
    for group in settings.groups:
        found = [
            name
            for name, module in network.named_modules()
            if isinstance(module, nn.Linear)
            and group_of(name + ".") == group
            and not unreached(name + ".", network.config)
        ]
        if not found:
            raise ConfigError(
                f"lora.groups names {group}, of which this network has no linear layer.", remedy=f"Take {group} out."
            )
        targets += found
    peft_config = PeftConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=targets
    )
    return LoraModel(network, peft_config, "default")


def merge_adapters(adapters: Any) -> F1Model:
    """Add the adapters to the weights that they adapt: the network is as it was before, with other weights."""
    network: F1Model = adapters.merge_and_unload()
    return network


def select(network: F1Model, config: TrainConfig) -> list[TrainedGroup]:
    """Freeze what is not trained, and list what is (`add_adapters` first, where there are any).

    Raises:
        ConfigError: if a group with a rate has no parameters in this network.
    """
    adapted = config.lora.groups if config.lora is not None else ()
    groups: list[TrainedGroup] = []
    named = list(network.named_parameters())
    for _, parameter in named:
        parameter.requires_grad_(False)
    for group in GROUPS:
        rate = config.optimiser.rates.of(group)
        if rate is None:
            continue
        chosen = {
            name: parameter
            for name, parameter in named
            if group_of(name) == group
            and not unreached(name, network.config)
            and (group not in adapted or ".lora_" in name)
        }
        if not chosen:
            raise ConfigError(
                f"optimiser.rates.{group} is given, but this network has nothing of that group.",
                remedy=f"Remove optimiser.rates.{group}.",
            )
        for parameter in chosen.values():
            parameter.requires_grad_(True)
        groups.append(TrainedGroup(group, rate, chosen))
    return groups


def optimiser_groups(groups: list[TrainedGroup], weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's parameter groups: each group's matrices with weight decay, its biases and norms without.

    Each keeps its `names` in the order of its `params`, and its `peak` rate.
    """
    out: list[dict[str, Any]] = []
    for group in groups:
        for decayed in (True, False):
            chosen = {n: p for n, p in group.parameters.items() if (p.ndim > 1) == decayed}
            if chosen:
                out.append(
                    {
                        "params": list(chosen.values()),
                        "names": list(chosen),
                        "lr": group.rate,
                        "peak": group.rate,
                        "group": group.name,
                        "weight_decay": weight_decay if decayed else 0.0,
                    }
                )
    return out


@torch.no_grad()
def set_frozen_precision(network: F1Model, dtype: torch.dtype) -> None:
    """Keep the experts' and the vision tower's frozen matrices in this type, in place; all else stays in float32."""
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad and parameter.ndim > 1 and name.startswith(("vision.", "und.", "gen.", "act.")):
            parameter.data = parameter.data.to(dtype)
