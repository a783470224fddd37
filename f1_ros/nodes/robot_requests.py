"""What people ask of the robot itself, by service: recovery, controllers, and what else its profile knows.

Nothing here is done without being asked for, and none of it carries a target for a joint: what the robot then does is
its own affair, so no commands of ours go out meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from f1_ros.nodes.interfaces import fill, interface
from f1_ros.nodes.qos import COMMAND
from f1_ros.robots.transport import RobotRequest, Transport

PATIENCE_S = 10.0
"""A robot that has not answered a request after this long will not."""

_PAUSE_S = 0.005
_LAST_TICK_S = 0.1
"""A tick that is under way still sends its command: the robot is asked only after it."""

Obstacle = Callable[[str], str]
"""Why a request (by its service's name) is refused now, with the remedy; empty if it is not."""


class RobotRequests:
    """Serves `enable`, `recover` and the transport's extras, as far as it has them. All in the node's executor."""

    def __init__(self, node: Node, transport: Transport, obstacle: Obstacle, withhold: Callable[[str], object]) -> None:
        """Serve.

        Args:
            node: the node.
            transport: what a request consists of.
            obstacle: asked before each.
            withhold: called with the reason why no commands go out from then on, before anything is asked of the robot.
        """
        self._node, self._obstacle, self._withhold = node, obstacle, withhold
        sequences: dict[str, tuple[tuple[RobotRequest, ...], str]] = {
            "enable": (transport.enable(), "the robot has been enabled anew"),
            "recover": (transport.recover(), "the robot has been recovered"),
            **{extra.name: (extra.requests, extra.withhold) for extra in transport.extras()},
        }
        self._sequences: Mapping[str, tuple[tuple[RobotRequest, ...], str]] = {
            name: sequence for name, sequence in sequences.items() if sequence[0]
        }
        self._under_way = ""
        # Of its own: in the node's group nothing else would run before a request has been answered, not even what
        # it waits for.
        self._group = ReentrantCallbackGroup()
        self._targets = {
            request.name: self._target(request) for requests, _ in self._sequences.values() for request in requests
        }
        self._services = [
            node.create_service(Trigger, name, partial(self._on_request, name), callback_group=self._group)
            for name in self._sequences
        ]

    @property
    def under_way(self) -> str:
        """Name of the request that is being carried out; empty if none is."""
        return self._under_way

    def close(self) -> None:
        """Stop serving."""
        for service in self._services:
            self._node.destroy_service(service)
        for target in self._targets.values():
            if isinstance(target, ActionClient):
                target.destroy()
            elif hasattr(target, "call_async"):
                self._node.destroy_client(target)
            else:
                self._node.destroy_publisher(target)

    def _target(self, request: RobotRequest) -> Any:
        kind = interface(request.type)
        if request.kind == "action":
            return ActionClient(self._node, kind, request.name, callback_group=self._group)
        if request.kind == "service":
            return self._node.create_client(kind, request.name, callback_group=self._group)
        return self._node.create_publisher(kind, request.name, COMMAND)

    async def _on_request(self, name: str, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        refused = f"'{self._under_way}' is under way." if self._under_way else self._obstacle(name)
        if refused:
            response.message = refused
            return response
        requests, withhold = self._sequences[name]
        self._under_way = name
        try:
            self._withhold(withhold)
            time.sleep(_LAST_TICK_S)
            for request in requests:
                self._node.get_logger().info(f"{name}: {request.what}, as asked.")
                problem = await self._send(request)
                if problem:
                    response.message = f"{request.what}: {problem}"
                    return response
        finally:
            self._under_way = ""
        response.success, response.message = True, f"Done: {', '.join(request.what for request in requests)}."
        return response

    async def _send(self, request: RobotRequest) -> str:
        """What went wrong; empty if nothing did."""
        target, kind = self._targets[request.name], interface(request.type)
        if request.kind == "topic":
            target.publish(fill(kind(), request.fields))
            return ""
        ready = target.server_is_ready() if request.kind == "action" else target.service_is_ready()
        if not ready:
            return f"nobody serves {request.name}. Remedy: start the robot's driver, and check the profile."
        if request.kind == "service":
            answer = await _Within(target.call_async(fill(kind.Request(), request.fields)))
            if answer is None:
                return f"{request.name} has not answered within {PATIENCE_S:g} s."
            done = bool(getattr(answer, request.success)) if request.success else True
            return "" if done else f"{request.name} says that it could not. Remedy: see its log."
        handle = await _Within(target.send_goal_async(fill(kind.Goal(), request.fields)))
        if handle is None or not handle.accepted:
            return f"{request.name} did not take the goal. Remedy: see the robot's log."
        result = await _Within(handle.get_result_async())
        if result is None or result.status != GoalStatus.STATUS_SUCCEEDED:
            return f"{request.name} has not succeeded. Remedy: see the robot's log, release its stop, ask again."
        return ""


class _Within:
    """Awaits a future, for a while at most; gives None if that was not enough.

    rclpy's executor resumes what awaits over and over: without the pause it would take a core, and Python's lock from
    the control loop.
    """

    def __init__(self, future: Future) -> None:
        self._future = future

    def __await__(self) -> Generator[None, None, Any]:
        end_s = time.monotonic() + PATIENCE_S
        while not self._future.done() and time.monotonic() < end_s:
            time.sleep(_PAUSE_S)
            yield
        return self._future.result() if self._future.done() else None
