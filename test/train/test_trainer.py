"""The training loop: losses, groups, stages, resuming to the bit, several processes, stopping."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tuning_rig import MovingSquare, lines, losses, settings, tiny_network, tiny_trainer

from f1_ros.errors import CheckpointError, ConfigError, TrainingError
from f1_ros.model.f1 import F1Model

RIG = Path(__file__).parent / "tuning_rig.py"


def start(jobs: list[dict[str, Any]], environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """`tuning_rig.run_jobs` in a process of its own."""
    root = str(RIG.parents[2])
    return subprocess.Popen(
        [sys.executable, str(RIG), json.dumps(jobs)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root, **(environment or {})},
        stdout=subprocess.DEVNULL,
    )


def changed(network: F1Model) -> set[str]:
    """First parts of the names of parameters that a run changed."""
    before = tiny_network().state_dict()
    return {
        name.partition(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }


def test_losses_fall_and_the_network_comes_back_trained(tmp_path: Path) -> None:
    config = settings(optimiser={"steps": 40}, logging={"save_every": 40, "held_out_every": 40})
    network = tiny_trainer(tmp_path, config).run()
    rows = lines(tmp_path)
    assert [row["step"] for row in rows] == list(range(1, 41))
    first, last = (sum(row["loss"] for row in part) / 10 for part in (rows[:10], rows[-10:]))
    assert last < 0.9 * first
    assert all(row["loss"] == pytest.approx(row["flow"] + 0.1 * row["foresight"], rel=1e-5) for row in rows)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not {"tokenizer", "mask_embedding"} & changed(network)


def test_held_out_line_has_accuracy_by_scale_and_errors_by_joint_and_step(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, settings()).run()
    before, row = lines(tmp_path, "held_out")
    assert (before["step"], row["step"]) == (0, 6)  # what the run starts from is evaluated too
    assert row["loss"] < before["loss"]
    assert {"loss", "flow", "foresight", "accuracy/1x1", "accuracy/2x2"} <= set(row)
    assert "accuracy/4x4" not in row  # the network predicts two scales
    assert list(row["action_error"]["by_joint"]) == ["joint1", "joint2", "gripper"]
    assert len(row["action_error"]["by_step"]) == 4
    by_joint, by_step = row["action_error"]["by_joint"].values(), row["action_error"]["by_step"]
    assert min(by_joint) > 0
    assert min(by_step) > 0
    assert (tmp_path / "pictures" / "step-00000006.png").stat().st_size > 100


def test_stage_one_trains_the_generation_expert_alone_over_all_scales(tmp_path: Path) -> None:
    config = settings(
        stage="world_model",
        optimiser={"rates": {"generation": 1e-3}, "steps": 3},
        foresight={"mask_sequences": 1.0},
    )
    network = tiny_trainer(tmp_path, config).run()
    generation = {"gen", "temporal_conv", "wm_embeddings", "wm_hist_pos_embs", "wm_sos_token_embs", "lvl_embed"}
    generation |= {"wm_cond_pos_embs", "wm_output_position_embedding", "wm_out_layer_norm", "wm_out_proj"}
    assert changed(network) == generation
    assert network.config.num_resolutions == 2  # exported as the policy runs it
    row = lines(tmp_path)[0]
    assert {"accuracy/1x1", "accuracy/2x2", "accuracy/4x4"} <= set(row)
    assert row["loss"] == row["foresight"]
    assert "action_error" not in lines(tmp_path, "held_out")[0]


def test_masked_inputs_change_the_loss_of_stage_one(tmp_path: Path) -> None:
    found = []
    for share in (0.0, 1.0):
        stage = {"optimiser": {"rates": {"generation": 1e-3}, "steps": 3}, "stage": "world_model"}
        masks = {"mask_sequences": share, "mask_tokens": 0.5}
        tiny_trainer(tmp_path / str(share), settings(**stage, foresight=masks)).run()
        found.append(losses(tmp_path / str(share))[0][1])
    assert found[0] != found[1]


def test_a_group_without_a_rate_stays_as_it_was(tmp_path: Path) -> None:
    config = settings(optimiser={"rates": {"action": 1e-3}})
    network = tiny_trainer(tmp_path, config).run()
    assert changed(network) == {
        "act", "state_proj", "action_in_proj", "action_time_mlp_in", "action_time_mlp_out", "action_out_proj",
    }  # fmt: skip
    assert {key for key in lines(tmp_path)[0] if key.startswith("rate/")} == {"rate/action"}


def test_each_group_has_its_rate_and_all_the_same_cosine(tmp_path: Path) -> None:
    rates = {"vision": 1e-3, "language": 2e-3, "generation": 3e-3, "action": 4e-3}
    tiny_trainer(tmp_path, settings(optimiser={"rates": rates, "warmup": 2})).run()
    rows = lines(tmp_path)
    assert [row["rate/vision"] for row in rows[:3]] == pytest.approx([0.5e-3, 1e-3, 1e-3])
    for row in rows:
        assert [row[f"rate/{group}"] / rate for group, rate in rates.items()] == pytest.approx(
            [row["rate/vision"] / 1e-3] * 4
        )


def test_accumulated_batches_equal_one_large_batch(tmp_path: Path) -> None:
    tiny_trainer(tmp_path / "large", settings(optimiser={"batch": 4})).run()
    tiny_trainer(tmp_path / "small", settings(optimiser={"batch": 2, "accumulate": 2})).run()
    for large, small in zip(losses(tmp_path / "large"), losses(tmp_path / "small"), strict=True):
        assert small == pytest.approx(large, rel=1e-5)


SHARDED = {"parallel": "shard", "lora": {"groups": ["language"], "rank": 2}, "logging": {"save_every": 3}}


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs in two processes: `replicated`, and `sharded`, which was once stopped and went on."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }
    jobs = [
        {"folder": str(folder / "replicated"), "sections": {"optimiser": {"batch": 2}}},
        {"folder": str(folder / "sharded"), "sections": {**SHARDED, "optimiser": {"batch": 2}}, "again": True},
    ]
    processes = [start(jobs, {**environment, "RANK": str(r), "LOCAL_RANK": str(r)}) for r in range(2)]
    assert [process.wait(200) for process in processes] == [0, 0]
    return folder


@pytest.mark.parametrize(("name", "sections"), [("replicated", {}), ("sharded", SHARDED)])
def test_two_processes_equal_one_with_the_doubled_batch(
    two_processes: Path, tmp_path: Path, name: str, sections: dict[str, Any]
) -> None:
    two = two_processes / name
    network = tiny_trainer(tmp_path, settings(optimiser={"batch": 4}, **sections)).run()
    single, double = losses(tmp_path), losses(two)
    assert len(single) == 6
    for one, both in zip(single, double, strict=True):
        assert both[1] == pytest.approx(one[1], abs=1e-5)
        assert both[2] == pytest.approx(one[2], rel=1e-4)
    held_out = [lines(folder, "held_out")[1] for folder in (tmp_path, two)]
    assert held_out[1]["loss"] == pytest.approx(held_out[0]["loss"], abs=1e-5)
    assert held_out[1]["action_error"]["by_step"] == pytest.approx(held_out[0]["action_error"]["by_step"], abs=1e-5)
    result, expected = load_file(two / "network.safetensors"), network.state_dict()
    assert set(result) == set(expected)
    assert max(float((result[name] - expected[name]).abs().max()) for name in result) < 1e-4


def test_a_sharded_run_goes_on_as_if_nothing_had_happened(two_processes: Path) -> None:
    first, again = (json.loads((two_processes / "sharded" / f"losses{i}.json").read_text()) for i in range(2))
    assert again == first


def test_a_run_killed_with_9_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    sections = {"optimiser": {"steps": 24}, "logging": {"save_every": 3, "held_out_every": 24}}
    killed = tmp_path / "killed"
    process = start([{"folder": str(killed), "sections": sections}])
    while not (killed / "metrics.jsonl").exists() or len(lines_so_far(killed)) < 8:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(lines_so_far(killed))
    assert 8 <= done < 24
    network = tiny_trainer(killed, settings(**sections)).run()
    whole = tiny_trainer(tmp_path / "whole", settings(**sections)).run()
    assert losses(killed) == losses(tmp_path / "whole")
    ours, theirs = network.state_dict(), whole.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def lines_so_far(folder: Path) -> list[str]:
    return (folder / "metrics.jsonl").read_text().split("\n")[:-1]


def test_a_finished_run_started_again_changes_nothing(tmp_path: Path) -> None:
    first = tiny_trainer(tmp_path, settings()).run().state_dict()
    before = losses(tmp_path)
    again = tiny_trainer(tmp_path, settings()).run().state_dict()
    assert losses(tmp_path) == before
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_the_previous_checkpoint_is_used_only_when_asked(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, settings()).run()
    before = losses(tmp_path)
    newest = tmp_path / "checkpoints" / "step-00000006" / "tensors.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"step-00000006 is damaged.*step 4 with --resume-previous"):
        tiny_trainer(tmp_path, settings()).run()
    tiny_trainer(tmp_path, settings()).run(previous=True)
    assert losses(tmp_path) == before


def test_another_configuration_does_not_go_on(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, settings()).run()
    with pytest.raises(CheckpointError, match=r"optimiser.rates.vision was 0.0005 and is 0.1"):
        tiny_trainer(tmp_path, settings(optimiser={"rates": {**SAME, "vision": 0.1}})).run()
    tiny_trainer(tmp_path, settings(logging={"every": 2}, threads=2)).run()  # no loss depends on these


SAME = {"vision": 5e-4, "language": 1e-3, "generation": 1e-3, "action": 1e-3}


def test_nan_stops_the_run_with_its_batch_saved(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"The loss is nan at step \d+; the batch is saved in"):
        tiny_trainer(tmp_path, settings(optimiser={"steps": 12}), train=MovingSquare(poisoned=17)).run()
    (saved,) = tmp_path.glob("stopped-step-*.safetensors")
    batch = load_file(saved)
    assert {"images", "history", "state", "actions", "noise", "time"} <= set(batch)
    assert int(torch.isnan(batch["state"]).any(dim=1).sum()) == 1


def test_adapters_are_trained_and_merged(tmp_path: Path) -> None:
    lora = {"groups": ["language"], "rank": 2, "alpha": 4}
    rates = {"language": 1e-2, "action": 1e-3}
    config = settings(lora=lora, optimiser={"rates": rates})
    network = tiny_trainer(tmp_path, config).run()
    before = tiny_network()
    assert set(network.state_dict()) == set(before.state_dict())
    weight, old = network.und.layer(0).mlp.up_proj.weight, before.und.layer(0).mlp.up_proj.weight
    assert torch.linalg.matrix_rank(weight - old) == 2
    assert torch.equal(network.und.embed_tokens.weight, before.und.embed_tokens.weight)
    assert {"act"} <= changed(network)
    stored = load_file(tmp_path / "checkpoints" / "step-00000006" / "tensors.safetensors")
    assert not [name for name in stored if "und." in name and "lora_" not in name]


def test_adapters_resume_exactly(tmp_path: Path) -> None:
    sections = {
        "lora": {"groups": ["vision", "language"], "rank": 2, "dropout": 0.5},
        "optimiser": {"rates": {"vision": 1e-2, "language": 1e-2}},
    }
    whole = tiny_trainer(tmp_path / "whole", settings(**sections)).run()
    tiny_trainer(tmp_path / "part", settings(**sections)).run()
    newest = tmp_path / "part" / "checkpoints" / "step-00000006"
    (newest / "state.json").unlink()
    resumed = tiny_trainer(tmp_path / "part", settings(**sections)).run(previous=True)
    assert losses(tmp_path / "part") == losses(tmp_path / "whole")
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())


def test_epochs_are_counted_in_samples(tmp_path: Path) -> None:
    config = settings(optimiser={"steps": None, "epochs": 1.5, "batch": 16, "warmup": 0})
    trainer = tiny_trainer(tmp_path, config)
    assert trainer.steps == 4  # 60 samples of 40 in batches of 16
    with pytest.raises(ConfigError, match=r"warmup \(9\) does not end before the 4 steps"):
        tiny_trainer(tmp_path, settings(optimiser={"steps": None, "epochs": 1.5, "batch": 16, "warmup": 9}))


def test_bfloat16_keeps_weights_and_foresight_logits_in_float32(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, settings(precision="bfloat16", optimiser={"steps": 3}))
    kinds: set[tuple[str, torch.dtype]] = set()
    for name in ("wm_out_proj", "action_out_proj"):
        trainer.network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: kinds.add((name, output.dtype)) if module.training else None
        )
    network = trainer.run()
    assert kinds == {("wm_out_proj", torch.float32), ("action_out_proj", torch.bfloat16)}
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("stage", ["finetune", "world_model"])
def test_frozen_weights_can_be_kept_in_half_the_memory(tmp_path: Path, stage: str) -> None:
    rates = {"generation": 1e-3} if stage == "world_model" else {"language": 1e-3, "action": 1e-3}
    lora = {} if stage == "world_model" else {"lora": {"groups": ["language"], "rank": 2}}
    sections = {"stage": stage, "optimiser": {"rates": rates, "steps": 3}, "precision": "bfloat16", **lora}
    trainer = tiny_trainer(tmp_path / "half", settings(frozen_precision="bfloat16", **sections))
    kinds = {n: p.dtype for n, p in trainer.network.named_parameters() if p.requires_grad or n.startswith("tokenizer.")}
    assert set(kinds.values()) == {torch.float32}
    frozen = [p for n, p in trainer.network.named_parameters() if n.startswith("und.layers") and n not in kinds]
    assert {p.dtype for p in frozen if p.ndim > 1} == {torch.bfloat16}
    half = trainer.run()
    whole = tiny_trainer(tmp_path / "whole", settings(**sections)).run()
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    for ours, theirs in zip(losses(tmp_path / "half"), losses(tmp_path / "whole"), strict=True):
        assert ours[1] == pytest.approx(theirs[1], rel=0.05)
    old = tiny_network().state_dict()
    rounded = half.und.embed_tokens.weight
    assert torch.equal(rounded, old["und.embed_tokens.weight"].bfloat16().float())
    assert torch.equal(whole.und.embed_tokens.weight, old["und.embed_tokens.weight"])
