"""A dataset's vectors in the robot's terms, and back: one small dataclass for each family of datasets.

    Franka(state_gripper=Ends(0.0, 0.04), action_gripper=Ends(0.0, 1.0))        in Python
    embodiment: {kind: franka, state_gripper: {closed: 0.0, open: 0.04}, ...}   in a training configuration

In the robot's terms joints are in rad, grippers in m of opening width (or 0 closed to 1 open, where a family has no
one gripper), in the order that the family's policies use. That order and those units are what `state_names` and
`action_names` of a policy and of a robot's profile mean, so a policy trained through a transform runs on the profile.

What is known of a family is written down here; what differs between its datasets, or is not known, has no default and
must be given: `f1-ros data show` and `f1-ros data stats` show it. For your own robot: take the class that is nearest,
change its names and its gripper, and add it to `AnyEmbodiment`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ConfigError, DataError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ends:
    """A gripper's number in the dataset when it is closed and when it is open, in whatever unit that is."""

    closed: float
    open: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.closed) and math.isfinite(self.open)) or self.closed == self.open:
            raise ConfigError(
                f"A gripper is closed at {self.closed} and open at {self.open}.",
                remedy="Give the dataset's two different numbers; `f1-ros data stats` shows its range.",
            )


@dataclass(frozen=True)
class Columns:
    """An order and a scale for each number: robot[i] = dataset[order[i]] * gain[i] + offset[i].

    Attributes:
        names: names in the robot's order.
        order: which number of the dataset each one is; all of them, each once, so that nothing is lost.
        gain, offset: the scale.
    """

    names: tuple[str, ...]
    order: tuple[int, ...]
    gain: tuple[float, ...]
    offset: tuple[float, ...]

    def __post_init__(self) -> None:
        if sorted(self.order) != list(range(len(self.names))):
            raise ConfigError(
                f"order {list(self.order)} does not name each of {len(self.names)} numbers once.",
                remedy="Give the dataset's place (from 0) of each number of the robot.",
            )

    def to_robot(self, values: NDArray[Any]) -> Array:
        """(..., n) of the dataset in the robot's terms.

        Raises:
            DataError: if there are not as many numbers as names.
        """
        self._fit(values)
        scaled: Array = values[..., list(self.order)].astype(np.float64) * np.array(self.gain) + np.array(self.offset)
        return scaled

    def to_dataset(self, values: NDArray[Any]) -> Array:
        """Undo `to_robot`."""
        self._fit(values)
        out = np.empty(values.shape)
        out[..., list(self.order)] = (values - np.array(self.offset)) / np.array(self.gain)
        return out

    def _fit(self, values: NDArray[Any]) -> None:
        if values.shape[-1:] != (len(self.names),):
            raise DataError(
                f"A vector of shape {values.shape} meets an embodiment of {len(self.names)} numbers.",
                remedy=f"Choose another embodiment; this one has {', '.join(self.names)}.",
            )


class Embodiment(Protocol):
    """How state and action of a dataset are to be read."""

    def state(self) -> Columns:
        """Columns of the state."""
        ...

    def action(self) -> Columns:
        """Columns of the action."""
        ...


def _columns(
    names: tuple[str, ...], grippers: dict[str, tuple[Ends, float]], order: tuple[int, ...], joint_gain: float = 1.0
) -> Columns:
    """Columns of joints with one gain, and of grippers by their ends and the width (m or 1) between these."""
    gain, offset = [], []
    for name in names:
        if name in grippers:
            ends, width = grippers[name]
            gain.append(width / (ends.open - ends.closed))
            offset.append(-ends.closed * gain[-1])
        else:
            gain.append(joint_gain)
            offset.append(0.0)
    return Columns(names, order or tuple(range(len(names))), tuple(gain), tuple(offset))


@dataclass(frozen=True, kw_only=True)
class _Joints(ABC):
    """Joint positions and grippers, state and action in one order.

    Attributes:
        state_gripper, action_gripper: the grippers' ends in state and action, which often differ.
        joint_unit: unit of the dataset's joints.
        order: the dataset's place of each number, where its order is another.
    """

    state_gripper: Ends
    action_gripper: Ends
    joint_unit: Literal["rad", "deg"] = "rad"
    order: tuple[int, ...] = ()

    @abstractmethod
    def _names(self) -> tuple[str, ...]: ...

    @abstractmethod
    def _width(self) -> float: ...

    def _read(self, ends: Ends) -> Columns:
        names = self._names()
        grippers = {name: (ends, self._width()) for name in names if name.endswith("gripper")}
        return _columns(names, grippers, self.order, 1.0 if self.joint_unit == "rad" else math.pi / 180.0)

    def state(self) -> Columns:
        """Columns of the state."""
        return self._read(self.state_gripper)

    def action(self) -> Columns:
        """Columns of the action."""
        return self._read(self.action_gripper)


