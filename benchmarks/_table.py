"""Figures of a benchmark as text: medians and 99th percentiles, in aligned columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """Median and 99th percentile of some measurements, in milliseconds."""

    median_ms: float
    p99_ms: float
    count: int

    def to_json(self) -> dict[str, float]:
        return {"median_ms": round(self.median_ms, 4), "p99_ms": round(self.p99_ms, 4), "count": self.count}


def summarize(seconds: Sequence[float]) -> Summary:
    """Return the summary of durations in seconds; nearest-rank percentiles."""
    ordered = sorted(seconds)
    count = len(ordered)
    return Summary(ordered[(count - 1) // 2] * 1e3, ordered[min(count - 1, -(-count * 99 // 100) - 1)] * 1e3, count)


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with the first column to the left and the others to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]

    def text(line: Sequence[str]) -> str:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([text(lines[0]), "  ".join("-" * width for width in widths), *map(text, lines[1:])])
