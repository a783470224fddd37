"""What the relay may do to the messages of a link, and how that is written.

front:freeze                     the link `front` repeats its last message with new stamps
front:delay:0.4,wrist:drop       two links at once; a figure after a second colon
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from f1_ros.errors import ConfigError
from f1_ros.robots.profile import RobotProfile

PREFIX = "/f1_faults"
"""Before the name of a topic: what its sender publishes instead, when the relay stands between."""
ANY = ("drop", "delay", "shift")
ALTERATIONS: Mapping[str, tuple[str, ...]] = {
    "camera": (*ANY, "freeze", "black", "size", "encoding", "truncate", "swap", "thin"),
    "joints": (*ANY, "nan", "repeat", "stick", "offset", "foreign"),
    "clock": ("drop", "shift"),
    "observation": ("drop", "delay"),
    "chunk": (*ANY, "nan", "empty", "ragged", "far", "foreign", "period", "old"),
}
"""What each kind of link knows; `FIGURES` say what a figure means."""
FIGURES = {
    "delay": "seconds that each message is held back",
    "shift": "seconds added to its stamps",
    "thin": "how many messages one is let through of",
    "offset": "rad added to the first joint",
}


@dataclass(frozen=True)
class Link:
    """A topic on which the relay stands between sender and receivers.

    Attributes:
        name: short name.
        kind: key of `ALTERATIONS`.
        topic: where the receivers listen.
        sender: process that publishes it, in the simulated system.
    """

    name: str
    kind: str
    topic: str
    sender: str

    @property
    def source(self) -> str:
        """Topic on which the sender publishes instead."""
        return PREFIX + self.topic


@dataclass(frozen=True)
class Alteration:
    """What is done to a link's messages: `how`, with a figure where that needs one."""

    link: str
    how: str
    figure: float = 0.0


def links(profile: RobotProfile) -> tuple[Link, ...]:
    """The links of the simulated system of a robot with one arm and one gripper."""
    return (
        *(Link(camera.name, "camera", camera.topic, "sim_node") for camera in profile.cameras),
        Link("joints", "joints", profile.arms[0].state.topic, "sim_node"),
        Link("fingers", "joints", profile.grippers[0].state.topic, "sim_node"),
        Link("clock", "clock", "/clock", "sim_node"),
        Link("observation", "observation", "/f1/observation", "observation_node"),
        Link("chunk", "chunk", "/f1/action_chunk", "policy_node"),
    )


def parse(text: str, known: tuple[Link, ...]) -> tuple[Alteration, ...]:
    """Read alterations; empty text: none.

    Raises:
        ConfigError: if a link or an alteration is unknown, a link has two, or a figure is missing or makes no sense.
    """
    kinds = {link.name: link.kind for link in known}
    found: list[Alteration] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, how, figure = (*part.split(":"), "", "")[:3]
        if name not in kinds or part.count(":") > 2:
            raise ConfigError(
                f"Alteration '{part}' is of no link.", remedy=f"Write LINK:HOW[:FIGURE]; links: {', '.join(kinds)}."
            )
        if how not in ALTERATIONS[kinds[name]]:
            raise ConfigError(
                f"Link '{name}' knows no alteration '{how}'.",
                remedy=f"Choose from {', '.join(ALTERATIONS[kinds[name]])}.",
            )
        if any(other.link == name for other in found):
            raise ConfigError(f"Link '{name}' has two alterations.", remedy="Give each link one at most.")
        found.append(Alteration(name, how, _figure(part, how, figure)))
    return tuple(found)


def _figure(part: str, how: str, text: str) -> float:
    try:
        value = float(text or "nan")
    except ValueError:
        value = math.nan
    if how not in FIGURES:
        if text:
            raise ConfigError(f"Alteration '{part}' takes no figure.", remedy=f"Leave ':{text}' away.")
        return 0.0
    least = {"delay": 0.0, "thin": 1.0}.get(how, -60.0)
    if not least <= value <= 60.0:
        raise ConfigError(
            f"Alteration '{part}' needs a figure from {least:g} to 60.", remedy=f"It is the {FIGURES[how]}."
        )
    return value
