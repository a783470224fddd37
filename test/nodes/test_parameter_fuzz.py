"""Whatever a parameter is given, at start or while a node runs, it is within its bounds afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import rclpy
from hypothesis import given
from hypothesis import strategies as st
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from f1_ros.errors import ConfigError
from f1_ros.nodes import action_node, expert_node, observation_node, policy_node, recorder_node, sim_node, twin_node
from f1_ros.nodes.parameters import NodeParameter, declare

MODULES = (action_node, expert_node, observation_node, policy_node, recorder_node, sim_node, twin_node)
TABLE: dict[str, tuple[NodeParameter, ...]] = {
    module.__name__.rpartition(".")[2]: module.PARAMETERS for module in MODULES
}
VALUES = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(-2, 120)
    | st.floats()
    | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324])
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=600)
    | st.lists(st.floats(), min_size=1, max_size=3)
)


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    made = Context()
    rclpy.init(context=made, domain_id=100)
    yield made
    rclpy.try_shutdown(context=made)


@pytest.fixture(scope="module")
def nodes(context: Context) -> Iterator[dict[str, Node]]:
    made = {name: Node(f"fuzzed_{name}", context=context) for name in TABLE}
    for name, node in made.items():
        declare(node, TABLE[name])
    yield made
    for node in made.values():
        node.destroy_node()


def assert_within_bounds(parameter: NodeParameter, value: Any) -> None:
    assert type(value) is type(parameter.default)
    if parameter.lower is not None and parameter.upper is not None:
        assert parameter.lower <= value <= parameter.upper
    assert parameter.check is None or parameter.check(value) is None


NAMED = st.sampled_from([(node, parameter) for node, parameters in TABLE.items() for parameter in parameters])


@given(NAMED, VALUES)
def test_a_running_node_takes_a_value_within_bounds_or_refuses_it(
    nodes: dict[str, Node], named: tuple[str, NodeParameter], value: Any
) -> None:
    node, parameter = nodes[named[0]], named[1]
    before = node.get_parameter(parameter.name).value
    (result,) = node.set_parameters([Parameter(parameter.name, value=value)])
    after = node.get_parameter(parameter.name).value
    assert_within_bounds(parameter, after)
    assert after == (value if result.successful else before)
    assert not result.successful or parameter.live
    assert result.successful or result.reason


@given(NAMED, VALUES)
def test_a_node_starts_with_a_value_within_bounds_or_says_what_to_give(
    context: Context, named: tuple[str, NodeParameter], value: Any
) -> None:
    parameter = named[1]
    node = Node("fuzzed", context=context, parameter_overrides=[Parameter(parameter.name, value=value)])
    try:
        declare(node, TABLE[named[0]])
        assert_within_bounds(parameter, node.get_parameter(parameter.name).value)
    except ConfigError as error:
        assert parameter.name in error.remedy  # noqa: PT017
    finally:
        node.destroy_node()
