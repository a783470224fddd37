"""Traces of the way from camera to command: what is written, merged, and made of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from f1_ros.bench.latency import STAGES, figures, frames_of, stage_table, write_chrome_trace
from f1_ros.bench.three_cameras import CAMERAS, describe
from f1_ros.engine import open_engine
from f1_ros.errors import ConfigError
from f1_ros.robots.profile import load_profile
from f1_ros.trace import Trace, read_traces

MS = 1_000_000
ALL = [mark for mark, _ in STAGES]


def marks_of(stage_ms: float, begin_ns: int = 0, without: tuple[str, ...] = ()) -> dict[str, int]:
    """Every stage takes as long as the others."""
    return {m: begin_ns + round(i * stage_ms * MS) for i, m in enumerate(ALL) if m not in without}


def test_the_traces_of_two_processes_are_one_and_the_first_of_a_stage_counts(tmp_path: Path) -> None:
    first, second = Trace(tmp_path, "first"), Trace(tmp_path, "second")
    first.mark("sent", 5, 100)
    second.mark("received", 5, 300)
    second.flush()
    second.mark("received", 5, 200)
    second.mark("received", 6, 400)
    first.close()
    second.close()
    assert read_traces(tmp_path) == {5: {"sent": 100, "received": 200}, 6: {"received": 400}}


def test_an_instant_of_the_system_s_clock_is_put_on_the_monotonic_one(tmp_path: Path) -> None:
    trace = Trace(tmp_path, "node")
    before = time.monotonic_ns()
    trace.mark_system("sent", 1, time.time_ns())
    after = time.monotonic_ns()
    trace.close()
    assert before - MS <= read_traces(tmp_path)[1]["sent"] <= after + MS


@pytest.mark.parametrize("line", ["[1, 2]", "half a li", '["stage", "x", 3]'])
def test_a_damaged_trace_is_refused_by_file_and_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "node.trace.jsonl").write_text(f'["sent", 1, 2]\n{line}\n')
    with pytest.raises(ConfigError, match=r"node\.trace\.jsonl:2"):
        read_traces(tmp_path)


def test_a_folder_without_traces_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="parameter 'trace'"):
        read_traces(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="another folder"):
        Trace(tmp_path / "file" / "trace", "node")


def test_the_path_is_the_whole_without_the_model(tmp_path: Path) -> None:
    (frame,) = frames_of({7: marks_of(2.0)})
    assert frame.total_ms == pytest.approx(2.0 * (len(ALL) - 1))
    assert frame.path_ms == pytest.approx(2.0 * (len(ALL) - 2))
    assert [row["p50_ms"] for row in stage_table([frame])] == pytest.approx([2.0] * (len(ALL) - 1))
    by_name = {result.name: result for result in figures([frame])}
    assert by_name["camera_to_command_less_model_p50_ms"].value == pytest.approx(frame.path_ms)
    assert by_name["of_it_before_the_control_tick_p50_ms"].value == pytest.approx(frame.path_ms - 2.0)
    assert not by_name["camera_to_command_less_model_p50_ms"].ok
    assert all(result.ok for result in figures(frames_of({7: marks_of(0.1)})))


def test_only_frames_that_reached_the_robot_count_and_only_from_when_the_measurement_began() -> None:
    marks = {3: marks_of(1.0, 500), 1: marks_of(1.0, 0), 2: marks_of(1.0, without=("commanded",))}
    assert [frame.stamp_ns for frame in frames_of(marks)] == [1, 3]
    assert [frame.stamp_ns for frame in frames_of(marks, after_ns=marks[3]["commanded"])] == [3]
    with pytest.raises(ConfigError, match="No frame"):
        frames_of({2: marks[2]})


def test_in_one_process_the_observation_has_no_way_to_go() -> None:
    gone = ("observation sent", "observation received", "observation taken")
    (frame,) = frames_of({1: marks_of(1.0, without=gone)})
    assert frame.stages_ms["inference begun"] == pytest.approx(4.0)
    assert set(frame.stages_ms) == set(ALL[1:]) - set(gone)


def test_the_chrome_trace_has_a_line_for_each_stage_and_a_slice_for_each_frame(tmp_path: Path) -> None:
    marks = marks_of(1.0)
    begun = marks["inference begun"]
    marks |= {"model prefix": begun + MS // 4, "model flow": begun + MS}
    path = tmp_path / "trace.json"
    write_chrome_trace(frames_of({1: marks, 2: marks_of(1.0, 10 * MS)}), path)
    events = json.loads(path.read_text())["traceEvents"]
    lines = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    slices = [(lines[e["tid"]], e["name"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    assert set(lines.values()) == {what for _, what in STAGES[1:]} | {"model prefix", "model flow"}
    assert len([s for s in slices if s[1] == "frame 0"]) == len(ALL) + 1
    assert len([s for s in slices if s[1] == "frame 1"]) == len(ALL) - 1
    assert ("model prefix", "frame 0", begun / 1e3, 250.0) in slices
    assert ("model flow", "frame 0", begun / 1e3 + 250.0, 750.0) in slices


def test_the_three_camera_system_fits_itself_and_traces(tmp_path: Path) -> None:
    system = describe(tmp_path, control_rate_hz=500.0)
    by_name = {process.name: process.parameters for process in system.processes}
    profile = load_profile(by_name["stand_in_node"]["profile"])
    assert [camera.name for camera in profile.cameras] == list(CAMERAS)
    engine = open_engine(Path(str(by_name["policy_node"]["policy"])), "torch", 1)
    assert engine.spec.cameras == CAMERAS
    engine.warm_up()
    assert by_name["action_node"]["control_rate"] == 500.0
    traced = {by_name[n]["trace"] for n in ("observation_node", "policy_node", "action_node")}
    assert len(traced) == 1
