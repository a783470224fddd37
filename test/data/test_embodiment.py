"""Each transform gives the numbers that its family's documentation says, and undoes itself."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
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
from f1_ros.data.sources import DatasetConfig
from f1_ros.errors import ConfigError, DataError

TOOL = {
    "state_names": ("x", "y", "z", "gripper"),
    "action_names": ("dx", "dy", "dz", "gripper"),
    "state_gripper": Ends(0.0, 0.04),
    "action_gripper": Ends(1.0, -1.0),
}
FAMILIES: list[AnyEmbodiment] = [
    Franka(state_gripper=Ends(0.0, 0.04), action_gripper=Ends(0.0, 1.0), joint_unit="deg"),
    Genie1(state_gripper=Ends(35.0, 120.0), action_gripper=Ends(0.0, 1.0), width_m=0.1),
    AgiBot(
        state_gripper=Ends(0.0, 120.0),
        action_gripper=Ends(1.0, 0.0),
        width_m=0.1,
        order=(*range(7), 14, *range(7, 14), 15),
    ),
    Lift2(state_gripper=Ends(0.0, 5.0), action_gripper=Ends(0.0, -3.4), width_m=0.088),
    Libero(**TOOL),
    Bridge(**TOOL),
    Fractal(**TOOL),
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
    columns = FAMILIES[2].state()
    out = columns.to_robot(np.array([*range(1, 8), *range(11, 18), 60.0, 120.0]))
    np.testing.assert_allclose(out, [*range(1, 8), 0.05, *range(11, 18), 0.1])
    assert (columns.names[7], columns.names[15]) == ("left_gripper", "right_gripper")


def test_lift2_reads_grippers_of_either_sign() -> None:
    lift = FAMILIES[3]
    assert lift.state().to_robot(np.array([0.0] * 6 + [2.5] + [0.0] * 6 + [5.0]))[[6, 13]] == pytest.approx(
        [0.044, 0.088]
    )
    assert lift.action().to_robot(np.array([0.0] * 6 + [-1.7] + [0.0] * 6 + [-3.4]))[[6, 13]] == pytest.approx(
        [0.044, 0.088]
    )


def test_a_tool_family_turns_its_gripper_to_zero_closed_one_open() -> None:
    action = FAMILIES[4].action()
    assert action.to_robot(np.array([0.1, 0.2, 0.3, 1.0])).tolist() == [0.1, 0.2, 0.3, 0.0]
    assert action.to_robot(np.array([0.1, 0.2, 0.3, -1.0])).tolist() == [0.1, 0.2, 0.3, 1.0]


def test_what_is_not_known_has_no_default() -> None:
    for family in (Genie1, AgiBot, Lift2):
        with pytest.raises(TypeError, match="width_m"):
            family(state_gripper=Ends(0, 1), action_gripper=Ends(0, 1))
    for tool in (Libero, Bridge, Fractal):
        with pytest.raises(TypeError, match="state_gripper"):
            tool(state_names=("x",), action_names=("x",))


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
