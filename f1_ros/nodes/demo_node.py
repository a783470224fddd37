"""Watches a running system through its topics, for the demo and the benchmark, and asks for modes."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from f1_msgs.msg import ActionChunk as ActionChunkMsg
from f1_msgs.msg import ControlStatus
from f1_msgs.srv import SetMode
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import Image, JointState

from f1_ros.cli.recording import Array, CubeCounts, Picture, Recording, StatusSample
from f1_ros.control.arbiter import Mode
from f1_ros.engine.policy import load_policy_file
from f1_ros.engine.protocol import PolicySpec
from f1_ros.nodes.conversions import to_ns
from f1_ros.nodes.lifecycle import NAMESPACE
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.observe.images import to_rgb
from f1_ros.observe.preprocess import history_frame
from f1_ros.robots.profile import RobotProfile, load_profile

MODES = {mode.value: mode.name for mode in Mode}
NUMBERS = {name: number for number, name in MODES.items()}


class DemoNode(Node):
    """Writes what it sees into a recording."""

    def __init__(self, context: Context, recording: Recording, profile: RobotProfile, spec: PolicySpec) -> None:
        """Subscribe to everything that the demo shows."""
        super().__init__("demo", namespace=NAMESPACE, context=context)
        self._recording, self._spec = recording, spec
        arm, camera = profile.arms[0], profile.camera(spec.cameras[0])
        self._camera_topic = camera.topic
        recording.joint_names = tuple(joint.name for joint in arm.joints)
        self.create_subscription(ControlStatus, "status", self._on_status, COMMAND)
        self.create_subscription(ActionChunkMsg, "action_chunk", self._on_chunk, COMMAND)
        self.create_subscription(Image, "foresight/image", self._on_foresight, SENSOR)
        self.create_subscription(Image, camera.topic, self._on_frame, SENSOR)
        self.create_subscription(JointState, arm.state.topic, self._on_measured, SENSOR)
        self.create_subscription(JointState, arm.command.topic, self._on_commanded, SENSOR)
        self.create_subscription(Odometry, "/f1_sim/cube", self._on_cube, SENSOR)
        self.create_subscription(DiagnosticStatus, "/f1_sim/counts", self._on_counts, COMMAND)
        self._set_mode = self.create_client(SetMode, "set_mode")
        self._request: Future | None = None
        self.refusal = ""

    @property
    def ready(self) -> bool:
        """Whether status, chunks and cubes all come, and modes can be asked for."""
        recording = self._recording
        return bool(
            recording.statuses and recording.model_latencies and recording.cubes and self._set_mode.service_is_ready()
        )

    def ask_for(self, mode: str) -> bool:
        """Ask for a mode, again and again until it is in force; returns whether it is, without waiting.

        FAULT is left by way of HOLD, as an operator would who sees that its cause is gone.
        """
        if not self._recording.statuses:
            return False
        now = self._recording.statuses[-1].mode
        if self._request is not None and self._request.done():
            response = self._request.result()
            self.refusal = "" if response is None or response.success else response.message
            self._request = None
        if self._request is None and now != mode:
            wanted = "HOLD" if now == "FAULT" else mode
            self._request = self._set_mode.call_async(SetMode.Request(mode=NUMBERS[wanted]))
        return now == mode

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
        self._recording.foresights.append((to_ns(msg.header.stamp), self._rgb(msg, "foresight/image")))

    def _on_frame(self, msg: Image) -> None:
        frame = history_frame(
            self._rgb(msg, self._camera_topic), self._spec.history_resize, self._spec.history_size
        ).transpose(1, 2, 0)
        self._recording.frames.append((to_ns(msg.header.stamp), np.ascontiguousarray(frame)))

    def _on_measured(self, msg: JointState) -> None:
        self._recording.measured.append((to_ns(msg.header.stamp), self._positions(msg)))

    def _on_commanded(self, msg: JointState) -> None:
        self._recording.commanded.append((to_ns(msg.header.stamp), self._positions(msg)))

    def _on_cube(self, msg: Odometry) -> None:
        at, turn = msg.pose.pose.position, msg.pose.pose.orientation
        pose = np.array([at.x, at.y, at.z, turn.w, turn.x, turn.y, turn.z])
        self._recording.cubes.append((to_ns(msg.header.stamp), pose))

    def _on_counts(self, msg: DiagnosticStatus) -> None:
        counts = CubeCounts(**{value.key: int(value.value) for value in msg.values})
        recording = self._recording
        if recording.measured and (not recording.counted or recording.counts != counts):
            recording.counted.append((recording.measured[-1][0], counts))  # the message has no stamp of its own

    def _positions(self, msg: JointState) -> Array:
        by_name = dict(zip(msg.name, msg.position, strict=True))
        return np.array([by_name[name] for name in self._recording.joint_names])

    @staticmethod
    def _rgb(msg: Image, topic: str) -> Picture:
        rgb = to_rgb(msg.encoding, msg.height, msg.width, msg.step, bool(msg.is_bigendian), msg.data, topic=topic)
        return np.array(rgb)


class DemoWatcher:
    """Runs a `DemoNode` in a thread of its own, with a ROS context of its own, between `with` and its end."""

    def __init__(self, recording: Recording, policy: Path, profile: str = "franka_fr3") -> None:
        """Make the node.

        Args:
            recording: where to write.
            policy: the policy's directory.
            profile: robot profile.
        """
        self._context = Context()
        self._context.init()
        self._node = DemoNode(self._context, recording, load_profile(profile), load_policy_file(policy).spec)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="demo", daemon=True)

    @property
    def ready(self) -> bool:
        """See `DemoNode.ready`."""
        return self._node.ready

    def ask_for(self, mode: str) -> bool:
        """See `DemoNode.ask_for`."""
        return self._node.ask_for(mode)

    @property
    def refusal(self) -> str:
        """Why the last request for a mode was refused; empty if it was not."""
        return self._node.refusal

    def __enter__(self) -> DemoWatcher:
        """Start watching."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        """Stop watching and free the node."""
        self._stop.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        # Not `executor.spin`: shutting an executor down while another thread spins it raises in that thread.
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.1)
