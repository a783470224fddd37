"""From camera to command: how long each stage takes, from the nodes' traces (`f1_ros.trace`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from f1_ros.cli.report import Result
from f1_ros.errors import ConfigError
from f1_ros.trace import Marks

STAGES = (
    ("stamp", ""),
    ("image sent", "camera: the images of the set go out one after the other"),
    ("image received", "image transport"),
    ("image taken", "image taken by the observation node"),
    ("matched", "matched with the other cameras"),
    ("preprocessed", "joined by joint state and history, preprocessed"),
    ("observation sent", "observation message made and sent"),
    ("observation received", "observation transport"),
    ("observation taken", "observation taken by the policy node"),
    ("inference begun", "waiting for the engine"),
    ("inference ended", "model"),
    ("chunk sent", "chunk sent"),
    ("chunk received", "chunk transport"),
    ("chunk taken", "chunk taken by the action node"),
    ("commanded", "waiting for the tick, and its command"),
)
"""Marks of a trace in the order in which they follow each other, and what lies between one and the mark before it."""

P50_MS, P99_MS = 5.0, 12.0
"""What is asked of the way without the model, ms."""


@dataclass(frozen=True)
class Frame:
    """One frame's way, all of it.

    Attributes:
        stamp_ns: its stamp, ns on the ROS clock.
        marks: instant of each mark, ns on the monotonic clock.
    """

    stamp_ns: int
    marks: dict[str, int]

    @property
    def stages_ms(self) -> dict[str, float]:
        """Time of each stage by its mark, ms; stages that this system does not have are left out."""
        there = [mark for mark, _ in STAGES if mark in self.marks]
        return {b: (self.marks[b] - self.marks[a]) * 1e-6 for a, b in pairwise(there)}

    @property
    def total_ms(self) -> float:
        """From the camera's stamp to the first command, ms."""
        return (self.marks["commanded"] - self.marks["stamp"]) * 1e-6

    @property
    def path_ms(self) -> float:
        """The same without the model's time, ms."""
        return self.total_ms - self.stages_ms["inference ended"]


def frames_of(marks: Marks, after_ns: int = 0) -> list[Frame]:
    """Frames that reached the robot, in the order of their stamps.

    Args:
        marks: merged traces.
        after_ns: leave out frames commanded before this instant, ns on the monotonic clock.

    Raises:
        ConfigError: if none did.
    """
    ends = {"stamp", "inference begun", "inference ended", "commanded"}
    frames = [Frame(stamp, m) for stamp, m in sorted(marks.items()) if ends <= set(m) and m["commanded"] >= after_ns]
    if not frames:
        raise ConfigError(
            "No frame in the trace was followed by a command.", remedy="Trace while the policy is in force, and longer."
        )
    return frames


def figures(frames: list[Frame]) -> list[Result]:
    """Figures of the way without the model, beside their goals, and what they consist of."""
    path = np.array([frame.path_ms for frame in frames])
    tick = np.array([frame.stages_ms["commanded"] for frame in frames])
    p50, p99 = (float(q) for q in np.percentile(path, (50, 99)))
    before = np.percentile(path - tick, (50, 99))
    return [
        Result("frames", len(frames)),
        Result("camera_to_command_less_model_p50_ms", p50, "ms", f"<= {P50_MS:g}", p50 <= P50_MS),
        Result("camera_to_command_less_model_p99_ms", p99, "ms", f"<= {P99_MS:g}", p99 <= P99_MS),
        Result("of_it_before_the_control_tick_p50_ms", float(before[0]), "ms"),
        Result("of_it_before_the_control_tick_p99_ms", float(before[1]), "ms"),
        Result("model_p50_ms", float(np.median([f.stages_ms["inference ended"] for f in frames])), "ms"),
        Result("camera_to_command_p50_ms", float(np.median([f.total_ms for f in frames])), "ms"),
    ]


def stage_table(frames: list[Frame]) -> list[dict[str, Any]]:
    """Median and 99th percentile of each stage, ms."""
    table = []
    for mark, what in STAGES[1:]:
        times = [f.stages_ms[mark] for f in frames if mark in f.stages_ms]
        if times:
            p50, p99 = np.percentile(times, (50, 99))
            table.append({"stage": what, "until": mark, "p50_ms": float(p50), "p99_ms": float(p99)})
    return table


def write_chrome_trace(frames: list[Frame], path: Path) -> None:
    """Write the frames' stages for chrome://tracing or ui.perfetto.dev: one line for each stage, a slice a frame.

    The model's own stages stand on lines below it. Times are us on the monotonic clock (Trace Event Format).

    Raises:
        ConfigError: if the file cannot be written.
    """
    lines = [what for _, what in STAGES[1:]]
    inner = sorted({m for f in frames for m in f.marks if m.startswith("model ")}, key=frames[0].marks.__getitem__)
    at = next(i for i, (mark, _) in enumerate(STAGES[1:]) if mark == "inference ended") + 1
    lines[at:at] = inner
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": i, "args": {"name": line}} for i, line in enumerate(lines)
    ]
    events += [{"ph": "M", "name": "thread_sort_index", "pid": 1, "tid": i, "args": {"sort_index": i}} for i in
               range(len(lines))]  # fmt: skip
    events.append({"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "camera to command"}})
    for number, frame in enumerate(frames):
        spans = [(what, mark, frame.stages_ms[mark]) for mark, what in STAGES[1:] if mark in frame.stages_ms]
        begin = frame.marks["inference begun"]
        for mark in inner:
            if mark in frame.marks:
                spans.append((mark, mark, (frame.marks[mark] - begin) * 1e-6))
                begin = frame.marks[mark]
        for line, mark, ms in spans:
            events.append(
                {
                    "ph": "X",
                    "name": f"frame {number}",
                    "pid": 1,
                    "tid": lines.index(line),
                    "ts": frame.marks[mark] * 1e-3 - ms * 1e3,
                    "dur": ms * 1e3,
                    "args": {"stamp_ns": str(frame.stamp_ns), "stage": line},
                }
            )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error}).", remedy="Give a path that is writable.") from error
