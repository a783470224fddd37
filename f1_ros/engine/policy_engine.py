"""From an observation to an action chunk, whatever runs the network's stages.

All that is the policy's and not the network's stands here once: what is refused, normalisation, what is computed once
and kept, foresight's draws, what a chunk goes on from, and the time that each stage takes.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f1_ros.engine.caches import FrameCache, TextCache
from f1_ros.engine.checks import check_observation, check_running, near_steps
from f1_ros.engine.layout import Layout, StageRunner
from f1_ros.engine.policy import STATS_FILE, PolicyFile
from f1_ros.engine.protocol import Array, EngineInfo, Foresight, ForesightUse, InferenceResult, PolicySpec, Running
from f1_ros.engine.staged import StagedNetwork
from f1_ros.errors import CheckpointError, ConfigError, EngineFailedError
from f1_ros.model.config import F1Config
from f1_ros.model.flow import integrate
from f1_ros.model.guided import guided, soft_mask
from f1_ros.model.language import LanguageTokenizer
from f1_ros.model.sampling import sample_codes
from f1_ros.observe.normalise import Normaliser
from f1_ros.observe.observation import Observation


def with_scales(policy_dir: Path, config: F1Config, scales: int) -> F1Config:
    """A network that predicts only the first scales of its foresight, with the same weights; 0: all of them.

    What comes after foresight sees fewer tokens and moves up to where they ended, as in a network of so many scales.

    Raises:
        ConfigError: if it does not predict so many.
    """
    if not scales:
        return config
    if not config.use_world_model or scales > config.num_resolutions:
        raise ConfigError(
            f"{policy_dir} predicts {config.num_resolutions} scales of foresight, foresight_scales is {scales}.",
            remedy="Give at most as many, or 0 for the network's own.",
        )
    return dataclasses.replace(config, num_resolutions=scales)


def policy_layout(
    policy_dir: Path, file: PolicyFile, config: F1Config, foresight: bool = True, foresight_scales: int = 0
) -> Layout:
    """The stages of a policy directory's network, as the policy uses it.

    Args:
        policy_dir: for messages.
        file: its `policy.json`.
        config: its `config.json`.
        foresight: false leaves out foresight even if the policy has it.
        foresight_scales: see `with_scales`.

    Raises:
        CheckpointError: if `config.json` and `policy.json` are of two checkpoints.
        ConfigError: as `with_scales`.
    """
    config = with_scales(policy_dir, config, foresight_scales)
    spec = file.spec
    if config.chunk_size != spec.chunk_size or config.image_size != spec.image_size:
        raise CheckpointError(
            f"{policy_dir}: config.json (chunk {config.chunk_size}, image {config.image_size}) and policy.json "
            f"(chunk {spec.chunk_size}, image {spec.image_size}) disagree.",
            remedy="Use the two files of one checkpoint.",
        )
    try:
        images = len(spec.cameras) + len(spec.past_images)
        return Layout(config, images, config.tokenizer_max_length, foresight and file.foresight)
    except CheckpointError as error:
        raise CheckpointError(f"{policy_dir}: {error.problem}", remedy=error.remedy) from error


class PolicyEngine:
    """Runs a policy by the stages of its network. See `Engine` for the contract.

    Args:
        policy_dir: the policy directory, for statistics and language tokenizer.
        file: its `policy.json`.
        stages: what runs the network.
        threads: CPU threads that PyTorch may use.
        foresight: see `ForesightUse`.
        flow_steps: Euler steps; 0: the network's own.

    Raises:
        ConfigError: on a number out of range, or a use of foresight that the policy does not have.
        CheckpointError: if a file of the policy is missing or damaged.
    """

    def __init__(
        self,
        policy_dir: Path,
        file: PolicyFile,
        stages: StageRunner,
        *,
        threads: int = 1,
        foresight: ForesightUse = "own",
        flow_steps: int = 0,
    ) -> None:
        if threads < 1:
            raise ConfigError(f"threads is {threads}.", remedy="Give at least 1.")
        self._file, self._layout = file, stages.layout
        self._network = StagedNetwork(stages)
        self._config = config = stages.layout.config
        self._flow_steps = flow_steps or config.num_steps
        if foresight != "own" and not (file.foresight and config.use_world_model):
            raise ConfigError(
                f"{policy_dir}: foresight shall be {foresight}, but the policy predicts none.",
                remedy="Run it with its own, or choose a policy with foresight.",
            )
        self._foresight: ForesightUse = foresight if self._layout.predicts else "skipped"
        stats = _load_stats(policy_dir)
        self._state_stats = Normaliser.from_stats(stats["observation.state"], config.max_state_dim)
        self._action_stats = Normaliser.from_stats(stats["action"], config.max_action_dim)
        self._threads = threads
        self._frames = FrameCache()
        language = LanguageTokenizer(policy_dir, config.tokenizer_max_length, config.und.vocab_size)
        self._text = TextCache(language, self._network.words)

    @property
    def spec(self) -> PolicySpec:
        """What the policy expects and gives."""
        return self._file.spec

    @property
    def info(self) -> EngineInfo:
        """What runs the policy."""
        return self._network.runner.info

    def warm_up(self) -> None:
        """Run once on zeros."""
        spec = self.spec
        frames = len(spec.history_offsets)
        self.infer(
            Observation(
                stamp_ns=0,
                cameras=spec.cameras,
                camera_stamps_ns=(0,) * len(spec.cameras),
                images=np.zeros((len(spec.cameras), 3, spec.image_size, spec.image_size), dtype=np.float32),
                history=np.zeros((frames, 3, spec.history_size, spec.history_size), dtype=np.uint8),
                history_stamps_ns=tuple(range(frames)),
                state_names=spec.state_names,
                state=np.zeros(len(spec.state_names)),
            ),
            spec.default_instruction,
            seed=0,
        )
        self._frames.clear()

    def infer(
        self,
        observation: Observation,
        instruction: str,
        seed: int,
        running: Running | None = None,
        *,
        on_near: Callable[[Array], None] | None = None,
    ) -> InferenceResult:
        """Predict foresight and the action chunk."""
        check_observation(self.spec, observation)
        near = near_steps(self.spec, on_near is not None)
        if running is not None:
            check_running(self.spec, running, near=near > 0, guides=self.info.guides)
        # Inference mode is a tenth faster, but guidance goes back through the flow from what is computed here.
        with torch.no_grad() if running is not None and running.guided else torch.inference_mode():
            return self._infer(observation, instruction, seed, running, near, on_near)

    def _infer(
        self,
        observation: Observation,
        instruction: str,
        seed: int,
        running: Running | None,
        near: int,
        on_near: Callable[[Array], None] | None,
    ) -> InferenceResult:
        torch.set_num_threads(self._threads)  # a thread's own setting: the caller's thread may be new
        clock = _StageClock()
        generator = torch.Generator().manual_seed(seed)
        history = self._history(observation) if self._layout.remembers else None
        clock.lap("history")
        logits = self._read(observation, instruction, history)
        clock.lap("prefix")
        foresight = self._predict(observation, logits, generator)
        clock.lap("foresight")
        actions = self._act(observation, generator, running, near, on_near, clock)
        clock.lap("flow")
        return InferenceResult(actions=actions, foresight=foresight, stage_ms=clock.finish())

    @torch.inference_mode()
    def decode_foresight(self, foresight: Foresight) -> NDArray[np.uint8]:
        """Decode predicted tokens to an RGB picture."""
        picture = self._network.decode(torch.from_numpy(foresight.codes)[None])[0]
        scaled = picture.clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to(torch.uint8)
        return scaled.permute(1, 2, 0).contiguous().numpy()

    def close(self) -> None:
        """Free the weights and what is kept."""
        self._frames.clear()
        self._network.runner.close()

    def _history(self, observation: Observation) -> Tensor:
        """(1, T, L - 1, C) VAR inputs of the history frames, from the cache where they are known."""

        def encode(index: int) -> Tensor:
            frame = torch.from_numpy(observation.history[[index]]).float().div_(127.5).sub_(1.0)
            return self._network.encode(frame)[1][0]

        return self._frames.get(observation.history_stamps_ns, encode)

    def _read(self, observation: Observation, instruction: str, history: Tensor | None) -> Tensor | None:
        """Read an observation; the logits of foresight's first scale."""
        words, language_mask = self._text.get(instruction)
        seen = [name in observation.cameras for name in self.spec.cameras]
        present = torch.tensor([[*seen, *(seen[0] for _ in self.spec.past_images)]])
        return self._network.read(self._images(observation), present, words, language_mask, history)

    def _predict(self, observation: Observation, logits: Tensor | None, generator: torch.Generator) -> Foresight | None:
        """Predict foresight for the flow to see; None where it is skipped."""
        if self._foresight == "skipped":
            return None
        assert logits is not None
        top_k, top_p = self._file.foresight_top_k, self._file.foresight_top_p

        def draw(scale: int, logits: Tensor) -> Tensor:
            return sample_codes(logits, top_k, top_p, generator, greedy=top_k == 1)

        codes = self._network.foresight(logits, draw)
        if self._foresight == "shuffled":
            mixed = [part[:, torch.randperm(part.shape[1], generator=generator)] for part in codes]
            codes = self._network.foresight(logits, lambda scale, _: mixed[scale])
        return Foresight(
            codes=torch.cat(codes, dim=1)[0].numpy(),
            scale_sizes=self._layout.scales,
            target_stamp_ns=observation.stamp_ns + round(self.spec.foresight_offset * self.spec.step_s * 1e9),
        )

    def _act(
        self,
        observation: Observation,
        generator: torch.Generator,
        running: Running | None,
        near: int,
        on_near: Callable[[Array], None] | None,
        clock: _StageClock,
    ) -> Array:
        """Follow the flow to absolute actions (chunk, joints)."""
        config = self._config
        state = torch.from_numpy(self._state_stats.normalise(observation.state)).float()[None]
        shape = (1, config.chunk_size, config.max_action_dim)
        noise = torch.randn(shape, generator=generator) * self._file.noise_scale
        is_guided = running is not None and running.guided
        ahead = np.zeros((0, len(self.spec.action_names)))
        if running is not None and not is_guided:
            ahead = running.actions[: running.committed]

        def absolute(x: Tensor) -> Array:
            actions = self._file.from_network(self._action_stats.denormalise(x[0].double().numpy()), observation.state)
            actions[: len(ahead)] = ahead
            if not np.isfinite(actions).all():
                raise EngineFailedError(
                    "The policy's actions hold NaN or infinity.",
                    remedy="Check the checkpoint's statistics (stats.json) against this robot's state.",
                )
            return actions

        def send_near(x: Tensor) -> None:
            assert on_near is not None
            actions = absolute(x)[: len(ahead) + near]
            clock.mark("near")
            on_near(actions)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            return self._network.velocity(state, x, t)

        follow: Callable[[Tensor, Tensor], Tensor] = velocity
        if running is not None and is_guided:
            weights = torch.tensor(soft_mask(running.committed, len(running.actions)))
            follow = guided(velocity, self._to_network(running.actions, observation.state), weights)
        x = integrate(
            follow,
            noise,
            self._flow_steps,
            committed=self._to_network(ahead, observation.state) if len(ahead) else None,
            near=near,
            on_near=None if on_near is None else send_near,
        )
        return absolute(x)

    def _to_network(self, ahead: Array, state: Array) -> Tensor:
        """Absolute actions (n, joints) as the network has them, (1, n, A)."""
        chunk = np.concatenate([ahead, np.tile(ahead[-1:], (self.spec.chunk_size - len(ahead), 1))])
        actions = self._action_stats.normalise(self._file.to_network(chunk, state))
        return torch.from_numpy(actions[None, : len(ahead)]).float()

    def _images(self, observation: Observation) -> Tensor:
        """(1, C, 3, S, S): cameras in the model's order, then past images; a missing camera is zeros and masked."""
        by_name = dict(zip(observation.cameras, observation.images, strict=True))
        blank = np.zeros_like(observation.images[0])
        images = torch.from_numpy(np.stack([by_name.get(name, blank) for name in self.spec.cameras]))
        if not self.spec.past_images:  # history may then have another size
            return images[None]
        past = torch.from_numpy(observation.history[list(self.spec.past_images)]).float().div_(127.5).sub_(1.0)
        return torch.cat([images, past])[None]


class _StageClock:
    """Times the stages of one inference, ms."""

    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()
        self._stages: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self._stages[stage] = (now - self._last) * 1e3
        self._last = now

    def mark(self, name: str) -> None:
        """Time since the start, apart from the stages."""
        self._stages[name] = (time.perf_counter() - self._began) * 1e3

    def finish(self) -> dict[str, float]:
        return {**self._stages, "total": (time.perf_counter() - self._began) * 1e3}


def _load_stats(folder: Path) -> dict[str, dict[str, object]]:
    path = folder / STATS_FILE
    try:
        stats = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}).", remedy="Take the checkpoint anew.") from error
    missing = [key for key in ("observation.state", "action") if key not in stats]
    if missing:
        raise CheckpointError(f"{path} has no statistics for {', '.join(missing)}.", remedy="Take the checkpoint anew.")
    return dict(stats)
