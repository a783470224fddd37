"""The action node: what may move the robot, decided and sent at a fixed rate. A process of its own.

Two threads. The control loop ticks at absolute deadlines: it takes the newest joint state, gripper state and leader's
message from the middleware itself (`polled`), asks the controller for the one command of this tick and publishes it.
The executor's thread does everything that may take its time: action chunks, services, gripper goals, status and
diagnostics. One lock keeps the two apart; the executor holds it for some 100 us, a few times a second.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from f1_msgs.msg import ActionChunk as ActionChunkMsg
from f1_msgs.msg import ControlStatus, Deadman
from f1_msgs.srv import SetMode
from rclpy.clock import Clock, ClockType
from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState

from f1_ros.control.arbiter import Mode
from f1_ros.control.clock import RosClock, WallClock
from f1_ros.control.controller import Command, Controller
from f1_ros.control.loop import AtDeadline, RateLoop, Realtime, enter_realtime
from f1_ros.errors import ChunkError
from f1_ros.nodes.control_report import ControlReport
from f1_ros.nodes.conversions import chunk_from_msg, to_ns, to_time
from f1_ros.nodes.diagnostics import Diagnostics, Level
from f1_ros.nodes.gripper_client import GripperClient
from f1_ros.nodes.lifecycle import ManagedNode, run
from f1_ros.nodes.parameters import PROFILE, TRACE, NodeParameter
from f1_ros.nodes.polled import PolledSimClock, PolledSubscription
from f1_ros.nodes.qos import COMMAND
from f1_ros.nodes.realtime import schedule_process
from f1_ros.robots.adapter import adapter_for
from f1_ros.robots.profile import load_profile
from f1_ros.trace import Trace

# From the moment the robot itself has been discovered, others have this long to be: only then is it known whether
# someone else commands it. Participants announce themselves every 3 s; on a loaded machine an announcement may be lost.
DISCOVERY_S = 3.5
WATCH_PERIOD_S = 0.5
GRACE_S = 2.0
"""After the start nothing is called missing for so long: a system's nodes come up and find each other meanwhile."""
BRAKE_WITHIN_S = 0.8
"""On the way out the arm is braked for no longer than this: at 2.6 rad/s and 10 rad/s^2 it takes 0.3 s."""
AT_REST = 1e-3  # rad/s


def refuse_mode(text: str) -> str | None:
    """Say why an initial mode is refused, or None."""
    return None if text in ("hold", "teleop", "policy") else f"'{text}' is none of hold, teleop, policy."


PARAMETERS = (
    PROFILE,
    NodeParameter("control_rate", 0.0, "Commands per second, Hz; 0: the profile's.", lower=0.0, upper=1000.0),
    NodeParameter(
        "initial_mode",
        "hold",
        "Mode that the node asks of itself, until it is granted or someone asks for another: hold, teleop or policy.",
        check=refuse_mode,
    ),
    NodeParameter(
        "realtime_priority",
        50,
        "SCHED_FIFO priority of the control loop where the system permits it (its other threads: 10 less); "
        "0: ordinary scheduling.",
        lower=0,
        upper=99,
    ),
    TRACE,
)


