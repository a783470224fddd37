"""Golden directories: recorded inputs and outputs of the released code, and how far ours is from them.

A golden directory holds config.json and model.safetensors (as in a policy directory), inputs.safetensors and
outputs.safetensors:

    inputs    image0.. (B, 3, S, S) in [-1, 1] and image0_mask.. (B); history (B, T, 3, H, H) in [-1, 1];
              lang_tokens, lang_masks (B, n); state (B, d); noise (B, chunk, A), which is x_1;
              train_actions (B, chunk, A), train_time (B)
    outputs   history_indices (B, T, L), history_embeds (B, T, L - 1, C): codes and VAR inputs of every frame;
              foresight_logits (B, F, V), foresight_indices (B, F): greedy;  actions (B, chunk, A);
              train_action_loss (B, chunk, A), train_gen_logits (B, F, V): the training pass, greedy, not reduced;
              vae_recon_first_frame (1, 3, H, H): the first frame of row 0, encoded and decoded
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from f1_ros.errors import CheckpointError
from f1_ros.model.checkpoint import load_policy_network, read_config
from f1_ros.model.config import F1Config, TokenizerConfig
from f1_ros.model.f1 import F1Model

# Largest absolute error of each output; 0: codes, which must be the same.
TOLERANCES = {
    "history_indices": 0.0,
    "history_embeds": 1e-5,
    "foresight_logits": 1e-4,
    "foresight_indices": 0.0,
    "actions": 1e-5,
    "train_action_loss": 1e-5,
    "train_gen_logits": 1e-4,
    "vae_recon_first_frame": 1e-4,
}

_REMEDY = "Give a golden directory as described in f1_ros/model/golden.py, made for this config.json."


@dataclass(frozen=True)
class GoldenError:
    """How far one output is from the recorded one.

    Attributes:
        name: of the output.
        error: largest absolute difference; for codes the number of differing codes; NaN if either holds NaN.
        tolerance: the largest error allowed.
    """

    name: str
    error: float
    tolerance: float

    @property
    def exact(self) -> bool:
        """Whether these are codes, which are to be the same."""
        return self.tolerance == 0

    @property
    def ok(self) -> bool:
        """Whether the error is allowed (NaN is not)."""
        return self.error <= self.tolerance


def verify(directory: Path | str) -> list[GoldenError]:
    """Run a golden directory's inputs through its network, in float32 on the CPU, and compare.

    Raises:
        CheckpointError: naming file and tensor, if the directory is incomplete or damaged.
    """
    directory = Path(directory)
    config = read_config(directory)
    if config.vae is None:
        raise CheckpointError(f"{directory}: a network without a world model has no golden layout.", remedy=_REMEDY)
    inputs = _read(directory / "inputs.safetensors")
    recorded = _read(directory / "outputs.safetensors")
    batch = _check_inputs(directory / "inputs.safetensors", inputs, config)
    _check_shapes(directory / "outputs.safetensors", recorded, _output_shapes(config, config.vae, batch))
    model = load_policy_network(directory)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # unfused attention, as recorded: rounding is part of the error
        computed = _run(model, inputs)
    return [
        GoldenError(name, _error(computed[name], recorded[name]), tolerance) for name, tolerance in TOLERANCES.items()
    ]


def _run(model: F1Model, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    cameras = _cameras(inputs)
    history = inputs["history"].float()
    batch, frames = history.shape[:2]
    codes = model.tokenizer.encode(history.flatten(0, 1))
    var_inputs = model.tokenizer.var_input(codes)
    var_inputs = var_inputs.view(batch, frames, *var_inputs.shape[1:])
    seen = (
        torch.stack([inputs[f"image{i}"].float() for i in range(cameras)], dim=1),
        torch.stack([inputs[f"image{i}_mask"].bool() for i in range(cameras)], dim=1),
        inputs["lang_tokens"].long(),
        inputs["lang_masks"].bool(),
        model.history_embeds(var_inputs),
    )
    state, noise = inputs["state"].float(), inputs["noise"].float()
    prefix = model.prefix(*seen)
    foresight = model.foresight(prefix, greedy=True)
    actions = model.sample_actions(prefix, state, noise)
    trained = model.train_outputs(
        *seen, state, inputs["train_actions"].float(), noise, inputs["train_time"].float(), greedy=True
    )
    assert trained.foresight_logits is not None
    return {
        "history_indices": codes.view(batch, frames, -1),
        "history_embeds": var_inputs,
        "foresight_logits": foresight.logits,
        "foresight_indices": foresight.codes,
        "actions": actions,
        "train_action_loss": trained.action_loss,
        "train_gen_logits": trained.foresight_logits,
        "vae_recon_first_frame": model.tokenizer.decode(codes[:1]),
    }


def _cameras(inputs: dict[str, Tensor]) -> int:
    """One more than the highest camera that any tensor is of."""
    numbers = [re.match(r"image(\d{1,2})(_mask)?$", name) for name in inputs]
    return max((int(number[1]) + 1 for number in numbers if number), default=0)


def _output_shapes(config: F1Config, vae: TokenizerConfig, batch: int) -> dict[str, tuple[int, ...]]:
    frames, tokens, frame = config.temporal_conv_kernel_size, config.frame_tokens, config.frame_size
    chunk = (batch, config.chunk_size, config.max_action_dim)
    logits = (batch, config.foresight_tokens, vae.vocab_size)
    return {
        "history_indices": (batch, frames, tokens),
        "history_embeds": (batch, frames, tokens - 1, vae.z_channels),
        "foresight_logits": logits,
        "foresight_indices": logits[:2],
        "actions": chunk,
        "train_action_loss": chunk,
        "train_gen_logits": logits,
        "vae_recon_first_frame": (1, 3, frame, frame),
    }


def _check_inputs(path: Path, inputs: dict[str, Tensor], config: F1Config) -> int:
    """Refuse inputs that do not fit the configuration; gives the batch size."""
    cameras = _cameras(inputs)
    if "image0" not in inputs:
        raise CheckpointError(f"{path}: tensor image0 is missing.", remedy=_REMEDY)
    batch = inputs["image0"].shape[0] if inputs["image0"].ndim else 0
    size, frame = config.image_size, config.frame_size
    words = tuple(inputs["lang_tokens"].shape[-1:]) if "lang_tokens" in inputs else (config.tokenizer_max_length,)
    chunk = (batch, config.chunk_size, config.max_action_dim)
    shapes: dict[str, tuple[int, ...]] = {
        **{f"image{i}": (batch, 3, size, size) for i in range(cameras)},
        **{f"image{i}_mask": (batch,) for i in range(cameras)},
        "history": (batch, config.temporal_conv_kernel_size, 3, frame, frame),
        "lang_tokens": (batch, *words),
        "lang_masks": (batch, *words),
        "state": (batch, config.max_state_dim),
        "noise": chunk,
        "train_actions": chunk,
        "train_time": (batch,),
    }
    _check_shapes(path, inputs, shapes)
    tokens = inputs["lang_tokens"]
    if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) < config.und.vocab_size):
        raise CheckpointError(
            f"{path}: tensor lang_tokens holds {int(tokens.min())} to {int(tokens.max())}, the network knows tokens "
            f"0 to {config.und.vocab_size - 1}.",
            remedy=_REMEDY,
        )
    return batch


def _check_shapes(path: Path, tensors: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if name not in tensors:
            raise CheckpointError(f"{path}: tensor {name} is missing.", remedy=_REMEDY)
        found = tuple(tensors[name].shape)
        if found != shape or 0 in shape:
            raise CheckpointError(
                f"{path}: tensor {name} has shape {list(found)}, the configuration asks for {list(shape)}.",
                remedy=_REMEDY,
            )
        if not torch.isfinite(tensors[name].float()).all():
            raise CheckpointError(f"{path}: tensor {name} holds NaN or infinity.", remedy=_REMEDY)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path}: the file does not exist.", remedy=_REMEDY)
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file: {error}.", remedy=_REMEDY) from error
    return tensors


def _error(computed: Tensor, recorded: Tensor) -> float:
    if not computed.is_floating_point():
        return float((computed != recorded.to(computed.dtype)).sum())
    error = float((computed.double() - recorded.double()).abs().max())
    return error if math.isfinite(error) else math.nan
