"""What `f1-ros camera check` says of cameras: each trouble is named with what to change, and a good camera has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.observe.calibration import CameraInfo
from f1_ros.observe.camera_check import CameraCheck
from f1_ros.observe.camera_findings import Findings
from f1_ros.observe.frames import CompressedFrame, Frame, ImageFrame
from f1_ros.observe.geometry import CameraGeometry
from f1_ros.observe.health import HealthLimits
from f1_ros.robots.camera import Camera

MS = 1_000_000
START = 1_000_000 * MS
PERIOD = 33_333_333
FRONT = Camera("front", "/front/image", "sensor_msgs/msg/Image", ((64, 48),), 30.0, 15.0)
WRIST = replace(FRONT, name="wrist", topic="/wrist/image")
STRUCTURE = 110 + 40 * np.sin(np.arange(64) / 5)[None, None, :, None]
SCENES = (STRUCTURE + np.random.default_rng(0).normal(0, 3, (8, 48, 64, 3))).astype(np.uint8)


def shown(k: int) -> Frame:
    return replace(ImageFrame.from_rgb(SCENES[k % 8]), frame_id="optical")


@dataclass
class Cameras:
    """Two cameras at 30 Hz for 5 s; the functions change what one of them sends."""

    frame: Callable[[str, int], Frame | None] = lambda camera, k: shown(k)
    stamp: Callable[[str, int], int] = lambda camera, k: START + k * PERIOD
    delay: Callable[[str, int], int] = lambda camera, k: 20 * MS
    number: Callable[[str, int], int | None] = lambda camera, k: k + 1
    offered: tuple[str, ...] = ("sensor_msgs/msg/Image",)
    cameras: tuple[Camera, ...] = (FRONT, WRIST)
    trained: dict[str, CameraGeometry] | None = None
    info: CameraInfo | None = None
    frames: int = 150
    limits: HealthLimits = field(default_factory=lambda: HealthLimits(black_below=16))

    def check(self) -> dict[str, Findings]:
        check = CameraCheck(self.cameras, 20 * MS, self.limits, self.trained)
        for camera in self.cameras:
            check.offered(camera.name, self.offered)
            if self.info is not None:
                check.add_camera_info(camera.name, self.info)
        for k in range(self.frames):
            for camera in self.cameras:
                frame = self.frame(camera.name, k)
                if frame is not None:
                    stamp = self.stamp(camera.name, k)
                    received = START + k * PERIOD + self.delay(camera.name, k)
                    check.add_frame(camera.name, stamp, frame, received, self.number(camera.name, k))
                    check.look(camera.name, frame)
        return {found.part: found for found in check.findings(START + self.frames * PERIOD)}


def said(found: Findings) -> str:
    return " | ".join(f"{trouble.problem}: {trouble.remedy}" for trouble in found.troubles)


def figure(found: Findings, name: str) -> float:
    return next(figure.value for figure in found.figures if figure.name == name)


def missed(found: Findings) -> list[str]:
    return [figure.name for figure in found.figures if not figure.ok]


def test_good_cameras_have_no_trouble_and_their_figures_are_right() -> None:
    found = Cameras(stamp=lambda camera, k: START + k * PERIOD + (4 * MS if camera == "wrist" else 0)).check()
    assert [said(part) for part in found.values()] == ["", "", ""]
    front, wrist, together = found["front"], found["wrist"], found["together"]
    assert figure(front, "frames") == 150
    assert abs(figure(front, "rate") - 30.0) < 0.01
    assert (figure(front, "jitter"), figure(front, "missing"), figure(front, "lost_on_the_way")) == (0.0, 0.0, 0.0)
    assert (figure(front, "age_p50"), figure(wrist, "age_p50")) == (20.0, 16.0)
    assert figure(wrist, "offset_to_front") == 4.0
    assert (figure(together, "matched"), figure(together, "skew_p50")) == (1.0, 4.0)
    assert (figure(front, "encoding"), figure(front, "frame_id"), figure(front, "picture")) == (
        "rgb8",
        "optical",
        "64x48",
    )
    assert 105 < figure(front, "brightness") < 115
    assert "its field of view is not known: no CameraInfo came" in front.notes


def test_frames_that_are_lost_on_the_way_are_told_from_those_that_the_driver_leaves_out() -> None:
    gone = lambda camera, k: None if camera == "wrist" and k % 10 == 5 else shown(k)  # noqa: E731
    on_the_way = Cameras(frame=gone).check()["wrist"]
    assert missed(on_the_way) == ["missing"]
    assert "lost between its driver and here: Give its driver room in shared memory" in said(on_the_way)
    assert abs(figure(on_the_way, "missing") - 0.1) < 0.005
    driver = Cameras(frame=gone, number=lambda camera, k: k - (k + 4) // 10).check()["wrist"]
    assert figure(driver, "lost_on_the_way") == 0.0
    assert "10.0% of its frames are missing: Check its cable and USB bus" in said(driver)
    unknown = Cameras(frame=gone, number=lambda camera, k: None).check()["wrist"]
    assert missed(unknown) == ["missing"]


def test_a_rate_below_the_profiles_is_named_once_whether_a_little_or_far_below() -> None:
    dim = Cameras(stamp=lambda camera, k: START + k * 2 * PERIOD, delay=lambda camera, k: k * PERIOD + 20 * MS)
    assert "15.0 Hz, not the 30 of the profile: " in said(dim.check()["front"])
    slow = Cameras(stamp=lambda camera, k: START + k * 3 * PERIOD, delay=lambda camera, k: 2 * k * PERIOD + 20 * MS)
    assert said(slow.check()["front"]).count("Hz") == 1
    assert "slower than 15 Hz" in said(slow.check()["front"])
    assert "rate" in missed(slow.check()["front"])


def test_stamps_that_jitter_are_named() -> None:
    noise = np.random.default_rng(1).normal(0, 6 * MS, 150).astype(int)
    found = Cameras(stamp=lambda camera, k: START + k * PERIOD + int(noise[k])).check()["front"]
    assert "the time from frame to frame varies by" in said(found)
    assert "jitter" in missed(found)


def test_late_frames_and_a_clock_ahead_are_named() -> None:
    late = Cameras(delay=lambda camera, k: (300 if k % 20 == 0 else 20) * MS).check()["front"]
    assert "one frame in a hundred is 300 ms old when it comes" in said(late)
    ahead = Cameras(delay=lambda camera, k: -30 * MS if camera == "front" else 20 * MS).check()
    assert "its stamps lie at least 30.0 ms in the future" in said(ahead["front"])
    assert "clock_ahead" not in missed(ahead["wrist"])
    far = Cameras(stamp=lambda camera, k: START + k * PERIOD - 3_600_000 * MS).check()["front"]
    assert "header stamps are not on the ROS clock" in said(far)


def test_cameras_that_do_not_expose_together_are_named() -> None:
    found = Cameras(
        stamp=lambda camera, k: START + k * 3 * PERIOD + (45 * MS if camera == "wrist" else 0),
        delay=lambda camera, k: 2 * k * PERIOD + 60 * MS,
        frames=60,
    )
    together = found.check()["together"]
    assert "only 0% of the frames come together to sets within 20 ms: Trigger the cameras together" in said(together)
    assert figure(found.check()["wrist"], "offset_to_front") == 45.0


def test_a_silent_camera_is_named_by_what_is_published_on_its_topic() -> None:
    silent = lambda camera, k: None if camera == "wrist" else shown(k)  # noqa: E731
    nobody = Cameras(frame=silent, offered=()).check()["wrist"]
    assert said(nobody).startswith("nobody publishes /wrist/image: Start its driver")
    other = Cameras(frame=silent, offered=("sensor_msgs/msg/CompressedImage",)).check()["wrist"]
    assert "is published as sensor_msgs/msg/CompressedImage, the profile says sensor_msgs/msg/Image" in said(other)
    mute = Cameras(frame=silent).check()["wrist"]
    assert "missing: nothing comes on /wrist/image" in said(mute)
    assert Cameras(frame=silent).check()["together"].figures == ()


def test_two_publishers_on_one_topic_are_named() -> None:
    found = Cameras(
        offered=("sensor_msgs/msg/Image",) * 2,
        frame=lambda camera, k: replace(shown(k), frame_id=("left", "right")[k % 2]),
    ).check()["front"]
    assert "2 publish on /front/image: End all but the camera's own driver." in said(found)
    assert "its frames are of 'right', they were of 'left'" in said(found)


def test_dark_bright_black_and_flickering_pictures_are_named() -> None:
    def lit(level: float, swing: float = 0.0) -> Findings:
        def frame(camera: str, k: int) -> Frame:
            scene = SCENES[k % 8] / 110.0 * level * (1 + swing * (-1) ** k)
            return ImageFrame.from_rgb(scene.clip(0, 255).astype(np.uint8))

        return Cameras(frame=frame).check()["front"]

    assert "dark on the whole: 19 of 255: Light the scene better" in said(lit(20))
    assert "bright on the whole" in said(lit(235))
    assert "of its pixels are white: Lower exposure or gain" in said(lit(235))
    assert "of its pixels are black" in said(lit(5))
    assert "its brightness goes up and down by" in said(lit(110, 0.05))
    black = Cameras(frame=lambda camera, k: ImageFrame.from_rgb(np.full((48, 64, 3), k % 5, np.uint8))).check()["front"]
    assert "black: no pixel of its frames is bright" in said(black)
    assert any("flicker is not judged" in note for note in black.notes)


def test_a_frozen_camera_is_named() -> None:
    assert "frozen: its frames repeat" in said(Cameras(frame=lambda camera, k: shown(0)).check()["front"])


def test_grey_pictures_wrong_sizes_and_unknown_encodings_are_named() -> None:
    grey = lambda camera, k: ImageFrame("mono8", 48, 64, 64, False, SCENES[k % 8][:, :, 0].tobytes())  # noqa: E731
    assert "grey or depth, and policies see colour" in said(Cameras(frame=grey).check()["front"])
    jpeg = lambda camera, k: CompressedFrame("mono8; jpeg compressed mono8", b"nothing")  # noqa: E731
    assert "grey or depth, and policies see colour" in said(Cameras(frame=jpeg).check()["front"])
    large = lambda camera, k: ImageFrame.from_rgb(np.full((96, 128, 3), 50 + k, np.uint8))  # noqa: E731
    assert "frames are 128x96, expected 64x48" in said(Cameras(frame=large).check()["front"])
    odd = lambda camera, k: replace(shown(k), encoding="odd")  # noqa: E731
    assert "unknown image encoding 'odd'" in said(Cameras(frame=odd).check()["front"])
    damaged = lambda camera, k: CompressedFrame("jpeg", b"nothing")  # noqa: E731
    compressed = replace(FRONT, topic="/front/image/compressed", type="sensor_msgs/msg/CompressedImage")
    found = Cameras(frame=damaged, cameras=(compressed,), offered=(compressed.type,)).check()
    assert list(found) == ["front"]  # one camera has nothing to be compared with
    assert "truncated or damaged" in said(found["front"])


def test_pictures_are_compared_with_those_of_the_policys_training() -> None:
    k = (40.0, 0.0, 31.5, 0.0, 40.0, 23.5, 0.0, 0.0, 1.0)
    info = CameraInfo(64, 48, "plumb_bob", (), k, (0.0,) * 9, (0.0,) * 12)
    trained = {"front": CameraGeometry(1.0, 50.0)}
    found = Cameras(trained=trained, info=info).check()
    assert "its 64x48 pictures are 1.33 times as wide as high" in said(found["front"])
    assert "its pictures show 77.3 degrees from left to right" in said(found["front"])
    assert abs(figure(found["front"], "horizontal_fov") - 77.3) < 0.1
    assert found["wrist"].troubles == ()
    assert any("does not say what its training pictures were" in note for note in found["wrist"].notes)
    alike = Cameras(trained={"front": CameraGeometry(4 / 3, 77.0)}, info=info).check()["front"]
    assert alike.troubles == ()
    other = Cameras(trained=trained, info=replace(info, width=640, height=480)).check()["front"]
    assert "its field of view is not known: its CameraInfo is for 640x480 pictures" in other.notes
    half = Cameras(trained={"front": CameraGeometry(4 / 3, 77.0)}).check()["front"]
    assert "only its aspect is compared with the policy's training pictures" in half.notes


@given(
    st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62), st.booleans(), st.none() | st.integers(0, 2**63))),
    st.integers(0, 2**62),
)
def test_any_stamps_and_numbers_give_findings(messages: list, now: int) -> None:
    check = CameraCheck((FRONT, WRIST), 20 * MS, HealthLimits(), {})
    for stamp, received, wrist, number in messages:
        check.add_frame("wrist" if wrist else "front", stamp, shown(0), received, number)
    assert [found.part for found in check.findings(now)] == ["front", "wrist", "together"]
