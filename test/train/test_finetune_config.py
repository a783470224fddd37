"""What a training configuration refuses, with the key and the remedy; what changes from the command line do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from tuning_rig import SETTINGS, settings

from f1_ros.errors import ConfigError
from f1_ros.paths import share_dir
from f1_ros.train.finetune_config import GROUPS
from f1_ros.train.load_config import load_train_config

RATES = SETTINGS["optimiser"]["rates"]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"optimiser": {"epochs": 2.0}}, "optimiser.steps and optimiser.epochs are both given"),
        ({"optimiser": {"steps": None}}, "optimiser.steps and optimiser.epochs are both missing"),
        ({"optimiser": {"warmup": 6}}, r"optimiser.warmup \(6\) does not end before optimiser.steps \(6\)"),
        ({"optimiser": {"rates": {}}}, "optimiser.rates is empty"),
        ({"optimiser": {"rates": {"vision": 0.0}}}, "optimiser.rates.vision is 0.0"),
        ({"optimiser": {"rates": {"vison": 1.0}}}, "unknown key 'optimiser.rates.vison'.*Did you mean 'vision'"),
        ({"optimiser": {"batch": 0}}, "optimiser.batch"),
        ({"optimiser": {"batch": "4"}}, "optimiser.batch"),
        ({"optimiser": {"average_decay": 1.0}}, "optimiser.average_decay is 1.0"),
        ({"optimizer": {}}, "unknown key 'optimizer'"),
        ({"stage": "stage3"}, "stage"),
        ({"stage": "world_model"}, "trains the generation expert alone, but optimiser.rates has vision, language, act"),
        ({"stage": "world_model", "optimiser": {"rates": {"action": 1.0}}}, "optimiser.rates has action"),
        ({"start": {"network": "n.json"}}, "start.policy and start.network are both given"),
        ({"start": {"visual_tokenizer": "v.pth"}}, "belong to start.network"),
        ({"start": {"policy": None, "network": "n.json"}}, "start.language is missing"),
        ({"lora": {"groups": []}}, "lora.groups is empty"),
        ({"lora": {"rank": 0}}, "lora.rank"),
        ({"lora": {}, "optimiser": {"rates": {"vision": 1.0}}}, "lora.groups names language, which .* freezes"),
        ({"foresight": {"mask_tokens": 1.5}}, "foresight.mask_tokens"),
        ({"logging": {"diverged": 1.0}}, "logging.diverged"),
        ({"logging": {"keep": 0}}, "keep"),
        ({"datasets": [{"path": "a", "weight": -1.0}]}, "weight is -1"),
        ({"data": {"normalisation": "minmax"}}, "data.normalisation"),
        ({"seed": -1}, "seed"),
        ({"frozen_precision": "bfloat16"}, "frozen_precision is bfloat16, but precision is float32"),
    ],
)
def test_what_cannot_be_meant_is_refused(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        settings(**sections)
    assert raised.value.remedy


@pytest.mark.parametrize("name", ["stage1_world_model", "stage2_pretrain", "stage3_finetune", "finetune_libero"])
def test_what_is_shipped_is_valid(name: str) -> None:
    config = load_train_config(share_dir() / "config" / "train" / f"{name}.yaml")
    rates = config.optimiser.rates
    if config.stage == "world_model":
        assert [group for group in GROUPS if rates.of(group) is not None] == ["generation"]
        assert (config.foresight.mask_sequences, config.foresight.mask_tokens) == (0.10, 0.15)
        return
    assert rates.vision == pytest.approx(0.5 * (rates.language or 0.0))
    assert config.foresight.weight == 0.1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def test_keys_are_changed_and_checked_as_in_the_file(file: Path) -> None:
    config = load_train_config(file, ["optimiser.rates.vision=null", "lora={groups: [language], rank: 4}", "seed=7"])
    assert config.optimiser.rates.vision is None
    assert config.lora is not None
    assert (config.lora.groups, config.lora.rank, config.seed) == (("language",), 4, 7)
    assert load_train_config(file, ["optimiser.rates.vision=1e-5"]).optimiser.rates.vision == 1e-5
    config = load_train_config(file, datasets=["a", "b"])
    assert [str(dataset.path) for dataset in config.datasets] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("optimiser.epochs=2.0", "both given"),
        ("optimiser.step=2", "unknown key 'optimiser.step'.*Did you mean 'steps'"),
        ("seed", "is no KEY=VALUE"),
        ("=3", "is no KEY=VALUE"),
        ("seed.deep=3", "'seed' holds no keys"),
        ("seed=[1", "not valid YAML"),
    ],
)
def test_a_wrong_change_is_refused(file: Path, change: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_train_config(file, [change])


@settings_of_hypothesis(max_examples=20, deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 512), st.floats(1e-9, 1.0))
def test_a_changed_value_arrives_as_it_was_written(steps: int, batch: int, rate: float) -> None:
    file = share_dir() / "config" / "train" / "stage3_finetune.yaml"
    changes = ["optimiser.warmup=0", f"optimiser.steps={steps}", f"optimiser.batch={batch}"]
    config = load_train_config(file, [*changes, f"optimiser.rates.action={rate!r}"])
    assert (config.optimiser.steps, config.optimiser.batch, config.optimiser.rates.action) == (steps, batch, rate)
