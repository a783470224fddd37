"""What the demo makes of a recording: figures, live line, video and plot; and what it is told."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from f1_ros.bringup_options import Genie1Options
from f1_ros.cli.demo import DemoOptions, add_options, all_figures, demo_options, describe, fault_lines, live_line
from f1_ros.cli.demo_plot import plot_joints
from f1_ros.cli.demo_show import SHOWS
from f1_ros.cli.demo_stages import Stage, Stages
from f1_ros.cli.demo_video import SECOND_NS, leave_video, pairs
from f1_ros.cli.recording import Counts, Recording, StatusSample
from f1_ros.cli.report import Result
from f1_ros.errors import BringUpError, ConfigError
from f1_ros.paths import share_dir
from f1_ros.processes import OnExit, ProcessSpec
from f1_ros.robots.profile import load_profile
from f1_ros.supervisor import Death

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
    made = Recording(arms=(JOINTS,))
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
    made.counted = [(0, Counts(done=2, lost=0, ended=1)), (4 * SECOND_NS, Counts(done=3, lost=2, ended=4))]
    made.counts_at_switch = Counts(done=2, lost=0, ended=1)
    made.model_latencies = [(1, 0.04)] * 9 + [(4 * SECOND_NS, s) for s in (0.03, 0.05, 0.04)]
    return made


@pytest.fixture
def twin_recording() -> Recording:
    """3 s in which both arms of a LIFT II hold, then 2 s of policy with 2 tasks done and 1 lost; dark, then bright."""
    arms = tuple(tuple(j.name for j in arm.joints) for arm in load_profile("arx_lift2_x5", simulated=True).arms)
    made = Recording(arms=arms)
    for i in range(50):
        ns = i * SECOND_NS // 10
        made.commanded.append((ns, np.full(12, 0.01 * i)))
        made.measured.append((ns, np.full(12, 0.01 * i - 0.005)))
        made.frames.append((ns, np.full((96, 96, 3), 200, np.uint8)))
        made.pictures.append((ns, np.full((120, 160, 3), 40 if i < 30 else 220, np.uint8)))
        made.foresights.append((ns + 3 * SECOND_NS // 10, np.full((96, 96, 3), 100, np.uint8)))
    made.statuses = [status(t / 10, "HOLD") for t in range(1, 30)]
    made.statuses += [status(3.0 + t / 10, "POLICY", camera_to_command_s=0.06) for t in range(20)]
    made.switch_ns = 3 * SECOND_NS
    made.counts_at_switch = Counts(done=0, lost=4, ended=4, stages=1, refused=2)
    made.counted = [(0, made.counts_at_switch), (4 * SECOND_NS, Counts(done=2, lost=5, ended=7, stages=1, refused=3))]
    return made


def with_its_figures(recording: Recording, robot: str) -> list[Result]:
    policy = share_dir() / "models" / "f1_belt"
    return all_figures(recording, DemoOptions(policy, Path("out"), robot=robot))


def test_figures_have_their_names_and_tell_teleoperation_from_policy(recording: Recording) -> None:
    found = {result.name: (result.value, result.ok) for result in with_its_figures(recording, "franka")}
    assert found == {
        "cubes_policy": (1, True),
        "cubes_teleop": (2, True),
        "faults": (0, True),
        "ticks_missed": (3, True),
        "period_error_p99_ms": (pytest.approx(2.0), True),
        "camera_to_command_p50_ms": (pytest.approx(80.0), True),
        "model_latency_p50_ms": (pytest.approx(40.0), True),
    }
    assert (recording.by_policy.lost, recording.by_policy.ended) == (2, 3)


def test_a_twins_figures_are_its_tasks_since_the_switch(twin_recording: Recording) -> None:
    found = {result.name: (result.value, result.ok) for result in with_its_figures(twin_recording, "arx_lift2")}
    assert found == {
        "tasks_done": (2, True),
        "tasks_lost": (1, True),
        "commands_refused": (3, True),
        "faults": (0, True),
        "ticks_missed": (0, True),
        "period_error_p99_ms": (pytest.approx(1.0), True),
        "camera_to_command_p50_ms": (pytest.approx(60.0), True),
        "model_latency_p50_ms": (None, True),
    }
    assert twin_recording.by_policy.ended == 3


def test_a_run_in_which_the_policy_picks_nothing_is_not_ok(recording: Recording) -> None:
    recording.counts_at_switch = recording.counts
    assert {r.name: r.ok for r in with_its_figures(recording, "franka")}["cubes_policy"] is False


@pytest.mark.parametrize("robot", ["genie1", "arx_lift2"])
def test_a_run_in_which_no_task_is_done_is_not_ok(twin_recording: Recording, robot: str) -> None:
    twin_recording.counted[-1] = (4 * SECOND_NS, Counts(done=0, lost=9, ended=9))
    assert {r.name: r.ok for r in with_its_figures(twin_recording, robot)}["tasks_done"] is False


def test_figures_of_an_empty_recording_are_not_made_up() -> None:
    found = {result.name: (result.value, result.ok) for result in with_its_figures(Recording(), "franka")}
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
    assert {r.name: r.value for r in with_its_figures(recording, "franka")}["faults"] == 1
    assert fault_lines(recording) == ["FAULT at 2.5 s: no action chunk for 1 s"]


def test_the_live_line_shows_mode_rate_latency_and_cubes(recording: Recording) -> None:
    assert live_line(SHOWS["franka"], recording, 12.34) == (
        " 12.3 s | POLICY | 100.0 Hz | period error p99 1.00 ms | camera to command 90 ms | model 40 ms"
        " | cubes: teleop 2, policy 1 (missed 2)"
    )


def test_a_twins_live_line_shows_its_tasks(twin_recording: Recording) -> None:
    assert live_line(SHOWS["arx_lift2"], twin_recording, 12.34) == (
        " 12.3 s | POLICY | 100.0 Hz | period error p99 1.00 ms | camera to command 60 ms | model -"
        " | tasks: done 2, lost 1 (stages of this one 1)"
    )
    twin_recording.switch_ns = None
    assert live_line(SHOWS["arx_lift2"], twin_recording, 12.34).endswith("tasks: done 0, lost 0 (stages of this one 1)")


def test_counts_at_an_instant_are_those_since_the_switch_once_it_is_over(twin_recording: Recording) -> None:
    seen = [twin_recording.counts_at(round(s * SECOND_NS)) for s in (2.9, 3.5, 4.5)]
    assert [(c.done, c.lost) for c in seen] == [(0, 4), (0, 0), (2, 1)]


def test_what_was_lost_while_a_twin_held_is_not_told_of_its_policy(twin_recording: Recording) -> None:
    captions = [SHOWS["genie1"].caption(twin_recording, round(s * SECOND_NS)) for s in (2.9, 3.5, 4.5)]
    assert captions == ["", "done: 0, lost: 0", "done: 2, lost: 1"]


class StandIn:
    """A system of one process, and what watches it, in one."""

    def __init__(self, deaths: Sequence[Death] = ()) -> None:
        self.refusal = "no chunk has come"
        self.asked: list[str] = []
        self._deaths = list(deaths)

    def poll(self, timeout_s: float) -> list[Death]:
        return self._deaths

    def ask_for(self, mode: str) -> bool:
        self.asked.append(mode)
        return True


def stages_of(stand_in: StandIn, recording: Recording) -> Stages:
    return Stages(stand_in, stand_in, recording, Path("logs"), 1.0, lambda _, __: "line")  # type: ignore[arg-type]


def test_a_stage_that_does_not_end_in_time_can_be_tried_or_refused(twin_recording: Recording) -> None:
    stand_in = StandIn()
    stages = stages_of(stand_in, twin_recording)
    assert stages.tried(Stage("", "POLICY", lambda _: True, 0.0, "nothing"))
    never = Stage("", "HOLD", lambda _: False, 0.0, "a task to be done")
    assert not stages.tried(never)
    with pytest.raises(BringUpError, match="Waited 0 s for a task to be done; mode POLICY: no chunk has come"):
        stages.pass_through(never)
    assert stand_in.asked[0] == "POLICY"
    assert set(stand_in.asked[1:]) == {"HOLD"}


def test_a_process_that_dies_ends_the_demo_with_its_log_named(twin_recording: Recording) -> None:
    spec = ProcessSpec("twin_node", "twin_node", OnExit.END_SYSTEM, "simulated robot", {})
    stages = stages_of(StandIn([Death(spec, 1)]), twin_recording)
    with pytest.raises(BringUpError, match="twin_node") as ended:
        stages.tried(Stage("", "HOLD", lambda _: False, 60.0, "anything"))
    assert "logs/twin_node.log" in ended.value.remedy


def test_a_prediction_is_paired_with_the_frame_of_its_instant(recording: Recording) -> None:
    found = pairs(recording)
    # The last three predictions are of instants after the last frame.
    assert [(int(p.foreseen[0, 0, 0]), int(p.came[0, 0, 0])) for p in found] == [(i, i + 3) for i in range(57)]


def test_a_prediction_without_a_frame_near_its_instant_has_no_pair(recording: Recording) -> None:
    recording.foresights = [(SECOND_NS + 30_000_000, recording.foresights[0][1])]
    assert pairs(recording) == []


def test_video_gif_and_plot_can_be_opened(recording: Recording, tmp_path: Path) -> None:
    assert leave_video(recording, tmp_path, SHOWS["franka"]) == ["demo.mp4", "demo.gif"]
    with av.open(str(tmp_path / "demo.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 51  # 0.1 s to 5.2 s at 10 Hz, the end not included
    assert pictures[0].shape == (540, 960, 3)
    red = pictures[-1][60:516, 24:632].astype(int)
    assert ((red[..., 0] > 150) & (red[..., 1] < 90)).sum() > 50, "the cube is not in the picture"
    with Image.open(tmp_path / "demo.gif") as gif:
        assert (gif.n_frames, gif.size) == (26, (480, 270))
    plot_joints(recording, tmp_path / "joints.png", "teleoperation")
    with Image.open(tmp_path / "joints.png") as picture:
        assert picture.size[0] > 800


def test_a_twins_video_shows_its_camera_and_its_plot_a_column_an_arm(twin_recording: Recording, tmp_path: Path) -> None:
    assert leave_video(twin_recording, tmp_path, SHOWS["arx_lift2"]) == ["demo.mp4", "demo.gif"]
    with av.open(str(tmp_path / "demo.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 39  # from 2 s before the switch, at 1 s, to 4.9 s
    scenes = [p[70:510, 30:626].astype(int) for p in pictures]
    assert [abs(s.mean() - 40) < 3 for s in scenes] == [True] * 20 + [False] * 19
    assert [abs(s.mean() - 220) < 3 for s in scenes] == [False] * 20 + [True] * 19
    plot_joints(twin_recording, tmp_path / "joints.png", "hold")
    with Image.open(tmp_path / "joints.png") as picture:
        assert picture.size == (1760, 1078)


def test_a_square_picture_keeps_its_aspect_in_the_video(twin_recording: Recording, tmp_path: Path) -> None:
    twin_recording.pictures = [(0, np.full((96, 96, 3), 40, np.uint8))]
    leave_video(twin_recording, tmp_path, SHOWS["genie1"])
    with av.open(str(tmp_path / "demo.mp4")) as container:
        picture = next(iter(container.decode(video=0))).to_ndarray(format="rgb24")
    dark = np.flatnonzero(picture[300, :640].mean(axis=1) < 100)
    assert dark.min() == pytest.approx(100, abs=2)
    assert dark.max() == pytest.approx(555, abs=2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"episodes": 0}, "--episodes is 0"),
        ({"seconds": 0.0}, "--seconds is 0.0"),
        ({"seconds": float("nan")}, "--seconds is nan"),
        ({"policy": Path("nowhere")}, "nowhere holds no policy.json"),
        ({"robot": "genie1", "belt_speed": 0.1}, "--belt-speed does not go with genie1"),
        ({"robot": "arx_lift2", "belt_speed": 0.1}, "--belt-speed does not go with arx_lift2"),
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


def options_of(words: Sequence[str]) -> DemoOptions:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return demo_options(parser.parse_args(words), Path("out"))


def policy_of(robot: str, folder: Path) -> Path:
    """A policy's folder, as far as the demo reads it before anything runs."""
    profile = load_profile(SHOWS[robot].arguments().profile, simulated=True)
    shipped = json.loads((share_dir() / "models" / "f1_belt" / "policy.json").read_text())
    shipped["spec"] |= {"robot": profile.embodiment, "cameras": [camera.name for camera in profile.cameras]}
    folder.mkdir()
    (folder / "policy.json").write_text(json.dumps(shipped))
    return folder


