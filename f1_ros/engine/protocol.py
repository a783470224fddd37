"""The seam between a policy and what runs it.

Who calls what, and when (the policy node and the lock-step simulator are the callers):

    engine = open_engine(policy_dir, backend="torch")     once, before the robot is enabled
    engine.spec                                           to subscribe, preprocess and publish the right things
    engine.warm_up()                                      once, before reporting ready
    engine.infer(observation, instruction, seed)          for the newest observation, one call at a time; with the plan
                                                          that runs meanwhile, where chunks go on from it
    engine.decode_foresight(result.foresight)             for people to look at; never on the hot path
    engine.close()                                        once
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ConfigError, EngineError
from f1_ros.observe.geometry import CameraGeometry
from f1_ros.observe.observation import Observation

Array = NDArray[np.float64]

ForesightUse = Literal["own", "skipped", "shuffled"]
"""What the action expert gets of foresight: what was predicted; nothing; or the predicted tokens, each scale's in
random order. The last two show what a policy makes of its foresight."""


@dataclass(frozen=True)
class PolicySpec:
    """What a checkpoint expects of a robot, and what it gives (its `policy.json`).

    Attributes:
        name: name of the policy.
        robot: name of the profile that it was trained on.
        cameras: camera names in the model's order; camera 0 has the history.
        image_size: side of the square camera images, px.
        history_resize: shorter side that a history frame is resized to before the crop, px.
        history_size: side of the cropped history frames, px.
        history_offsets: offsets of the history frames, in steps of `step_s`, oldest first, last 0.
        past_images: which history frames (indices into `history_offsets`) the model sees as further images after the
            cameras' own: what moves is seen to move. They need `history_size` to be `image_size`.
        foresight_offset: offset of the predicted frame, in steps.
        step_s: time between the steps of history, foresight and action chunk, s.
        first_step_offset: when the first action is due, in steps after the observation's stamp.
        state_names: order of the state vector (rad, m of opening width for grippers).
        action_names: order of the action vector (same units).
        chunk_size: steps in an action chunk.
        default_instruction: the instruction to use when none is given.
        trained_prefix_steps: longest committed prefix that it was trained to plan from, in steps; 0: none.
        trained_near_steps: how many steps after the prefix it was trained to have ready after the first flow step, to
            be sent ahead of the others; 0: none.
        camera_geometry: what the training pictures of a camera were, by its name; a camera that is not there is not
            checked.
    """

    name: str
    robot: str
    cameras: tuple[str, ...]
    image_size: int
    history_resize: int
    history_size: int
    history_offsets: tuple[int, ...]
    foresight_offset: int
    step_s: float
    first_step_offset: int
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    chunk_size: int
    default_instruction: str = ""
    past_images: tuple[int, ...] = ()
    trained_prefix_steps: int = 0
    trained_near_steps: int = 0
    camera_geometry: dict[str, CameraGeometry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(0 <= i < len(self.history_offsets) for i in self.past_images):
            raise ConfigError(
                f"past_images {list(self.past_images)} names a frame that is not among the "
                f"{len(self.history_offsets)} of the history.",
                remedy="Give indices into history_offsets, counted from 0.",
            )
        if self.past_images and self.history_size != self.image_size:
            raise ConfigError(
                f"past_images needs history frames of the images' size, but they are {self.history_size} and "
                f"{self.image_size} px.",
                remedy="Make history_size and image_size equal, or leave past_images out.",
            )
        unknown = sorted(set(self.camera_geometry) - set(self.cameras))
        if unknown:
            raise ConfigError(
                f"camera_geometry names {', '.join(unknown)}, which is not among the cameras.",
                remedy=f"Choose from {', '.join(self.cameras)}.",
            )
        for key in ("trained_prefix_steps", "trained_near_steps"):
            if not 0 <= getattr(self, key) < self.chunk_size:
                raise ConfigError(
                    f"{key} is {getattr(self, key)} in a chunk of {self.chunk_size} steps.",
                    remedy="Give 0 or more, and fewer than the chunk's steps.",
                )


@dataclass(frozen=True)
class Running:
    """The plan that the arm follows while the next chunk is computed; see `f1_ros.engine.continuity`.

    Attributes:
        actions: (n, joints) absolute positions at the next chunk's first n steps, in the order of
            `PolicySpec.action_names` (rad, m).
        committed: how many of them will have been executed when that chunk takes effect; 1 to n.
        guided: guide the flow towards all of them. Otherwise the first `committed` are given to the network, which was
            trained for that, and come out as they are.

    Raises:
        EngineError: if the shape or the count is wrong, or a position is not finite.
    """

    actions: Array
    committed: int
    guided: bool = False

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or not 1 <= self.committed <= len(self.actions):
            raise EngineError(
                f"A running plan of shape {self.actions.shape} with {self.committed} committed steps makes no sense.",
                remedy="Give (steps, joints), and at least one committed step; leave the plan out where there is none.",
            )
        if not np.isfinite(self.actions).all():
            raise EngineError(
                "The running plan holds NaN or infinity.", remedy="Give the positions of the chunk that is executed."
            )


@dataclass(frozen=True)
class Foresight:
    """Predicted tokens of the next view.

    Attributes:
        codes: codebook indices, the scales one after the other, coarse to fine; (sum of s*s,) int64.
        scale_sizes: side s of each scale's square token map.
        target_stamp_ns: the instant that the prediction is of, ns on the ROS clock.
    """

    codes: NDArray[np.int64]
    scale_sizes: tuple[int, ...]
    target_stamp_ns: int


@dataclass(frozen=True)
class InferenceResult:
    """What one inference gives.

    Attributes:
        actions: (chunk_size, joints) absolute positions in the order of `PolicySpec.action_names` (rad, m).
        foresight: the predicted view, or None if the engine was told to skip it.
        stage_ms: time of each stage by name ("history", "prefix", "foresight", "flow", "total"), ms; "near" with
            `on_near`: from the start to its call.
    """

    actions: NDArray[np.float64]
    foresight: Foresight | None
    stage_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineInfo:
    """What runs a policy.

    Attributes:
        backend: "torch", "onnxruntime", ...
        precision: of the stages: fp32, or what each of them has where they differ.
        guides: whether it can guide the flow towards a running plan, which takes gradients.
        directory: of a compiled engine; empty for one that needs none.
        objection: why it may not drive a robot (`f1-ros engine check`); empty if nothing speaks against it.
    """

    backend: str
    precision: str = "fp32"
    guides: bool = False
    directory: str = ""
    objection: str = ""

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


class Engine(Protocol):
    """Runs a policy. Implementations are not thread-safe: one caller, one call at a time."""

    @property
    def info(self) -> EngineInfo:
        """What runs the policy."""
        ...

    @property
    def spec(self) -> PolicySpec:
        """What the policy expects and gives; valid from construction on."""
        ...

    def warm_up(self) -> None:
        """Run once on zeros, so that the first real inference is not slower than the others."""
        ...

    def infer(
        self,
        observation: Observation,
        instruction: str,
        seed: int,
        running: Running | None = None,
        *,
        on_near: Callable[[Array], None] | None = None,
    ) -> InferenceResult:
        """Predict foresight and the action chunk. Same inputs and seed, same result.

        Args:
            observation: what the robot sees.
            instruction: what it is to do.
            seed: of the random draws.
            running: the plan to go on from; at most `PolicySpec.trained_prefix_steps` committed steps unless guided.
            on_near: called as soon as the chunk's first `PolicySpec.trained_near_steps` steps, and the committed ones
                before them, are final, with these (as `InferenceResult.actions`); the flow then runs by the
                horizon-aware schedule. Not with guidance.

        Raises:
            EngineError: if the observation or the running plan does not fit `spec`, or the policy was not trained for
                what is asked.
            EngineFailedError: if the output is not finite, or the engine fails otherwise.
        """
        ...

    def decode_foresight(self, foresight: Foresight) -> NDArray[np.uint8]:
        """Decode predicted tokens to an RGB picture, (history_size, history_size, 3) uint8."""
        ...

    def close(self) -> None:
        """Free what the engine holds. It cannot be used afterwards."""
        ...
