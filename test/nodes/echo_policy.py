"""A policy node whose engine's answers are known beforehand: run as a process by test_policy_node.py.

The first joint's action is the first joint's state, but for the committed prefix; the gripper's shows the inference's
seed. The instruction says how to behave: "slow", "break" (as an engine does), "crash" (as a bug does), "hang", "not a
number".
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from f1_ros.engine.protocol import EngineInfo, Foresight, InferenceResult, PolicySpec
from f1_ros.errors import CheckpointError, EngineError
from f1_ros.nodes.lifecycle import run
from f1_ros.nodes.policy_node import PolicyNode

SPEC = PolicySpec(
    name="echo",
    robot="toy",
    cameras=("front",),
    image_size=8,
    history_resize=8,
    history_size=8,
    history_offsets=(-3, 0),
    foresight_offset=6,
    step_s=0.05,
    first_step_offset=1,
    state_names=("j1", "gripper"),
    action_names=("j1", "gripper"),
    chunk_size=4,
    default_instruction="echo",
    trained_prefix_steps=3,
)
SLOW_S = 0.4


class EchoEngine:
    def __init__(self, folder: Path, engine: str, threads: int, *, say: Callable[[str], None]) -> None:
        if folder.name == "missing":
            raise CheckpointError(f"{folder}: model.safetensors is missing.", remedy="Take the checkpoint anew.")
        self.spec = replace(SPEC, trained_prefix_steps=0) if folder.name == "untrained" else SPEC
        self.info = EngineInfo(engine, guides=engine in ("auto", "torch"))
        if engine == "to be built":
            for stage in range(6):
                say(f"Building: {stage} of 6 stages.")
                time.sleep(1.1)
        if engine == "unchecked":
            self.info = replace(self.info, directory="/engine", objection="it was not checked against PyTorch")
        self._warm = False

    def warm_up(self) -> None:
        self._warm = True

    def infer(self, observation, instruction: str, seed: int, running=None, *, on_near=None) -> InferenceResult:
        assert self._warm
        if instruction == "slow":
            time.sleep(SLOW_S)
        if instruction == "break":
            raise EngineError("The engine is broken.", remedy="Mend it.")
        if instruction == "crash":
            raise KeyError("a bug")
        if instruction == "hang":
            threading.Event().wait()
        actions = np.tile([observation.state[0], seed / 2**66], (SPEC.chunk_size, 1))
        if running is not None:
            actions[: running.committed] = running.actions[: running.committed]
        if instruction == "not a number":
            actions[2, 0] = np.nan
        target_ns = observation.stamp_ns + 300_000_000
        return InferenceResult(actions, Foresight(np.arange(5), (1, 2), target_ns), {"flow": 1.0, "total": 2.0})

    def decode_foresight(self, foresight: Foresight) -> np.ndarray:
        return np.full((8, 8, 3), foresight.codes[-1], dtype=np.uint8)

    def close(self) -> None:
        self._warm = False


if __name__ == "__main__":
    sys.exit(run(lambda: [PolicyNode(open_engine=EchoEngine)]))
