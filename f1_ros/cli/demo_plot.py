"""The demo's plot: commanded and measured joints of every arm, with the switch to the policy marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from f1_ros.cli.recording import Array, Recording

_COMMANDED, _MEASURED, _SWITCH = "#d62728", "#1f77b4", "#2ca02c"


def plot_joints(recording: Recording, path: Path, before: str, around_s: float = 15.0) -> None:
    """Draw every joint's commanded and measured position over time, a column an arm.

    Args:
        recording: what was seen; needs at least one command.
        path: picture file to write.
        before: what the policy takes over from.
        around_s: time that is shown before and after the switch, s; all of it where there was no switch.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    zero_ns = recording.switch_ns if recording.switch_ns is not None else recording.commanded[0][0]
    window = (-around_s, around_s) if recording.switch_ns is not None else (0.0, np.inf)
    commanded = _series(recording.commanded, zero_ns, window)
    measured = _series(recording.measured, zero_ns, window)

    arms = recording.arms
    rows = max(len(arm) for arm in arms)
    figure = Figure(figsize=(11 if len(arms) == 1 else 8 * len(arms), 1.5 * rows + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, len(arms), sharex=True, squeeze=False)
    first = 0
    for column, arm in enumerate(arms):
        for i, name in enumerate(arm):
            axis = axes[i, column]
            axis.plot(commanded[0], commanded[1][:, first + i], color=_COMMANDED, linewidth=1.2, label="commanded")
            axis.plot(measured[0], measured[1][:, first + i], color=_MEASURED, linewidth=1.0, label="measured")
            if recording.switch_ns is not None:
                axis.axvline(0.0, color=_SWITCH, linestyle="--", linewidth=1.2, label=f"{before} → policy")
            axis.set_ylabel(f"{name}\nrad", fontsize=8)
            axis.grid(alpha=0.3)
        axes[-1, column].set_xlabel("s after the switch" if recording.switch_ns is not None else "s")
        first += len(arm)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    figure.suptitle("Commanded and measured joints")
    figure.savefig(path, dpi=110)


def _series(samples: list[tuple[int, Array]], zero_ns: int, window: tuple[float, float]) -> tuple[Array, Array]:
    """Times in s after `zero_ns` and (samples, joints) positions of what lies in the window."""
    times = np.array([(stamp - zero_ns) * 1e-9 for stamp, _ in samples], dtype=np.float64)
    positions = np.stack([position for _, position in samples])
    inside = (times >= window[0]) & (times <= window[1])
    return times[inside], positions[inside]
