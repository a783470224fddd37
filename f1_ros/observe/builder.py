"""From camera frames and joint states as they arrive to observations.

    builder = ObservationBuilder.for_robot(spec, profile)
    ready = builder.add_frame("front", stamp_ns, ImageFrame(...), now_ns)      every image message: stores a reference
    builder.add_joint_state(topic, stamp_ns, names, positions, now_ns)         every joint state message
    builder.add_camera_info("front", CameraInfo(...))                          now and then, where the profile names one
    if ready is not None:
        result = builder.build(ready, now_ns)                                  Observation, or Refusal with its reason
    else:
        builder.prepare("front", stamp_ns, frame)                              while the other cameras are awaited
    builder.statuses(now_ns)                                                   at 1 Hz, for /diagnostics

Pixels are touched in `build` and `prepare` alone, so at the model's rate at most and for frames that are used, but for
those whose set does not come together. A caller that is late may drop a ready set and build the next one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ConfigError, F1Error, ObservationError
from f1_ros.observe.calibration import CameraInfo
from f1_ros.observe.frames import Frame
from f1_ros.observe.health import MS, SECOND_NS, HealthLimits, Level, Status
from f1_ros.observe.history import FrameHistory
from f1_ros.observe.joint_state import JointSource, joint_sources
from f1_ros.observe.observation import Observation
from f1_ros.observe.order import Order
from f1_ros.observe.preprocess import camera_tensor, history_frame
from f1_ros.observe.streams import MatchedStreams
from f1_ros.observe.synchroniser import FrameSet

if TYPE_CHECKING:
    from f1_ros.engine.protocol import PolicySpec
    from f1_ros.robots.camera import Camera
    from f1_ros.robots.profile import RobotProfile


@dataclass(frozen=True)
class Refusal:
    """Why a set of frames gives no observation; the text stays the same as long as the cause does."""

    reason: str


@dataclass(frozen=True)
class _Prepared:
    """What an observation needs of a frame: its picture, that as the model wants it, and for camera 0 the history's."""

    rgb: NDArray[np.uint8]
    image: NDArray[np.float32]
    past: NDArray[np.uint8] | None


@dataclass
class _Past:
    """A frame of camera 0 as it came; once it is needed, its picture for the history instead."""

    content: Frame | NDArray[np.uint8]


