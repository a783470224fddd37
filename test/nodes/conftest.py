"""Real nodes in processes of their own, over real DDS, each test in a domain of its own."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

REPO = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))  # the tests of this folder share `robot_rig`
PATIENCE_S = 60.0
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
# Two workers side by side take domains in turn, counted from what is their common parent's.
_domains = itertools.count(os.getppid() + int(_WORKER[2:]), 2) if _WORKER else itertools.count(os.getpid())


class Ros:
    """A node of the test's own, and the processes that the test has started."""

    def __init__(self, log_dir: Path) -> None:
        self.domain = 1 + next(_domains) % 101
        self.log_dir = log_dir
        self.context = Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.node = Node("test", context=self.context, namespace="test")
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._processes: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._stopped: list[subprocess.Popen[bytes]] = []

    def start(self, program: str | Path, **parameters: Any) -> subprocess.Popen[bytes]:
        """Start a node: a module of f1_ros.nodes by name, or a script by path."""
        name = f"{Path(program).stem}_{len(self._processes)}"
        given, log = self.log_dir / f"{name}.yaml", self.log_dir / f"{name}.log"
        given.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        command = [str(program)] if isinstance(program, Path) else ["-m", f"f1_ros.nodes.{program}"]
        environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(self.domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "PYTHONPATH": str(REPO),
            "OMP_NUM_THREADS": "1",
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, *command, "--ros-args", "--params-file", str(given)],
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._processes.append((process, log))
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """End a process as Ctrl-C does, and give its exit status."""
        self._stopped.append(process)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        return process.wait(timeout=10.0)

    def log(self, process: subprocess.Popen[bytes]) -> str:
        """What a process has said so far."""
        return next(path for known, path in self._processes if known is process).read_text()

    def spin(self, seconds: float) -> None:
        """Receive for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)

    def until(self, condition: Callable[[], Any], what: str, meanwhile: Callable[[], None] | None = None) -> Any:
        """Receive until the condition holds, and give its value.

        Fails with the processes' logs after a long time, or when a process has ended that was not stopped.
        """
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            if any(process.poll() is not None and process not in self._stopped for process, _ in self._processes):
                break
            if meanwhile is not None:
                meanwhile()
            self._executor.spin_once(timeout_sec=0.02)
        logs = "\n".join(f"--- {path.name}\n{path.read_text()}" for _, path in self._processes)
        raise AssertionError(f"{what}: not within {PATIENCE_S} s, or a process has ended.\n{logs}")

    def collect(self, kind: Any, topic: str, qos: Any) -> list[Any]:
        """List that grows with each message of a topic."""
        messages: list[Any] = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def call(self, kind: Any, service: str, request: Any) -> Any:
        """Answer of a service."""
        client = self.node.create_client(kind, service)
        self.until(client.service_is_ready, f"service {service}")
        future = client.call_async(request)
        self.until(future.done, f"answer of {service}")
        self.node.destroy_client(client)
        return future.result()

    def set_parameter(self, node: str, name: str, value: Any) -> Any:
        """Change a parameter of another node; gives rcl_interfaces/SetParametersResult."""
        from rcl_interfaces.srv import SetParameters

        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.call(SetParameters, f"{node}/set_parameters", request).results[0]

    def close(self) -> None:
        """End everything; what does not end when asked is killed, and the test fails."""
        for process, _ in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        try:
            for process, _ in self._processes:
                process.wait(timeout=10.0)
        finally:
            for process, _ in self._processes:
                process.kill()
            self._executor.shutdown()
            self.node.destroy_node()
            rclpy.try_shutdown(context=self.context)


@pytest.fixture
def ros(tmp_path: Path) -> Iterator[Ros]:
    system = Ros(tmp_path)
    try:
        yield system
    finally:
        system.close()


@pytest.fixture(scope="session")
def untrained_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy directory of the belt policy's form, with random weights: it runs, and knows nothing."""
    import torch

    from f1_ros.engine.policy import PolicyFile
    from f1_ros.engine.protocol import PolicySpec
    from f1_ros.model.config import F1Config
    from f1_ros.model.f1 import F1Model
    from f1_ros.train.export import write_policy

    settings = yaml.safe_load((REPO / "config" / "train" / "belt.yaml").read_text())
    network = json.loads((REPO / "config" / "train" / settings["network"]).read_text())
    spec = PolicySpec(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings["spec"].items()})
    torch.manual_seed(0)
    stats = {"mode": "mean_std", "mean": [0.0] * 8, "std": [0.01] * 8}
    folder = tmp_path_factory.mktemp("policy") / "untrained"
    write_policy(
        folder,
        F1Model(F1Config.from_dict(network)),
        PolicyFile(spec, tuple(settings["relative_actions"])),
        {"observation.state": stats, "action": stats},
        settings["words"],
    )
    return folder
