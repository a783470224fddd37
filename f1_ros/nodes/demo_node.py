"""Watches a running system through its topics, for the demo and the benchmark, and asks for modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from f1_msgs.msg import ActionChunk as ActionChunkMsg
from f1_msgs.msg import ControlStatus
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState

from f1_ros.cli.demo_show import Show
from f1_ros.cli.recording import Array, Recording, StatusSample
from f1_ros.control.arbiter import Mode
from f1_ros.engine.policy import load_spec
from f1_ros.engine.protocol import PolicySpec
from f1_ros.nodes.conversions import SECOND_NS, compressed_frame, image_frame, to_ns
from f1_ros.nodes.interfaces import interface
from f1_ros.nodes.lifecycle import NAMESPACE
from f1_ros.nodes.onlooker import ModeAsker
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.nodes.watcher import MODES, NodeThread
from f1_ros.observe.frames import Frame
from f1_ros.observe.preprocess import history_frame
from f1_ros.observe.view import CameraView
from f1_ros.robots.choose import transport_for
from f1_ros.robots.parts import COMPRESSED_IMAGE
from f1_ros.robots.profile import RobotProfile, load_profile

PICTURE_NS = SECOND_NS // 10
"""Shortest time between two pictures that are kept for the video."""


class _Joints:
    """Positions of all joints, put together from the topics that carry some of them each.

    Args:
        names: all joints.
        topics: the topics; each time every one has said something new, a sample is complete.
        into: where samples go: stamp, ns, and positions, rad.
    """

    def __init__(self, names: Sequence[str], topics: Sequence[str], into: list[tuple[int, Array]]) -> None:
        self._names, self._topics, self._into = names, set(topics), into
        self._newest: dict[str, float] = {}
        self._heard: set[str] = set()

    def take(self, topic: str, stamp_ns: int, names: Sequence[str], positions: Sequence[float]) -> None:
        self._newest.update(zip(names, positions, strict=True))
        self._heard.add(topic)
        if self._heard == self._topics:
            self._into.append((stamp_ns, np.array([self._newest[name] for name in self._names])))
            self._heard.clear()


class DemoNode(Node):
    """Writes what it sees into a recording."""

    def __init__(
        self, context: Context, recording: Recording, profile: RobotProfile, spec: PolicySpec, show: Show
    ) -> None:
        """Subscribe to everything that the demo shows."""
        super().__init__("demo", namespace=NAMESPACE, context=context)
        self._recording, self._spec, self._show = recording, spec, show
        recording.arms = tuple(tuple(joint.name for joint in arm.joints) for arm in profile.arms)
        self.create_subscription(ControlStatus, "status", self._on_status, COMMAND)
        self.create_subscription(ActionChunkMsg, "action_chunk", self._on_chunk, COMMAND)
        self.create_subscription(Image, "foresight/image", self._on_foresight, SENSOR)
        self.create_subscription(DiagnosticStatus, "/f1_sim/counts", self._on_counts, COMMAND)
        if show.drawn:
            self.create_subscription(Odometry, "/f1_sim/cube", self._on_cube, SENSOR)
        camera = profile.camera(spec.cameras[0])
        self._view = CameraView(camera)
        compressed = camera.type == COMPRESSED_IMAGE
        kind, read = (CompressedImage, compressed_frame) if compressed else (Image, image_frame)
        self.create_subscription(kind, camera.topic, partial(self._on_frame, read), SENSOR)
        self._transport = transport_for(profile)
        states = [source for source in self._transport.incoming if source.joints]
        self._measured = _Joints(profile.joints, [source.topic for source in states], recording.measured)
        for source in states:
            on_state = partial(self._on_measured, source.topic)
            self.create_subscription(interface(source.type), source.topic, on_state, SENSOR)
        self._commanded = _Joints(profile.joints, list(profile.command_topics), recording.commanded)
        for topic in profile.command_topics:
            self.create_subscription(JointState, topic, partial(self._on_commanded, topic), SENSOR)
        self._asker = ModeAsker(self)

    @property
    def ready(self) -> bool:
        """Whether status, chunks, pictures and counts all come, and modes can be asked for."""
        seen = self._recording
        come = seen.statuses and seen.model_latencies and seen.frames and seen.counted
        return bool(come and self._asker.ready)

    def ask_for(self, mode: str) -> bool:
        """See `ModeAsker.ask_for`."""
        statuses = self._recording.statuses
        return bool(statuses) and self._asker.ask_for(Mode[mode], Mode[statuses[-1].mode])

    @property
    def refusal(self) -> str:
        """Why the last request for a mode was refused; empty if it was not."""
        return self._asker.refusal

    def _on_status(self, msg: ControlStatus) -> None:
        recording, stamp_ns = self._recording, to_ns(msg.header.stamp)
        sample = StatusSample(
            time_ns=stamp_ns,
            mode=MODES[msg.mode],
            source=msg.source,
            reason=msg.reason,
            period_s=msg.period,
            period_error_p99_s=msg.period_error_p99,
            ticks=msg.ticks,
            missed=msg.missed,
            limited=msg.limited,
            camera_to_command_s=to_ns(msg.camera_to_command) * 1e-9,
        )
        if sample.mode == "POLICY" and recording.switch_ns is None:
            recording.counts_at_switch = recording.counts
            recording.switch_ns = stamp_ns
        if msg.gripper_measured:
            recording.widths.append((stamp_ns, np.asarray(msg.gripper_measured, dtype=np.float64)))
        if sample.mode == "FAULT" and recording.statuses and recording.statuses[-1].mode != "FAULT":
            recording.faults.append((stamp_ns, sample.reason))
        recording.statuses.append(sample)

    def _on_chunk(self, msg: ActionChunkMsg) -> None:
        self._recording.model_latencies.append((to_ns(msg.header.stamp), to_ns(msg.model_latency) * 1e-9))

    def _on_foresight(self, msg: Image) -> None:
        picture = np.array(image_frame(msg).to_rgb("foresight/image"))
        self._recording.foresights.append((to_ns(msg.header.stamp), picture))

    def _on_frame(self, read: Callable[[Any], Frame], msg: Any) -> None:
        recording, spec, stamp_ns = self._recording, self._spec, to_ns(msg.header.stamp)
        picture = self._view.picture(read(msg))
        frame = history_frame(picture, spec.history_resize, spec.history_size).transpose(1, 2, 0)
        recording.frames.append((stamp_ns, np.ascontiguousarray(frame)))
        kept = recording.pictures
        if not self._show.drawn and (not kept or stamp_ns - kept[-1][0] >= PICTURE_NS):
            kept.append((stamp_ns, np.array(picture)))

    def _on_measured(self, topic: str, msg: Any) -> None:
        reading = self._transport.read(topic, msg)
        self._measured.take(topic, to_ns(msg.header.stamp), reading.names, reading.positions)

    def _on_commanded(self, topic: str, msg: JointState) -> None:
        self._commanded.take(topic, to_ns(msg.header.stamp), msg.name, msg.position)

    def _on_cube(self, msg: Odometry) -> None:
        at, turn = msg.pose.pose.position, msg.pose.pose.orientation
        pose = np.array([at.x, at.y, at.z, turn.w, turn.x, turn.y, turn.z])
        self._recording.cubes.append((to_ns(msg.header.stamp), pose))

    def _on_counts(self, msg: DiagnosticStatus) -> None:
        counts = self._show.counts({value.key: int(value.value) for value in msg.values})
        recording = self._recording
        if recording.measured and (not recording.counted or recording.counts != counts):
            recording.counted.append((recording.measured[-1][0], counts))  # the message has no stamp of its own


class DemoWatcher(NodeThread[DemoNode]):
    """Runs a `DemoNode`.

    Args:
        recording: where to write.
        policy: the policy's directory.
        show: what of the demo is the robot's own.
    """

    def __init__(self, recording: Recording, policy: Path, show: Show) -> None:
        profile = load_profile(show.arguments().profile, simulated=True)
        super().__init__(lambda context: DemoNode(context, recording, profile, load_spec(policy), show))

    @property
    def ready(self) -> bool:
        """See `DemoNode.ready`; raises what has ended the thread."""
        self.check()
        return self._node.ready

    def ask_for(self, mode: str) -> bool:
        """See `DemoNode.ask_for`; raises what has ended the thread."""
        self.check()
        return self._node.ask_for(mode)

    @property
    def refusal(self) -> str:
        """Why the last request for a mode was refused; empty if it was not."""
        return self._node.refusal
