"""Charts as SVG, by hand: lines and bars with axes, readable on light and dark pages."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 24, 44, 56
_COLOURS = ("#3465c8", "#c8641e", "#2c8c50", "#a03c96", "#8c7814")
_INK = "#808080"

Points = Sequence[tuple[float, float]]


class Axis(NamedTuple):
    """One axis: its label, its range, whether it is logarithmic, and where it is marked."""

    label: str
    least: float
    most: float
    log: bool = False
    marks: Sequence[tuple[float, str]] = ()

    def share(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        low, high = self.least, self.most
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, low))
        return (value - low) / (high - low) if high > low else 0.0

    def ticks(self) -> list[tuple[float, str]]:
        """Return marks with their texts; powers of ten, or fifths of a round number."""
        if self.marks:
            return list(self.marks)
        if self.log:
            powers = range(math.ceil(math.log10(self.least)), math.floor(math.log10(self.most)) + 1)
            return [(10.0**power, f"{10.0**power:,g}") for power in powers]
        step = 10 ** math.floor(math.log10(max(self.most / 2, 1e-9)))
        while self.most / step > 8:
            step *= 2
        return [(step * n, f"{step * n:,g}") for n in range(math.floor(self.most / step) + 1)]


def lines(title: str, x: Axis, y: Axis, series: Sequence[tuple[str, Points]]) -> str:
    """Return a chart of lines, one a series of (x, y), with its legend."""
    parts = [_frame(title, x, y)]
    for number, (name, points) in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{_x(x, a):.1f},{_y(y, b):.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        top = _TOP + 16 + 18 * number
        parts.append(
            f'<rect x="{_LEFT + 12}" y="{top - 9}" width="12" height="4" fill="{colour}"/>'
        )
        parts.append(_text(_LEFT + 30, top - 3, name, "start"))
    return _document(parts)


def bars(title: str, label: str, rows: Sequence[tuple[str, float]]) -> str:
    """Return horizontal bars on a logarithmic axis, with each value beside its bar."""
    most = 10 ** math.ceil(math.log10(max(value for _, value in rows) * 1.01))
    least = 10 ** math.floor(math.log10(min(value for _, value in rows) / 2))
    left, step = 220, (HEIGHT - _TOP - _BOTTOM) / len(rows)
    scale = Axis(label, least, most, log=True)
    parts = [_text(WIDTH / 2, 24, title, "middle", 15)]
    for number, (name, value) in enumerate(rows):
        top = _TOP + step * number + step * 0.15
        width = (WIDTH - left - 110) * scale.share(value)
        middle = top + step * 0.35 + 4
        parts.append(_text(left - 8, middle, name, "end"))
        parts.append(
            f'<rect x="{left}" y="{top:.1f}" width="{width:.1f}" height="{step * 0.7:.1f}" '
            f'fill="{_COLOURS[0 if name.startswith("dipper") else 1]}"/>'
        )
        parts.append(_text(left + width + 6, middle, f"{value:,.0f}", "start"))
    parts.append(_text(WIDTH / 2, HEIGHT - 14, f"{label} (logarithmic)", "middle"))
    return _document(parts)


def _frame(title: str, x: Axis, y: Axis) -> str:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = [_text(WIDTH / 2, 24, title, "middle", 15)]
    parts.append(f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="{_INK}"/>')
    for value, text in x.ticks():
        parts.append(_text(_x(x, value), bottom + 18, text, "middle"))
    for value, text in y.ticks():
        at = _y(y, value)
        parts.append(f'<path d="M{_LEFT} {at:.1f}H{right}" stroke="{_INK}" stroke-opacity="0.25"/>')
        parts.append(_text(_LEFT - 8, at + 4, text, "end"))
    parts.append(_text((_LEFT + right) / 2, HEIGHT - 14, x.label, "middle"))
    parts.append(
        f'<g transform="translate(18 {(_TOP + bottom) / 2:.0f}) rotate(-90)">'
        f"{_text(0, 0, y.label, 'middle')}</g>"
    )
    return "".join(parts)


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (WIDTH - _RIGHT - _LEFT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - _BOTTOM - axis.share(value) * (HEIGHT - _BOTTOM - _TOP)


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{_INK}">{escape(text)}</text>'
    )


def _document(parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif">\n{body}\n</svg>\n'
    )
