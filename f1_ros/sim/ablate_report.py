"""Table and plots of a study's cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from f1_ros.sim.ablate import CellResult
from f1_ros.sim.measures import wilson_interval

SPEED_BAND = 0.045
"""Width of the bands of belt speed in the plot, m/s."""


@dataclass(frozen=True)
class Row:
    """One arm under one condition, over all its training seeds.

    Attributes:
        condition, arm: which.
        by_seed: picks of each training seed.
        picked, episodes: over all seeds.
        low, high: 95 % Wilson interval of the success rate.
        time_to_pick_s: median over picks, s. jerk_rms: mean over episodes, rad/s^3.
        reaction_p50_s, reaction_p95_s: of the reactions that were measured, s.
        latency_ms: median over the cells of an inference's median latency, ms.
        failures: reasons with counts.
    """

    condition: str
    arm: str
    by_seed: dict[int, int]
    picked: int
    episodes: int
    low: float
    high: float
    time_to_pick_s: float | None
    jerk_rms: float | None
    reaction_p50_s: float | None
    reaction_p95_s: float | None
    latency_ms: float
    failures: dict[str, int]

    @property
    def rate(self) -> float:
        """Success rate."""
        return self.picked / self.episodes


def rows(results: Sequence[CellResult]) -> list[Row]:
    """One row an arm and condition, in the order of the cells."""
    groups: dict[tuple[str, str], list[CellResult]] = {}
    for result in results:
        groups.setdefault((result.condition, result.arm), []).append(result)
    return [_row(condition, arm, cells) for (condition, arm), cells in groups.items()]


def better(left: Row, right: Row) -> bool:
    """Whether the left row's interval lies wholly above the right one's."""
    return left.low > right.high


def _row(condition: str, arm: str, cells: Sequence[CellResult]) -> Row:
    picked = sum(sum(c.picked) for c in cells)
    episodes = sum(len(c.picked) for c in cells)
    low, high = wilson_interval(picked, episodes)
    times = [t for c in cells for t in c.time_to_pick_s if t is not None]
    jerks = [j for c in cells for j in c.jerk_rms if j is not None]
    reactions = [r for c in cells for r in c.reaction_s if r is not None]
    failures: dict[str, int] = {}
    for cell in cells:
        for reason, count in cell.failures.items():
            failures[reason] = failures.get(reason, 0) + count
    return Row(
        condition=condition,
        arm=arm,
        by_seed={c.seed: sum(c.picked) for c in cells},
        picked=picked,
        episodes=episodes,
        low=low,
        high=high,
        time_to_pick_s=_quantile(times, 0.5),
        jerk_rms=float(np.mean(jerks)) if jerks else None,
        reaction_p50_s=_quantile(reactions, 0.5),
        reaction_p95_s=_quantile(reactions, 0.95),
        latency_ms=float(np.median([c.latency_ms for c in cells])),
        failures=dict(sorted(failures.items(), key=lambda item: -item[1])),
    )


def markdown(table: Sequence[Row]) -> str:
    """The rows as a Markdown table, a section a condition, and which arms differ in it."""
    lines: list[str] = []
    for condition in dict.fromkeys(row.condition for row in table):
        chosen = [row for row in table if row.condition == condition]
        reacts = any(row.reaction_p50_s is not None for row in chosen)
        head = ["arm", "picked", "95 %", "by seed", "pick, s", "jerk, rad/s³", *(["reaction, s"] if reacts else [])]
        lines += [f"### {condition}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for row in chosen:
            cells = [
                row.arm,
                f"{row.picked} of {row.episodes}",
                f"{row.low:.2f}-{row.high:.2f}",
                ", ".join(str(count) for count in row.by_seed.values()),
                _text(row.time_to_pick_s, 2),
                _text(row.jerk_rms, 0),
            ]
            if reacts:
                cells.append(f"{_text(row.reaction_p50_s, 2)} (p95 {_text(row.reaction_p95_s, 2)})")
            lines.append("| " + " | ".join(cells) + " |")
        if len(chosen) > 1:
            apart = [f"{a.arm} above {b.arm}" for a in chosen for b in chosen if better(a, b)]
            lines += ["", f"Intervals that do not overlap: {', '.join(apart) or 'none'}."]
        lines.append("")
    return "\n".join(lines)


def plot(
    results: Sequence[CellResult],
    path: Path,
    *,
    speed: Sequence[str],
    delay: Sequence[str],
    labels: Mapping[str, tuple[str, int]],
    labels_condition: str,
) -> None:
    """Success against belt speed, inference delay and number of labels, with 95 % Wilson intervals.

    Arms with few labels are in the last picture only.

    Args:
        results: finished cells.
        path: picture file to write.
        speed: conditions that differ in belt speed alone.
        delay: conditions that differ in delay alone.
        labels: series and number of labels of each arm that has few.
        labels_condition: condition under which these are compared.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(15, 4.2), sharey=True)
    every = [r for r in results if r.arm not in labels]
    _series(axes[0], _by_speed([r for r in every if r.condition in speed]), "belt speed, m/s")
    _series(axes[1], delay_curves([r for r in every if r.condition in delay]), "delay of the inference, s")
    few = [r for r in results if r.condition == labels_condition and r.arm in labels]
    _series(axes[2], _by_labels(few, labels), "demonstrations with labels")
    axes[0].set_ylabel("picked")
    axes[0].set_ylim(0, 1.02)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


_Points = dict[str, dict[float, tuple[int, int]]]  # series -> x -> picked, episodes


def _by_speed(results: Sequence[CellResult]) -> _Points:
    points: _Points = {}
    for result in results:
        for picked, speed in zip(result.picked, result.speed, strict=True):
            band = (abs(speed) // SPEED_BAND + 0.5) * SPEED_BAND
            _add(points, result.arm, round(band, 4), int(picked), 1)
    return points


def delay_curves(results: Sequence[CellResult]) -> _Points:
    """Picked and episodes by delay, s, of each arm that was evaluated under more than one: one alone says nothing."""
    points: _Points = {}
    for result in results:
        _add(points, result.arm, result.delay_s, sum(result.picked), len(result.picked))
    return {arm: values for arm, values in points.items() if len(values) > 1}


def _by_labels(results: Sequence[CellResult], labels: Mapping[str, tuple[str, int]]) -> _Points:
    points: _Points = {}
    for result in results:
        series, count = labels[result.arm]
        _add(points, series, float(count), sum(result.picked), len(result.picked))
    return points


def _add(points: _Points, series: str, x: float, picked: int, episodes: int) -> None:
    before = points.setdefault(series, {}).get(x, (0, 0))
    points[series][x] = (before[0] + picked, before[1] + episodes)


def _series(axis: Any, points: _Points, label: str) -> None:
    for name, values in points.items():
        xs = sorted(values)
        rates = [values[x][0] / values[x][1] for x in xs]
        bounds = [wilson_interval(*values[x]) for x in xs]
        below = [rate - low for rate, (low, _) in zip(rates, bounds, strict=True)]
        above = [high - rate for rate, (_, high) in zip(rates, bounds, strict=True)]
        axis.errorbar(xs, rates, yerr=[np.maximum(below, 0), np.maximum(above, 0)], marker="o", capsize=3, label=name)
    axis.set_xlabel(label)
    axis.grid(alpha=0.3)
    if points:
        axis.legend(fontsize=8)


def _quantile(values: Sequence[float], share: float) -> float | None:
    return float(np.quantile(values, share)) if values else None


def _text(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
