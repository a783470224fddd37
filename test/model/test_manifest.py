"""The full-size network, built without memory, against the list of what the release stores."""

from __future__ import annotations

import json
from pathlib import Path

from f1_ros.cli.main import main
from f1_ros.model.manifest import manifest

RELEASED = json.loads((Path(__file__).parent / "data" / "f1_full_manifest.json").read_text())


def test_every_tensor_of_the_release_is_loaded_or_named_as_unused(tmp_path: Path) -> None:
    assert main(["model", "manifest", "--json", str(tmp_path / "manifest.json")]) == 0
    report = json.loads((tmp_path / "manifest.json").read_text())
    assert len(RELEASED) == 1605
    assert report["tensors"] == RELEASED
    assert sorted([*report["loaded"], *report["unused"]]) == sorted(RELEASED)


def test_only_heads_and_derived_tables_are_unused() -> None:
    listed = manifest()
    assert sorted(listed.unused) == [
        "model.lvl_1L",
        "model.paligemma_with_expert.gemma_expert.lm_head.weight",
        "model.paligemma_with_expert.gemma_wm_expert.lm_head.weight",
        "model.paligemma_with_expert.paligemma.language_model.lm_head.weight",
        "model.vae.quantize.ema_vocab_hit_SV",
        "vae.quantize.ema_vocab_hit_SV",
    ]
    assert all(listed.reasons.values())
    assert set(listed.reasons) == set(listed.unused)


def test_network_has_the_size_that_is_used() -> None:
    """4.19 B stored, of which the two experts' heads (2 x 257152 x 1024) are never allocated."""
    listed = manifest()
    parameters = 0
    for name, shape in listed.loaded.items():
        if not name.startswith("vae."):
            count = 1
            for side in shape:
                count *= side
            parameters += count
    assert round(parameters / 1e9, 2) == 3.66
    assert round((parameters + 2 * 257152 * 1024) / 1e9, 2) == 4.19
