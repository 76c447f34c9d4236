"""Latencies for people: a table in the terminal, JSON, and a picture (SVG) of where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any

from p2pclient.recorder.latency import Figures, Way

_COLOURS = {
    "pressed": "#4e79a7",
    "sent": "#9c755f",
    "applied": "#f28e2b",
    "simulated": "#59a14f",
    "received": "#b07aa1",
    "applied_there": "#f28e2b",
    "simulated_there": "#59a14f",
}
"""By the moment at which a stage begins; what is the same work here and there has one colour."""
_NETWORK = "#e15759"
_LEFT, _WIDTH, _RIGHT = 190, 760, 90
"""Pixels: names of the bars, the bars, and their figures."""
_BAR, _STEP = 22, 34
_MOST_TAIL = 3.0
"""The line of the 99th percentile is cut off where it would make the bars short: at so many times their length."""


def describe(way: Way) -> str:
    """Return the way as a table of milliseconds."""
    what = "key presses and releases" if way.of_presses else "inputs"
    if way.receiver:
        head = f"From {way.sender} to {way.receiver}: {way.inputs} {what}"
    else:
        head = f"{way.sender}, here: {way.inputs} {what}"
    lines = [head, f"  {'':<46}{'median ms':>10}{'99th ms':>10}{'+- ms':>8}{'count':>8}"]
    for figures in (*way.stages, *way.totals):
        bound = f"{figures.bound * 1e3:8.2f}" if figures.bound else f"{'':8}"
        lines.append(
            f"  {figures.stage.title:<46}{figures.median * 1e3:10.2f}{figures.p99 * 1e3:10.2f}{bound}{figures.count:8}"
        )
    median, most = way.bounds
    if most:
        lines.append(f"  The clocks are known to within {median * 1e3:.2f} ms (median; {most * 1e3:.2f} ms at most).")
    elif way.receiver and not any("received" in (f.stage.begins, f.stage.ends) for f in way.stages):
        lines.append("  Nothing is known of the clocks of the two, or of when inputs arrived: an older recording?")
    return "\n".join(lines)


def as_data(way: Way) -> dict[str, Any]:
    """Return the way as plain data; times in milliseconds."""
    return {
        "sender": way.sender,
        "receiver": way.receiver or None,
        "inputs": way.inputs,
        "of_presses": way.of_presses,
        "clock_bound_ms": {"median": round(way.bounds[0] * 1e3, 4), "most": round(way.bounds[1] * 1e3, 4)},
        "stages": [_figures_data(figures) for figures in way.stages],
        "totals": [_figures_data(figures) for figures in way.totals],
    }


def _figures_data(figures: Figures) -> dict[str, Any]:
    return {
        "from": figures.stage.begins,
        "to": figures.stage.ends,
        "median_ms": round(figures.median * 1e3, 4),
        "p99_ms": round(figures.p99 * 1e3, 4),
        "bound_ms": round(figures.bound * 1e3, 4),
        "count": figures.count,
    }


def draw(ways: Sequence[Way]) -> str:
    """Return an SVG: for each way, a bar of the medians of its stages to each screen, end to end.

    A thin line behind the bar goes to the 99th percentile of the whole.
    """
    bars = [bar for way in ways for bar in _bars(way)]
    longest = max([_length(stages, total) for _, stages, total in bars] + [0.001])
    tick = _tick(longest)
    scale = _WIDTH / (longest * 1.02)
    height = 70 + _STEP * len(bars) + 20 * len(_legend(bars))
    width = _LEFT + _WIDTH + _RIGHT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="20">Medians of the stages, ms; the thin line is the 99th percentile of the whole</text>',
    ]
    bottom = 44 + _STEP * len(bars)
    for number in range(int(longest / tick) + 1):
        x = _LEFT + number * tick * scale
        out.append(f'<line x1="{x:.1f}" y1="30" x2="{x:.1f}" y2="{bottom}" stroke="#dddddd"/>')
        out.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{number * tick * 1e3:g}</text>')
    for number, (name, stages, total) in enumerate(bars):
        out += _draw_bar(name, stages, total, 36 + number * _STEP, scale)
    for number, (colour, title) in enumerate(_legend(bars).items()):
        y = bottom + 28 + 20 * number
        out.append(f'<rect x="{_LEFT}" y="{y}" width="12" height="12" fill="{colour}"/>')
        out.append(f'<text x="{_LEFT + 18}" y="{y + 11}">{escape(title)}</text>')
    return "\n".join([*out, "</svg>", ""])


_Bar = tuple[str, list[Figures], Figures | None]


def _bars(way: Way) -> list[_Bar]:
    """Return ``(name, stages end to end, the whole)`` for the screen here and the one there, if they are known."""
    known = {(f.stage.begins, f.stage.ends): f for f in (*way.stages, *way.totals)}
    screens = (
        (f"{way.sender}, own screen", ("pressed", "sent", "applied", "simulated", "shown")),
        (
            f"{way.sender} at {way.receiver or 'the other'}",
            ("pressed", "sent", "received", "applied_there", "simulated_there", "shown_there"),
        ),
    )
    bars: list[_Bar] = []
    for name, moments in screens:
        steps = [known[step] for step in pairwise(moments) if step in known]
        if any(figures.stage.begins != "pressed" for figures in steps):
            bars.append((name, steps, known.get((moments[0], moments[-1]))))
    return bars


def _length(stages: Sequence[Figures], total: Figures | None) -> float:
    end = sum(max(0.0, figures.median) for figures in stages)
    return end if total is None else max(end, min(total.p99, _MOST_TAIL * end))


def _colour(figures: Figures) -> str:
    return _NETWORK if figures.stage.ends == "received" else _COLOURS[figures.stage.begins]


def _legend(bars: Sequence[_Bar]) -> dict[str, str]:
    titles: dict[str, str] = {}
    for _, stages, _ in bars:
        for figures in stages:
            titles.setdefault(_colour(figures), figures.stage.title.replace(" here", ""))  # one colour for both
    return titles


def _draw_bar(name: str, stages: Sequence[Figures], total: Figures | None, y: int, scale: float) -> list[str]:
    out = [f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>']
    x = float(_LEFT)
    if total is not None:
        far = _LEFT + min(max(0.0, total.p99) * scale, _WIDTH)
        out.append(f'<line x1="{_LEFT}" y1="{y + 26}" x2="{far:.1f}" y2="{y + 26}" stroke="#555555" stroke-width="2"/>')
    for figures in stages:
        width = max(0.0, figures.median) * scale
        label = f"{figures.stage.title}: {figures.median * 1e3:.2f} ms, 99th {figures.p99 * 1e3:.2f} ms"
        out.append(
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{_colour(figures)}">'
            f"<title>{escape(label)}</title></rect>"
        )
        if width > 34:
            text = f'<text x="{x + width / 2:.1f}" y="{y + 15}" text-anchor="middle" fill="white">'
            out.append(f"{text}{figures.median * 1e3:.1f}</text>")
        x += width
    if total is not None:
        text = f"{total.median * 1e3:.1f} / {total.p99 * 1e3:.1f}"
        out.append(f'<text x="{x + 6:.1f}" y="{y + 15}">{text}</text>')
    return out


def _tick(longest: float) -> float:
    """Return a round distance of the lines, seconds, so that there are four to ten of them."""
    tick = 1e-4
    while True:
        for step in (1, 2, 5):
            if longest / (tick * step) <= 10:
                return tick * step
        tick *= 10
