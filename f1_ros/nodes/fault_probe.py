"""Watches a running system for `f1-ros faults run`, asks it for things, and plays the leader arm and the rival."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from f1_msgs.msg import ControlStatus
from f1_msgs.srv import Record, SetInstruction, SetMode
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from f1_ros.errors import BringUpError
from f1_ros.faults.catalogue import SWING_PERIOD_S, SWING_RAD
from f1_ros.faults.judge import CommandSample, Diagnosis, StatusSample
from f1_ros.nodes.conversions import to_ns
from f1_ros.nodes.lifecycle import NAMESPACE
from f1_ros.nodes.qos import COMMAND, DIAGNOSTICS, SENSOR
from f1_ros.nodes.watcher import ALL, MODES, NUMBERS, Watcher
from f1_ros.robots.profile import RobotProfile

ANSWER_S, RECORDER_S = 5.0, 60.0
LEADER_HZ, FLOOD_HZ = 50.0, 2000.0
JUMP_RAD = 0.3

NONSENSE: tuple[tuple[str, str, object], ...] = (
    ("policy_node", "max_rate", math.nan),
    ("policy_node", "max_rate", -1.0),
    ("policy_node", "seed", "many"),
    ("policy_node", "instruction", "pick\nplace"),
    ("policy_node", "max_observation_age", 1e9),
    ("policy_node", "policy", "/elsewhere"),
    ("observation_node", "max_frame_age", 1e9),
    ("observation_node", "frozen_after", 5),
    ("action_node", "control_rate", 1e6),
    ("action_node", "initial_mode", "fault"),
    ("action_node", "profile", "another"),
)
"""Node, parameter and value: out of range, of another type, or of a parameter that is set at start only."""


class FaultProbe(Watcher):
    """A node in a thread of its own, with a ROS context of its own, between `with` and its end."""

    def __init__(self, profile: RobotProfile) -> None:
        """Subscribe.

        Args:
            profile: the robot.
        """
        super().__init__("fault_probe", round(1e9 / profile.rates.control), self._lead)
        self._profile, node = profile, self._node
        self._command_topic = profile.arms[0].command.topic
        node.create_subscription(JointState, self._command_topic, self._on_command, ALL)
        node.create_subscription(ControlStatus, "status", self._on_status, COMMAND)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS)
        self._leader = node.create_publisher(JointState, "teleop/joint_command", SENSOR)
        self._clients: dict[str, Any] = {}
        self._rival: Any = None
        self._robot_obeys = False
        self.heard: set[str] = set()
        """Nodes that have said on /diagnostics how they are."""
        self._anchor: np.ndarray[Any, Any] | None = None
        self._swings_s = 0.0
        self.leader = "silent"
        """What the leader arm does: `swings`, `silent`, `nan`, `floods`, `far`, `jumps` or `partial`."""

    @property
    def robot_obeys(self) -> bool:
        """Whether the simulated robot follows its commands: not while it counts two that send them."""
        return self._robot_obeys

    def ask_for(self, mode: str) -> str:
        """Ask for a mode; gives the reason of a refusal, or nothing."""
        try:
            response = self._call(SetMode, "set_mode", SetMode.Request(mode=NUMBERS[mode]))
        except BringUpError as error:  # it may be dead
            return error.problem
        return "" if response.success else str(response.message)

    def set_parameter(self, node: str, name: str, value: object) -> str:
        """Change a parameter of a node; gives the reason of a refusal, or nothing."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        result = self._call(SetParameters, f"{node}/set_parameters", request).results[0]
        return "" if result.successful else str(result.reason or "refused")

    def record(self, command: int) -> str:
        """Ask the recorder; gives the reason of a refusal, or nothing."""
        response = self._call(Record, "record", Record.Request(command=command, instruction="pick"), RECORDER_S)
        return "" if response.success else str(response.message)

    def begin_episode(self) -> str:
        """Begin an episode; gives the reason of a refusal, or nothing."""
        return self.record(Record.Request.START)

    def keep_episode(self) -> str:
        """Keep the episode; gives the reason of a refusal, or nothing."""
        return self.record(Record.Request.KEEP)

    def drop_episode(self) -> str:
        """Throw the episode away; gives the reason of a refusal, or nothing."""
        return self.record(Record.Request.DISCARD)

    def ask_for_nonsense(self) -> list[str]:
        """Ask all nodes for what makes no sense; gives what was accepted."""
        accepted = [
            f"{node} takes {name} = {value!r}"
            for node, name, value in NONSENSE
            if not self.set_parameter(node, name, value)
        ]
        if self._call(SetInstruction, "set_instruction", SetInstruction.Request(instruction="a\tb\n")).success:
            accepted.append("policy_node takes an instruction with control characters")
        if self._call(SetMode, "set_mode", SetMode.Request(mode=77)).success:
            accepted.append("action_node takes mode 77")
        return accepted

    def rival(self, there: bool) -> None:
        """Publish on the command topic, or no more."""
        if there and self._rival is None:
            self._rival = self._node.create_publisher(JointState, self._command_topic, COMMAND)
        elif not there and self._rival is not None:
            self._node.destroy_publisher(self._rival)
            self._rival = None

    def swing(self) -> None:
        """Let the leader swing to and fro around where the arm is commanded to be."""
        commands = self.trace.commands
        if commands:
            self._anchor, self._swings_s = commands[-1].position.copy(), time.monotonic()
            self.leader = "swings"

    # -- threads ------------------------------------------------------------------------------------------------------

    def _lead(self) -> None:
        due_s = time.monotonic()
        while not self._stop.is_set():
            if self.leader != "silent" and self._anchor is not None:
                self._leader.publish(self._leader_message(self._anchor))
            due_s = max(due_s + 1.0 / (FLOOD_HZ if self.leader == "floods" else LEADER_HZ), time.monotonic() - 0.1)
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _leader_message(self, anchor: np.ndarray[Any, Any]) -> JointState:
        position = anchor.copy()
        swung_s = time.monotonic() - self._swings_s
        amplitude = SWING_RAD * min(1.0, swung_s / SWING_PERIOD_S)  # it begins where the arm is, and slowly
        position[0] += amplitude * math.sin(2 * math.pi * swung_s / SWING_PERIOD_S)
        position[0] += {"far": 10.0, "jumps": JUMP_RAD, "nan": math.nan}.get(self.leader, 0.0)
        count = len(position) - (self.leader == "partial")
        return JointState(name=list(self._profile.joints[:count]), position=position[:count].tolist())

    def _on_command(self, msg: JointState, info: dict[str, int]) -> None:
        position, velocity = np.array(msg.position), np.array(msg.velocity)
        sample = CommandSample(info["source_timestamp"], to_ns(msg.header.stamp), position, velocity)
        with self._lock:
            self.trace.commands.append(sample)

    def _on_status(self, msg: ControlStatus, info: dict[str, int]) -> None:
        mode, mode_ns = MODES[msg.mode], to_ns(msg.mode_stamp)
        sample = StatusSample(info["source_timestamp"], mode, mode_ns, msg.reason, msg.ticks, msg.missed)
        with self._lock:
            self.trace.statuses.append(sample)

    def _on_diagnostics(self, msg: DiagnosticArray, info: dict[str, int]) -> None:
        for status in msg.status:
            self.heard.add(status.name.partition(":")[0])
            if status.name == "sim_node: command topic":
                self._robot_obeys = status.level[0] == 0
        with self._lock:
            self.trace.diagnoses += [
                Diagnosis(info["source_timestamp"], status.name, status.level[0], status.message)
                for status in msg.status
            ]

    def _call(self, kind: Any, service: str, request: Any, patience_s: float = ANSWER_S) -> Any:
        if service not in self._clients:
            self._clients[service] = self._node.create_client(kind, service)
        client, answered = self._clients[service], threading.Event()
        answers: list[Any] = []

        def take(future: Any) -> None:
            answers.append(future.result())
            answered.set()

        if client.wait_for_service(timeout_sec=ANSWER_S):
            client.call_async(request).add_done_callback(take)
            if answered.wait(patience_s):
                return answers[0]
        raise BringUpError(f"/{NAMESPACE}/{service} does not answer.", remedy="See the logs of the run.")
