"""Watches a running system for `f1-ros robot conformance`, and plays what moves it: a leader arm, a policy, a rival.

All that moves goes through the action node, on its own topics and services, so that profile, transport and limiter are
what is tried.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from f1_msgs.msg import ActionChunk as ActionChunkMsg
from f1_msgs.msg import ControlStatus
from f1_msgs.srv import SetMode
from numpy.typing import NDArray
from rclpy.action import get_action_server_names_and_types_by_node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from f1_ros.control.chunk import ActionChunk
from f1_ros.errors import ImageError
from f1_ros.faults.judge import CommandSample, StatusSample
from f1_ros.nodes.conversions import chunk_to_msg, compressed_frame, image_frame, to_ns
from f1_ros.nodes.interfaces import interface
from f1_ros.nodes.lifecycle import NAMESPACE
from f1_ros.nodes.qos import COMMAND, LATCHED, SENSOR
from f1_ros.nodes.watcher import ALL, MODES, NUMBERS, Watcher
from f1_ros.observe.frames import Frame
from f1_ros.robots.conformance import Snapshot
from f1_ros.robots.conformance_streams import CameraTrial, Endpoint, Role
from f1_ros.robots.parts import COMPRESSED_IMAGE
from f1_ros.robots.profile import RobotProfile
from f1_ros.robots.transport import Transport

Array = NDArray[np.float64]
Motion = Callable[[float], Array]
"""Where the joints are to be, (joints,) rad, so many seconds after its beginning."""

ANSWER_S, RECOVERED_S = 5.0, 30.0
LEADER_HZ, CHUNK_HZ = 50.0, 10.0
CHUNK_STEPS, STEP_NS = 40, 50_000_000
"""A plan of 2 s: it must outlast the policy's timeout, or the arm would be at rest when silence is noticed."""
_KEPT = 400
_ALL_STATES = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT)
_PICTURES = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


