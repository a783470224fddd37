"""Network configurations: upstream's are read as they are, wrong ones are refused by key."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_ros.errors import ConfigError
from f1_ros.model.config import F1Config
from f1_ros.model.manifest import FULL_SIZE

TINY = json.loads((Path(__file__).parents[1] / "golden" / "f1_tiny_upstream" / "config.json").read_text())


def test_upstream_configuration_is_read() -> None:
    config = F1Config.from_dict(TINY)
    assert config.scales == (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
    assert (config.frame_tokens, config.foresight_tokens, config.frame_size) == (680, 30, 256)
    assert (config.und.hidden_size, config.act.head_dim, config.vision.tokens) == (64, 16, 16)
    assert (config.chunk_size, config.max_state_dim, config.tokenizer_max_length) == (6, 9, 8)
    assert config.vae is not None
    assert (config.vae.vocab_size, config.vae.z_channels, config.vae.downsample) == (64, 8, 16)


def test_full_size_has_the_published_token_counts() -> None:
    assert FULL_SIZE.vision.tokens == 256
    assert FULL_SIZE.frame_tokens == 680
    assert FULL_SIZE.image_size == 224


@pytest.mark.parametrize("kwargs", [{}, {"siglip": True}, {"world": False}, {"history": False}])
def test_configuration_survives_its_own_layout(small_config: Callable[..., F1Config], kwargs: dict[str, bool]) -> None:
    config = small_config(**kwargs)
    assert F1Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def _set(path: str, value: Any) -> dict[str, Any]:
    tree = copy.deepcopy(TINY)
    *parents, leaf = path.split(".")
    section = tree
    for name in parents:
        section = section[name]
    if value is None:
        del section[leaf]
    else:
        section[leaf] = value
    return tree


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("und_expert_config", None, "und_expert_config is missing"),
        ("act_expert_config.head_dim", 8, "act_expert_config.head_dim is 8, but 16"),
        ("gen_expert_config.num_hidden_layers", 4, "gen_expert_config.num_hidden_layers is 4, but 3"),
        ("und_expert_config.text_config.num_key_value_heads", 3, "4 attention heads do not divide among 3"),
        ("und_expert_config.text_config.hidden_size", None, "text_config.hidden_size is missing"),
        (
            "und_expert_config.vision_config.model_type",
            "resnet",
            "'resnet', known are siglip_vision_model and keypoint",
        ),
        ("act_expert_config.hidden_activation", "relu", "act_expert_config.hidden_activation is 'relu'"),
        ("gen_expert_config.rope_theta", 1e6, "gen_expert_config.rope_theta is 1000000.0"),
        ("gen_expert_config.attention_bias", True, "gen_expert_config.attention_bias"),
        ("gen_expert_config.pn", "2_4", "gen_expert_config.pn is (2, 4)"),
        ("gen_expert_config.pn", "1_3_2", "gen_expert_config.pn is (1, 3, 2)"),
        ("gen_expert_config.pn", "1_x", "gen_expert_config.pn is '1_x'"),
        ("gen_expert_config.num_resolutions", 11, "gen_expert_config.num_resolutions is 11, expected 1 to 10"),
        ("gen_expert_config.num_resolutions", "4", "gen_expert_config.num_resolutions is '4'"),
        ("gen_expert_config.vae.channels", 3, "vae.channels is not a known key"),
        ("gen_expert_config.vae.ch", 33, "vae.ch 33 is not a multiple"),
        ("gen_expert_config.vae.ch_mult", 2, "vae"),
        ("chunk_size", 0, "config.chunk_size is 0"),
        ("num_steps", True, "config.num_steps is True"),
        ("proj_width", 64, "proj_width is 64, but the action expert's width is 32"),
        (
            "und_expert_config.vision_config.projection_dim",
            32,
            "projection_dim is 32, the understanding expert's width 64",
        ),
        ("use_world_model", "yes", "use_world_model is 'yes'"),
    ],
)
def test_wrong_key_is_named(tmp_path: Path, key: str, value: Any, words: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(_set(key, value)))
    with pytest.raises(ConfigError) as raised:
        F1Config.from_json(path)
    assert words in str(raised.value)
    assert str(path) in str(raised.value)
    assert "Remedy:" in str(raised.value)


def test_keypoint_tower_refuses_unknown_keys(small_config: Callable[..., F1Config]) -> None:
    tree = small_config().to_dict()
    tree["und_expert_config"]["vision_config"]["depth"] = 2
    with pytest.raises(ConfigError, match=r"vision_config\.depth is not a known key"):
        F1Config.from_dict(tree)


def _paths(tree: dict[str, Any], prefix: str = "") -> list[str]:
    paths = []
    for key, value in tree.items():
        paths.append(prefix + key)
        if isinstance(value, dict):
            paths += _paths(value, prefix + key + ".")
    return paths


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70000) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(_paths(TINY)), _JSON)
def test_any_value_anywhere_is_read_or_refused(path: str, value: Any) -> None:
    tree = _set(path, 0)
    *parents, leaf = path.split(".")
    section = tree
    for name in parents:
        section = section[name]
    section[leaf] = value
    with contextlib.suppress(ConfigError):
        config = F1Config.from_dict(tree)
        assert F1Config.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("text", ["", "[]", "null", '"x"', "{}", "\x00"])
def test_json_that_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json"):
        F1Config.from_json(path)
