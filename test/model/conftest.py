from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from f1_ros.model.config import ExpertConfig, F1Config, KeypointConvConfig, SiglipConfig, TokenizerConfig
from f1_ros.model.f1 import F1Model

GOLDEN = Path(__file__).parents[1] / "golden"
VARIANTS = ("three_cameras", "five_layers", "one_step")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def golden_dir() -> Path:
    return GOLDEN / "f1_tiny_upstream"


@pytest.fixture(params=VARIANTS)
def variant_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A golden directory recorded with another configuration, completed by the tokenizer that it shares."""
    source = GOLDEN / "f1_variants" / str(request.param)
    for name in ("config.json", "inputs.safetensors", "outputs.safetensors"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    shared = load_file(GOLDEN / "f1_tiny_upstream" / "model.safetensors")
    tokenizer = {name: tensor for name, tensor in shared.items() if name.startswith("model.vae.")}
    save_file(load_file(source / "model.safetensors") | tokenizer, tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def small_config() -> Callable[..., F1Config]:
    """Builds a configuration small enough for milliseconds."""

    def build(
        *,
        world: bool = True,
        history: bool = True,
        shielded: bool = False,
        siglip: bool = False,
        cameras: int = 1,
        kv_heads: int = 1,
        num_resolutions: int = 2,
    ) -> F1Config:
        def expert(width: int) -> ExpertConfig:
            return ExpertConfig(width, 2 * width, 2, 2, kv_heads, 8, vocab_size=20)

        return F1Config(
            vision=SiglipConfig(16, 32, 1, 2, image_size=8, patch_size=4)
            if siglip
            else KeypointConvConfig(
                hidden_size=16, image_size=16, channels=(4, 8), keypoints=4, grid=2, cameras=cameras
            ),
            und=expert(32),
            act=expert(16),
            gen=expert(24) if world else None,
            vae=TokenizerConfig(32, 4, 8, 4, (1, 2), 1, patch=2, norm_groups=4) if world else None,
            scales=(1, 2, 3) if world else (),
            num_resolutions=num_resolutions if world else 0,
            temporal_conv_kernel_size=3 if world else 4,
            use_world_model=world,
            use_history=history,
            action_sees_history=not shielded,
            chunk_size=4,
            max_state_dim=3,
            max_action_dim=5,
            tokenizer_max_length=6,
            num_steps=3,
        )

    return build


@pytest.fixture
def small_model(small_config: Callable[..., F1Config]) -> Callable[..., F1Model]:
    """Builds a network with random weights, the same for the same arguments."""

    def build(**kwargs: object) -> F1Model:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return F1Model(small_config(**kwargs)).eval()

    return build
