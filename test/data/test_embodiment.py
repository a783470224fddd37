"""Each transform gives the numbers that its family's documentation says, and undoes itself."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.config import load_yaml
from f1_ros.data.embodiment import (
    AgiBot,
    AnyEmbodiment,
    Bridge,
    Columns,
    Ends,
    Fractal,
    Franka,
    Genie1,
    Libero,
    Lift2,
)
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.data.samples import SampleSpec
from f1_ros.data.sources import DatasetConfig, mixture
from f1_ros.data.stats import write_dataset_statistics
from f1_ros.errors import ConfigError, DataError
from f1_ros.train.finetune import statistics_of
from f1_ros.train.finetune_config import OptimiserConfig, Rates, TrainConfig

from .conftest import CAMERAS, Writer, episode

TOOL = {
    "state_names": ("x", "y", "z", "gripper"),
    "action_names": ("dx", "dy", "dz", "gripper"),
    "state_gripper": Ends(0.0, 0.04),
    "action_gripper": Ends(1.0, -1.0),
}
FAMILIES: list[AnyEmbodiment] = [
    Franka(state_gripper=Ends(0.0, 0.04), action_gripper=Ends(0.0, 1.0), joint_unit="deg"),
    Genie1(state_gripper=Ends(35.0, 120.0), action_gripper=Ends(0.0, 1.0), width_m=0.1),
    AgiBot(width_m=0.12),
    Lift2(state_gripper=Ends(0.0, 5.0), action_gripper=Ends(0.0, -3.4), width_m=0.088),
    Libero(action_gripper=Ends(1.0, -1.0)),
    Bridge(),
    Fractal(),
    Libero(**TOOL),
    AgiBot(
        width_m=0.1,
        state_gripper=Ends(35.0, 120.0),
        action_gripper=Ends(0.0, 1.0),
        order=(),
        state_keys=("observation.state",),
        action_keys=("action",),
    ),
]


@pytest.mark.parametrize("embodiment", FAMILIES, ids=lambda e: e.kind)
@given(data=st.data())
def test_out_and_back_is_the_same(embodiment: AnyEmbodiment, data: st.DataObject) -> None:
    for columns in (embodiment.state(), embodiment.action()):
        numbers = st.floats(-200.0, 200.0, width=32)
        row = np.array(data.draw(st.lists(numbers, min_size=len(columns.names), max_size=len(columns.names))))
        values = np.stack([row, row + 1.0])
        np.testing.assert_allclose(columns.to_dataset(columns.to_robot(values)), values, atol=1e-9)
        np.testing.assert_allclose(columns.to_robot(columns.to_dataset(values)), values, atol=1e-9)


def test_franka_in_degrees_with_a_finger_joint() -> None:
    franka = FAMILIES[0]
    out = franka.state().to_robot(np.array([90.0, 0, 0, -90, 0, 180, 0, 0.03]))
    np.testing.assert_allclose(out, [math.pi / 2, 0, 0, -math.pi / 2, 0, math.pi, 0, 0.06])
    assert franka.action().to_robot(np.array([0, 0, 0, 0, 0, 0, 0, 1.0]))[7] == pytest.approx(0.08)
    assert franka.state().names == (*(f"fr3_joint{i}" for i in range(1, 8)), "gripper")


def test_agibot_keeps_all_sixteen_and_puts_grippers_behind_their_arms() -> None:
    agibot = FAMILIES[2]
    state = agibot.state().to_robot(np.array([*range(1, 8), *range(11, 18), 60.0, 120.0]))
    np.testing.assert_allclose(state, [*range(1, 8), 0.06, *range(11, 18), 0.12])  # mm of opening
    action = agibot.action().to_robot(np.array([*range(1, 8), *range(11, 18), 1.0, 0.25]))
    np.testing.assert_allclose(action, [*range(1, 8), 0.0, *range(11, 18), 0.09])  # 1 is closed
    assert (agibot.state().names[7], agibot.state().names[15]) == ("left_gripper", "right_gripper")
    other = FAMILIES[8].state().to_robot(np.array([0.0] * 7 + [35.0] + [0.0] * 7 + [120.0]))
    np.testing.assert_allclose(other[[7, 15]], [0.0, 0.1])


def agibot_dataset(root: Path, length: int = 12) -> Path:
    """A dataset of one episode in AgiBot's layout, made of one in the usual one; its statistics are written too."""
    path = root / "data/chunk-000/episode_000000.parquet"
    table = pq.read_table(path).drop_columns(["observation.state", "action"])
    info = json.loads((root / "meta/info.json").read_text())
    del info["features"]["observation.state"], info["features"]["action"]
    for number, (key, width) in enumerate(AGIBOT_FEATURES.items()):
        rows = np.arange(length)[:, None] + 100.0 * number + 0.01 * np.arange(width)
        table = table.append_column(key, pa.array(rows.tolist(), pa.list_(pa.float32(), width)))
        info["features"][key] = {"dtype": "float32", "shape": [width], "names": None}
    pq.write_table(table, path)
    (root / "meta/info.json").write_text(json.dumps(info))
    write_dataset_statistics(LeRobotDataset(root))
    return root


AGIBOT_FEATURES = {
    "observation.states.effector.position": 2,
    "observation.states.joint.position": 14,
    "actions.effector.position": 2,
    "actions.joint.position": 14,
}


