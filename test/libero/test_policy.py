"""The policy in a LIBERO task: what it is given, when it is asked, and what goes to the simulator."""

import dataclasses
import json

import numpy as np
import pytest

from f1_ros.data.embodiment import Ends
from f1_ros.errors import ConfigError
from f1_ros.libero.client import Seen
from f1_ros.libero.layout import AGENT_VIEW, STATE_NAMES, WRIST_VIEW
from f1_ros.libero.policy import LiberoPolicy, camera_views, check_gripper

RAW = Ends(closed=1.0, open=-1.0)
SHARE = Ends(closed=0.0, open=1.0)


def seen(step: int) -> Seen:
    pictures = {AGENT_VIEW: np.full((256, 256, 3), step, np.uint8), WRIST_VIEW: np.full((256, 256, 3), 200, np.uint8)}
    return Seen(pictures, np.arange(8) + 0.01 * step, False)


def driver(engine, *, gripper=SHARE, **settings) -> LiberoPolicy:
    made = LiberoPolicy(engine, views=camera_views(engine.spec, {}), gripper=gripper, **settings)
    made.begin("lift the bowl", seed=3)
    return made


def rows(*firsts: float, gripper: float = 1.0) -> list[list[float]]:
    return [[first, 0.0, 0.0, 0.0, 0.0, 0.0, gripper] for first in firsts]


def test_a_chunk_is_executed_from_its_first_row_and_replanned_on_time(scripted) -> None:
    engine = scripted(lambda observation: rows(*(observation.stamp_ns / 1e9 + np.arange(4) / 100)))
    policy = driver(engine, replan=3)
    acted = [policy.act(seen(step))[0] for step in range(7)]
    assert acted == pytest.approx([0.0, 0.01, 0.02, 0.15, 0.16, 0.17, 0.30])
    assert len(policy.latencies_ms) == 3
    assert engine.instructions == ["lift the bowl"] * 3


def test_the_default_is_five_steps_or_the_chunk(scripted) -> None:
    def answer(observation):
        return rows(*[0.0] * 10)

    assert driver(scripted(answer)).replan == 4
    assert driver(scripted(answer, chunk_size=10)).replan == 5
    for replan in (0, 5):
        with pytest.raises(ConfigError, match="--replan"):
            driver(scripted(answer), replan=replan)


def test_history_has_the_policys_stride_and_the_first_frame_stands_for_earlier_ones(scripted) -> None:
    engine = scripted(lambda observation: rows(0.0, 0.0, 0.0, 0.0))
    policy = driver(engine, replan=1)
    for step in range(10, 17):
        policy.act(seen(step))
    first, last = engine.observations[0], engine.observations[-1]
    assert first.history[:, 0, 0, 0].tolist() == [10, 10, 10]
    assert last.history[:, 0, 0, 0].tolist() == [12, 14, 16]
    assert [stamp // 50_000_000 for stamp in last.history_stamps_ns] == [2, 4, 6]
    assert last.history.shape == (3, 3, 16, 16)
    assert last.images.shape == (2, 3, 16, 16)
    assert last.images[0, 0, 0, 0] == pytest.approx(16 / 127.5 - 1)
    assert last.images[1, 0, 0, 0] == pytest.approx(200 / 127.5 - 1)
    assert last.state_names == STATE_NAMES
    np.testing.assert_allclose(last.state, np.arange(8) + 0.16)


def test_another_episode_shares_neither_frames_nor_stamps_nor_plan(scripted) -> None:
    engine = scripted(lambda observation: rows(observation.history[0, 0, 0, 0] / 100, 0.9, 0.9, 0.9))
    policy = driver(engine)
    policy.act(seen(1))
    policy.begin("again", seed=4)
    assert policy.latencies_ms == []
    assert policy.act(seen(50))[0] == pytest.approx(0.5)
    assert engine.observations[1].history[:, 0, 0, 0].tolist() == [50, 50, 50]
    # A stamp names one frame: the engine keeps tokens by stamp.
    assert engine.observations[1].stamp_ns > engine.observations[0].stamp_ns
    assert engine.seeds[0] != engine.seeds[1]


@pytest.mark.parametrize(
    ("ends", "given", "command"),
    [(SHARE, 0.0, 1), (SHARE, 0.4, 1), (SHARE, 0.6, -1), (SHARE, 1.3, -1), (RAW, -1.0, -1), (RAW, -0.1, -1),
     (RAW, 1.0, 1)],
)  # fmt: skip
def test_the_gripper_opens_with_minus_one(scripted, ends, given, command) -> None:
    policy = driver(scripted(lambda observation: rows(*[0.0] * 4, gripper=given)), gripper=ends)
    assert policy.act(seen(0))[-1] == command


def test_motion_is_kept_within_liberos_range_and_what_was_beyond_is_counted(scripted) -> None:
    policy = driver(scripted(lambda observation: [[2.0, -3.0, 0.5, 0.0, 0.0, 1.0, 1.0]] * 4))
    np.testing.assert_array_equal(policy.act(seen(0))[:6], [1.0, -1.0, 0.5, 0.0, 0.0, 1.0])
    policy.act(seen(1))
    assert policy.clipped == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"robot": "franka"}, "is for robot 'franka'"),
        ({"action_names": STATE_NAMES[:6]}, "has 6 action_names .* LIBERO's are 7"),
        ({"action_names": ("y", "x", "z", "roll", "pitch", "yaw", "gripper")}, "action_names"),
        ({"state_names": STATE_NAMES[:7]}, "has 7 state_names .* LIBERO's are 8"),
        ({"step_s": 0.2}, "steps of 0.2 s"),
        ({"cameras": ("image", "side")}, "camera 'side'"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(scripted, changes, words) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        camera_views(scripted(None, **changes).spec, {})
    assert raised.value.remedy


def test_cameras_are_known_by_name_or_given(scripted) -> None:
    spec = scripted(None).spec
    assert camera_views(spec, {}) == {"image": AGENT_VIEW, "wrist_image": WRIST_VIEW}
    odd = dataclasses.replace(spec, cameras=("wrist", "image"), step_s=0.1)
    assert list(camera_views(odd, {"wrist": WRIST_VIEW}).items()) == [("wrist", WRIST_VIEW), ("image", AGENT_VIEW)]
    for given, words in (({"top": AGENT_VIEW}, "names top"), ({"image": "frontview"}, "names frontview")):
        with pytest.raises(ConfigError, match=words):
            camera_views(spec, given)


@pytest.mark.parametrize(
    ("low", "high", "ends", "fits"),
    [(0.0, 1.0, SHARE, True), (-1.0, 1.0, RAW, True), (-1.0, 1.0, SHARE, False), (0.0, 1.0, RAW, False)],
)
def test_a_gripper_that_runs_elsewhere_is_refused(tmp_path, low, high, ends, fits) -> None:
    stats = {"action": {"min": [-0.9] * 6 + [low], "max": [0.9] * 6 + [high]}}
    (tmp_path / "stats.json").write_text(json.dumps(stats))
    if fits:
        check_gripper(tmp_path, ends)
    else:
        with pytest.raises(ConfigError, match=f"runs from {low:g} to {high:g}"):
            check_gripper(tmp_path, ends)


def test_without_a_range_in_the_statistics_nothing_is_refused(tmp_path) -> None:
    (tmp_path / "stats.json").write_text(json.dumps({"action": {"mean": [0.0] * 7, "std": [1.0] * 7}}))
    check_gripper(tmp_path, RAW)
