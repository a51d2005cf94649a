"""Draw line charts as SVG text, so that a report needs no other file. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

Series = Sequence[tuple[float, float]]
ToPixels = Callable[[float, float], tuple[float, float]]
_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 16, 44
_COLOURS = ("#1f77b4", "#ff7f0e", "#d62728", "#2ca02c")
_TICKS = 5


def lines(
    series: Mapping[str, Series],
    *,
    x_label: str,
    y_label: str,
    mark: tuple[float, str] | None = None,
) -> str:
    """Draw a line with dots for each series; `mark` is a labelled position on the x axis."""
    points = [point for line in series.values() for point in line]
    x_most = _round_up(max((x for x, _ in points), default=1.0))
    y_most = _round_up(max((y for _, y in points), default=1.0))

    def to_pixels(x: float, y: float) -> tuple[float, float]:
        across, up = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return round(_LEFT + across * x / x_most, 1), round(_HEIGHT - _BOTTOM - up * y / y_most, 1)

    parts = [_axes(to_pixels, x_most, y_most, x_label, y_label)]
    if mark is not None:
        (x, bottom), (_, top) = to_pixels(mark[0], 0), to_pixels(mark[0], y_most)
        parts.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{bottom}" y2="{top}"/>')
        parts.append(_text(x + 4, bottom - 6, mark[1]))
    for index, (name, line) in enumerate(series.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        path = " ".join(f"{x},{y}" for x, y in (to_pixels(*point) for point in line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in line:
            x, y = to_pixels(*point)
            title = f"<title>{escape(name)}: {point[0]:g}, {point[1]:.4g}</title>"
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}">{title}</circle>')
        parts.append(_text(_LEFT + 8, _TOP + 14 * (index + 1), name, f'fill="{colour}"'))
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'


def _axes(to_pixels: ToPixels, x_most: float, y_most: float, x_label: str, y_label: str) -> str:
    parts = []
    for tick in range(_TICKS + 1):
        x, y = x_most * tick / _TICKS, y_most * tick / _TICKS
        (left, height), (right, _) = to_pixels(0, y), to_pixels(x_most, y)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{height}" y2="{height}"/>')
        parts.append(_text(left - 6, height + 4, f"{y:g}", 'text-anchor="end"'))
        across, bottom = to_pixels(x, 0)
        parts.append(_text(across, bottom + 16, f"{x:g}", 'text-anchor="middle"'))
    parts.append(_text(_WIDTH / 2, _HEIGHT - 6, x_label, 'text-anchor="middle"'))
    turned = f'transform="rotate(-90 14 {_HEIGHT / 2})" text-anchor="middle"'
    parts.append(_text(14, _HEIGHT / 2, y_label, turned))
    return "".join(parts)


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x}" y="{y}" {attributes}>{escape(text)}</text>'


def _round_up(value: float) -> float:
    """Return the next number of one digit, or 1.2, 1.5 or 2.5, times a power of ten, for ticks."""
    if value <= 0:
        return 1.0
    power: float = 10 ** math.floor(math.log10(value))
    return next(
        factor * power
        for factor in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
        if factor * power >= value
    )
