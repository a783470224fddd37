"""From a configuration and a dataset to a policy directory that the engine runs; what does not fit is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tuning_rig import POLICY, STATISTICS, lines, tiny_network

from f1_ros.cli.main import main
from f1_ros.config import parse
from f1_ros.data.embodiment import Columns
from f1_ros.data.recording import Description
from f1_ros.data.sources import DatasetConfig
from f1_ros.data.writer import DatasetWriter
from f1_ros.engine import open_engine
from f1_ros.engine.policy import PolicyFile, load_policy_file, load_spec
from f1_ros.model.names import upstream_name
from f1_ros.observe.geometry import CameraGeometry
from f1_ros.train.export import write_policy
from f1_ros.train.finetune import in_robot_terms, trained_on


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a policy `start`, a dataset `data` of four episodes, and `run.yaml`; the working directory."""
    monkeypatch.chdir(tmp_path)
    file = parse(POLICY, PolicyFile, source="test")
    write_policy(tmp_path / "start", tiny_network(), file, STATISTICS, ["pick", "the", "cube"])
    record(tmp_path / "data", [12, 12, 12, 12])
    configure(tmp_path)
    return tmp_path


def record(
    folder: Path, lengths: list[int], fps: int = 10, joints: tuple[str, ...] = ("joint1", "joint2", "gripper")
) -> None:
    cameras = {"front": (24, 32), "wrist": (24, 32)}
    about = Description(fps, "test", joints, joints, cameras, pictures="image")
    with DatasetWriter(folder, about) as writer:
        for episode, length in enumerate(lengths):
            for frame in range(length):
                arm = np.array([frame * 0.1, np.sin(frame + episode), 0.02, 0.5], np.float32)[: len(joints)]
                view = np.full((24, 32, 3), 10 * frame, np.uint8)
                writer.add_frame(arm, arm + np.float32(0.01), {"front": view, "wrist": view}, "pick the cube")
            writer.save_episode()


def configure(folder: Path, **sections: Any) -> None:
    tree: dict[str, Any] = {
        "stage": "finetune",
        "start": {"policy": "start"},
        "datasets": [{"path": "data", "held_out": 0.25}],
        "optimiser": {"steps": 3, "batch": 2, "warmup": 1, "rates": {"vision": 1e-3, "action": 1e-3}},
        "logging": {"every": 1, "save_every": 2, "held_out_every": 3, "held_out_batches": 1},
    }
    for name, value in sections.items():
        tree[name] = {**tree.get(name, {}), **value} if isinstance(value, dict) else value
    (folder / "run.yaml").write_text(yaml.safe_dump(tree))


