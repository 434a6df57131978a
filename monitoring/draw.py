"""Draw a dashboard from its own queries, as one SVG: for documents, and where no Grafana is.

What Grafana shows it shows better; here every line is what Prometheus answered, and no more.
"""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from math import floor, isfinite, log10
from string import Template
from typing import NamedTuple

from monitoring.panels import BYTES, PER_SECOND, RATIO, SECONDS, Board, Panel, Query, fill
from monitoring.prometheus_server import Series

COLUMNS, WIDTH, HEIGHT, GAP = 3, 380, 210, 14
_LEFT, _TOP, _BOTTOM, _LEGEND_ROWS = 52, 30, 16, 3
_COLOURS = ("#3274d9", "#e0752d", "#56a64b", "#a352cc", "#e02f44", "#c4a000", "#37872d", "#8f3bb8",
            "#1f78c1", "#6b7280")  # fmt: skip
_SERIES_MAX, _BARS_MAX = 10, 9
NOTE = "drawn from the queries of this dashboard on a real run; not a Grafana screenshot"


class Answer(NamedTuple):
    """A series as a panel shows it: its name and points."""

    name: str
    points: list[tuple[float, float]]


Ask = Callable[[str], Sequence[Series]]


def draw(board: Board, ask: Ask, institution: str, rate_interval: str = "15s") -> str:
    """Return the board as SVG; `ask` answers a filled-in query over the time to be shown."""
    cells = []
    for place, panel in enumerate(board.panels):
        row, column = divmod(place, COLUMNS)
        x, y = GAP + column * (WIDTH + GAP), 58 + row * (HEIGHT + GAP)
        answers = [
            answer
            for query in panel.queries
            for answer in _answers(query, ask(fill(query.expr, rate_interval, institution)))
        ]
        cells.append(f'<g transform="translate({x},{y})">{"".join(_panel(panel, answers))}</g>')
    rows = -(-len(board.panels) // COLUMNS)
    width, height = GAP + COLUMNS * (WIDTH + GAP), 58 + rows * (HEIGHT + GAP)
    subject = f"{board.title} · {institution}" if "$institution" in str(board) else board.title
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="Helvetica,Arial,sans-serif" font-size="10">'
        f'<rect width="{width}" height="{height}" fill="#f4f5f8"/>'
        f'<text x="{GAP}" y="26" font-size="18" fill="#1f2733">{escape(subject)}</text>'
        f'<text x="{GAP}" y="44" font-size="11" fill="#6b7280">{escape(NOTE)}</text>'
        f"{''.join(cells)}</svg>\n"
    )


def _answers(query: Query, series: Sequence[Series]) -> Iterator[Answer]:
    name = Template(query.legend.replace("{{", "${").replace("}}", "}"))
    for one in series:
        points = [point for point in one.points if isfinite(point[1])]
        if points:
            yield Answer(name.safe_substitute(one.labels) or "value", points)


def _panel(panel: Panel, answers: list[Answer]) -> Iterator[str]:
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="3" fill="#fff" stroke="#dfe3ea"/>'
    yield f'<text x="10" y="18" font-size="12" fill="#1f2733">{escape(panel.title)}</text>'
    if not answers:
        why = f"empty: {panel.empty}" if panel.empty else "no data"
        yield f'<text x="10" y="{HEIGHT / 2}" fill="#6b7280">{escape(why[:74])}</text>'
    elif panel.kind in {"bars", "number"}:
        yield from _bars(panel, answers)
    else:
        yield from _lines(panel, answers)


def _bars(panel: Panel, answers: list[Answer]) -> Iterator[str]:
    last = sorted(((a.points[-1][1], a.name) for a in answers), reverse=True)[:_BARS_MAX]
    most = max([value for value, _ in last] + [1e-12])
    for place, (value, name) in enumerate(last):
        y = _TOP + 4 + place * 19
        width = max(WIDTH - 230, 1) * max(value, 0.0) / most
        colour = _COLOURS[place % len(_COLOURS)]
        yield f'<text x="10" y="{y + 11}" fill="#374151">{escape(name[:28])}</text>'
        yield f'<rect x="160" y="{y}" width="{width:.1f}" height="14" fill="{colour}"/>'
        told = _text(value, panel.unit)
        yield f'<text x="{164 + width:.1f}" y="{y + 11}" fill="#374151">{told}</text>'


def _lines(panel: Panel, answers: list[Answer]) -> Iterator[str]:
    answers = sorted(answers, key=lambda a: -max(v for _, v in a.points))[:_SERIES_MAX]
    times = [at for answer in answers for at, _ in answer.points]
    values = [value for answer in answers for _, value in answer.points]
    low, high = min(0.0, *values), _above(max(values))
    begin, end = min(times), max(times)
    floor_y = HEIGHT - _BOTTOM - 12 * _LEGEND_ROWS
    across = (WIDTH - _LEFT - 12) / max(end - begin, 1e-9)
    up = (floor_y - _TOP) / max(high - low, 1e-12)
    for part in range(5):
        value = low + (high - low) * part / 4
        y = floor_y - (value - low) * up
        yield f'<path d="M{_LEFT} {y:.1f}H{WIDTH - 12}" stroke="#e8ebf0"/>'
        where = f'x="{_LEFT - 4}" y="{y + 3:.1f}" text-anchor="end"'
        yield f'<text {where} fill="#6b7280">{_text(value, panel.unit)}</text>'
    for place, answer in enumerate(answers):
        colour = _COLOURS[place % len(_COLOURS)]
        path = " ".join(
            f"{_LEFT + (at - begin) * across:.1f},{floor_y - (value - low) * up:.1f}"
            for at, value in answer.points
        )
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        row, column = divmod(place, 4)
        if row < _LEGEND_ROWS:
            x, y = 10 + column * 92, floor_y + 16 + row * 12
            yield f'<rect x="{x}" y="{y - 7}" width="8" height="8" fill="{colour}"/>'
            yield f'<text x="{x + 11}" y="{y}" fill="#374151">{escape(answer.name[:15])}</text>'


def _above(value: float) -> float:
    """Return the next of 1, 2, 2.5, 5 times a power of ten that is not below `value`."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.999999)


def _text(value: float, unit: str) -> str:
    if unit == RATIO:
        return f"{100 * value:.3g} %"
    if unit == SECONDS:
        return f"{value * 1_000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    if unit == BYTES:
        return f"{value / 2**20:.4g} MiB"
    for size, sign in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}" + ("/s" if unit == PER_SECOND else "")
