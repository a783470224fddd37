"""The life cycle that all nodes share, and the process around them.

Who calls what, and when:

    main()            builds the nodes and hands them to `run`
    run()             with `autostart` configures and activates them, spins, and ends them on SIGINT or SIGTERM
    ManagedNode       turns the life-cycle transitions into four hooks that a node overrides:
        configure()   load and validate everything, create publishers; may take long; raises F1Error
        activate()    subscribe, start threads and timers
        deactivate()  undo `activate`
        cleanup()     undo `configure`; also after a `configure` that failed half-way

A node that cannot be configured stays unconfigured and says why; with `autostart` its process then ends with status 2.
A process that stands still on the way ends with status 1 and the stacks of its threads, so that it is started anew.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from f1_ros.errors import ConfigError, F1Error
from f1_ros.nodes.parameters import NodeParameter, declare
from f1_ros.trace import Trace

NAMESPACE = "f1"
"""Namespace of the nodes; their own topics are relative to it, so that a second robot needs only another one."""

END_WITHIN_S = 2.0
"""A process that has not ended by itself this long after the signal is ended hard: no one may have to kill it."""

BUILT_WITHIN_S = 60.0
"""From the process's start until its nodes exist; then their parameter `start_within` holds."""

TRACE_PERIOD_S = 1.0

AUTOSTART = NodeParameter("autostart", True, "Configure and activate at start; false: wait for a life-cycle manager.")
START_WITHIN = NodeParameter(
    "start_within",
    60.0,
    "Longest time without progress, s, while the node starts; then its process ends. 0: as long as it takes.",
    lower=0.0,
    upper=86400.0,
    live=True,
)


