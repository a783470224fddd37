"""The command that is in force at an instant: what a frame's action is made of.

An arm's command says where the arm is to be at the end of the control period, so commands are points of a path at
stamp + period; between two points the path is straight. Grippers are commanded on change: the last width holds. Their
widths and the modes come from the control process's status, 10 times a second, with the instant at which each came into
force: several modes may lie between two statuses.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f1_ros.control.arbiter import Mode
from f1_ros.data.live.messages import ControlSample
from f1_ros.errors import ConfigError, ObservationError
from f1_ros.observe.joint_state import SECOND_NS, JointSource, JointStateBuffer, StateChannel
from f1_ros.robots.profile import RobotProfile

_COMMANDS = 2048  # kept: 2 s at 1 kHz
_STATUS_NS = 4_000_000_000  # statuses are kept for so long: frames wait for the slowest stream


@dataclass(frozen=True, eq=False)
class Action:
    """The target for an instant.

    Attributes:
        values: in the order of the action's names: rad, m of opening width.
        mode: the control process's mode. At a change it is the new one from the first command that shows it on, in
            every frame whose action that command has a part in.
        source: what the command came from.
    """

    values: NDArray[np.float64]
    mode: Mode
    source: str


class ActionTrack:
    """The commands of the last seconds. Takes what comes in the order of its stamps. Not thread-safe.

    Args:
        profile: the robot.
        action_names: order of the action: arm joints and grippers of the profile.

    Attributes:
        missing: commands that should have been there between those that came, since it was last set to 0: the control
            loop missed its deadlines, or they were lost on the way.

    Raises:
        ConfigError: if a name is neither.
    """

    def __init__(self, profile: RobotProfile, action_names: Sequence[str]) -> None:
        known = {*profile.joints, *(gripper.name for gripper in profile.grippers)}
        unknown = [name for name in action_names if name not in known]
        if unknown:
            raise ConfigError(
                f"Action entry '{unknown[0]}' is neither an arm joint nor a gripper of profile '{profile.name}'.",
                remedy="Use a policy that was trained for this robot, or complete the profile.",
            )
        self._names = tuple(action_names)
        self._safe_action = profile.safe_action
        self.missing = 0
        self._arms: dict[str, JointStateBuffer] = {}
        # As long as joint states may fail to come; a straight line over it is close to what the arm was told.
        gap_ns = round(profile.timeouts.joint_state * SECOND_NS)
        for topic, joints in profile.command_topics.items():
            channels = tuple(StateChannel(joint, ((joint, 1.0),)) for joint in joints if joint in action_names)
            if channels:
                self._arms[topic] = JointStateBuffer(JointSource(topic, channels, gap_ns), depth=_COMMANDS)
        self._grippers = tuple(gripper.name for gripper in profile.grippers if gripper.name in action_names)
        self._status: deque[tuple[int, ControlSample]] = deque()

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics of commands."""
        return tuple(self._arms)

    def add_command(self, topic: str, stamp_ns: int, names: Sequence[str], positions: Sequence[float]) -> None:
        """Take an arm's command.

        Raises:
            ObservationError: naming the topic, if a joint is missing or not finite.
        """
        buffer = self._arms[topic]
        before_ns = buffer.newest_ns
        if buffer.add(stamp_ns, names, positions) is None:
            raise ObservationError(
                f"Topic {topic}: a command with none of the joints {', '.join(self._names)}.",
                remedy="Check that the profile's command topic is the one that the action node publishes on.",
            )
        if before_ns is not None and self._status:
            self.missing += max(0, round((stamp_ns - before_ns) / self._status[-1][1].period_ns) - 1)

    def add_status(self, stamp_ns: int, sample: ControlSample) -> None:
        """Take the control process's status."""
        if self._status and stamp_ns < self._status[-1][0]:  # its clock was set back
            self._status.clear()
        self._status.append((stamp_ns, sample))
        while stamp_ns - self._status[0][0] > _STATUS_NS and len(self._status) > 2:
            self._status.popleft()

    def at(self, instant_ns: int, measured: Mapping[str, float]) -> Action:
        """The target for an instant that every topic and the status have come up to.

        Args:
            instant_ns: the instant, ns.
            measured: opening width of each gripper, m: what an action says of one that has not been commanded yet.

        Raises:
            ObservationError: naming the topic, if commands or statuses do not cover it, or if a gripper has neither
                been commanded nor measured.
        """
        before, after = self._around(instant_ns)
        values: dict[str, float] = {}
        for topic, buffer in self._arms.items():
            try:
                positions = buffer.at(instant_ns - after.period_ns)
            except ObservationError as error:
                raise ObservationError(
                    f"Topic {topic}: commands do not cover the frames without a gap.",
                    remedy="Check that the action node runs and keeps its deadlines (/diagnostics).",
                ) from error
            values |= dict(zip((c.name for c in buffer.source.channels), positions.tolist(), strict=True))
        for name in self._grippers:
            values[name] = self._width(name, before, after, instant_ns, measured)
        mode = self._mode(before, after, instant_ns)
        return Action(np.array([values[name] for name in self._names]), mode, mode.source(self._safe_action))

    def _around(self, instant_ns: int) -> tuple[ControlSample | None, ControlSample]:
        """The last status before an instant, and the first one from then on."""
        before: ControlSample | None = None
        for stamp_ns, sample in self._status:
            if stamp_ns == instant_ns or (stamp_ns > instant_ns and before is not None):
                return before, sample
            if stamp_ns > instant_ns:
                break
            before = sample
        raise ObservationError(
            "The control process's status does not cover the frames.", remedy="Check that the action node runs."
        )

    @staticmethod
    def _mode(before: ControlSample | None, after: ControlSample, instant_ns: int) -> Mode:
        known = (*(before.modes if before is not None else ()), *after.modes)
        return next((mode for mode, since_ns in reversed(known) if since_ns <= instant_ns), known[0][0])

    @staticmethod
    def _width(
        name: str,
        before: ControlSample | None,
        after: ControlSample,
        instant_ns: int,
        measured: Mapping[str, float],
    ) -> float:
        for sample in (after, before):
            width, since_ns = sample.widths.get(name, (math.nan, 0)) if sample is not None else (math.nan, 0)
            if math.isfinite(width) and since_ns <= instant_ns:
                return width
        if name not in measured:
            raise ObservationError(
                f"Gripper '{name}' has not been commanded yet, and is not measured.",
                remedy="Move it once before the recording.",
            )
        return measured[name]
