"""The demo's teleoperator: the scripted expert, publishing as a leader arm would.

It decides every 50 ms, and publishes at each joint state on the straight line to where it wants the arm next. It runs
by the stamps of what it hears, not by a clock of its own, so it needs no /clock and keeps pace with any real-time
factor. It looks at the simulation's ground truth: a person looks at the belt.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import JointState

from f1_ros.errors import ConfigError
from f1_ros.nodes.conversions import to_ns, to_time
from f1_ros.nodes.lifecycle import ManagedNode, run
from f1_ros.nodes.parameters import PROFILE, NodeParameter
from f1_ros.nodes.polled import PolledSubscription
from f1_ros.nodes.qos import SENSOR
from f1_ros.nodes.realtime import schedule_process
from f1_ros.robots.choose import transport_for
from f1_ros.robots.profile import load_profile
from f1_ros.sim.config import load_belt_config
from f1_ros.sim.cubes import Cube, cube_place
from f1_ros.sim.expert import STEP_S, Expert, WorldState
from f1_ros.sim.franka import arm_with
from f1_ros.sim.kinematics import ArmKinematics
from f1_ros.sim.scene import load_scene

STEP_NS = round(STEP_S * 1e9)
CUBE_GONE_NS = 100_000_000
"""A cube that has not been heard of for so long is no longer in play."""
RESTART_NS = 200_000_000
"""After a gap like this between two joint states, the leader starts again from where the arm is."""

PARAMETERS = (
    PROFILE,
    NodeParameter("rate", 100.0, "Messages per second at most, Hz of simulated time.", lower=20.0, upper=100.0),
    NodeParameter(
        "realtime_priority",
        15,
        "SCHED_FIFO priority of the process where the system permits it: a leader arm moves however busy the computer "
        "is; 0: ordinary scheduling.",
        lower=0,
        upper=99,
    ),
)


class ExpertNode(ManagedNode):
    """The scripted teleoperator; see docs/interfaces.md."""

    def __init__(self) -> None:
        """Create the node."""
        super().__init__("expert_node", PARAMETERS)
        self._active = False

    def configure(self) -> None:
        """Load profile and kinematics."""
        self._profile = profile = load_profile(self.value("profile"), simulated=True)
        arm = arm_with(profile.joints)
        if len(profile.grippers) != 1:
            raise ConfigError(
                f"Profile '{profile.name}' has {len(profile.grippers)} grippers, the simulated robot one.",
                remedy="Give a profile of one Franka with its hand.",
            )
        self._transport = transport_for(profile)
        self._expert = Expert(ArmKinematics(load_scene(load_belt_config(), arm)))
        self._leader = self.create_publisher(JointState, "teleop/joint_command", SENSOR)

    def activate(self) -> None:
        """Subscribe."""
        arm, gripper = self._profile.arms[0], self._profile.grippers[0]
        self._width = gripper.open
        self._cube: Cube | None = None
        self._cube_ns = self._now_ns = self._sent_ns = self._begin_ns = 0
        self._line: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._cubes = PolledSubscription(self, Odometry, "/f1_sim/cube")
        self._fingers = PolledSubscription(self, JointState, gripper.state.topic)
        self._joints = self.create_subscription(JointState, arm.state.topic, self._on_joint_state, SENSOR)
        self._active = True
        if self.value("realtime_priority"):
            schedule_process(self.value("realtime_priority"))

    def deactivate(self) -> None:
        """Unsubscribe: the leader falls silent."""
        if self._active:
            self._active = False
            self._cubes.close()
            self._fingers.close()
            self.destroy_subscription(self._joints)

    def cleanup(self) -> None:
        """Stop publishing."""
        if hasattr(self, "_leader"):
            self.destroy_publisher(self._leader)

    def _on_joint_state(self, msg: JointState) -> None:
        by_name = dict(zip(msg.name, msg.position, strict=False))
        if any(joint not in by_name for joint in self._profile.joints):
            return
        joints = np.array([by_name[joint] for joint in self._profile.joints])
        now_ns = to_ns(msg.header.stamp)
        if not np.isfinite(joints).all() or now_ns == self._now_ns:
            return
        paused = not 0 < now_ns - self._now_ns < RESTART_NS
        self._now_ns = now_ns
        self._look()
        if self._line is None or paused:
            start = np.append(joints, self._width)
            self._line, self._begin_ns, self._sent_ns = (start, self._decide(joints)), now_ns, 0
        elif now_ns - self._begin_ns >= STEP_NS:
            self._line, self._begin_ns = (self._line[1], self._decide(joints)), now_ns
        if now_ns - self._sent_ns >= 0.99e9 / float(self.value("rate")):
            self._sent_ns = now_ns
            self._publish(self._line, now_ns)

    def _look(self) -> None:
        fingers, seen = self._fingers.newest(), self._cubes.newest()
        if fingers is not None:
            gripper = self._profile.grippers[0]
            widths = self._transport.streamed(gripper.state.topic, self._transport.read(gripper.state.topic, fingers))
            self._width = widths.get(gripper.name, self._width)
        if seen is not None:
            self._cube, self._cube_ns = _cube(seen), to_ns(seen.header.stamp)
        elif abs(self._now_ns - self._cube_ns) > CUBE_GONE_NS:
            self._cube = None

    def _decide(self, joints: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._expert.act(WorldState(joints, self._width, self._cube)).target

    def _publish(self, line: tuple[NDArray[np.float64], NDArray[np.float64]], now_ns: int) -> None:
        start, end = line
        position = start + (end - start) * min(1.0, (now_ns - self._begin_ns) / STEP_NS)
        position[-1] = end[-1]  # the gripper is not moved in steps
        gripper = self._profile.grippers[0].name
        message = JointState(name=[*self._profile.joints, gripper], position=array("d", position))
        message.header.stamp = to_time(now_ns)
        self._leader.publish(message)


def _cube(message: Odometry) -> Cube:
    at, turn, speed = message.pose.pose.position, message.pose.pose.orientation, message.twist.twist.linear
    position = np.array([at.x, at.y, at.z])
    return Cube(
        position=position,
        velocity=np.array([speed.x, speed.y, speed.z]),
        quaternion=np.array([turn.w, turn.x, turn.y, turn.z]),
        place=cube_place(position),
        picked=False,  # the expert has no use for these two
        age_ns=0,
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see docs/interfaces.md."""
    return run(lambda: [ExpertNode()], args)


if __name__ == "__main__":
    sys.exit(main())
