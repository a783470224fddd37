import os
import secrets
from dataclasses import replace

import numpy as np
import pytest

from f1_ros.engine.protocol import EngineInfo, Foresight, InferenceResult, PolicySpec
from f1_ros.robots.profile import load_profile

# Before Ray is imported anywhere: a token of our own, or Ray would leave one in the home folder.
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_USAGE_STATS_ENABLED="0")

PROFILE = load_profile("franka_fr3")


class ScriptedEngine:
    """An engine that answers with what a function makes of the observation."""

    info = EngineInfo("stub", guides=True)

    def __init__(self, answer, world=None) -> None:
        self.answer = answer
        self.observations = []
        self.seeds = []
        self.instructions = []
        self.prefixes, self.running = [], []
        self.spec = PolicySpec(
            name="scripted",
            robot="franka",
            cameras=("front", "wrist"),
            image_size=96,
            history_resize=96,
            history_size=96,
            history_offsets=(-9, -6, -3, 0),
            foresight_offset=6,
            step_s=0.05,
            first_step_offset=1,
            state_names=PROFILE.state_names,
            action_names=PROFILE.action_names,
            chunk_size=16,
            default_instruction="pick",
        )
        if world is not None:  # of another robot than the Franka
            names = {"state_names": world.state_names, "action_names": world.state_names}
            self.spec = replace(self.spec, robot=world.profile, cameras=world.cameras, **names)

    def warm_up(self) -> None:
        pass

    def infer(self, observation, instruction, seed, running=None, *, on_near=None) -> InferenceResult:
        given = running is not None and not running.guided
        committed = running.actions[: running.committed] if given else np.zeros((0, len(self.spec.action_names)))
        self.running.append(running)
        self.prefixes.append(committed)
        self.observations.append(observation)
        self.seeds.append(seed)
        self.instructions.append(instruction)
        actions = np.asarray(self.answer(observation), dtype=float)
        actions[: len(committed)] = committed
        if on_near is not None:
            on_near(actions[: len(committed) + self.spec.trained_near_steps])
        return InferenceResult(actions, None)

    def decode_foresight(self, foresight: Foresight):
        raise NotImplementedError

    def close(self) -> None:
        pass


@pytest.fixture
def profile():
    return PROFILE


@pytest.fixture
def scripted():
    return ScriptedEngine
