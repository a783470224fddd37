"""Weights of PaliGemma and pi0 fill a new network, in every naming, with a report and without a second copy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tuning_rig import tiny_network, tiny_network_config

from f1_ros.errors import CheckpointError
from f1_ros.model.config import F1Config, SiglipConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.names import upstream_name
from f1_ros.train.starting_point import load_starting_weights

MIXTURE = "model.paligemma_with_expert."
PALIGEMMA = MIXTURE + "paligemma."


@pytest.fixture
def network() -> F1Model:
    """The tiny network with SigLIP as its vision tower."""
    tiny = tiny_network_config()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return F1Model(
            F1Config(
                vision=SiglipConfig(16, 32, 2, 2, image_size=16, patch_size=8),
                **{k: getattr(tiny, k) for k in tiny.__dataclass_fields__ if k != "vision"},
            )
        )


def weights_of(network: F1Model, parts: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Weights for these parts, all 0.5, by upstream's names."""
    return {
        upstream_name(name): torch.full_like(tensor, 0.5)
        for name, tensor in network.state_dict().items()
        if name.startswith(parts)
    }


def paligemma_of(network: F1Model) -> dict[str, torch.Tensor]:
    """As google/paligemma-3b-pt-224 names them, with more rows in the embedding than the network has."""
    named = {name.removeprefix(PALIGEMMA): t for name, t in weights_of(network, ("vision.", "und.")).items()}
    rows = named["language_model.model.embed_tokens.weight"]
    named["language_model.model.embed_tokens.weight"] = torch.cat([rows, torch.ones(3, rows.shape[1])])
    return named


def test_paligemma_and_pi0_fill_what_they_have(network: F1Model, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    both = list(paligemma_of(network).items())
    (tmp_path / "paligemma").mkdir()
    save_file(dict(both[::2]), tmp_path / "paligemma" / "model-00001-of-00002.safetensors")
    save_file(dict(both[1::2]), tmp_path / "paligemma" / "model-00002-of-00002.safetensors")
    pi0 = weights_of(network, ("act.", "state_proj", "action_"))
    pi0["normalize_inputs.buffer_observation_state.mean"] = torch.zeros(3)
    pi0[MIXTURE + "gemma_expert.lm_head.weight"] = torch.zeros(2, 2)
    save_file(pi0, tmp_path / "pi0.safetensors")

    report = load_starting_weights(network, [tmp_path / "paligemma", tmp_path / "pi0.safetensors"])

    now = network.state_dict()
    for name, tensor in now.items():
        if name.startswith(("vision.", "und.", "act.", "state_proj", "action_")):
            assert torch.equal(tensor, torch.full_like(tensor, 0.5)), name
        else:
            assert torch.equal(tensor, before[name]), name
    assert report.cut == {"und.embed_tokens.weight": "the first 32 of 35 rows"}
    assert set(report.left.values()) == {
        "not part of this network",
        "an expert's output head: F1 reads actions and foresight through action_out_proj and wm_out_proj",
    }
    assert set(report.initialised) >= {"generation, gen", "generation, wm_out_proj"}
    assert not [part for part in report.initialised if not part.startswith("generation")]
    assert report.numbers == sum(t.numel() for n, t in now.items() if n in report.taken)
    assert "cut: und.embed_tokens.weight" in report.summary()
    assert json.loads(json.dumps(report.as_dict()))["left"] == report.left


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),  # as the release
        ("model.paligemma_with_expert.", "paligemma_with_expert."),  # a newer pi0
        (PALIGEMMA + "language_model.model.", "paligemma_with_expert.paligemma.model.language_model."),
        (PALIGEMMA + "language_model.model.", "model.language_model."),  # PaliGemma by transformers 5
        (PALIGEMMA + "vision_tower.vision_model.", "model.vision_tower."),
        (PALIGEMMA + "vision_tower.vision_model.", "vision_tower."),
    ],
)
def test_every_naming_is_known(network: F1Model, tmp_path: Path, old: str, new: str) -> None:
    weights = weights_of(network, ("vision.tower.", "und."))
    renamed = {new + name.removeprefix(old) if name.startswith(old) else name: t for name, t in weights.items()}
    save_file(renamed, tmp_path / "model.safetensors")
    report = load_starting_weights(network, [tmp_path])
    assert len(report.taken) == len(weights)
    assert report.left == {}


