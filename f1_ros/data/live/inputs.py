"""What a recording is made of, as it comes from a robot: cameras, measured joints, commands, the control's status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from f1_ros.data.live.action import ActionTrack
from f1_ros.data.live.messages import CameraFrame, ControlSample, JointSample, Message
from f1_ros.errors import DataError
from f1_ros.observe.frames import Frame
from f1_ros.observe.health import SECOND_NS, HealthLimits, Status
from f1_ros.observe.joint_state import joint_sources
from f1_ros.observe.merge import StampMerge
from f1_ros.observe.order import Order
from f1_ros.observe.streams import MatchedStreams
from f1_ros.observe.synchroniser import FrameSet
from f1_ros.robots.profile import RobotProfile

STATUS = "status"
"""The stream of the control process's statuses."""
PATIENCE_NS = SECOND_NS
"""How far a stream may lag behind the others' stamps before it counts as lost."""


class RobotInputs:
    """A robot's streams, put in order and matched. Not thread-safe.

    Streams go by name: a camera's name, the topic of joints or commands, or `STATUS`.

    Args:
        profile: the robot.
        cameras: names of its cameras; the first gives a set of frames its stamp.
        state_names: order of the state.
        action_names: order of the action.
        step_ns: time between two sets of frames, ns.
        limits: when a stream counts as ill.

    Attributes:
        cameras: the cameras by name.
        matched: cameras and joint states, matched.
        actions: the commands.
        numbers: names of all streams but the cameras.

    Raises:
        ConfigError: if the robot lacks a camera or a joint.
    """

    def __init__(
        self,
        profile: RobotProfile,
        cameras: Sequence[str],
        state_names: Sequence[str],
        action_names: Sequence[str],
        step_ns: int,
        limits: HealthLimits,
    ) -> None:
        self.cameras = {name: profile.camera(name) for name in cameras}
        sources = joint_sources(profile, state_names)
        tolerance_ns = round(profile.match_tolerance_s * SECOND_NS)
        self.matched = MatchedStreams(tuple(self.cameras.values()), sources, state_names, step_ns, tolerance_ns, limits)
        self.actions = ActionTrack(profile, action_names)
        self._joints = {
            source.topic: frozenset(joint for channel in source.channels for joint, _ in channel.terms)
            for source in sources
        }
        patience = {source.topic: max(PATIENCE_NS, source.max_age_ns) for source in sources}
        self.numbers = (*patience, *self.actions.topics, STATUS)
        self._merge: StampMerge[Message] = StampMerge(
            {**dict.fromkeys((*self.cameras, *self.actions.topics, STATUS), PATIENCE_NS), **patience}
        )
        self._newest_frames: dict[str, Frame] = {}

    @property
    def newest_ns(self) -> int:
        """The newest stamp of all, ns; 0 before the first message."""
        return self._merge.newest_ns or 0

    @property
    def complete_ns(self) -> int | None:
        """Up to where every stream has come, ns; None while one of them has not been heard of."""
        return self._merge.complete_ns

    def begin(self) -> None:
        """Put messages in order from now on; the next set of frames begins a new grid of steps."""
        self.matched.restart()
        self._merge.begin()

    def end(self) -> None:
        """Let messages through as they come."""
        self._merge.end()

    def take(self, stream: str, stamp_ns: int, message: Message) -> None:
        """Take a message.

        Raises:
            KeyError: if there is no such stream.
        """
        if isinstance(message, JointSample) and self._joints[stream].isdisjoint(message.names):
            return  # another driver's message on a topic that they share
        order = self._merge.add(stream, stamp_ns, message)
        if isinstance(message, CameraFrame):
            if order in (Order.NEXT, Order.RESET):
                self._newest_frames[stream] = message.frame
            else:
                self.matched.camera_health[stream].arrived(order, stamp_ns, message.received_ns)

    def release(self, frames_from_ns: int) -> Iterator[tuple[str, int, FrameSet[Frame] | None]]:
        """Work off what is in order: stream, stamp (ns), and the set of frames that came together, if one did.

        Args:
            frames_from_ns: camera frames before this instant are left out.

        Raises:
            ObservationError: if a command cannot be used.
        """
        for stream, stamp_ns, message in self._merge.release():
            ready = None
            if isinstance(message, CameraFrame):
                if stamp_ns >= frames_from_ns:
                    ready = self.matched.add_frame(stream, stamp_ns, message.frame, message.received_ns).frame_set
            elif isinstance(message, JointSample):
                self.matched.add_joint_state(stream, stamp_ns, message.names, message.positions, message.received_ns)
            elif isinstance(message, ControlSample):
                self.actions.add_status(stamp_ns, message)
            else:
                self.actions.add_command(stream, stamp_ns, message.names, message.positions)
            yield stream, stamp_ns, ready

    def lost(self) -> DataError | None:
        """The first stream that nothing comes from, and what to do about it; None if all come."""
        for stream, why in self._merge.silent().items():
            if stream == STATUS:
                return DataError(f"The action node's status: {why}.", remedy="Start the action node.")
            if stream in self.actions.topics:
                remedy = "Check that the action node commands the robot; its status says why not."
                return DataError(f"Topic {stream}: {why}.", remedy=remedy)
            named = f"Camera {stream} ({self.cameras[stream].topic})" if stream in self.cameras else f"Topic {stream}"
            return DataError(f"{named}: {why}.", remedy="Check that its driver runs, and the profile.")
        return None

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """(height, width) of each camera's newest picture, px.

        Raises:
            ImageError: as `CameraView.picture`.
            KeyError: before every camera has been heard of.
        """
        shapes = {name: self.matched.picture(name, self._newest_frames[name]).shape for name in self.cameras}
        return {name: (shape[0], shape[1]) for name, shape in shapes.items()}

    def statuses(self, now_ns: int) -> tuple[Status, ...]:
        """State of every camera and of every source of joint states."""
        return self.matched.statuses(now_ns)
