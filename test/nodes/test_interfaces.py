"""docs/interfaces.md says what the running nodes have: each node is started, and compared with its tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from f1_msgs.msg import ActionChunk, ControlStatus
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters
from rclpy.action.graph import get_action_client_names_and_types_by_node, get_action_server_names_and_types_by_node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState

from f1_ros.bringup_options import FrankaOptions
from f1_ros.engine.policy import PolicyFile, save_policy_file
from f1_ros.engine.protocol import PolicySpec
from f1_ros.nodes.qos import SENSOR
from f1_ros.robots.profile import load_profile

DOCUMENT = Path(__file__).parents[2] / "docs" / "interfaces.md"
RELIABLE = {"sensor": False, "joint history": False, "command": True, "observation": True}
KINDS = {
    f"{package}/msg/{kind.__name__}": kind
    for package, kind in (
        ("sensor_msgs", Image), ("sensor_msgs", JointState), ("f1_msgs", ControlStatus), ("f1_msgs", ActionChunk)
    )
}  # fmt: skip
STANDARD_TOPICS = {"/rosout", "/parameter_events", "/diagnostics", "/clock"}
STANDARD_PARAMETERS = {"autostart", "start_within", "use_sim_time", "start_type_description_service"}


NAMES = load_profile("franka_fr3").action_names
SPEC = PolicySpec(
    name="toy",
    robot="franka",
    cameras=("front", "wrist"),
    image_size=32,
    history_resize=16,
    history_size=16,
    history_offsets=(-2, 0),
    foresight_offset=6,
    step_s=0.05,
    first_step_offset=1,
    state_names=NAMES,
    action_names=NAMES,
    chunk_size=4,
)


@dataclass(frozen=True)
class Section:
    """One node's tables."""

    endpoints: frozenset[tuple[str, str, str]]  # direction, name, type
    reliable: dict[tuple[str, str], bool]  # direction, name
    parameters: dict[str, dict[str, str]]


def rows(text: str, heading: str) -> list[dict[str, str]]:
    """The rows of the table whose first column is called `heading`, by column."""
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("|")]
    starts = [i for i, line in enumerate(lines) if line[0] == heading]
    found = []
    for start in starts:
        for line in lines[start + 2 :]:
            if line[0] in ("direction", "topic", "parameter", "name", "argument"):
                break
            found.append(dict(zip(lines[start], line, strict=True)))
    return found


def absolute(name: str) -> str:
    return name if name.startswith("/") else f"/f1/{name}"