@dataclass(frozen=True, kw_only=True)
class Franka(_Joints):
    """Franka Panda or FR3: seven joints and the hand's width.

    The hand opens 0.08 m: each finger 0.04 m, and a GripperCommand's goal is half the width. For another hand change
    `width_m`; for a Panda change the names (panda_joint1 .. 7).
    """

    kind: Literal["franka"] = "franka"
    width_m: float = 0.08
    prefix: str = "fr3"

    def _names(self) -> tuple[str, ...]:
        return (*(f"{self.prefix}_joint{i}" for i in range(1, 8)), "gripper")

    def _width(self) -> float:
        return self.width_m


_GENIE_NAMES = (
    *(f"idx2{i}_arm_l_joint{i}" for i in range(1, 8)),
    "left_gripper",
    *(f"idx6{i}_arm_r_joint{i}" for i in range(1, 8)),
    "right_gripper",
)


@dataclass(frozen=True, kw_only=True)
class _GenieArms(_Joints):
    """Both arms of a Genie-1 with their grippers."""

    width_m: float

    def _names(self) -> tuple[str, ...]:
        return _GENIE_NAMES

    def _width(self) -> float:
        return self.width_m


@dataclass(frozen=True, kw_only=True)
class Genie1(_GenieArms):
    """AgiBot Genie-1: 16 numbers, left arm of 7, left gripper, right arm of 7, right gripper, as F1's own transform.

    Open: the grippers' unit (0-120 mm, 0-1 and 35-120 are all seen) and their width. Look at your dataset's range.
    """

    kind: Literal["genie1"] = "genie1"


@dataclass(frozen=True, kw_only=True)
class AgiBot(_GenieArms):
    """AgiBot's datasets, recorded on the Genie-1's arms: the same 16 numbers, none of which is cut off.

    Datasets that keep both arms before both grippers need order [0..6, 14, 7..13, 15].
    """

    kind: Literal["agibot"] = "agibot"


@dataclass(frozen=True, kw_only=True)
class Lift2(_Joints):
    """ARX LIFT II: 14 numbers, left arm of 6, left gripper, right arm of 6, right gripper.

    X5 arms read 0 closed to about 5 open, 0.088 m. AC-one arms read negative, about -3.4 open; their width is open.
    The lift and the base are not among the numbers.
    """

    kind: Literal["lift2"] = "lift2"
    width_m: float

    def _names(self) -> tuple[str, ...]:
        left, right = (tuple(f"{side}_joint{i}" for i in range(1, 7)) for side in ("left", "right"))
        return (*left, "left_gripper", *right, "right_gripper")

    def _width(self) -> float:
        return self.width_m


@dataclass(frozen=True, kw_only=True)
class _Tool:
    """Tool poses and motions, with one gripper that is 0 closed to 1 open in the robot's terms.

    Attributes:
        state_names, action_names: the dataset's numbers (its info.json); the one named "gripper" is the gripper.
        state_gripper, action_gripper: its ends in state and action; None where there is none of that name.
    """

    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    state_gripper: Ends | None
    action_gripper: Ends | None

    def __post_init__(self) -> None:
        for what, names, ends in (
            ("state", self.state_names, self.state_gripper),
            ("action", self.action_names, self.action_gripper),
        ):
            if (names.count("gripper") == 1) != (ends is not None) or len(set(names)) != len(names):
                raise ConfigError(
                    f"{what}_names {list(names)} and {what}_gripper do not fit: a gripper needs its name and its ends.",
                    remedy=f"Name the gripper 'gripper' once and give {what}_gripper, or leave out both.",
                )

    def state(self) -> Columns:
        """Columns of the state."""
        return _columns(self.state_names, self._grippers(self.state_gripper), ())

    def action(self) -> Columns:
        """Columns of the action."""
        return _columns(self.action_names, self._grippers(self.action_gripper), ())

    def _grippers(self, ends: Ends | None) -> dict[str, tuple[Ends, float]]:
        return {} if ends is None else {"gripper": (ends, 1.0)}


@dataclass(frozen=True, kw_only=True)
class Libero(_Tool):
    """LIBERO. Open: its numbers and its gripper's ends differ between conversions; take them from the dataset."""

    kind: Literal["libero"] = "libero"


@dataclass(frozen=True, kw_only=True)
class Bridge(_Tool):
    """Bridge (WidowX). Open, as for LIBERO: take names and gripper from the dataset."""

    kind: Literal["bridge"] = "bridge"


@dataclass(frozen=True, kw_only=True)
class Fractal(_Tool):
    """Fractal (RT-1). Open, as for LIBERO: take names and gripper from the dataset."""

    kind: Literal["fractal"] = "fractal"


AnyEmbodiment = Franka | Genie1 | AgiBot | Lift2 | Libero | Bridge | Fractal
