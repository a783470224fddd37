"""Policy directories: what is written is read, and nothing else is."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from f1_ros.errors import CheckpointError
from f1_ros.model.checkpoint import load_policy_network, load_visual_tokenizer, read_config, save_policy_network
from f1_ros.model.config import ExpertConfig, F1Config, SiglipConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.manifest import manifest
from f1_ros.model.names import canonical_name

EMBED = "model.paligemma_with_expert.paligemma.language_model.model.embed_tokens.weight"
HEAD = "model.paligemma_with_expert.paligemma.language_model.lm_head.weight"


@pytest.fixture
def model(small_model: Callable[..., F1Model]) -> F1Model:
    return small_model()


@pytest.fixture
def policy(model: F1Model, tmp_path: Path) -> Path:
    save_policy_network(model, tmp_path / "policy", torch.float32)
    return tmp_path / "policy"


def _rewrite(policy: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(policy / "model.safetensors")
    change(tensors)
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, policy / "model.safetensors")


def _equal(a: F1Model, b: F1Model) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("kwargs", [{}, {"siglip": True}, {"world": False}, {"history": False}, {"cameras": 2}])
def test_saved_network_is_loaded_as_it_was(
    small_model: Callable[..., F1Model], tmp_path: Path, kwargs: dict[str, bool]
) -> None:
    model = small_model(**kwargs)
    save_policy_network(model, tmp_path, torch.float32)
    loaded = load_policy_network(tmp_path)
    assert loaded.config == model.config
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert _equal(loaded, model)
    assert not loaded.training
    assert not [n for n, t in (*loaded.named_parameters(), *loaded.named_buffers()) if t.is_meta]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_disk_becomes_float32(model: F1Model, tmp_path: Path, dtype: torch.dtype) -> None:
    save_policy_network(model, tmp_path, dtype)
    stored = load_file(tmp_path / "model.safetensors")
    assert {t.dtype for t in stored.values()} == {dtype}
    loaded = load_policy_network(tmp_path)
    assert {t.dtype for t in loaded.state_dict().values()} == {torch.float32}
    assert torch.equal(loaded.state_proj.weight, model.state_proj.weight.to(dtype).float())


def test_files_carry_the_released_names(policy: Path) -> None:
    names = set(load_file(policy / "model.safetensors"))
    assert EMBED in names
    assert "model.paligemma_with_expert.gemma_wm_expert.model.layers.1.mlp.gate_proj.weight" in names
    assert "model.vae.quantize.quant_resi.qresi_ls.3.weight" in names
    assert os.stat(policy / "model.safetensors").st_mode & 0o777 == 0o644


@pytest.mark.parametrize("flat_tower", [False, True])
def test_newer_namings_are_read(small_model: Callable[..., F1Model], tmp_path: Path, flat_tower: bool) -> None:
    model = small_model(siglip=True)
    save_policy_network(model, tmp_path, torch.float32)

    def rename(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            newer = name.replace("paligemma.language_model.model.", "paligemma.model.language_model.")
            newer = newer.replace("paligemma.vision_tower.", "paligemma.model.vision_tower.")
            newer = newer.replace("paligemma.multi_modal_projector.", "paligemma.model.multi_modal_projector.")
            if flat_tower:
                newer = newer.replace("vision_tower.vision_model.", "vision_tower.")
            tensors[newer] = tensors.pop(name)
        tensors["model.paligemma_with_expert.paligemma.lm_head.weight"] = torch.zeros(20, 32)

    _rewrite(tmp_path, rename)
    assert any(".paligemma.model.language_model.layers." in name for name in load_file(tmp_path / "model.safetensors"))
    assert _equal(load_policy_network(tmp_path), model)


def test_names_of_the_installed_transformers_are_known() -> None:
    """Whatever transformers calls PaliGemma's tensors today becomes the name that our files carry."""
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

    text = {
        "model_type": "gemma",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "vocab_size": 20,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 8,
        "patch_size": 4,
        "vision_use_head": False,
    }
    with torch.device("meta"):
        theirs = PaliGemmaForConditionalGeneration(
            PaliGemmaConfig(text_config=text, vision_config=vision, projection_dim=16)
        )
    prefix = "model.paligemma_with_expert.paligemma."
    expected = {
        name
        for name in manifest(
            F1Config(
                SiglipConfig(16, 16, 1, 2, 8, 4),
                ExpertConfig(16, 16, 1, 2, 1, 8, 20),
                ExpertConfig(16, 16, 1, 2, 1, 8, 20),
                use_world_model=False,
            )
        ).loaded
        if name.startswith(prefix)
    }
    assert {canonical_name(prefix + name) for name in theirs.state_dict()} - {HEAD} == expected


