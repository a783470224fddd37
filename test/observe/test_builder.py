"""From messages to observations: what goes out, and what does not and why."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from observe_rig import ARM, ARM_JOINTS, FINGERS, HAND, MS, PROFILE, SPEC, START, Rig, picture

from f1_ros.errors import ConfigError
from f1_ros.observe.builder import ObservationBuilder, Refusal
from f1_ros.observe.frames import CompressedFrame, ImageFrame
from f1_ros.observe.health import HealthLimits, Level
from f1_ros.observe.joint_state import joint_sources
from f1_ros.observe.observation import Observation


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


class Counted(ImageFrame):
    """Counts how often frames are converted."""

    calls = 0

    @classmethod
    def of(cls, plain: ImageFrame) -> Counted:
        return cls(**{f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)})

    def to_rgb(self, topic: str) -> np.ndarray:
        Counted.calls += 1
        return super().to_rgb(topic)


def test_history_frames_are_converted_once() -> None:
    Counted.calls = 0
    rig = Rig(frame=lambda camera, k: Counted.of(picture(k)))
    rig.run(range(29))
    # 20 observations of 2 cameras; frames 0 to 8 were no observation's newest and are needed as history once.
    assert Counted.calls == 20 * 2 + 9


def test_frames_prepared_ahead_give_the_same_observations_and_are_converted_once() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (14, 2, 480, 640, 3), np.uint8)
    plain, ahead = (
        Rig(frame=lambda c, k: Counted.of(ImageFrame.from_rgb(noise[k, int(c != "front")])), prepare=prepare)
        for prepare in (False, True)
    )
    plain.run(range(14))
    Counted.calls = 0
    ahead.run(range(14))
    assert Counted.calls == 14 + 5  # the front camera's each; the wrist's, which complete sets, where they are used
    assert ahead.observed() == plain.observed() == list(range(9, 14))
    for k in plain.observed():
        one, other = plain.results[k], ahead.results[k]
        assert isinstance(one, Observation)
        assert isinstance(other, Observation)
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.history, other.history)


def test_frames_whose_step_has_a_set_already_are_not_prepared() -> None:
    Counted.calls = 0
    rig = Rig(
        frame=lambda camera, k: Counted.of(picture(k)),
        stamp=lambda stream, k: START + 25 * MS * k,  # twice as often as the policy wants
        prepare=True,
    )
    rig.run(range(12))
    assert Counted.calls == 6


def test_a_frame_prepared_ahead_that_cannot_be_used_is_refused_and_told_when_it_is_used() -> None:
    limits = HealthLimits(black_below=16)
    rig = Rig(
        builder=ObservationBuilder.for_robot(SPEC, PROFILE, limits),
        frame=lambda camera, k: picture(0 if camera == "front" and k == 12 else 100),
        prepare=True,
    )
    rig.run(range(13))
    assert rig.observed() == [9, 10, 11]
    assert "black" in rig.reason(12)
    assert "black" in rig.status("camera front").message
    rig.frame = lambda camera, k: picture(100, width=64) if camera == "front" else picture(100)
    rig.run(range(13, 14))
    assert "64x96" in rig.reason(13)


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
