"""A policy in a LIBERO task, in lock step: the simulator waits while the engine thinks, as the benchmark has it.

    driver = LiberoPolicy(engine, views=camera_views(engine.spec, {}), gripper=Ends(closed=0.0, open=1.0), replan=5)
    driver.begin("pick up the bowl", seed=7)
    action = driver.act(simulator.reset(0))          (7,) in LIBERO's own terms

One step of the policy is one step of the simulator, whatever frame rate the dataset said: openpi's conversions say 10
frames/s and hold every step of 20 Hz.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from f1_ros.data.embodiment import Ends
from f1_ros.engine.policy import STATS_FILE
from f1_ros.engine.protocol import Array, Engine, PolicySpec
from f1_ros.errors import ConfigError
from f1_ros.libero.client import Seen
from f1_ros.libero.layout import ACTION_NAMES, ACTION_SIZE, CONTROL_HZ, KNOWN_CAMERAS, STATE_NAMES, VIEWS
from f1_ros.observe.observation import Observation
from f1_ros.observe.simulated import observe

ROBOT = "libero"
STEPS_S = (1.0 / CONTROL_HZ, 2.0 / CONTROL_HZ)
REPLAN = 5
"""Steps of a chunk that are executed before the next inference, as openpi has it; fewer where chunks are shorter."""

OPEN, CLOSE = -1.0, 1.0
"""LIBERO's own gripper command; only its sign counts."""


def camera_views(spec: PolicySpec, given: Mapping[str, str]) -> dict[str, str]:
    """Which of LIBERO's views each of the policy's cameras is.

    Args:
        spec: the policy's.
        given: views by camera, over those that are known by name.

    Raises:
        ConfigError: naming what of the policy does not fit LIBERO, or a camera or view that is unknown.
    """
    if spec.robot != ROBOT:
        raise ConfigError(
            f"Policy '{spec.name}' is for robot '{spec.robot}', not '{ROBOT}'.",
            remedy="Evaluate a policy that was trained on LIBERO (config/train/finetune_libero.yaml).",
        )
    for what, names, expected in (
        ("action_names", spec.action_names, ACTION_NAMES),
        ("state_names", spec.state_names, STATE_NAMES),
    ):
        if tuple(names) != expected:
            raise ConfigError(
                f"Policy '{spec.name}' has {len(names)} {what} ({', '.join(names)}); LIBERO's are {len(expected)}: "
                f"{', '.join(expected)}.",
                remedy="If its dataset has these numbers under other names, correct them in policy.json.",
            )
    if not any(abs(spec.step_s - step_s) < 1e-9 for step_s in STEPS_S):
        raise ConfigError(
            f"Policy '{spec.name}' has steps of {spec.step_s} s; LIBERO's datasets have a frame every 0.05 s (some say "
            "0.1 s of the same frames).",
            remedy="Train it on every frame, with step_s 0.05 or 0.1.",
        )
    unknown = sorted(set(given) - set(spec.cameras))
    if unknown or not set(given.values()) <= set(VIEWS):
        raise ConfigError(
            f"--camera names {', '.join(unknown) or ', '.join(given.values())}; policy '{spec.name}' has the cameras "
            f"{', '.join(spec.cameras)}, LIBERO the views {', '.join(VIEWS)}.",
            remedy="Give --camera CAMERA=VIEW, such as wrist=robot0_eye_in_hand.",
        )
    views = {**KNOWN_CAMERAS, **given}
    missing = [camera for camera in spec.cameras if camera not in views]
    if missing:
        raise ConfigError(
            f"Policy '{spec.name}' has a camera '{missing[0]}', which is not known to be one of LIBERO's views.",
            remedy=f"Say which it is: --camera {missing[0]}=VIEW, with VIEW one of {', '.join(VIEWS)}.",
        )
    return {camera: views[camera] for camera in spec.cameras}


