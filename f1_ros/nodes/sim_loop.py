"""What the simulated robots' nodes have in common: physics at absolute deadlines, a renderer of its own, and the time.

Two threads. One calls the node's step every 10 ms of simulated time; the other draws the newest snapshot that the step
has offered (MuJoCo lets go of the interpreter's lock meanwhile). A failure in either ends the process.
"""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable

from rclpy.node import Node

from f1_ros.control.loop import SystemMonotonic, enter_realtime
from f1_ros.nodes.diagnostics import Diagnostics, Level
from f1_ros.nodes.parameters import NodeParameter
from f1_ros.nodes.realtime import schedule_process
from f1_ros.nodes.sim_view import View
from f1_ros.sim.camera import Drawable, Renderer, RendererKind, Snapshot, open_renderer
from f1_ros.sim.scene import TICK_NS

TICK_HZ = 100.0
BEHIND_S = 0.2  # so far behind its deadlines, the simulation lets time go instead of running after it

LOOP_PARAMETERS = (
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
"""Parameters that every simulated robot has."""


class SimLoop:
    """Runs a simulated robot from `start` to `stop`.

    Args:
        node: for its log.
        step: advances the world by a tick; called in the physics' thread.
        draw: publishes the pictures of a snapshot; called in the renderer's thread.
        scene: what the renderer draws.
        view: a window that shows the snapshots too, or None.
        renderer, real_time_factor, realtime_priority: the node's parameters.

    Attributes:
        ticks: steps so far.
    """

    def __init__(
        self,
        node: Node,
        step: Callable[[], None],
        draw: Callable[[Renderer, Snapshot], None],
        scene: Drawable,
        view: View | None,
        *,
        renderer: RendererKind,
        real_time_factor: float,
        realtime_priority: int,
    ) -> None:
        """See the class."""
        self._node, self._step, self._draw, self._scene, self._view = node, step, draw, scene, view
        self._renderer: RendererKind = renderer
        self._factor, self._priority = real_time_factor, realtime_priority
        self._stop = threading.Event()
        self._snapshots: queue.Queue[Snapshot] = queue.Queue(maxsize=1)
        self.ticks = self._pictures = 0
        self._said = (time.monotonic(), 0, 0)
        self._threads = [
            threading.Thread(target=self._or_die, args=(loop,), name=loop.__name__)
            for loop in (self._run_physics, self._run_renderer)
        ]

    def start(self) -> None:
        """Let time run."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let time stand still."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def due(self, rate_hz: float) -> bool:
        """Whether what comes at this rate comes in this tick."""
        return int(self.ticks * rate_hz / TICK_HZ) != int((self.ticks - 1) * rate_hz / TICK_HZ)

    def offer(self, snapshot: Snapshot) -> None:
        """Let a snapshot be drawn; while the renderer is behind it is left out, as slow cameras leave out frames."""
        try:
            self._snapshots.put_nowait(snapshot)
        except queue.Full:
            return

    def report(self, diagnostics: Diagnostics) -> None:
        """Say how fast time has run since the last call."""
        now_s, ticks, pictures = time.monotonic(), self.ticks, self._pictures
        then_s, ticks_then, pictures_then = self._said
        self._said = now_s, ticks, pictures
        factor = (ticks - ticks_then) * TICK_NS * 1e-9 / (now_s - then_s)
        values = {"real-time factor": factor, "pictures Hz": (pictures - pictures_then) / (now_s - then_s)}
        if factor < 0.9 * self._factor:
            diagnostics.set("time", Level.WARN, "Slower than asked for: the machine is too busy.", values)
        else:
            diagnostics.set("time", Level.OK, "Runs as asked for.", values)

    def _or_die(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        finally:
            gc.unfreeze()
            if not self._stop.is_set():
                self._node.get_logger().fatal(f"The simulation failed:\n{traceback.format_exc()}")
                sys.stderr.flush()
                os._exit(1)

    def _run_physics(self) -> None:
        if self._priority:
            schedule_process(max(1, self._priority - 10))
            enter_realtime(self._priority)
        monotonic, period_ns = SystemMonotonic(), round(TICK_NS / self._factor)
        deadline_ns = monotonic.now_ns()
        while not self._stop.is_set():
            self.ticks += 1
            self._step()
            deadline_ns = max(deadline_ns + period_ns, monotonic.now_ns() - round(BEHIND_S * 1e9))
            monotonic.sleep_until(deadline_ns)

    def _run_renderer(self) -> None:
        renderer = open_renderer(self._scene, self._renderer)
        try:
            while not self._stop.is_set():
                try:
                    snapshot = self._snapshots.get(timeout=0.1)
                except queue.Empty:
                    continue
                self._draw(renderer, snapshot)
                self._pictures += 1
                if self._view is not None:
                    self._view.show(snapshot)
        finally:
            renderer.close()
