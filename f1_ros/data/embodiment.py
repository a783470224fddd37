"""A dataset's vectors in the robot's terms, and back: one small dataclass for each family of datasets.

    Franka(state_gripper=Ends(0.0, 0.04), action_gripper=Ends(0.0, 1.0))        in Python
    embodiment: {kind: franka, state_gripper: {closed: 0.0, open: 0.04}, ...}   in a training configuration

In the robot's terms joints are in rad, grippers in m of opening width (or 0 closed to 1 open, where a family has no
one gripper), in the order that the family's policies use. That order and those units are what `state_names` and
`action_names` of a policy and of a robot's profile mean, so a policy trained through a transform runs on the profile.

What is known of a family is written down here, with where it is from; what differs between its datasets, or is not
known, has no default and must be given: `f1-ros data show` and `f1-ros data stats` show it. For your own robot: take
the class that is nearest, change its names and its gripper, and add it to `AnyEmbodiment`.
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
STATE_KEYS = ("observation.state",)
ACTION_KEYS = ("action",)
"""Features whose numbers, one after the other, are state and action, unless an embodiment names others."""


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

    @property
    def state_keys(self) -> tuple[str, ...]:
        """Features whose numbers, one after the other, are the dataset's state."""
        ...

    @property
    def action_keys(self) -> tuple[str, ...]:
        """Features whose numbers, one after the other, are the dataset's action."""
        ...

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
        joint_unit: unit of the dataset's joints.
        order: the dataset's place of each number, where its order is another.
        state_keys, action_keys: see `Embodiment`.
    """

    joint_unit: Literal["rad", "deg"] = "rad"
    order: tuple[int, ...] = ()
    state_keys: tuple[str, ...] = STATE_KEYS
    action_keys: tuple[str, ...] = ACTION_KEYS

    @abstractmethod
    def _names(self) -> tuple[str, ...]: ...

    @abstractmethod
    def _width(self) -> float: ...

    @abstractmethod
    def _ends(self) -> tuple[Ends, Ends]:
        """The grippers' ends in state and action."""

    def _read(self, ends: Ends) -> Columns:
        names = self._names()
        grippers = {name: (ends, self._width()) for name in names if name.endswith("gripper")}
        return _columns(names, grippers, self.order, 1.0 if self.joint_unit == "rad" else math.pi / 180.0)

    def state(self) -> Columns:
        """Columns of the state."""
        return self._read(self._ends()[0])

    def action(self) -> Columns:
        """Columns of the action."""
        return self._read(self._ends()[1])


@dataclass(frozen=True, kw_only=True)
class _OwnGrippers(_Joints):
    """Joints with grippers that no two datasets number alike.

    Attributes:
        state_gripper, action_gripper: the grippers' ends in state and action, which often differ.
    """

    state_gripper: Ends
    action_gripper: Ends

    def _ends(self) -> tuple[Ends, Ends]:
        return self.state_gripper, self.action_gripper


@dataclass(frozen=True, kw_only=True)
class Franka(_OwnGrippers):
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
    """Both arms of a Genie-1 with their grippers.

    Attributes:
        width_m: how far a gripper opens, m.
    """

    width_m: float

    def _names(self) -> tuple[str, ...]:
        return _GENIE_NAMES

    def _width(self) -> float:
        return self.width_m


@dataclass(frozen=True, kw_only=True)
class Genie1(_GenieArms, _OwnGrippers):
    """AgiBot Genie-1: 16 numbers, left arm of 7, left gripper, right arm of 7, right gripper, as F1's own transform.

    Open: the grippers' unit (0-120 mm, 0-1 and 35-120 are all seen) and their width. Look at your dataset's range.
    """

    kind: Literal["genie1"] = "genie1"


@dataclass(frozen=True, kw_only=True)
class AgiBot(_GenieArms):
    """AgiBot World (Alpha, Beta; grippers, not hands): the Genie-1's 16 numbers, none of which is cut off. 30 a second.

    Its LeRobot conversions keep joints (left 7, right 7; rad) and grippers (left, right) in features of their own.
    From AgiBot World's description of its files: the state is the gripper's opening in mm, the action is 0 for fully
    open and 1 for fully closed. Names of the features: any4lerobot's agibot2lerobot and F1's own transform, which joins
    them in the same order; LeRobot's port has `observation.state.` where these have `observation.states.`. An
    instruction may be followed by " | " and the scene's description, which F1 cuts off and we do not.

    Open: how far the gripper opens, `width_m`; an action is a share of it.

    Attributes:
        state_gripper: only where the state is not the opening in mm.
        action_gripper: only where the action is not 0 open to 1 closed.
    """

    kind: Literal["agibot"] = "agibot"
    order: tuple[int, ...] = (*range(7), 14, *range(7, 14), 15)
    state_keys: tuple[str, ...] = ("observation.states.joint.position", "observation.states.effector.position")
    action_keys: tuple[str, ...] = ("actions.joint.position", "actions.effector.position")
    state_gripper: Ends | None = None
    action_gripper: Ends = Ends(closed=1.0, open=0.0)

    def _ends(self) -> tuple[Ends, Ends]:
        return self.state_gripper or Ends(0.0, 1000.0 * self.width_m), self.action_gripper


