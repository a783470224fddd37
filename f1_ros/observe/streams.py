"""Camera frames and joint states as they arrive, matched by stamp: what observations and recordings are both made of.

added = streams.add_frame("front", stamp_ns, ImageFrame(...), now_ns)      every image message: stores a reference
streams.add_joint_state(topic, stamp_ns, names, positions, now_ns)         every joint state message
if added.frame_set is not None:                                            one set of frames for each step
    streams.state(added.frame_set.stamp_ns)                                the state at its stamp
    streams.rgb("front", added.frame_set.frames[0].frame)                  its pictures
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ConfigError, ImageError, ObservationError
from f1_ros.observe.frames import Frame
from f1_ros.observe.geometry import CameraGeometry
from f1_ros.observe.health import MS, CameraHealth, HealthLimits, JointHealth, Status
from f1_ros.observe.history import FrameGrid
from f1_ros.observe.joint_state import JointSource, JointStateBuffer
from f1_ros.observe.synchroniser import Added, FrameSet, FrameSynchroniser
from f1_ros.observe.view import CameraView

if TYPE_CHECKING:
    from f1_ros.robots.camera import Camera


class MatchedStreams:
    """Sets of frames that belong together, one a step, and the state at their stamps. Not thread-safe.

    Args:
        cameras: the cameras; the first one's frame gives a set its stamp.
        sources: topics that together give the state.
        state_names: order of the state.
        step_ns: time between two sets, ns.
        tolerance_ns: largest distance between the stamps of frames that belong together, ns.
        limits: when a stream counts as ill.
        trained: what the pictures of a camera were that the policy was trained on, by its name, where that is known.

    Attributes:
        views: what is seen of each camera, by name.
        camera_health: how each camera is, by name.
        joint_health: how each source of joint states is, by topic.
        counts: sets that came together, and those of them that were left out because their step had one already.
        last_set_ns: when the last set came together, ns on the ROS clock; None before the first.

    Raises:
        ConfigError: if the tolerance is not below a step.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        sources: Sequence[JointSource],
        state_names: Sequence[str],
        step_ns: int,
        tolerance_ns: int,
        limits: HealthLimits,
        trained: Mapping[str, CameraGeometry] | None = None,
    ) -> None:
        if not 0 <= tolerance_ns < step_ns:
            raise ConfigError(
                f"A match tolerance of {tolerance_ns * MS:g} ms does not fit a step of {step_ns * MS:g} ms.",
                remedy="Set 'match_tolerance_s' in the profile to less than the policy's step.",
            )
        entries = [channel.name for source in sources for channel in source.channels]
        self._cameras = {camera.name: camera for camera in cameras}
        self._trained = trained
        self._step_ns, self._tolerance_ns = step_ns, tolerance_ns
        self._joints = {source.topic: JointStateBuffer(source) for source in sources}
        self._columns = [entries.index(name) for name in state_names]
        self.views = {camera.name: CameraView(camera) for camera in cameras}
        self.camera_health = {camera.name: CameraHealth(camera, limits) for camera in cameras}
        self.joint_health = {source.topic: JointHealth(source, limits) for source in sources}
        self.counts = {"sets": 0, "thinned": 0}
        self.last_set_ns: int | None = None
        self.restart()

    @property
    def camera_topics(self) -> dict[str, str]:
        """Topic of each camera, by the camera's name."""
        return {name: camera.topic for name, camera in self._cameras.items()}

    @property
    def joint_topics(self) -> tuple[str, ...]:
        """Topics of joint states."""
        return tuple(self._joints)

    @property
    def skipped(self) -> int:
        """Steps without a set before the one that was given last."""
        return self._grid.skipped

    def restart(self) -> None:
        """Forget the frames: the next set begins a new grid of steps. Joint states are kept."""
        self._synchroniser: FrameSynchroniser[Frame] = FrameSynchroniser(tuple(self._cameras), self._tolerance_ns)
        self._grid = FrameGrid(self._step_ns)

    def add_frame(self, camera: str, stamp_ns: int, frame: Frame, received_ns: int) -> Added[Frame]:
        """Take a frame, by reference; gives the set that it completes if one is due for its step.

        Args:
            camera: the camera's name.
            stamp_ns: header stamp, ns.
            frame: the frame.
            received_ns: when it was received, ns on the ROS clock.

        Raises:
            KeyError: if the camera is not one of the streams'.
        """
        added = self._synchroniser.add(camera, stamp_ns, frame, received_ns)
        self.camera_health[camera].arrived(added.order, stamp_ns, received_ns)
        found = added.frame_set
        if found is None:
            return added
        self.counts["sets"] += 1
        self.last_set_ns = received_ns
        for name, stamped in zip(found.cameras, found.frames, strict=True):
            self.camera_health[name].offset_ns = stamped.stamp_ns - found.stamp_ns
        if not self._grid.accept(found.stamp_ns):
            self.counts["thinned"] += 1
            return Added(added.order, None)
        return added

    def add_joint_state(
        self, topic: str, stamp_ns: int, names: Sequence[str], positions: Sequence[float], received_ns: int
    ) -> None:
        """Take a joint state message. One that cannot be used is told in the topic's status.

        Args:
            topic: where it came from.
            stamp_ns: header stamp, ns.
            names: joint names.
            positions: positions in the same order, rad or m.
            received_ns: when it was received, ns on the ROS clock.

        Raises:
            KeyError: if the topic is not one of `joint_topics`.
        """
        health = self.joint_health[topic]
        try:
            order = self._joints[topic].add(stamp_ns, names, positions)
        except ObservationError as error:
            health.fault = str(error)
            health.arrived(None, stamp_ns, received_ns)
            return
        if order is not None:
            health.fault = None
            health.arrived(order, stamp_ns, received_ns)

    def state(self, stamp_ns: int) -> NDArray[np.float64]:
        """The state at an instant, in the order of `state_names` (rad, m); see `JointStateBuffer.at`.

        Raises:
            ObservationError: if a source does not cover it.
        """
        parts = [buffer.at(stamp_ns) for buffer in self._joints.values()]
        return np.concatenate(parts)[self._columns]

    def would_use(self, stamp_ns: int) -> bool:
        """Whether a set of this stamp, later than all before it, would be given: its step has none yet."""
        return self._grid.would_accept(stamp_ns)

    def picture(self, camera: str, frame: Frame) -> NDArray[np.uint8]:
        """The frame as policies see it, (H, W, 3) RGB, whatever it shows; the camera's health does not hear of it.

        Raises:
            ImageError: as `CameraView.picture`.
        """
        return self.views[camera].picture(frame)

    def rgb(self, camera: str, frame: Frame, picture: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """The frame in RGB, (H, W, 3); whether that works is the camera's health.

        Args:
            camera: the camera.
            frame: its frame.
            picture: of `picture`, where it was made ahead.

        Raises:
            ImageError: if it cannot be converted, has a size that the camera does not have, is black, or is another
                camera's.
        """
        health = self.camera_health[camera]
        try:
            if picture is None:
                picture = self.picture(camera, frame)
            reason = health.unusable(frame, picture)
            if reason is not None:
                raise ImageError(
                    f"Topic {self._cameras[camera].topic}: {reason}.",
                    remedy=f"Check the lens, the light and the driver of camera '{camera}', and which topic it is on.",
                )
        except ImageError as error:
            health.fault = str(error)
            raise
        health.fault = None
        return picture

    def refuse_frozen(self, frames: FrameSet[Frame]) -> None:
        """Look at the frames of a set that is used.

        Raises:
            ObservationError: if a camera's last frames were all the same.
        """
        for name, stamped in zip(frames.cameras, frames.frames, strict=True):
            health = self.camera_health[name]
            health.used(stamped.frame)
            if health.frozen:
                raise ObservationError(
                    f"Camera {name} is frozen: its frames repeat while their stamps move.",
                    remedy="Restart the camera's driver; in a simulation turn this check off.",
                )

    def statuses(self, now_ns: int) -> tuple[Status, ...]:
        """State of every camera and of every source of joint states."""
        first = next(iter(self.camera_health.values()))
        cameras = [self._camera_status(name, now_ns, first) for name in self._cameras]
        joints = [health.status(now_ns) for health in self.joint_health.values()]
        return (*cameras, *joints)

    def _camera_status(self, name: str, now_ns: int, first: CameraHealth) -> Status:
        view = self.views[name]
        about: dict[str, float | str] = {}
        if view.size is not None:
            about["picture"] = f"{view.size[0]}x{view.size[1]}"
        if view.fov_deg is not None:
            about["horizontal_fov_deg"] = round(view.fov_deg, 1)
        trained = self._trained.get(name) if self._trained is not None else None
        if self._trained is not None and trained is None:
            about["geometry"] = "not checked: the policy does not say what its training pictures were"
        differs = [] if trained is None else view.differences(trained)
        return self.camera_health[name].status(now_ns, first, differs, **about)
