"""Each thing that ruins a fine-tune is found at its place, and a good dataset has no finding."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from f1_ros.data.check import Needs, check
from f1_ros.data.findings import Finding
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.engine.protocol import PolicySpec
from f1_ros.errors import ConfigError

from .conftest import CAMERAS, NAMES, Recorded, Writer, episode

NEEDS = Needs(history=6, chunk=10)


def good() -> list[Recorded]:
    return [episode(i, 40) for i in range(4)]


def found(root: Path, needs: Needs = NEEDS) -> list[Finding]:
    return check(LeRobotDataset(root), needs)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_good_dataset_has_no_finding(version: str, kind: str, write_dataset: Writer) -> None:
    assert found(write_dataset(good(), version, kind)) == []


def spike(e: list[Recorded]) -> None:
    e[2].state[17, 1] += 1.5


def wrapped(e: list[Recorded]) -> None:
    for r in e:
        r.state[:, 0] = np.angle(np.exp(1j * (r.state[:, 0] + np.pi)))
        r.action[:, 0] = np.angle(np.exp(1j * (r.action[:, 0] + np.pi)))


def nan(e: list[Recorded]) -> None:
    e[1].action[5:8, 2] = np.nan


def still_joint(e: list[Recorded]) -> None:
    for r in e:
        r.state[:, 0] = 0.3


def frozen_joint(e: list[Recorded]) -> None:
    e[3].state[:, 1] = 0.25


def degrees(e: list[Recorded]) -> None:
    for r in e:
        r.action[:, :3] *= 180 / np.pi


def late(e: list[Recorded]) -> None:
    for r in e:
        r.action[:] = np.concatenate([r.action[:1]] * 4 + [r.action[:-4]])


def copied(e: list[Recorded]) -> None:
    for r in e:
        r.action[:] = r.state


def swapped(e: list[Recorded]) -> None:
    for r in e:
        r.action[:, [0, 2]] = r.action[:, [2, 0]]


def mirrored(e: list[Recorded]) -> None:
    for r in e:
        r.action[:, 1] *= -1


def open_is_closed(e: list[Recorded]) -> None:
    for r in e:
        r.action[:, 3] = 0.08 - r.action[:, 3]


def other_unit(e: list[Recorded]) -> None:
    for r in e:
        r.action[:, 3] = r.action[:, 3] / 0.04 - 1


def drifting(e: list[Recorded]) -> None:
    e[0].timestamp *= np.float32(1.015)


def slow(e: list[Recorded]) -> None:
    for r in e:
        r.timestamp *= np.float32(2.0)


def gap(e: list[Recorded]) -> None:
    e[2].timestamp[20:] += np.float32(0.5)


def backwards(e: list[Recorded]) -> None:
    e[2].timestamp[20] = e[2].timestamp[19]


def silent(e: list[Recorded]) -> None:
    e[1].task = ""


def short(e: list[Recorded]) -> None:
    e.append(episode(4, 9))


def blank(e: list[Recorded]) -> None:
    e[1].pictures[CAMERAS[1]][20] = np.zeros((48, 64, 3), np.uint8)


def stopped(e: list[Recorded]) -> None:
    e[1].pictures[CAMERAS[0]] = [e[1].pictures[CAMERAS[0]][0]] * 40


def blue(e: list[Recorded]) -> None:
    e[2].pictures[CAMERAS[0]] = [np.ascontiguousarray(p[:, :, ::-1]) for p in e[2].pictures[CAMERAS[0]]]


def turned(e: list[Recorded]) -> None:
    e[0].pictures[CAMERAS[0]] = [np.ascontiguousarray(p.transpose(1, 0, 2)) for p in e[0].pictures[CAMERAS[0]]]


@pytest.mark.parametrize(
    ("harm", "code", "place", "words"),
    [
        (spike, "jump", (2, 17), "observation.state j2 jumps by"),
        (wrapped, "jump", None, "j1 jumps by 6.2"),
        (nan, "nan", (1, 5), "action j3 is nan; 3 frames"),
        (still_joint, "constant", (None, None), "observation.state j1 is 0.3 everywhere"),
        (frozen_joint, "frozen_joint", (3, 0), "observation.state j2 stays at 0.25"),
        (degrees, "units", None, "57.3 times as large in one of state and action as in the other (degrees against"),
        (late, "action_behind", None, "fits the state 3 frames before it"),
        (copied, "action_is_state", None, "is the state of the same frame"),
        (swapped, "order", None, "The action's number 0 follows the state's j3, not its own j1"),
        (mirrored, "sign", None, "j2 has another sign"),
        (open_is_closed, "gripper_sign", None, "gripper closes in the state where it opens in the action"),
        (other_unit, "gripper_range", None, "from 0 to 0.08 in the state, and from -1 to 1 in the action"),
        (drifting, "drift", (0, 34), "off frame_index / fps by more than half a frame here, and by 0.59 frames"),
        (slow, "fps", (0, 1), "Frames are 0.2000 s apart, that is 5 fps; info.json says 10"),
        (gap, "gap", (2, 20), "Before this frame 5.0 frames are missing (0.600 s)"),
        (backwards, "timestamp", (2, 20), "goes from 1.9000 to 1.9000 s"),
        (silent, "language", (1, 0), "no instruction"),
        (short, "short", (4, 8), "has 9 frames; history and chunk need 16"),
        (blank, "blank", (1, 20), "observation.images.wrist shows one even colour"),
        (stopped, "frozen_picture", (1, 20), "shows the same picture"),
        (blue, "channels", (2, 0), "red and blue seem exchanged"),
        (turned, "aspect", (0, 0), "pictures are 48x64 px, info.json says 64x48 (sides exchanged)"),
    ],
)
def test_harm_is_found_at_its_place(
    harm: Callable[[list[Recorded]], None],
    code: str,
    place: tuple[int | None, int | None] | None,
    words: str,
    write_dataset: Writer,
) -> None:
    episodes = good()
    harm(episodes)
    findings = [f for f in found(write_dataset(episodes)) if f.code == code]
    assert findings
    assert words in findings[0].problem
    assert findings[0].remedy
    if place is not None:
        assert (findings[0].episode, findings[0].frame) == place
    else:
        assert findings[0].episode is not None
        assert findings[0].frame is not None


@pytest.mark.parametrize("harm", [spike, frozen_joint, degrees, late, copied, mirrored, drifting, gap, silent, blue])
def test_one_harm_gives_one_kind_of_finding(harm: Callable[[list[Recorded]], None], write_dataset: Writer) -> None:
    episodes = good()
    harm(episodes)
    assert len({f.code for f in found(write_dataset(episodes))}) == 1


def test_velocities_as_actions_and_gripper_commands_of_two_values_are_fine(write_dataset: Writer) -> None:
    episodes = good()
    for r in episodes:
        r.action[:, :3] = r.action[:, :3] - r.state[:, :3]
        r.action[:, 3] = np.where(r.action[:, 3] > 0.04, 0.08, 0.0)
    assert found(write_dataset(episodes)) == []


def test_a_jump_of_the_state_is_an_error_and_one_of_a_command_a_warning(write_dataset: Writer) -> None:
    episodes = good()
    spike(episodes)
    episodes[3].action[17, 1] += 1.5
    assert [(f.severity, f.episode, f.frame) for f in found(write_dataset(episodes))] == [
        ("error", 2, 17),
        ("warning", 3, 17),
    ]


def test_a_sudden_change_that_every_episode_has_is_usual(write_dataset: Writer) -> None:
    episodes = good()
    for i, r in enumerate(episodes):
        r.action[15 + i :, 1] += 0.4
    assert [f for f in found(write_dataset(episodes)) if f.code == "jump"] == []


def test_a_video_at_another_rate_and_one_that_ends_early(write_dataset: Writer) -> None:
    from .conftest import video

    root = write_dataset(good(), "v2.1", "video")
    file = root / f"videos/chunk-000/{CAMERAS[0]}/episode_000002.mp4"
    shown = good()[2].pictures[CAMERAS[0]]
    video(file, shown, rate=5)
    fast = found(root)
    assert [(f.code, f.episode) for f in fast] == [("fps", 2)]
    assert "the video has 5 frames a second, info.json says 10" in fast[0].problem
    video(file, shown[:30])
    early = found(root)
    assert [(f.code, f.episode, f.frame) for f in early] == [("unreadable", 2, 39)]
    assert "no frame at 3.9000 s" in early[0].problem


def test_a_missing_file_is_a_finding_and_the_rest_is_still_checked(write_dataset: Writer) -> None:
    episodes = good()
    spike(episodes)
    root = write_dataset(episodes, "v2.1", "image")
    (root / "data/chunk-000/episode_000001.parquet").unlink()
    assert {(f.code, f.episode) for f in found(root)} == {("unreadable", 1), ("jump", 2)}


def test_statistics_of_another_dataset(write_dataset: Writer) -> None:
    root = write_dataset(good())
    path = root / "meta/stats.json"
    stats = json.loads(path.read_text())
    stats["action"]["mean"][1] += 2.0
    path.write_text(json.dumps(stats))
    findings = found(root)
    assert [(f.code, f.severity) for f in findings] == [("statistics", "error")]
    assert "meta/stats.json says action j2 is" in findings[0].problem
    path.unlink()
    assert "killed" in found(root)[0].problem
    path.write_text('{"action": {"mean": [0.0]}}')
    with pytest.raises(ConfigError, match="action has no mean and std"):
        found(root)
    path.write_text("[]")
    with pytest.raises(ConfigError, match="does not hold statistics"):
        found(root)


SPEC = PolicySpec(
    name="p", robot="test_arm", cameras=("front", "wrist"), image_size=32, history_resize=32, history_size=32,
    history_offsets=(-6, 0), foresight_offset=3, step_s=0.1, first_step_offset=1, state_names=tuple(NAMES),
    action_names=tuple(NAMES), chunk_size=10,
)  # fmt: skip


def test_what_a_policy_expects_is_compared(write_dataset: Writer) -> None:
    root = write_dataset(good())
    stats = json.loads((root / "meta/stats.json").read_text())
    fits = dataclasses.replace(NEEDS, spec=SPEC, stats=stats, source="policy/stats.json")
    assert found(root, fits) == []
    spec = dataclasses.replace(SPEC, step_s=0.05, cameras=("front", "side"), state_names=("j2", "j1", "j3", "gripper"))
    stats["observation.state"]["mean"][0] += 5.0
    findings = found(root, dataclasses.replace(fits, spec=spec, stats=stats))
    assert [(f.code, f.severity) for f in findings] == [
        ("fps", "error"),
        ("missing", "error"),
        ("order", "error"),
        ("statistics", "warning"),
    ]
    assert findings[0].problem == "The policy's steps are those of 20 Hz, the dataset has 10 fps."
    assert "camera side" in findings[1].problem


def test_a_dataset_without_episodes_or_without_a_state(write_dataset: Writer) -> None:
    assert [f.problem for f in found(write_dataset([], "v2.1"))] == ["There is no episode."]
    root = write_dataset(good(), name="stateless")
    path = root / "meta/info.json"
    path.write_text(path.read_text().replace('"observation.state"', '"observation.other"'))
    assert [(f.code, f.severity) for f in found(root)] == [("missing", "error")]


def test_an_episode_of_one_frame_is_only_short(write_dataset: Writer) -> None:
    findings = found(write_dataset([*good(), episode(4, 1)], "v2.1"))
    assert [(f.code, f.episode, f.frame) for f in findings] == [("short", 4, 0)]


def test_statistics_that_are_no_numbers_do_not_fit(write_dataset: Writer) -> None:
    root = write_dataset(good())
    path = root / "meta/stats.json"
    stats = json.loads(path.read_text())
    stats["action"]["std"][2] = float("nan")
    path.write_text(json.dumps(stats))
    assert [f.code for f in found(root)] == ["statistics"]


def test_needs_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="make no sample"):
        Needs(history=-1)
