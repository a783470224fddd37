"""What the demo shows of each robot: `SHOWS`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from f1_ros.bringup import arx_lift2, genie1
from f1_ros.bringup_options import ArxLift2Options, Genie1Options, RobotOptions
from f1_ros.cli.demo_belt import Belt
from f1_ros.cli.demo_stages import Stage
from f1_ros.cli.demo_twin import Twin
from f1_ros.cli.recording import Counts, Picture, Recording
from f1_ros.cli.report import Result

if TYPE_CHECKING:
    from f1_ros.cli.demo import DemoOptions
    from f1_ros.processes import BringUp


class Show(Protocol):
    """What of the demo is a robot's own."""

    @property
    def arguments(self) -> type[RobotOptions]:
        """Arguments of the robot's bring-up; they name its profile and its shipped policy."""
        ...

    @property
    def work(self) -> str:
        """What is counted, in the plural."""
        ...

    @property
    def before(self) -> str:
        """What the policy takes over from."""
        ...

    @property
    def before_s(self) -> float:
        """How much of that the video shows, s."""
        ...

    @property
    def drawn(self) -> bool:
        """The video's scene is drawn afterwards; otherwise camera 0's pictures are recorded for it."""
        ...

    @property
    def first(self) -> Stage:
        """What comes before the policy."""
        ...

    def system(self, options: DemoOptions) -> BringUp:
        """What is run."""
        ...

    def counts(self, values: Mapping[str, int]) -> Counts:
        """What the simulation counts, from the values on `/f1_sim/counts`."""
        ...

    def figures(self, recording: Recording) -> list[Result]:
        """What of the work was done; those that are not ok end the demo with exit status 1."""
        ...

    def progress(self, recording: Recording) -> str:
        """The same in some words, for the live line."""
        ...

    def caption(self, recording: Recording, now_ns: int) -> str:
        """The same in fewer, for the video at an instant, ns on the ROS clock."""
        ...

    def scenes(self, recording: Recording, times_ns: list[int], width: int, height: int) -> Iterator[Picture]:
        """The video's scene at each instant.

        Args:
            recording: what was seen.
            times_ns: the instants, ns on the ROS clock.
            width, height: size in which to draw a scene that is drawn, px.

        Returns:
            uint8 RGB of any size.
        """
        ...


SHOWS: Mapping[str, Show] = {
    "franka": Belt(),
    "genie1": Twin(Genie1Options, genie1),
    "arx_lift2": Twin(ArxLift2Options, arx_lift2),
}
"""By the name of the bring-up."""
