"""The demo's watcher beside a real simulation or twin, and the action node."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from f1_ros.cli.demo_show import SHOWS
from f1_ros.cli.recording import Recording
from f1_ros.nodes.demo_node import DemoWatcher

SPEC = {
    "name": "belt",
    "robot": "franka",
    "cameras": ["front", "wrist"],
    "image_size": 96,
    "history_resize": 96,
    "history_size": 96,
    "history_offsets": [-9, -6, -3, 0],
    "foresight_offset": 6,
    "step_s": 0.05,
    "first_step_offset": 1,
    "state_names": [*(f"fr3_joint{i}" for i in range(1, 8)), "gripper"],
    "action_names": [*(f"fr3_joint{i}" for i in range(1, 8)), "gripper"],
    "chunk_size": 16,
    "default_instruction": "pick",
}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy directory as far as the watcher reads it."""
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "policy.json").write_text(json.dumps({"spec": SPEC, "relative_actions": [False] * 8}))
    return folder


def test_it_records_what_the_system_says_and_brings_it_into_a_mode(
    ros: Any, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(ros.domain))
    ros.start("sim_node", real_time_factor=0.5, renderer="ray")
    ros.start("action_node", use_sim_time=True)
    recording = Recording()
    with DemoWatcher(recording, policy, SHOWS["franka"]) as watcher:
        ros.until(lambda: recording.commanded and recording.counted and recording.cubes, "commands and cubes")
        ros.until(lambda: watcher.ask_for("HOLD"), "HOLD")
        ros.until(lambda: not watcher.ask_for("TELEOP") and watcher.refusal, "a refusal: there is no leader")
        assert not watcher.ready  # no policy runs
        ros.until(lambda: recording.frames and recording.widths, "frames and gripper widths")
    assert recording.joint_names == tuple(SPEC["state_names"][:7])
    assert recording.measured[-1][1].shape == recording.commanded[-1][1].shape == (7,)
    assert recording.frames[-1][1].shape == (96, 96, 3)
    assert recording.cubes[-1][1].shape == (7,)
    assert recording.widths[-1][1][0] == pytest.approx(0.08, abs=0.01)
    assert recording.pictures == []  # the scene is drawn afterwards
    assert recording.statuses[-1].mode in ("HOLD", "TELEOP")


def test_it_reads_a_twins_own_messages_and_keeps_its_pictures(
    ros: Any, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(ros.domain))
    file = json.loads((policy / "policy.json").read_text())
    cameras = ["camera_h", "camera_l", "camera_r"]
    file["spec"] |= {"robot": "arx_lift2_x5", "cameras": cameras, "history_resize": 48, "history_size": 48}
    (policy / "policy.json").write_text(json.dumps(file))
    ros.start("twin_node", config="arx_lift2", repeat=False, real_time_factor=0.5)
    ros.start("action_node", profile="arx_lift2_x5", use_sim_time=True)
    recording = Recording()
    with DemoWatcher(recording, policy, SHOWS["arx_lift2"]) as watcher:
        ros.until(lambda: len(recording.commanded) > 20 and recording.counted, "commands and counts")
        ros.until(lambda: watcher.ask_for("HOLD") and len(recording.pictures) > 5, "HOLD, and pictures")
        assert not watcher.ready  # no policy runs
    assert [len(arm) for arm in recording.arms] == [6, 6]
    assert recording.joint_names == tuple(f"{side}_joint{i}" for side in ("left", "right") for i in range(1, 7))
    assert recording.commanded[-1][1] == pytest.approx(recording.measured[-1][1], abs=0.02)
    stamps = [stamp for stamp, _ in recording.measured]
    assert len(set(stamps)) == len(stamps), "both arms together are one sample"
    assert min(b - a for (a, _), (b, _) in itertools.pairwise(recording.pictures)) >= 100_000_000
    assert len(recording.frames) > len(recording.pictures)
    assert (recording.pictures[-1][1].shape, recording.frames[-1][1].shape) == ((96, 96, 3), (48, 48, 3))
    assert recording.counts.refused == 0
