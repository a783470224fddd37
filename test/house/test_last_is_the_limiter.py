"""Nothing is sent to the robot past the limiter: shown from the source alone.

The chain has four links, each in one place. `LimitedStep` is made by the limiter only. `Command` is made by the
controller only, with position and velocity of a `LimitedStep` (its type, which mypy checks). Messages and goals for the
robot are made in `ActionNode._send` only, which takes a `Command` and is given what the controller's tick returned. No
one else has a publisher on a command topic, or a client of the gripper's action; but for the rival that the faults' run
makes in the simulated system, which publishes nothing.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import f1_ros

PACKAGE = Path(f1_ros.__file__).parent
ACTION, CONTROLLER, LIMITS = "nodes/action_node.py", "control/controller.py", "control/limits.py"
GRIPPER = "nodes/gripper_client.py"
MADE_IN = {"LimitedStep": {LIMITS}, "Command": {CONTROLLER}, "ActionClient": {GRIPPER}}
"""Classes, and the modules that may make one."""
CALLED_IN = {
    "arm_commands": {(ACTION, "_send")},
    "gripper_goal": {(ACTION, "_send")},
    "send_goal_async": {(GRIPPER, "_send")},
    "send_goal": set(),
}
"""Methods that lead to the robot, and the functions that may call them."""
RIVAL = "nodes/fault_probe.py"
"""Has a publisher on the command topic for DDS to tell of."""


@dataclass(frozen=True)
class Call:
    """A call, and the innermost function that it stands in."""

    module: str
    function: str
    node: ast.Call

    @property
    def name(self) -> str:
        """Last part of what is called."""
        return ast.unparse(self.node.func).rpartition(".")[2]

    def __str__(self) -> str:
        return f"{self.module}:{self.node.lineno} {self.function}: {ast.unparse(self.node)}"


def calls(module: str, tree: ast.AST, function: str = "") -> Iterator[Call]:
    for child in ast.iter_child_nodes(tree):
        inner = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(child, ast.Call):
            yield Call(module, function, child)
        yield from calls(module, child, inner)


def command_topics() -> set[str]:
    """Topics and actions that move a robot, of all profiles in the tree."""
    found: set[str] = set()
    for path in (PACKAGE.parent / "config" / "robots").glob("*.yaml"):
        profile = yaml.safe_load(path.read_text())
        found |= {arm["command"]["topic"] for arm in profile["arms"]}
        found |= {gripper["command"]["action"] for gripper in profile["grippers"]}
    return found


def ways_past(sources: Mapping[str, str], topics: set[str]) -> list[str]:
    """Every place in the sources (by path inside f1_ros) that could bring something to the robot past the limiter."""
    found = []
    for module, source in sources.items():
        tree = ast.parse(source)
        if module not in MADE_IN["Command"]:
            renamed = [
                f"{module}:{n.lineno} imports {a.name} under another name"
                for n in ast.walk(tree)
                if isinstance(n, ast.ImportFrom)
                for a in n.names
                if a.name in MADE_IN and a.asname
            ]
            found += renamed
        found += [str(call) for call in calls(module, tree) if leads_past(call, topics)]
        if module == ACTION:
            found += sending(tree) + publishing(tree)
    return found


def leads_past(call: Call, topics: set[str]) -> bool:
    name, arguments = call.name, [ast.unparse(a) for a in call.node.args]
    keywords = {k.arg: ast.unparse(k.value) for k in call.node.keywords}
    if name in MADE_IN:
        if call.module not in MADE_IN[name]:
            return True
        if name == "Command":  # position and velocity of one and the same step
            position, velocity = keywords.get("position", ""), keywords.get("velocity", "")
            return not (position == velocity.replace(".velocity", ".position") and position.endswith(".position"))
        return False
    if name in CALLED_IN:
        return (call.module, call.function) not in CALLED_IN[name]
    if name == "replace" and call.module in (ACTION, CONTROLLER):  # a dataclass with other values
        return bool({"position", "velocity", "positions", "velocities"} & set(keywords))
    if name in ("create_publisher", "create_generic_publisher"):
        topic = keywords.get("topic", arguments[1] if len(arguments) > 1 else "")
        if topic.endswith(".command.topic"):
            return call.module != ACTION
        if (call.module, call.function) == (RIVAL, "rival"):
            return False
        literal = topic.strip("'\"") if topic[:1] in "'\"" else None
        # A topic that is neither written out nor one of the profile's other topics cannot be judged.
        return literal in topics if literal is not None else not topic.endswith(".topic")
    if name == "publish" and call.module == RIVAL:
        return "rival" in ast.unparse(call.node.func)
    if name == "command" and call.module.startswith("nodes/"):
        return (call.module, call.function) != (ACTION, "_send")
    return False


def publishing(tree: ast.AST) -> list[str]:
    """Where something is published, or handed on to be published, but in `_send`; but for the status."""
    return [
        f"{ACTION}:{n.lineno} {function.name}: {ast.unparse(n)}"
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name != "_send"
        for n in ast.walk(function)
        if isinstance(n, ast.Attribute)
        and n.attr in ("publish", "publish_raw")
        and ast.unparse(n) != "self._status_publisher.publish"
    ]


def sending(tree: ast.AST) -> list[str]:
    """What is wrong with how `_send` gets its command."""
    functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    found = []
    send = functions.get("_send")
    given = [] if send is None else [ast.unparse(a.annotation) for a in send.args.args[1:2] if a.annotation]
    if given != ["Command"]:
        found.append(f"{ACTION}: _send does not take a Command")
    for call in calls(ACTION, tree):
        if call.name != "_send":
            continue
        made = [
            ast.unparse(n.value)
            for n in ast.walk(functions.get(call.function, ast.Module([], [])))
            if isinstance(n, ast.Assign) and [ast.unparse(t) for t in n.targets] == [ast.unparse(call.node.args[0])]
        ]
        if not made or not all(value.startswith("self._controller.tick(") for value in made):
            found.append(f"{call}: not what the controller's tick gave")
    return found


def sources() -> dict[str, str]:
    return {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}


def test_nothing_in_the_package_can_send_past_the_limiter() -> None:
    assert ways_past(sources(), command_topics()) == []


def test_the_chain_that_is_checked_is_there() -> None:
    """A class or method that was renamed would make the test above say nothing."""
    found = [call for module, source in sources().items() for call in calls(module, ast.parse(source))]
    made = {(call.name, call.module) for call in found if call.name in MADE_IN}
    assert made == {(name, module) for name, modules in MADE_IN.items() for module in modules}
    called = {(call.name, call.module, call.function) for call in found if call.name in CALLED_IN}
    assert called == {(name, *place) for name, places in CALLED_IN.items() for place in places}
    assert any(c.module == ACTION and c.name == "create_publisher" and "command.topic" in str(c) for c in found)
    assert any(c.module == ACTION and c.name == "_send" for c in found)
    assert command_topics() >= {"/target_joint", "/franka_gripper/gripper_action"}


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("nodes/policy_node.py", "self.create_publisher(JointState, arm.command.topic, COMMAND)"),
        ("nodes/policy_node.py", "self.create_publisher(JointState, '/target_joint', 10)"),
        ("nodes/policy_node.py", "self.create_publisher(msg_type=JointState, topic='/target_joint', qos_profile=10)"),
        ("nodes/policy_node.py", "self.create_publisher(JointState, where, 10)"),
        ("cli/up.py", "ActionClient(node, GripperCommand, '/franka_gripper/gripper_action')"),
        ("nodes/demo_node.py", "self._client.send_goal_async(goal)"),
        ("nodes/demo_node.py", "self._grippers['gripper'].command(goal)"),
        ("nodes/expert_node.py", "adapter.arm_commands(position, velocity)"),
        ("nodes/expert_node.py", "adapter.gripper_goal('gripper', 0.04)"),
        ("control/arbiter.py", "LimitedStep(position, velocity, acceleration, False)"),
        ("control/controller.py", "limits.LimitedStep(position, velocity, acceleration, False)"),
        ("nodes/action_node.py", "Command(position=p, velocity=v, grippers={}, mode=m, source='', limited=False)"),
        ("control/controller.py", "Command(position=sample.position, velocity=step.velocity)"),
        ("control/controller.py", "Command(position=target, velocity=target)"),
        ("control/controller.py", "dataclasses.replace(command, position=target)"),
        ("nodes/action_node.py", "replace(command, velocity=zero)"),
        ("nodes/action_node.py", "publisher.publish(message)"),
        ("nodes/action_node.py", "at_deadline(partial(publisher.handle.publish_raw, data))"),
        ("nodes/gripper_client.py", "self._client.send_goal(message)"),
        ("nodes/fault_probe.py", "self._rival.publish(message)"),
    ],
)
def test_a_way_past_the_limiter_is_found(module, line) -> None:
    planted = f"def elsewhere(self):\n    {line}\n"
    if module == ACTION:
        planted += GOOD_ACTION
    assert [found for found in ways_past({module: planted}, command_topics()) if "elsewhere" in found]


GOOD_ACTION = """
def _tick(self, now_ns):
    command = self._controller.tick(now_ns)
    self._send(command, now_ns)

def _send(self, command: Command, now_ns):
    self._commands[0].publish(self._adapter.arm_commands(command.position, command.velocity))
"""


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("command: Command", "command: Any"),
        ("command: Command", "command"),
        ("self._controller.tick(now_ns)", "self._last"),
        ("    self._send(command", "    command = self._other()\n    self._send(command"),
        ("self._send(command", "self._send(self._last"),
    ],
)
def test_a_send_of_something_else_than_the_tick_s_command_is_found(good, bad) -> None:
    assert ways_past({ACTION: GOOD_ACTION}, command_topics()) == []
    assert ways_past({ACTION: GOOD_ACTION.replace(good, bad)}, command_topics()) != []


def test_another_name_for_a_command_is_found() -> None:
    source = "from f1_ros.control.command import Command as C\n"
    assert ways_past({"nodes/policy_node.py": source}, set()) != []
