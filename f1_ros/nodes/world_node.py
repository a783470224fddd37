"""What the nodes of the simulated robots have in common: a world that is built, run and freed, and what tells of it."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock as ClockMsg

from f1_ros.errors import ConfigError
from f1_ros.nodes.conversions import to_time
from f1_ros.nodes.diagnostics import Diagnostics
from f1_ros.nodes.lifecycle import ManagedNode
from f1_ros.nodes.parameters import NodeParameter
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.nodes.sim_loop import SimLoop
from f1_ros.nodes.sim_truth import SimTruth
from f1_ros.nodes.sim_view import View, open_view
from f1_ros.sim.camera import Drawable, Renderer, Snapshot

TRUTH_HZ, COUNTS_HZ = 50.0, 10.0


class _World(Protocol):
    @property
    def scene(self) -> Drawable: ...
    @property
    def time_ns(self) -> int: ...
    def snapshot(self) -> Snapshot: ...


_W = TypeVar("_W", bound=_World)


class WorldNode(ManagedNode, Generic[_W]):
    """A simulated robot's node: `/clock`, the counts, the truth and the time on /diagnostics are the same for all.

    Three threads: `_step` is called by the physics', `_draw` by the renderer's (see `SimLoop`), the rest by the
    executor's.
    """

    def __init__(self, name: str, parameters: Sequence[NodeParameter]) -> None:
        """Create the node."""
        super().__init__(name, parameters)
        self._world: _W | None = None
        self._view: View | None = None
        self._loop: SimLoop | None = None
        self._base_ns = 0
        self._ours: list[Publisher] = []

    @abstractmethod
    def _step(self) -> None:
        """A tick of the physics' thread."""

    @abstractmethod
    def _draw(self, renderer: Renderer, snapshot: Snapshot) -> None:
        """Publish the pictures of a snapshot; in the renderer's thread."""

    def _adopt(
        self, world: _W, name: str, joints: Sequence[str], grippers: Sequence[str], cameras: Sequence[str]
    ) -> None:
        """Make a world the node's, and what tells of it; `name` is the robot's."""
        self._world = world
        self._clock_publisher = self.create_publisher(ClockMsg, "/clock", SENSOR)
        self._counts = self.create_publisher(DiagnosticStatus, "/f1_sim/counts", COMMAND)
        self._ours = [self._clock_publisher, self._counts]
        self._truth = SimTruth(self, world.scene.model, joints, grippers, cameras)
        self._diagnostics = Diagnostics(self, name)
        if self.value("view"):
            self._view = open_view(world.scene)

    def _start_loop(self) -> None:
        """Let time run."""
        self._timer = self.create_timer(1.0, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._loop = SimLoop(
            self,
            self._step,
            self._draw,
            self._built().scene,
            self._view,
            renderer=self.value("renderer"),
            real_time_factor=self.value("real_time_factor"),
            realtime_priority=self.value("realtime_priority"),
        )
        self._loop.start()

    def deactivate(self) -> None:
        """Let time stand still; the world stays as it is."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None
            self.destroy_timer(self._timer)

    def cleanup(self) -> None:
        """Free the world; time goes on from here if another one is built."""
        if self._view is not None:
            self._view.close()
            self._view = None
        if self._ours:
            self._diagnostics.close()
            self._truth.close()
        for publisher in self._ours:
            self.destroy_publisher(publisher)
        self._ours = []
        if self._world is not None:
            self._base_ns += self._world.time_ns
            self._world = None

    def _built(self) -> _W:
        if self._world is None:
            raise ConfigError("The simulated world is not built.", remedy="Configure the node first.")
        return self._world

    def _tell(self, world: _W, loop: SimLoop) -> Time:
        """Say what time it is, and let a snapshot be drawn, where they are due; gives the stamp of this tick."""
        now_ns = self._base_ns + world.time_ns
        stamp = to_time(now_ns)
        if loop.due(self.value("clock_rate")):
            self._clock_publisher.publish(ClockMsg(clock=stamp))
        if loop.due(self.value("camera_rate")):
            loop.offer(dataclasses.replace(world.snapshot(), time_ns=now_ns))
        return stamp

    def _publish_counts(self, name: str, counts: Mapping[str, int]) -> None:
        values = [KeyValue(key=key, value=str(count)) for key, count in counts.items()]
        self._counts.publish(DiagnosticStatus(name=name, message="since the start", values=values))

    def _watch(self) -> None:
        """Once a second: how fast time runs."""
        if self._loop is not None:
            self._loop.report(self._diagnostics)
