"""Judges cameras by some seconds of their frames, for `f1-ros camera check`. The robot stands still meanwhile.

check = CameraCheck(profile.cameras, tolerance_ns, limits, spec.camera_geometry)
check.offered("front", ["sensor_msgs/msg/Image"])                  what is published on its topic
check.add_frame("front", stamp_ns, frame, received_ns, number)     every image message
check.look("front", frame)                                         as many of them as there is time for
check.add_camera_info("front", CameraInfo(...))
check.findings(now_ns)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ImageError
from f1_ros.observe.calibration import CameraInfo
from f1_ros.observe.camera_findings import ON_THE_WAY, Draft, Findings, Trouble, judge_exposure, judge_timing
from f1_ros.observe.exposure import ExposureMeter
from f1_ros.observe.frames import Frame, ImageFrame
from f1_ros.observe.geometry import CameraGeometry
from f1_ros.observe.health import MS, CameraHealth, HealthLimits
from f1_ros.observe.order import Order
from f1_ros.observe.synchroniser import FrameSynchroniser
from f1_ros.observe.view import CameraView
from f1_ros.robots.camera import Camera

LEAST_MATCHED = 0.95
"""Share of frames that must find their partners of the other cameras."""
MOST_AHEAD_MS = 5.0
"""A stamp in the future takes the state from too late: 5 ms are 0.3 degrees of a joint at 1 rad/s."""
GREY = ("mono8", "mono16", "16UC1")


class _Watched:
    """One camera's frames as they came."""

    def __init__(self, camera: Camera, limits: HealthLimits) -> None:
        self.camera = camera
        self.view = CameraView(camera)
        self.health = CameraHealth(camera, limits)
        self.exposure = ExposureMeter()
        self.offered: tuple[str, ...] | None = None
        self.stamps: list[int] = []
        self.delays: list[int] = []
        self.numbers: list[int] = []
        self.encodings: dict[str, None] = {}
        self.frame_ids: dict[str, None] = {}


