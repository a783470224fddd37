"""The losses of F1's three stages, as one module whose `forward` gives them: what data parallelism can wrap.

world_model          cross-entropy of all scales' tokens, teacher-forced, a share of the inputs masked
pretrain, finetune   flow + foresight weight * cross-entropy of the predicted scales, foresight sampled inside the pass
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from f1_ros.errors import ConfigError
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.model.losses import flow_loss, foresight_loss
from f1_ros.train.batches import Draws
from f1_ros.train.finetune_config import ForesightConfig, Precision, Stage

_FRAMES_AT_ONCE = 16  # the tokenizer's maps at full resolution are large


def stage_network_config(config: F1Config, stage: Stage) -> F1Config:
    """The network's configuration in a stage: the first one predicts all scales. No weight depends on it.

    Raises:
        ConfigError: if the stage is not for this network.
    """
    if stage != "world_model":
        return config
    if not config.use_world_model:
        raise ConfigError(
            "Stage world_model trains the generation expert, which this network does not have (use_world_model).",
            remedy="Use a network with a world model, or stage finetune.",
        )
    return dataclasses.replace(config, num_resolutions=len(config.scales))


class Objective(nn.Module):
    """The network and its losses.

    Args:
        network: trained in place; its visual tokenizer is frozen here. Its `config` is that of the stage.
        stage: which losses.
        settings: weights, masks and sampling of the world model.
        precision: what the network computes in; foresight logits and losses are always float32.
    """

    def __init__(
        self, network: F1Model, stage: Stage, settings: ForesightConfig, precision: Precision = "float32"
    ) -> None:
        super().__init__()
        self.precision = precision
        self.network = network
        self.stage = stage
        self.settings = settings
        if network.config.use_world_model:
            network.tokenizer.requires_grad_(False)

    def train(self, mode: bool = True) -> Objective:
        """Set the mode of all but the frozen tokenizer, which stays in evaluation."""
        super().train(mode)
        if self.network.config.use_world_model:
            self.network.tokenizer.eval()
        return self

    def forward(self, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Losses of a batch of `Batches`.

        Returns:
            total, and where they exist flow, foresight (means over the batch), and accuracy/1x1, accuracy/2x2, ...:
            the share of each scale's tokens that the likeliest code gets right.
        """
        with self.computing(batch["state"].device):
            return self._losses(batch, draws)

    def computing(self, device: torch.device) -> torch.autocast:
        """The precision that the network computes in, as a context."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def _losses(self, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        network = self.network
        seen = (batch["images"], batch["present"], batch["tokens"], batch["language_mask"])
        history = target = None
        if network.config.use_world_model:
            history, target = self.history(batch["history"]), self.codes(batch["target"][:, None])[:, 0]
        parts: dict[str, Tensor] = {}
        if self.stage == "world_model":
            prefix = network.prefix(*seen, history)
            logits = network.foresight(prefix, teacher=target, dropped=draws.dropped).logits
            total = logits.new_zeros(())
        else:
            out = network.train_outputs(
                *seen,
                history,
                batch["state"],
                batch["actions"],
                draws.noise,
                draws.time,
                generator=draws.foresight,
                greedy=self.settings.greedy,
            )
            total = parts["flow"] = _flow(out.action_loss.float(), batch["pad"], draws.time)
            if out.foresight_logits is None:
                return {"total": total, **parts}
            logits = out.foresight_logits
        assert target is not None  # there are logits only with a world model
        parts["foresight"] = foresight_loss(logits.float(), target)
        weight = 1.0 if self.stage == "world_model" else self.settings.weight
        return {"total": total + weight * parts["foresight"], **parts, **self._accuracies(logits, target)}

    @torch.no_grad()
    def codes(self, frames: Tensor) -> Tensor:
        """Frames (B, n, 3, H, W) uint8 -> codes (B, n, L), in full precision."""
        with torch.autocast(frames.device.type, enabled=False):
            encode = self.network.tokenizer.encode
            parts = torch.split(frames.flatten(0, 1), _FRAMES_AT_ONCE)
            codes = torch.cat([encode(part.float().div_(127.5).sub_(1.0)) for part in parts])
            return codes.view(*frames.shape[:2], -1)

    def history(self, frames: Tensor) -> Tensor:
        """History frames (B, T, 3, H, W) uint8 -> embeddings (B, L - 1, C)."""
        codes = self.codes(frames)
        with torch.no_grad(), torch.autocast(frames.device.type, enabled=False):
            inputs = self.network.tokenizer.var_input(codes.flatten(0, 1))
        return self.network.history_embeds(inputs.view(*codes.shape[:2], *inputs.shape[1:]))

    @torch.no_grad()
    def _accuracies(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        config = self.network.config
        right = (logits.argmax(-1) == target[:, : logits.shape[1]]).float()
        scales = config.scales[: config.num_resolutions]
        by_scale = torch.split(right, [side * side for side in scales], dim=1)
        return {f"accuracy/{side}x{side}": part.mean() for side, part in zip(scales, by_scale, strict=True)}


def _flow(per_element: Tensor, pad: Tensor, time: Tensor) -> Tensor:
    """Mean over the samples of each one's flow loss: then a batch's is the mean of its parts'."""
    given = time == 0 if time.ndim == 2 else None
    if given is None:
        return flow_loss(per_element, pad)
    rows = zip(*(torch.split(tensor, 1) for tensor in (per_element, pad, given)), strict=True)
    return torch.stack([flow_loss(*row) for row in rows]).mean()