def test_a_dataset_with_joints_and_grippers_in_features_of_their_own(write_dataset: Writer) -> None:
    root = agibot_dataset(write_dataset([episode(0, 12)], version="v2.1"))
    spec = SampleSpec(CAMERAS, 16, 16, 16, (-1, 0), 1, 3)
    agibot = AgiBot(width_m=0.12)
    config = DatasetConfig(root, held_out=0.0, embodiment=agibot)
    (sample,) = mixture([config], spec, "train").samples([(10, np.random.default_rng(0))])
    joints = 110 + 0.01 * np.arange(14)
    opening = np.array([10.0, 10.01]) * 0.001
    expected = [*joints[:7], opening[0], *joints[7:], opening[1]]
    np.testing.assert_allclose(sample.state, expected, rtol=1e-6)
    assert sample.actions[:, 0].tolist() == [310.0, 311.0, 311.0]
    np.testing.assert_allclose(sample.actions[0, [7, 15]], [(1 - 210.0) * 0.12, (1 - 210.01) * 0.12], rtol=1e-6)

    run = TrainConfig("finetune", OptimiserConfig(Rates(action=1e-3), steps=1, warmup=0))
    found = statistics_of(config, run)
    np.testing.assert_allclose(found["observation.state"]["mean"], expected - np.array(4.5) * GAIN, rtol=1e-5)
    assert found["action"]["min"][7] == pytest.approx((1 - 211.0) * 0.12)
    with pytest.raises(DataError, match=r"no feature observation\.state\."):
        mixture([dataclasses.replace(config, embodiment=None)], spec, "train")


GAIN = np.array([1.0] * 7 + [0.001] + [1.0] * 7 + [0.001])


def test_lift2_reads_grippers_of_either_sign() -> None:
    lift = FAMILIES[3]
    assert lift.state().to_robot(np.array([0.0] * 6 + [2.5] + [0.0] * 6 + [5.0]))[[6, 13]] == pytest.approx(
        [0.044, 0.088]
    )
    assert lift.action().to_robot(np.array([0.0] * 6 + [-1.7] + [0.0] * 6 + [-3.4]))[[6, 13]] == pytest.approx(
        [0.044, 0.088]
    )


def test_libero_keeps_its_fingers_and_turns_its_gripper() -> None:
    libero = FAMILIES[4]
    row = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.03, -0.03])
    assert libero.state().to_robot(row).tolist() == row.tolist()
    assert len(libero.state().names) == 8
    action = libero.action()
    assert action.to_robot(np.array([0.1, 0.2, 0.3, 0, 0, 0, 1.0])).tolist() == [0.1, 0.2, 0.3, 0, 0, 0, 0.0]
    assert action.to_robot(np.array([0.1, 0.2, 0.3, 0, 0, 0, -1.0]))[6] == 1.0


def test_bridge_is_open_at_one_and_fractals_state_closed_at_one() -> None:
    bridge, fractal = FAMILIES[5], FAMILIES[6]
    row = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.25])
    assert bridge.state().to_robot(row)[7] == 0.25
    assert fractal.state().to_robot(row)[7] == 0.75
    assert bridge.state().names == ("x", "y", "z", "roll", "pitch", "yaw", "pad", "gripper")
    assert fractal.state().names == ("x", "y", "z", "rx", "ry", "rz", "rw", "gripper")
    for family in (bridge, fractal):
        assert family.action().names == ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
        assert family.action().to_robot(row[:7]).tolist() == row[:7].tolist()


def test_a_tool_familys_numbers_can_be_others() -> None:
    action = FAMILIES[7].action()
    assert action.to_robot(np.array([0.1, 0.2, 0.3, 1.0])).tolist() == [0.1, 0.2, 0.3, 0.0]
    assert action.to_robot(np.array([0.1, 0.2, 0.3, -1.0])).tolist() == [0.1, 0.2, 0.3, 1.0]


def test_what_is_not_known_has_no_default() -> None:
    for family in (Genie1, AgiBot, Lift2):
        with pytest.raises(TypeError, match="width_m"):
            family(**{} if family is AgiBot else {"state_gripper": Ends(0, 1), "action_gripper": Ends(0, 1)})
    with pytest.raises(TypeError, match="action_gripper"):
        Libero()


def test_mistakes_are_explained() -> None:
    with pytest.raises(ConfigError, match="closed at 1"):
        Ends(1.0, 1.0)
    with pytest.raises(ConfigError, match="does not name each of 3 numbers once"):
        Columns(("a", "b", "c"), (0, 0, 1), (1.0,) * 3, (0.0,) * 3)
    with pytest.raises(ConfigError, match="state_gripper do not fit"):
        Libero(state_names=("x",), action_names=("x",), state_gripper=Ends(0, 1), action_gripper=None)
    with pytest.raises(DataError, match=r"shape \(7,\) meets an embodiment of 8"):
        FAMILIES[0].state().to_robot(np.zeros(7))


@pytest.mark.parametrize("number", range(len(FAMILIES)))
def test_a_configuration_file_names_the_family(number: int, tmp_path: Path) -> None:
    embodiment = FAMILIES[number]
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps({"path": "demos", "embodiment": dataclasses.asdict(embodiment)}))
    assert load_yaml(file, DatasetConfig).embodiment == embodiment
