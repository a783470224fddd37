"""Between the project's types and their messages.

Lengths, types and encodings of incoming messages are checked whole, with numpy; nothing here looks at pixels one by
one. Outgoing byte fields are assigned as array.array: rclpy takes those without checking each element.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Duration, Time
from f1_msgs.msg import ActionChunk as ActionChunkMsg
from f1_msgs.msg import Foresight as ForesightMsg
from f1_msgs.msg import Observation as ObservationMsg
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo as CameraInfoMsg
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from f1_ros.control.chunk import ActionChunk
from f1_ros.engine.protocol import Foresight
from f1_ros.errors import ChunkError, ObservationError
from f1_ros.observe.calibration import CameraInfo
from f1_ros.observe.frames import CompressedFrame, ImageFrame
from f1_ros.observe.observation import Observation

SECOND_NS = 1_000_000_000

_IMAGE_ENCODING = "32FC3"
_HISTORY_ENCODING = "rgb8"
_SENDER = "Send it from a node of this release of f1_ros."


def to_ns(time: Time | Duration) -> int:
    """Nanoseconds of a builtin_interfaces Time or Duration."""
    return int(time.sec) * SECOND_NS + int(time.nanosec)


def to_time(ns: int) -> Time:
    """Time of nanoseconds on the ROS clock."""
    return Time(sec=ns // SECOND_NS, nanosec=ns % SECOND_NS)


def to_duration(ns: int) -> Duration:
    """Duration of nanoseconds."""
    return Duration(sec=ns // SECOND_NS, nanosec=ns % SECOND_NS)


def image_frame(msg: Image) -> ImageFrame:
    """The frame of an image message, by reference."""
    return ImageFrame(
        msg.encoding, msg.height, msg.width, msg.step, bool(msg.is_bigendian), msg.data, msg.header.frame_id
    )


def compressed_frame(msg: CompressedImage) -> CompressedFrame:
    """The frame of a compressed image message, by reference."""
    return CompressedFrame(msg.format, msg.data, msg.header.frame_id)


def camera_info(msg: CameraInfoMsg) -> CameraInfo:
    """The fields of a camera's calibration."""
    roi = msg.roi
    return CameraInfo(
        width=msg.width,
        height=msg.height,
        distortion_model=msg.distortion_model,
        d=tuple(msg.d),
        k=tuple(map(float, msg.k)),
        r=tuple(map(float, msg.r)),
        p=tuple(map(float, msg.p)),
        binning=(msg.binning_x, msg.binning_y),
        roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
    )


def image_to_msg(picture: NDArray[np.uint8], stamp_ns: int, frame_id: str) -> Image:
    """Make an rgb8 image.

    Args:
        picture: (H, W, 3) uint8 RGB.
        stamp_ns: its stamp, ns on the ROS clock.
        frame_id: name of the camera.
    """
    return _image(picture, _HISTORY_ENCODING, stamp_ns, frame_id)


def observation_to_msg(observation: Observation, robot: str, now_ns: int) -> ObservationMsg:
    """Make the message of an observation.

    Args:
        observation: the observation.
        robot: name of the robot profile.
        now_ns: time of publishing, ns on the ROS clock.
    """
    named = zip(observation.cameras, observation.camera_stamps_ns, observation.images, strict=True)
    past = zip(observation.history_stamps_ns, observation.history, strict=True)
    return ObservationMsg(
        header=Header(stamp=to_time(observation.stamp_ns), frame_id=robot),
        cameras=list(observation.cameras),
        camera_stamps=[to_time(ns) for ns in observation.camera_stamps_ns],
        skew=to_duration(observation.skew_ns),
        age=to_duration(now_ns - observation.stamp_ns),
        images=[_image(_interleaved(image), _IMAGE_ENCODING, ns, camera) for camera, ns, image in named],
        history=[image_to_msg(_interleaved(frame), ns, observation.cameras[0]) for ns, frame in past],
        state_names=list(observation.state_names),
        state=array.array("d", observation.state.tobytes()),
    )


