"""The simulated FR3 or Panda: the belt world behind exactly the topics and types of its profile, and `/clock`.

Three threads. The physics' publishes what joints and clock say, the renderer's the pictures (see `SimLoop`); the
executor's thread serves the actions. As a real robot, the arm keeps its last target when commands stop, its controller
ignores commands while more than one node publishes them, and a jump in the target is a reflex (`f1_ros.sim.reflex`).
"""

from __future__ import annotations

import dataclasses
import sys
import threading
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.action import ActionServer
from rclpy.action.server import ServerGoalHandle
from sensor_msgs.msg import Image, JointState

from f1_ros.errors import ConfigError
from f1_ros.nodes.conversions import image_to_msg, to_ns
from f1_ros.nodes.diagnostics import Level
from f1_ros.nodes.interfaces import interface
from f1_ros.nodes.lifecycle import run
from f1_ros.nodes.parameters import PROFILE, NodeParameter
from f1_ros.nodes.polled import PolledSubscription
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.nodes.sim_gripper import SimGripper
from f1_ros.nodes.sim_loop import LOOP_PARAMETERS, TICK_HZ
from f1_ros.nodes.world_node import COUNTS_HZ, TRUTH_HZ, WorldNode
from f1_ros.robots.franka import ERROR_RECOVERY, FRANKA_STATE
from f1_ros.robots.parts import IMAGE, Franka
from f1_ros.robots.profile import RobotProfile, load_profile
from f1_ros.sim.camera import Renderer, Snapshot
from f1_ros.sim.config import load_belt_config
from f1_ros.sim.franka import arm_with
from f1_ros.sim.gripper import gripper_reading
from f1_ros.sim.reflex import Reflex, RobotMode
from f1_ros.sim.world import BeltWorld

ROBOT_STATE_HZ = 20.0
ITS_OWN = Franka("/franka_robot_state_broadcaster/robot_state", "/action_server/error_recovery")
"""Where the arm tells its mode and is recovered, if its profile does not say."""

PARAMETERS = (
    PROFILE,
    NodeParameter("config", "", "Belt configuration, a YAML file; empty: the packaged config/sim/belt.yaml."),
    NodeParameter("seed", 0, "Seed of the hand's start and of all cubes.", lower=0, upper=2**31 - 1),
    NodeParameter("belt_speed", 0.15, "Speed of the belt towards +y, m/s.", lower=-1.0, upper=1.0, live=True),
    NodeParameter("cubes", True, "Cubes come onto the belt by themselves, one after the other."),
    *LOOP_PARAMETERS,
)


