"""The network against recordings of the released one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from f1_ros.cli.main import main
from f1_ros.errors import CheckpointError
from f1_ros.model.golden import verify


def _changed(golden: Path, tmp_path: Path, file: str, changes: dict[str, torch.Tensor | None]) -> Path:
    """A copy of a golden directory with tensors of one file replaced or (None) removed."""
    copy = tmp_path / "golden"
    shutil.copytree(golden, copy)
    tensors = load_file(copy / file)
    for name, tensor in changes.items():
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor
    save_file(tensors, copy / file)
    return copy


def test_released_network_is_reproduced(golden_dir: Path) -> None:
    errors = {e.name: e for e in verify(golden_dir)}
    assert set(errors) == {
        "history_indices",
        "history_embeds",
        "foresight_logits",
        "foresight_indices",
        "actions",
        "train_action_loss",
        "train_gen_logits",
        "vae_recon_first_frame",
    }
    assert {name: e.tolerance for name, e in errors.items() if e.exact} == {
        "history_indices": 0,
        "foresight_indices": 0,
    }
    assert not [e for e in errors.values() if not e.ok]


def test_other_sizes_are_reproduced(variant_dir: Path) -> None:
    assert not [e for e in verify(variant_dir) if not e.ok]


@pytest.mark.parametrize("variant_dir", ["one_step"], indirect=True)
def test_command_reports_every_output_and_succeeds(variant_dir: Path, tmp_path: Path) -> None:
    assert main(["model", "verify", str(variant_dir), "--json", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["ok"] is True
    results = {r["name"]: r for r in report["results"]}
    assert results["history_indices"]["value"] == 0
    assert results["golden_max_error"]["value"] == max(
        r["value"] for r in report["results"] if r["unit"] != "codes" and r["name"] != "golden_max_error"
    )
    assert results["golden_max_error"]["value"] < 1e-4


@pytest.mark.parametrize("variant_dir", ["one_step"], indirect=True)
@pytest.mark.parametrize(("name", "delta"), [("actions", 1.1e-4), ("foresight_indices", 1)])
def test_output_outside_its_tolerance_fails(variant_dir: Path, tmp_path: Path, name: str, delta: float) -> None:
    recorded = load_file(variant_dir / "outputs.safetensors")[name]
    recorded.view(-1)[0] += delta
    copy = _changed(variant_dir, tmp_path / "x", "outputs.safetensors", {name: recorded})
    assert main(["model", "verify", str(copy), "--json", str(tmp_path / "report.json")]) == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["ok"] is False
    assert [r["name"] for r in report["results"] if not r["ok"]] == [name, "golden_max_error"]


@pytest.mark.parametrize("variant_dir", ["one_step"], indirect=True)
@pytest.mark.parametrize(
    ("file", "name", "tensor", "words"),
    [
        ("inputs.safetensors", "noise", None, ["noise", "missing"]),
        ("inputs.safetensors", "image0", None, ["image0", "missing"]),
        ("inputs.safetensors", "image1_mask", None, ["image1_mask", "missing"]),
        ("inputs.safetensors", "image3", torch.zeros(1, 3, 56, 56), ["image2", "missing"]),
        ("inputs.safetensors", "state", torch.zeros(1, 4), ["state", "[1, 4]", "[1, 9]"]),
        ("inputs.safetensors", "history", torch.zeros(1, 4, 3, 80, 80), ["history", "[1, 6, 3, 80, 80]"]),
        ("inputs.safetensors", "state", torch.full((1, 9), torch.nan), ["state", "NaN"]),
        ("inputs.safetensors", "lang_tokens", torch.full((1, 8), 512), ["lang_tokens", "511"]),
        ("outputs.safetensors", "actions", torch.full((1, 1, 9), torch.inf), ["actions", "NaN or infinity"]),
        ("outputs.safetensors", "actions", torch.zeros(1, 2, 9), ["actions", "[1, 2, 9]"]),
        ("outputs.safetensors", "train_gen_logits", None, ["train_gen_logits", "missing"]),
    ],
)
def test_damaged_directory_is_refused_by_name(
    variant_dir: Path, tmp_path: Path, file: str, name: str, tensor: torch.Tensor | None, words: list[str]
) -> None:
    copy = _changed(variant_dir, tmp_path / "x", file, {name: tensor})
    with pytest.raises(CheckpointError) as raised:
        verify(copy)
    for word in [file, *words]:
        assert word in str(raised.value)


@pytest.mark.parametrize("variant_dir", ["one_step"], indirect=True)
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "inputs.safetensors", "outputs.safetensors"])
def test_missing_or_cut_file_is_refused_by_name(
    variant_dir: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = variant_dir / file
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=file):
        verify(variant_dir)
    path.unlink()
    assert main(["model", "verify", str(variant_dir)]) == 2
    assert file in capsys.readouterr().err