class ConformanceProbe(Watcher):
    """A node in a thread of its own, with a ROS context of its own, between `with` and its end.

    Args:
        profile: the profile that is tried.
        transport: of it.
        twin: names of the twin's cameras; None: a robot, of which no truth is known.
    """

    def __init__(self, profile: RobotProfile, transport: Transport, twin: Sequence[str] | None) -> None:
        super().__init__("conformance_probe", round(1e9 / profile.rates.control), self._send)
        self._profile, self._transport, node = profile, transport, self._node
        self.status: Any = None
        """The newest ControlStatus; None before the first."""
        self.description = ""
        """The robot's description, if one is published."""
        self._truth: dict[str, float] = {}
        self.stamps: dict[str, deque[int]] = {}
        """Stamps of what came on each topic, ns."""
        self._frames: dict[str, dict[int, Frame]] = {}
        self._truth_frames: dict[str, dict[int, Frame]] = {}
        self._parts: dict[int, dict[str, tuple[float, float]]] = {}
        self.leader: Motion | None = None
        """What the leader arm does; None: it is silent."""
        self.plan: Motion | None = None
        """What the policy plans; None: it is silent."""
        self.widths: dict[str, float] = {}
        """Widths that leader arm and policy ask of the grippers, m."""
        self._began_s = {"leader": 0.0, "plan": 0.0}
        self._sequence = 0
        self._leader = node.create_publisher(JointState, "teleop/joint_command", SENSOR)
        self._chunks = node.create_publisher(ActionChunkMsg, "action_chunk", COMMAND)
        self._set_mode = node.create_client(SetMode, "set_mode")
        self._recover = node.create_client(Trigger, "recover")
        self._commands = profile.arms[0].command
        self._rival: Any = None
        self._subscribe(twin)

    # -- what is seen -------------------------------------------------------------------------------------------------

    @property
    def command(self) -> CommandSample | None:
        """The newest command; None before the first."""
        commands = self.trace.commands
        return commands[-1] if commands else None

    @property
    def has_truth(self) -> bool:
        """The twin has said where its joints are."""
        return bool(self._truth)

    def snapshot(self) -> Snapshot:
        """Where everything is now."""
        status = self.status
        measured: dict[str, float] = {}
        if status is not None:
            measured = dict(zip(status.joint_names, status.measured, strict=False))
            measured |= dict(zip(status.gripper_names, status.gripper_measured, strict=False))
        return Snapshot(measured, dict(self._truth))

    def joints_now(self) -> Array:
        """(joints,) where the arms are: of a twin as it is, of a robot as measured, rad; NaN where not known."""
        now = self.snapshot()
        return np.array([(now.truth or now.measured).get(name, np.nan) for name in self._profile.joints])

    def endpoints(self, expected: Sequence[Endpoint]) -> list[Endpoint]:
        """What others have of the topics and actions that are expected."""
        node, found = self._node, []
        ours = {(node.get_name(), node.get_namespace()), ("action_node", f"/{NAMESPACE}")}
        served: list[tuple[str, str]] = []
        for name, namespace in node.get_node_names_and_namespaces():
            served += [
                (action, kind)
                for action, kinds in get_action_server_names_and_types_by_node(node, name, namespace)
                for kind in kinds
            ]
        for wanted in expected:
            if wanted.role is Role.SERVES:
                found += [Endpoint(name, Role.SERVES, kind) for name, kind in served if name == wanted.name]
                continue
            publishes = wanted.role is Role.PUBLISHES
            look = node.get_publishers_info_by_topic if publishes else node.get_subscriptions_info_by_topic
            found += [
                Endpoint(wanted.name, wanted.role, info.topic_type)
                for info in look(wanted.name)
                if (info.node_name, info.node_namespace) not in ours
            ]
        return found

    def camera(self, name: str) -> CameraTrial:
        """What has been seen of a camera, with what the twin saw at the same instant."""
        topic = self._profile.camera(name).topic
        with self._lock:
            frames = dict(self._frames.get(topic, {}))
            truth = {camera: dict(seen) for camera, seen in self._truth_frames.items()}
        stamps = list(self.stamps.get(topic, ()))
        common = [stamp for stamp in frames if all(stamp in seen for seen in truth.values())]
        newest = max(common, default=max(frames, default=0))
        if newest not in frames:
            return CameraTrial(name, stamps)
        try:
            picture = frames[newest].to_rgb(topic)
        except ImageError as error:
            return CameraTrial(name, stamps, trouble=error.problem)
        rendered = {camera: seen[newest].to_rgb(camera) for camera, seen in truth.items() if newest in seen}
        return CameraTrial(name, stamps, picture, rendered)

    # -- what is done -------------------------------------------------------------------------------------------------

    def lead(self, motion: Motion | None) -> None:
        """Let the leader arm do this, from now on; None: it falls silent."""
        self._began_s["leader"] = time.monotonic()
        self.leader = motion

    def plan_for(self, motion: Motion | None) -> None:
        """Let the policy plan this, from now on; None: it falls silent."""
        self._began_s["plan"] = time.monotonic()
        self.plan = motion

    def ask_for(self, mode: str) -> str:
        """Ask for a mode; gives the reason of a refusal, or nothing."""
        return self._call(self._set_mode, SetMode.Request(mode=NUMBERS[mode]), ANSWER_S)

    def recover(self) -> str:
        """Ask the action node to bring the robot back; gives the reason of a refusal, or nothing."""
        return self._call(self._recover, Trigger.Request(), RECOVERED_S)

    def rival(self, there: bool) -> None:
        """Stand as a second publisher on the first command topic, or no more; nothing is published there."""
        if there and self._rival is None:
            path = self._commands
            qos = LATCHED if path.latched else COMMAND
            self._rival = self._node.create_publisher(interface(path.type), path.topic, qos)
        elif not there and self._rival is not None:
            self._node.destroy_publisher(self._rival)
            self._rival = None

    def _call(self, client: Any, request: Any, patience_s: float) -> str:
        answered, answers = threading.Event(), list[Any]()

        def take(future: Any) -> None:
            answers.append(future.result())
            answered.set()

        if client.wait_for_service(timeout_sec=ANSWER_S):
            client.call_async(request).add_done_callback(take)
            if answered.wait(patience_s):
                return "" if answers[0].success else str(answers[0].message)
        return f"{client.srv_name} does not answer"

    # -- threads ------------------------------------------------------------------------------------------------------

    def _subscribe(self, twin: Sequence[str] | None) -> None:
        node, profile = self._node, self._profile
        for topic in profile.command_topics:
            node.create_subscription(JointState, topic, self._on_command, ALL)
        node.create_subscription(ControlStatus, "status", self._on_status, COMMAND)
        for source in self._transport.incoming:
            kind = interface(source.type)
            if "header" in kind.get_fields_and_field_types():  # a PosCmd has none
                self.stamps[source.topic] = deque(maxlen=_KEPT)
                take = partial(self._on_state, self.stamps[source.topic])
                node.create_subscription(kind, source.topic, take, _ALL_STATES)
        for camera in profile.cameras:
            self.stamps[camera.topic] = deque(maxlen=_KEPT)
            compressed = camera.type == COMPRESSED_IMAGE
            kind, read = (CompressedImage, compressed_frame) if compressed else (Image, image_frame)
            on_picture = partial(self._on_picture, read, self.stamps[camera.topic], self._frames, camera.topic)
            node.create_subscription(kind, camera.topic, on_picture, _PICTURES)
        if twin is None:
            node.create_subscription(String, "/robot_description", self._on_description, LATCHED)
        else:
            node.create_subscription(String, "/f1_sim/robot_description", self._on_description, COMMAND)
            node.create_subscription(JointState, "/f1_sim/joints", self._on_truth, COMMAND)
        for name in twin or ():
            self._truth_frames[name] = {}
            see = partial(self._on_picture, image_frame, deque[int](maxlen=1), self._truth_frames, name)
            node.create_subscription(Image, f"/f1_sim/camera/{name}", see, _PICTURES)

    def _send(self) -> None:
        due_s, ticks, every = time.monotonic(), 0, round(LEADER_HZ / CHUNK_HZ)
        while not self._stop.is_set():
            leader, plan = self.leader, self.plan
            if leader is not None:
                self._leader.publish(self._leader_message(leader(time.monotonic() - self._began_s["leader"])))
            if plan is not None and ticks % every == 0 and (message := self._chunk_message(plan)) is not None:
                self._chunks.publish(message)
            ticks += 1
            due_s = max(due_s + 1.0 / LEADER_HZ, time.monotonic() - 0.1)
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _leader_message(self, position: Array) -> JointState:
        names = [*self._profile.joints, *self.widths]
        return JointState(name=names, position=array("d", [*position, *self.widths.values()]))

    def _chunk_message(self, plan: Motion) -> ActionChunkMsg | None:
        """A plan from the present instant on, as the action node's clock has it; None while that is not known."""
        profile, command, status = self._profile, self.command, self.status
        if command is None or status is None:
            return None
        now_ns = command.stamp_ns + time.time_ns() - command.sent_ns
        passed_s = time.monotonic() - self._began_s["plan"]
        heard = dict(zip(status.gripper_names, status.gripper_measured, strict=True))
        measured = {g.name: heard[g.name] if np.isfinite(heard[g.name]) else g.open for g in profile.grippers}
        rows, damaged = [], False
        for i in range(1, CHUNK_STEPS + 1):
            values: Mapping[str, float] = {
                **measured,
                **self.widths,
                **dict(zip(profile.joints, plan(passed_s + i * STEP_NS * 1e-9), strict=True)),
            }
            rows.append([values[name] for name in profile.action_names])
        positions = np.array(rows)
        if not np.isfinite(positions).all():  # an ActionChunk holds no NaN; what comes over the network may
            damaged, positions = True, np.nan_to_num(positions)
        chunk = ActionChunk(profile.embodiment, now_ns, now_ns + STEP_NS, STEP_NS, profile.action_names, positions)
        self._sequence += 1
        message = chunk_to_msg(chunk, self._sequence, "conformance", "")
        if damaged:
            for point in message.trajectory.points:
                point.positions = array("d", [np.nan] * len(profile.action_names))
        return message

    def _on_command(self, msg: JointState, info: Mapping[str, int]) -> None:
        """Put a command together: arms may have topics of their own."""
        stamp_ns, joints = to_ns(msg.header.stamp), self._profile.joints
        parts = self._parts.setdefault(stamp_ns, {})
        velocity = msg.velocity if len(msg.velocity) == len(msg.name) else [np.nan] * len(msg.name)
        parts |= {name: (p, v) for name, p, v in zip(msg.name, msg.position, velocity, strict=False)}
        if any(name not in parts for name in joints):
            if len(self._parts) > _KEPT:  # an arm that is not commanded: its part never comes
                self._parts.clear()
            return
        self._parts.clear()
        position, speed = (np.array([parts[name][i] for name in joints]) for i in (0, 1))
        with self._lock:
            self.trace.commands.append(CommandSample(info["source_timestamp"], stamp_ns, position, speed))

    def _on_status(self, msg: ControlStatus, info: Mapping[str, int]) -> None:
        sample = StatusSample(
            info["source_timestamp"], MODES[msg.mode], to_ns(msg.mode_stamp), msg.reason, msg.ticks, msg.missed
        )
        with self._lock:
            self.status = msg
            self.trace.statuses.append(sample)

    def _on_state(self, stamps: deque[int], msg: Any) -> None:
        stamps.append(to_ns(msg.header.stamp))

    def _on_truth(self, msg: JointState) -> None:
        self._truth = dict(zip(msg.name, msg.position, strict=True))

    def _on_description(self, msg: String) -> None:
        self.description = msg.data

    def _on_picture(
        self, read: Callable[[Any], Frame], stamps: deque[int], frames: dict[str, dict[int, Frame]], key: str, msg: Any
    ) -> None:
        stamp_ns = to_ns(msg.header.stamp)
        stamps.append(stamp_ns)
        with self._lock:
            seen = frames.setdefault(key, {})
            seen[stamp_ns] = read(msg)
            while len(seen) > 10:
                del seen[min(seen)]
