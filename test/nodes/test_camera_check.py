"""`f1-ros camera check` beside real publishers: what comes over DDS, and the exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from f1_ros.engine.policy import PolicyFile, load_spec, save_policy_file
from f1_ros.nodes.conversions import image_to_msg, to_time
from f1_ros.nodes.qos import SENSOR
from f1_ros.observe.geometry import CameraGeometry

REPO = Path(__file__).parents[2]
FRONT = "/camera/front/color/image_raw"
WRIST = "/camera/wrist/color/image_rect_raw/compressed"
PERIOD_NS = 50_000_000
SCENES = np.random.default_rng(0).normal(110, 3, (8, 96, 96, 3)).clip(0, 255).astype(np.uint8)


def profile(folder: Path) -> Path:
    """Two cameras at 20 Hz, one of compressed pictures; a busy machine may be late."""
    text = yaml.safe_load((REPO / "config" / "robots" / "franka_fr3.yaml").read_text())
    front, wrist = text["cameras"]
    front |= {"sizes": [[96, 96]], "rate_hz": 20, "min_rate_hz": 5}
    wrist |= front | {"name": "wrist", "topic": WRIST, "type": "sensor_msgs/msg/CompressedImage"}
    (folder / "robot.yaml").write_text(yaml.safe_dump(text))
    return folder / "robot.yaml"


class Cameras:
    """Publishes pictures of both cameras while the command listens."""

    def __init__(self, ros, folder: Path) -> None:
        self.ros, self.folder = ros, folder
        self.front = ros.node.create_publisher(Image, FRONT, SENSOR)
        self.wrist = ros.node.create_publisher(CompressedImage, WRIST, SENSOR)
        self.info = ros.node.create_publisher(CameraInfo, "/camera/front/color/camera_info", SENSOR)
        self.clock = ros.node.create_publisher(Clock, "/clock", SENSOR)
        self.sent = 0
        self.behind_ns = 0
        """How far the stamps and the simulation's clock are behind this machine's."""

    def step(self) -> None:
        now_ns = self.ros.node.get_clock().now().nanoseconds - self.behind_ns
        if self.behind_ns:
            self.clock.publish(Clock(clock=to_time(now_ns)))
        if now_ns // PERIOD_NS == self.sent:
            return
        self.sent = now_ns // PERIOD_NS
        stamp_ns = self.sent * PERIOD_NS
        scene = SCENES[self.sent % 8]
        self.front.publish(image_to_msg(scene, stamp_ns, "front_optical"))
        data = cv2.imencode(".jpg", scene[:, :, ::-1])[1].tobytes()
        jpeg = CompressedImage(format="rgb8; jpeg compressed bgr8", data=data)
        jpeg.header.stamp, jpeg.header.frame_id = to_time(stamp_ns + 2_000_000), "wrist_optical"
        self.wrist.publish(jpeg)
        k = [48.0, 0.0, 47.5, 0.0, 48.0, 47.5, 0.0, 0.0, 1.0]
        self.info.publish(CameraInfo(width=96, height=96, distortion_model="plumb_bob", d=[0.0] * 5, k=k))

    def check(self, *arguments: str) -> tuple[int, str, dict]:
        """Run the command; exit status, what it prints, and its JSON file."""
        environment = {**os.environ, "PYTHONPATH": str(REPO), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        out, log = self.folder / "cameras.json", self.folder / "check.log"
        command = [sys.executable, "-m", "f1_ros", "camera", "check", str(profile(self.folder)), *arguments]
        command += ["--seconds", "3", "--domain-id", str(self.ros.domain), "--json", str(out)]
        with log.open("wb") as sink:
            running = subprocess.Popen(command, env=environment, stdout=sink, stderr=subprocess.STDOUT)
        try:
            self.ros.until(lambda: running.poll() is not None, "the command ends", self.step)
        finally:
            running.kill()
        return running.returncode, log.read_text(), json.loads(out.read_text())


@pytest.fixture
def cameras(ros, tmp_path: Path) -> Cameras:
    return Cameras(ros, tmp_path)


def test_what_comes_is_shown_and_compared_with_the_policy(cameras: Cameras, tmp_path: Path) -> None:
    geometry = {"front": CameraGeometry(1.0, 69.0), "wrist": CameraGeometry(1.0)}
    spec = load_spec(REPO / "models" / "f1_belt")
    spec.camera_geometry.update(geometry)
    (tmp_path / "policy").mkdir()
    save_policy_file(PolicyFile(spec, (False,) * 8), tmp_path / "policy")
    status, said, report = cameras.check("--policy", str(tmp_path / "policy"))
    figures = {result["name"]: result for result in report["results"]}
    assert figures["front.encoding"]["value"] == "rgb8"
    assert figures["front.frame_id"]["value"] == "front_optical"
    assert figures["wrist.encoding"]["value"] == "rgb8; jpeg compressed bgr8"
    assert figures["wrist.picture"]["value"] == "96x96"
    assert figures["wrist.offset_to_front"]["value"] == pytest.approx(2.0)
    assert figures["together.skew_p50"]["value"] == pytest.approx(2.0)
    assert 100 < figures["wrist.brightness"]["value"] < 120
    assert figures["front.frames"]["value"] > 10
    assert "front.lost_on_the_way" in figures
    assert 0 <= figures["front.age_p50"]["value"] < 10_000
    assert figures["front.horizontal_fov"]["value"] == pytest.approx(90.0, abs=0.1)
    assert status == 1  # the policy's pictures were narrower
    assert "- front: its pictures show 90.0 degrees from left to right" in said
    assert "Remedy: Use the kind of camera" in said
    assert "- wrist: note: its field of view is not known: no CameraInfo came." in said
    troubles = report["findings"]["front"]["troubles"]
    assert any("90.0 degrees" in trouble["problem"] for trouble in troubles)
    assert report["ok"] is False


def test_a_camera_that_nobody_publishes_is_named(cameras: Cameras) -> None:
    cameras.ros.node.destroy_publisher(cameras.wrist)
    cameras.wrist = cameras.ros.node.create_publisher(CompressedImage, "/elsewhere", SENSOR)
    status, said, report = cameras.check()
    assert status == 1
    assert f"- wrist: nobody publishes {WRIST}. Remedy: Start its driver" in said
    assert report["findings"]["wrist"]["troubles"]


def test_stamps_of_a_simulation_are_compared_with_its_own_clock(cameras: Cameras) -> None:
    cameras.behind_ns = 1_000_000_000_000_000_000
    status, said, report = cameras.check("--sim-time")
    ages = [result["value"] for result in report["results"] if result["name"].endswith("age_p50")]
    assert len(ages) == 2
    assert all(-1000.0 < age < 1000.0 for age in ages)
    assert "not on the ROS clock" not in said
    status, said, _ = cameras.check()
    assert status == 1
    assert "header stamps are not on the ROS clock, or come far too late" in said