def check_gripper(folder: Path, gripper: Ends) -> None:
    """Refuse a policy whose gripper, by its statistics, does not run between the ends.

    Args:
        folder: the policy's; without minimum and maximum in its stats.json nothing can be told.
        gripper: what the policy gives for a closed and an open gripper.

    Raises:
        ConfigError: naming both ranges.
    """
    path = folder / STATS_FILE
    try:
        action = json.loads(path.read_text())["action"]
        low, high = float(action["min"][-1]), float(action["max"][-1])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return  # the engine has said it if the file is no good
    ends = sorted((gripper.closed, gripper.open))
    room = 0.25 * (ends[1] - ends[0])
    if abs(low - ends[0]) > room or abs(high - ends[1]) > room:
        raise ConfigError(
            f"{path}: the policy's gripper runs from {low:g} to {high:g}, but is taken as {gripper.closed:g} closed "
            f"and {gripper.open:g} open.",
            remedy="Give --gripper CLOSED OPEN as its dataset has it: 0 1, or 1 -1 for LIBERO's own.",
        )


class LiberoPolicy:
    """Turns what is seen into actions. Not thread-safe.

    Args:
        engine: the policy.
        views: LIBERO's view of each camera, from `camera_views`.
        gripper: what the policy gives for a closed and an open gripper.
        replan: steps of a chunk to execute before the next inference; None: `REPLAN`, or the chunk if that is shorter.

    Raises:
        ConfigError: if `replan` is not within the chunk.
    """

    def __init__(self, engine: Engine, *, views: Mapping[str, str], gripper: Ends, replan: int | None = None) -> None:
        spec = engine.spec
        self.replan = min(REPLAN, spec.chunk_size) if replan is None else replan
        if not 1 <= self.replan <= spec.chunk_size:
            raise ConfigError(
                f"--replan is {replan} with chunks of {spec.chunk_size} steps.",
                remedy="Give 1 or more steps, at most the chunk's.",
            )
        self._engine, self._spec = engine, spec
        self._views, self._gripper = dict(views), gripper
        self._step_ns = round(spec.step_s * 1e9)
        self._steps = 0
        self.latencies_ms: list[float] = []
        """Of every inference since `begin`, ms."""
        self.clipped = 0
        """Numbers of executed motions beyond -1 .. 1 since `begin`; many of them tell of wrong statistics."""

    def begin(self, instruction: str, seed: int) -> None:
        """Start an episode; call `act` with its first observation next."""
        self._instruction, self._seed = instruction, seed
        self._frames: deque[tuple[int, NDArray[np.uint8]]] = deque(maxlen=1 - min(self._spec.history_offsets))
        self._plan: deque[Array] = deque()
        self.latencies_ms, self.clipped = [], 0

    def act(self, seen: Seen) -> Array:
        """Return the action for what is seen now, (7,) in LIBERO's own terms.

        Raises:
            EngineError: if the engine fails.
        """
        self._frames.append((self._steps * self._step_ns, seen.pictures[self._views[self._spec.cameras[0]]]))
        self._steps += 1  # never set back: a stamp names one frame, which the engine may keep
        if not self._plan:
            self._plan.extend(self._infer(seen)[: self.replan])
        return self._command(self._plan.popleft())

    def observation(self, seen: Seen) -> Observation:
        """What the policy is given, preprocessed as in training and in the live system."""
        pictures = [seen.pictures[self._views[camera]] for camera in self._spec.cameras]
        return observe(self._spec, pictures, self._frames, seen.state)

    def _infer(self, seen: Seen) -> Array:
        observation = self.observation(seen)
        seed = int(np.random.SeedSequence((self._seed, len(self.latencies_ms))).generate_state(1)[0])
        began = time.perf_counter()
        result = self._engine.infer(observation, self._instruction, seed)
        self.latencies_ms.append((time.perf_counter() - began) * 1e3)
        return result.actions

    def _command(self, action: Array) -> Array:
        command = np.empty(ACTION_SIZE)
        motion = action[:-1]
        self.clipped += int((np.abs(motion) > 1.0).sum())
        command[:-1] = np.clip(motion, -1.0, 1.0)
        opening = (action[-1] - self._gripper.closed) / (self._gripper.open - self._gripper.closed)
        command[-1] = OPEN if opening > 0.5 else CLOSE
        return command
