"""Curves as text: a line of bars, and a plot of dots."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modelry_cli.terminal.words import counted

WIDTH = 64
HEIGHT = 14
POINTS = 2 * WIDTH * 2
"""How many points a plot can show."""

_BARS = "▁▂▃▄▅▆▇█"
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def sparkline(values: Sequence[float]) -> str:
    """One bar for each value, a blank for NaN and infinities."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    return "".join(
        _BARS[round(_share(value, low, high) * (len(_BARS) - 1))] if math.isfinite(value) else " " for value in values
    )


def curve(title: str, steps: Sequence[int], values: Sequence[float], *, point_count: int) -> str:
    """A plot of values over steps, with axes. Values that are not finite are gaps, and are counted."""
    points = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    gaps = len(values) - len(points)
    unfit = f", {gaps} of those drawn {'is' if gaps == 1 else 'are'} not finite" if gaps else ""
    said = f"{title}: {counted(point_count, 'point')}{unfit}"
    if not points:
        return f"{said}; none can be drawn"
    first, last = points[0][0], points[-1][0]
    low, high = min(value for _, value in points), max(value for _, value in points)
    cells = [[0] * WIDTH for _ in range(HEIGHT)]
    previous: tuple[int, int] | None = None
    for step, value in points:
        column = round(_share(step, first, last) * (2 * WIDTH - 1))
        row = round((1 - _share(value, low, high)) * (4 * HEIGHT - 1))
        for x, y in _line(previous or (column, row), (column, row)):
            cells[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
        previous = (column, row)
    labels = {0: f"{high:.4g}", HEIGHT - 1: f"{low:.4g}"}
    margin = max(map(len, labels.values()))
    lines = [
        f"{labels.get(number, ''):>{margin}} │" + "".join(chr(0x2800 + dots) for dots in row).rstrip("\u2800")
        for number, row in enumerate(cells)
    ]
    axis = f"{'':>{margin}} └{'─' * WIDTH}"
    ends = f"{'':>{margin}}  {first}{f'step {last}':>{WIDTH - len(str(first))}}"
    return "\n".join([said, *lines, axis, ends])


def _share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, from 0 to 1. It never overflows."""
    scale = max(abs(low), abs(high), 1e-300)
    width = high / scale - low / scale
    return 0.5 if width == 0 else (value / scale - low / scale) / width


def _line(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    across, down = end[0] - start[0], end[1] - start[1]
    count = max(abs(across), abs(down), 1)
    return [(start[0] + round(across * n / count), start[1] + round(down * n / count)) for n in range(count + 1)]
