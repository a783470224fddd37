"""Nothing is sent to the robot past the limiter: shown from the source alone.

The chain has four links, each in one place. `LimitedStep` is made by the limiter only. `Command` is made by the
controller only, with position and velocity of a `LimitedStep` (its type, which mypy checks). Messages and goals for the
robot, of whatever transport, are made in `ActionNode._send` only, which takes a `Command` and is given what the
controller's tick returned; a trajectory is what a limiter made of the plan from that command on. No one else has a
publisher on a command topic, or a client of the gripper's action; but for the rival that the faults' run makes in the
simulated system, which publishes nothing. What people ask of the robot itself (`robot_requests`) names no joint.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import f1_ros
from f1_ros.robots.choose import transport_for
from f1_ros.robots.profile import JOINT_COMMAND, load_profile

PACKAGE = Path(f1_ros.__file__).parent
ACTION, CONTROLLER, LIMITS = "nodes/action_node.py", "control/controller.py", "control/limits.py"
GRIPPER, REQUESTS, TOPICS = "nodes/gripper_client.py", "nodes/robot_requests.py", "nodes/command_topics.py"
MADE_IN = {
    "LimitedStep": {LIMITS},
    "Command": {CONTROLLER},
    "ActionClient": {GRIPPER, REQUESTS},
    "Targets": {ACTION},
    "RobotRequest": {"robots/arx.py", "robots/franka.py"},
}
"""Classes, and the modules that may make one."""
CALLED_IN = {
    "command_messages": {(ACTION, "_send"), ("robots/arx.py", "command_messages")},
    "filled": {(ACTION, "_send")},
    "gripper_goal": {(ACTION, "_send"), ("robots/franka.py", "gripper_goal")},
    "send_goal_async": {(GRIPPER, "_send"), (REQUESTS, "_send")},
    "send_goal": set(),
}
"""Methods that lead to the robot, and the functions that may call them."""
RIVALS = ("nodes/fault_probe.py", "nodes/conformance/probe.py")
"""Have a publisher on the command topic for DDS to tell of."""
TWIN = "nodes/twin_ports.py"
"""Makes its publishers in `_talk`, whose topics are judged where it is called."""
TRUTH = "f'/f1_sim/"
"""Begins the names of topics on which a simulation says what no robot tells; none of them moves anything."""


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
        found |= {g["command"].get("action") or g["command"]["topic"] for g in profile["grippers"]}
        found |= {profile[part]["topic"] for part in ("body",) if part in profile}
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
        if not module.startswith("robots/") and module != TOPICS:
            found += [f"{module}:{n.lineno} uses {n.attr}" for n in ast.walk(tree) if is_outgoing(n)]
        if module == ACTION:
            found += sending(tree)
        if module in (ACTION, TOPICS, REQUESTS):
            found += publishing(module, tree)
    return found


def is_outgoing(node: ast.AST) -> bool:
    """The list of topics that commands go out on."""
    return isinstance(node, ast.Attribute) and node.attr == "outgoing"


def leads_past(call: Call, topics: set[str]) -> bool:
    name, arguments = call.name, [ast.unparse(a) for a in call.node.args]
    keywords = {k.arg: ast.unparse(k.value) for k in call.node.keywords}
    if name in MADE_IN:
        if call.module not in MADE_IN[name]:
            return True
        if name == "Command":  # position and velocity of one and the same step
            position, velocity = keywords.get("position", ""), keywords.get("velocity", "")
            return not (position == velocity.replace(".velocity", ".position") and position.endswith(".position"))
        if name == "Targets":
            return call.function != "_send" or arguments != ["command.position", "command.velocity", "streamed"]
        return False
    if name in CALLED_IN:
        return (call.module, call.function) not in CALLED_IN[name]
    if name == "replace" and call.module in (ACTION, CONTROLLER):  # a dataclass with other values
        return bool({"position", "velocity", "positions", "velocities", "streamed"} & set(keywords)) or (
            keywords.get("path", "path") != "path"
        )
    if name in ("create_publisher", "create_generic_publisher"):
        topic = keywords.get("topic", arguments[1] if len(arguments) > 1 else "")
        if topic.endswith(".command.topic"):
            return True
        if topic == "out.topic":  # of those that commands go out on
            return call.module != TOPICS
        if topic == "request.name":  # see test_what_people_ask_of_a_robot_names_no_joint
            return (call.module, call.function) != (REQUESTS, "_target")
        if (call.module, call.function) == (TWIN, "_talk"):
            return False
        if (call.module in RIVALS and call.function == "rival") or topic.startswith(TRUTH):
            return False
        if topic == "(profile.franka or ITS_OWN).state":  # what the simulated Franka says of itself
            return call.module != "nodes/sim_node.py"
        literal = topic.strip("'\"") if topic[:1] in "'\"" else None
        # A topic that is neither written out nor one of the profile's other topics cannot be judged.
        return literal in topics if literal is not None else not topic.endswith(".topic")
    if name == "_talk" and arguments[0] != "picture":  # a twin's cameras have the topics that it was given
        return any(re.fullmatch(pattern_of(call.node.args[1]), topic) for topic in topics)
    if name == "publish" and call.module in RIVALS:
        return "rival" in ast.unparse(call.node.func)
    if name == "command" and call.module.startswith("nodes/"):
        return (call.module, call.function) != (ACTION, "_send")
    return False


def pattern_of(topic: ast.expr) -> str:
    """Regular expression of the texts that an f-string or a literal can be; of anything else, all."""
    parts = topic.values if isinstance(topic, ast.JoinedStr) else [topic]
    texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
    return "".join(".*" if text is None else re.escape(str(text)) for text in texts)


def publishing(module: str, tree: ast.AST) -> list[str]:
    """Where something is published, or handed on to be published, but in `_send`; but for the status."""
    return [
        f"{module}:{n.lineno} {function.name}: {ast.unparse(n)}"
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
    if send is not None:
        for name, begins in (("streamed", "self._streamed.step("), ("path", "self._ahead.path(command, ")):
            assigned = [
                ast.unparse(n.value)
                for n in ast.walk(send)
                if isinstance(n, ast.Assign) and name in [ast.unparse(t) for t in n.targets]
            ]
            if not all(value.startswith(begins) for value in assigned):
                found.append(f"{ACTION}: {name} in _send is {assigned}")
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
    assert any(c.module == TOPICS and c.name == "create_publisher" and "out.topic" in str(c) for c in found)
    assert any(c.module == REQUESTS and c.name == "create_publisher" and "request.name" in str(c) for c in found)
    assert any(is_outgoing(n) for n in ast.walk(ast.parse(sources()[TOPICS])))
    assert any(c.module == ACTION and c.name == "_send" for c in found)
    assert command_topics() >= {
        "/target_joint", "/franka_gripper/gripper_action", "/franka_gripper/grasp", "/joint_control2", "/body_control",
        "/arm_master_l_status", "/wbc/arm_command", "/wbc/right_ee_command",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.stem for path in (PACKAGE.parent / "config" / "robots").glob("*.yaml")))
def test_what_people_ask_of_a_robot_names_no_joint(name) -> None:
    """Requests go past the limiter, so none of them may be a command: of neither type nor topic."""
    profile = load_profile(name, simulated=True)
    transport = transport_for(profile)
    requests = [*transport.enable(), *transport.recover(), *(r for e in transport.extras() for r in e.requests)]
    assert {r.name for r in requests}.isdisjoint(command_topics())
    assert {r.type for r in requests} <= {
        "franka_msgs/action/ErrorRecovery", "controller_manager_msgs/srv/SetHardwareComponentState",
        "controller_manager_msgs/srv/SwitchController", "std_msgs/msg/Int32MultiArray",
    }  # fmt: skip
    assert {out.topic for out in transport.outgoing} - {JOINT_COMMAND} <= command_topics()


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
        ("nodes/policy_node.py", "[self.create_publisher(k, t.topic, 1) for t in self._transport.outgoing]"),
        ("nodes/policy_node.py", "self.create_publisher(JointState, out.topic, COMMAND)"),
        ("nodes/policy_node.py", "self.create_publisher(kind, request.name, COMMAND)"),
        ("nodes/teleop_node.py", "self.create_publisher(JointControl, '/joint_control', COMMAND)"),
        ("nodes/expert_node.py", "transport.command_messages(targets)"),
        ("nodes/expert_node.py", "transport.gripper_goal('gripper', 0.04)"),
        ("nodes/expert_node.py", "Targets(command.position, command.velocity, streamed)"),
        ("nodes/expert_node.py", "RobotRequest('go', 'topic', '/joint_control', JOINT_CONTROL, {})"),
        ("nodes/demo_node.py", "self._topics.filled(message, 0)"),
        ("nodes/twin_ports.py", "self._talk(JointControl, '/joint_control2')"),
        ("nodes/twin_ports.py", "self._talk(JointControl, f'/joint_control{suffix}')"),
        ("nodes/twin_ports.py", "self._talk(JointState, where)"),
        ("nodes/action_node.py", "Targets(target, command.velocity, streamed)"),
        ("nodes/action_node.py", "replace(targets, path=self._plan)"),
        ("nodes/action_node.py", "replace(targets, streamed=widths)"),
        ("nodes/command_topics.py", "publisher.publish(message)"),
        ("nodes/robot_requests.py", "target.publish(message)"),
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
    assert [found for found in ways_past({module: planted}, command_topics()) if "elsewhere" in found or ":2 " in found]


GOOD_ACTION = """
def _tick(self, now_ns):
    command = self._controller.tick(now_ns)
    self._send(command, now_ns)

def _send(self, command: Command, now_ns):
    streamed = self._streamed.step(self._controller.gripper_commanded)
    targets = Targets(command.position, command.velocity, streamed)
    self._commands.publish(self._transport.command_messages(targets))
    path = self._ahead.path(command, now_ns)
    self._commands.publish(self._transport.command_messages(replace(targets, path=path)))
"""


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("command: Command", "command: Any"),
        ("command: Command", "command"),
        ("self._controller.tick(now_ns)", "self._last"),
        ("    self._send(command", "    command = self._other()\n    self._send(command"),
        ("self._send(command", "self._send(self._last"),
        ("self._streamed.step(", "self._device.grippers("),
        ("self._ahead.path(command", "self._timeline.path(command"),
        ("path=path", "path=self._chunk"),
    ],
)
def test_a_send_of_something_else_than_the_tick_s_command_is_found(good, bad) -> None:
    assert ways_past({ACTION: GOOD_ACTION}, command_topics()) == []
    assert ways_past({ACTION: GOOD_ACTION.replace(good, bad)}, command_topics()) != []


def test_another_name_for_a_command_is_found() -> None:
    source = "from f1_ros.control.command import Command as C\n"
    assert ways_past({"nodes/policy_node.py": source}, set()) != []
