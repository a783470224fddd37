"""The eager PyTorch engine: the reference that every other engine is compared with."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f1_ros.engine.policy import STATS_FILE, load_policy_file
from f1_ros.engine.protocol import Array, Foresight, ForesightUse, InferenceResult, PolicySpec, Running
from f1_ros.errors import CheckpointError, ConfigError, EngineError
from f1_ros.model.checkpoint import load_policy_network
from f1_ros.model.config import KeypointConvConfig
from f1_ros.model.guided import soft_mask
from f1_ros.model.language import LanguageTokenizer
from f1_ros.model.phases import Prefix
from f1_ros.observe.normalise import Normaliser
from f1_ros.observe.observation import Observation

# History frames lie on a fixed grid of stamps, so a frame is needed for this many strides at most.
CACHED_FRAMES = 16


class TorchEngine:
    """Runs a policy in eager PyTorch, float32 on the CPU. See `Engine` for the contract.

    A history frame's tokens are computed once and kept by its stamp. Stamps that run backward (a clock reset) empty
    the cache.
    """

    def __init__(self, policy_dir: Path, *, threads: int = 1, foresight: ForesightUse = "own") -> None:
        if threads < 1:
            raise ConfigError(f"threads is {threads}.", remedy="Give at least 1.")
        self._file = load_policy_file(policy_dir)
        self._network = load_policy_network(policy_dir).eval().requires_grad_(False)
        config = self._network.config
        spec = self._file.spec
        if config.chunk_size != spec.chunk_size or config.image_size != spec.image_size:
            raise CheckpointError(
                f"{policy_dir}: config.json (chunk {config.chunk_size}, image {config.image_size}) and policy.json "
                f"(chunk {spec.chunk_size}, image {spec.image_size}) disagree.",
                remedy="Use the two files of one checkpoint.",
            )
        images = config.vision.images if isinstance(config.vision, KeypointConvConfig) else None
        if images not in (None, len(spec.cameras) + len(spec.past_images)):
            raise CheckpointError(
                f"{policy_dir}: config.json takes {images} images, policy.json gives {len(spec.cameras)} cameras and "
                f"{len(spec.past_images)} past images.",
                remedy="Use the two files of one checkpoint.",
            )
        predicts = config.use_world_model and self._file.foresight
        if foresight != "own" and not predicts:
            raise ConfigError(
                f"{policy_dir}: foresight shall be {foresight}, but the policy predicts none.",
                remedy="Run it with its own, or choose a policy with foresight.",
            )
        self._foresight: ForesightUse = foresight if predicts else "skipped"
        self._language = LanguageTokenizer(policy_dir, config.tokenizer_max_length, config.und.vocab_size)
        stats = _load_stats(policy_dir)
        self._state_stats = Normaliser.from_stats(stats["observation.state"], config.max_state_dim)
        self._action_stats = Normaliser.from_stats(stats["action"], config.max_action_dim)
        self._threads = threads
        self._frames: OrderedDict[int, Tensor] = OrderedDict()
        self._instruction: tuple[str, Tensor, Tensor] | None = None

    @property
    def spec(self) -> PolicySpec:
        """What the policy expects and gives."""
        return self._file.spec

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
        guided = running is not None and running.guided
        # Inference mode is a tenth faster, but guidance goes back through the flow from what is computed here.
        with torch.no_grad() if guided else torch.inference_mode():
            return self._infer(observation, instruction, seed, running, on_near)

    def _infer(
        self,
        observation: Observation,
        instruction: str,
        seed: int,
        running: Running | None,
        on_near: Callable[[Array], None] | None,
    ) -> InferenceResult:
        self._check(observation)
        near = self._near_steps(on_near is not None)
        self._check_running(running, near)
        guided = running is not None and running.guided
        ahead = running.actions[: running.committed] if running is not None and not guided else self._no_actions()
        torch.set_num_threads(self._threads)  # a thread's own setting: the caller's thread may be new
        clock = _StageClock()
        generator = torch.Generator().manual_seed(seed)
        network = self._network
        history = None
        if network.config.use_world_model and network.config.use_history:
            history = network.history_embeds(self._history_inputs(observation))
        clock.lap("history")
        tokens, mask = self._tokenise(instruction)
        seen = [name in observation.cameras for name in self.spec.cameras]
        present = torch.tensor([[*seen, *(seen[0] for _ in self.spec.past_images)]])
        images = self._images(observation)
        prefix = network.prefix(images, present, tokens, mask, history)
        clock.lap("prefix")
        foresight = None
        if self._foresight != "skipped":
            codes = self._predict(prefix, generator)
            if self._foresight == "shuffled":
                codes = self._shuffled(codes, generator)
                prefix = network.prefix(images, present, tokens, mask, history)
                network.foresight(prefix, teacher=codes)
            foresight = Foresight(
                codes=codes[0].numpy(),
                scale_sizes=tuple(network.config.scales[: network.config.num_resolutions]),
                target_stamp_ns=observation.stamp_ns + round(self.spec.foresight_offset * self.spec.step_s * 1e9),
            )
        clock.lap("foresight")
        state = torch.from_numpy(self._state_stats.normalise(observation.state)).float()[None]
        shape = (1, network.config.chunk_size, network.config.max_action_dim)
        noise = torch.randn(shape, generator=generator) * self._file.noise_scale

        def absolute(x: Tensor) -> Array:
            actions = self._file.from_network(self._action_stats.denormalise(x[0].double().numpy()), observation.state)
            actions[: len(ahead)] = ahead
            if not np.isfinite(actions).all():
                raise EngineError(
                    "The policy's actions hold NaN or infinity.",
                    remedy="Check the checkpoint's statistics (stats.json) against this robot's state.",
                )
            return actions

        def send_near(x: Tensor) -> None:
            assert on_near is not None
            actions = absolute(x)[: len(ahead) + near]
            clock.mark("near")
            on_near(actions)

        x = network.sample_actions(
            prefix,
            state,
            noise,
            committed=self._to_network(ahead, observation.state) if len(ahead) else None,
            near=near,
            on_near=None if on_near is None else send_near,
            guide=self._guide(running, observation.state) if running is not None and guided else None,
        )
        actions = absolute(x)
        clock.lap("flow")
        return InferenceResult(actions=actions, foresight=foresight, stage_ms=clock.finish())

    @torch.inference_mode()
    def decode_foresight(self, foresight: Foresight) -> NDArray[np.uint8]:
        """Decode predicted tokens to an RGB picture."""
        picture = self._network.tokenizer.decode(torch.from_numpy(foresight.codes)[None])[0]
        scaled = picture.clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to(torch.uint8)
        return scaled.permute(1, 2, 0).contiguous().numpy()

    def close(self) -> None:
        """Free the weights and the cache."""
        self._frames.clear()
        self._network.to("meta")

    def _predict(self, prefix: Prefix, generator: torch.Generator) -> Tensor:
        """Foresight codes (1, F); the prefix is extended by their tokens."""
        top_k, top_p = self._file.foresight_top_k, self._file.foresight_top_p
        return self._network.foresight(prefix, generator, top_k=top_k, top_p=top_p, greedy=top_k == 1).codes

    def _shuffled(self, codes: Tensor, generator: torch.Generator) -> Tensor:
        """Codes (1, F), each scale's in random order."""
        parts = self._network.tokenizer.split(codes)
        return torch.cat([p[:, torch.randperm(p.shape[1], generator=generator)] for p in parts], dim=1)

    def _check(self, observation: Observation) -> None:
        spec = self.spec
        images = (len(observation.cameras), 3, spec.image_size, spec.image_size)
        history = (len(spec.history_offsets), 3, spec.history_size, spec.history_size)
        problems = []
        if not observation.cameras or not set(observation.cameras) <= set(spec.cameras):
            problems.append(f"cameras {observation.cameras}, expected of {spec.cameras}")
        if observation.images.shape != images:
            problems.append(f"images {observation.images.shape}, expected {images}")
        if observation.history.shape != history:
            problems.append(f"history {observation.history.shape}, expected {history}")
        if observation.state_names != spec.state_names or observation.state.shape != (len(spec.state_names),):
            problems.append(f"state {observation.state_names}, expected {spec.state_names}")
        elif not np.isfinite(observation.state).all():
            problems.append("state with NaN or infinity")
        if problems:
            raise EngineError(
                f"The observation does not fit policy '{spec.name}': {'; '.join(problems)}.",
                remedy="Use the profile that the policy was trained for, or another policy.",
            )

    def _check_running(self, running: Running | None, near: int) -> None:
        if running is None:
            return
        spec, joints = self.spec, len(self.spec.action_names)
        if running.actions.shape[1] != joints or len(running.actions) > spec.chunk_size:
            raise EngineError(
                f"The running plan has shape {running.actions.shape}; policy '{spec.name}' plans at most "
                f"{spec.chunk_size} steps of {joints} joints.",
                remedy="Give the actions in the order of action_names, at the steps of the next chunk.",
            )
        if running.guided and near:
            raise EngineError(
                "Guidance and near steps that are sent ahead do not go together.", remedy="Choose one of them."
            )
        if not running.guided and running.committed > spec.trained_prefix_steps:
            raise EngineError(
                f"Policy '{spec.name}' was trained to plan from at most {spec.trained_prefix_steps} committed steps, "
                f"not from {running.committed}.",
                remedy="Give no running plan, guide it, or train the policy with a larger policy.prefix_steps_max.",
            )

    def _no_actions(self) -> Array:
        return np.zeros((0, len(self.spec.action_names)))

    def _near_steps(self, wanted: bool) -> int:
        if wanted and not self.spec.trained_near_steps:
            raise EngineError(
                f"Policy '{self.spec.name}' was not trained to have near steps ready ahead of the others.",
                remedy="Give no on_near, or train it with policy.near_steps above 0.",
            )
        return self.spec.trained_near_steps if wanted else 0

    def _to_network(self, ahead: Array, state: Array) -> Tensor:
        """Absolute actions (n, joints) as the network has them, (1, n, A)."""
        chunk = np.concatenate([ahead, np.tile(ahead[-1:], (self.spec.chunk_size - len(ahead), 1))])
        actions = self._action_stats.normalise(self._file.to_network(chunk, state))
        return torch.from_numpy(actions[None, : len(ahead)]).float()

    def _guide(self, running: Running, state: Array) -> tuple[Tensor, Tensor]:
        """Plan (1, n, A) and weights (n,), for `F1Model.sample_actions`."""
        weights = soft_mask(running.committed, len(running.actions))
        return self._to_network(running.actions, state), torch.tensor(weights)

    def _images(self, observation: Observation) -> Tensor:
        """(1, C, 3, S, S): cameras in the model's order, then past images; a missing camera is zeros and masked."""
        by_name = dict(zip(observation.cameras, observation.images, strict=True))
        blank = np.zeros_like(observation.images[0])
        images = torch.from_numpy(np.stack([by_name.get(name, blank) for name in self.spec.cameras]))
        past = torch.from_numpy(observation.history[list(self.spec.past_images)]).float().div_(127.5).sub_(1.0)
        return torch.cat([images, past])[None]

    def _history_inputs(self, observation: Observation) -> Tensor:
        """(1, T, L-1, C) tokenizer inputs of the history frames, from the cache where they are known."""
        stamps = observation.history_stamps_ns
        if self._frames and stamps[-1] < next(reversed(self._frames)):
            self._frames.clear()
        missing = [i for i, stamp in enumerate(stamps) if stamp not in self._frames]
        if missing:
            frames = torch.from_numpy(observation.history[missing]).float().div_(127.5).sub_(1.0)
            inputs = self._network.tokenizer.var_input(self._network.tokenizer.encode(frames))
            for index, value in zip(missing, inputs, strict=True):
                self._frames[stamps[index]] = value
        history = torch.stack([self._frames[stamp] for stamp in stamps])[None]
        while len(self._frames) > CACHED_FRAMES:
            self._frames.popitem(last=False)
        return history

    def _tokenise(self, instruction: str) -> tuple[Tensor, Tensor]:
        if self._instruction is None or self._instruction[0] != instruction:
            self._instruction = (instruction, *self._language([instruction]))
        return self._instruction[1], self._instruction[2]


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