class ObservationBuilder:
    """Makes observations for one policy. Not thread-safe: one caller, or a lock around it.

    Args:
        spec: what the policy expects.
        cameras: the cameras of `spec.cameras`, in that order; the first has the history.
        sources: topics that together give `spec.state_names`.
        tolerance_ns: largest distance between the stamps of frames that belong together, ns.
        limits: ages beyond which nothing is used, and when a stream counts as ill.

    Raises:
        ConfigError: if cameras or state entries are not those of `spec`, or the tolerance is not below a step.
    """

    def __init__(
        self,
        spec: PolicySpec,
        cameras: Sequence[Camera],
        sources: Sequence[JointSource],
        tolerance_ns: int,
        limits: HealthLimits | None = None,
    ) -> None:
        step_ns = round(spec.step_s * SECOND_NS)
        names = tuple(camera.name for camera in cameras)
        entries = [channel.name for source in sources for channel in source.channels]
        if names != tuple(spec.cameras) or sorted(entries) != sorted(spec.state_names):
            raise ConfigError(
                f"Policy '{spec.name}' wants the cameras {spec.cameras} and the state {spec.state_names}; given are "
                f"{names} and {tuple(entries)}.",
                remedy="Use a profile that has the cameras and joints that the policy was trained with.",
            )
        self._spec = spec
        self._limits = limits or HealthLimits()
        self._first = names[0]
        self._streams = MatchedStreams(
            cameras, sources, spec.state_names, step_ns, tolerance_ns, self._limits, spec.camera_geometry
        )
        self._history: FrameHistory[_Past] = FrameHistory(spec.history_offsets, step_ns)
        self._prepared: WeakKeyDictionary[Frame, _Prepared] = WeakKeyDictionary()  # it goes when its frame does
        self._counts = {"observations": 0, "refused": 0}
        self._last: Observation | Refusal = Refusal("no set of frames was used yet")

    @classmethod
    def for_robot(
        cls, spec: PolicySpec, profile: RobotProfile, limits: HealthLimits | None = None
    ) -> ObservationBuilder:
        """Make a builder for a policy on a robot.

        Raises:
            ConfigError: if the robot lacks a camera or a joint that the policy was trained with.
        """
        cameras = [profile.camera(name) for name in spec.cameras]
        tolerance_ns = round(profile.match_tolerance_s * SECOND_NS)
        return cls(spec, cameras, joint_sources(profile, spec.state_names), tolerance_ns, limits)

    @property
    def camera_topics(self) -> dict[str, str]:
        """Topic of each camera, by the camera's name."""
        return self._streams.camera_topics

    @property
    def camera_info_topics(self) -> dict[str, str]:
        """Topic of the calibration of each camera that has one, by the camera's name."""
        return {name: view.camera.camera_info for name, view in self._streams.views.items() if view.camera.camera_info}

    @property
    def joint_topics(self) -> tuple[str, ...]:
        """Topics of joint states."""
        return self._streams.joint_topics

    def add_frame(self, camera: str, stamp_ns: int, frame: Frame, received_ns: int) -> FrameSet[Frame] | None:
        """Take a frame, by reference. Gives the set that it completes if an observation is due for it.

        Args:
            camera: the camera's name.
            stamp_ns: header stamp, ns.
            frame: the frame.
            received_ns: when it was received, ns on the ROS clock.

        Raises:
            KeyError: if the camera is not one of the policy's.
        """
        added = self._streams.add_frame(camera, stamp_ns, frame, received_ns)
        if camera == self._first:
            if added.order is Order.RESET:
                self._history.clear()
            if added.order in (Order.NEXT, Order.RESET):
                self._history.add(stamp_ns, _Past(frame))
        ready = added.frame_set
        if ready is not None:
            self._history.mark(ready.stamp_ns, _Past(ready.frames[0].frame))
        return ready

    def add_camera_info(self, camera: str, info: CameraInfo) -> None:
        """Take a camera's calibration; see `CameraView.calibrate`."""
        self._streams.views[camera].calibrate(info)

    def add_joint_state(
        self, topic: str, stamp_ns: int, names: Sequence[str], positions: Sequence[float], received_ns: int
    ) -> None:
        """Take a joint state message; see `MatchedStreams.add_joint_state`."""
        self._streams.add_joint_state(topic, stamp_ns, names, positions, received_ns)

    def prepare(self, camera: str, stamp_ns: int, frame: Frame) -> None:
        """Do ahead what `build` does with a frame that completed no set, if it is likely to be used.

        Cameras do not send at one instant: only the last one's picture is then still to be made when the set is
        complete.

        Args:
            camera: the camera's name.
            stamp_ns: header stamp, ns.
            frame: the frame, as `add_frame` took it.
        """
        if not self._streams.would_use(stamp_ns):
            return
        with contextlib.suppress(F1Error):  # if the frame is used, `build` says what is wrong with it
            self._prepared[frame] = self._prepare(camera, self._streams.picture(camera, frame))

    def build(self, frames: FrameSet[Frame], now_ns: int) -> Observation | Refusal:
        """Make the observation of a set that `add_frame` gave.

        Args:
            frames: the set.
            now_ns: now on the ROS clock, ns.

        Returns:
            The observation, or why there is none: a part is too old or lies in the future, joint states do not cover
            its stamp, the history is incomplete, or a frame cannot be converted, has the wrong size or is frozen.
        """
        try:
            self._last = self._build(frames, now_ns)
        except F1Error as error:
            self._last = Refusal(str(error))
        self._counts["refused" if isinstance(self._last, Refusal) else "observations"] += 1
        return self._last

    def statuses(self, now_ns: int) -> tuple[Status, ...]:
        """State of every camera, every source of joint states, and the observations themselves."""
        return (*self._streams.statuses(now_ns), self._status(now_ns))

    def _build(self, frames: FrameSet[Frame], now_ns: int) -> Observation:
        for name, stamped in zip(frames.cameras, frames.frames, strict=True):
            age_ns = now_ns - min(stamped.stamp_ns, stamped.received_ns)
            if age_ns > self._limits.max_age_ns or now_ns - stamped.stamp_ns < -self._limits.max_ahead_ns:
                raise ObservationError(
                    f"Camera {name}: its frame is more than {self._limits.max_age_ns * MS:g} ms old, or its stamp over "
                    f"{self._limits.max_ahead_ns * MS:g} ms ahead of the ROS clock.",
                    remedy="Check the camera's clock and link, and whether this machine keeps up.",
                )
        state = self._streams.state(frames.stamp_ns)
        history = self._history.pick(frames.stamp_ns)
        if history is None:
            raise ObservationError(
                f"Camera {self._first}: its frames do not reach back far enough without a gap for the model's history.",
                remedy="Wait half a second after the start; if it stays, check the camera's rate.",
            )
        parts = [self._usable(name, stamped.frame) for name, stamped in zip(frames.cameras, frames.frames, strict=True)]
        self._streams.refuse_frozen(frames)
        if parts[0].past is not None:
            history[-1].frame.content = parts[0].past
        return Observation(
            stamp_ns=frames.stamp_ns,
            cameras=frames.cameras,
            camera_stamps_ns=tuple(stamped.stamp_ns for stamped in frames.frames),
            images=np.stack([part.image for part in parts]),
            history=np.stack([self._picture(entry.frame) for entry in history]),
            history_stamps_ns=tuple(entry.stamp_ns for entry in history),
            state_names=tuple(self._spec.state_names),
            state=state,
        )

    def _usable(self, camera: str, frame: Frame) -> _Prepared:
        """A frame that is used, prepared unless it was; its camera's health hears what it shows."""
        known = self._prepared.get(frame)
        rgb = self._streams.rgb(camera, frame, None if known is None else known.rgb)
        if known is None:
            self._prepared[frame] = known = self._prepare(camera, rgb)
        return known

    def _prepare(self, camera: str, rgb: NDArray[np.uint8]) -> _Prepared:
        spec = self._spec
        past = history_frame(rgb, spec.history_resize, spec.history_size) if camera == self._first else None
        return _Prepared(rgb, camera_tensor(rgb, spec.image_size), past)

    def _picture(self, past: _Past) -> NDArray[np.uint8]:
        """A frame's picture for the history, which then stands in for the frame."""
        if not isinstance(past.content, np.ndarray):
            known = self._usable(self._first, past.content)
            assert known.past is not None
            past.content = known.past
        return past.content

    def _status(self, now_ns: int) -> Status:
        values: dict[str, float | int | str] = {**self._streams.counts, **self._counts}
        last_ns = self._streams.last_set_ns
        if last_ns is None or now_ns - last_ns > self._limits.missing_after_ns:
            values["remedy"] = "See which camera is missing; if none is, raise match_tolerance or use a trigger."
            return Status("observation", Level.ERROR, "no complete set of frames", values)
        if isinstance(self._last, Refusal):
            return Status("observation", Level.ERROR, self._last.reason, values)
        values["age_ms"] = round((now_ns - self._last.stamp_ns) * MS, 2)
        values["skew_ms"] = round(self._last.skew_ns * MS, 2)
        return Status("observation", Level.OK, "observations go out", values)
