"""What sees: vision towers, images in, tokens out (which one a network has is its config's `vision_config.model_type`),
and the convolution over the history's frames.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f1_ros.model.config import KeypointConvConfig, SiglipConfig


class VisionOutput(NamedTuple):
    """What a tower sees.

    Attributes:
        tokens: (B, cameras, tokens, width).
        keypoints: (B, cameras, 2 K) x then y of each keypoint in [-1, 1], or None if the tower has none.
    """

    tokens: Tensor
    keypoints: Tensor | None


class SiglipTower(nn.Module):
    """SigLIP's vision transformer (transformers' implementation), without its pooling head."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        # Imported here: it takes seconds, and networks with another tower do without it.
        from transformers import SiglipVisionConfig, SiglipVisionModel

        tower = SiglipVisionModel(
            SiglipVisionConfig(
                hidden_size=config.hidden_size,
                intermediate_size=config.intermediate_size,
                num_hidden_layers=config.num_hidden_layers,
                num_attention_heads=config.num_attention_heads,
                image_size=config.image_size,
                patch_size=config.patch_size,
                layer_norm_eps=config.layer_norm_eps,
                vision_use_head=False,
            )
        )
        self.model = getattr(tower, "vision_model", tower)  # transformers 4 wraps it once more
        # A buffer outside the state dict: made for real even when the network is built on the meta device.
        self.model.embeddings.position_ids = torch.arange(config.tokens, device="cpu")[None]

    def forward(self, images: Tensor) -> VisionOutput:
        """Images (B, cameras, 3, S, S) in [-1, 1]."""
        tokens: Tensor = self.model(pixel_values=images.flatten(0, 1)).last_hidden_state
        return VisionOutput(tokens.view(*images.shape[:2], *tokens.shape[1:]), None)


class KeypointConv(nn.Module):
    """Two convolutions; K spatial-softmax keypoints make one token, a pooled grid makes `grid^2` more."""

    def __init__(self, config: KeypointConvConfig) -> None:
        super().__init__()
        first, second = config.channels
        self.config = config
        self.conv1 = nn.Conv2d(3, first, 6, stride=4, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.heat = nn.Conv2d(second, config.keypoints, 1)
        nn.init.normal_(self.heat.weight)  # sharp from the start: a flat softmax has next to no gradient
        self.keypoint_token = nn.Linear(2 * config.keypoints, config.hidden_size)
        self.grid_token = nn.Linear(second, config.hidden_size)
        self.grid_position = nn.Parameter(torch.randn(config.grid**2, config.hidden_size) * 0.02)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, 3, S, S) in [-1, 1] -> tokens (N, 1 + grid^2, width), keypoints (N, 2 K)."""
        x = F.relu(self.conv2(F.relu(self.conv1(images))))  # (N, c, S/4, S/4)
        side = x.shape[-1]
        heat = self.heat(x).flatten(2).softmax(-1).unflatten(-1, (side, side))  # (N, K, S/4, S/4)
        axis = torch.linspace(-1, 1, side, dtype=x.dtype, device=x.device)
        keypoints = torch.cat([heat.sum(2) @ axis, heat.sum(3) @ axis], dim=-1)  # expected x, expected y
        grid = F.adaptive_avg_pool2d(x, self.config.grid).flatten(2).transpose(1, 2)  # (N, grid^2, c)
        tokens = torch.cat([self.keypoint_token(keypoints)[:, None], self.grid_token(grid) + self.grid_position], dim=1)
        return tokens, keypoints


class KeypointTower(nn.Module):
    """`KeypointConv` for several images: shared, one each, or as `KeypointConvConfig.views` says."""

    def __init__(self, config: KeypointConvConfig) -> None:
        super().__init__()
        self.convs = nn.ModuleList(KeypointConv(config) for _ in range(config.cameras))
        self.views = config.views or tuple(range(config.cameras))

    def forward(self, images: Tensor) -> VisionOutput:
        """Images (B, cameras, 3, S, S) in [-1, 1]."""
        batch, cameras = images.shape[:2]
        if len(self.convs) == 1:
            tokens, keypoints = self.convs[0](images.flatten(0, 1))
            return VisionOutput(tokens.view(batch, cameras, *tokens.shape[1:]), keypoints.view(batch, cameras, -1))
        seen = [self.convs[view](images[:, i]) for i, view in enumerate(self.views)]
        return VisionOutput(torch.stack([t for t, _ in seen], 1), torch.stack([k for _, k in seen], 1))


def make_tower(config: SiglipConfig | KeypointConvConfig) -> SiglipTower | KeypointTower:
    """The tower that a configuration asks for."""
    return SiglipTower(config) if isinstance(config, SiglipConfig) else KeypointTower(config)


class VisionEncoder(nn.Module):
    """Vision tower, and the projector to the understanding expert's width."""

    def __init__(self, config: SiglipConfig | KeypointConvConfig, width: int) -> None:
        super().__init__()
        self.tower = make_tower(config)
        self.projector = nn.Linear(config.hidden_size, width)

    def forward(self, images: Tensor) -> VisionOutput:
        """Images (B, cameras, 3, S, S) in [-1, 1] -> tokens of that width."""
        seen = self.tower(images)
        return VisionOutput(self.projector(seen.tokens), seen.keypoints)


class TemporalConv(nn.Module):
    """One convolution over all T frames, (B, T, l, C) -> (B, l, C)."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, frames, stride=frames)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, l, C) -> (B, l, C)."""
        # The kernel covers all frames, so nothing slides and it is one matrix product.
        return F.linear(x.permute(0, 2, 3, 1).flatten(2), self.conv.weight.flatten(1), self.conv.bias)
