"""Between f1_ros's vectors and a robot's own messages, without ROS: the nodes copy these fields to and fro.

    transport = transport_for(profile)
    transport.read(topic, message)                              joints by name, of a state message
    transport.streamed(reading)                                 what of it a `Stream` is: a gripper's width, a lift
    transport.command_messages(targets)                         fields of each message that goes out in a tick
    transport.gripper_goal("gripper", 0.03, before=0.08)        a goal for a gripper that is told on change
    transport.trouble(message), recover(), enable(), extras()   what the robot says is wrong; requests by people only

The safe action needs no message of its own: FAULT brakes and holds by the same `command_messages`, tick after tick.
A robot whose message types are known needs a profile and no code. For another message write an `Encoder` or a `Reader`
beside those of `messages.py`, `arx.py` and `genie.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Fields = Mapping[str, Any]
"""Values of a message's fields by name, nested where a field is a message; arrays as numpy or array.array."""


@dataclass(frozen=True)
class Reading:
    """What a state message says: positions (rad, m, or a gripper's own unit) and velocities, one for each name.

    Velocities are empty where the message has none. A message of another length than expected gives positions of
    another length than the names: whoever takes it refuses it.
    """

    names: Sequence[str]
    positions: Sequence[float]
    velocities: Sequence[float] = ()


@dataclass(frozen=True)
class Incoming:
    """A topic of measured values.

    Attributes:
        topic: absolute name.
        type: message type.
        joints: arm joints are among what it carries.
    """

    topic: str
    type: str
    joints: bool


@dataclass(frozen=True)
class Outgoing:
    """A topic of commands: name, type, and whether its publisher's durability is transient local."""

    topic: str
    type: str
    latched: bool = False


@dataclass(frozen=True)
class Stream:
    """A value that goes out each tick beside the joints: the width of a streamed gripper, m, or a lift's height, m.

    Attributes:
        name: the gripper's name, or "lift".
        speed: how fast its target moves at most, m/s.
        target: where it is to be from the start on; None: where it is found, until it is commanded.
    """

    name: str
    speed: float
    target: float | None = None


@dataclass(frozen=True)
class Targets:
    """What goes out in a tick, all of it limited.

    Attributes:
        position: (joints,) where the arm is to be at the end of the tick, rad, in the order of profile.joints.
        velocity: (joints,) rad/s.
        streamed: value of each `Stream`, m.
        path: (n, 2, joints) position and velocity after each `step_s` from now on, where a trajectory is due.
        step_s: time between two points of the path, s.
    """

    position: Array
    velocity: Array
    streamed: Mapping[str, float] = field(default_factory=dict)
    path: Array | None = None
    step_s: float = 0.0


@dataclass(frozen=True)
class Message:
    """One message that goes out: its topic and the values of its fields. A header's stamp is the node's to write."""

    topic: str
    fields: Fields


@dataclass(frozen=True)
class GripperGoal:
    """A goal for a gripper's action: the action's name, its type, and the goal's fields."""

    action: str
    type: str
    fields: Fields


@dataclass(frozen=True)
class RobotRequest:
    """Something that the robot is asked to do once, by a person's request.

    Attributes:
        what: in words, for people.
        kind: service, action or topic.
        name: of the service, action or topic.
        type: its type.
        fields: of the request, goal or message.
        success: field of a service's answer that says whether it was done; empty: an answer is enough.
    """

    what: str
    kind: str
    name: str
    type: str
    fields: Fields = field(default_factory=dict)
    success: str = ""


@dataclass(frozen=True)
class Extra:
    """A request under a name of its own, such as `home`.

    Attributes:
        name: of the service that people call.
        requests: what is sent, in order.
        withhold: why no commands go out from then on until HOLD is asked for, in words.
    """

    name: str
    requests: tuple[RobotRequest, ...]
    withhold: str


class Transport(Protocol):
    """What a node needs to talk to a robot. Pure: no method keeps anything between calls."""

    @property
    def incoming(self) -> tuple[Incoming, ...]:
        """Topics of measured values, each once; those with arm joints first."""
        ...

    @property
    def outgoing(self) -> tuple[Outgoing, ...]:
        """Topics of commands, each once."""
        ...

    @property
    def streams(self) -> tuple[Stream, ...]:
        """What goes out each tick beside the joints."""
        ...

    @property
    def gripper_actions(self) -> Mapping[str, Mapping[str, str]]:
        """Of each gripper that is told on change: its actions by name, and their types."""
        ...

    @property
    def trajectory_hz(self) -> float:
        """How often the remaining plan goes out as a trajectory, Hz; 0: each tick's target goes out instead."""
        ...

    @property
    def types(self) -> tuple[str, ...]:
        """Every message, service and action type that is needed, such as `sensor_msgs/msg/JointState`."""
        ...

    @property
    def status_topic(self) -> tuple[str, str] | None:
        """Topic and type of what the robot says about itself; None: nothing."""
        ...

    def read(self, topic: str, message: Any) -> Reading:
        """What a state message says.

        Args:
            topic: one of `incoming`.
            message: a message of its type, or anything with its fields.
        """
        ...

    def streamed(self, topic: str, reading: Reading) -> Mapping[str, float]:
        """Opening width of each gripper (m), and height of the lift (m), that a reading of a topic speaks of."""
        ...

    def command_messages(self, targets: Targets) -> tuple[Message, ...]:
        """What goes out in a tick, on the topics of `outgoing`; with a path, the trajectories alone."""
        ...

    def gripper_goal(self, name: str, width: float, before: float | None = None) -> GripperGoal:
        """The goal that opens or closes a gripper to a width, m.

        Args:
            name: a gripper that is told on change.
            width: opening width, m.
            before: width that it was told last or has, m: whether it is to open or to close.
        """
        ...

    def trouble(self, message: Any) -> str:
        """What a message on `status_topic` says is wrong, in words; empty if nothing is."""
        ...

    def enable(self) -> tuple[RobotRequest, ...]:
        """What makes the robot take commands, in order; empty: nothing of ours."""
        ...

    def recover(self) -> tuple[RobotRequest, ...]:
        """What brings the robot back after it has stopped itself, in order; empty: nothing of ours."""
        ...

    def extras(self) -> tuple[Extra, ...]:
        """Other things that it does by a person's request."""
        ...

    def describe(self, name: str) -> str:
        """Where an entry of the action goes, with its unit there, for people: `robot show` prints it."""
        ...
