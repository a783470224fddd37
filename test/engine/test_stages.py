"""The network in stages gives what the network gives: eager and compiled, on recordings of the released one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from f1_ros.engine.config import EngineConfig
from f1_ros.engine.export import build_engine
from f1_ros.engine.layout import Layout, StageRunner
from f1_ros.engine.opening import compiled_stages
from f1_ros.engine.staged import StagedNetwork
from f1_ros.engine.stages import TorchStages
from f1_ros.errors import CheckpointError
from f1_ros.model.checkpoint import load_policy_network, read_config, save_policy_network
from f1_ros.model.config import ExpertConfig, F1Config, SiglipConfig, TokenizerConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.flow import integrate
from f1_ros.model.golden import TOLERANCES

GOLDEN = ("f1_tiny_upstream", "five_layers", "one_step", "three_cameras")


def golden_layout(folder: Path) -> Layout:
    inputs = load_file(folder / "inputs.safetensors")
    images = sum(name.startswith("image") and not name.endswith("mask") for name in inputs)
    return Layout(read_config(folder), images, inputs["lang_tokens"].shape[1])


def run(runner: StageRunner, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Greedy foresight and actions of golden inputs, row by row."""
    network, layout = StagedNetwork(runner), runner.layout
    rows = []
    for row in range(inputs["state"].shape[0]):
        one = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
        images = torch.stack([one[f"image{i}"].float() for i in range(layout.images)], dim=1)
        mask = torch.stack([one[f"image{i}_mask"].bool() for i in range(layout.images)], dim=1)
        codes, embeds = zip(*(network.encode(frame[None]) for frame in one["history"][0].float()), strict=True)
        words = network.words(one["lang_tokens"].long())
        history = torch.stack(embeds, dim=1)
        first = network.read(images, mask, words, one["lang_masks"].bool(), history)
        assert first is not None
        logits: list[Tensor] = []

        def choose(scale: int, found: Tensor, logits: list[Tensor] = logits) -> Tensor:
            logits.append(found.clone())
            return found.argmax(-1)

        foreseen = network.foresight(first, choose)
        state = one["state"].float()
        actions = integrate(
            lambda x, t, state=state: network.velocity(state, x, t), one["noise"].float(), layout.config.num_steps
        )
        rows.append(
            {
                "history_indices": torch.stack(codes, dim=1),
                "history_embeds": history,
                "foresight_logits": torch.cat(logits, dim=1),
                "foresight_indices": torch.cat(foreseen, dim=1),
                "actions": actions.clone(),
                "vae_recon_first_frame": network.decode(torch.cat(foreseen, dim=1)).clone(),
            }
        )
    return {name: torch.cat([found[name] for found in rows]) for name in rows[0]}


@pytest.mark.parametrize("name", GOLDEN)
def test_eager_stages_reproduce_the_released_network(golden_directories: dict[str, Path], name: str) -> None:
    folder = golden_directories[name]
    runner = TorchStages(load_policy_network(folder), golden_layout(folder))
    with torch.no_grad():
        check_recorded(run(runner, load_file(folder / "inputs.safetensors")), folder)


@pytest.mark.parametrize("name", GOLDEN)
def test_compiled_stages_reproduce_the_released_network(
    golden_directories: dict[str, Path], name: str, tmp_path: Path
) -> None:
    folder, layout = golden_directories[name], golden_layout(golden_directories[name])
    config = EngineConfig(backend="onnxruntime")
    manifest = build_engine(folder, config, tmp_path / "engine", layout=layout)
    runner = compiled_stages(folder, tmp_path / "engine", manifest, threads=1)
    found = run(runner, load_file(folder / "inputs.safetensors"))
    check_recorded(found, folder)
    with torch.no_grad():
        eager = run(TorchStages(load_policy_network(folder), layout), load_file(folder / "inputs.safetensors"))
    assert torch.equal(found["foresight_indices"], eager["foresight_indices"])
    assert torch.allclose(found["vae_recon_first_frame"], eager["vae_recon_first_frame"], atol=1e-4)


def check_recorded(found: dict[str, Tensor], folder: Path) -> None:
    recorded = load_file(folder / "outputs.safetensors")
    for name in ("history_indices", "foresight_indices"):
        assert torch.equal(found[name], recorded[name].long()), name
    for name in ("history_embeds", "foresight_logits", "actions"):
        assert (found[name] - recorded[name]).abs().max() <= TOLERANCES[name], name


@pytest.fixture
def network(small_config: Callable[..., F1Config]) -> Callable[..., F1Model]:
    """Builds a small network for some images."""

    def build(images: int = 2, **kind: bool) -> F1Model:
        torch.manual_seed(0)
        return F1Model(small_config(cameras=images, num_resolutions=3, **kind)).eval()

    return build


