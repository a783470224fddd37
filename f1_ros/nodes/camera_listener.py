"""Listens to a robot's cameras for some seconds, for `f1-ros camera check`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from f1_ros.nodes.conversions import camera_info, compressed_frame, image_frame, to_ns
from f1_ros.nodes.lifecycle import NAMESPACE
from f1_ros.nodes.polled import PolledSimClock
from f1_ros.nodes.qos import SENSOR
from f1_ros.observe.camera_check import CameraCheck
from f1_ros.observe.frames import Frame
from f1_ros.robots.camera import Camera
from f1_ros.robots.parts import COMPRESSED_IMAGE

FOUND_WITHIN_S = 5.0
"""Publishers and subscribers find each other in about a second; a camera that is silent for so long is judged so."""

LOOKING = 0.25
"""Part of the time that may go into a camera's pixels: what is spent there, frames wait for, and more are lost."""


class _StampClock:
    """The clock of the stamps: this machine's, or a simulation's, which is known between two `/clock` too."""

    def __init__(self, node: Node, *, sim_time: bool) -> None:
        self._sim = PolledSimClock(node) if sim_time else None
        self._last_ns = 0

    def at(self, system_ns: int) -> int:
        """Its time at an instant of the system's clock, ns; a simulation that stands still keeps its last."""
        if self._sim is None:
            return system_ns
        self._last_ns = self._sim.at(time.monotonic_ns() - (time.time_ns() - system_ns)) or self._last_ns
        return self._last_ns


class _Listener:
    """Hands one camera's messages on, and looks at as many of them as there is time for."""

    def __init__(self, node: Node, camera: Camera, check: CameraCheck, clock: _StampClock) -> None:
        self._camera, self._check, self._clock = camera, check, clock
        self._look_again_s = 0.0
        self.heard = self.counts = False
        compressed = camera.type == COMPRESSED_IMAGE
        kind, read = (CompressedImage, compressed_frame) if compressed else (Image, image_frame)
        node.create_subscription(kind, camera.topic, partial(self._on_frame, read), SENSOR)
        node.create_subscription(CameraInfo, camera.camera_info, self._on_info, SENSOR)

    def _on_frame(self, read: Callable[[Any], Frame], msg: Any, info: dict[str, Any]) -> None:
        self.heard = True
        if not self.counts:
            return
        frame = read(msg)
        received_ns = self._clock.at(info["received_timestamp"])
        number = info["publication_sequence_number"]
        self._check.add_frame(self._camera.name, to_ns(msg.header.stamp), frame, received_ns, number)
        begin_s = time.monotonic()
        if begin_s >= self._look_again_s:
            self._check.look(self._camera.name, frame)
            end_s = time.monotonic()
            self._look_again_s = end_s + (end_s - begin_s) * (1 / LOOKING - 1)

    def _on_info(self, msg: CameraInfo) -> None:
        self._check.add_camera_info(self._camera.name, camera_info(msg))


def listen(cameras: Sequence[Camera], check: CameraCheck, seconds: float, *, sim_time: bool) -> int:
    """Listen to cameras as the observation node does: best effort, only the newest frame.

    Args:
        cameras: the cameras.
        check: what takes their frames.
        seconds: how long, s, from when all of them have been heard, or `FOUND_WITHIN_S` later.
        sim_time: stamps are of a simulation's clock, `/clock`, not of this machine's.

    Returns:
        Now on the clock of the stamps, ns.
    """
    context = Context()
    context.init()
    node = Node("camera_check", namespace=NAMESPACE, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        clock = _StampClock(node, sim_time=sim_time)
        listeners = [_Listener(node, camera, check, clock) for camera in cameras]
        _spin(executor, FOUND_WITHIN_S, lambda: all(listener.heard for listener in listeners))
        clock.at(time.time_ns())
        for listener in listeners:
            listener.counts = True
        _spin(executor, seconds, lambda: False)
        for camera in cameras:
            offers = node.get_publishers_info_by_topic(camera.topic)
            check.offered(camera.name, [offer.topic_type for offer in offers])
        return clock.at(time.time_ns())
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


def _spin(executor: SingleThreadedExecutor, seconds: float, enough: Callable[[], bool]) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and not enough():
        executor.spin_once(timeout_sec=0.05)