class CameraCheck:
    """Takes the frames of a robot's cameras and says how they are. Not thread-safe.

    Args:
        cameras: the cameras; the first gives a set of frames its stamp.
        tolerance_ns: largest distance between the stamps of frames that belong together, ns.
        limits: ages, silence and repetition beyond which nothing is used.
        trained: what the pictures were that a policy was trained on, by camera; None if it is not asked for.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        tolerance_ns: int,
        limits: HealthLimits,
        trained: Mapping[str, CameraGeometry] | None = None,
    ) -> None:
        self._limits = limits
        self._tolerance_ns = tolerance_ns
        self._trained = trained
        self._watched = {camera.name: _Watched(camera, limits) for camera in cameras}
        self._synchroniser: FrameSynchroniser[None] = FrameSynchroniser(tuple(self._watched), tolerance_ns)
        self._skews: list[int] = []

    def offered(self, camera: str, kinds: Sequence[str]) -> None:
        """Note the message types of those who publish on a camera's topic."""
        self._watched[camera].offered = tuple(kinds)

    def add_frame(self, camera: str, stamp_ns: int, frame: Frame, received_ns: int, number: int | None = None) -> None:
        """Take a frame as it comes.

        Args:
            camera: the camera's name.
            stamp_ns: header stamp, ns.
            frame: the frame.
            received_ns: when it was received, ns on the ROS clock.
            number: of the message, counted by the middleware where it was sent; None if it does not tell.
        """
        seen = self._watched[camera]
        added = self._synchroniser.add(camera, stamp_ns, None, received_ns)
        seen.health.arrived(added.order, stamp_ns, received_ns)
        if added.frame_set is not None:
            self._skews.append(added.frame_set.skew_ns)
        if added.order is not Order.DUPLICATE:
            seen.stamps.append(stamp_ns)
            seen.delays.append(received_ns - stamp_ns)
        if number is not None:
            seen.numbers.append(number)
        seen.encodings[frame.encoding if isinstance(frame, ImageFrame) else frame.format] = None
        seen.frame_ids[frame.frame_id] = None

    def look(self, camera: str, frame: Frame) -> None:
        """Look at a frame's pixels."""
        seen = self._watched[camera]
        seen.health.used(frame)
        try:
            picture = seen.view.picture(frame)
        except ImageError as error:
            seen.health.fault = str(error)
            return
        seen.health.fault = seen.health.unusable(frame, picture)
        seen.exposure.add(picture)

    def add_camera_info(self, camera: str, info: CameraInfo) -> None:
        """Take a camera's calibration."""
        self._watched[camera].view.calibrate(info)

    def findings(self, now_ns: int) -> tuple[Findings, ...]:
        """What was found out about each camera, and about all together.

        Args:
            now_ns: now on the ROS clock, ns.
        """
        each = tuple(self._judge(seen, now_ns) for seen in self._watched.values())
        return each if len(self._watched) == 1 else (*each, self._together())

    def _judge(self, seen: _Watched, now_ns: int) -> Findings:
        draft, camera = Draft(seen.camera.name), seen.camera
        draft.show("frames", len(seen.stamps))
        foreign = sorted(set(seen.offered or ()) - {camera.type})
        if foreign:
            problem = f"{camera.topic} is published as {', '.join(foreign)}, the profile says {camera.type}"
            draft.troubles.append(Trouble(problem, "Set the camera's 'type' and 'topic' in the profile."))
        elif seen.offered == ():
            remedy = "Start its driver; compare with `ros2 topic list`, and ROS_DOMAIN_ID."
            draft.troubles.append(Trouble(f"nobody publishes {camera.topic}", remedy))
        else:
            if len(seen.offered or ()) > 1:
                problem = f"{len(seen.offered or ())} publish on {camera.topic}"
                draft.troubles.append(Trouble(problem, "End all but the camera's own driver."))
            problems = seen.health.problems(now_ns)
            draft.troubles += [Trouble(problem, remedy) for _, problem, remedy in problems]
        if len(seen.stamps) > 2:
            judge_timing(draft, camera, seen.stamps, seen.numbers)
            self._age(draft, seen, now_ns)
        exposure = seen.exposure.result()
        if exposure is not None:
            judge_exposure(draft, exposure)
        self._geometry(draft, seen)
        return draft.done()

    def _age(self, draft: Draft, seen: _Watched, now_ns: int) -> None:
        median, late = (float(q) * MS for q in np.percentile(seen.delays, (50, 99)))
        draft.show("age_p50", median, "ms")
        most = self._limits.max_age_ns * MS
        draft.ask(
            "age_p99", late, "ms", f"<= {most:g}", late <= most,
            f"one frame in a hundred is {late:.0f} ms old when it comes, and {most:g} ms is the most that is used",
            ON_THE_WAY,
        )  # fmt: skip
        ahead = (seen.health.clock_ahead_ns or 0) * MS
        draft.ask(
            "clock_ahead", ahead, "ms", f"<= {MOST_AHEAD_MS:g}", ahead <= MOST_AHEAD_MS,
            f"its stamps lie at least {ahead:.1f} ms in the future: its clock is ahead of this machine's",
            "Synchronise the clocks of both machines (chrony, PTP), or let the driver stamp with the host's time.",
        )  # fmt: skip
        drift = seen.health.values(now_ns).get("clock_drift_ppm")
        if isinstance(drift, float):
            draft.show("clock_drift", drift, "ppm")
        first = next(iter(self._watched.values()))
        if seen is not first and first.stamps:
            draft.show(
                f"offset_to_{first.camera.name}", float(np.median(_nearest(seen.stamps, first.stamps))) * MS, "ms"
            )

    def _geometry(self, draft: Draft, seen: _Watched) -> None:
        camera, view = seen.camera, seen.view
        for name, values in (("encoding", seen.encodings), ("frame_id", seen.frame_ids)):
            if values:
                draft.show(name, ", ".join(values))
        if {name.partition(";")[0] for name in seen.encodings} & set(GREY):
            problem = f"its pictures are {', '.join(seen.encodings)}: grey or depth, and policies see colour"
            draft.troubles.append(Trouble(problem, "Give the camera's colour topic in the profile."))
        if view.size is None:
            return
        width, height = view.size
        draft.show("picture", f"{width}x{height}", "px")
        draft.show("aspect", width / height)
        if view.fov_deg is not None:
            draft.show("horizontal_fov", view.fov_deg, "deg")
        else:
            draft.notes.append(f"its field of view is not known: {view.fov_unknown}")
        if self._trained is None:
            return
        trained = self._trained.get(camera.name)
        if trained is None:
            draft.notes.append("not compared with the policy, which does not say what its training pictures were")
            return
        if trained.horizontal_fov_deg is None or view.fov_deg is None:
            draft.notes.append("only its aspect is compared with the policy's training pictures")
        found = view.differences(trained)
        draft.show("differences_from_training", len(found))
        draft.troubles += [Trouble(difference.problem, difference.remedy) for difference in found]

    def _together(self) -> Findings:
        draft = Draft("together")
        possible = min(len(seen.stamps) for seen in self._watched.values())
        if not possible:
            return draft.done()
        matched = len(self._skews) / possible
        tolerance = self._tolerance_ns * MS
        draft.ask(
            "matched", min(1.0, matched), "", f">= {LEAST_MATCHED:g}", matched >= LEAST_MATCHED,
            f"only {matched:.0%} of the frames come together to sets within {tolerance:g} ms",
            "Trigger the cameras together, or raise match_tolerance_s in the profile, to half a period at most.",
        )  # fmt: skip
        if self._skews:
            for name, q in (("skew_p50", 50), ("skew_p99", 99)):
                draft.show(name, float(np.percentile(self._skews, q)) * MS, "ms")
        return draft.done()


def _nearest(stamps: list[int], others: list[int]) -> NDArray[np.int64]:
    """Distance of each stamp from the nearest of the others, ns, positive where it is later."""
    mine, theirs = np.sort(np.array(stamps)), np.sort(np.array(others))
    after = np.clip(np.searchsorted(theirs, mine), 1, max(1, len(theirs) - 1))
    candidates = np.stack([mine - theirs[after - 1], mine - theirs[np.minimum(after, len(theirs) - 1)]])
    nearest: NDArray[np.int64] = np.take_along_axis(candidates, np.abs(candidates).argmin(axis=0)[None], axis=0)[0]
    return nearest