def observation_from_msg(msg: ObservationMsg) -> Observation:
    """Take an observation from its message.

    Raises:
        ObservationError: if the message is incomplete, contradicts itself, or holds NaN or infinity.
    """
    stamp_ns = to_ns(msg.header.stamp)
    camera_stamps = tuple(to_ns(time) for time in msg.camera_stamps)
    cameras = tuple(msg.cameras)
    if not cameras or len(set(cameras)) != len(cameras):
        raise _bad_observation(f"names the cameras {cameras}, expected one or more, each once")
    if not len(cameras) == len(camera_stamps) == len(msg.images):
        raise _bad_observation(f"has {len(cameras)} cameras, {len(camera_stamps)} stamps, {len(msg.images)} images")
    if camera_stamps != tuple(to_ns(image.header.stamp) for image in msg.images) or camera_stamps[0] != stamp_ns:
        raise _bad_observation("gives a camera two different stamps")
    images = _stack(msg.images, _IMAGE_ENCODING, np.dtype(np.float32), "images")
    if not bool(np.abs(images).max() <= 1.0):  # so written that NaN fails
        raise _bad_observation("has images outside [-1, 1]")
    history_stamps = tuple(to_ns(image.header.stamp) for image in msg.history)
    history = _stack(msg.history, _HISTORY_ENCODING, np.dtype(np.uint8), "history")
    if history_stamps[-1] != stamp_ns or any(a >= b for a, b in pairwise(history_stamps)):
        raise _bad_observation("has a history whose stamps do not rise to its own stamp")
    state = np.asarray(msg.state, dtype=np.float64)
    names = tuple(msg.state_names)
    if state.shape != (len(names),) or not np.isfinite(state).all():
        raise _bad_observation(f"has the state {state} for the names {names}")
    return Observation(
        stamp_ns=stamp_ns,
        cameras=cameras,
        camera_stamps_ns=camera_stamps,
        images=images,
        history=history,
        history_stamps_ns=history_stamps,
        state_names=names,
        state=state,
    )


def chunk_to_msg(chunk: ActionChunk, sequence: int, policy: str, instruction: str) -> ActionChunkMsg:
    """Make the message of an action chunk.

    Args:
        chunk: the chunk.
        sequence: count of chunks since the policy node was activated.
        policy: name of the policy.
        instruction: what it followed.
    """
    points = [
        JointTrajectoryPoint(positions=array.array("d", row.tobytes()), time_from_start=to_duration(i * chunk.step_ns))
        for i, row in enumerate(np.ascontiguousarray(chunk.positions))
    ]
    return ActionChunkMsg(
        header=Header(stamp=to_time(chunk.stamp_ns), frame_id=chunk.robot),
        sequence=sequence,
        policy=policy,
        instruction=instruction,
        step_period=to_duration(chunk.step_ns),
        model_latency=to_duration(chunk.latency_ns),
        trajectory=JointTrajectory(
            header=Header(stamp=to_time(chunk.start_ns), frame_id=chunk.robot),
            joint_names=list(chunk.joint_names),
            points=points,
        ),
    )


def chunk_from_msg(msg: ActionChunkMsg) -> ActionChunk:
    """Take an action chunk from its message.

    Raises:
        ChunkError: if rows differ in length, their times are not those of the step period, joints repeat, or the
            chunk itself is wrong (see `ActionChunk`).
    """
    names = tuple(msg.trajectory.joint_names)
    step_ns = to_ns(msg.step_period)
    points = msg.trajectory.points
    if not names or len(set(names)) != len(names):
        raise ChunkError(f"Action chunk names the joints {names}, expected one or more, each once.", remedy=_SENDER)
    if any(len(point.positions) != len(names) for point in points):
        raise ChunkError(f"Action chunk has steps without a position for each of {names}.", remedy=_SENDER)
    if any(to_ns(point.time_from_start) != i * step_ns for i, point in enumerate(points)):
        raise ChunkError("Action chunk's times are not multiples of its step period.", remedy=_SENDER)
    return ActionChunk(
        robot=msg.header.frame_id,
        stamp_ns=to_ns(msg.header.stamp),
        start_ns=to_ns(msg.trajectory.header.stamp),
        step_ns=step_ns,
        joint_names=names,
        positions=np.array([point.positions for point in points], dtype=np.float64).reshape(len(points), len(names)),
        latency_ns=to_ns(msg.model_latency),
    )


