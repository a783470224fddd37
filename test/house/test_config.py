"""Strict loading of configuration files: what is accepted, and how a mistake is told."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.config import load_yaml, parse
from f1_ros.errors import ConfigError, F1Error, ProfileError


@dataclass(frozen=True)
class Limits:
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __post_init__(self) -> None:
        if any(low > high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ProfileError("limits.lower is above limits.upper.", remedy="Swap them.")


@dataclass(frozen=True)
class Robot:
    name: str
    limits: Limits
    safe_action: Literal["hold", "stop"] = "hold"
    rate_hz: float = 100.0
    fallback: Limits | None = None
    groups: dict[str, Limits] = field(default_factory=dict)
    others: tuple[Limits, ...] = ()


LIMITS = {"lower": [-1.0, -2], "upper": [1.0, 2]}


def refused(text: str, tmp_path: Path, suffix: str = ".yaml") -> str:
    path = tmp_path / f"robot{suffix}"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_yaml(path, Robot, ProfileError)
    assert str(path) in caught.value.problem
    return str(caught.value).replace(str(path), "FILE")


def test_a_yaml_file_becomes_a_dataclass_with_defaults(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text("name: arm\nlimits:\n  lower: [-1, -2.5]\n  upper: [1e-3, 2]\n")
    assert load_yaml(path, Robot) == Robot("arm", Limits((-1.0, -2.5), (0.001, 2.0)), "hold", 100.0, None, {}, ())


def test_a_json_file_is_read_as_json(tmp_path: Path) -> None:
    path = tmp_path / "robot.json"
    path.write_text('{"name": "arm", "limits": {"lower": [0], "upper": [1]}}')
    assert load_yaml(path, Robot).limits == Limits((0.0,), (1.0,))


def test_a_yaml_anchor_can_be_merged_and_overridden(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text("name: arm\nlimits: &l {lower: [0], upper: [1]}\nfallback: {<<: *l, upper: [2]}\n")
    assert load_yaml(path, Robot).fallback == Limits((0.0,), (2.0,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "nmae: arm\nlimits: {lower: [0], upper: [1]}",
            "unknown key 'nmae'. (and 1 more) Remedy: Did you mean 'name'?",
        ),
        ("name: arm\nlimits: {lowr: [0], upper: [1]}", "'limits.lowr'. (and 1 more) Remedy: Did you mean 'lower'?"),
        ("name: arm", "key 'limits' is missing. Remedy: Add 'limits'."),
        ("name: 5\nlimits: {lower: [0], upper: [1]}", "key 'name': Input should be a valid string, not 5."),
        ("name: arm\nlimits: {lower: [0, x], upper: [1]}", "key 'limits.lower[1]': Input should be a valid number"),
        ("name: arm\nlimits: {lower: [.nan], upper: [1]}", "key 'limits.lower[0]': Input should be a finite number"),
        ("name: arm\nlimits: {lower: [2], upper: [1]}", "limits.lower is above limits.upper. Remedy: Swap them."),
        ("name: arm\nname: leg", "key 'name' is given twice"),
        ("name: [", "not valid yaml"),
        ("", "holds nothing where keys and values belong"),
        ("- a", "holds a list where keys and values belong"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_file_key_and_remedy(text: str, message: str, tmp_path: Path) -> None:
    told = refused(text, tmp_path)
    assert told.startswith("FILE: ")
    assert message in told


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"safe_action": "hlod"}, "key 'safe_action': Input should be 'hold' or 'stop', not 'hlod'."),
        ({"rate_hz": "100"}, "key 'rate_hz': Input should be a valid number, not '100'."),
        ({"rate_hz": True}, "key 'rate_hz': Input should be a valid number, not True."),
        ({"rate_hz": math.inf}, "key 'rate_hz': Input should be a finite number, not inf."),
        ({"fallback": {**LIMITS, "uper": []}}, "unknown key 'fallback.uper'. Remedy: Did you mean 'upper'?"),
        ({"groups": {"arm": {**LIMITS, "uper": []}}}, "unknown key 'groups.arm.uper'. Remedy: Did you mean 'upper'?"),
        ({"others": [LIMITS, {**LIMITS, "uper": []}]}, "unknown key 'others[1].uper'. Remedy: Did you mean 'upper'?"),
        ({"zzz": 1}, "Remedy: Remove it; known keys here: fallback, groups, limits, name, others"),
        ({"groups": {1, 2}}, "Use plain strings, numbers, lists and mappings."),
    ],
)
def test_a_mistake_in_plain_data_is_told_with_its_key(extra: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"name": "arm", "limits": LIMITS, **extra}, Robot, source="parameters")
    assert message in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_yaml(tmp_path / "robot.yaml", Robot)
    (tmp_path / "robot.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / "robot.yaml", Robot)
    assert "not valid json" in refused("{", tmp_path, ".json")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_plain_data_is_either_a_robot_or_an_explained_error(data: object) -> None:
    try:
        told = parse(data, Robot, source="data")
    except F1Error as error:
        told = str(error)
    assert isinstance(told, Robot) or (told.startswith("data: ") and "Remedy: " in told)
