"""Dividing the trained weights, gradients, moments and average among processes (PyTorch's fully sharded data parallel).

The network is one unit: all of its weights are gathered for a pass and divided again after it. What stays divided the
whole time is what training adds, three to four times the weights. Frozen weights are not divided. Hugging Face
Accelerate shards on accelerators alone and by modules whose `forward` is called, which the mixture's experts are not;
so this speaks to PyTorch directly, and runs on CPUs too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(module: nn.Module, device: torch.device, processes: int) -> None:
    """Divide the module's trained parameters among the processes, in place; take parameters from it only afterwards."""
    frozen = {parameter for parameter in module.parameters() if not parameter.requires_grad}
    fully_shard(module, mesh=init_device_mesh(device.type, (processes,)), ignored_params=frozen)


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """The module's whole weights in their places, so that its parts can be called; nothing to do if none is divided."""
    if not isinstance(module, FSDPModule):
        yield
        return
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; of a divided one every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divided_as(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, which every process has, divided as another one is, on its device."""
    tensor = tensor.to(other.device)
    if not isinstance(other, DTensor):
        return tensor
    return distribute_tensor(tensor, other.device_mesh, other.placements)