def foresight_to_msg(foresight: Foresight, stamp_ns: int, camera: str, policy: str) -> ForesightMsg:
    """Make the message of a prediction.

    Args:
        foresight: the prediction.
        stamp_ns: stamp of the observation that it was computed from, ns on the ROS clock.
        camera: name of the camera whose view it predicts.
        policy: name of the policy.
    """
    return ForesightMsg(
        header=Header(stamp=to_time(stamp_ns), frame_id=camera),
        policy=policy,
        target_stamp=to_time(foresight.target_stamp_ns),
        scale_sizes=array.array("H", foresight.scale_sizes),
        codes=array.array("I", foresight.codes.astype(np.uint32).tobytes()),
    )


def foresight_from_msg(msg: ForesightMsg) -> Foresight:
    """Take a prediction from its message.

    Raises:
        ObservationError: if the number of codes is not that of the scales.
    """
    sizes = tuple(int(size) for size in msg.scale_sizes)
    codes = np.asarray(msg.codes, dtype=np.int64)
    if not sizes or min(sizes) < 1 or codes.shape != (sum(size * size for size in sizes),):
        raise ObservationError(f"Foresight has {codes.size} codes for scales of {sizes}.", remedy=_SENDER)
    return Foresight(codes=codes, scale_sizes=sizes, target_stamp_ns=to_ns(msg.target_stamp))


def _interleaved(planes: NDArray[Any]) -> NDArray[Any]:
    """(3, H, W) as (H, W, 3), several times faster than NumPy copies a transposed array."""
    return np.asarray(cv2.merge([planes[0], planes[1], planes[2]]))


def _image(pixels: NDArray[Any], encoding: str, stamp_ns: int, frame_id: str) -> Image:
    height, width, channels = pixels.shape
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(pixels).reshape(-1).view(np.uint8).data)
    return Image(
        header=Header(stamp=to_time(stamp_ns), frame_id=frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=width * channels * pixels.dtype.itemsize,
        data=data,
    )


def _stack(images: Sequence[Image], encoding: str, dtype: np.dtype[Any], field: str) -> NDArray[Any]:
    """(N, 3, H, W) of images of one size, encoding and byte order."""
    if not images:
        raise _bad_observation(f"has no {field}")
    first = images[0]
    height, width = int(first.height), int(first.width)
    step = width * 3 * dtype.itemsize
    for image in images:
        if (image.encoding, image.height, image.width, image.step) != (encoding, height, width, step):
            raise _bad_observation(
                f"has in {field} a {image.width}x{image.height} image of '{image.encoding}' with step {image.step}, "
                f"expected {width}x{height} of '{encoding}' with step {step}"
            )
        if height * width == 0 or len(image.data) != height * step or image.is_bigendian != first.is_bigendian:
            raise _bad_observation(f"has in {field} an image of {len(image.data)} bytes, expected {height * step}")
    order = dtype.newbyteorder(">" if first.is_bigendian else "<")
    flat = np.stack([np.frombuffer(image.data, dtype=order) for image in images])
    chw = flat.reshape(len(images), height, width, 3).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(chw, dtype=dtype)


def _bad_observation(what: str) -> ObservationError:
    return ObservationError(f"Observation message {what}.", remedy=_SENDER)
