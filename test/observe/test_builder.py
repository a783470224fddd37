"""From messages to observations: what goes out, what does not and why, and what it says about the cameras."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.engine.protocol import PolicySpec
from f1_ros.errors import ConfigError
from f1_ros.observe.builder import ObservationBuilder, Refusal
from f1_ros.observe.frames import CompressedFrame, Frame, ImageFrame
from f1_ros.observe.health import HealthLimits, Level, Status
from f1_ros.observe.joint_state import joint_sources
from f1_ros.observe.observation import Observation
from f1_ros.robots.profile import load_profile

MS = 1_000_000
START = 1_000_000 * MS
PROFILE = load_profile("franka")
ARM, HAND = "/franka/joint_states", "/franka_gripper/joint_states"
ARM_JOINTS, FINGERS = list(PROFILE.joints), ["fr3_finger_joint1", "fr3_finger_joint2"]
SPEC = PolicySpec(
    name="test",
    robot="franka",
    cameras=("front", "wrist"),
    image_size=96,
    history_resize=96,
    history_size=96,
    history_offsets=(-9, -6, -3, 0),
    foresight_offset=6,
    step_s=0.05,
    first_step_offset=1,
    state_names=PROFILE.state_names,
    action_names=PROFILE.action_names,
    chunk_size=16,
)


def picture(level: int, width: int = 96, height: int = 96) -> ImageFrame:
    return ImageFrame.from_rgb(np.full((height, width, 3), level % 256, np.uint8))


@dataclass
class Rig:
    """A robot at 20 Hz whose front camera shows the number of the step; `change` replaces what a stream sends."""

    builder: ObservationBuilder = field(default_factory=lambda: ObservationBuilder.for_robot(SPEC, PROFILE))
    frame: Callable[[str, int], Frame | None] = lambda camera, k: picture(k if camera == "front" else 200 - k)
    arm: Callable[[int], list[float] | None] = lambda k: [0.01 * k] * 7
    stamp: Callable[[str, int], int] = lambda stream, k: START + 50 * MS * k
    delay_ns: int = 10 * MS
    results: dict[int, Observation | Refusal] = field(default_factory=dict)
    now_ns: int = 0

    def run(self, steps: range) -> None:
        for k in steps:
            self.now_ns = START + 50 * MS * k + self.delay_ns
            arm = self.arm(k)
            if arm is not None:
                self.builder.add_joint_state(ARM, self.stamp(ARM, k), ARM_JOINTS, arm, self.now_ns)
            self.builder.add_joint_state(HAND, self.stamp(HAND, k), FINGERS, [0.01, 0.02], self.now_ns)
            for camera in SPEC.cameras:
                frame = self.frame(camera, k)
                if frame is None:
                    continue
                ready = self.builder.add_frame(camera, self.stamp(camera, k), frame, self.now_ns)
                if ready is not None:
                    self.results[k] = self.builder.build(ready, self.now_ns)

    def observed(self) -> list[int]:
        return [k for k, result in self.results.items() if isinstance(result, Observation)]

    def reason(self, k: int) -> str:
        result = self.results[k]
        assert isinstance(result, Refusal)
        return result.reason

    def status(self, part: str) -> Status:
        return next(status for status in self.builder.statuses(self.now_ns) if status.part == part)


def test_an_observation_holds_the_frames_history_and_state_of_its_stamp() -> None:
    rig = Rig()
    rig.run(range(12))
    assert rig.observed() == [9, 10, 11]
    observation = rig.results[11]
    assert isinstance(observation, Observation)
    assert observation.stamp_ns == START + 550 * MS
    assert observation.cameras == ("front", "wrist")
    assert observation.camera_stamps_ns == (observation.stamp_ns,) * 2
    assert observation.images.shape == (2, 3, 96, 96)
    assert observation.images.dtype == np.float32
    np.testing.assert_allclose(observation.images[:, 0, 0, 0], [11 / 127.5 - 1, 189 / 127.5 - 1], atol=1e-6)
    assert observation.history.shape == (4, 3, 96, 96)
    assert observation.history[:, 0, 0, 0].tolist() == [2, 5, 8, 11]
    assert [(s - START) // MS for s in observation.history_stamps_ns] == [100, 250, 400, 550]
    assert observation.state_names == PROFILE.state_names
    np.testing.assert_allclose(observation.state, [0.11] * 7 + [0.03])


def test_the_state_is_taken_at_the_stamp_of_the_frames_not_when_they_arrive() -> None:
    rig = Rig(stamp=lambda stream, k: START + 50 * MS * k - (20 * MS if stream in SPEC.cameras else 0))
    rig.run(range(12))
    observation = rig.results[11]
    assert isinstance(observation, Observation)
    np.testing.assert_allclose(observation.state[:7], 0.11 - 0.004)


def test_history_frames_are_converted_once() -> None:
    class Counted(ImageFrame):
        calls = 0

        def to_rgb(self, topic: str) -> np.ndarray:
            Counted.calls += 1
            return super().to_rgb(topic)

    def frame(camera: str, k: int) -> Frame:
        plain = picture(k)
        return Counted(**{f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)})

    rig = Rig(frame=frame)
    rig.run(range(29))
    # 20 observations of 2 cameras; frames 0 to 8 were no observation's newest and are needed as history once.
    assert Counted.calls == 20 * 2 + 9


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_one_lost_frame_costs_one_observation(camera: str) -> None:
    rig = Rig(frame=lambda name, k: None if (name, k) == (camera, 20) else picture(k))
    rig.run(range(40))
    assert rig.observed() == [k for k in range(9, 40) if k != 20]


def test_compressed_cameras_work_too() -> None:
    import cv2

    file = cv2.imencode(".png", np.full((96, 96, 3), (30, 20, 10), np.uint8))[1].tobytes()
    rig = Rig(frame=lambda camera, k: CompressedFrame("png", file))
    rig.run(range(10))
    observation = rig.results[9]
    assert isinstance(observation, Observation)
    assert observation.history[0, :, 0, 0].tolist() == [10, 20, 30]


def test_without_joint_states_nothing_goes_out() -> None:
    rig = Rig(arm=lambda k: None)
    rig.run(range(12))
    assert rig.observed() == []
    assert ARM in rig.reason(11)
    assert rig.status(f"joint state {ARM}").message == f"missing: nothing comes on {ARM}"


def test_a_joint_state_that_falls_silent_stops_observations_after_its_age_limit() -> None:
    rig = Rig(arm=lambda k: [0.0] * 7 if k < 20 else None)
    rig.run(range(40))
    assert rig.observed()[-1] == 23  # 200 ms after the last joint state, at 19 * 50 ms
    assert "older than the frames" in rig.reason(30)


def test_nan_in_the_joint_state_is_named_and_never_goes_out() -> None:
    rig = Rig(arm=lambda k: [0.0] * 6 + [math.nan if k >= 12 else 0.0])
    rig.run(range(30))
    assert rig.observed()[-1] == 15
    status = rig.status(f"joint state {ARM}")
    assert status.level is Level.ERROR
    assert "'fr3_joint7' is not finite" in status.message


def test_old_frames_are_refused() -> None:
    rig = Rig(delay_ns=251 * MS)
    rig.run(range(20))
    assert rig.observed() == []
    assert "more than 250 ms old" in rig.reason(15)


def test_a_set_that_waited_too_long_is_refused() -> None:
    rig = Rig()
    rig.run(range(15))
    ready = None
    for camera in SPEC.cameras:
        ready = rig.builder.add_frame(camera, START + 750 * MS, picture(1), START + 760 * MS) or ready
    assert ready is not None
    assert isinstance(rig.builder.build(ready, START + 1001 * MS), Refusal)
    assert isinstance(rig.builder.build(ready, START + 1000 * MS), Observation)


def test_a_camera_on_another_clock_is_named() -> None:
    rig = Rig(stamp=lambda stream, k: START + 50 * MS * k + (3_000 * MS if stream == "wrist" else 0))
    rig.run(range(30))
    assert rig.observed() == []
    assert rig.status("camera wrist").message == "header stamps are not on the ROS clock, or come far too late"
    assert rig.status("camera front").level is Level.OK
    assert rig.status("observation").message == "no complete set of frames"


def test_a_missing_camera_is_named_and_stops_observations() -> None:
    rig = Rig(frame=lambda camera, k: None if camera == "wrist" and k >= 12 else picture(k))
    rig.run(range(30))
    assert rig.observed() == [9, 10, 11]
    topic = "/camera/wrist/color/image_rect_raw"
    assert rig.status("camera wrist").message == f"missing: nothing comes on {topic}"
    assert rig.status("observation").level is Level.ERROR
    rig.frame = lambda camera, k: picture(k)
    rig.run(range(30, 60))
    assert rig.status("camera wrist").level is Level.OK
    assert rig.status("observation").message == "observations go out"


def test_a_mis_sized_camera_is_named_and_stops_observations() -> None:
    rig = Rig(frame=lambda camera, k: picture(k, *((320, 240) if camera == "wrist" and k >= 12 else (96, 96))))
    rig.run(range(20))
    assert rig.observed() == [9, 10, 11]
    assert "frames are 320x240, expected 640x480, 96x96" in rig.status("camera wrist").message
    assert rig.status("observation").level is Level.ERROR
    assert rig.status("camera front").level is Level.OK


def test_an_unknown_encoding_is_named_once_for_as_long_as_it_lasts() -> None:
    rig = Rig(frame=lambda camera, k: dataclasses.replace(picture(k), encoding="odd") if k >= 12 else picture(k))
    messages = set()
    for k in range(10, 40):
        rig.run(range(k, k + 1))
        messages.add(rig.status("camera front").message)
    assert len(messages) == 2
    assert rig.observed() == []
    assert "unknown image encoding 'odd'" in rig.status("camera front").message


def test_a_frozen_camera_is_named_and_stops_observations_until_it_moves() -> None:
    builder = ObservationBuilder.for_robot(SPEC, PROFILE, HealthLimits(frozen_after=5))
    rig = Rig(builder, frame=lambda camera, k: picture(7 if camera == "wrist" and 15 <= k < 30 else k))
    rig.run(range(28))
    # Frame 15 is new, 16 to 19 repeat it four times, 20 is the fifth repetition.
    assert rig.observed() == list(range(9, 20))
    assert "wrist is frozen" in rig.reason(25)
    assert rig.status("camera wrist").message == "frozen: its frames repeat while their stamps move"
    rig.run(range(28, 33))
    assert rig.observed()[-3:] == [30, 31, 32]
    assert rig.status("camera wrist").level is Level.OK


def test_a_scene_at_rest_is_not_frozen_where_the_check_is_off() -> None:
    builder = ObservationBuilder.for_robot(SPEC, PROFILE, HealthLimits(frozen_after=0))
    rig = Rig(builder, frame=lambda camera, k: picture(7))
    rig.run(range(100))
    assert rig.observed() == list(range(9, 100))


def test_stamps_that_stand_still_are_named() -> None:
    rig = Rig(stamp=lambda stream, k: START if stream == "wrist" else START + 50 * MS * k)
    rig.run(range(12))
    assert "header stamps stand still" in rig.status("camera wrist").message


def test_a_simulation_that_restarts_is_followed_and_told() -> None:
    rig = Rig()
    rig.run(range(30))
    rig.results.clear()
    rig.stamp = lambda stream, k: START - 900_000 * MS + 50 * MS * (k - 30)

    rig.results.clear()
    for k in range(30, 45):
        now_ns = rig.stamp("", k) + 10 * MS
        rig.builder.add_joint_state(ARM, rig.stamp(ARM, k), ARM_JOINTS, [1.0] * 7, now_ns)
        rig.builder.add_joint_state(HAND, rig.stamp(HAND, k), FINGERS, [0.0, 0.0], now_ns)
        for camera in SPEC.cameras:
            ready = rig.builder.add_frame(camera, rig.stamp(camera, k), picture(k), now_ns)
            if ready is not None:
                rig.results[k] = rig.builder.build(ready, now_ns)
        rig.now_ns = now_ns
    assert rig.observed() == list(range(39, 45))
    first = rig.results[39]
    assert isinstance(first, Observation)
    assert first.history[:, 0, 0, 0].tolist() == [30, 33, 36, 39]
    assert rig.status("camera front").message == "stamps went backwards: clock set back"
    assert rig.status("camera front").level is Level.WARN


def test_a_slow_camera_is_told_with_its_rate() -> None:
    rig = Rig(
        frame=lambda camera, k: picture(k) if k % 2 == 0 else None,
        stamp=lambda stream, k: START + 50 * MS * k,
    )
    rig.run(range(60))
    status = rig.status("camera front")
    assert (status.level, status.message) == (Level.WARN, "slower than 15 Hz")
    assert status.values["rate_hz"] == 10.0


def test_figures_of_a_healthy_camera() -> None:
    rig = Rig(stamp=lambda stream, k: START + 50 * MS * k + (4 * MS if stream == "wrist" else 0))
    rig.run(range(20))
    values = rig.status("camera wrist").values
    assert values["rate_hz"] == 20.0
    assert values["jitter_ms"] == 0.0
    assert values["latency_min_ms"] == 6.0
    assert values["age_ms"] == 6.0
    assert values["offset_to_camera_0_ms"] == 4.0
    assert rig.status("observation").values["skew_ms"] == 4.0


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"cameras": ("front", "left")}, "no camera 'left'"),
        ({"state_names": ("panda_joint1",)}, "'panda_joint1' cannot be read"),
        ({"step_s": 0.02}, "match tolerance of 20 ms does not fit a step of 20 ms"),
        ({"history_offsets": (0, 3)}, "History offsets"),
    ],
)
def test_a_policy_that_does_not_fit_the_robot_is_refused(change: dict[str, object], cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        ObservationBuilder.for_robot(dataclasses.replace(SPEC, **change), PROFILE)  # type: ignore[arg-type]


def test_cameras_in_another_order_are_refused() -> None:
    cameras = [PROFILE.camera(name) for name in ("wrist", "front")]
    with pytest.raises(ConfigError, match=r"wants the cameras \('front', 'wrist'\)"):
        ObservationBuilder(SPEC, cameras, joint_sources(PROFILE, SPEC.state_names), 20 * MS)


def test_topics_to_subscribe_to_are_those_of_the_profile() -> None:
    builder = ObservationBuilder.for_robot(dataclasses.replace(SPEC, cameras=("front",)), PROFILE)
    assert builder.camera_topics == {"front": "/camera/front/color/image_raw"}
    assert builder.joint_topics == (ARM, HAND)


def test_a_camera_of_30_hz_and_one_of_20_hz_give_an_observation_each_step() -> None:
    builder = ObservationBuilder.for_robot(SPEC, PROFILE)
    observations = 0
    for ms in range(3000):
        stamp = START + ms * MS
        if ms % 10 == 0:
            builder.add_joint_state(ARM, stamp, ARM_JOINTS, [0.0] * 7, stamp)
            builder.add_joint_state(HAND, stamp, FINGERS, [0.0, 0.0], stamp)
        for camera, period in (("front", 100 / 3), ("wrist", 50)):
            if int(ms / period) == int((ms - 1) / period) and ms > 0:
                continue
            ready = builder.add_frame(camera, stamp, picture(ms), stamp)
            observations += ready is not None and isinstance(builder.build(ready, stamp), Observation)
    assert observations >= 48  # 60 steps, the first 9 or 10 without a history


@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(["front", "wrist", ARM, HAND]),
            st.integers(0, 1500),
            st.integers(-300, 300),
            st.floats(allow_nan=True, width=32),
            st.sampled_from([96, 96, 96, 97]),
        ),
        max_size=60,
    )
)
def test_whatever_arrives_an_observation_is_never_stale_nor_malformed(
    events: list[tuple[str, int, int, float, int]],
) -> None:
    spec = dataclasses.replace(SPEC, history_offsets=(0,))
    builder = ObservationBuilder.for_robot(spec, PROFILE)
    for stream, stamp_ms, lag_ms, value, width in events:
        stamp, now = START + stamp_ms * MS, START + (stamp_ms + lag_ms) * MS
        if stream == ARM:
            builder.add_joint_state(ARM, stamp, ARM_JOINTS, [value] * 7, now)
        elif stream == HAND:
            builder.add_joint_state(HAND, stamp, FINGERS, [value] * 2, now)
        else:
            ready = builder.add_frame(stream, stamp, picture(stamp_ms, width), now)
            result = None if ready is None else builder.build(ready, now)
            if isinstance(result, Observation):
                assert all(-100 * MS <= now - s <= 250 * MS for s in result.camera_stamps_ns)
                assert result.skew_ns <= 20 * MS
                assert np.isfinite(result.state).all()
                assert result.images.shape == (2, 3, 96, 96)
        assert all(status.message for status in builder.statuses(now))


def test_a_black_camera_gives_no_observation_and_is_named_until_it_sees_again() -> None:
    limits = HealthLimits(black_below=16)
    rig = Rig(ObservationBuilder.for_robot(SPEC, PROFILE, limits))
    rig.frame = lambda camera, k: picture(3 if camera == "wrist" and 12 <= k < 15 else 100 + k)
    rig.run(range(14))
    assert rig.observed() == [9, 10, 11]
    assert "camera/wrist" in rig.reason(13)
    assert "black: no pixel" in rig.reason(13)
    assert (rig.status("camera wrist").level, rig.status("camera front").level) == (Level.ERROR, Level.OK)
    rig.run(range(14, 17))
    assert rig.observed() == [9, 10, 11, 15, 16]
    assert rig.status("camera wrist").level is Level.OK


def test_one_bright_spot_is_no_black_frame() -> None:
    spot = np.zeros((96, 96, 3), np.uint8)
    spot[40:48, 40:48, 1] = 20
    rig = Rig(ObservationBuilder.for_robot(SPEC, PROFILE, HealthLimits(black_below=16)))
    rig.frame = lambda camera, k: ImageFrame.from_rgb(spot)
    rig.run(range(10))
    assert rig.observed() == [9]


def test_cameras_that_are_swapped_while_running_are_noticed_by_the_frames_names() -> None:
    def frame(camera: str, k: int) -> Frame:
        other = {"front": "wrist", "wrist": "front"}[camera]
        return dataclasses.replace(picture(k), frame_id=other if k >= 12 else camera)

    rig = Rig(frame=frame)
    rig.run(range(14))
    assert rig.observed() == [9, 10, 11]
    assert "its frames are of 'wrist', they were of 'front'" in rig.reason(13)
    assert "of 'wrist'" in rig.status("camera front").message


def test_whatever_is_wrong_with_a_stream_comes_with_a_remedy() -> None:
    rig = Rig()
    statuses = rig.builder.statuses(10**9)
    assert {status.part for status in statuses if status.level != Level.OK} >= {"camera front", "observation"}
    for status in statuses:
        assert status.level == Level.OK or str(status.values["remedy"]).endswith("."), status