class ManagedNode(LifecycleNode):
    """A life-cycle node with `autostart`, whose errors are said in one line."""

    def __init__(self, name: str, parameters: Sequence[NodeParameter] = ()) -> None:
        """Create the node and declare its parameters.

        Raises:
            ConfigError: if a parameter given at start is refused.
        """
        super().__init__(name, namespace=NAMESPACE)
        self._open_trace: tuple[Trace, Any] | None = None
        try:
            declare(self, [AUTOSTART, START_WITHIN, *parameters])
        except ConfigError:
            self.destroy_node()
            raise

    def value(self, name: str) -> Any:
        """Give the present value of a parameter."""
        return self.get_parameter(name).value

    def has_progressed(self) -> None:
        """Called by a long `configure` or `activate` now and then: it then has another `start_within` to go on."""
        _end_unless_within(self.value("start_within"))

    def open_trace(self) -> Trace | None:
        """The trace that parameter `trace` asks for, flushed once a second until the node is destroyed; None: off.

        Raises:
            ConfigError: if its folder cannot be written to.
        """
        self._close_trace()
        folder = self.value("trace")
        if folder:
            trace = Trace(Path(folder).expanduser(), self.get_name())
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self._open_trace = trace, self.create_timer(TRACE_PERIOD_S, trace.flush, clock=steady)
            return trace
        return None

    def destroy_node(self) -> None:
        """End the node and what it traces."""
        self._close_trace()
        super().destroy_node()

    def _close_trace(self) -> None:
        if self._open_trace is not None:
            trace, timer = self._open_trace
            self.destroy_timer(timer)
            trace.close()
            self._open_trace = None

    def configure(self) -> None:
        """Load and validate; create publishers and services."""

    def activate(self) -> None:
        """Subscribe and start."""

    def deactivate(self) -> None:
        """Stop; must work after an `activate` that failed half-way."""

    def cleanup(self) -> None:
        """Free everything; must work after a `configure` that failed half-way."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run `configure`; on an error clean up and stay unconfigured."""
        if self._starts(self.configure):
            return TransitionCallbackReturn.SUCCESS
        return self._after_failure(self.cleanup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run `activate`; on an error stop again and stay inactive."""
        if self._starts(self.activate):
            return TransitionCallbackReturn.SUCCESS
        return self._after_failure(self.deactivate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run `deactivate`."""
        return TransitionCallbackReturn.SUCCESS if self._succeeds(self.deactivate) else TransitionCallbackReturn.ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run `cleanup`."""
        return TransitionCallbackReturn.SUCCESS if self._succeeds(self.cleanup) else TransitionCallbackReturn.ERROR

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Undo whatever has been done."""
        done = state.label != "active" or self._succeeds(self.deactivate)
        done = (state.label == "unconfigured" or self._succeeds(self.cleanup)) and done
        return TransitionCallbackReturn.SUCCESS if done else TransitionCallbackReturn.ERROR

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Undo whatever can be undone, so that the node can be configured anew."""
        self._succeeds(self.deactivate)
        self._succeeds(self.cleanup)
        return TransitionCallbackReturn.SUCCESS

    def _after_failure(self, undo: Callable[[], None]) -> TransitionCallbackReturn:
        return TransitionCallbackReturn.FAILURE if self._succeeds(undo) else TransitionCallbackReturn.ERROR

    def _starts(self, hook: Callable[[], None]) -> bool:
        _end_unless_within(self.value("start_within"))
        try:
            return self._succeeds(hook)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _succeeds(self, hook: Callable[[], None]) -> bool:
        try:
            hook()
        except F1Error as error:
            self.get_logger().error(str(error))
            return False
        except Exception:
            # rclpy turns any exception in a transition into a silent ERROR: the log is where a bug shows.
            self.get_logger().fatal(f"{hook.__name__} failed:\n{traceback.format_exc()}")
            raise
        return True


def run(
    build: Callable[[], Sequence[ManagedNode]],
    args: Sequence[str] | None = None,
    executor: Callable[[], Executor] = SingleThreadedExecutor,
) -> int:
    """Run nodes in this process until SIGINT, SIGTERM, or a configuration that fails.

    The nodes are configured and activated in the order given, and ended in the opposite order.

    Args:
        build: makes the nodes once ROS is up.
        args: command line with `--ros-args`; sys.argv if None.
        executor: makes the executor.

    Returns:
        Exit status: 0 after a signal, 1 after a bug, 2 if a node refuses what it is given to be built, configured or
        activated with.
    """
    _end_unless_within(BUILT_WITHIN_S)
    # rclpy's own handlers shut the context down at once: nothing could be published on the way out.
    rclpy.init(args=list(sys.argv if args is None else args), signal_handler_options=SignalHandlerOptions.NO)
    stop = _stop_on_signal()
    nodes: list[ManagedNode] = []
    try:
        nodes.extend(build())
        faulthandler.cancel_dump_traceback_later()
        for node in nodes:
            if node.value("autostart") and (status := _autostart(node)):
                return 0 if stop.is_set() else status
        return 0 if _spin(nodes, executor(), stop) else 1
    except F1Error as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        for node in reversed(nodes):
            _end(node)
        rclpy.try_shutdown()


def leave(status: int) -> NoReturn:
    """End the process at once, after `run`: for nodes with torch, whose tear-down takes a second of CPU time or more.

    Args:
        status: exit status.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()

    def note(*_: object) -> None:
        if not stop.is_set():
            end = threading.Timer(END_WITHIN_S, os._exit, (1,))
            end.daemon = True
            end.start()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    return stop


def _autostart(node: ManagedNode) -> int:
    """Exit status for the process; 0: the node is active."""
    for trigger in (node.trigger_configure, node.trigger_activate):
        result = trigger()
        if result != TransitionCallbackReturn.SUCCESS:
            return 2 if result == TransitionCallbackReturn.FAILURE else 1
    return 0


def _end_unless_within(seconds: float) -> None:
    # A thread of C: it ends the process even where Python itself stands still, and the kernel where it waits for ever.
    if seconds:
        faulthandler.dump_traceback_later(seconds, exit=True)


def _spin(nodes: Sequence[ManagedNode], executor: Executor, stop: threading.Event) -> bool:
    """Spin in a thread, so that this one, which Python gives the signals to, can wait for them.

    Returns:
        Whether the spinning was ended from outside, not by a bug in a callback.
    """
    for node in nodes:
        executor.add_node(node)
    bugs: list[BaseException] = []

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        except BaseException as bug:
            bugs.append(bug)
            raise
        finally:
            stop.set()

    thread = threading.Thread(target=spin, name="executor")
    thread.start()
    stop.wait()
    executor.shutdown(timeout_sec=1.0)
    thread.join(timeout=1.0)
    return not bugs


def _end(node: ManagedNode) -> None:
    if rclpy.ok():
        node.trigger_shutdown()
    try:
        node.destroy_node()
    except InvalidHandle:
        node.get_logger().debug("The node was already destroyed.")
