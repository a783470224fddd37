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
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from f1_msgs.msg import ActionChunk as ActionChunkMsg
from f1_msgs.msg import ControlStatus, Deadman
from f1_msgs.srv import SetMode
from rclpy.clock import Clock, ClockType
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState

from f1_ros.control.ahead import Ahead
from f1_ros.control.arbiter import Cause, Mode
from f1_ros.control.clock import RosClock, WallClock
from f1_ros.control.command import Command
from f1_ros.control.controller import Controller
from f1_ros.control.loop import AtDeadline, RateLoop, Realtime, enter_realtime
from f1_ros.control.streamed import StreamedValues
from f1_ros.errors import ChunkError
from f1_ros.nodes.command_topics import CommandTopics
from f1_ros.nodes.control_report import ControlReport
from f1_ros.nodes.conversions import chunk_from_msg, to_ns
from f1_ros.nodes.diagnostics import Diagnostics, Level
from f1_ros.nodes.gripper_client import GripperClient
from f1_ros.nodes.interfaces import interface
from f1_ros.nodes.lifecycle import ManagedNode, run
from f1_ros.nodes.parameters import PROFILE, TRACE, NodeParameter
from f1_ros.nodes.polled import PolledSimClock, PolledSubscription
from f1_ros.nodes.qos import COMMAND
from f1_ros.nodes.realtime import schedule_process
from f1_ros.nodes.robot_requests import RobotRequests
from f1_ros.nodes.robot_watch import RobotWatch
from f1_ros.robots.choose import transport_for
from f1_ros.robots.profile import load_profile
from f1_ros.robots.transport import Targets
from f1_ros.trace import Trace

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
        self._undo: list[Callable[[], object]] = []

    # -- life cycle ---------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        """Load the profile and make the controller."""
        self._profile = profile = load_profile(self.value("profile"), simulated=self.value("use_sim_time"))
        self._transport = transport_for(profile)
        for kind in self._transport.types:
            interface(kind)  # a vendor's package that is missing is told now, before anything moves
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
        self._told: dict[str, float] = {}
        self._active_s = time.monotonic()
        self._wanted_mode: Mode | None = Mode[str(self.value("initial_mode")).upper()]
        self._realtime: Realtime | None = None
        self._sim_clock = PolledSimClock(self) if self.value("use_sim_time") else None
        clock: RosClock = self._sim_clock or WallClock()
        self._loop = RateLoop(self._controller.period_ns, clock, window=round(10.0 * self._rate_hz))
        transport = self._transport
        self._streamed = StreamedValues(transport.streams, self._controller.period_ns * 1e-9)
        self._ahead = Ahead(self._controller, transport.trajectory_hz) if transport.trajectory_hz else None
        self._states = [(s, PolledSubscription(self, interface(s.type), s.topic)) for s in transport.incoming]
        self._leader = PolledSubscription(self, JointState, "teleop/joint_command")
        self._deadman = PolledSubscription(self, Deadman, "teleop/deadman", COMMAND)
        self._grippers = {
            name: GripperClient(self, name, actions, diagnostics) for name, actions in transport.gripper_actions.items()
        }
        self._undo = [p.close for p in (self._leader, self._deadman, *(p for _, p in self._states))]
        self._undo += [gripper.close for gripper in self._grippers.values()]
        if self._sim_clock is not None:
            self._undo.append(self._sim_clock.close)
        self._robot = RobotWatch(self, profile, transport, diagnostics)
        self._commands = CommandTopics(self, transport, self._robot, diagnostics)
        self._requests = RobotRequests(self, transport, self._request_obstacle, self._withhold)
        self._undo += [self._robot.close, self._commands.close, self._requests.close]
        self._withheld = ""
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
        undo, self._undo = self._undo, []
        for step in undo:
            step()

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
        while self._sends and time.monotonic() < end:
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
            sending = self._sends
            self._take_states(now_ns, sending)
            command = self._controller.tick(now_ns, sending=sending)
        if not sending:
            self._loop.begin_account()  # what is late now, no robot sees
        if command is None or not sending:
            at_deadline()
            return
        self._send(command, now_ns, at_deadline)
        if self._trace is not None:
            self._trace_command(self._trace, command)

    def _take_states(self, now_ns: int, sending: bool) -> None:
        controller = self._controller
        for source, state in self._states:
            if (msg := state.newest()) is None:
                continue
            reading = self._transport.read(source.topic, msg)
            if source.joints:
                stamp_ns = to_ns(msg.header.stamp)
                controller.on_joint_state(reading.names, reading.positions, reading.velocities, now_ns, stamp_ns)
            for name, value in self._transport.streamed(source.topic, reading).items():
                self._widths[name] = (value, now_ns)
                self._streamed.measured(name, value, follow=not sending)
        if (deadman := self._deadman.newest()) is not None:
            controller.on_deadman(deadman.held, now_ns, to_ns(deadman.header.stamp))
        if (msg := self._leader.newest()) is not None:
            controller.on_teleop(msg.name, msg.position, now_ns, to_ns(msg.header.stamp))

    def _send(self, command: Command, now_ns: int, at_deadline: AtDeadline) -> None:
        # The only place from which targets are sent to the robot; a `Command` comes out of the limiter alone.
        # As bytes: made of the message at the deadline, they are up to 0.8 ms late in one of a hundred ticks.
        streamed = self._streamed.step(self._controller.gripper_commanded)
        targets = Targets(command.position, command.velocity, streamed)
        sends = []
        for out in self._transport.command_messages(targets):
            publisher, message = self._commands.filled(out, now_ns)
            sends.append(partial(publisher.handle.publish_raw, serialize_message(message)))
        at_deadline(*sends)
        if self._ahead is not None and self._ahead.due():
            path = self._ahead.path(command, now_ns)
            for out in self._transport.command_messages(replace(targets, path=path, step_s=self._ahead.step_s)):
                publisher, message = self._commands.filled(out, 0)  # stamp 0: from its arrival on
                publisher.publish(message)
        for name, width in command.grippers.items():
            if name in self._grippers:
                before = self._told.get(name, self._widths.get(name, (width, 0))[0])
                self._told[name] = width
                self._grippers[name].command(self._transport.gripper_goal(name, width, before))

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
        moves, leaves_fault = mode not in (Mode.HOLD, Mode.FAULT), self._controller.mode is Mode.FAULT
        blocked = self._commands.rivals or self._robot.trouble or self._requests.under_way
        if (moves and not self._sends) or (mode is Mode.HOLD and leaves_fault and blocked):
            return False, f"{self._silence_reason()} Remedy: {self._silence_remedy()}", self._controller.mode
        with self._lock:
            before = self._controller.mode
            reply = self._controller.request_mode(mode, self._now_ns)
            if mode is Mode.HOLD and reply.success and not blocked:
                self._withheld = ""
        if reply.mode is not before:
            self.get_logger().info(f"{before.name} -> {reply.mode.name}, as asked.")
        return reply.success, reply.message, reply.mode

    @property
    def _sends(self) -> bool:
        """Commands go out."""
        return self._commands.open and not self._withheld and not self._streamed.missing

    def _request_obstacle(self, name: str) -> str:
        """Requests to the robot itself: not while the arm moves or is commanded to."""
        mode, velocity = self._controller.mode, self._controller.commanded_velocity
        if self._commands.rivals:
            return f"{self._silence_reason()} Remedy: {self._silence_remedy()}"
        if mode not in (Mode.HOLD, Mode.FAULT) or (velocity is not None and abs(velocity).max() > AT_REST):
            return f"The arm is moved in {mode.name}. Remedy: ask for HOLD, then for '{name}'."
        return ""

    def _withhold(self, reason: str) -> None:
        """Send nothing from now on, until HOLD is asked for; the command then begins at the measured joints."""
        with self._lock:
            self._withheld = reason

    def _silence_reason(self) -> str:
        if self._commands.rivals or not self._commands.open:
            return self._commands.reason()
        if self._withheld:
            return f"Nothing is sent: {self._withheld}."
        if self._requests.under_way:
            return f"'{self._requests.under_way}' is under way."
        return f"{', '.join(self._streamed.missing)} not measured yet."

    def _silence_remedy(self) -> str:
        if self._commands.rivals:
            return "end the other node, then ask again."
        if self._robot.trouble:
            return f"{self._robot.remedy} Then ask for HOLD."
        if self._withheld:
            return "ask for HOLD once the arm is where it may be held."
        return "ask again in a second."

    def _watch(self) -> None:
        """Twice a second: rivals, the initial mode, grippers and diagnostics."""
        rivals = self._commands.look()
        if rivals:
            with self._lock:
                self._controller.on_trouble(Cause.RIVAL, rivals)
        if self._controller.estranged and not self._withheld:  # what the robot itself has said comes first
            self._withhold(self._controller.reason)
        if self._wanted_mode is not None and self._commands.open and self._request(self._wanted_mode)[0]:
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

    def _publish_status(self) -> None:
        if (trouble := self._robot.look(self._commands.open)) and trouble != self._withheld:
            with self._lock:
                self._controller.on_trouble(Cause.ROBOT, trouble)
                self._withheld = trouble
        with self._lock:
            status = self._report.status(self._now_ns, self._widths, self._realtime is not None and self._realtime.fifo)
        if not self._sends and (self._commands.robot_found or self._commands.rivals):
            status.reason = self._silence_reason()
        self._status_publisher.publish(status)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see docs/interfaces.md."""
    return run(lambda: [ActionNode()], args)


if __name__ == "__main__":
    sys.exit(main())
