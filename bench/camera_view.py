"""What it costs to crop and rectify a camera's pictures, beside the rest of what is done to a frame.

    python bench/camera_view.py [--frames 400] [--width 640 --height 480] [--out DIR]

Each frame is taken from rgb8 to the tensor that the policy sees, in turn as it is, cropped, rectified, and both; and
rectified by OpenCV's `undistort`, which makes the maps anew for each picture.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from f1_ros.cli.report import Report, Result
from f1_ros.observe.calibration import CameraInfo
from f1_ros.observe.frames import ImageFrame
from f1_ros.observe.preprocess import camera_tensor
from f1_ros.observe.view import CameraView
from f1_ros.robots.camera import Camera, Crop

HERE = Path(__file__).parent
SIZE = 224
PICTURES = 8
MOST = 0.8
"""Rectifying by maps that are made once may take so much of the time that it takes with `undistort`."""


def calibration(width: int, height: int) -> CameraInfo:
    """The distortion of a wide lens."""
    focal = 0.7 * width
    k = (focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0)
    return CameraInfo(width, height, "plumb_bob", (-0.25, 0.08, 0.001, -0.001, 0.0), k, (0.0,) * 9, (0.0,) * 12)


def views(info: CameraInfo) -> dict[str, CameraView]:
    """A camera, seen in four ways."""
    width, height = info.width, info.height
    crop = Crop((width - 3 * height // 4) // 2, height // 8, 3 * height // 4, 3 * height // 4)
    made = {}
    for name, rectify, part in (
        ("plain", False, None),
        ("crop", False, crop),
        ("rectify", True, None),
        ("rectify_and_crop", True, crop),
    ):
        camera = Camera(
            "front", "/image", "sensor_msgs/msg/Image", ((width, height),), 30.0, 15.0, "/info", rectify, part
        )
        made[name] = CameraView(camera)
        made[name].calibrate(info)
    return made


def main() -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=400, help="frames of each way, in turn (default 400)")
    parser.add_argument("--width", type=int, default=640, help="of the camera's pictures, px (default 640)")
    parser.add_argument("--height", type=int, default=480, help="of the camera's pictures, px (default 480)")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    conditions = {"nice": os.nice(0), "load_average_before": os.getloadavg()[0], "frames": args.frames}
    conditions |= {"picture": f"{args.width}x{args.height}", "tensor": SIZE}
    cv2.setNumThreads(1)
    noise = np.random.default_rng(0).integers(0, 256, (PICTURES, args.height, args.width, 3), dtype=np.uint8)
    frames = [ImageFrame.from_rgb(picture) for picture in noise]
    info = calibration(args.width, args.height)
    matrix, distortion = np.array(info.k).reshape(3, 3), np.array(info.d)
    ways: dict[str, Callable[[ImageFrame], NDArray[np.uint8]]] = {n: view.picture for n, view in views(info).items()}
    ways["undistort"] = lambda frame: cv2.undistort(frame.to_rgb(""), matrix, distortion)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for k in range(args.frames + PICTURES):
        for name, picture in ways.items():  # in turn, on the same frames
            began = time.perf_counter()
            camera_tensor(picture(frames[k % PICTURES]), SIZE)
            if k >= PICTURES:
                times[name].append(time.perf_counter() - began)
    medians = {name: float(np.median(taken)) for name, taken in times.items()}
    results = [Result(f"{name}_ms", median * 1e3, "ms") for name, median in medians.items()]
    results += [
        Result(f"{name}_over_plain", medians[name] / medians["plain"])
        for name in ("crop", "rectify", "rectify_and_crop")
    ]
    ratio = medians["rectify"] / medians["undistort"]
    results.append(Result("rectify_over_undistort", ratio, "", f"<= {MOST:g}", ratio <= MOST))
    return Report("make bench", results, {"conditions": conditions}).conclude(args.out / "camera_view.json")


if __name__ == "__main__":
    raise SystemExit(main())
