"""The simulated hand's side of ROS: a GripperCommand action server that answers when the fingers have arrived."""

from __future__ import annotations

import threading

from control_msgs.action import GripperCommand
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node

from f1_ros.robots.parts import Gripper

REACHED = 0.002  # m
STALLED_SPEED = 0.005  # m/s
STALLED_AFTER_S = 0.15
DEADLINE_S = 2.0


class SimGripper:
    """Takes goals in the executor's thread; `step` is the simulation's, once a tick.

    A goal is executed, in ROS's sense, at the instant at which it has been reached: so no thread waits for it.
    """

    def __init__(self, node: Node, gripper: Gripper, width: float) -> None:
        """Serve the profile's action.

        Args:
            node: the node.
            gripper: the profile's gripper.
            width: opening width at the start, m.
        """
        self._gripper = gripper
        self._lock = threading.Lock()
        self._goal: ServerGoalHandle | None = None
        self._since_ns = self._moved_ns = 0
        self._last = width
        self.target = width
        self._server = ActionServer(
            node,
            GripperCommand,
            gripper.command.action,
            execute_callback=self._unused,
            goal_callback=self._on_request,
            handle_accepted_callback=self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def step(self, width: float, now_ns: int) -> None:
        """Take the measured opening width (m) at a time (ns), and answer the goal once its end is known."""
        with self._lock:
            goal = self._goal
            if goal is None:
                self._last = width
                return
            if self._since_ns == 0:
                self._since_ns = self._moved_ns = now_ns
            if abs(width - self._last) > STALLED_SPEED * 0.01:
                self._moved_ns = now_ns
            self._last = width
            reached = abs(width - self.target) < REACHED
            stalled = now_ns - self._moved_ns > STALLED_AFTER_S * 1e9
            if not (reached or stalled or now_ns - self._since_ns > DEADLINE_S * 1e9 or goal.is_cancel_requested):
                return
            self._goal = None
        self._answer(goal, width, reached, stalled)

    def close(self) -> None:
        """Stop serving."""
        self._server.destroy()

    def _on_request(self, goal: GripperCommand.Goal) -> GoalResponse:
        width = self._width(goal.command.position)
        inside = self._gripper.closed - REACHED <= width <= self._gripper.open + REACHED  # so written that NaN fails
        return GoalResponse.ACCEPT if inside else GoalResponse.REJECT

    def _on_goal(self, goal: ServerGoalHandle) -> None:
        with self._lock:
            before, self._goal = self._goal, goal
            self.target = self._width(goal.request.command.position)
            self._since_ns, width = 0, self._last
        if before is not None:
            self._answer(before, width, False, False)

    def _answer(self, goal: ServerGoalHandle, width: float, reached: bool, stalled: bool) -> None:
        def finish(handle: ServerGoalHandle) -> GripperCommand.Result:
            if handle.is_cancel_requested:
                handle.canceled()
            elif reached or stalled:
                handle.succeed()
            else:
                handle.abort()
            return GripperCommand.Result(position=self._position(width), stalled=stalled, reached_goal=reached)

        goal.execute(finish)

    def _unused(self, goal: ServerGoalHandle) -> GripperCommand.Result:
        raise AssertionError("Goals are executed by _answer.")

    def _width(self, position: float) -> float:
        gripper, command = self._gripper, self._gripper.command
        assert command.closed is not None  # a profile with an open value is not loaded
        assert command.open is not None
        part = (position - command.closed) / (command.open - command.closed)
        return gripper.closed + part * (gripper.open - gripper.closed)

    def _position(self, width: float) -> float:
        gripper, command = self._gripper, self._gripper.command
        assert command.closed is not None
        assert command.open is not None
        part = (width - gripper.closed) / (gripper.open - gripper.closed)
        return command.closed + part * (command.open - command.closed)
