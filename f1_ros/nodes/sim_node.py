"""The simulated robot: the belt world behind exactly the topics and types of the real robot's profile, and `/clock`.

Three threads. The physics steps every 10 ms of simulated time at absolute deadlines and publishes what joints and
clock say; the renderer draws snapshots of the world (MuJoCo lets go of the interpreter's lock meanwhile) and publishes
the newest one only; the executor's thread serves the gripper's action. As a real robot, the arm keeps its last target
when commands stop, and its controller ignores commands while more than one node publishes them.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import queue
import sys
import threading
import time
import traceback
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rosgraph_msgs.msg import Clock as ClockMsg
from sensor_msgs.msg import Image, JointState

from f1_ros.control.loop import SystemMonotonic, enter_realtime
from f1_ros.errors import ConfigError
from f1_ros.nodes.conversions import image_to_msg, to_time
from f1_ros.nodes.diagnostics import Diagnostics, Level
from f1_ros.nodes.lifecycle import ManagedNode, run
from f1_ros.nodes.parameters import PROFILE, NodeParameter
from f1_ros.nodes.polled import PolledSubscription
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.nodes.realtime import schedule_process
from f1_ros.nodes.sim_gripper import SimGripper
from f1_ros.nodes.sim_truth import SimTruth
from f1_ros.nodes.sim_view import View, open_view
from f1_ros.robots.parts import IMAGE
from f1_ros.robots.profile import RobotProfile, load_profile
from f1_ros.sim.camera import Snapshot, open_renderer
from f1_ros.sim.config import load_belt_config
from f1_ros.sim.scene import ARM_JOINTS, TICK_NS
from f1_ros.sim.world import BeltWorld

TICK_HZ = 100.0
BEHIND_S = 0.2  # so far behind its deadlines, the simulation lets time go instead of running after it
BASE_FRAME = "fr3_link0"

PARAMETERS = (
    PROFILE,
    NodeParameter("config", "", "Belt configuration, a YAML file; empty: the packaged config/sim/belt.yaml."),
    NodeParameter("seed", 0, "Seed of the hand's start and of all cubes.", lower=0, upper=2**31 - 1),
    NodeParameter("belt_speed", 0.15, "Speed of the belt towards +y, m/s.", lower=-1.0, upper=1.0, live=True),
    NodeParameter("cubes", True, "Cubes come onto the belt by themselves, one after the other."),
    NodeParameter("real_time_factor", 1.0, "Simulated seconds per second.", lower=0.01, upper=20.0),
    NodeParameter("clock_rate", 50.0, "/clock, Hz of simulated time.", lower=10.0, upper=100.0),
    NodeParameter("camera_rate", 20.0, "Pictures, Hz of simulated time.", lower=1.0, upper=50.0),
    NodeParameter("image_width", 96, "Width of the pictures, px.", lower=16, upper=1280),
    NodeParameter("image_height", 96, "Height of the pictures, px.", lower=16, upper=1280),
    NodeParameter(
        "renderer",
        "ray",
        "What draws the pictures: ray, which policies are trained on, egl, or auto for egl where there is one.",
        check=lambda kind: None if kind in ("ray", "egl", "auto") else f"'{kind}' is none of ray, egl, auto.",
    ),
    NodeParameter(
        "realtime_priority",
        30,
        "SCHED_FIFO priority of the physics where the system permits it (a real robot keeps its time however busy the "
        "computer is; the process's other threads get 10 less); 0: ordinary scheduling.",
        lower=0,
        upper=99,
    ),
    NodeParameter("view", False, "Open MuJoCo's viewer; needs a display."),
)


class SimNode(ManagedNode):
    """The simulated Franka at its belt; see docs/interfaces.md."""

    def __init__(self) -> None:
        """Create the node."""
        super().__init__("sim_node", PARAMETERS)
        self._world: BeltWorld | None = None
        self._diagnostics: Diagnostics | None = None
        self._gripper: SimGripper | None = None
        self._view: View | None = None
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._base_ns = 0
        self.add_post_set_parameters_callback(lambda _: self._set_belt_speed())

    def configure(self) -> None:
        """Build the world."""
        self._profile = profile = load_profile(self.value("profile"), simulated=True)
        self._check(profile)
        config = load_belt_config(Path(self.value("config")) if self.value("config") else None)
        self._world = BeltWorld(config, stream=self.value("cubes"))
        self._world.reset(self.value("seed"))
        self._set_belt_speed()
        arm, gripper = profile.arms[0], profile.grippers[0]
        self._clock_publisher = self.create_publisher(ClockMsg, "/clock", SENSOR)
        self._joints = self.create_publisher(JointState, arm.state.topic, COMMAND)
        self._fingers = self.create_publisher(JointState, gripper.state.topic, COMMAND)
        self._cameras = {c.name: self.create_publisher(Image, c.topic, SENSOR) for c in profile.cameras}
        self._cube = self.create_publisher(Odometry, "/f1_sim/cube", SENSOR)
        self._counts = self.create_publisher(DiagnosticStatus, "/f1_sim/counts", COMMAND)
        cameras = [camera.name for camera in profile.cameras]
        self._truth = SimTruth(self, self._world.scene.model, ARM_JOINTS, [gripper.name], cameras)
        self._diagnostics = Diagnostics(self, profile.name)
        if self.value("view"):
            self._view = open_view(self._world.scene)

    def activate(self) -> None:
        """Let time run."""
        world = self._built()
        profile = self._profile
        self._stop.clear()
        self._target = world.joint_positions
        self._target_gripper = world.gripper_width
        self._rivals = False
        self._ticks = self._pictures = 0
        self._said = (time.monotonic(), 0, 0)
        self._snapshots: queue.Queue[Snapshot] = queue.Queue(maxsize=1)
        self._commands = PolledSubscription(self, JointState, profile.arms[0].command.topic, COMMAND)
        self._gripper = SimGripper(self, profile.grippers[0], world.gripper_width)
        self._timer = self.create_timer(1.0, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._threads = [
            threading.Thread(target=self._or_die, args=(loop,), name=loop.__name__)
            for loop in (self._run_physics, self._run_renderer)
        ]
        for thread in self._threads:
            thread.start()
        self.get_logger().info(f"Simulating '{profile.name}' at a belt of {world.belt_speed:g} m/s.")

    def deactivate(self) -> None:
        """Let time stand still; the world stays as it is."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads = []
        if self._gripper is not None:
            self._gripper.close()
            self._commands.close()
            self.destroy_timer(self._timer)
            self._gripper = None

    def cleanup(self) -> None:
        """Free the world; time goes on from here if another one is built."""
        if self._view is not None:
            self._view.close()
            self._view = None
        if self._diagnostics is not None:
            self._diagnostics.close()
            self._diagnostics = None
            for publisher in (self._clock_publisher, self._joints, self._fingers, self._cube, self._counts):
                self.destroy_publisher(publisher)
            for publisher in self._cameras.values():
                self.destroy_publisher(publisher)
            self._truth.close()
        if self._world is not None:
            self._base_ns += self._world.time_ns
            self._world = None

    def _check(self, profile: RobotProfile) -> None:
        if len(profile.arms) != 1 or len(profile.grippers) != 1 or profile.joints != ARM_JOINTS:
            raise ConfigError(
                f"Profile '{profile.name}' is not of the simulated robot: one FR3 arm and its hand.",
                remedy=f"Give the Franka's profile; its joints are {', '.join(ARM_JOINTS)}.",
            )
        width, height = self.value("image_width"), self.value("image_height")
        for camera in profile.cameras:
            if camera.type != IMAGE or not camera.accepts(width, height):
                raise ConfigError(
                    f"Camera '{camera.name}' of profile '{profile.name}' is {camera.type} in {camera.sizes} px, "
                    f"the simulator's is {IMAGE} in ({width}, {height}) px.",
                    remedy="Set image_width and image_height to a size of the profile, or add the size there.",
                )

    def _built(self) -> BeltWorld:
        if self._world is None:
            raise ConfigError("The simulated world is not built.", remedy="Configure the node first.")
        return self._world

    def _set_belt_speed(self) -> None:
        if self._world is not None:
            self._world.belt_speed = float(self.value("belt_speed"))

    def _or_die(self, loop: Any) -> None:
        try:
            loop()
        finally:
            gc.unfreeze()
            if not self._stop.is_set():
                self.get_logger().fatal(f"The simulation failed:\n{traceback.format_exc()}")
                sys.stderr.flush()
                os._exit(1)

    # -- the physics' thread ------------------------------------------------------------------------------------------

    def _run_physics(self) -> None:
        if self.value("realtime_priority"):
            schedule_process(max(1, self.value("realtime_priority") - 10))
            enter_realtime(self.value("realtime_priority"))
        monotonic, period_ns = SystemMonotonic(), round(TICK_NS / self.value("real_time_factor"))
        deadline_ns = monotonic.now_ns()
        while not self._stop.is_set():
            self._step()
            deadline_ns = max(deadline_ns + period_ns, monotonic.now_ns() - round(BEHIND_S * 1e9))
            monotonic.sleep_until(deadline_ns)

    def _step(self) -> None:
        world, gripper = self._built(), self._gripper
        assert gripper is not None
        message = self._commands.newest()
        if message is not None and not self._rivals:
            self._take_target(message)
        world.step(self._target, gripper.target)
        self._ticks += 1
        now_ns = self._base_ns + world.time_ns
        gripper.step(world.gripper_width, now_ns)
        stamp = to_time(now_ns)
        if self._due(self.value("clock_rate")):
            self._clock_publisher.publish(ClockMsg(clock=stamp))
        arm, hand = self._profile.arms[0], self._profile.grippers[0]
        if self._due(arm.state.rate_hz or TICK_HZ):
            positions, velocities = array("d", world.joint_positions), array("d", world.joint_velocities)
            joints = JointState(name=list(ARM_JOINTS), position=positions, velocity=velocities)
            joints.header.stamp = stamp
            self._joints.publish(joints)
        if self._due(hand.state.rate_hz or TICK_HZ):
            self._fingers.publish(self._finger_state(world.gripper_width, stamp))
        if self._due(self.value("camera_rate")):
            self._offer(dataclasses.replace(world.snapshot(), time_ns=now_ns))
        if self._due(50.0):
            self._publish_cube(world, stamp)
            self._truth.publish(world.joint_positions, [world.gripper_width], stamp)

    def _due(self, rate_hz: float) -> bool:
        """Whether what comes at this rate comes in this tick."""
        return int(self._ticks * rate_hz / TICK_HZ) != int((self._ticks - 1) * rate_hz / TICK_HZ)

    def _take_target(self, message: JointState) -> None:
        by_name = dict(zip(message.name, message.position, strict=False))
        target = np.array([by_name.get(joint, np.nan) for joint in ARM_JOINTS])
        if np.isfinite(target).all():
            self._target = target

    def _finger_state(self, width: float, stamp: Any) -> JointState:
        gripper, state = self._profile.grippers[0], self._profile.grippers[0].state
        assert state.closed is not None  # a profile with an open value is not loaded
        assert state.open is not None
        total = state.closed + (width - gripper.closed) / (gripper.open - gripper.closed) * (state.open - state.closed)
        message = JointState(name=list(state.joints), position=[total / len(state.joints)] * len(state.joints))
        message.header.stamp = stamp
        return message

    def _offer(self, snapshot: Snapshot) -> None:
        try:
            self._snapshots.put_nowait(snapshot)
        except queue.Full:
            return  # the renderer is behind: this picture is left out, as a camera that is too slow leaves out frames

    def _publish_cube(self, world: BeltWorld, stamp: Any) -> None:
        cube = world.target
        if cube is not None:
            message = Odometry(child_frame_id="cube")
            message.header.stamp, message.header.frame_id = stamp, BASE_FRAME
            pose, twist = message.pose.pose, message.twist.twist
            pose.position.x, pose.position.y, pose.position.z = (float(v) for v in cube.position)
            turn = pose.orientation
            turn.w, turn.x, turn.y, turn.z = (float(v) for v in cube.quaternion)
            # In the base frame, not the cube's: what nav_msgs asks of a vehicle would only be turned back here.
            twist.linear.x, twist.linear.y, twist.linear.z = (float(v) for v in cube.velocity)
            self._cube.publish(message)
        if self._ticks % 10 == 0:
            counts = dataclasses.asdict(world.counts)
            values = [KeyValue(key=name, value=str(count)) for name, count in counts.items()]
            self._counts.publish(DiagnosticStatus(name="cubes", message="since the start", values=values))

    # -- the renderer's thread ----------------------------------------------------------------------------------------

    def _run_renderer(self) -> None:
        renderer = open_renderer(self._built().scene, self.value("renderer"))
        width, height = self.value("image_width"), self.value("image_height")
        try:
            while not self._stop.is_set():
                try:
                    snapshot = self._snapshots.get(timeout=0.1)
                except queue.Empty:
                    continue
                for camera in self._profile.cameras:
                    picture = renderer.render(snapshot, camera.name, width, height)
                    message = image_to_msg(picture, snapshot.time_ns, camera.name)
                    self._cameras[camera.name].publish(message)
                    self._truth.show(camera.name, message)
                self._pictures += 1
                if self._view is not None:
                    self._view.show(snapshot)
        finally:
            renderer.close()

    # -- the executor's thread ----------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Once a second: who commands, and how fast time runs."""
        topic = self._profile.arms[0].command.topic
        self._rivals = self.count_publishers(topic) > 1
        assert self._diagnostics is not None
        if self._rivals:
            self._diagnostics.set("command topic", Level.ERROR, f"More than one publisher on {topic}: all are ignored.")
        else:
            self._diagnostics.set("command topic", Level.OK, "At most one publisher.")
        now_s, ticks, pictures = time.monotonic(), self._ticks, self._pictures
        then_s, ticks_then, pictures_then = self._said
        self._said = now_s, ticks, pictures
        factor = (ticks - ticks_then) * TICK_NS * 1e-9 / (now_s - then_s)
        wanted = float(self.value("real_time_factor"))
        values = {"real-time factor": factor, "pictures Hz": (pictures - pictures_then) / (now_s - then_s)}
        if factor < 0.9 * wanted:
            self._diagnostics.set("time", Level.WARN, "Slower than asked for: the machine is too busy.", values)
        else:
            self._diagnostics.set("time", Level.OK, "Runs as asked for.", values)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see docs/interfaces.md."""
    return run(lambda: [SimNode()], args)


if __name__ == "__main__":
    sys.exit(main())