@pytest.mark.parametrize(
    "kind",
    [{}, {"world": False}, {"history": False}, {"shielded": True}],
    ids=["whole", "no world model", "no history", "history through foresight alone"],
)
def test_whatever_a_network_has_its_stages_give_the_same(
    network: Callable[..., F1Model], kind: dict[str, bool]
) -> None:
    model = network(**kind)
    layout = Layout(model.config, images=2, words=6)
    draw = torch.Generator().manual_seed(1)
    images = torch.rand(1, 2, 3, 16, 16, generator=draw) * 2 - 1
    mask, spoken = torch.tensor([[True, False]]), torch.tensor([[True] * 4 + [False] * 2])
    tokens = torch.randint(0, 20, (1, 6), generator=draw)
    state, noise = torch.randn(1, 3, generator=draw), torch.randn(1, 4, 5, generator=draw)
    staged = StagedNetwork(TorchStages(model, layout))
    with torch.no_grad():
        history = inputs = None
        if layout.remembers:
            frames = torch.rand(3, 3, 12, 12, generator=draw) * 2 - 1
            inputs = torch.stack([staged.encode(frame[None])[1] for frame in frames], dim=1)
            history = model.history_embeds(inputs)
        prefix = model.prefix(images, mask, tokens, spoken, history)
        logits = staged.read(images, mask, staged.words(tokens), spoken, inputs)
        if layout.predicts:
            assert logits is not None
            codes = staged.foresight(logits, lambda scale, found: found.argmax(-1))
            assert torch.equal(torch.cat(codes, dim=1), model.foresight(prefix, greedy=True).codes)
        expected = model.sample_actions(prefix, state, noise)
        found = integrate(lambda x, t: staged.velocity(state, x, t), noise, 3)
    assert torch.allclose(found, expected, atol=1e-6)


def test_foresight_of_before_is_not_seen_after_the_next_observation(network: Callable[..., F1Model]) -> None:
    model = network()
    staged = StagedNetwork(TorchStages(model, Layout(model.config, images=2, words=6)))
    draw = torch.Generator().manual_seed(1)
    images = torch.rand(1, 2, 3, 16, 16, generator=draw)
    mask, spoken = torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 6, dtype=torch.bool)
    history, state, noise = torch.randn(1, 3, 13, 4, generator=draw), torch.zeros(1, 3), torch.zeros(1, 4, 5)

    def look() -> Tensor:
        logits = staged.read(images, mask, torch.ones(1, 6, 32), spoken, history)
        assert logits is not None
        return logits

    def act() -> Tensor:
        return staged.velocity(state, noise, torch.ones(1))

    with torch.no_grad():
        logits = look()
        without = act()
        staged.foresight(logits, lambda scale, found: found.argmax(-1))
        assert not torch.equal(act(), without)
        look()
        assert torch.equal(act(), without)


def test_a_network_of_other_images_has_no_layout(network: Callable[..., F1Model]) -> None:
    with pytest.raises(CheckpointError, match="takes 2 images, 3 are given"):
        Layout(network().config, images=3, words=6)


def deep() -> F1Config:
    """As many layers and flow steps as the released network, at a fraction of its widths."""
    wide = {"num_hidden_layers": 18, "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 4}
    return F1Config(
        vision=SiglipConfig(16, 32, 27, 2, image_size=28, patch_size=14),
        und=ExpertConfig(32, 64, vocab_size=64, **wide),
        gen=ExpertConfig(24, 48, **wide),
        act=ExpertConfig(16, 32, **wide),
        vae=TokenizerConfig(32, 4, 8, 4, (1, 2), 1, patch=2, norm_groups=4),
        scales=(1, 2, 3),
        num_resolutions=2,
        max_state_dim=8,
        max_action_dim=8,
    )


@pytest.mark.timeout(900)  # a minute of CPU time, and the machine may be busy
def test_the_released_depth_compiles(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_policy_network(F1Model(deep()), tmp_path / "network", torch.float32)
    layout = Layout(deep(), images=2, words=4)
    manifest = build_engine(
        tmp_path / "network", EngineConfig(backend="onnxruntime"), tmp_path / "engine", layout=layout
    )
    runners = (
        TorchStages(load_policy_network(tmp_path / "network"), layout),
        compiled_stages(tmp_path / "network", tmp_path / "engine", manifest, threads=1),
    )
    draw = torch.Generator().manual_seed(1)
    inputs = {
        **{f"image{i}": torch.rand(1, 3, 28, 28, generator=draw) * 2 - 1 for i in range(2)},
        **{f"image{i}_mask": torch.ones(1) for i in range(2)},
        "history": torch.rand(1, 4, 3, 12, 12, generator=draw) * 2 - 1,
        "lang_tokens": torch.randint(0, 64, (1, 4), generator=draw),
        "lang_masks": torch.ones(1, 4),
        "state": torch.randn(1, 8, generator=draw),
        "noise": torch.randn(1, 50, 8, generator=draw),
    }
    with torch.no_grad():
        eager, compiled = (run(runner, inputs) for runner in runners)
    assert torch.equal(eager["history_indices"], compiled["history_indices"])
    assert torch.equal(eager["foresight_indices"], compiled["foresight_indices"])
    assert torch.allclose(eager["actions"], compiled["actions"], atol=1e-4)
