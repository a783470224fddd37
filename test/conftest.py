"""Settings of all tests."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from f1_ros.model.config import ExpertConfig, F1Config, KeypointConvConfig, SiglipConfig, TokenizerConfig

# Before torch and rclpy are imported anywhere. Tests with ROS set a domain of their own on top.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

# A script's background job ignores SIGINT, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every run, and no time limit: a busy machine is no failure.
settings.register_profile("f1_ros", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("f1_ros")

_ROS_FOLDERS = {"nodes", "bringup"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts ROS processes: `make test` runs those one after the other."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in _ROS_FOLDERS:
            item.add_marker(pytest.mark.ros)


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
