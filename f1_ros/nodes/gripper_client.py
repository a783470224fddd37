"""Sends gripper goals, one at a time: grippers queue or hang when goals are streamed to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from f1_ros.nodes.diagnostics import Diagnostics, Level
from f1_ros.nodes.interfaces import fill, interface
from f1_ros.robots.transport import GripperGoal

# A hand takes about a second a goal. One that has not answered after this long is asked to drop it for a newer one.
PATIENCE_S = 3.0


class GripperClient:
    """The newest goal for one gripper, sent as soon as the one before has ended.

    `command` may be called from any thread and does not block; everything else happens in the node's executor.
    """

    def __init__(self, node: Node, name: str, actions: Mapping[str, str], diagnostics: Diagnostics) -> None:
        """Connect to action servers, which need not run yet.

        Args:
            node: the node.
            name: name of the gripper, for diagnostics.
            actions: names of its actions, and their types.
            diagnostics: where the gripper's state is said.
        """
        self._part = f"gripper {name}"
        self._types = dict(actions)
        self._diagnostics = diagnostics
        self._clients = {action: ActionClient(node, interface(kind), action) for action, kind in actions.items()}
        self._lock = threading.Lock()
        self._wanted: GripperGoal | None = None
        self._running: ClientGoalHandle | None = None
        self._sent_s: float | None = None  # while a goal is under way
        self._problem = ""
        self._wake = node.create_guard_condition(self.step)
        self._node = node

    def command(self, goal: GripperGoal) -> None:
        """Go there next; replaces a goal that has not been sent yet."""
        with self._lock:
            self._wanted = goal
        self._wake.trigger()

    def step(self) -> None:
        """Send what is to be sent, and say how the gripper is; also called about once a second."""
        late = self._sent_s is not None and time.monotonic() - self._sent_s > PATIENCE_S
        missing = [action for action, client in self._clients.items() if not client.server_is_ready()]
        if late and self._wanted is not None and self._running is not None:
            self._running.cancel_goal_async()
            self._running, self._sent_s = None, None
        if not missing and self._sent_s is None:
            with self._lock:
                goal, self._wanted = self._wanted, None
            if goal is not None:
                self._send(goal)
        if missing:
            level = Level.WARN if self._wanted is None else Level.ERROR
            self._diagnostics.set(self._part, level, f"No action server {', '.join(missing)}.")
        elif late:
            self._diagnostics.set(self._part, Level.WARN, f"A goal has not ended within {PATIENCE_S:g} s.")
        elif self._problem:
            self._diagnostics.set(self._part, Level.WARN, self._problem)
        else:
            self._diagnostics.set(self._part, Level.OK, "Answers.")

    def close(self) -> None:
        """Disconnect; a goal that runs is left to the gripper."""
        self._node.destroy_guard_condition(self._wake)
        for client in self._clients.values():
            client.destroy()

    def _send(self, goal: GripperGoal) -> None:
        message = fill(interface(self._types[goal.action]).Goal(), goal.fields)
        self._sent_s = sent_s = time.monotonic()
        self._clients[goal.action].send_goal_async(message).add_done_callback(
            lambda future: self._on_answer(future, sent_s)
        )

    def _on_answer(self, future: Future, sent_s: float) -> None:
        handle = future.result()
        if sent_s != self._sent_s:
            return
        if handle is None or not handle.accepted:
            self._end("The gripper refused a goal.")
            return
        self._running = handle
        handle.get_result_async().add_done_callback(lambda result: self._on_result(result, sent_s))

    def _on_result(self, future: Future, sent_s: float) -> None:
        if sent_s != self._sent_s:
            return
        status = future.result().status
        # A gripper that closes on an object stalls before the goal: some drivers call that success, others abort.
        ended = status in (GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_ABORTED)
        self._end("" if ended else f"A goal ended with status {status}.")

    def _end(self, problem: str) -> None:
        self._problem, self._running, self._sent_s = problem, None, None
        self.step()
