"""The demo of the Franka at its belt: a scripted teleoperator picks the first cube, the policy goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from f1_ros.bringup import franka
from f1_ros.bringup_options import EXPERT, FrankaOptions
from f1_ros.cli.demo_scene import draw_scene
from f1_ros.cli.demo_stages import Stage
from f1_ros.cli.recording import Counts, Picture, Recording
from f1_ros.cli.report import Result

if TYPE_CHECKING:
    from f1_ros.cli.demo import DemoOptions
    from f1_ros.processes import BringUp

TELEOP_TIMEOUT_S = 90.0


class Belt:
    """The Franka's part of the demo; see `demo_show.Show`."""

    arguments = FrankaOptions
    work = "cubes"
    before = "teleoperation"
    before_s = 10.0
    drawn = True
    first = Stage(
        says="Teleoperation: the scripted expert picks a cube from the moving belt.",
        mode="TELEOP",
        done=lambda recording: recording.counts.ended > recording.counts.lost,  # it is in the bin: the hand is free
        timeout_s=TELEOP_TIMEOUT_S,
        what="teleoperation to pick a cube",
    )

    def system(self, options: DemoOptions) -> BringUp:
        """The simulated Franka, with the scripted expert as teleoperator."""
        return franka(
            FrankaOptions(
                sim=True,
                policy=str(options.policy),
                engine=options.engine,
                teleop=EXPERT,
                seed=options.seed,
                real_time_factor=options.real_time_factor,
                view=not options.headless,
                belt_speed=FrankaOptions.belt_speed if options.belt_speed is None else options.belt_speed,
            )
        )

    def counts(self, values: Mapping[str, int]) -> Counts:
        """A cube is done once it is picked, and at its end once it is in the bin."""
        return Counts(done=values["picked"], lost=values["missed"], ended=values["binned"] + values["missed"])

    def figures(self, recording: Recording) -> list[Result]:
        """Cubes that policy and teleoperator picked."""
        policy, teleop = recording.by_policy.done, recording.before_policy.done
        return [
            Result("cubes_policy", policy, "cubes", ">= 1", policy >= 1),
            Result("cubes_teleop", teleop, "cubes", ">= 1", teleop >= 1),
        ]

    def progress(self, recording: Recording) -> str:
        """Who picked how many."""
        line = f"cubes: teleop {recording.before_policy.done}, policy {recording.by_policy.done}"
        return line if recording.switch_ns is None else f"{line} (missed {recording.by_policy.lost})"

    def caption(self, recording: Recording, now_ns: int) -> str:
        """Cubes that were picked until then by whoever moved the arm."""
        return f"picked: {recording.counts_at(now_ns).done}"

    def scenes(self, recording: Recording, times_ns: list[int], width: int, height: int) -> Iterator[Picture]:
        """The scene, drawn as joints, gripper and cube were recorded."""
        return draw_scene(recording, times_ns, width, height)
