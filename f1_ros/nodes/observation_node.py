"""The observation node: camera frames and joint states in, time-matched observations out.

Frames are taken by a thread of their own (`polled.Reader`), which makes the observations; services, parameters and
diagnostics belong to the executor's. Joint states are not worth waking up for: they are taken when a frame is there,
and calibrations five times a second.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from f1_msgs.msg import Observation as ObservationMsg
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from f1_ros.engine.policy import load_spec
from f1_ros.engine.protocol import PolicySpec
from f1_ros.errors import ConfigError
from f1_ros.nodes.conversions import SECOND_NS, camera_info, compressed_frame, image_frame, observation_to_msg, to_ns
from f1_ros.nodes.diagnostics import Diagnostics, Level
from f1_ros.nodes.interfaces import interface
from f1_ros.nodes.lifecycle import ManagedNode, run
from f1_ros.nodes.parameters import POLICY, PROFILE, TRACE, NodeParameter, policy_dir
from f1_ros.nodes.polled import PolledSubscription, Reader
from f1_ros.nodes.qos import JOINT_HISTORY, OBSERVATION, SENSOR
from f1_ros.nodes.realtime import schedule_process
from f1_ros.observe.builder import ObservationBuilder
from f1_ros.observe.frames import Frame
from f1_ros.observe.health import HealthLimits
from f1_ros.observe.observation import Observation
from f1_ros.robots.choose import transport_for
from f1_ros.robots.parts import COMPRESSED_IMAGE
from f1_ros.robots.profile import RobotProfile, load_profile

HEALTH_PERIOD_S = 0.2
GRACE_S = 1.0
"""Nothing is called missing so soon after the start: publishers and subscribers find each other in about a second."""

PARAMETERS = (
    PROFILE,
    POLICY,
    NodeParameter("cameras", "", "Cameras to use, of the policy's, separated by commas; empty: all of the policy's."),
    NodeParameter(
        "match_tolerance",
        0.0,
        "Largest distance between the stamps of frames that belong together, s; 0: the profile's.",
        lower=0.0,
        upper=1.0,
    ),
    NodeParameter("max_frame_age", 0.25, "Largest age of a frame when it is used, s.", lower=0.01, upper=10.0),
    NodeParameter(
        "missing_after", 0.5, "Silence after which a camera or joint state is missing, s.", lower=0.05, upper=60.0
    ),
    NodeParameter(
        "frozen_after",
        -1,
        "Identical frames in a row that count as frozen; 0: never; -1: 40, or never with use_sim_time, as a simulated "
        "scene at rest repeats itself.",
        lower=-1,
        upper=10_000,
    ),
    NodeParameter(
        "black_below",
        16,
        "A frame in which no pixel reaches this value (0 to 255) is black, and not used; 0: any frame is.",
        lower=0,
        upper=255,
    ),
    NodeParameter(
        "realtime_priority",
        10,
        "SCHED_FIFO priority of the process where the system permits it: pictures are not kept waiting by the engine; "
        "0: ordinary scheduling, as always where one process has the policy as well.",
        lower=0,
        upper=99,
    ),
    TRACE,
)
FROZEN_AFTER = 40


class ObservationNode(ManagedNode):
    """Makes observations for one policy on one robot; see docs/interfaces.md."""

    def __init__(self, listener: Callable[[Observation], None] | None = None) -> None:
        """Create the node.

        Args:
            listener: called with each observation, by reference, before it is published.
        """
        super().__init__("observation_node", PARAMETERS)
        self._listener = listener
        self._builder: ObservationBuilder | None = None
        self._diagnostics: Diagnostics | None = None
        self._lock = threading.Lock()  # around the builder
        self._reader: Reader | None = None
        self._joints: dict[str, PolledSubscription[Any]] = {}
        self._calibrations: dict[str, PolledSubscription[CameraInfo]] = {}
        self._timer: Any = None
        self._active_s = 0.0

    def configure(self) -> None:
        """Load the profile and the policy's expectations."""
        self._profile = profile = load_profile(self.value("profile"), simulated=self.value("use_sim_time"))
        self._transport = transport_for(profile)
        self._spec = self._wanted(load_spec(policy_dir(self.value("policy"))), profile)
        self._builder = self._new_builder()
        self._diagnostics = Diagnostics(self, self._profile.name)
        self._publisher = self.create_publisher(ObservationMsg, "observation", OBSERVATION)
        self._trace = self.open_trace()
        if self._listener is None and self.value("realtime_priority"):
            schedule_process(self.value("realtime_priority"))

    def activate(self) -> None:
        """Subscribe; nothing from before counts."""
        self._builder = builder = self._new_builder()
        kinds = {source.topic: source.type for source in self._transport.incoming}
        for topic in builder.joint_topics:
            self._joints[topic] = PolledSubscription(self, interface(kinds[topic]), topic, JOINT_HISTORY)
        for name, topic in builder.camera_info_topics.items():
            self._calibrations[name] = PolledSubscription(self, CameraInfo, topic)
        handlers: dict[PolledSubscription[Any], Callable[[Any, dict[str, int]], None]] = {}
        for name, topic in builder.camera_topics.items():
            compressed = self._profile.camera(name).type == COMPRESSED_IMAGE
            kind, read = (CompressedImage, compressed_frame) if compressed else (Image, image_frame)
            camera: PolledSubscription[Any] = PolledSubscription(self, kind, topic, SENSOR)
            handlers[camera] = partial(self._on_message, builder, name, read)
        self._reader = Reader(self, handlers)
        self._active_s = time.monotonic()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(HEALTH_PERIOD_S, self._report, clock=steady)
        self.get_logger().info(
            f"Observations of {', '.join(self._spec.cameras)} on '{self._profile.name}' for policy '{self._spec.name}'."
        )

    def deactivate(self) -> None:
        """Unsubscribe."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        for polled in (*self._joints.values(), *self._calibrations.values()):
            polled.close()
        self._joints.clear()
        self._calibrations.clear()
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None

    def cleanup(self) -> None:
        """Forget profile and policy."""
        if self._diagnostics is not None:
            self._diagnostics.close()
            self.destroy_publisher(self._publisher)
            self._diagnostics = None
        self._builder = None

    def _wanted(self, spec: PolicySpec, profile: RobotProfile) -> PolicySpec:
        """What the policy expects, with the cameras that the user chose."""
        if spec.robot != profile.embodiment:
            raise ConfigError(
                f"Policy '{spec.name}' is for the robot '{spec.robot}', the profile's is '{profile.embodiment}'.",
                remedy="Give a policy that was trained for this robot, or this policy's profile.",
            )
        chosen = tuple(name.strip() for name in self.value("cameras").split(",") if name.strip())
        if not chosen:
            return spec
        if not set(chosen) <= set(spec.cameras) or len(set(chosen)) != len(chosen) or spec.cameras[0] not in chosen:
            raise ConfigError(
                f"Parameter 'cameras' is '{self.value('cameras')}'.",
                remedy=f"Choose from {', '.join(spec.cameras)}, each once; {spec.cameras[0]} has the history.",
            )
        geometry = {name: known for name, known in spec.camera_geometry.items() if name in chosen}
        return replace(spec, cameras=tuple(name for name in spec.cameras if name in chosen), camera_geometry=geometry)

    def _new_builder(self) -> ObservationBuilder:
        frozen_after = self.value("frozen_after")
        if frozen_after < 0:
            frozen_after = 0 if self.value("use_sim_time") else FROZEN_AFTER
        limits = HealthLimits(
            missing_after_ns=round(self.value("missing_after") * SECOND_NS),
            max_age_ns=round(self.value("max_frame_age") * SECOND_NS),
            frozen_after=frozen_after,
            black_below=self.value("black_below"),
        )
        tolerance_s = self.value("match_tolerance") or self._profile.match_tolerance_s
        profile = replace(self._profile, match_tolerance_s=tolerance_s)
        return ObservationBuilder.for_robot(self._spec, profile, limits)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_message(
        self, builder: ObservationBuilder, camera: str, read: Callable[[Any], Frame], msg: Any, info: dict[str, int]
    ) -> None:
        """Take a frame in the reader's thread, and hand the observation on that it makes possible."""
        taken_ns = time.monotonic_ns()
        stamp_ns, frame = to_ns(msg.header.stamp), read(msg)
        with self._lock:
            ready = builder.add_frame(camera, stamp_ns, frame, self._now_ns())
            if ready is None:
                builder.prepare(camera, stamp_ns, frame)
                return
            trace = self._trace
            if trace is not None:
                trace.mark("stamp", ready.stamp_ns, time.monotonic_ns() - self._now_ns() + ready.stamp_ns)
                trace.mark_system("image sent", ready.stamp_ns, info["source_timestamp"])
                trace.mark_system("image received", ready.stamp_ns, info["received_timestamp"])
                trace.mark("image taken", ready.stamp_ns, taken_ns)
                trace.mark("matched", ready.stamp_ns)
            self._take_joint_states(builder)
            made = builder.build(ready, self._now_ns())
        if not isinstance(made, Observation):
            return  # its reason stands in the builder's status
        if trace is not None:
            trace.mark("preprocessed", made.stamp_ns)
        if self._listener is not None:
            self._listener(made)
        if self._publisher.get_subscription_count() > 0:
            self._publisher.publish(observation_to_msg(made, self._profile.embodiment, self._now_ns()))

    def _take_joint_states(self, builder: ObservationBuilder) -> None:
        """Take the joint states that have come since the last time, each with the instant at which it came."""
        ros_minus_system_ns = self._now_ns() - time.time_ns()
        for topic, subscription in self._joints.items():
            while (taken := subscription.take()) is not None:
                msg, arrived_ns = taken
                received_ns = arrived_ns + ros_minus_system_ns
                reading, stamp_ns = self._transport.read(topic, msg), to_ns(msg.header.stamp)
                builder.add_joint_state(topic, stamp_ns, reading.names, reading.positions, received_ns)

    def _report(self) -> None:
        """Hand the builder's statuses on; Diagnostics says each change once."""
        if self._reader is not None:
            self._reader.check()
        if self._builder is None or self._diagnostics is None:
            return
        for name, subscription in self._calibrations.items():
            if (info := subscription.newest()) is not None:
                self._builder.add_camera_info(name, camera_info(info))
        if time.monotonic() - self._active_s < GRACE_S:
            return
        with self._lock:
            self._take_joint_states(self._builder)
            statuses = self._builder.statuses(self._now_ns())
        for status in statuses:
            self._diagnostics.set(status.part, Level(status.level), status.message, status.values)


def main(args: Sequence[str] | None = None) -> int:
    """Run the observation node; see docs/interfaces.md."""
    return run(lambda: [ObservationNode()], args)


if __name__ == "__main__":
    sys.exit(main())
