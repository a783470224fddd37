"""Every error that f1_ros raises on purpose, in one tree.

    F1Error                       catch this to catch all of them
    ├── ConfigError               a YAML/JSON file, parameter or argument is wrong   (the user can fix it)
    │   └── ProfileError          ... and it is a robot profile
    ├── CheckpointError           a model directory is incomplete, damaged or foreign (the user can fix it)
    ├── DataError                 a dataset is incomplete, damaged or foreign         (the user can fix it)
    ├── ImageError                an image message cannot be converted
    ├── ObservationError          frames or joint state cannot make an observation
    ├── ChunkError                an action chunk cannot be used (shape, NaN, wrong robot, stale)
    ├── LimitError                the limiter refuses a command
    ├── EngineError               the engine cannot load, run or answer
    │   └── EngineFailedError     ... though it should: a new start may mend it
    ├── TrainingError             a training run cannot go on
    ├── SimulationError           the simulator cannot be built or stepped
    │   └── PolicyStoppedError    ... since the controller took the arm from the policy
    └── BringUpError              a process of the system cannot be started or died

Each message names the topic, parameter, key, tensor or file at fault; `remedy` says what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


class F1Error(Exception):
    """Base of all f1_ros errors: what is wrong, and what the user should do.

    Args:
        problem: what is wrong, naming the topic, parameter, key, tensor or file.
        remedy: one imperative sentence that tells the user what to do.
    """

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(f"{problem} Remedy: {remedy}")
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[Callable[..., F1Error], tuple[str], dict[str, Any]]:
        # An exception is copied, from a worker process for one, by calling its class with `args`: without a remedy.
        return partial(type(self), remedy=self.remedy), (self.problem,), self.__dict__


class ConfigError(F1Error):
    """A configuration file, a parameter or an argument is wrong."""


class ProfileError(ConfigError):
    """A robot profile is wrong."""


class CheckpointError(F1Error):
    """A checkpoint directory is incomplete, damaged, or not one of ours."""


class DataError(F1Error):
    """A dataset is incomplete, damaged, or not of a kind that we read."""


class ImageError(F1Error):
    """An image message cannot be converted."""


class ObservationError(F1Error):
    """Camera frames or joint state cannot be made into an observation."""


class ChunkError(F1Error):
    """An action chunk cannot be used."""


class LimitError(F1Error):
    """The limiter refuses a command."""


class EngineError(F1Error):
    """The engine cannot load, run or answer."""


class EngineFailedError(EngineError):
    """The engine fails at what it should be able to do: NaN comes out, memory or the device is gone."""


class TrainingError(F1Error):
    """A training run cannot go on: its loss is not finite, or diverges."""


class SimulationError(F1Error):
    """The simulator cannot be built or stepped."""


class PolicyStoppedError(SimulationError):
    """The controller of the lock-step simulator left POLICY, as it would on the robot."""


class BringUpError(F1Error):
    """A process of the system cannot be started, or has died."""
