"""The arbiter's state machine in words, made of its table: `f1-ros robot modes` prints it, docs/safety.md shows it."""

from __future__ import annotations

from f1_ros.control.arbiter import TRANSITIONS, Guard, Mode


def as_markdown() -> str:
    """A mermaid diagram, and the table with every row."""
    arrows: dict[tuple[Mode, Mode], list[str]] = {}
    for row in TRANSITIONS:
        arrows.setdefault((row.start, row.end), []).append(row.event.value)
    diagram = [f"    {a.name} --> {b.name}: {'<br>'.join(events)}" for (a, b), events in arrows.items()]
    table = [
        f"| {row.start.name} | {row.event.value} | {'' if row.guard is Guard.ALWAYS else row.guard.value} | "
        f"{row.end.name} | {row.priority} |"
        for row in TRANSITIONS
    ]
    return "\n".join(
        [
            "```mermaid",
            "stateDiagram-v2",
            f"    [*] --> {Mode.HOLD.name}",
            *diagram,
            "```",
            "",
            "| from | what happens | and only if | to | priority |",
            "|---|---|---|---|---|",
            *table,
            "",
        ]
    )
