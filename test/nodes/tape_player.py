"""Plays what a robot would send, with stamps of its own, as fast and as unsteadily as it is told: a stand-in for a bag.

It plays the first second, waits for a file, and plays the rest; then it stays, silent, until it is ended. `later` is
added to all stamps, s; `mute` is a topic that falls silent after 2 s.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from f1_msgs.msg import ControlStatus
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header

from f1_ros.nodes.conversions import image_to_msg, to_time
from f1_ros.robots.profile import load_profile

MS = 1_000_000
T0 = 500_000 * MS
LEAD = T0 + 1000 * MS
PROFILE = load_profile("franka_fr3")
ARM, HAND, TARGET, STATUS = "/franka/joint_states", "/franka_gripper/joint_states", "/target_joint", "/f1/status"
FRONT, WRIST = (PROFILE.camera(name).topic for name in ("front", "wrist"))
KINDS = {ARM: JointState, HAND: JointState, TARGET: JointState, STATUS: ControlStatus, FRONT: Image, WRIST: Image}
NOTHING_LOST = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
MODE_CHANGE, CLOSING = T0 + 1700 * MS, T0 + 1930 * MS


def joints(stamp: int, names: Any, positions: list[float]) -> JointState:
    return JointState(header=Header(stamp=to_time(stamp)), name=list(names), position=positions)


def status(stamp: int, shift: int) -> ControlStatus:
    changed, closed = stamp >= shift + MODE_CHANGE, stamp >= shift + CLOSING
    return ControlStatus(
        header=Header(stamp=to_time(stamp), frame_id="franka"),
        mode=ControlStatus.TELEOP if changed else ControlStatus.HOLD,
        mode_stamp=to_time(shift + MODE_CHANGE if changed else 0),
        source="teleop" if changed else "hold",
        recent_modes=[ControlStatus.HOLD, ControlStatus.TELEOP][: 1 + changed],
        recent_mode_stamps=[to_time(0), to_time(shift + MODE_CHANGE)][: 1 + changed],
        period=0.01,
        gripper_names=["gripper"],
        gripper_commanded=[0.0 if closed else math.nan],
        gripper_commanded_stamps=[to_time(shift + CLOSING if closed else 0)],
    )


def tape(length_s: float, shift: int) -> list[tuple[int, str, Any]]:
    """Stamp, topic and message: cameras at 30 Hz and unlike one another, the arm at 100 Hz, all of it moving."""
    draw, noise = random.Random(7), np.random.default_rng(7)
    sent: list[tuple[int, str, Any]] = []
    for k in range(round(length_s * 100)):
        stamp, at = shift + T0 + k * 10 * MS, k / 100
        jitter = draw.randrange(2 * MS)
        sent.append((stamp, ARM, joints(stamp + jitter, PROFILE.joints, [math.sin(at + i) for i in range(7)])))
        sent.append((stamp, TARGET, joints(stamp, PROFILE.joints, [math.sin(at + i + 0.11) for i in range(7)])))
        if k % 7 == 0:
            sent.append((stamp, HAND, joints(stamp, ("fr3_finger_joint1", "fr3_finger_joint2"), [0.04 - at / 200] * 2)))
        if k % 10 == 6:
            sent.append((stamp, STATUS, status(stamp, shift)))
    for k in range(round(length_s * 30)):
        for topic, late in ((FRONT, 0), (WRIST, 9 * MS)):
            stamp = shift + T0 + k * 33_333_333 + late + draw.randrange(3 * MS)
            rgb = noise.integers(0, 256, (96, 96, 3), dtype=np.uint8)
            sent.append((stamp, topic, image_to_msg(rgb, stamp, topic)))
    return sorted(sent, key=lambda s: s[0])


def play(node: Node, publishers: dict[str, Any], messages: list[tuple[int, str, Any]]) -> None:
    """Send each topic's messages in their order, each with a delay of its own."""
    speed, delay_s = node.get_parameter("speed").value, node.get_parameter("delay").value
    draw = random.Random(node.get_parameter("seed").value)
    usual = {topic: draw.uniform(0, delay_s) for topic in KINDS}
    due: dict[str, float] = {}
    timed = []
    for order, (stamp, topic, message) in enumerate(messages):
        at = (stamp - messages[0][0]) / 1e9 / speed + usual[topic] + draw.uniform(0, delay_s / 3)
        due[topic] = max(due.get(topic, 0.0), at)
        timed.append((due[topic], order, topic, message))
    begin = time.monotonic()
    for at, _, topic, message in sorted(timed, key=lambda t: t[:2]):
        time.sleep(max(0.0, begin + at - time.monotonic()))
        publishers[topic].publish(message)
    for publisher in publishers.values():
        assert publisher.wait_for_all_acked(Duration(seconds=20))


def main() -> None:
    rclpy.init()
    node = Node("tape_player")
    for name, default in (
        ("speed", 1.0),
        ("delay", 0.0),
        ("seed", 0),
        ("length", 3.5),
        ("folder", ""),
        ("later", 0),
        ("mute", ""),
    ):
        node.declare_parameter(name, default)
    folder = Path(node.get_parameter("folder").value)
    publishers = {topic: node.create_publisher(kind, topic, NOTHING_LOST) for topic, kind in KINDS.items()}
    shift = node.get_parameter("later").value * 1000 * MS
    messages = tape(node.get_parameter("length").value, shift)
    mute, end = node.get_parameter("mute").value, shift + T0 + 2000 * MS
    messages = [m for m in messages if m[1] != mute or m[0] < end]
    while not all(publisher.get_subscription_count() for publisher in publishers.values()):
        time.sleep(0.02)
    play(node, publishers, [m for m in messages if m[0] < shift + LEAD])
    (folder / "waits").touch()
    while rclpy.ok() and not (folder / "go").exists():
        time.sleep(0.01)
    play(node, publishers, [m for m in messages if m[0] >= shift + LEAD])
    (folder / "done").touch()
    while rclpy.ok():
        time.sleep(0.1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
