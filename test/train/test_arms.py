"""A study's arms: what differs between them, what they share, and that a study can be gone on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from f1_ros.cli.main import main
from f1_ros.engine import open_engine
from f1_ros.errors import ConfigError
from f1_ros.train.arms import Study, load_study, policy_folder

ARMS = {
    "full": {},
    "history": {"foresight": False},
    "neither": {"foresight": False, "history": False},
    "through": {"action_sees_history": False},
    "video": {"labels": 2, "video_steps": 2},
    "few": {"labels": 2, "foresight": False, "seeds": [1]},
    "prefix": {"prefix_steps_max": 2, "near_steps": 1},
}


@pytest.fixture
def study_file(run_folder: Path, config_file: Path) -> Path:
    """A study of the tiny recording, in a folder where that is recorded already."""
    base = json.loads(config_file.read_text())
    base["tokenizer"]["steps"] = 4
    base["policy"] |= {"warm_steps": 2, "steps": 2}
    study = {
        "seeds": [1],
        "base": base,
        "recordings": {"plain": {"demonstrations": {"episodes": 4, "seed": 1}}},
        "arms": ARMS,
        "conditions": {"trained": {"arms": ["full", "history"]}},
    }
    path = config_file.with_name("study.yaml")
    path.write_text(json.dumps(study))
    demos = run_folder / "study" / "demos" / "plain"
    demos.parent.mkdir(parents=True)
    (run_folder / "demos").rename(demos)
    (demos / "meta.json").write_text("{}")
    return path


def run(study_file: Path, **chosen: object) -> Path:
    folder = study_file.parent / "study"
    study = Study(load_study(study_file), folder, together=3)
    study.record()
    study.train_tokenizer()
    study.run(**chosen)  # type: ignore[arg-type]
    return folder


def test_every_arm_becomes_a_policy_that_differs_in_what_it_says(study_file: Path) -> None:
    folder = run(study_file)
    policies = {name: policy_folder(folder, name, 1) for name in ARMS}
    files = {name: json.loads((policy / "policy.json").read_text()) for name, policy in policies.items()}
    networks = {n: json.loads((p / "config.json").read_text())["gen_expert_config"] for n, p in policies.items()}
    assert {name for name, file in files.items() if not file["foresight"]} == {"history", "neither", "few"}
    assert {n for n, c in networks.items() if not c["use_history"]} == {"neither"}
    assert {n for n, c in networks.items() if not c.get("action_sees_history", True)} == {"through"}
    assert files["prefix"]["spec"]["trained_prefix_steps"] == 2
    assert open_engine(policies["through"]).spec.name == "tiny"


def test_arms_with_the_same_first_part_share_it(study_file: Path) -> None:
    folder = run(study_file)
    assert len(list(folder.glob("warm-*.pt"))) == 3  # with all labels, with two of them, and that after videos
    assert len(list(folder.glob("video-*.pt"))) == 1


def test_a_policy_that_was_lost_is_written_again_and_not_trained_again(study_file: Path) -> None:
    folder = run(study_file, arms=("full",))
    state = folder / "joint-full-s1.pt"
    first = state.stat().st_mtime_ns
    policy = policy_folder(folder, "full", 1)
    kept = {path.name: path.read_bytes() for path in policy.iterdir()}
    shutil.rmtree(policy)
    run(study_file, arms=("full",))
    assert {path.name: path.read_bytes() for path in policy.iterdir()} == kept
    assert state.stat().st_mtime_ns == first


def test_arms_trained_side_by_side_are_those_trained_one_by_one(study_file: Path, tmp_path: Path) -> None:
    folder = run(study_file, arms=("full", "history"))
    alone = study_file.parent / "alone"
    alone.mkdir()
    (alone / "demos").symlink_to(folder / "demos")
    study = Study(load_study(study_file), alone)
    study.train_tokenizer()
    study.run(("history",))
    states = [torch.load(f / "joint-history-s1.pt", weights_only=True)["average"]["shadow"] for f in (folder, alone)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_labels_limit_what_is_learnt_from_and_videos_do_not(study_file: Path) -> None:
    folder = run(study_file, arms=("few", "history"))
    few, every = (
        json.loads((policy_folder(folder, name, 1) / "stats.json").read_text())["observation.state"]["mean"]
        for name in ("few", "history")
    )
    assert not np.allclose(few, every)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": {"a": {"recording": "other"}}}, "recording is other"),
        ({"conditions": {"c": {"arms": ["nobody"]}}}, "nobody"),
        ({"arms": {"a": {"foresight": False, "video_steps": 5}}}, "video_steps"),
        ({"arms": {"a": {"labels": 0}}}, "labels is 0"),
    ],
)
def test_contradictions_are_named(study_file: Path, change: dict[str, object], message: str) -> None:
    study_file.write_text(json.dumps(json.loads(study_file.read_text()) | {"conditions": {}} | change))
    with pytest.raises(ConfigError, match=message):
        Study(load_study(study_file), study_file.parent / "study").run()


def test_the_commands_train_evaluate_and_draw(study_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = study_file.parent / "study", study_file.parent / "results"
    assert main(["train", "arms", str(study_file), "--out", str(folder), "--arm", "full"]) == 0
    evaluate = ["sim", "ablate", str(study_file), "--runs", str(folder), "--episodes", "1", "--out", str(out)]
    assert main([*evaluate, "--json", str(out / "figures.json")]) == 0
    shown = capsys.readouterr()
    assert "| full |" in shown.out
    assert "left out, its policy is not there: trained/history-s1" in shown.err
    assert {p.name for p in out.iterdir()} == {"cells.jsonl", "table.md", "success.png", "figures.json"}
    assert main([*evaluate, "--condition", "nonsense"]) != 0
    assert "no condition nonsense" in capsys.readouterr().err
    assert main([*evaluate, "--arm", "best"]) != 0
    assert "no arm best" in capsys.readouterr().err
    assert main([*evaluate, "--done-only", "--episodes", "2"]) != 0  # these cells are other ones
    assert "holds none of these cells" in capsys.readouterr().err
    assert main([*evaluate, "--done-only"]) == 0
    assert "| full |" in capsys.readouterr().out
    # Table and plot can be drawn from the committed cells by someone who has no policy of the study.
    done_only = ["sim", "ablate", str(study_file), "--episodes", "1", "--out", str(out)]
    assert main([*done_only, "--done-only"]) == 0
    assert "| full |" in capsys.readouterr().out
    assert main(done_only) != 0
    assert "Give --runs DIR" in capsys.readouterr().err
    assert main([*evaluate, "--arm", "full"]) == 0  # the others are not even named as left out
    assert "history" not in capsys.readouterr().err


def test_an_unknown_arm_is_refused(study_file: Path) -> None:
    with pytest.raises(ConfigError, match="no arm best"):
        run(study_file, arms=("best",))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda codes: codes[:-1], "holds tokens of"),
        (lambda codes: np.roll(codes, 1, axis=1), "of the tokens are those of the recording's frames"),
    ],
)
def test_tokens_of_another_recording_are_refused(study_file: Path, damage: Any, message: str) -> None:
    folder = run(study_file, arms=("history",))
    codes = folder / "codes-plain.npy"
    np.save(codes, damage(np.load(codes)))
    with pytest.raises(ConfigError, match=message):
        Study(load_study(study_file), folder).run(("full",))