def test_tensors_that_the_release_shares_are_found_by_either_name(policy: Path, model: F1Model) -> None:
    def share(tensors: dict[str, Tensor]) -> None:
        tensors[HEAD] = tensors.pop(EMBED)
        for name in [n for n in tensors if n.startswith("model.vae.")]:
            tensors[name.removeprefix("model.")] = tensors.pop(name)

    _rewrite(policy, share)
    assert _equal(load_policy_network(policy), model)


def test_unused_tensors_of_the_release_are_passed_over(policy: Path, model: F1Model) -> None:
    def add(tensors: dict[str, Tensor]) -> None:
        tensors[HEAD] = torch.zeros(20, 32)
        tensors["model.paligemma_with_expert.gemma_expert.lm_head.weight"] = torch.zeros(20, 16)
        tensors["model.paligemma_with_expert.gemma_wm_expert.lm_head.weight"] = torch.zeros(20, 24)
        tensors["model.lvl_1L"] = torch.zeros(1, 14, dtype=torch.int64)
        tensors["model.vae.quantize.ema_vocab_hit_SV"] = torch.zeros(3, 32)

    _rewrite(policy, add)
    assert _equal(load_policy_network(policy), model)


def test_truncation_anywhere_is_refused(policy: Path) -> None:
    path = policy / "model.safetensors"
    whole = path.read_bytes()

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, len(whole) - 1))
    def refused(length: int) -> None:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=re.escape(str(path))):
            load_policy_network(policy)

    refused()


def test_damage_in_the_header_is_refused_or_harmless(policy: Path, model: F1Model) -> None:
    path = policy / "model.safetensors"
    whole = path.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, header - 1), st.integers(1, 255))
    def refused(at: int, flip: int) -> None:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
        with contextlib.suppress(CheckpointError):
            loaded = load_policy_network(policy)  # a blank in the padding, or a type of the same width
            assert list(loaded.state_dict()) == list(model.state_dict())

    refused()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("model.state_proj.bias"), ["model.state_proj.bias", "missing"]),
        (
            lambda t: t.update({"model.state_projection.bias": t.pop("model.state_proj.bias")}),
            ["model.state_proj.bias"],
        ),
        (lambda t: t.update({"model.extra": torch.zeros(2)}), ["model.extra", "not part of this network"]),
        (lambda t: t.update({"model.state_proj.bias": torch.zeros(3)}), ["model.state_proj.bias", "[3]", "[16]"]),
        (lambda t: t["model.lvl_embed.weight"].view(-1)[3:4].fill_(torch.nan), ["model.lvl_embed.weight", "NaN"]),
        (lambda t: t["model.lvl_embed.weight"].view(-1)[3:4].fill_(-torch.inf), ["model.lvl_embed.weight", "infinity"]),
        (
            lambda t: t.update({"model.state_proj.bias": torch.zeros(16, dtype=torch.int32)}),
            ["state_proj.bias", "int32"],
        ),
        (lambda t: t.clear(), ["missing"]),
        (
            lambda t: t.update({EMBED.replace(".language_model.model.", ".model.language_model."): t[EMBED]}),
            [EMBED, "same tensor by two names"],
        ),
    ],
)
def test_foreign_tensors_are_refused_by_name(
    policy: Path, change: Callable[[dict[str, Tensor]], object], words: list[str]
) -> None:
    _rewrite(policy, change)
    with pytest.raises(CheckpointError) as raised:
        load_policy_network(policy)
    for word in ["model.safetensors", "Remedy:", *words]:
        assert word in str(raised.value)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_missing_file_is_named(policy: Path, missing: str) -> None:
    (policy / missing).unlink()
    with pytest.raises(CheckpointError, match=missing):
        load_policy_network(policy)


