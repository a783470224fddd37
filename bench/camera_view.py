"""What it costs to crop and rectify a camera's pictures, beside the rest of what is done to a frame.

    python bench/camera_view.py [--frames 400] [--width 640 --height 480] [--out DIR]

Each frame is taken from rgb8 to the tensor that the policy sees, in turn as it is, cropped, rectified, and both.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import cv2
import numpy as np

from f1_ros.cli.report import Report, Result
from f1_ros.observe.calibration import CameraInfo
from f1_ros.observe.frames import ImageFrame
from f1_ros.observe.preprocess import camera_tensor
from f1_ros.observe.view import CameraView
from f1_ros.robots.camera import Camera, Crop

HERE = Path(__file__).parent
SIZE = 224
PICTURES = 8
MOST = 2.0
"""A frame that is rectified may take so many times as long as one that is not."""


def views(width: int, height: int) -> dict[str, CameraView]:
    """A camera with the distortion of a wide lens, seen in four ways."""
    focal = 0.7 * width
    k = (focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0)
    info = CameraInfo(width, height, "plumb_bob", (-0.25, 0.08, 0.001, -0.001, 0.0), k, (0.0,) * 9, (0.0,) * 12)
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
    ways = views(args.width, args.height)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for k in range(args.frames + PICTURES):
        for name, view in ways.items():  # in turn, on the same frames
            began = time.perf_counter()
            camera_tensor(view.picture(frames[k % PICTURES]), SIZE)
            if k >= PICTURES:
                times[name].append(time.perf_counter() - began)
    medians = {name: float(np.median(taken)) for name, taken in times.items()}
    results = [Result(f"{name}_ms", median * 1e3, "ms") for name, median in medians.items()]
    for name in ("crop", "rectify", "rectify_and_crop"):
        ratio = medians[name] / medians["plain"]
        results.append(Result(f"{name}_over_plain", ratio, "", f"<= {MOST:g}", ratio <= MOST))
    return Report("make bench", results, {"conditions": conditions}).conclude(args.out / "camera_view.json")


if __name__ == "__main__":
    raise SystemExit(main())
