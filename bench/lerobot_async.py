"""lerobot's async_inference, server and client, with cameras and a policy that are not there. Runs in `.venv-peers`.

    .venv-peers/bin/python bench/lerobot_async.py SECONDS MODEL_MS FPS

Started by bench/latency.py. Server and client are lerobot's own classes, in processes of their own; the policy sleeps
as long as ours takes, and gives back which frame it saw. The robot's state moves with each frame, as the server drops
observations whose state differs by less than 1 from the last. Prints [capture s, first action of it s] for each frame
that led to an action, as JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
import threading
import time
from concurrent import futures
from types import SimpleNamespace

import grpc
import numpy as np
import torch
from lerobot.async_inference import robot_client
from lerobot.async_inference.configs import PolicyServerConfig
from lerobot.async_inference.policy_server import PolicyServer
from lerobot.transport import services_pb2, services_pb2_grpc

CAMERAS, CAMERA_HZ = ("front", "wrist", "side"), 30.0
JOINTS, IMAGE_SIZE, STEP_S, CHUNK_S = 8, 96, 2.0, 0.8
START_TIMEOUT_S = 180.0


class SleepingPolicy:
    """Takes its time, and answers with the frame's number."""

    def __init__(self, model_s: float, steps: int) -> None:
        shape = SimpleNamespace(shape=(3, IMAGE_SIZE, IMAGE_SIZE))
        self.config = SimpleNamespace(image_features={f"observation.images.{name}": shape for name in CAMERAS})
        self._model_s, self._steps = model_s, steps

    def predict_action_chunk(self, observation: dict[str, torch.Tensor]) -> torch.Tensor:
        """(1, steps, joints), all of them the first joint's state."""
        time.sleep(self._model_s)
        return torch.full((1, self._steps, JOINTS), float(observation["observation.state"].reshape(-1)[0]))


class Server(PolicyServer):
    """lerobot's server with that policy, in place of one from a checkpoint."""

    def __init__(self, config: PolicyServerConfig, policy: SleepingPolicy) -> None:
        super().__init__(config)
        self._given = policy

    def SendPolicyInstructions(self, request, context):  # noqa: N802, D102
        import pickle

        specs = pickle.loads(request.data)  # our own client's, on this machine
        self.lerobot_features, self.actions_per_chunk = specs.lerobot_features, specs.actions_per_chunk
        self.policy, self.device, self.policy_type = self._given, "cpu", specs.policy_type
        self.preprocessor = self.postprocessor = lambda x: x
        return services_pb2.Empty()


class Robot:
    """Three cameras at 30 Hz, read as lerobot reads them: the newest frame, from memory."""

    def __init__(self) -> None:
        self.observation_features = {f"joint_{i}": float for i in range(JOINTS)}
        self.observation_features |= dict.fromkeys(CAMERAS, (480, 640, 3))
        self.action_features = {f"joint_{i}": float for i in range(JOINTS)}
        noise = np.random.default_rng(0)
        self._pictures = [noise.integers(0, 256, (480, 640, 3), dtype=np.uint8) for _ in range(4)]
        self._frame = -1
        self.captured: dict[int, float] = {}
        self.acted: dict[int, float] = {}
        self._seen = threading.Event()
        threading.Thread(target=self._film, daemon=True).start()

    def connect(self) -> None:
        """Wait for the first frame."""
        self._seen.wait()

    def disconnect(self) -> None:
        """Nothing to do."""

    def get_observation(self) -> dict:
        """The newest frame."""
        frame = self._frame
        joints = {f"joint_{i}": STEP_S * frame if i == 0 else 0.0 for i in range(JOINTS)}
        return joints | {name: self._pictures[(frame + i) % 4] for i, name in enumerate(CAMERAS)}

    def send_action(self, action: dict) -> dict:
        """Note which frame it comes from."""
        frame = round(action["joint_0"] / STEP_S)
        self.acted.setdefault(frame, time.monotonic())
        return action

    def _film(self) -> None:
        due = time.monotonic()
        while True:
            due += 1.0 / CAMERA_HZ
            time.sleep(max(0.0, due - time.monotonic()))
            self.captured[self._frame + 1] = time.monotonic()
            self._frame += 1
            self._seen.set()


def serve(port: int, model_s: float, fps: float) -> None:
    """Run the server until it is ended."""
    config = PolicyServerConfig(host="127.0.0.1", port=port, fps=int(fps), inference_latency=0.0, obs_queue_timeout=1)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    policy = SleepingPolicy(model_s, round(CHUNK_S * fps))
    services_pb2_grpc.add_AsyncInferenceServicer_to_server(Server(config, policy), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def listening(port: int) -> bool:
    """Whether the server has come up."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Run both for a while."""
    seconds, model_s, fps = float(sys.argv[1]), float(sys.argv[2]) * 1e-3, float(sys.argv[3])
    port = 18080 + os.getpid() % 1000
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(port, model_s, fps), daemon=True)
    server.start()
    until = time.monotonic() + START_TIMEOUT_S
    while not listening(port):
        if time.monotonic() > until:
            raise SystemExit("lerobot's server does not start")
        time.sleep(0.2)
    robot = Robot()
    robot_client.make_robot_from_config = lambda _: robot
    client = robot_client.RobotClient(
        robot_client.RobotClientConfig(
            policy_type="act",
            pretrained_name_or_path="none",
            robot=None,
            actions_per_chunk=round(CHUNK_S * fps),
            server_address=f"127.0.0.1:{port}",
            chunk_size_threshold=1.0,  # an observation a step: as often as it can
            fps=int(fps),
            aggregate_fn_name="latest_only",
        )
    )
    if not client.start():
        raise SystemExit("the client does not reach its server")
    threads = [
        threading.Thread(target=client.receive_actions, daemon=True),
        threading.Thread(target=client.control_loop, kwargs={"task": "none"}, daemon=True),
    ]
    for thread in threads:
        thread.start()
    time.sleep(3.0 + seconds)
    pairs = [(robot.captured[f], at) for f, at in sorted(robot.acted.items()) if f in robot.captured]
    begin = pairs[-1][1] - seconds if pairs else 0.0
    print("\n" + json.dumps([pair for pair in pairs if pair[1] >= begin]), flush=True)
    server.kill()
    os._exit(0)


if __name__ == "__main__":
    main()