@dataclass(frozen=True, kw_only=True)
class Lift2(_OwnGrippers):
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
        state_keys, action_keys: see `Embodiment`.
    """

    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    state_gripper: Ends | None
    action_gripper: Ends | None
    state_keys: tuple[str, ...] = STATE_KEYS
    action_keys: tuple[str, ...] = ACTION_KEYS

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


_EULER = ("x", "y", "z", "roll", "pitch", "yaw")
_AXIS_ANGLE = ("x", "y", "z", "axis_angle1", "axis_angle2", "axis_angle3")


@dataclass(frozen=True, kw_only=True)
class Libero(_Tool):
    """LIBERO, a simulated Panda. 8 and 7 numbers; 10 or 20 a second, as the conversion says.

    State: the tool's position (m), its rotation as axis times angle (rad), and both fingers' positions, 0 to 0.04 m and
    0 to -0.04 m, which stay as they are. Action: what LIBERO's controller takes, motion and rotation in -1 to 1, and
    the gripper. (openpi's `examples/libero`; any4lerobot's libero2lerobot and openx2lerobot, which call both fingers
    "gripper".)

    Open: the gripper's action. LIBERO's own is -1 open to 1 closed, and so it is in openpi's and libero2lerobot's
    datasets: `{closed: 1.0, open: -1.0}`. OpenVLA's standard form, in which openx2lerobot's `*_no_noops` datasets and
    F1's are, is 0 closed to 1 open: `{closed: 0.0, open: 1.0}`.
    """

    kind: Literal["libero"] = "libero"
    state_names: tuple[str, ...] = (*_AXIS_ANGLE, "finger1", "finger2")
    action_names: tuple[str, ...] = (*_AXIS_ANGLE, "gripper")
    state_gripper: Ends | None = None


@dataclass(frozen=True, kw_only=True)
class Bridge(_Tool):
    """BridgeData V2, a WidowX, as openx2lerobot's `bridge_orig_lerobot` has it. 8 and 7 numbers, 5 a second.

    State: the tool's position (m), roll, pitch and yaw (rad), a number that is always 0, and the gripper, 0 closed to
    about 1 open. Action: by how much the six change until the next frame (OpenVLA's and Octo's transforms replace the
    commanded motion by the one that was reached), and the gripper, 0 closed or 1 open. (Octo's and OpenVLA's
    `oxe_dataset_configs`; open-pi-zero's adapter for the state's gripper.)
    """

    kind: Literal["bridge"] = "bridge"
    state_names: tuple[str, ...] = (*_EULER, "pad", "gripper")
    action_names: tuple[str, ...] = (*_EULER, "gripper")
    state_gripper: Ends | None = Ends(0.0, 1.0)
    action_gripper: Ends | None = Ends(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Fractal(_Tool):
    """Fractal (RT-1), a Google robot, as openx2lerobot's `fractal20220817_data_lerobot` has it. 8 and 7 numbers, 3 a
    second.

    State: the tool's position in the base (m), its rotation as a quaternion x, y, z, w, and how far the gripper is
    closed: 1 closed, 0 open. Action: motion (m), change of roll, pitch and yaw (rad), and the gripper, 0 closed or 1
    open, which Octo's and OpenVLA's transforms make of the recorded "close" and "open". (Their `oxe_dataset_configs`;
    SimplerEnv and open-pi-zero for the quaternion and the state's gripper.)
    """

    kind: Literal["fractal"] = "fractal"
    state_names: tuple[str, ...] = ("x", "y", "z", "rx", "ry", "rz", "rw", "gripper")
    action_names: tuple[str, ...] = (*_EULER, "gripper")
    state_gripper: Ends | None = Ends(closed=1.0, open=0.0)
    action_gripper: Ends | None = Ends(0.0, 1.0)


AnyEmbodiment = Franka | Genie1 | AgiBot | Lift2 | Libero | Bridge | Fractal
