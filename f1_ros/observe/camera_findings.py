"""What was found out about cameras, and what is asked of their timing and exposure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from f1_ros.observe.exposure import Exposure
from f1_ros.observe.health import MS, SECOND_NS
from f1_ros.robots.camera import Camera

MOST_LOST = 0.01
"""Share of frames that may be missing: each costs the set that it belonged to."""
MOST_JITTER = 0.1
"""Jitter, as a part of the period between two frames."""
LEAST_RATE = 0.95
"""Rate, as a part of what the camera is set to."""
DARKEST, BRIGHTEST = 40.0, 215.0
MOST_BLACK, MOST_WHITE, MOST_FLICKER = 0.5, 0.1, 0.02
"""Rules of thumb for exposure: a policy may have been trained on pictures that break them."""

_MAINS = "Set the camera's power line frequency to the mains' (50 or 60 Hz), or another exposure time or lamp."
ON_THE_WAY = (
    "Give its driver room in shared memory (config/dds/shared_memory.xml), a faster link or compressed pictures, and "
    "see whether this machine keeps up."
)


@dataclass(frozen=True)
class Figure:
    """One figure: its value and unit, what is asked of it (empty: nothing), and whether it is so."""

    name: str
    value: float | int | str
    unit: str = ""
    goal: str = ""
    ok: bool = True


@dataclass(frozen=True)
class Trouble:
    """What is wrong, and what to change; the remedy may stand in the problem's own text."""

    problem: str
    remedy: str


@dataclass(frozen=True)
class Findings:
    """What was found out about one camera, or about all of them together.

    Attributes:
        part: a camera's name, or "together".
        figures: what was measured.
        troubles: what is wrong.
        notes: what could not be checked, and why.
    """

    part: str
    figures: tuple[Figure, ...]
    troubles: tuple[Trouble, ...]
    notes: tuple[str, ...] = ()


@dataclass
class Draft:
    """Findings in the making; see `Findings`."""

    part: str
    figures: list[Figure] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self, name: str, value: float | int | str, unit: str = "") -> None:
        """Add a figure that nothing is asked of."""
        self.figures.append(Figure(name, _rounded(value), unit))

    def ask(self, name: str, value: float, unit: str, goal: str, ok: bool, problem: str, remedy: str) -> None:
        """Add a figure, and the trouble that there is if it is not as it should be (empty: it is told elsewhere)."""
        self.figures.append(Figure(name, _rounded(value), unit, goal, ok))
        if not ok and problem:
            self.troubles.append(Trouble(problem, remedy))

    def done(self) -> Findings:
        """The findings."""
        return Findings(self.part, tuple(self.figures), tuple(self.troubles), tuple(self.notes))


def judge_timing(draft: Draft, camera: Camera, stamps: Sequence[int], numbers: Sequence[int]) -> None:
    """Add rate, jitter and loss, by the stamps; and what was lost on the way, by the middleware's numbers.

    Args:
        draft: what is added to.
        camera: the camera.
        stamps: header stamps of its frames, ns; three or more.
        numbers: of its messages, counted by the middleware where they were sent; empty if it does not tell.
    """
    gaps = np.diff(np.sort(stamps)).astype(np.float64)
    period = float(np.median(gaps))
    if period <= 0.0:
        return
    rate = SECOND_NS / period  # without the frames that are missing: those are told by themselves
    set_to = camera.rate_hz * LEAST_RATE
    problem = f"{rate:.1f} Hz, not the {camera.rate_hz:g} of the profile" if rate >= camera.min_rate_hz else ""
    draft.ask(
        "rate", rate, "Hz", f">= {set_to:g}", rate >= set_to, problem,
        "Set driver and profile alike; in dim light let exposure not lower the rate (docs/cameras.md).",
    )  # fmt: skip
    whole = gaps[gaps < 1.5 * period]
    jitter, most = float(whole.std()), MOST_JITTER * period
    draft.ask(
        "jitter", jitter * MS, "ms", f"<= {most * MS:.2g}", jitter <= most,
        f"the time from frame to frame varies by {jitter * MS:.1f} ms",
        "Stamp with the camera's clock, not on reception; end what else uses its USB bus.",
    )  # fmt: skip
    draft.show("longest_gap", float(gaps.max()) * MS, "ms")
    missing = float(np.maximum(np.rint(gaps / period) - 1, 0).sum())
    lost = missing / (missing + len(stamps))
    on_the_way = _lost_on_the_way(numbers)
    if on_the_way is not None:
        draft.show("lost_on_the_way", on_the_way)
    transport = on_the_way is not None and on_the_way > lost / 2
    draft.ask(
        "missing", lost, "", f"<= {MOST_LOST:g}", lost <= MOST_LOST,
        f"{lost:.1%} of its frames are missing" + (", lost between its driver and here" if transport else ""),
        ON_THE_WAY if transport else "Check its cable and USB bus (USB 3, a port of its own), or lower rate or size.",
    )  # fmt: skip


def _lost_on_the_way(numbers: Sequence[int]) -> float | None:
    """Share of messages that were sent and did not come; None if the numbers are not of one sender."""
    if len(numbers) < 2 or (np.diff(numbers) <= 0).any():
        return None
    return 1.0 - len(numbers) / (numbers[-1] - numbers[0] + 1)


def judge_exposure(draft: Draft, found: Exposure) -> None:
    """Add what its pictures' brightness says."""
    more_light = "Light the scene better, or raise exposure or gain."
    less_light = "Lower exposure or gain, and keep lamps and windows out of the picture."
    dark = found.brightness < DARKEST
    draft.ask(
        "brightness", found.brightness, "", f"{DARKEST:g} .. {BRIGHTEST:g}", DARKEST <= found.brightness <= BRIGHTEST,
        f"its pictures are {'dark' if dark else 'bright'} on the whole: {found.brightness:.0f} of 255",
        more_light if dark else less_light,
    )  # fmt: skip
    draft.ask(
        "black", found.black, "", f"<= {MOST_BLACK:g}", found.black <= MOST_BLACK,
        f"{found.black:.0%} of its pixels are black", more_light,
    )  # fmt: skip
    draft.ask(
        "white", found.white, "", f"<= {MOST_WHITE:g}", found.white <= MOST_WHITE,
        f"{found.white:.0%} of its pixels are white", less_light,
    )  # fmt: skip
    if found.flicker is None:
        draft.notes.append("flicker is not judged: too few of its pictures were looked at, or all is dark")
        return
    draft.ask(
        "flicker", found.flicker, "", f"<= {MOST_FLICKER:g}", found.flicker <= MOST_FLICKER,
        f"its brightness goes up and down by {found.flicker:.1%} from picture to picture", _MAINS,
    )  # fmt: skip


def _rounded(value: float | int | str) -> float | int | str:
    return round(value, 4) if isinstance(value, float) else value
