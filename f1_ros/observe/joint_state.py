"""Measured joint positions at a given instant, from JointState messages of any order and content."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ConfigError, ObservationError
from f1_ros.observe.order import Order, StampOrder

if TYPE_CHECKING:
    from f1_ros.robots.profile import RobotProfile

SECOND_NS = 1_000_000_000
Array = NDArray[np.float64]


@dataclass(frozen=True)
class StateChannel:
    """One entry of the state vector as a weighted sum of one message's joints: offset + sum(weight * position).

    Attributes:
        name: the entry's name in the state layout.
        terms: (joint name in the message, weight) pairs.
        offset: added last, in the entry's unit.
    """

    name: str
    terms: tuple[tuple[str, float], ...]
    offset: float = 0.0


@dataclass(frozen=True)
class JointSource:
    """A topic of sensor_msgs/JointState and the state entries that come from it.

    Attributes:
        topic: absolute name.
        channels: the entries.
        max_age_ns: largest age of its newest message at the instant asked for, and largest gap between two messages
            that is interpolated over, ns.
        rate_hz: rate that is expected of it; 0 if unknown.
    """

    topic: str
    channels: tuple[StateChannel, ...]
    max_age_ns: int
    rate_hz: float = 0.0


def joint_sources(profile: RobotProfile, state_names: Sequence[str]) -> tuple[JointSource, ...]:
    """Give the topics that a state layout needs, with how each entry is read from them.

    A gripper's width is linear in the sum of its joints between the ends that the profile gives.

    Raises:
        ConfigError: if an entry is neither an arm joint nor a gripper of the profile, or a gripper's ends are open.
    """
    timeout = profile.timeouts
    topics: dict[str, tuple[list[StateChannel], float, float]] = {}
    for name in state_names:
        arm = next((a for a in profile.arms if any(joint.name == name for joint in a.joints)), None)
        gripper = next((g for g in profile.grippers if g.name == name), None)
        if arm is not None:
            channel, topic = StateChannel(name, ((name, 1.0),)), arm.state.topic
            limit, rate = timeout.joint_state, arm.state.rate_hz
        elif gripper is not None and gripper.state.closed is not None and gripper.state.open is not None:
            state = gripper.state
            slope = (gripper.open - gripper.closed) / (gripper.state.open - gripper.state.closed)
            terms = tuple((joint, slope) for joint in state.joints)
            channel = StateChannel(name, terms, gripper.closed - slope * gripper.state.closed)
            topic, limit, rate = state.topic, timeout.gripper_state, state.rate_hz
        else:
            raise ConfigError(
                f"State entry '{name}' cannot be read: profile '{profile.name}' has no arm joint or measured gripper "
                "of that name.",
                remedy="Use a policy that was trained for this robot, or complete the profile.",
            )
        channels, _, _ = topics.setdefault(topic, ([], limit, rate))
        channels.append(channel)
    return tuple(
        JointSource(topic, tuple(channels), round(limit * SECOND_NS), rate)
        for topic, (channels, limit, rate) in topics.items()
    )


class JointStateBuffer:
    """The last positions from one source, interpolated to any instant that they cover. Not thread-safe.

    Args:
        source: the topic, its channels and its age limit.
        depth: messages kept; they must reach back as far as the slowest frame (512 at 1 kHz: 0.5 s).
    """

    def __init__(self, source: JointSource, depth: int = 512) -> None:
        self.source = source
        self._order = StampOrder()
        self._samples: deque[tuple[int, Array]] = deque(maxlen=depth)
        self._names: tuple[str, ...] = ()
        self._weights: Array | None = None
        self._offsets = np.array([channel.offset for channel in source.channels])

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest message, ns."""
        return self._samples[-1][0] if self._samples else None

    def add(self, stamp_ns: int, names: Sequence[str], positions: Sequence[float]) -> Order | None:
        """Take a message. Repeated and late ones are ignored; a clock set back forgets what came before.

        Args:
            stamp_ns: header stamp, ns.
            names: joint names in the message's order; those that no channel needs are ignored.
            positions: positions in the same order, rad or m.

        Returns:
            How its stamp stands in the stream, or None for a message with none of the joints that are needed: drivers
            of arm and gripper may share a topic.

        Raises:
            ObservationError: naming the topic, if only some of the joints are there or one is named twice, names and
                positions differ in number, or a needed position is not finite. The message is then not used.
        """
        if tuple(names) != self._names:
            self._weights = self._weights_for(names)
            self._names = tuple(names)
        if self._weights is None:
            return None
        if len(positions) != len(self._names):
            raise ObservationError(
                f"Topic {self.source.topic}: {len(self._names)} joint names with {len(positions)} positions.",
                remedy="Check the publisher: a JointState for f1_ros has a position for each name.",
            )
        # A joint that is not needed may be NaN (a wheel without an encoder).
        measured = np.where(self._weights.any(axis=0), np.asarray(positions, np.float64), 0.0)
        if not np.isfinite(measured).all():
            bad = self._names[int(np.argmin(np.isfinite(measured)))]
            raise ObservationError(
                f"Topic {self.source.topic}: the position of joint '{bad}' is not finite.",
                remedy="Check the robot's driver and its encoders.",
            )
        values: Array = self._weights @ measured + self._offsets
        order = self._order.judge(stamp_ns)
        if order is Order.RESET:
            self._samples.clear()
        if order in (Order.NEXT, Order.RESET):
            self._samples.append((stamp_ns, values))
        return order

    def at(self, stamp_ns: int) -> Array:
        """Positions at an instant: linear between the messages around it; the newest held, not extrapolated, after it.

        Returns:
            (channels,) in the order of the source's channels, rad or m.

        Raises:
            ObservationError: naming the topic, if nothing came yet, the instant lies before the messages kept or later
                than `max_age_ns` after the newest, or in a gap longer than that.
        """
        topic, limit = self.source.topic, self.source.max_age_ns
        if not self._samples:
            came = f"only with the joints {', '.join(self._names)}" if self._names else "not at all"
            raise ObservationError(
                f"Topic {topic}: joint states of {', '.join(c.name for c in self.source.channels)} come {came}.",
                remedy="Check that the robot's driver runs, and the topic and joint names in the profile.",
            )
        newest_ns, newest = self._samples[-1]
        if stamp_ns >= newest_ns:
            if stamp_ns - newest_ns > limit:
                raise ObservationError(
                    f"Topic {topic}: the newest joint state is over {limit // 1_000_000} ms older than the frames.",
                    remedy="Check that the robot's driver still publishes and that cameras and robot share a clock.",
                )
            return newest.copy()
        for (late_ns, late), (early_ns, early) in pairwise(reversed(self._samples)):
            if early_ns <= stamp_ns:
                if early_ns == stamp_ns:
                    return early.copy()
                if late_ns - early_ns > limit:
                    raise ObservationError(
                        f"Topic {topic}: joint states leave a gap of over {limit // 1_000_000} ms around the frames.",
                        remedy="Check the robot's driver and the network: messages are lost.",
                    )
                share = (stamp_ns - early_ns) / (late_ns - early_ns)
                return early + share * (late - early)
        raise ObservationError(
            f"Topic {topic}: joint states begin only after the frames' stamp.",
            remedy="Wait a moment after the start; if it stays, check that cameras and robot share a clock.",
        )

    def _weights_for(self, names: Sequence[str]) -> Array | None:
        """(channels, joints of the message) matrix, or None if the message has none of the joints."""
        wanted = {joint for channel in self.source.channels for joint, _ in channel.terms}
        if wanted.isdisjoint(names):
            return None
        weights = np.zeros((len(self.source.channels), len(names)))
        for row, channel in enumerate(self.source.channels):
            for joint, weight in channel.terms:
                if list(names).count(joint) != 1:
                    raise ObservationError(
                        f"Topic {self.source.topic}: joint '{joint}' is missing or named twice.",
                        remedy="Check that the profile's joint names and topic are those of the robot's driver.",
                    )
                weights[row, list(names).index(joint)] = weight
        return weights
