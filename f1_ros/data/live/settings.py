"""What a recorder is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from f1_ros.engine.protocol import PolicySpec
from f1_ros.errors import ConfigError
from f1_ros.robots.profile import RobotProfile

DEFAULT_FPS = 20


@dataclass(frozen=True)
class RecorderSettings:
    """What is recorded, and where to.

    Attributes:
        root: the dataset's folder.
        fps: frames per second.
        cameras: names of the profile's cameras; the first gives a frame its stamp.
        state_names: order of the state: joints and grippers of the profile.
        action_names: order of the action, likewise.
        pictures: "video", or "image" to keep every pixel.
        instruction: what to record if no one says what the robot does; may be empty.
        max_repeated: steps in a row without pictures in which those of the frame before stand in.
        queue_frames: frames that may wait to be written.
    """

    root: Path
    fps: int
    cameras: tuple[str, ...]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    pictures: Literal["video", "image"] = "video"
    instruction: str = ""
    max_repeated: int = 1
    queue_frames: int = 60

    def __post_init__(self) -> None:
        if self.fps < 1 or self.max_repeated < 0 or self.queue_frames < 1 or not self.cameras:
            raise ConfigError(
                f"{len(self.cameras)} cameras at {self.fps} fps with {self.max_repeated} frames repeated and a queue "
                f"of {self.queue_frames} cannot be recorded.",
                remedy="Give a camera, at least 1 fps, 0 or more repeated frames and a queue of at least 1.",
            )

    @classmethod
    def for_robot(
        cls,
        profile: RobotProfile,
        spec: PolicySpec | None,
        root: Path,
        *,
        cameras: Sequence[str] = (),
        fps: int = 0,
        pictures: Literal["video", "image"] = "video",
        instruction: str = "",
        max_repeated: int = 1,
        queue_frames: int = 60,
    ) -> RecorderSettings:
        """Record what a policy sees and does; without one, all that the robot has.

        Args:
            profile: the robot.
            spec: the policy, if there is one.
            root: the dataset's folder.
            cameras: which of the policy's or the robot's cameras; empty: all of them.
            fps: frames per second; 0: the policy's, or 20.
            pictures: see `RecorderSettings`.
            instruction: see there; empty: the policy's default.
            max_repeated: see there.
            queue_frames: see there.

        Raises:
            ConfigError: if the policy is another robot's, its step is no whole number of frames per second, or there is
                no such camera.
        """
        if spec is None:
            known, state, action = tuple(c.name for c in profile.cameras), profile.state_names, profile.action_names
            fps = fps or DEFAULT_FPS
        else:
            if spec.robot != profile.embodiment:
                raise ConfigError(
                    f"Policy '{spec.name}' is for the robot '{spec.robot}', the profile's is '{profile.embodiment}'.",
                    remedy="Give a policy that was trained for this robot, or this policy's profile.",
                )
            known, state, action = spec.cameras, spec.state_names, spec.action_names
            if not fps and abs(round(1.0 / spec.step_s) * spec.step_s - 1.0) > 1e-6:
                raise ConfigError(
                    f"Policy '{spec.name}' has a step of {spec.step_s} s: no whole number of frames per second.",
                    remedy="Give 'fps'.",
                )
            fps = fps or round(1.0 / spec.step_s)
            instruction = instruction or spec.default_instruction
        if not set(cameras) <= set(known) or len(set(cameras)) != len(cameras):
            raise ConfigError(
                f"The cameras {', '.join(cameras)} cannot be recorded.",
                remedy=f"Choose from {', '.join(known)}, each once.",
            )
        chosen = tuple(name for name in known if name in cameras) or known
        return cls(root, fps, chosen, state, action, pictures, instruction, max_repeated, queue_frames)
