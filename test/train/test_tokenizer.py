"""The tokenizer learns, keeps its codebook in use, and resumes exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from f1_ros.errors import ConfigError
from f1_ros.model.config import F1Config
from f1_ros.model.tokenizer import VisualTokenizer
from f1_ros.train.tokenizer import (
    CodebookAverage,
    TokenizerTraining,
    by_scale,
    colour_weights,
    encode_all,
    reconstruction_loss,
    train_tokenizer,
)


def new_tokenizer(config: F1Config) -> VisualTokenizer:
    torch.manual_seed(0)
    assert config.vae is not None
    return VisualTokenizer(config.vae, config.scales)


def test_training_brings_the_picture_closer(run_folder: Path, network_config: F1Config) -> None:
    frames = np.load(run_folder / "demos" / "front.npy")
    tokenizer = new_tokenizer(network_config)
    wanted = torch.from_numpy(frames[:8]).permute(0, 3, 1, 2).float() / 127.5 - 1

    def error() -> float:
        with torch.no_grad():
            return float((tokenizer.decode(tokenizer.encode(wanted)) - wanted).abs().mean())

    before = error()
    settings = TokenizerTraining(steps=60, batch=8, rate=5e-3, warmup=5)
    train_tokenizer(tokenizer, frames, settings, coarse_scales=2, seed=1, state_path=run_folder / "t.pt", log_every=30)
    assert error() < 0.5 * before
    codes = encode_all(tokenizer, frames)
    assert codes.shape == (48, 21)
    assert len(np.unique(codes)) > 4


def test_a_resumed_run_ends_where_the_whole_one_does(run_folder: Path, network_config: F1Config) -> None:
    frames = np.load(run_folder / "demos" / "front.npy")
    settings = TokenizerTraining(steps=6, batch=4, warmup=2)

    def train(tokenizer: VisualTokenizer, frames: np.ndarray, name: str) -> None:
        path = run_folder / name
        train_tokenizer(tokenizer, frames, settings, coarse_scales=2, seed=1, state_path=path, log_every=2)

    whole = new_tokenizer(network_config)
    train(whole, frames, "whole.pt")

    class Interrupted(np.ndarray):
        reads = 0

        def __getitem__(self, index: object) -> np.ndarray:
            Interrupted.reads += 1
            if Interrupted.reads == 6:  # the colours, then four batches
                raise KeyboardInterrupt
            return np.asarray(self).__getitem__(index)

    with pytest.raises(KeyboardInterrupt):
        train(new_tokenizer(network_config), frames.view(Interrupted), "cut.pt")
    resumed = new_tokenizer(network_config)
    train(resumed, frames, "cut.pt")
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_a_dead_code_restarts_from_an_input() -> None:
    codebook = torch.tensor([[0.0], [100.0]])
    average = CodebookAverage(codebook, decay=0.5, dead_after=0.3)
    inputs = torch.tensor([[1.0], [1.0]])
    generator = torch.Generator().manual_seed(0)
    restarted = [average.update(inputs, torch.tensor([0, 0]), generator) for _ in range(2)]
    assert restarted == [0, 1]
    assert codebook[1].item() == 1.0


def test_a_rare_colour_outweighs_one_that_fills_the_picture() -> None:
    frames = np.zeros((4, 10, 10, 3), np.uint8)
    frames[:, :5] = 255  # half of it bright, half dark, and one red pixel
    frames[:, 0, 0] = (255, 0, 0)
    weights = colour_weights(frames, 1.0, np.random.default_rng(0))
    dark, red, bright = weights[0], weights[48], weights[63]
    assert (red / dark).item() == pytest.approx(50.0)
    assert (bright / dark).item() == pytest.approx(50 / 49)
    assert (50 * dark + red + 49 * bright).item() == pytest.approx(100.0)  # mean 1
    assert torch.all(colour_weights(frames, 0.0, np.random.default_rng(0)) == 1.0)

    pictures = torch.from_numpy(frames[:1]).permute(0, 3, 1, 2).float() / 127.5 - 1
    wrong_cube, wrong_belt = pictures.clone(), pictures.clone()
    wrong_cube[..., 0, 0] += 0.1
    wrong_belt[..., 9, 9] += 0.1
    ratio = reconstruction_loss(wrong_cube, pictures, weights) / reconstruction_loss(wrong_belt, pictures, weights)
    assert ratio.item() == pytest.approx(50.0, rel=1e-4)


def test_codes_are_reordered_scale_by_scale() -> None:
    codes = torch.tensor([[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]])
    assert by_scale(codes, (1, 2)).tolist() == [0, 10, 1, 2, 3, 4, 11, 12, 13, 14]


def test_nonsense_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="coarse_share"):
        TokenizerTraining(coarse_share=1.5)
    with pytest.raises(ConfigError, match="rarity"):
        TokenizerTraining(rarity=-1.0)
