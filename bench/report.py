"""The table for people and the file for programs."""

from __future__ import annotations

import json
from pathlib import Path

from measure import Line


def heading(section: str) -> str:
    """The head of a section's table."""
    title = f"\n{section.upper()}"
    return f"{title}\n{'what':<78} {'Stet':>12} {'best peer':>28} {'Stet is':>14}   others"


def row(line: Line) -> str:
    """A line of the table: Stet, the best of the peers, the ratio, and the rest."""
    medians = line.medians()
    peer = line.best_peer()
    rest = [name for name in medians if name not in ("stet", peer)]
    stet = _figure(medians["stet"], line.unit) if "stet" in medians else "-"
    best = f"{peer} {_figure(medians[peer], line.unit)}" if peer else "-"
    others = ", ".join(f"{name} {_figure(medians[name], line.unit)}" for name in rest)
    text = f"{'  ' + line.measure:<78} {stet:>12} {best:>28} {_ratio(line):>14}   {others}".rstrip()
    return "\n".join([text, *(f"    {note}" for note in line.notes)])


def _ratio(line: Line) -> str:
    ratio = line.ratio()
    if ratio is None:
        return "-"
    if line.more_is_better:
        better, worse = "more", "fewer"
    elif line.unit in ("s", "ms") and line.measure != "CPU time":
        better, worse = "faster", "slower"
    else:
        better, worse = "less", "more"
    return f"{ratio:,.1f} x {better}" if ratio >= 1 else f"{1 / ratio:,.1f} x {worse}"


def _figure(value: float, unit: str) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f} {unit}"


def write_json(path: Path, facts: dict[str, object], lines: list[Line]) -> None:
    """Writes everything, each sample included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {**facts, "lines": [line.as_json() for line in lines]}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
