"""What the action node says about itself: refused chunks and trouble of the clock, by name and for a while."""

from __future__ import annotations

import numpy as np
import pytest

from f1_ros.control.arbiter import Mode
from f1_ros.control.chunk import ActionChunk
from f1_ros.control.clock import WallClock
from f1_ros.control.controller import Controller
from f1_ros.control.loop import RateLoop
from f1_ros.nodes import control_report
from f1_ros.nodes.control_report import SAID_S, ControlReport
from f1_ros.nodes.diagnostics import Level
from f1_ros.robots.profile import load_profile

PROFILE = load_profile("franka_fr3")
PERIOD_NS = 10_000_000
STEP_NS = 50_000_000
NAMES = (*PROFILE.joints, "gripper")


class Robot:
    """A controller in POLICY, and its report on a clock of the test's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 100.0
        monkeypatch.setattr(control_report.time, "monotonic", lambda: self.seconds)
        self.controller = Controller(PROFILE)
        self.report = ControlReport(PROFILE, self.controller, RateLoop(PERIOD_NS, WallClock()))
        self.now_ns = 50_000_000_000
        self.tick()
        self.chunk()
        assert self.controller.request_mode(Mode.POLICY, self.now_ns).success

    def tick(self) -> None:
        self.now_ns += PERIOD_NS
        self.controller.on_joint_state(PROFILE.joints, list(PROFILE.ready), [], self.now_ns)
        self.controller.tick(self.now_ns)

    def chunk(self, robot: str = "franka", joint: float = 0.0) -> None:
        positions = np.tile([*PROFILE.ready, 0.08], (16, 1))
        positions[:, 0] += joint
        chunk = ActionChunk(robot, self.now_ns, self.now_ns + STEP_NS, STEP_NS, NAMES, positions)
        self.controller.on_chunk(chunk, self.now_ns)

    def says(self, part: str) -> tuple[Level, str]:
        level, message = next((d[1], d[2]) for d in self.report.diagnoses(self.now_ns, {}) if d[0] == part)
        return level, message


def test_refused_chunks_are_named_by_their_causes_until_none_has_come_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    robot = Robot(monkeypatch)
    assert robot.says("chunks") == (Level.OK, "None is refused.")
    robot.chunk(robot="another")
    robot.chunk(joint=10.0)
    robot.tick()
    level, message = robot.says("chunks")
    assert level is Level.WARN
    assert sorted(message.removeprefix("Refused: ").removesuffix(".").split(", ")) == ["out of range", "wrong robot"]
    robot.seconds += SAID_S - 0.1
    assert robot.says("chunks") == (level, message)  # the same words: it is logged once
    robot.seconds += 0.2
    assert robot.says("chunks")[0] is Level.OK


def test_a_clock_that_was_set_back_or_stands_still_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = Robot(monkeypatch)
    assert robot.says("clock") == (Level.OK, "Moves on.")
    level, message = robot.says("clock")
    assert (level, message[:12]) == (Level.ERROR, "Stands still")
    robot.tick()
    assert robot.says("clock")[0] is Level.OK
    robot.now_ns -= 2_000_000_000
    robot.tick()
    robot.tick()
    level, message = robot.says("clock")
    assert level is Level.WARN
    assert message.startswith("Was set back: in HOLD")
    assert robot.controller.mode is Mode.HOLD
    robot.seconds += SAID_S + 0.1
    robot.tick()
    assert robot.says("clock")[0] is Level.OK