def test_wrong_configuration_is_refused_by_key(policy: Path) -> None:
    tree = json.loads((policy / "config.json").read_text())
    tree["gen_expert_config"]["head_dim"] = 4
    (policy / "config.json").write_text(json.dumps(tree))
    with pytest.raises(CheckpointError, match=r"config\.json.*gen_expert_config\.head_dim is 4, but 8"):
        read_config(policy)
    (policy / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json.*JSON"):
        load_policy_network(policy)


def test_diverged_network_is_not_saved_over_a_good_one(policy: Path, model: F1Model) -> None:
    before = (policy / "model.safetensors").read_bytes()
    with torch.no_grad():
        model.state_proj.bias[0] = 1e9
    with pytest.raises(CheckpointError, match=r"state_proj\.bias.*float16"):
        save_policy_network(model, policy, torch.float16)
    assert (policy / "model.safetensors").read_bytes() == before
    assert sorted(p.name for p in policy.iterdir()) == ["config.json", "model.safetensors"]


def test_interrupted_save_leaves_the_good_one(policy: Path, model: F1Model, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (policy / "model.safetensors").read_bytes()

    def full(tensors: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("f1_ros.model.checkpoint.save_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_policy_network(model, policy)
    assert (policy / "model.safetensors").read_bytes() == before
    assert sorted(p.name for p in policy.iterdir()) == ["config.json", "model.safetensors"]


def test_loaded_network_outlives_its_file(policy: Path, model: F1Model) -> None:
    loaded = load_policy_network(policy)
    (policy / "model.safetensors").write_bytes(b"")
    assert _equal(loaded, model)


def _tokenizer_tensors(model: F1Model) -> dict[str, Tensor]:
    """As VAR's own file has them."""
    return {
        name.replace("quantize.phi.", "quantize.quant_resi.qresi_ls."): tensor
        for name, tensor in model.tokenizer.state_dict().items()
    }


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tokenizer_file_of_its_own_is_read(model: F1Model, tmp_path: Path, suffix: str) -> None:
    tensors = _tokenizer_tensors(model) | {"quantize.ema_vocab_hit_SV": torch.zeros(3, 32)}
    path = tmp_path / f"vae{suffix}"
    if suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    assert model.config.vae is not None
    loaded = load_visual_tokenizer(path, model.config.vae, model.config.scales)
    frames = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(loaded.encode(frames), model.tokenizer.encode(frames))


class _Payload:
    """A pickle that runs code when loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (os.mkdir, (str(self.marker),))


def test_pickle_with_code_is_refused_and_not_run(model: F1Model, tmp_path: Path) -> None:
    path, marker = tmp_path / "vae.pth", tmp_path / "ran"
    assert model.config.vae is not None
    for save in (lambda x: torch.save(x, path), lambda x: path.write_bytes(pickle.dumps(x))):
        save({"encoder.conv_in.weight": _Payload(marker)})
        with pytest.raises(CheckpointError, match=r"vae\.pth"):
            load_visual_tokenizer(path, model.config.vae, model.config.scales)
        assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps({"a": 1}), pickle.dumps([1, 2])])
def test_foreign_tokenizer_file_is_refused(model: F1Model, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vae.pth"
    path.write_bytes(content)
    assert model.config.vae is not None
    with pytest.raises(CheckpointError, match=r"vae\.pth"):
        load_visual_tokenizer(path, model.config.vae, model.config.scales)