def section(node: str) -> Section:
    text = DOCUMENT.read_text()
    match = re.search(rf"^## {node}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"docs/interfaces.md has no section {node}"
    endpoints = rows(match[1], "direction")
    return Section(
        endpoints=frozenset((r["direction"], absolute(r["name"].strip("`")), r["type"].strip("`")) for r in endpoints),
        reliable={
            (r["direction"], absolute(r["name"].strip("`"))): RELIABLE[r["QoS"]]
            for r in endpoints
            if r["QoS"] in RELIABLE
        },
        parameters={r["parameter"].strip("`"): r for r in rows(match[1], "parameter")},
    )


def start(ros: Any, node: str, folder: Path) -> None:
    if node == "policy_node":
        ros.start(Path(__file__).with_name("echo_policy.py"))
    elif node == "observation_node":
        (folder / "policy").mkdir()
        save_policy_file(PolicyFile(SPEC, (False,) * 8), folder / "policy")
        ros.start(node, policy=str(folder / "policy"))
    elif node == "recorder_node":
        ros.start(node, dataset=str(folder / "dataset"))
    else:
        ros.start(node)


def stand_in_for_the_robot(ros: Any, node: str) -> None:
    """Some nodes wait for what they listen to: the action node commands nothing, the recorder subscribes to nothing."""
    if node == "action_node":
        ros.node.create_publisher(JointState, "/franka/joint_states", SENSOR)
    if node == "recorder_node":
        for direction, name, kind in section(node).endpoints:
            if direction == "subscribes":
                ros.node.create_publisher(KINDS[kind], name, SENSOR)


def graph(ros: Any, node: str) -> set[tuple[str, str, str]]:
    """What the graph knows of a node, without what every node has: (direction, name, type)."""
    me, found = ros.node, set()
    for direction, ask in (
        ("publishes", me.get_publisher_names_and_types_by_node),
        ("subscribes", me.get_subscriber_names_and_types_by_node),
        ("serves", me.get_service_names_and_types_by_node),
        ("serves", lambda *who: get_action_server_names_and_types_by_node(me, *who)),
        ("calls", lambda *who: get_action_client_names_and_types_by_node(me, *who)),
    ):
        for name, types in ask(node, "/f1"):
            own = name.startswith(f"/f1/{node}/") or "/_action/" in name
            if not own and (name not in STANDARD_TOPICS or (name == "/clock" and node in ("sim_node", "twin_node"))):
                found |= {(direction, name, kind) for kind in types}
    return found


def ask_parameters(ros: Any, node: str) -> dict[str, tuple[Any, Any]]:
    """Value and descriptor of each parameter of a running node."""
    listed = ros.call(ListParameters, f"/f1/{node}/list_parameters", ListParameters.Request()).result.names
    names = [name for name in listed if name not in STANDARD_PARAMETERS and not name.startswith("qos_overrides")]
    values = ros.call(GetParameters, f"/f1/{node}/get_parameters", GetParameters.Request(names=names)).values
    described = ros.call(
        DescribeParameters, f"/f1/{node}/describe_parameters", DescribeParameters.Request(names=names)
    ).descriptors
    return {
        name: (parameter_value_to_python(value), descriptor)
        for name, value, descriptor in zip(names, values, described, strict=True)
    }


def written(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def bounds(descriptor: Any) -> str:
    for limits, form in ((descriptor.integer_range, str), (descriptor.floating_point_range, "{:g}".format)):
        for limit in limits:
            return f"{form(limit.from_value)} .. {form(limit.to_value)}"
    return ""


@pytest.mark.parametrize(
    "node",
    [
        "action_node",
        "observation_node",
        "policy_node",
        "sim_node",
        "twin_node",
        "expert_node",
        "teleop_node",
        "recorder_node",
        "stand_in_node",
    ],
)
def test_a_running_node_has_what_its_tables_say(ros: Any, tmp_path: Path, node: str) -> None:
    says = section(node)
    stand_in_for_the_robot(ros, node)
    start(ros, node, tmp_path)

    def there() -> bool:
        return (node, "/f1") in ros.node.get_node_names_and_namespaces() and says.endpoints <= graph(ros, node)

    complete(ros, there, lambda: f"{says.endpoints - graph(ros, node)} is documented and not there")
    if node == "action_node":  # the command's publisher comes last
        ros.spin(0.5)
    assert graph(ros, node) == says.endpoints

    for (direction, name), reliable in says.reliable.items():
        ask = (
            ros.node.get_publishers_info_by_topic
            if direction == "publishes"
            else ros.node.get_subscriptions_info_by_topic
        )
        (own,) = [info for info in ask(name) if info.node_name == node]
        assert (own.qos_profile.reliability == ReliabilityPolicy.RELIABLE) == reliable, name
        assert own.qos_profile.durability == DurabilityPolicy.VOLATILE, name

    has = ask_parameters(ros, node)
    given = {"observation_node": {"policy"}, "recorder_node": {"dataset"}}.get(node, set())
    for name, (value, descriptor) in has.items():
        row = says.parameters[name]
        assert name in given or row["default"] == written(value), name
        assert row["range"] == bounds(descriptor), name
        assert row["live"] == ("no" if descriptor.read_only else "yes"), name
        assert row["what"] == descriptor.description, name
    assert set(says.parameters) == set(has)


def complete(ros: Any, there: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    try:
        ros.until(there, "the node is there")
    except AssertionError as error:
        raise AssertionError(f"{otherwise()}\n{error}") from None


def test_the_arguments_of_a_bring_up_are_as_documented() -> None:
    documented = {
        r["argument"].strip("`"): (r["default"].strip("`"), r["what"]) for r in rows(DOCUMENT.read_text(), "argument")
    }
    assert documented == {a.name: (a.default, a.help) for a in FrankaOptions.arguments()}