def test_without_options_the_franka_runs_its_shipped_policy() -> None:
    options = options_of([])
    assert (options.robot, options.policy.name) == ("franka", "f1_belt")


def test_a_robot_runs_the_policy_that_is_shipped_for_it_or_asks_for_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Genie1Options, "shipped_policy", "none")
    with pytest.raises(ConfigError, match="No policy for genie1 is shipped") as refused:
        options_of(["--robot", "genie1"])
    assert "--policy DIR" in refused.value.remedy
    given = policy_of("genie1", tmp_path / "mine")
    assert options_of(["--robot", "genie1", "--policy", str(given)]).policy == given
    monkeypatch.setattr(Genie1Options, "shipped_policy", str(given))
    assert options_of(["--robot", "genie1"]).policy == given


def test_another_robots_policy_is_refused_before_anything_starts(tmp_path: Path) -> None:
    given = policy_of("genie1", tmp_path / "mine")
    with pytest.raises(ConfigError, match=r"mine is for the robot 'genie1', --robot arx_lift2 is 'arx_lift2_x5'"):
        options_of(["--robot", "arx_lift2", "--policy", str(given)])


@pytest.mark.parametrize("robot", ["genie1", "arx_lift2"])
def test_a_twins_system_has_no_teleoperator(robot: str, tmp_path: Path) -> None:
    options = DemoOptions(policy_of(robot, tmp_path / "mine"), tmp_path, robot=robot, headless=True, seed=3)
    names = {process.executable: process for process in describe(options).processes}
    assert set(names) == {"twin_node", "action_node", "observation_node", "policy_node"}
    assert names["action_node"].parameters["initial_mode"] == "hold"
    assert names["policy_node"].parameters["foresight_image_rate"] == 5.0
    assert {name: names["twin_node"].parameters[name] for name in ("config", "seed", "view")} == {
        "config": robot,
        "seed": 3,
        "view": False,
    }