def test_a_tied_embedding_is_read_from_the_language_head(network: F1Model, tmp_path: Path) -> None:
    head = torch.full((32, 16), 0.25)
    save_file({"paligemma_with_expert.paligemma.lm_head.weight": head}, tmp_path / "model.safetensors")
    load_starting_weights(network, [tmp_path])
    assert torch.equal(network.und.embed_tokens.weight, head)
    both = {
        PALIGEMMA + "language_model.model.embed_tokens.weight": head * 2,
        PALIGEMMA + "language_model.lm_head.weight": head,
    }
    save_file(both, tmp_path / "model.safetensors")
    report = load_starting_weights(network, [tmp_path])
    assert torch.equal(network.und.embed_tokens.weight, head * 2)
    assert ["tied" in reason for reason in report.left.values()] == [True]


def test_the_later_source_counts(network: F1Model, tmp_path: Path) -> None:
    name = "model.action_out_proj.bias"
    for value in (1.0, 2.0):
        save_file({name: torch.full((4,), value)}, tmp_path / f"{value}.safetensors")
    load_starting_weights(network, [tmp_path / "1.0.safetensors", tmp_path / "2.0.safetensors"])
    assert network.action_out_proj.bias.tolist() == [2.0] * 4


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"model.action_out_proj.bias": torch.zeros(7)}, r"action_out_proj.bias has shape \[7\], .* asks for \[4\]"),
        ({"model.action_out_proj.bias": torch.full((4,), torch.nan)}, "action_out_proj.bias holds NaN"),
        ({"encoder.weight": torch.zeros(2)}, "holds nothing of this network"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor], words: str) -> None:
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=words):
        load_starting_weights(tiny_network(), [tmp_path])


def test_a_damaged_or_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no .safetensors file"):
        load_starting_weights(tiny_network(), [tmp_path])
    (tmp_path / "model.safetensors").write_bytes(b"half of it")
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_starting_weights(tiny_network(), [tmp_path])


PEAK = """
import json, resource, sys, torch
from pathlib import Path
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.train.starting_point import load_starting_weights
config = F1Config.from_dict(json.loads(Path(sys.argv[1], "config.json").read_text()))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
network = F1Model(config)
report = load_starting_weights(network, [Path(sys.argv[1])])
weights = sum(t.numel() * t.element_size() for t in network.state_dict().values())
print(json.dumps({"weights": weights, "peak": peak() - before, "numbers": report.numbers}))
"""


def test_the_peak_is_the_network_and_not_two(tmp_path: Path) -> None:
    """PaliGemma's shapes at an eighth of the width and half the layers: 0.2 GB."""
    wide = {"hidden_size": 256, "intermediate_size": 2048, "num_hidden_layers": 9, "num_key_value_heads": 1}
    heads = {"num_attention_heads": 8, "head_dim": 64}
    tree = tiny_network_config().to_dict()
    tree["und_expert_config"]["text_config"] = {**wide, **heads, "vocab_size": 120_000}
    tree["und_expert_config"]["vision_config"]["projection_dim"] = 256
    for key in ("gen_expert_config", "act_expert_config"):
        tree[key] |= {"num_hidden_layers": 9, **heads}
    (tmp_path / "config.json").write_text(json.dumps(tree))
    config = F1Config.from_dict(tree)
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in F1Model(config).state_dict().items() if name.startswith("und.")}
    save_file(
        {upstream_name(name): torch.zeros(shape, dtype=torch.bfloat16) for name, shape in shapes.items()},
        tmp_path / "model.safetensors",
    )
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(done.stdout)
    assert found["weights"] > 180e6
    assert found["numbers"] * 4 > 0.9 * found["weights"]
    assert found["peak"] < 1.2 * found["weights"] + 30e6  # 30 MB: code that loads on first use
