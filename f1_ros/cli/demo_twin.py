"""The demo of Genie-1 and LIFT II: the twin holds still for a moment, then the policy does its task again and again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from f1_ros.bringup_options import RobotOptions
from f1_ros.cli.demo_stages import Stage
from f1_ros.cli.recording import Counts, Picture, Recording
from f1_ros.cli.report import Result

if TYPE_CHECKING:
    from f1_ros.cli.demo import DemoOptions
    from f1_ros.processes import BringUp

HOLD_STATUSES = 20
"""For so many status messages, 2 s, the arms are seen to hold before the policy moves them."""


def _held(recording: Recording) -> bool:
    recent = recording.statuses[-HOLD_STATUSES:]
    return bool(recording.commanded) and len(recent) == HOLD_STATUSES and all(s.mode == "HOLD" for s in recent)


class Twin:
    """A twin's part of the demo; see `demo_show.Show`.

    Args:
        arguments: arguments of the robot's bring-up.
        build: the bring-up itself, of these arguments.
    """

    work = "tasks"
    before = "hold"
    before_s = 2.0
    drawn = False
    first = Stage(
        says="The arms hold.",
        mode="HOLD",
        done=_held,
        timeout_s=30.0,
        what="the arms to be commanded, and to hold",
    )

    def __init__(self, arguments: type[RobotOptions], build: Callable[[Any], BringUp]) -> None:
        self.arguments = arguments
        self._build = build

    def system(self, options: DemoOptions) -> BringUp:
        """The twin with its policy."""
        return self._build(
            self.arguments(
                sim=True,
                policy=str(options.policy),
                engine=options.engine,
                seed=options.seed,
                real_time_factor=options.real_time_factor,
                view=not options.headless,
            )
        )

    def counts(self, values: Mapping[str, int]) -> Counts:
        """A task is at its end once it is done or lost."""
        done, lost = values["done"], values["lost"]
        return Counts(done, lost, done + lost, values["stages"], values["refused"])

    def figures(self, recording: Recording) -> list[Result]:
        """Tasks since the switch, and commands since the start that the robot refused."""
        policy = recording.by_policy
        return [
            Result("tasks_done", policy.done, "tasks", ">= 1", policy.done >= 1),
            Result("tasks_lost", policy.lost, "tasks"),
            Result("commands_refused", recording.counts.refused, "commands"),
        ]

    def progress(self, recording: Recording) -> str:
        """Tasks done and lost, and how far the present one is."""
        policy = recording.by_policy
        return f"tasks: done {policy.done}, lost {policy.lost} (stages of this one {recording.counts.stages})"

    def caption(self, recording: Recording, now_ns: int) -> str:
        """Tasks done and lost until then; nothing while the arms hold."""
        if recording.switch_ns is None or now_ns < recording.switch_ns:
            return ""
        counts = recording.counts_at(now_ns)
        return f"done: {counts.done}, lost: {counts.lost}"

    def scenes(self, recording: Recording, times_ns: list[int], width: int, height: int) -> Iterator[Picture]:
        """Camera 0's newest picture at each instant, as it came."""
        stamps = [stamp for stamp, _ in recording.pictures]
        for now_ns in times_ns:
            yield recording.pictures[max(0, bisect_right(stamps, now_ns) - 1)][1]
