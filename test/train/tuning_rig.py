"""A tiny network, samples made in memory, and a run of them: imported by tests, and a script for runs to be killed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from f1_ros.config import parse
from f1_ros.data.samples import Drawn, Sample
from f1_ros.engine.policy import PolicyFile
from f1_ros.model.config import F1Config
from f1_ros.model.f1 import F1Model
from f1_ros.model.language import LanguageTokenizer
from f1_ros.train.batches import Batches
from f1_ros.train.finetune_config import TrainConfig
from f1_ros.train.trainer import Trainer
from f1_ros.train.words import save_word_tokenizer

TREE = json.loads((Path(__file__).parent / "tiny_network.json").read_text())
NAMES = ["joint1", "joint2", "gripper"]
POLICY = {
    "spec": {
        "name": "tiny",
        "robot": "test",
        "cameras": ["front", "wrist"],
        "image_size": 16,
        "history_resize": 16,
        "history_size": 16,
        "history_offsets": [-2, -1, 0],
        "foresight_offset": 1,
        "step_s": 0.1,
        "first_step_offset": 1,
        "state_names": NAMES,
        "action_names": NAMES,
        "chunk_size": 4,
        "default_instruction": "pick the cube",
    },
    "relative_actions": [False] * 3,
}
STATISTICS = {
    key: {"mode": "mean_std", "mean": [0.5, 0.0, 0.02], "std": [0.3, 0.7, 0.01]}
    for key in ("observation.state", "action")
}
SETTINGS: dict[str, Any] = {
    "stage": "finetune",
    "optimiser": {
        "steps": 6,
        "batch": 4,
        "warmup": 2,
        "rates": {"vision": 5e-4, "language": 1e-3, "generation": 1e-3, "action": 1e-3},
    },
    "start": {"policy": "tiny"},
    "logging": {"every": 1, "save_every": 2, "held_out_every": 6, "held_out_batches": 2},
}


class MovingSquare:
    """A bright square that moves right and an arm that follows it; SampleSource of `episodes` of 10 frames."""

    def __init__(self, first: int = 0, episodes: int = 4, poisoned: int | None = None) -> None:
        self.first, self.episodes, self.poisoned = first, episodes, poisoned

    def __len__(self) -> int:
        return self.episodes * 10

    def samples(self, drawn: Sequence[Drawn]) -> list[Sample]:
        return [self._sample(*one) for one in drawn]

    def _sample(self, index: int, generator: np.random.Generator) -> Sample:
        episode, frame = divmod(index, 10)
        noise = generator.normal(scale=0.01)  # as a random crop would
        at = np.arange(frame, frame + 5)
        arm = np.stack([at * 0.1 + noise, np.sin(at + self.first), np.full(5, 0.02)], axis=1).astype(np.float32)
        state = arm[0] * (np.nan if index == self.poisoned else 1.0)
        view = self._view(frame)
        return Sample(
            images=np.stack([view, view[:, ::-1]]).astype(np.float32) / 127.5 - 1,
            present=np.array([True, episode % 2 == 0]),
            history=np.stack([self._view(max(frame + i, 0)) for i in (-2, -1, 0)]),
            target=self._view(min(frame + 1, 9)),
            state=state.astype(np.float32),
            actions=arm[1:],
            action_is_pad=at[1:] > 9,
            instruction="pick the cube" if episode % 2 else "pick",
            dataset=0,
            episode=self.first + episode,
            frame=frame,
        )

    def _view(self, frame: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        view = np.full((3, 16, 16), 40, np.uint8)
        view[:, 2:6, frame % 8 : frame % 8 + 4] = np.array([220, 40, 30], np.uint8)[:, None, None]
        return view


def tiny_network_config(**changes: Any) -> F1Config:
    """tiny_network.json without past images."""
    tree = json.loads(json.dumps(TREE))
    tree["und_expert_config"]["vision_config"]["views"] = []
    return F1Config.from_dict({**tree, "max_action_dim": 4, "max_state_dim": 4, **changes})


def tiny_network(seed: int = 0) -> F1Model:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return F1Model(tiny_network_config())


def settings(**sections: Any) -> TrainConfig:
    """SETTINGS with keys of sections (mappings) or whole values replaced."""
    tree = json.loads(json.dumps(SETTINGS))
    for name, value in sections.items():
        tree[name] = {**tree.get(name, {}), **value} if isinstance(value, dict) else value
    return parse(tree, TrainConfig, source="test")


def tiny_batches(folder: Path, config: F1Config | None = None) -> Batches:
    config = config or tiny_network_config()
    words = folder / "words"
    if not words.exists():
        save_word_tokenizer(words, ["pick", "the", "cube"])
    language = LanguageTokenizer(words, config.tokenizer_max_length, config.und.vocab_size)
    return Batches(config, parse(POLICY, PolicyFile, source="test"), [STATISTICS], language)


def tiny_trainer(folder: Path, config: TrainConfig, *, train: MovingSquare | None = None) -> Trainer:
    return Trainer(
        config,
        tiny_network(),
        tiny_batches(folder),
        train or MovingSquare(),
        MovingSquare(first=4, episodes=2),
        folder,
        quiet=True,
    )


def lines(folder: Path, kind: str = "train") -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def losses(folder: Path) -> list[tuple[int, float, float]]:
    return [(row["step"], row["loss"], row["grad_norm"]) for row in lines(folder)]


def run_jobs(jobs: Sequence[Mapping[str, Any]]) -> None:
    """Runs one after the other; each leaves FOLDER/network.safetensors. With "again" the newest checkpoint is lost and
    the run goes on from the one before it."""
    for job in jobs:
        folder = Path(job["folder"])
        for attempt in range(2 if job.get("again") else 1):
            trainer = tiny_trainer(folder, settings(**job["sections"]))
            if attempt and trainer.accelerator.is_main_process:
                shutil.rmtree(max((folder / "checkpoints").iterdir()))
            trainer.accelerator.wait_for_everyone()
            network = trainer.run()
            if trainer.accelerator.is_main_process:
                (folder / f"losses{attempt}.json").write_text(json.dumps(losses(folder)))
                save_file(network.state_dict(), folder / "network.safetensors")


if __name__ == "__main__":
    run_jobs(json.loads(sys.argv[1]))