class ActionNode(ManagedNode):
    """Commands the robot; see docs/interfaces.md."""

    def __init__(self) -> None:
        """Create the node."""
        super().__init__("action_node", PARAMETERS)
        self._lock = threading.Lock()
        self._diagnostics: Diagnostics | None = None
        self._loop_thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._polled: list[PolledSubscription[Any] | PolledSimClock] = []
        self._grippers: dict[str, GripperClient] = {}
        self._commands: dict[str, tuple[Publisher, JointState]] = {}
        self._undo: list[Callable[[], object]] = []

    # -- life cycle ---------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        """Load the profile and make the controller."""
        self._profile = profile = load_profile(self.value("profile"))
        self._adapter = adapter_for(profile)
        self._rate_hz = self.value("control_rate") or profile.rates.control
        Controller(profile, self._rate_hz)  # whatever is wrong with it, say so now
        self._diagnostics = Diagnostics(self, profile.name)
        self._status_publisher = self.create_publisher(ControlStatus, "status", COMMAND)
        self._service = self.create_service(SetMode, "set_mode", self._on_set_mode)
        self._trace = self.open_trace()

    def activate(self) -> None:
        """Start the loop in HOLD; commands go out once it is known that no one else sends any."""
        profile, diagnostics = self._profile, self._diagnostics
        assert diagnostics is not None
        self._controller = Controller(profile, self._rate_hz)
        self._now_ns = 0
        self._widths: dict[str, tuple[float, int]] = {}
        self._rivals: set[str] = set()
        self._robot_found = False
        self._active_s = self._clear_since_s = time.monotonic()
        self._wanted_mode: Mode | None = Mode[str(self.value("initial_mode")).upper()]
        self._realtime: Realtime | None = None
        self._sim_clock = PolledSimClock(self) if self.value("use_sim_time") else None
        clock: RosClock = self._sim_clock or WallClock()
        self._loop = RateLoop(self._controller.period_ns, clock, window=round(10.0 * self._rate_hz))
        self._arm_states = [PolledSubscription(self, JointState, arm.state.topic) for arm in profile.arms]
        self._gripper_states = [(g.name, PolledSubscription(self, JointState, g.state.topic)) for g in profile.grippers]
        self._leader = PolledSubscription(self, JointState, "teleop/joint_command")
        self._deadman = PolledSubscription(self, Deadman, "teleop/deadman", COMMAND)
        self._polled = [*self._arm_states, *(p for _, p in self._gripper_states), self._leader, self._deadman]
        self._polled += [self._sim_clock] if self._sim_clock else []
        self._grippers = {g.name: GripperClient(self, g.name, g.command.action, diagnostics) for g in profile.grippers}
        self._report = ControlReport(profile, self._controller, self._loop)
        on_chunk: Callable[..., None] = self._on_chunk
        if self._trace is not None:
            on_chunk = partial(self._on_traced_chunk, self._trace)
        self._commanded_ns = 0
        self._chunks = self.create_subscription(ActionChunkMsg, "action_chunk", on_chunk, COMMAND)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # a simulation that stands still is no reason to say nothing
        self._periodic = [
            self.create_timer(1.0 / profile.rates.status, self._publish_status, clock=steady),
            self.create_timer(WATCH_PERIOD_S, self._watch, clock=steady),
        ]
        self._stop.clear()
        self._loop_thread = threading.Thread(target=self._run_loop, name="control loop")
        self._loop_thread.start()

    def deactivate(self) -> None:
        """Brake to rest and stop commanding; an impedance or position controller then holds the last command."""
        if self._loop_thread is not None:
            self._brake()
            self._stop.set()
            self._loop_thread.join()
            self._loop_thread = None
            for timer in self._periodic:
                self.destroy_timer(timer)
            self.destroy_subscription(self._chunks)
        for polled in self._polled:
            polled.close()
        for gripper in self._grippers.values():
            gripper.close()
        for publisher, _ in self._commands.values():
            self.destroy_publisher(publisher)
        self._polled, self._grippers, self._commands = [], {}, {}

    def cleanup(self) -> None:
        """Forget the profile."""
        if self._diagnostics is not None:
            self._diagnostics.close()
            self.destroy_publisher(self._status_publisher)
            self.destroy_service(self._service)
            self._diagnostics = None

    def _brake(self) -> None:
        with self._lock:
            self._controller.request_mode(Mode.HOLD, self._now_ns)
        end = time.monotonic() + BRAKE_WITHIN_S
        while self._commands and time.monotonic() < end:
            with self._lock:
                velocity = self._controller.commanded_velocity
            if velocity is None or abs(velocity).max() < AT_REST:
                return
            time.sleep(0.01)

    # -- the control loop's thread ------------------------------------------------------------------------------------

    def _run_loop(self) -> None:
        try:
            priority = self.value("realtime_priority")
            if priority:
                schedule_process(max(1, priority - 10))
                self._realtime = enter_realtime(priority)
            else:
                self._realtime = Realtime(False, False, "realtime_priority is 0")
            self._loop.run(self._tick, self._stop.is_set)
        finally:
            gc.unfreeze()
            if not self._stop.is_set():
                # Without its loop the process is of no use: it ends, is seen to have ended, and the robot holds.
                self.get_logger().fatal(f"The control loop failed:\n{traceback.format_exc()}")
                sys.stderr.flush()
                os._exit(1)

    def _tick(self, now_ns: int, at_deadline: AtDeadline) -> None:
        with self._lock:
            self._now_ns = now_ns
            self._take_states(now_ns)
            command = self._controller.tick(now_ns, sending=bool(self._commands))
        if not self._commands:
            self._loop.begin_account()  # what is late now, no robot sees
        if command is None:
            at_deadline()
            return
        self._send(command, now_ns, at_deadline)
        if self._trace is not None:
            self._trace_command(self._trace, command)

    def _take_states(self, now_ns: int) -> None:
        controller = self._controller
        for state in self._arm_states:
            if (msg := state.newest()) is not None:
                controller.on_joint_state(msg.name, msg.position, msg.velocity, now_ns, to_ns(msg.header.stamp))
        for name, state in self._gripper_states:
            if (msg := state.newest()) is not None:
                width = self._adapter.gripper_width(name, msg.name, msg.position)
                if width is not None:
                    self._widths[name] = (width, now_ns)
        if (deadman := self._deadman.newest()) is not None:
            controller.on_deadman(deadman.held, now_ns, to_ns(deadman.header.stamp))
        if (msg := self._leader.newest()) is not None:
            controller.on_teleop(msg.name, msg.position, now_ns, to_ns(msg.header.stamp))

    def _send(self, command: Command, now_ns: int, at_deadline: AtDeadline) -> None:
        # The only place from which anything is sent to the robot; a `Command` comes out of the limiter alone.
        # As bytes: made of the message at the deadline, they are up to 0.8 ms late in one of a hundred ticks.
        sends = []
        for arm in self._adapter.arm_commands(command.position, command.velocity):
            if arm.topic in self._commands:
                publisher, message = self._commands[arm.topic]
                message.header.stamp = to_time(now_ns)
                message.position = array("d", arm.positions)
                message.velocity = array("d", arm.velocities)
                sends.append(partial(publisher.handle.publish_raw, serialize_message(message)))
        at_deadline(*sends)
        for name, width in command.grippers.items():
            self._grippers[name].command(self._adapter.gripper_goal(name, width))

    def _trace_command(self, trace: Trace, command: Command) -> None:
        stamp_ns = self._controller.chunk_stamp_ns
        if command.mode is Mode.POLICY and stamp_ns is not None and stamp_ns != self._commanded_ns:
            self._commanded_ns = stamp_ns
            trace.mark("commanded", stamp_ns)

    # -- the executor's thread ----------------------------------------------------------------------------------------

    def _on_traced_chunk(self, trace: Trace, msg: ActionChunkMsg, info: dict[str, int]) -> None:
        stamp_ns = to_ns(msg.header.stamp)
        trace.mark_system("chunk sent", stamp_ns, info["source_timestamp"])
        trace.mark_system("chunk received", stamp_ns, info["received_timestamp"])
        self._on_chunk(msg)
        trace.mark("chunk taken", stamp_ns)

    def _on_chunk(self, msg: ActionChunkMsg) -> None:
        try:
            chunk = chunk_from_msg(msg)
        except ChunkError as error:
            with self._lock:
                self._controller.on_invalid_command(Mode.POLICY, error.problem)
            return
        with self._lock:
            self._controller.on_chunk(chunk, self._now_ns)

    def _on_set_mode(self, request: SetMode.Request, response: SetMode.Response) -> SetMode.Response:
        if self._loop_thread is None:
            response.message = "The node is not active. Remedy: activate it."
            return response
        if request.mode not in set(Mode):
            known = ", ".join(f"{mode.value} {mode.name}" for mode in Mode)
            response.message = f"There is no mode {request.mode}. Remedy: use one of {known}."
            response.mode = self._controller.mode
            return response
        self._wanted_mode = None
        response.success, response.message, response.mode = self._request(Mode(request.mode))
        return response

    def _request(self, mode: Mode) -> tuple[bool, str, int]:
        leaves_fault = mode is Mode.HOLD and self._controller.mode is Mode.FAULT
        if (mode not in (Mode.HOLD, Mode.FAULT) and not self._commands) or (leaves_fault and self._rivals):
            remedy = "end the other node, then ask again." if self._rivals else "ask again in a second."
            return False, f"{self._silence_reason()} Remedy: {remedy}", self._controller.mode
        with self._lock:
            before = self._controller.mode
            reply = self._controller.request_mode(mode, self._now_ns)
        if reply.mode is not before:
            self.get_logger().info(f"{before.name} -> {reply.mode.name}, as asked.")
        return reply.success, reply.message, reply.mode

    def _silence_reason(self) -> str:
        if self._rivals:
            return f"{', '.join(sorted(self._rivals))} already commands the robot."
        if not self._robot_found:
            return f"No joint state yet on {', '.join(arm.state.topic for arm in self._profile.arms)}."
        return "Looking for others that command the robot."

    def _watch(self) -> None:
        """Twice a second: rivals, the initial mode, grippers and diagnostics."""
        self._look_for_rivals()
        if self._wanted_mode is not None and self._commands and self._request(self._wanted_mode)[0]:
            self._wanted_mode = None
        if time.monotonic() - self._active_s < GRACE_S:
            return
        for gripper in self._grippers.values():
            gripper.step()
        with self._lock:
            report = self._report.diagnoses(self._now_ns, self._widths)
        assert self._diagnostics is not None
        for part, level, message, values in report:
            self._diagnostics.set(part, level, message, values)
        if self._realtime is not None:
            level = Level.OK if self._realtime.fifo else Level.WARN
            self._diagnostics.set("scheduling", level, self._realtime.detail or "SCHED_FIFO, memory locked.")

    def _look_for_rivals(self) -> None:
        """Two nodes on one command topic fight over the arm, and some controllers then ignore both."""
        now_s = time.monotonic()
        rivals = {name for arm in self._profile.arms for name in self._others_on(arm.command.topic)}
        if rivals and not self._rivals:
            with self._lock:
                self._controller.on_rival(f"{', '.join(sorted(rivals))} publishes on the command topic as well")
        self._rivals = rivals
        assert self._diagnostics is not None
        if rivals:
            self._clear_since_s = now_s
            message = f"Also commanded by {', '.join(sorted(rivals))}."
            self._diagnostics.set("command topic", Level.ERROR, message, {"remedy": "End the other node."})
            return
        self._diagnostics.set("command topic", Level.OK, "Commanded by this node alone.")
        self._robot_found = all(self.count_publishers(arm.state.topic) for arm in self._profile.arms)
        if not self._robot_found and not self._commands:
            self._clear_since_s = now_s
        elif not self._commands and now_s - self._clear_since_s > DISCOVERY_S:
            for arm in self._profile.arms:
                message = JointState(name=[joint.name for joint in arm.joints])
                self._commands[arm.command.topic] = (
                    self.create_publisher(JointState, arm.command.topic, COMMAND),
                    message,
                )

    def _others_on(self, topic: str) -> list[str]:
        me = self.get_name(), self.get_namespace()
        infos = self.get_publishers_info_by_topic(topic)
        own = 1 if topic in self._commands else 0
        names = [
            f"{i.node_namespace.rstrip('/')}/{i.node_name}" for i in infos if (i.node_name, i.node_namespace) != me
        ]
        return names + [f"a second {self.get_fully_qualified_name()}"] * (len(infos) - len(names) > own)

    def _publish_status(self) -> None:
        with self._lock:
            status = self._report.status(self._now_ns, self._widths, self._realtime is not None and self._realtime.fifo)
        if not self._commands and (self._robot_found or self._rivals):
            status.reason = self._silence_reason()
        self._status_publisher.publish(status)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see docs/interfaces.md."""
    return run(lambda: [ActionNode()], args)


if __name__ == "__main__":
    sys.exit(main())