def train(*arguments: str) -> int:
    return main(["train", "run.yaml", "--out", "out", "--quiet", *arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The error of a run that must be refused."""
    assert train(*arguments) == 2
    return capsys.readouterr().err


def test_a_configuration_becomes_a_policy_that_runs(place: Path) -> None:
    assert train("--json", "report.json") == 0
    assert [row["step"] for row in lines(place / "out")] == [1, 2, 3]
    report = json.loads((place / "report.json").read_text())
    assert (report["ok"], report["step"], report["policy"]) == (True, 3, "out/policy")
    assert {"loss", "flow", "accuracy/1x1", "action_error/gripper"} <= {r["name"] for r in report["results"]}
    engine = open_engine(place / "out" / "policy")
    engine.warm_up()
    stats = json.loads((place / "out" / "policy" / "stats.json").read_text())
    recorded = json.loads((place / "data" / "meta" / "stats.json").read_text())
    assert stats["action"]["mode"] == "mean_std"
    assert stats["action"]["mean"] == recorded["action"]["mean"]
    before, after = (load_file(place / f / "model.safetensors") for f in ("start", "out/policy"))
    assert set(before) == set(after)
    moved = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert "action_out_proj" in moved
    assert "vae" not in moved
    pictures = CameraGeometry(1.3333)  # of the dataset
    assert load_spec(place / "out" / "policy").camera_geometry == {"front": pictures, "wrist": pictures}


def test_a_field_of_view_is_kept_where_the_pictures_aspect_is_the_same(place: Path) -> None:
    given = {"front": CameraGeometry(4 / 3, 69.0), "wrist": CameraGeometry(1.0, 75.0)}
    file = load_policy_file(place / "start")
    file = dataclasses.replace(file, spec=dataclasses.replace(file.spec, camera_geometry=given))
    made = trained_on(file, DatasetConfig(place / "data")).spec.camera_geometry
    assert made == {"front": CameraGeometry(1.3333, 69.0), "wrist": CameraGeometry(1.3333)}


def test_run_command_and_path_alone_are_the_same(place: Path) -> None:
    assert train() == 0
    assert main(["train", "run", "run.yaml", "--out", "again", "--quiet"]) == 0
    first, again = (load_file(place / f / "policy" / "model.safetensors") for f in ("out", "again"))
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_keys_and_datasets_can_be_given_on_the_command_line(place: Path) -> None:
    record(place / "other", [12, 12, 12])
    assert train("--dataset", "other", "--set", "optimiser.steps=2", "--set", "optimiser.rates={action: 1e-4}") == 0
    rows = lines(place / "out")
    assert [row["step"] for row in rows] == [1, 2]
    assert rows[0]["rate/action"] == pytest.approx(1e-4)
    assert "rate/vision" not in rows[0]


def test_a_damaged_checkpoint_is_left_behind_only_when_asked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train() == 0
    (place / "out" / "checkpoints" / "step-00000003" / "state.json").write_text("{}")
    assert "--resume-previous" in refused(capsys)
    assert train("--resume-previous") == 0


def test_the_start_policys_statistics_can_be_kept(place: Path) -> None:
    configure(place, data={"statistics": "start"})
    assert train() == 0
    assert json.loads((place / "out" / "policy" / "stats.json").read_text()) == STATISTICS


def test_missing_statistics_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "data" / "meta" / "stats.json").unlink()
    error = refused(capsys)
    assert "data/meta/stats.json is missing: data.statistics is 'dataset'." in error
    assert "Remedy: Compute them: `f1-ros data stats data --write`." in error
    (place / "data" / "meta" / "stats.json").write_text('{"action": {}}')
    assert "no statistics of 'observation.state'" in refused(capsys)


def test_statistics_without_what_the_mode_needs_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = place / "data" / "meta" / "stats.json"
    stats = json.loads(path.read_text())
    del stats["action"]["q01"]
    path.write_text(json.dumps(stats))
    configure(place, data={"normalisation": "quantile"})
    assert "action.q01 is missing" in refused(capsys)


def test_another_rate_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(place / "fast", [12, 12], fps=20)
    error = refused(capsys, "--dataset", "fast")
    assert "fast has 20 frames a second, policy.spec.step_s is 0.1 s (10 a second)." in error
    assert "Set policy.spec.step_s to 0.05" in error


def test_a_chunk_longer_than_episodes_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(place / "short", [12, 3, 3])
    error = refused(capsys, "--dataset", "short")
    assert "chunk_size is 4, but 2 of 3 episodes of short are shorter (episode 1 has 3 frames)" in error
    assert "Lower policy.spec.chunk_size" in error


def test_another_layout_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = json.loads(json.dumps(POLICY))
    policy["spec"]["action_names"] = ["joint1", "gripper"]
    policy["relative_actions"] = [False, False]
    configure(place, policy=policy)
    error = refused(capsys)
    assert "Dataset 0 has 3 states and 3 actions, the policy's layout 3 (joint1, joint2, gripper)" in error
    assert "and 2 (joint1, gripper)" in error


def test_pre_training_takes_other_robots_at_other_rates(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(place / "other", [12, 12, 12], fps=5, joints=("a", "b", "c", "d"))
    both = [{"path": "data", "weight": 1.0, "held_out": 0.25}, {"path": "other", "weight": 1.0, "held_out": 0.4}]
    configure(place, datasets=both)
    assert "other has 5 frames a second" in refused(capsys)
    configure(place, datasets=both, stage="pretrain", logging={"held_out_batches": 4})
    assert train() == 0
    assert set(lines(place / "out", "held_out")[-1]["action_error"]["by_joint"]) == {"joint1", "joint2", "gripper"}
    configure(place, datasets=both[::-1], stage="pretrain")
    assert "Set policy.spec.step_s" in refused(capsys)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("image_size", 32, "policy.spec.image_size asks for 32, the network has 16"),
        ("history_offsets", [-1, 0], "policy.spec.history_offsets asks for 2, the network has 3"),
        ("cameras", ["top", "wrist"], "observation.images.top"),
        ("past_images", [0], "policy.spec.cameras and past_images asks for 3, the network has 2"),
        ("state_names", [f"joint{i}" for i in range(40)], "policy.spec.state_names asks for 40, the network has 4"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], key: str, value: Any, words: str
) -> None:
    policy = json.loads(json.dumps(POLICY))
    policy["spec"][key] = value
    configure(place, policy=policy)
    assert words in refused(capsys)


def test_another_chunk_size_is_the_policys(place: Path) -> None:
    policy = json.loads(json.dumps(POLICY))
    policy["spec"]["chunk_size"] = 6
    configure(place, policy=policy)
    assert train() == 0
    assert json.loads((place / "out" / "policy" / "config.json").read_text())["chunk_size"] == 6


def test_relative_actions_with_a_datasets_statistics_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place / "start" / "policy.json"
    path.write_text(json.dumps({**POLICY, "relative_actions": [True, True, False]}))
    assert "data.statistics is 'dataset', but the policy's actions are relative" in refused(capsys)


def test_nothing_to_start_from_or_to_train_on_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(place, start={"policy": None})
    assert "start.policy and start.network are both missing" in refused(capsys)
    configure(place, datasets=[])
    assert "datasets: none is given" in refused(capsys)
    configure(place, start={"policy": "nowhere"})
    assert "nowhere" in refused(capsys)


def test_a_new_network_needs_its_visual_tokenizer(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = {"policy": None, "network": "start/config.json", "language": "start"}
    configure(place, start=new, policy=POLICY)
    assert "start.visual_tokenizer is missing" in refused(capsys)
    network = tiny_network()
    save_file(
        {upstream_name(f"tokenizer.{name}"): value for name, value in network.tokenizer.state_dict().items()},
        place / "vae.safetensors",
    )
    configure(place, start={**new, "visual_tokenizer": "vae.safetensors"}, policy=POLICY)
    assert train() == 0
    stored = load_file(place / "out" / "policy" / "model.safetensors")
    name = "tokenizer.quantize.embedding.weight"
    assert torch.equal(stored[upstream_name(name)], network.state_dict()[name].half())


def test_statistics_follow_the_embodiment() -> None:
    columns = Columns(("gripper", "joint"), (1, 0), (-0.08, 2.0), (0.08, 0.0))
    entry = {"mean": [1.0, 0.25], "std": [0.5, 0.1], "min": [-1.0, 0.0], "max": [3.0, 1.0]}
    assert in_robot_terms(entry, columns) == {
        "mean": [pytest.approx(0.06), 2.0],
        "std": [pytest.approx(0.008), 1.0],
        "min": [0.0, -2.0],
        "max": [0.08, 6.0],
    }


def test_print_config_shows_defaults_groups_and_memory(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run.yaml", "--print-config"]) == 0
    shown = capsys.readouterr().out
    assert "mask_sequences: 0.1" in shown
    assert "0.00 M  0.00 M at 0.001" in shown
    assert "generation       0.01 M  frozen" in shown
    assert "3 steps of 2 x 1 samples a process" in shown
    assert "world_model          float32" in shown
    assert not (place / "out").exists()


def test_print_config_of_a_later_stage_says_what_is_missing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(place, start={"policy": "stage1/policy"})
    assert main(["train", "run.yaml", "--print-config"]) == 0
    shown = capsys.readouterr().out
    assert "cannot be told yet: stage1/policy/policy.json is missing" in shown
    assert "Full-size model" in shown
