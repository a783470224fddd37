"""The recorder node: episodes of the running robot into a LeRobot dataset. A process of its own.

Three threads. One takes messages from the middleware itself (`polled`) and puts frames together; a second one, of low
priority, encodes and writes them; the executor's serve requests, diagnostics and the life cycle. Nothing that commands
the robot waits for any of them.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from f1_msgs.msg import ActionChunk as ActionChunkMsg
from f1_msgs.msg import ControlStatus
from f1_msgs.srv import Record
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.executors import MultiThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState

from f1_ros.control.arbiter import Mode
from f1_ros.data.live.inputs import STATUS
from f1_ros.data.live.messages import CameraFrame, CommandSample, ControlSample, JointSample
from f1_ros.data.live.recorder import LiveRecorder
from f1_ros.data.live.settings import RecorderSettings
from f1_ros.data.live.writing import Saved, describe
from f1_ros.engine.policy import load_spec
from f1_ros.errors import ConfigError, DataError, F1Error
from f1_ros.nodes.conversions import SECOND_NS, camera_info, compressed_frame, image_frame, to_ns
from f1_ros.nodes.diagnostics import Diagnostics, Level
from f1_ros.nodes.interfaces import interface
from f1_ros.nodes.lifecycle import ManagedNode, leave, run
from f1_ros.nodes.parameters import PROFILE, NodeParameter, policy_dir, refuse_instruction
from f1_ros.nodes.polled import PolledSimClock, PolledSubscription
from f1_ros.observe.health import HealthLimits
from f1_ros.robots.camera import Camera
from f1_ros.robots.choose import transport_for
from f1_ros.robots.parts import COMPRESSED_IMAGE
from f1_ros.robots.profile import RobotProfile, load_profile

INTAKE_PERIOD_S = 0.02
WATCH_PERIOD_S = 0.5
GRACE_S = 2.0
"""After the start nothing is called missing for so long: publishers and subscribers find each other meanwhile."""
SETTLE_S, SILENCE_S = 1.0, 3.0
"""Without any message for so long, an episode that is being ended is taken as it is, and any other one ends."""
ANSWER_S = 60.0
CLOSE_S = 1.2
"""How long the statistics may take at the end: a process has to be gone 2 s after the signal."""
FRAMES_KEPT, NUMBERS_KEPT = 30, 1000
"""Messages of a camera, and of another topic, that may come between two looks: 1 s at 30 Hz and at 1 kHz."""

PARAMETERS = (
    PROFILE,
    NodeParameter("dataset", "", "Folder of the LeRobot dataset: a new one, or one that this node has made."),
    NodeParameter(
        "policy",
        "",
        "Policy directory: record its cameras, state and action at its rate; empty: all that the profile has, at "
        "20 Hz.",
    ),
    NodeParameter(
        "cameras", "", "Cameras to record, of the policy's or the profile's, separated by commas; empty: all of them."
    ),
    NodeParameter("fps", 0, "Frames per second; 0: the policy's, or 20.", lower=0, upper=200),
    NodeParameter(
        "pictures",
        "video",
        "How pictures are kept: video, which is small, or image, which keeps every pixel.",
        check=lambda kind: None if kind in ("video", "image") else f"'{kind}' is neither video nor image.",
    ),
    NodeParameter(
        "instruction",
        "",
        "What an episode is about if no one says otherwise and no policy runs; empty: the policy's default.",
        check=refuse_instruction,
    ),
    NodeParameter(
        "max_repeated",
        1,
        "Frames in a row that may be missing: the pictures before them stand in; more end the episode.",
        lower=0,
        upper=20,
    ),
    NodeParameter("queue", 60, "Frames that may wait to be written; more end the episode.", lower=1, upper=10_000),
    NodeParameter(
        "frozen_after",
        -1,
        "Identical frames in a row that end an episode, as from a frozen camera; 0: never; -1: 40, or never with "
        "use_sim_time, as a simulated scene at rest repeats itself.",
        lower=-1,
        upper=10_000,
    ),
)
FROZEN_AFTER = 40


@dataclass
class _Input:
    """One topic: how it is subscribed to, and where its messages go."""

    kind: Any
    topic: str
    depth: int
    take: Callable[[Any, int], None]
    reliability: ReliabilityPolicy | None = None
    subscription: PolledSubscription[Any] | None = None


class RecorderNode(ManagedNode):
    """Records one robot into one dataset; see docs/interfaces.md."""

    def __init__(self) -> None:
        """Create the node."""
        super().__init__("recorder_node", PARAMETERS)
        self._lock = threading.Lock()
        self._recorder: LiveRecorder | None = None
        self._diagnostics: Diagnostics | None = None
        self._inputs: list[_Input] = []
        self._intake: threading.Thread | None = None
        self._stop = threading.Event()
        self._timer: Any = None
        self._sim_clock: PolledSimClock | None = None
        self._ros_minus_system_ns = 0
        self._active_s = self._heard_s = 0.0

    # -- life cycle ---------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        """Load the profile and the policy's expectations; the folder must do."""
        if not self.value("dataset"):
            raise ConfigError("Parameter 'dataset' is empty.", remedy="Give the folder to record into.")
        self._profile = load_profile(self.value("profile"), simulated=self.value("use_sim_time"))
        self._transport = transport_for(self._profile)
        self._recorder = self._new_recorder(self._profile)
        self._diagnostics = Diagnostics(self, self._profile.name)
        self._service = self.create_service(
            Record, "record", self._on_record, callback_group=MutuallyExclusiveCallbackGroup()
        )

    def activate(self) -> None:
        """Take messages; nothing from before counts."""
        self._recorder = recorder = self._new_recorder(self._profile)
        self._inputs = self._all_inputs(recorder)
        self._active_s = self._heard_s = time.monotonic()
        self._sim_clock = PolledSimClock(self) if self.value("use_sim_time") else None
        self._ros_minus_system_ns = 0
        self._stop.clear()
        self._intake = threading.Thread(target=self._take_or_die, name="intake")
        self._intake.start()
        self._timer = self.create_timer(WATCH_PERIOD_S, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(f"Ready to record '{self._profile.name}' into {self.value('dataset')}.")

    def deactivate(self) -> None:
        """Throw an unfinished episode away, finish the dataset and unsubscribe."""
        self._stop.set()
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        if self._intake is not None:
            self._intake.join()
            self._intake = None
        for entry in self._inputs:
            if entry.subscription is not None:
                entry.subscription.close()
        self._inputs = []
        if self._sim_clock is not None:
            self._sim_clock.close()
            self._sim_clock = None
        if self._recorder is not None:
            with self._lock:
                error = self._recorder.close(CLOSE_S)
            if error is not None:
                self.get_logger().warning(str(error))

    def cleanup(self) -> None:
        """Forget profile and policy."""
        if self._diagnostics is not None:
            self._diagnostics.close()
            self.destroy_service(self._service)
            self._diagnostics = None
        self._recorder = None

    def _new_recorder(self, profile: RobotProfile) -> LiveRecorder:
        frozen_after = self.value("frozen_after")
        if frozen_after < 0:
            frozen_after = 0 if self.value("use_sim_time") else FROZEN_AFTER
        settings = RecorderSettings.for_robot(
            profile,
            load_spec(policy_dir(self.value("policy"))) if self.value("policy") else None,
            Path(self.value("dataset")).expanduser(),
            cameras=[name.strip() for name in self.value("cameras").split(",") if name.strip()],
            fps=self.value("fps"),
            pictures=self.value("pictures"),
            instruction=self.value("instruction"),
            max_repeated=self.value("max_repeated"),
            queue_frames=self.value("queue"),
        )
        # A lost stream holds the others up until it is known to be lost.
        limits = HealthLimits(missing_after_ns=3 * SECOND_NS, frozen_after=frozen_after)
        return LiveRecorder(profile, settings, limits)

    def _all_inputs(self, recorder: LiveRecorder) -> list[_Input]:
        inputs = recorder.inputs
        found = [entry for camera in inputs.cameras.values() for entry in self._camera_inputs(recorder, camera)]
        kinds = {source.topic: interface(source.type) for source in self._transport.incoming}
        found += [
            _Input(kinds[topic], topic, NUMBERS_KEPT, partial(self._on_joint_state, recorder, topic))
            for topic in inputs.matched.joint_topics
        ]
        found += [
            _Input(JointState, topic, NUMBERS_KEPT, partial(self._on_command, recorder, topic))
            for topic in inputs.actions.topics
        ]
        found.append(_Input(ControlStatus, "status", NUMBERS_KEPT, partial(self._on_status, recorder)))
        found.append(_Input(ActionChunkMsg, "action_chunk", 1, partial(self._on_chunk, recorder)))
        return found

    def _camera_inputs(self, recorder: LiveRecorder, camera: Camera) -> Iterator[_Input]:
        compressed = camera.type == COMPRESSED_IMAGE
        kind, read = (CompressedImage, compressed_frame) if compressed else (Image, image_frame)
        yield _Input(kind, camera.topic, FRAMES_KEPT, partial(self._on_frame, recorder, camera.name, read))
        if camera.rectify:
            view = recorder.inputs.matched.views[camera.name]
            yield _Input(CameraInfo, camera.camera_info, 1, lambda msg, _: view.calibrate(camera_info(msg)))

    def _now_ns(self) -> int:
        return time.time_ns() + self._ros_minus_system_ns

    # -- the intake's thread ------------------------------------------------------------------------------------------

    def _take_or_die(self) -> None:
        try:
            while not self._stop.wait(INTAKE_PERIOD_S):
                with self._lock:
                    self._take()
        finally:
            if not self._stop.is_set():
                # Without its intake the process is of no use: it ends, and is seen to have ended.
                self.get_logger().fatal(f"The recorder failed:\n{traceback.format_exc()}")
                sys.stderr.flush()
                os._exit(1)

    def _take(self) -> None:
        """Take what has come since the last time, each message with the instant at which it came."""
        recorder = self._recorder
        assert recorder is not None
        if self._sim_clock is not None:
            # Not the node's own clock: the executor may be late to set it, and it stands between two messages.
            sim_ns = self._sim_clock.at(time.monotonic_ns())
            self._ros_minus_system_ns = self._ros_minus_system_ns if sim_ns is None else sim_ns - time.time_ns()
        for entry in self._inputs:
            while entry.subscription is not None and (taken := entry.subscription.take()) is not None:
                self._heard_s = time.monotonic()
                entry.take(taken[0], taken[1] + self._ros_minus_system_ns)
        recorder.advance()
        silent_s = time.monotonic() - self._heard_s
        if silent_s > SETTLE_S:
            recorder.settle()
        if silent_s > SILENCE_S:
            recorder.give_up(f"Nothing has come from the robot for {SILENCE_S:g} s.")

    @staticmethod
    def _on_frame(recorder: LiveRecorder, camera: str, read: Callable[[Any], Any], msg: Any, received_ns: int) -> None:
        recorder.take(camera, to_ns(msg.header.stamp), CameraFrame(camera, read(msg), received_ns))

    def _on_joint_state(self, recorder: LiveRecorder, topic: str, msg: Any, received_ns: int) -> None:
        reading = self._transport.read(topic, msg)
        sample = JointSample(topic, reading.names, reading.positions, received_ns)
        recorder.take(topic, to_ns(msg.header.stamp), sample)

    @staticmethod
    def _on_command(recorder: LiveRecorder, topic: str, msg: JointState, received_ns: int) -> None:
        recorder.take(topic, to_ns(msg.header.stamp), CommandSample(topic, msg.name, msg.position))

    def _on_status(self, recorder: LiveRecorder, msg: ControlStatus, received_ns: int) -> None:
        known = 0 < len(msg.recent_modes) == len(msg.recent_mode_stamps) and set(msg.recent_modes) <= set(Mode)
        if msg.header.frame_id == self._profile.embodiment and known:
            recorder.take(STATUS, to_ns(msg.header.stamp), control_sample(msg))

    @staticmethod
    def _on_chunk(recorder: LiveRecorder, msg: ActionChunkMsg, received_ns: int) -> None:
        recorder.note_instruction(msg.instruction)

    # -- the executor's threads ---------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Twice a second: subscribe as the publishers offer, and say how things are."""
        with self._lock:
            for entry in self._inputs:
                self._connect(entry)
            recorder = self._recorder
            if recorder is None or time.monotonic() - self._active_s < GRACE_S:
                return
            statuses = recorder.statuses(self._now_ns())
        assert self._diagnostics is not None
        for status in statuses:
            self._diagnostics.set(status.part, Level(status.level), status.message, status.values)

    def _connect(self, entry: _Input) -> None:
        """Subscribe reliably where all publishers offer it: a frame that is lost on the way is lost for good."""
        offered = [info.qos_profile.reliability for info in self.get_publishers_info_by_topic(self._full(entry.topic))]
        if not offered:
            return
        reliable = all(reliability == ReliabilityPolicy.RELIABLE for reliability in offered)
        wanted = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        if wanted == entry.reliability:
            return
        if entry.subscription is not None:
            entry.subscription.close()
        qos = QoSProfile(depth=entry.depth, reliability=wanted)
        entry.subscription = PolledSubscription(self, entry.kind, entry.topic, qos)
        entry.reliability = wanted

    def _full(self, topic: str) -> str:
        return str(self.resolve_topic_name(topic))

    def _on_record(self, request: Record.Request, response: Record.Response) -> Record.Response:
        stamp_ns = to_ns(request.stamp) or None
        try:
            if request.command == Record.Request.START:
                with self._lock:
                    response.message = self._active().start(request.instruction, stamp_ns, self._now_ns())
                    self._heard_s = time.monotonic()  # silence counts from here on
            elif request.command in (Record.Request.KEEP, Record.Request.DISCARD):
                keep = request.command == Record.Request.KEEP
                with self._lock:
                    answer = self._active().stop(keep=keep, end_ns=stamp_ns, now_ns=self._now_ns())
                saved = self._wait_for(answer)
                response.frames = saved.frames
                response.message = describe(saved) if keep else f"Episode {saved.episode} is thrown away."
            else:
                raise DataError(f"There is no command {request.command}.", remedy="Use 0 START, 1 KEEP or 2 DISCARD.")
            response.success = True
        except F1Error as error:
            response.message = str(error)
        recorder = self._recorder
        response.episodes = recorder.episodes if recorder is not None else 0
        self.get_logger().info(response.message) if response.success else self.get_logger().error(response.message)
        return response

    def _active(self) -> LiveRecorder:
        if self._recorder is None or self._intake is None:
            raise DataError("The recorder is not active.", remedy="Activate it first.")
        return self._recorder

    @staticmethod
    def _wait_for(answer: Future[Saved]) -> Saved:
        try:
            return answer.result(ANSWER_S)
        except FutureTimeoutError:
            raise DataError(
                f"The episode is not written after {ANSWER_S:g} s.", remedy="See /diagnostics for how it ends."
            ) from None


def control_sample(msg: ControlStatus) -> ControlSample:
    """What a recording needs of the control process's status."""
    named = zip(msg.gripper_names, msg.gripper_commanded, msg.gripper_commanded_stamps, strict=True)
    modes = zip(msg.recent_modes, msg.recent_mode_stamps, strict=True)
    return ControlSample(
        modes=tuple((Mode(mode), to_ns(since)) for mode, since in modes),
        period_ns=round(msg.period * SECOND_NS),
        widths={name: (float(width), to_ns(stamp)) for name, width, stamp in named},
    )


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the recorder node; see docs/interfaces.md."""
    # A request that waits for the disk must hold up neither the life cycle nor the diagnostics.
    # At the end the writer's thread may still be at the statistics: it goes with the process.
    leave(run(lambda: [RecorderNode()], args, partial(MultiThreadedExecutor, num_threads=2)))


if __name__ == "__main__":
    main()
