from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from f1_ros.model.config import F1Config
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
def small_model(small_config: Callable[..., F1Config]) -> Callable[..., F1Model]:
    """Builds a network with random weights, the same for the same arguments."""

    def build(**kwargs: object) -> F1Model:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return F1Model(small_config(**kwargs)).eval()

    return build