class SimNode(WorldNode[BeltWorld]):
    """The simulated Franka at its belt; see docs/interfaces.md."""

    def __init__(self) -> None:
        """Create the node."""
        super().__init__("sim_node", PARAMETERS)
        self._gripper: SimGripper | None = None
        self._reflex_lock = threading.Lock()  # the physics follows, the executor recovers
        self.add_post_set_parameters_callback(lambda _: self._set_belt_speed())

    def configure(self) -> None:
        """Build the world."""
        self._profile = profile = load_profile(self.value("profile"), simulated=True)
        self._arm = arm_with(profile.joints)
        self._check(profile)
        config = load_belt_config(Path(self.value("config")) if self.value("config") else None)
        world = BeltWorld(config, stream=self.value("cubes"), arm=self._arm)
        world.reset(self.value("seed"))
        arm, gripper = profile.arms[0], profile.grippers[0]
        cameras = [camera.name for camera in profile.cameras]
        self._adopt(world, profile.name, self._arm.joints, [gripper.name], cameras)
        self._set_belt_speed()
        self._joints = self.create_publisher(JointState, arm.state.topic, COMMAND)
        self._fingers = self.create_publisher(JointState, gripper.state.topic, COMMAND)
        self._cameras = {c.name: self.create_publisher(Image, c.topic, SENSOR) for c in profile.cameras}
        self._cube = self.create_publisher(Odometry, "/f1_sim/cube", SENSOR)
        self._robot_state, self._error_recovery = interface(FRANKA_STATE), interface(ERROR_RECOVERY)
        self._modes = self.create_publisher(self._robot_state, (profile.franka or ITS_OWN).state, COMMAND)
        self._ours += [self._joints, self._fingers, *self._cameras.values(), self._cube, self._modes]

    def activate(self) -> None:
        """Let time run."""
        world = self._built()
        profile = self._profile
        self._reflex = Reflex(world.joint_positions, self._arm.limits.velocity)
        self._rivals = False
        self._commands = PolledSubscription(self, JointState, profile.arms[0].command.topic, COMMAND)
        self._gripper = SimGripper(self, profile.grippers[0], world.gripper_width)
        self._recovery = ActionServer(self, self._error_recovery, (profile.franka or ITS_OWN).recovery, self._recover)
        self._start_loop()
        self.get_logger().info(f"Simulating '{profile.name}' at a belt of {world.belt_speed:g} m/s.")

    def deactivate(self) -> None:
        """Let time stand still; the world stays as it is."""
        if self._loop is not None:
            self._recovery.destroy()
        super().deactivate()
        if self._gripper is not None:
            self._gripper.close()
            self._commands.close()
            self._gripper = None

    def _check(self, profile: RobotProfile) -> None:
        if len(profile.arms) != 1 or len(profile.grippers) != 1:
            raise ConfigError(
                f"Profile '{profile.name}' has {len(profile.arms)} arms and {len(profile.grippers)} grippers, the "
                "simulated robot one arm and its hand.",
                remedy="Give a profile of one Franka with its hand.",
            )
        width, height = self.value("image_width"), self.value("image_height")
        for camera in profile.cameras:
            if camera.type != IMAGE or not camera.accepts(width, height):
                raise ConfigError(
                    f"Camera '{camera.name}' of profile '{profile.name}' is {camera.type} in {camera.sizes} px, "
                    f"the simulator's is {IMAGE} in ({width}, {height}) px.",
                    remedy="Set image_width and image_height to a size of the profile, or add the size there.",
                )

    def _set_belt_speed(self) -> None:
        if self._world is not None:
            self._world.belt_speed = float(self.value("belt_speed"))

    # -- the physics' thread ------------------------------------------------------------------------------------------

    def _step(self) -> None:
        world, gripper, loop = self._built(), self._gripper, self._loop
        assert gripper is not None
        assert loop is not None
        message = self._commands.newest()
        if message is not None and not self._rivals:
            self._take_target(message)
        world.step(self._reflex.target, gripper.target)
        gripper.step(world.gripper_width, self._base_ns + world.time_ns)
        stamp = self._tell(world, loop)
        arm, hand = self._profile.arms[0], self._profile.grippers[0]
        if loop.due(arm.state.rate_hz or TICK_HZ):
            positions, velocities = array("d", world.joint_positions), array("d", world.joint_velocities)
            joints = JointState(name=list(self._arm.joints), position=positions, velocity=velocities)
            joints.header.stamp = stamp
            self._joints.publish(joints)
        if loop.due(hand.state.rate_hz or TICK_HZ):
            self._fingers.publish(self._finger_state(world.gripper_width, stamp))
        if loop.due(TRUTH_HZ):
            self._publish_cube(world, stamp)
            self._truth.publish(world.joint_positions, [world.gripper_width], stamp)
        if loop.due(COUNTS_HZ):
            self._publish_counts("cubes", dataclasses.asdict(world.counts))
        if loop.due(ROBOT_STATE_HZ):
            self._publish_mode(stamp)

    def _take_target(self, message: JointState) -> None:
        by_name = dict(zip(message.name, message.position, strict=False))
        target = np.array([by_name.get(joint, np.nan) for joint in self._arm.joints])
        with self._reflex_lock:
            self._reflex.take(target, to_ns(message.header.stamp), self._built().joint_positions)

    def _publish_mode(self, stamp: Any) -> None:
        state = self._robot_state(robot_mode=int(self._reflex.mode))
        state.header.stamp = stamp
        flag = self._reflex.mode is RobotMode.REFLEX
        state.current_errors.joint_motion_generator_velocity_discontinuity = flag
        state.last_motion_errors.joint_motion_generator_velocity_discontinuity = self._reflex.count > 0
        self._modes.publish(state)

    def _finger_state(self, width: float, stamp: Any) -> JointState:
        gripper = self._profile.grippers[0]
        reading = gripper_reading(gripper, width)
        joints = gripper.state.joints
        message = JointState(name=list(joints), position=[reading] * len(joints))
        message.header.stamp = stamp
        return message

    def _publish_cube(self, world: BeltWorld, stamp: Any) -> None:
        cube = world.target
        if cube is not None:
            message = Odometry(child_frame_id="cube")
            message.header.stamp, message.header.frame_id = stamp, self._arm.base
            pose, twist = message.pose.pose, message.twist.twist
            pose.position.x, pose.position.y, pose.position.z = (float(v) for v in cube.position)
            turn = pose.orientation
            turn.w, turn.x, turn.y, turn.z = (float(v) for v in cube.quaternion)
            # In the base frame, not the cube's: what nav_msgs asks of a vehicle would only be turned back here.
            twist.linear.x, twist.linear.y, twist.linear.z = (float(v) for v in cube.velocity)
            self._cube.publish(message)

    # -- the renderer's thread ----------------------------------------------------------------------------------------

    def _draw(self, renderer: Renderer, snapshot: Snapshot) -> None:
        width, height = self.value("image_width"), self.value("image_height")
        for camera in self._profile.cameras:
            picture = renderer.render(snapshot, camera.name, width, height)
            self._cameras[camera.name].publish(image_to_msg(picture, snapshot.time_ns, camera.name))
            self._truth.show(camera.name, picture, snapshot.time_ns)

    # -- the executor's thread ----------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Once a second: who commands, how arm and hand are, and how fast time runs."""
        topic = self._profile.arms[0].command.topic
        self._rivals = self.count_publishers(topic) > 1
        if self._rivals:
            self._diagnostics.set("command topic", Level.ERROR, f"More than one publisher on {topic}: all are ignored.")
        else:
            self._diagnostics.set("command topic", Level.OK, "At most one publisher.")
        if self._reflex.mode is RobotMode.REFLEX:
            self._diagnostics.set("arm", Level.ERROR, "Reflex: the target has jumped. Error recovery frees the arm.")
        else:
            self._diagnostics.set("arm", Level.OK, "Follows.")
        if self._gripper is not None and self._gripper.hangs:
            self._diagnostics.set("gripper", Level.ERROR, "Hangs: goals were streamed to it. Home it.")
        else:
            self._diagnostics.set("gripper", Level.OK, "Answers.")
        super()._watch()

    def _recover(self, goal: ServerGoalHandle) -> Any:
        with self._reflex_lock:
            self._reflex.recover(self._built().joint_positions)
        goal.succeed()
        return self._error_recovery.Result()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see docs/interfaces.md."""
    return run(lambda: [SimNode()], args)


if __name__ == "__main__":
    sys.exit(main())
