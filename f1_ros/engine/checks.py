"""What an engine refuses: observations, running plans and files that do not fit the policy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from f1_ros.engine.layout import Port
from f1_ros.engine.protocol import PolicySpec, Running
from f1_ros.errors import EngineError
from f1_ros.observe.observation import Observation


def check_observation(spec: PolicySpec, observation: Observation) -> None:
    """Refuse an observation that is not of the policy's cameras, sizes and joints, or holds NaN.

    Raises:
        EngineError: naming all that is wrong.
    """
    images = (len(observation.cameras), 3, spec.image_size, spec.image_size)
    history = (len(spec.history_offsets), 3, spec.history_size, spec.history_size)
    problems = []
    if not observation.cameras or not set(observation.cameras) <= set(spec.cameras):
        problems.append(f"cameras {observation.cameras}, expected of {spec.cameras}")
    if observation.images.shape != images:
        problems.append(f"images {observation.images.shape}, expected {images}")
    if observation.history.shape != history:
        problems.append(f"history {observation.history.shape}, expected {history}")
    if observation.state_names != spec.state_names or observation.state.shape != (len(spec.state_names),):
        problems.append(f"state {observation.state_names}, expected {spec.state_names}")
    elif not np.isfinite(observation.state).all():
        problems.append("state with NaN or infinity")
    if problems:
        raise EngineError(
            f"The observation does not fit policy '{spec.name}': {'; '.join(problems)}.",
            remedy="Use the profile that the policy was trained for, or another policy.",
        )


def check_running(spec: PolicySpec, running: Running, *, near: bool, guides: bool) -> None:
    """Refuse a running plan that the policy was not trained to go on from, or the engine cannot guide towards.

    Args:
        spec: the policy's.
        running: the plan.
        near: whether near steps are to be sent ahead.
        guides: see `EngineInfo`.

    Raises:
        EngineError: saying what would do.
    """
    joints = len(spec.action_names)
    if running.actions.shape[1] != joints or len(running.actions) > spec.chunk_size:
        raise EngineError(
            f"The running plan has shape {running.actions.shape}; policy '{spec.name}' plans at most "
            f"{spec.chunk_size} steps of {joints} joints.",
            remedy="Give the actions in the order of action_names, at the steps of the next chunk.",
        )
    if running.guided and near:
        raise EngineError(
            "Guidance and near steps that are sent ahead do not go together.", remedy="Choose one of them."
        )
    if running.guided and not guides:
        raise EngineError(
            "Guidance needs gradients, which a compiled engine has none of.", remedy="Run the policy with engine torch."
        )
    if not running.guided and running.committed > spec.trained_prefix_steps:
        raise EngineError(
            f"Policy '{spec.name}' was trained to plan from at most {spec.trained_prefix_steps} committed steps, "
            f"not from {running.committed}.",
            remedy="Give no running plan, guide it, or train the policy with a larger policy.prefix_steps_max.",
        )


def near_steps(spec: PolicySpec, wanted: bool) -> int:
    """How many steps are sent ahead of the others: `trained_near_steps` if wanted, else 0.

    Raises:
        EngineError: if they are wanted of a policy that was not trained for it.
    """
    if wanted and not spec.trained_near_steps:
        raise EngineError(
            f"Policy '{spec.name}' was not trained to have near steps ready ahead of the others.",
            remedy="Give no on_near, or train it with policy.near_steps above 0.",
        )
    return spec.trained_near_steps if wanted else 0


def check_input(stage: str, port: Port, tensor: Tensor) -> None:
    """Refuse a tensor that a compiled stage cannot read: it reads from the pointer whatever lies there.

    Raises:
        EngineError: if shape, type or layout in memory is another.
    """
    if tensor.shape != port.shape or tensor.dtype != getattr(torch, port.dtype) or not tensor.is_contiguous():
        raise EngineError(
            f"Stage {stage}: input {port.name} is {tensor.dtype} {tuple(tensor.shape)}, expected contiguous "
            f"{port.dtype} {port.shape}.",
            remedy="Build the engine anew for this policy.",
        )
