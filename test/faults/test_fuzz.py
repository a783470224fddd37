"""What comes from outside makes nothing but errors of ours with a remedy, and no command outside the limits."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from f1_ros.control.arbiter import Mode
from f1_ros.control.chunk import ActionChunk
from f1_ros.control.controller import Controller
from f1_ros.engine.policy import load_spec
from f1_ros.errors import ConfigError, F1Error
from f1_ros.faults.alterations import links, parse
from f1_ros.faults.judge import CommandSample, beyond
from f1_ros.observe.builder import ObservationBuilder, Refusal
from f1_ros.observe.frames import CompressedFrame, Frame, ImageFrame
from f1_ros.observe.health import HealthLimits
from f1_ros.robots.choose import transport_for
from f1_ros.robots.files import profile_path
from f1_ros.robots.profile import load_profile

REPO = Path(__file__).parents[2]
FRANKA = yaml.safe_load(profile_path("franka_fr3").read_text())
POLICY = json.loads((REPO / "models" / "f1_belt" / "policy.json").read_text())
PROFILE = load_profile("franka_fr3")
SPEC = load_spec(REPO / "models" / "f1_belt")
MS = 1_000_000
NAMES = (*PROFILE.joints, "gripper")

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
NUMBERS = st.sampled_from([0.0, -1.0, 1e-300, 1e300, math.inf, -math.inf, math.nan]) | st.floats()


def places(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested dictionaries and lists."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [*([here] if here else []), *(place for key, value in inner for place in places(value, (*here, key)))]


def changed(data: Any, where: tuple[Any, ...], value: Any) -> Any:
    made = copy.deepcopy(data)
    owner = made
    for key in where[:-1]:
        owner = owner[key]
    owner[where[-1]] = value
    return made


def says_what_to_do(error: F1Error) -> None:
    assert error.problem
    assert error.remedy


@given(st.sampled_from(places(FRANKA)), ANYTHING | NUMBERS)
def test_a_profile_with_anything_anywhere_runs_or_is_refused_with_a_remedy(
    tmp_path_factory: pytest.TempPathFactory, where: tuple[Any, ...], value: Any
) -> None:
    path = tmp_path_factory.mktemp("profile") / "robot.yaml"
    path.write_text(yaml.safe_dump(changed(FRANKA, where, value)))
    try:
        profile = load_profile(str(path))
        transport_for(profile)
        controller = Controller(profile)
        controller.on_joint_state(profile.joints, [0.0] * len(profile.joints), [], 10 * MS)
        controller.tick(10 * MS)
    except F1Error as error:
        says_what_to_do(error)


@given(st.sampled_from(places(POLICY)), ANYTHING | NUMBERS)
def test_a_policy_file_with_anything_anywhere_is_read_or_refused_with_a_remedy(
    tmp_path_factory: pytest.TempPathFactory, where: tuple[Any, ...], value: Any
) -> None:
    folder = tmp_path_factory.mktemp("policy")
    (folder / "policy.json").write_text(json.dumps(changed(POLICY, where, value)))
    try:
        ObservationBuilder.for_robot(load_spec(folder), PROFILE)
    except F1Error as error:
        says_what_to_do(error)


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(["front", "drop", "delay", ":", ",", "1", "nan", "joints"])).map("".join)
)
def test_any_text_is_an_alteration_or_refused_with_a_remedy(text: str) -> None:
    try:
        parse(text, links(PROFILE))
    except ConfigError as error:
        says_what_to_do(error)


NAME_LISTS = st.just(list(NAMES[:7])) | st.lists(st.sampled_from([*NAMES, "other", ""]), max_size=9)
POSITIONS = st.just(list(PROFILE.ready)) | st.lists(st.floats(-3, 3) | NUMBERS, max_size=9)
EVENTS = st.one_of(
    st.tuples(st.just("state"), NAME_LISTS, POSITIONS, POSITIONS, st.integers(-2_000, 2_000)),
    st.tuples(st.just("teleop"), NAME_LISTS, POSITIONS, st.integers(-2_000, 2_000)),
    st.tuples(
        st.just("chunk"), st.sampled_from(["franka", "other"]), st.integers(-3_000, 3_000), st.integers(1, 10**10),
        st.lists(st.lists(st.floats(-4, 4) | st.floats(allow_nan=False, allow_infinity=False), min_size=8, max_size=8),
                 min_size=1, max_size=4),
    ),
    st.tuples(st.just("mode"), st.sampled_from(list(Mode))),
    st.tuples(st.just("ticks"), st.integers(1, 30)),
    st.tuples(st.just("time"), st.integers(-10_000, 10_000)),
)  # fmt: skip


@given(st.lists(EVENTS, max_size=25))
@example([("mode", Mode.POLICY), ("chunk", "franka", 0, 1, [[1e308] * 8, [-1e308] * 8]), ("ticks", 5)])
def test_whatever_arrives_in_whatever_order_commands_stay_within_the_limits(events: list[tuple[Any, ...]]) -> None:
    controller, now_ns = Controller(PROFILE), 10_000_000 * MS
    sent: list[CommandSample] = []
    ready = (list(PROFILE.joints), list(PROFILE.ready), [0.0] * 7)
    controller.on_joint_state(*ready, now_ns)
    for kind, *what in events:
        stamp_ns = now_ns + what[-1] * MS if kind in ("state", "teleop") else 0
        if kind == "state":
            controller.on_joint_state(what[0], what[1], what[2], now_ns, stamp_ns)
        elif kind == "teleop":
            controller.on_teleop(what[0], what[1], now_ns, stamp_ns)
        elif kind == "chunk":
            stamp_ns = now_ns + what[1] * MS
            positions = np.array(what[3], dtype=np.float64)
            controller.on_chunk(ActionChunk(what[0], stamp_ns, stamp_ns, what[2], NAMES, positions), now_ns)
        elif kind == "mode":
            assert controller.request_mode(what[0], now_ns).mode in Mode
        elif kind == "time":
            now_ns += what[0] * MS
        else:
            for _ in range(what[0]):
                now_ns += controller.period_ns
                command = controller.tick(now_ns)
                if command is not None:
                    sent.append(CommandSample(0, now_ns, command.position, command.velocity))
        assert all(math.isfinite(value) for c in sent[-1:] for value in (*c.position, *c.velocity))
    # The arm may have been outside its positions, and commands may start anew where it is (a clock set back, FAULT).
    problems = beyond(sent, PROFILE.limits, controller.period_ns)
    assert [p for p in problems if "position" not in p and "step" not in p] == []


FIELDS = st.integers(0, 20)
FRAMES = st.one_of(
    st.builds(
        ImageFrame, st.sampled_from(["rgb8", "mono8", "16UC1", "bayer_rggb8", "yuyv", "rgb16", ""]), FIELDS, FIELDS,
        FIELDS, st.booleans(), st.binary(max_size=60), st.sampled_from(["front", ""]),
    ),
    st.builds(CompressedFrame, st.sampled_from(["jpeg", "png", "", "16UC1; compressedDepth"]), st.binary(max_size=60)),
    st.binary(min_size=1, max_size=8).map(
        lambda seed: ImageFrame.from_rgb(np.resize(np.frombuffer(seed, np.uint8), (96, 96, 3)))
    ),
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(["front", "wrist"]), FRAMES, st.integers(-2, 3)), max_size=40))
def test_whatever_a_camera_sends_there_is_an_observation_or_a_reason(sent: list[tuple[str, Frame, int]]) -> None:
    builder = ObservationBuilder.for_robot(SPEC, PROFILE, HealthLimits(black_below=16, frozen_after=3))
    stamp_ns = 1_000_000 * MS
    for camera, frame, steps in sent:
        stamp_ns += steps * 50 * MS
        for topic in builder.joint_topics:
            names = list(PROFILE.joints) if "gripper" not in topic else ["fr3_finger_joint1", "fr3_finger_joint2"]
            builder.add_joint_state(topic, stamp_ns, names, [0.01] * len(names), stamp_ns)
        ready = builder.add_frame(camera, stamp_ns, frame, stamp_ns)
        made = None if ready is None else builder.build(ready, stamp_ns)
        if isinstance(made, Refusal):
            assert "Remedy" in made.reason
    assert all(status.message for status in builder.statuses(stamp_ns))
