"""A robot of two cameras at 20 Hz, whose messages go into an ObservationBuilder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from f1_ros.engine.protocol import PolicySpec
from f1_ros.observe.builder import ObservationBuilder, Refusal
from f1_ros.observe.frames import Frame, ImageFrame
from f1_ros.observe.health import Status
from f1_ros.observe.observation import Observation
from f1_ros.robots.profile import load_profile

MS = 1_000_000
START = 1_000_000 * MS
PROFILE = load_profile("franka_fr3")
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
    prepare: bool = False
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
                elif self.prepare:
                    self.builder.prepare(camera, self.stamp(camera, k), frame)

    def observed(self) -> list[int]:
        return [k for k, result in self.results.items() if isinstance(result, Observation)]

    def reason(self, k: int) -> str:
        result = self.results[k]
        assert isinstance(result, Refusal)
        return result.reason

    def status(self, part: str) -> Status:
        return next(status for status in self.builder.statuses(self.now_ns) if status.part == part)
