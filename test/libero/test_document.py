"""docs/libero.md says what the code does."""

import re
from pathlib import Path

import yaml

from f1_ros.config import parse
from f1_ros.data.sources import DatasetConfig
from f1_ros.libero.layout import ACTION_NAMES, STATE_NAMES, STEP_LIMITS
from f1_ros.libero.policy import camera_views
from f1_ros.paths import share_dir
from f1_ros.train.load_config import load_train_config

TEXT = (Path(__file__).parents[2] / "docs" / "libero.md").read_text()


def test_its_dataset_gives_what_a_policy_must_be() -> None:
    block = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    (dataset,) = [parse(d, DatasetConfig, source="docs/libero.md") for d in yaml.safe_load(block[1])["datasets"]]
    assert dataset.embodiment is not None
    assert dataset.embodiment.state().names == STATE_NAMES
    action = dataset.embodiment.action()
    assert action.names == ACTION_NAMES
    # LIBERO's closed and open gripper are 0 and 1 here.
    assert [(gain, offset) for gain, offset in zip(action.gain, action.offset, strict=True)][-1] == (-0.5, 0.5)


def test_its_layout_and_limits_are_the_codes() -> None:
    assert f"`{' '.join(STATE_NAMES)}`" in TEXT
    assert f"`{' '.join(ACTION_NAMES)}`" in TEXT
    *first, last = map(str, STEP_LIMITS.values())
    assert f"{', '.join(first)} and {last} steps" in TEXT


def test_the_shipped_training_configuration_makes_a_policy_that_fits() -> None:
    config = load_train_config(share_dir() / "config" / "train" / "finetune_libero.yaml")
    assert config.policy is not None
    assert set(camera_views(config.policy.spec, {})) == {"image", "wrist_image"}
