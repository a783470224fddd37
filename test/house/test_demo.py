"""What the demo makes of a recording: figures, live line, video and plot."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from f1_ros.cli.demo import DemoOptions, describe, fault_lines, live_line
from f1_ros.cli.demo_plot import plot_joints
from f1_ros.cli.demo_video import SECOND_NS, leave_video, pairs
from f1_ros.cli.recording import CubeCounts, Recording, StatusSample, figures
from f1_ros.errors import ConfigError

JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))
POSE = np.array([0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854])


def status(time_s: float, mode: str, **more: float) -> StatusSample:
    given = {"period_error_p99_s": 0.001, "missed": 0, "camera_to_command_s": 0.0} | more
    return StatusSample(
        time_ns=round(time_s * SECOND_NS),
        mode=mode,
        source=mode.lower(),
        reason="",
        period_s=0.01,
        ticks=round(time_s * 100),
        limited=0,
        **given,  # type: ignore[arg-type]
    )


@pytest.fixture
def recording() -> Recording:
    """3 s of teleoperation with 2 cubes, then 3 s of policy with 1 picked and 2 lost."""
    made = Recording(joint_names=JOINTS)
    for i in range(60):
        ns = i * SECOND_NS // 10
        made.commanded.append((ns, POSE + 0.01 * i))
        made.measured.append((ns, POSE + 0.01 * i - 0.005))
        made.widths.append((ns, np.array([0.04])))
        if i > 10:
            made.cubes.append((ns, np.array([0.45, 0.01 * i, 0.08, 1, 0, 0, 0])))
        made.frames.append((ns, np.full((96, 96, 3), i, np.uint8)))
        made.foresights.append((ns + 3 * SECOND_NS // 10, np.full((96, 96, 3), i, np.uint8)))
    made.statuses = [status(t / 10, "TELEOP", missed=5) for t in range(1, 30)]
    made.statuses += [status(3.0, "POLICY", missed=6), status(3.1, "POLICY", missed=6, camera_to_command_s=0.07)]
    made.statuses += [status(3.2, "POLICY", missed=8, camera_to_command_s=0.09, period_error_p99_s=0.002)]
    made.statuses += [status(3.3 + t / 10, "POLICY", missed=8, camera_to_command_s=0.09) for t in range(20)]
    made.switch_ns = 3 * SECOND_NS
    made.counted = [(0, CubeCounts(3, 2, 1, 0)), (4 * SECOND_NS, CubeCounts(6, 3, 2, 2))]
    made.counts_at_switch = CubeCounts(3, 2, 1, 0)
    made.model_latencies = [(1, 0.04)] * 9 + [(4 * SECOND_NS, s) for s in (0.03, 0.05, 0.04)]
    return made


def test_figures_have_their_names_and_tell_teleoperation_from_policy(recording: Recording) -> None:
    found = {result.name: (result.value, result.ok) for result in figures(recording)}
    assert found == {
        "cubes_policy": (1, True),
        "cubes_teleop": (2, True),
        "faults": (0, True),
        "ticks_missed": (3, True),
        "period_error_p99_ms": (pytest.approx(2.0), True),
        "camera_to_command_p50_ms": (pytest.approx(80.0), True),
        "model_latency_p50_ms": (pytest.approx(40.0), True),
    }
    assert (recording.missed_by_policy, recording.ended_for_policy) == (2, 3)


def test_a_run_in_which_the_policy_picks_nothing_is_not_ok(recording: Recording) -> None:
    recording.counts_at_switch = recording.counts
    assert {r.name: r.ok for r in figures(recording)}["cubes_policy"] is False


def test_figures_of_an_empty_recording_are_not_made_up() -> None:
    found = {result.name: (result.value, result.ok) for result in figures(Recording())}
    assert found == {
        "cubes_policy": (0, False),
        "cubes_teleop": (0, False),
        "faults": (0, True),
        "ticks_missed": (None, True),
        "period_error_p99_ms": (None, True),
        "camera_to_command_p50_ms": (None, True),
        "model_latency_p50_ms": (None, True),
    }


def test_faults_are_counted_and_told_with_their_reason(recording: Recording) -> None:
    recording.faults = [(round(2.6 * SECOND_NS), "no action chunk for 1 s")]
    assert {r.name: r.value for r in figures(recording)}["faults"] == 1
    assert fault_lines(recording) == ["FAULT at 2.5 s: no action chunk for 1 s"]


def test_the_live_line_shows_mode_rate_latency_and_cubes(recording: Recording) -> None:
    assert live_line(recording, 12.34) == (
        " 12.3 s | POLICY | 100.0 Hz | period error p99 1.00 ms | camera to command 90 ms | model 40 ms"
        " | cubes: teleop 2, policy 1 (missed 2)"
    )


def test_a_prediction_is_paired_with_the_frame_of_its_instant(recording: Recording) -> None:
    found = pairs(recording)
    # The last three predictions are of instants after the last frame.
    assert [(int(p.foreseen[0, 0, 0]), int(p.came[0, 0, 0])) for p in found] == [(i, i + 3) for i in range(57)]


def test_a_prediction_without_a_frame_near_its_instant_has_no_pair(recording: Recording) -> None:
    recording.foresights = [(SECOND_NS + 30_000_000, recording.foresights[0][1])]
    assert pairs(recording) == []


def test_video_gif_and_plot_can_be_opened(recording: Recording, tmp_path: Path) -> None:
    assert leave_video(recording, tmp_path) == ["demo.mp4", "demo.gif"]
    with av.open(str(tmp_path / "demo.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 51  # 0.1 s to 5.2 s at 10 Hz, the end not included
    assert pictures[0].shape == (540, 960, 3)
    red = pictures[-1][60:516, 24:632].astype(int)
    assert ((red[..., 0] > 150) & (red[..., 1] < 90)).sum() > 50, "the cube is not in the picture"
    with Image.open(tmp_path / "demo.gif") as gif:
        assert (gif.n_frames, gif.size) == (26, (480, 270))
    plot_joints(recording, tmp_path / "joints.png")
    with Image.open(tmp_path / "joints.png") as picture:
        assert picture.size[0] > 800


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"episodes": 0}, "--episodes is 0"),
        ({"seconds": 0.0}, "--seconds is 0.0"),
        ({"seconds": float("nan")}, "--seconds is nan"),
        ({"policy": Path("nowhere")}, "nowhere holds no policy.json"),
    ],
)
def test_wrong_options_are_refused(given: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text("{}")
    with pytest.raises(ConfigError, match=message):
        DemoOptions(**{"policy": tmp_path, "out": tmp_path, **given})  # type: ignore[arg-type]


def test_the_system_is_the_simulated_franka_with_a_teleoperator(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text("{}")
    system = describe(DemoOptions(tmp_path, tmp_path, headless=True, belt_speed=-0.2, seed=3))
    names = {process.executable: process for process in system.processes}
    assert set(names) == {"sim_node", "action_node", "observation_node", "policy_node", "expert_node"}
    assert names["action_node"].parameters["initial_mode"] == "hold"
    assert names["policy_node"].parameters["foresight_image_rate"] == 5.0
    assert names["policy_node"].parameters["engine"] == "auto"
    assert (names["sim_node"].parameters["belt_speed"], names["sim_node"].parameters["view"]) == (-0.2, False)
