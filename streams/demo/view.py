"""What the demo shows in a terminal: rate, waits, who approves, why not, what was refused."""

from collections import Counter

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table

from streams.demo.tally import Tally

_ROWS = 8


def render(tally: Tally, seconds: float, title: str) -> RenderableType:
    """Return the screen after `seconds` of traffic."""
    total = tally.outcomes.total()
    approved = tally.outcomes["approved"]
    head = Table.grid(padding=(0, 3))
    for _ in range(6):
        head.add_column()
    rate = tally.published / seconds if seconds else 0.0
    speed = len(tally.decided) / seconds if seconds else 0.0
    head.add_row(
        f"[b]{tally.published:,}[/b] events", f"{rate:,.0f} events/s",
        f"[b]{total:,}[/b] decisions", f"{speed:,.0f} decisions/s",
        f"p50 {_ms(tally.wait_ms(0.5))}", f"p99 {_ms(tally.wait_ms(0.99))}",
    )  # fmt: skip
    share = f"{100 * approved / total:.1f} %" if total else "–"
    head.add_row(
        f"[green]{approved:,}[/green] approved", share,
        f"[yellow]{total - approved:,}[/yellow] declined",
        f"{tally.dead_letters.total():,} dead letters", f"{tally.lost:,} waiting",
        f"{tally.duplicated:,} repeated",
    )  # fmt: skip
    tables = Columns(
        [
            _table("decided by", tally.judged),
            _table("approved by", tally.institutions),
            _table("outcome", tally.outcomes),
            _table("reasons", tally.reasons),
            _table("dead letters", tally.dead_letters),
        ],
        expand=False,
    )
    return Panel(Group(head, "", tables), title=title, border_style="cyan")


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms"


def _table(title: str, counts: Counter[str]) -> Table:
    table = Table(title=title, box=None, title_justify="left", title_style="bold cyan")
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    for name, count in counts.most_common(_ROWS):
        table.add_row(name, f"{count:,}")
    return table
