"""The simulated hand's side of ROS: franka_gripper's actions, answered when the fingers have arrived.

As the real hand it hangs when goals are streamed to it, and answers again once it is homed (`f1_ros.sim.reflex`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from control_msgs.action import GripperCommand
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node

from f1_ros.nodes.interfaces import interface
from f1_ros.robots.parts import GRIPPER_COMMAND, Gripper
from f1_ros.sim.reflex import GripperHang

REACHED = 0.002  # m
STALLED_SPEED = 0.005  # m/s
STALLED_AFTER_S = 0.15
DEADLINE_S = 2.0


class SimGripper:
    """Takes goals in the executor's thread; `step` is the simulation's, once a tick.

    A goal is executed, in ROS's sense, at the instant at which it has been reached: so no thread waits for it.
    """

    def __init__(self, node: Node, gripper: Gripper, width: float) -> None:
        """Serve the profile's action, and beside it the others of franka_gripper.

        Args:
            node: the node.
            gripper: the profile's gripper.
            width: opening width at the start, m.
        """
        self._gripper = gripper
        self._lock = threading.Lock()
        self._goal: ServerGoalHandle | None = None
        self._since_ns = self._moved_ns = self._now_ns = 0
        self._last = width
        self._hang = GripperHang()
        self.target = width
        self._move, self._grasp, self._homing = (
            interface(f"franka_msgs/action/{n}") for n in ("Move", "Grasp", "Homing")
        )
        command = gripper.command
        beside = command.action.rpartition("/")[0]
        own = command.type == GRIPPER_COMMAND
        # The profile's values are of its own action; a Franka's GripperCommand takes half the width, which each finger
        # has to itself.
        closed, open_ = (command.closed, command.open) if own else (gripper.closed / 2, gripper.open / 2)
        assert closed is not None  # a profile with an open value is not loaded
        assert open_ is not None
        self._position_at = closed, open_
        served: tuple[tuple[Any, str, Callable[[Any], float]], ...] = (
            (
                GripperCommand,
                command.action if own else f"{beside}/gripper_action",
                lambda request: self._width(request.command.position),
            ),
            (self._move, f"{beside}/move", lambda request: float(request.width)),
            (self._grasp, f"{beside}/grasp" if own else command.action, lambda request: float(request.width)),
            (self._homing, f"{beside}/homing", lambda _: gripper.open),
        )
        self._wanted = {kind.Goal: wanted for kind, _, wanted in served}
        self._servers = [
            ActionServer(
                node,
                kind,
                action,
                execute_callback=self._unused,
                goal_callback=self._on_request,
                handle_accepted_callback=self._on_goal,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
            )
            for kind, action, _ in served
        ]

    @property
    def hangs(self) -> bool:
        """Goals were streamed to it: it answers nothing until it is homed."""
        return self._hang.hangs

    def step(self, width: float, now_ns: int) -> None:
        """Take the measured opening width (m) at a time (ns), and answer the goal once its end is known."""
        with self._lock:
            goal, self._now_ns = self._goal, now_ns
            if goal is None or self._hang.hangs:
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
        for server in self._servers:
            server.destroy()

    def _on_request(self, goal: Any) -> GoalResponse:
        width = self._wanted[type(goal)](goal)
        inside = self._gripper.closed - REACHED <= width <= self._gripper.open + REACHED  # so written that NaN fails
        return GoalResponse.ACCEPT if inside else GoalResponse.REJECT

    def _on_goal(self, goal: ServerGoalHandle) -> None:
        with self._lock:
            before, self._goal = self._goal, goal
            if isinstance(goal.request, self._homing.Goal):
                self._hang.home()
            elif self._hang.goal(self._now_ns):
                self.target = self._last  # it stays where it is, and answers nobody
                return
            self.target = self._wanted[type(goal.request)](goal.request)
            self._since_ns, width = 0, self._last
        if before is not None:
            self._answer(before, width, False, False)

    def _answer(self, goal: ServerGoalHandle, width: float, reached: bool, stalled: bool) -> None:
        def finish(handle: ServerGoalHandle) -> Any:
            if handle.is_cancel_requested:
                handle.canceled()
            elif reached or stalled:
                handle.succeed()
            else:
                handle.abort()
            request = handle.request
            if isinstance(request, GripperCommand.Goal):
                return GripperCommand.Result(position=self._position(width), stalled=stalled, reached_goal=reached)
            success = reached
            if isinstance(request, self._grasp.Goal):  # it is to end on something as wide as its epsilon says
                lower, upper = request.width - request.epsilon.inner, request.width + request.epsilon.outer
                success = (reached or stalled) and lower <= width <= upper
            kind = next(k for k in (self._move, self._grasp, self._homing) if isinstance(request, k.Goal))
            return kind.Result(success=success, error="" if success else "The fingers did not get there.")

        goal.execute(finish)

    def _unused(self, goal: ServerGoalHandle) -> Any:
        raise AssertionError("Goals are executed by _answer.")

    def _width(self, position: float) -> float:
        gripper, (closed, open_) = self._gripper, self._position_at
        part = (position - closed) / (open_ - closed)
        return gripper.closed + part * (gripper.open - gripper.closed)

    def _position(self, width: float) -> float:
        gripper, (closed, open_) = self._gripper, self._position_at
        part = (width - gripper.closed) / (gripper.open - gripper.closed)
        return closed + part * (open_ - closed)
