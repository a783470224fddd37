"""Memory plan and roofline as Markdown, for the terminal and for docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from f1_ros.engine.config import STAGES
from f1_ros.engine.layout import Layout
from f1_ros.engine.plan import GIB, RESERVED, SIZES, MemoryPlan
from f1_ros.engine.roofline import DEVICES, GOAL_MS, STORED, VARIANTS, WIDTHS, bound_ms
from f1_ros.engine.work import passes
from f1_ros.model.manifest import FULL_SIZE

FULL_LAYOUT = Layout(FULL_SIZE, 3, FULL_SIZE.tokenizer_max_length)


def memory_tables(plans: Mapping[str, MemoryPlan]) -> str:
    """Weights of each stage, what comes on top, and on which devices it all fits; a column for each named plan."""
    first = next(iter(plans.values()))
    unit, size = ("GiB", GIB) if max(plan.total for plan in plans.values()) > GIB / 4 else ("MiB", 2**20)

    def cells(counts: Iterable[float]) -> list[str]:
        return [f"{count / size:.2f}" for count in counts]

    rows = [["", "million numbers", *(f"{name}, {unit}" for name in plans)]]
    for i, stage in enumerate(first.stages):
        if stage.numbers:
            weights = cells(plan.stages[i].weights for plan in plans.values())
            rows.append([f"weights of `{stage.stage}`", f"{stage.numbers / 1e6:.2f}", *weights])
    rows.append(["keys and values", "", *cells(sum(s.kv for s in plan.stages) for plan in plans.values())])
    rows.append(["activations", "", *cells(sum(s.activations for s in plan.stages) for plan in plans.values())])
    rows.append(["**together**", "", *(f"**{cell}**" for cell in cells(plan.total for plan in plans.values()))])
    rows.append(["on top if stages do not share weights", "", *cells(plan.shared for plan in plans.values())])
    rows.append(["in the checkpoint, read by nothing", f"{first.unread / 1e6:.2f}", *[""] * len(plans)])
    fits = [["fits in", *(f"{size} GB" for size in SIZES)]]
    for name, plan in plans.items():
        fits.append([name, *(", ".join(m for m in RESERVED if plan.fits(size, m)) or "no" for size in SIZES)])
    own, shared = (f"{RESERVED[memory]:g} GiB" for memory in ("own", "shared"))
    title = (
        f"Where it fits (own: a GPU's memory, less {own} for others; shared: a Jetson's, less {shared} for the system):"
    )
    return f"{_table(rows)}\n{title}\n\n{_table(fits)}"


def roofline_tables() -> str:
    """The full-size model: work of each stage, its bound on each device, and bounds of other ways to run it."""
    parts = (
        ("Work of one inference, 3 cameras:", _work()),
        ("Least time of each stage, ms, 16 bit and 8 bit:", _stages()),
        (f"Least time in all, ms, in bold where it is at most {GOAL_MS:g}:", _variants()),
        ("Peak figures:", _sources()),
    )
    return "\n".join(f"{title}\n\n{table}" for title, table in parts)


def _work() -> str:
    rows = [["stage", "runs", "GFLOP a run", "MB moved a run, 16 bit", "8 bit", "FLOP a byte, 16 bit"]]
    all_passes = list(passes(FULL_LAYOUT, picture=True))
    for stage in STAGES:
        runs = [one for one in all_passes if one.stage == stage]
        if not runs:
            continue
        flop = sum(one.flop for one in runs) / len(runs)
        moved = [sum(one.moved.bytes_in(STORED[width]) for one in runs) / len(runs) for width in WIDTHS]
        mega = [f"{moved_bytes / 1e6:.0f}" for moved_bytes in moved]
        count = "for people" if stage == "decoder" else str(len(runs))
        rows.append([f"`{stage}`", count, f"{flop / 1e9:.1f}", *mega, f"{flop / moved[0]:.0f}"])
    return _table(rows)


def _stages() -> str:
    bounds = [[bound_ms(device, VARIANTS[1].passes(FULL_LAYOUT), width) for width in WIDTHS] for device in DEVICES]
    rows = [["stage", *(device.name for device in DEVICES)]]
    for stage in bounds[0][0]:
        label = "**all**" if stage == "total" else f"`{stage}`"
        rows.append([label, *(", ".join(f"{times[stage]:.1f}" for times in both) for both in bounds)])
    return _table(rows)


def _variants() -> str:
    rows = [["3 cameras, 10 flow steps, 4 scales unless said", *(device.name for device in DEVICES)]]
    for variant in VARIANTS:
        all_passes = variant.passes(FULL_LAYOUT)
        cells = []
        for device in DEVICES:
            totals = [bound_ms(device, all_passes, width)["total"] for width in WIDTHS]
            cells.append(", ".join(f"**{t:.1f}**" if t <= GOAL_MS else f"{t:.1f}" for t in totals))
        rows.append([variant.name, *cells])
    return _table(rows)


def _sources() -> str:
    rows = [["device", "GB/s", "dense TFLOPS, 16 bit", "8 bit", "from"]]
    for device in DEVICES:
        peaks = [f"{device.peak[width]:g}" for width in WIDTHS]
        rows.append([device.name, f"{device.bandwidth:g}", *peaks, device.source])
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines) + "\n"
